"""What subjects' estimates are good for, said once where they are written, and where data invite a shortcut."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fitrl.data import Trials
from fitrl.data.findings import listing
from fitrl.hierarchy.formula import parse_formula

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

SUBJECTS_README = "subjects_readme.txt"

_MOST_LEVELS = 6  # of a column that looks like groups or conditions
_SHRUNKEN = (
    "post_mean is not a measurement. The model has moved every value towards the population, or towards its group if a "
    "formula has one, the further the less the subject's choices say; and a test takes the value for exact, though "
    "post_sd is not 0. In simulations of two groups, follow-up tests of estimates from a hierarchical model were "
    "biased towards finding a difference; only hierarchical models of all data led to correct conclusions (Boehm, "
    "Marsman, Matzke & Wagenmakers 2018, Behavior Research Methods, https://doi.org/10.3758/s13428-018-1054-3). In 200 "
    "simulated crossovers without any effect, a paired t-test on the estimates of two such fits found one in 33 %."
)
_ALONE = (
    "Every subject was estimated alone (no pooling), so that values are not shrunken, but noisy, the more the fewer "
    "choices there are. A test takes them for exact, though post_sd is not 0; noise makes correlations and "
    "standardised differences too small."
)
_COMPLETE = "All subjects share one value (complete pooling): there are no differences between them in this file."


def about_subjects(fit: Fit) -> str:
    """Say what ``subjects.csv`` holds, why it must not feed a t-test or a correlation, and what to do instead.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    str
        A text file, at most 80 columns wide.
    """
    where = [c for c in fit.subjects.columns[: list(fit.subjects.columns).index("parameter")] if c != "subject"]
    row = f"one row per subject, {', '.join(where)} and parameter" if where else "one row per subject and parameter"
    name = next((p.name for p in fit.spec.parameters), "alpha")
    formula, contrast = _example(fit)
    why = {"partial": _SHRUNKEN, "none": _ALONE, "complete": _COMPLETE}[fit.spec.pooling]
    parts = [
        _filled(
            f"subjects.csv: {row}, on the natural scale, in the unit of your outcomes. post_mean and post_sd are mean "
            "and standard deviation of the posterior, hdi95_lower and hdi95_upper its 95 % highest-density interval, "
            "mcse_mean, ess_bulk, ess_tail and r_hat say how well it was sampled (blank in a quick fit)."
        ),
        "Not for a t-test, an ANOVA or a correlation with a questionnaire.",
        _filled(why),
        _filled(
            "Instead, put the group, the drug, the session or the score into the model, which keeps what it does not "
            "know of every subject:"
        )
        + f'\n\n    fitrl fit DATA --model {fit.spec.model} --formula "{name} ~ {formula}" --out DIR'
        + f'\n    fitrl contrast DIR "{contrast}"',
        _filled(
            "Scores of subjects can come from a table of their own (--subjects people.csv). For two sessions: "
            f'--formula "{name} ~ session + (session | subject)", then fitrl reliability DIR.'
        ),
        _filled("The file is good for looking at subjects, with their intervals, and for finding unusual ones."),
    ]
    return "\n\n".join(parts) + "\n"


def instead_of_tests(fit: Fit) -> str:
    """Say what to do with groups or conditions that are in the data and in no formula.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    str
        Empty if there are none, or if subjects are not shrunken.
    """
    found = unused_factors(fit.trials, fit.spec.formulas)
    if not found or fit.spec.pooling != "partial" or not fit.spec.parameters:
        return ""
    formula, contrast = _example(fit)
    return (
        f"In the data and in no formula: {listing(found)}. To compare by it, fit with --formula "
        f'"{fit.spec.parameters[0].name} ~ {formula}" and ask fitrl contrast DIR "{contrast}". A test of the means in '
        f"subjects.csv is biased, since they are shrunken ({SUBJECTS_README} says why)."
    )


def unused_factors(trials: Trials, formulas: dict[str, str]) -> dict[str, list[str]]:
    """Find columns that look like groups or conditions and are in no formula.

    Parameters
    ----------
    trials : Trials
    formulas : dict of str to str
        By parameter.

    Returns
    -------
    dict of str to list of str
        Columns to their levels: two to six of them, each with two subjects or more, constant within subjects or within
        sessions.
    """
    used = {name for parameter, text in formulas.items() for name in parse_formula(parameter, text).covariates}
    used |= {trials.columns[name] for name in used if name in trials.columns} | set(trials.columns.values())
    frame, found = trials.frame, {}
    subject, sequence = frame["subject_idx"].to_numpy(), frame["sequence"].to_numpy()
    for name in trials.original.columns.difference(list(used), sort=False):
        codes, levels = pd.factorize(trials.original[name].astype(str).str.strip())
        if not 2 <= len(levels) <= _MOST_LEVELS or pd.Series(codes).groupby(sequence).nunique().max() > 1:
            continue
        if np.all([len(np.unique(subject[codes == k])) >= 2 for k in range(len(levels))]):
            found[str(name)] = sorted(map(str, levels))
    return found


def _example(fit: Fit) -> tuple[str, str]:
    """Right-hand side and contrast for an example: of these data, if they have a factor that is not used."""
    for name, levels in unused_factors(fit.trials, fit.spec.formulas).items():
        if name.isidentifier():  # others need backticks, which a shell would run
            own = fit.trials.original[name].groupby(fit.trials.frame["subject_idx"].to_numpy())
            within = own.nunique().max() > 1
            return f"{name} + ({name} | subject)" if within else name, f"{name}: {levels[1]} - {levels[0]}"
    return "group", "group: patient - control"


def _filled(text: str) -> str:
    return textwrap.fill(text, 80, break_on_hyphens=False, break_long_words=False)
