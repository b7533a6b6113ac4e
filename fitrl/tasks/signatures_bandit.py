"""Signatures of one choice and one outcome per trial: learning, reversals of payoffs, win-stay and lose-shift."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fitrl.errors import DataError
from fitrl.tasks.scoring import has_outcome, mean_by, offer_sets, one_per_row, scored
from fitrl.tasks.signatures_common import mean_and_se, over_subjects, win_threshold

if TYPE_CHECKING:
    import pandas as pd

# Up to this many trials a learning curve has one point per trial, beyond it about `_BINS` points.
_UNBINNED, _BINS = 30, 20

STAY_AFTER_WIN = "stay after win"
SHIFT_AFTER_LOSS = "shift after loss"


def learning_curve(frame: pd.DataFrame, correct: np.ndarray, bins: int | None = None) -> pd.DataFrame:
    """Average correct choices over the course of a run.

    Trials are counted from each reset of the values on, missed ones included. The mean of each subject in
    each bin comes first, then the mean over subjects.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    correct : ndarray, shape (row,)
        1, 0, or a probability; NaN where undefined. See `correct_choice`.
    bins : int, optional
        Number of bins of equal width. By default one per trial up to 30 trials, else about 20.

    Returns
    -------
    DataFrame
        Columns x (trial number at the centre of the bin, from 1), mean, se, lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `correct` does not have one entry per row, or `bins` is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"subject_idx": [0, 0, 1, 1], "reset": [True, False, True, False]})
    >>> learning_curve(frame, np.array([0.0, 1.0, 1.0, 1.0]))["mean"].tolist()
    [0.5, 1.0]
    """
    correct = one_per_row(frame, correct, "correct")
    if bins is not None and bins < 1:
        raise DataError(f"a learning curve with {bins} bins; expected at least 1. Choose another number of bins.")
    row = np.arange(len(frame))
    position = row - np.maximum.accumulate(np.where(frame["reset"].to_numpy(), row, 0))
    length = int(position.max()) + 1 if len(frame) else 0
    if bins is None:
        bins = length if length <= _UNBINNED else _BINS
    width = max(1, math.ceil(length / max(bins, 1)))
    first = np.arange(0, length, width)
    centre = (first + 1 + np.minimum(first + width, length)) / 2
    return over_subjects(frame["subject_idx"].to_numpy(), position // width, correct, centre)


def post_reversal_curve(frame: pd.DataFrame, best: np.ndarray, before: int = 5, after: int = 15) -> pd.DataFrame:
    """Average choices of the currently best option around each change of the best option.

    Lag 0 is the first trial with the new best option. Before it the old one counts as best. Trials that lie
    beyond a neighbouring reversal, or in another run, are left out.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    best : ndarray, shape (row,)
        Code of the best option, NaN where unknown; see `best_option`.
    before, after : int
        Trials shown before and after a reversal.

    Returns
    -------
    DataFrame
        Columns x (lag, from ``-before`` to ``after``), mean, se, lower, upper, n_subjects, n_reversals
        (that reach this lag). Means are NaN if the best option never changes.

    Raises
    ------
    DataError
        If `best` does not have one entry per row.
    """
    best = one_per_row(frame, best, "best")
    reset = frame["reset"].to_numpy()
    changed = np.zeros(len(frame), dtype=bool)
    changed[1:] = (best[1:] != best[:-1]) & np.isfinite(best[1:]) & np.isfinite(best[:-1]) & ~reset[1:]
    # A stretch is a piece of a run with one best option; a lag must stay in the stretch it belongs to.
    stretch = np.cumsum(reset | changed)
    at = np.flatnonzero(changed)[:, None]
    lags = np.arange(-before, after + 1)
    rows = at + lags
    inside = (rows >= 0) & (rows < len(frame))
    rows = np.where(inside, rows, at)
    inside &= stretch[rows] == np.where(lags >= 0, stretch[at], stretch[at] - 1)
    chose_best = np.where(scored(frame) & np.isfinite(best), (frame["choice"].to_numpy() == best).astype(float), np.nan)
    lag_idx = np.broadcast_to(np.arange(len(lags)), rows.shape)[inside]
    rows = rows[inside]
    table = over_subjects(frame["subject_idx"].to_numpy(), lag_idx, chose_best, lags, rows=rows)
    counted = np.isfinite(chose_best[rows])
    table["n_reversals"] = np.bincount(lag_idx[counted], minlength=len(lags))
    return table


def win_stay_lose_shift(
    frame: pd.DataFrame, *, predicted: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Compute for each subject how often a win is followed by a stay and a loss by a shift.

    A trial is paired with the previous trial of the same run that had the same options on offer (with fixed
    options: the trial before). Staying is to choose the same option again. Pairs whose first trial was missed
    or showed no outcome, and pairs whose second trial is not scored (missed, forced, masked), do not count.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices, one step ahead: each is compared with the *observed* choice and outcome before it.
        By default the choices of `frame`.
    threshold : float, optional
        Outcomes above it are wins; by default `win_threshold` of `frame`. For simulated data pass the
        threshold of the observed data.

    Returns
    -------
    DataFrame
        One row per subject: subject, p_stay_win, p_shift_loss (NaN without such trials), n_win, n_loss.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.
    """
    import pandas as pd

    choice = frame["choice"].to_numpy()
    now_choice = choice if predicted is None else one_per_row(frame, predicted, "predicted")
    threshold = win_threshold(frame) if threshold is None else threshold
    offer_set = offer_sets(frame)[0]
    run = np.cumsum(frame["reset"].to_numpy())
    key = run * (offer_set.max(initial=0) + 1) + offer_set
    order = np.argsort(key, kind="stable")
    previous, now = order[:-1], order[1:]
    paired = (key[previous] == key[now]) & has_outcome(frame)[previous] & scored(frame)[now]
    previous, now = previous[paired], now[paired]
    stay = now_choice[now] == choice[previous]
    win = frame["outcome"].to_numpy()[previous] > threshold
    subject_idx = frame["subject_idx"].to_numpy()
    who, n_subjects = subject_idx[now], int(subject_idx.max(initial=-1)) + 1
    return pd.DataFrame(
        {
            "subject": _subject_names(frame, n_subjects),
            "p_stay_win": mean_by(who[win], stay[win].astype(float), n_subjects),
            "p_shift_loss": mean_by(who[~win], (~stay[~win]).astype(float), n_subjects),
            "n_win": np.bincount(who[win], minlength=n_subjects),
            "n_loss": np.bincount(who[~win], minlength=n_subjects),
        }
    )


def stay_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Average the table of `win_stay_lose_shift` over subjects.

    Returns
    -------
    DataFrame
        Two rows, x "stay after win" and "shift after loss", with mean, se, lower, upper, n_subjects.
    """
    per_subject = table[["p_stay_win", "p_shift_loss"]].to_numpy(dtype=float)
    return mean_and_se(per_subject, [STAY_AFTER_WIN, SHIFT_AFTER_LOSS])


def _subject_names(frame: pd.DataFrame, n_subjects: int) -> np.ndarray:
    """Return the subjects' ids in the order of `subject_idx`."""
    names = np.empty(n_subjects, dtype=object)
    subject_idx, first = np.unique(frame["subject_idx"].to_numpy(), return_index=True)
    names[subject_idx] = frame["subject"].to_numpy()[first]
    return names
