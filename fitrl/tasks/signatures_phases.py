"""Signatures of phases of a session, such as a stable and a volatile one: learning rates and latents in each."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from fitrl.errors import DataError
from fitrl.tasks.scoring import has_outcome, one_per_row, scored
from fitrl.tasks.signatures_common import over_subjects

if TYPE_CHECKING:
    import pandas as pd

# Learning rates and slopes (per range of outcomes) that are tried where choices are described by a delta rule.
_RATES = np.arange(0.02, 0.99, 0.04)
_SLOPES = np.geomspace(0.25, 32.0, 12)


def learning_rate_by_phase(frame: pd.DataFrame, phase: np.ndarray) -> pd.DataFrame:
    """Describe the choices of each phase by the learning rate of a delta rule.

    The rate of a phase is the one at which values that follow the rule (of the chosen option alone, from the middle of
    the outcomes, over the whole run) predict the choices of that phase best, each subject with a slope of its own.
    That it differs between phases needs no model of why. Rates of switching after a loss differ even if the learning
    rate does not, since values are closer to each other where payoffs reverse.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials of a task with two options.
    phase : ndarray of str, shape (row,)
        Phase of each trial, such as ``trials.original["phase"]``; missing values leave a trial out.

    Returns
    -------
    DataFrame
        One row per phase, in order of first appearance: x (phase), mean (learning rate), se (leaving out one
        subject at a time; NaN below two subjects), lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `phase` does not have one entry per row, there are not two options, or all outcomes are equal.

    References
    ----------
    Behrens et al. 2007, Nat Neurosci, 10.1038/nn1954 (a rate per phase and subject). Differs from the source: one rate
    for all subjects of a phase, which does not lean on a prior where a subject has few trials.
    """
    import pandas as pd

    code, names = _phases(frame, phase)
    choice, outcome = frame["choice"].to_numpy(), frame["outcome"].to_numpy()
    shown = has_outcome(frame)
    if choice.max(initial=0) > 1:
        raise DataError("the learning rate by phase is for two options, but more were chosen. Leave the others out.")
    low, high = (outcome[shown].min(), outcome[shown].max()) if shown.any() else (0.0, 0.0)
    if not low < high:
        raise DataError("all outcomes are equal, so that there is no learning rate to tell. Give trials with outcomes.")
    won, reset = (outcome - low) / (high - low), frame["reset"].to_numpy()
    ahead = np.empty((len(frame), len(_RATES)))  # value of the chosen option less that of the other
    values = np.full((2, len(_RATES)), 0.5)
    for row, c in enumerate(choice):
        if reset[row]:
            values = np.full((2, len(_RATES)), 0.5)
        ahead[row] = values[c] - values[1 - c]
        if shown[row]:
            values[c] += _RATES * (won[row] - values[c])
    rows, subject_idx = scored(frame), frame["subject_idx"].to_numpy()
    n_subjects = int(subject_idx.max(initial=-1)) + 1
    found = []
    for k in range(len(names)):
        here = rows & (code == k)
        fits = np.full((n_subjects, len(_RATES)), -np.inf)
        for slope, r in itertools.product(_SLOPES, range(len(_RATES))):
            log_p = -np.logaddexp(0.0, -slope * ahead[here, r])
            fits[:, r] = np.maximum(fits[:, r], np.bincount(subject_idx[here], log_p, n_subjects))
        fits = fits[np.bincount(subject_idx[here], minlength=n_subjects) > 0]
        found.append((_peak(fits.sum(axis=0)), _jackknife(fits), len(fits)))
    mean, se, n = np.array(found).T
    return pd.DataFrame(
        {"x": names, "mean": mean, "se": se, "lower": mean - se, "upper": mean + se, "n_subjects": n.astype(int)}
    )


def latent_by_phase(frame: pd.DataFrame, value: np.ndarray, phase: np.ndarray) -> pd.DataFrame:
    """Average a latent, such as the learning rate of a model, in each phase.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    value : ndarray, shape (row,)
        For example ``fitrl.latents(fit)["lr_mean"]``. Trials that teach nothing do not count.
    phase : ndarray of str, shape (row,)
        Phase of each trial; missing values leave a trial out.

    Returns
    -------
    DataFrame
        One row per phase, in order of first appearance: x, mean, se, lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `value` or `phase` does not have one entry per row.
    """
    code, names = _phases(frame, phase)
    value = one_per_row(frame, value, "value")
    rows = np.flatnonzero(frame["mask_update"].to_numpy() & (code >= 0))
    return over_subjects(frame["subject_idx"].to_numpy(), code[rows], value, names, rows=rows)


def _phases(frame: pd.DataFrame, phase: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the number of the phase of each row, -1 where missing, and the names in order of first appearance."""
    import pandas as pd

    phase = np.asarray(phase, dtype=object)
    if phase.shape != (len(frame),):
        raise DataError(
            f"phase has shape {phase.shape}; expected one entry for each of the {len(frame)} trials. "
            "Take it from trials.original."
        )
    code, names = pd.factorize(phase)
    return code, [str(name) for name in names]


def _peak(curve: np.ndarray) -> float:
    """Return the rate at which a curve over `_RATES` is highest: the vertex of a parabola through the top points."""
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(_RATES[top])
    left, middle, right = curve[top - 1 : top + 2]
    return float(_RATES[top] + (_RATES[1] - _RATES[0]) * 0.5 * (left - right) / (left - 2 * middle + right))


def _jackknife(fits: np.ndarray) -> float:
    """Return the standard error of the peak of summed curves, shape (subject, rate); NaN below two subjects."""
    if len(fits) < 2:
        return math.nan
    without = np.array([_peak(curve) for curve in fits.sum(axis=0) - fits])
    return float(np.sqrt((len(fits) - 1) * without.var()))
