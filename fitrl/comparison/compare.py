"""Compare fits by what they predict for trials that are left out; decide on sums over subjects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from fitrl.comparison.loo import DRAWS, TrialLoo, trial_loo
from fitrl.comparison.pointwise import log_chance, scored_trials
from fitrl.errors import FitError
from fitrl.fitting.fit import Fit
from fitrl.fitting.store import staged
from fitrl.progress import progress_console

LABEL = "trial LOO, conditional on the other trials"
CHANCE = "chance"
SMALL = 4.0  # a smaller difference is none, whatever its standard error (Sivula et al. 2020)
CLEAR = 2.0  # standard errors
FEW_SUBJECTS = 100


@dataclass(frozen=True)
class Comparison:
    """Fits side by side, best first.

    Attributes
    ----------
    table : DataFrame
        One row per model (and chance): model, elpd, se (over trials), se_subjects, elpd_diff (to the best), dse (over
        subject sums), dse_trials, ratio, decision, p_loo, n_high_k, n_subjects_high_k, k_limit, n_constant, n_draws,
        converged.
    subjects : DataFrame
        One row per subject and model: subject, model, n_trials, elpd, elpd_diff (to the best model), n_high_k.
    warnings : tuple of str
        What must be said before any number.
    n_trials, n_subjects : int
        Scored trials, and subjects who have any.
    data_hash : str
        SHA-256 of the scored trials and responses, the same for every fit.
    """

    table: pd.DataFrame
    subjects: pd.DataFrame
    warnings: tuple[str, ...]
    n_trials: int
    n_subjects: int
    data_hash: str

    @property
    def label(self) -> str:
        """What is predicted."""
        return LABEL

    @property
    def best(self) -> str:
        """Name of the model with the highest score."""
        return str(self.table["model"].iloc[0])

    def text(self) -> str:
        """Write warnings, what was predicted, the table and what follows from it."""
        lines = [f"WARNING: {warning}" for warning in self.warnings]
        lines += [f"{LABEL}; {self.n_trials:,} trials of {self.n_subjects} subjects"]
        shown = self.table[["model", "elpd", "elpd_diff", "dse", "dse_trials", "decision", "n_high_k"]]
        lines += [shown.to_string(index=False, float_format=lambda x: f"{x:.1f}"), *self.notes()]
        return "\n".join(lines)

    def notes(self) -> tuple[str, ...]:
        """Say what a reader has to know about the numbers."""
        notes = [
            "elpd: summed log probability of each trial given all others, in nats; dse: standard error of the "
            "difference over subject sums, on which the decision rests (dse_trials: over trials, too small where "
            "trials depend on each other).",
            "This says how well a trial of a known subject is predicted, later trials known. It is no test on new "
            "people.",
        ]
        if self.n_subjects < FEW_SUBJECTS:
            notes.append(f"With {self.n_subjects} subjects (fewer than {FEW_SUBJECTS}) standard errors are rough.")
        return tuple(notes)

    def __str__(self) -> str:
        return self.text()

    def save(self, folder: str | Path) -> Path:
        """Write ``comparison.csv``, ``comparison_subjects.csv`` and ``comparison.png``.

        Raises
        ------
        FitError
            If the folder cannot be written.
        """
        import matplotlib.pyplot as plt

        from fitrl.show.comparison import plot_comparison

        with staged(folder) as stage:
            self.table.to_csv(stage / "comparison.csv", index=False)
            self.subjects.to_csv(stage / "comparison_subjects.csv", index=False)
            figure, _ = plot_comparison(self)
            figure.savefig(stage / "comparison.png")
            plt.close(figure)
        return Path(folder)


def compare(fits: Mapping[str, Fit] | Iterable[Fit], *, draws: int = DRAWS, progressbar: bool = True) -> Comparison:
    """Compare fits of different models to the same trials.

    Parameters
    ----------
    fits : mapping of str to Fit, or iterable of Fit
        At least one; without names, models are named by what they are.
    draws : int
        Posterior draws, evenly spaced, from which every trial is left out. Time grows with subjects x trials x draws;
        memory does not: 100,000 trials take a minute or two per fit.
    progressbar : bool
        Whether to show the progress.

    Returns
    -------
    Comparison

    Raises
    ------
    FitError
        If a fit is a quick approximation, the scored trials or responses differ between fits, or there are too few
        draws.

    Notes
    -----
    The unit is the trial: where several responses are scored in one (both choices of a two-step task), their log
    probabilities are summed, in every model alike. Leaving out is by Pareto-smoothed importance sampling (Vehtari,
    Gelman & Gabry 2017, Stat Comput, 10.1007/s11222-016-9696-4) of `draws` posterior draws. Trials whose
    log-likelihood is the same in all draws (a first choice between equal values) are scored with it and not smoothed.

    Decision, for each model against the best: a difference below 4 nats is "practically the same"; otherwise below
    2 dse it is "undecided", else "worse". dse is ``sqrt(n * var(d))`` of the differences ``d`` of the n subjects' sums.
    Chance, even guessing among the options on offer, is always among the models.

    Examples
    --------
    >>> found = fitrl.compare({"one rate": first, "two rates": second})  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    """
    named = _named(fits)
    _check_fits(named)
    trials = {name: scored_trials(fit) for name, fit in named.items()}
    _check_same(trials)
    first = next(iter(trials))
    ids = trials[first]["subject"].to_numpy()
    labels, subject = np.unique(ids, return_inverse=True)
    scores, loos = {}, {}
    with Progress(console=progress_console(), transient=True, disable=not progressbar) as bar:
        for name, fit in named.items():
            task = bar.add_task(name, total=len(trials[name]))
            loos[name] = trial_loo(fit, draws, partial(bar.advance, task))
            scores[name] = loos[name].elpd[trials[name]["row"]]
    chance = log_chance(named[first])
    if chance is not None:
        scores[CHANCE] = chance[trials[first]["row"]].to_numpy()
    high = {name: loo.is_bad[trials[name]["row"]] for name, loo in loos.items()}
    table = _table(scores, loos, high, named, subject, len(labels))
    best = str(table["model"].iloc[0])
    sums = {name: np.bincount(subject, score, len(labels)) for name, score in scores.items()}
    subjects = pd.concat(
        [
            pd.DataFrame(
                {
                    "subject": labels,
                    "model": name,
                    "n_trials": np.bincount(subject, minlength=len(labels)),
                    "elpd": sums[name],
                    "elpd_diff": sums[name] - sums[best],
                    "n_high_k": np.bincount(subject, high[name], len(labels)).astype(int) if name in high else 0,
                }
            )
            for name in table["model"]
        ],
        ignore_index=True,
    )
    return Comparison(table, subjects, _warnings(named, loos, high, ids), len(ids), len(labels), _hash(trials[first]))


def _named(fits: Mapping[str, Fit] | Iterable[Fit]) -> dict[str, Fit]:
    """Give every fit a name of its own."""
    if isinstance(fits, Mapping):
        named = {str(name): fit for name, fit in fits.items()}
    else:
        named = {}
        for fit in fits:
            label = name = fit.plan.model.describe()
            n = 1
            while name in named:
                n += 1
                name = f"{label} ({n})"
            named[name] = fit
    if not named:
        raise FitError("there is no fit to compare. Give at least one.")
    if CHANCE in named:
        raise FitError(f'a fit cannot be named "{CHANCE}": that row is added to every comparison. Rename it.')
    return named


def _check_fits(named: Mapping[str, Fit]) -> None:
    quick = [name for name, fit in named.items() if fit.verdict.status == "quick"]
    if quick:
        raise FitError(
            f"{', '.join(quick)}: a quick approximation has no posterior draws to compare with. Fit again without the "
            "quick option."
        )


def _check_same(trials: Mapping[str, pd.DataFrame]) -> None:
    """Refuse fits whose scored trials or responses differ, and say how."""
    first, *others = trials
    one = trials[first].drop(columns="row")
    for name in others:
        other = trials[name].drop(columns="row")
        if _hash(one) == _hash(other):
            continue
        raise FitError(
            f"{first} and {name} were fitted to different trials ({_how_different(one, other)}), so their scores "
            "cannot be compared. Fit every model to the same file with the same columns, codes and masks."
        )


def _how_different(one: pd.DataFrame, other: pd.DataFrame) -> str:
    if list(one.columns) != list(other.columns):
        scored = [
            ", ".join(table.columns.difference(["subject", "session", "position", "trial"])) for table in (one, other)
        ]
        return f"one scores {scored[0]}, the other {scored[1]}"
    only = sorted(set(one["subject"]) ^ set(other["subject"]))
    if only:
        return f"subject {only[0]} is in one of them only" + (f", and {len(only) - 1} more" if len(only) > 1 else "")
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} scored trials"
    place = int(np.flatnonzero((one.to_numpy() != other.to_numpy()).any(axis=1))[0])
    return f"first at subject {one['subject'][place]}, trial {one['trial'][place]:g}"


def _hash(trials: pd.DataFrame) -> str:
    """Hash the scored trials and their responses."""
    digest = hashlib.sha256()
    for column in trials.columns.difference(["row"]):
        digest.update(f"{column}\n".encode())
        digest.update("\n".join(trials[column].astype(str)).encode())
    return digest.hexdigest()


def _table(
    scores: Mapping[str, np.ndarray],
    loos: Mapping[str, TrialLoo],
    high: Mapping[str, np.ndarray],
    named: Mapping[str, Fit],
    subject: np.ndarray,
    n_subjects: int,
) -> pd.DataFrame:
    order = sorted(scores, key=lambda name: -scores[name].sum())
    best = scores[order[0]]
    rows = []
    for name in order:
        score, loo = scores[name], loos.get(name)
        difference = score - best
        by_subject = np.bincount(subject, difference, n_subjects)
        total, dse = float(difference.sum()), _se(by_subject)
        bad = high.get(name, np.zeros(len(score), bool))
        rows.append(
            {
                "model": name,
                "elpd": float(score.sum()),
                "se": _se(score),
                "se_subjects": _se(np.bincount(subject, score, n_subjects)),
                "elpd_diff": total,
                "dse": dse,
                "dse_trials": _se(difference),
                "ratio": abs(total) / dse if dse > 0 else np.nan,
                "decision": "best" if name == order[0] else decide(total, dse),
                "p_loo": loo.p_loo if loo else 0.0,
                "n_high_k": int(bad.sum()),
                "n_subjects_high_k": len(np.unique(subject[bad])),
                "k_limit": loo.good_k if loo else np.nan,
                "n_constant": loo.n_constant if loo else len(score),
                "n_draws": loo.n_draws if loo else 0,
                "converged": named[name].verdict.converged if name in named else True,
            }
        )
    return pd.DataFrame(rows)


def decide(difference: float, dse: float) -> str:
    """Say what a difference to the best model means.

    Parameters
    ----------
    difference : float
        In elpd.
    dse : float
        Its standard error over subject sums; NaN for one subject.

    Returns
    -------
    {"practically the same", "undecided", "worse"}

    Examples
    --------
    >>> decide(-3.0, 0.1), decide(-10.0, 6.0), decide(-10.0, 4.0)
    ('practically the same', 'undecided', 'worse')
    """
    if abs(difference) < SMALL:
        return "practically the same"
    return "worse" if abs(difference) >= CLEAR * dse else "undecided"


def _se(values: np.ndarray) -> float:
    """Estimate the standard error of a sum of independent terms; NaN below two."""
    return float(np.sqrt(len(values) * values.var(ddof=1))) if len(values) > 1 else float("nan")


def _warnings(
    named: Mapping[str, Fit], loos: Mapping[str, TrialLoo], high: Mapping[str, np.ndarray], ids: np.ndarray
) -> tuple[str, ...]:
    found = [
        f"{name} did NOT CONVERGE: its row says nothing. Do not report this comparison."
        for name, fit in named.items()
        if not fit.verdict.converged
    ]
    for name, bad in high.items():
        if bad.any():
            who, counts = np.unique(ids[bad], return_counts=True)
            most = np.argsort(-counts, kind="stable")[:5]
            listed = ", ".join(f"{who[i]} ({counts[i]})" for i in most) + (", ..." if len(who) > 5 else "")
            found.append(
                f"{name}: Pareto k is above {loos[name].good_k:.2f} in {int(bad.sum())} of {len(bad)} trials of "
                f"{len(who)} subjects: {listed}. Its score is not reliable there."
            )
    return tuple(found)
