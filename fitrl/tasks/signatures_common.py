"""What signatures of all tasks share: averages over subjects, bands of simulated data sets, what counts as a win."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitrl.errors import DataError
from fitrl.tasks.scoring import mean_by

if TYPE_CHECKING:
    import pandas as pd


def win_threshold(frame: pd.DataFrame) -> float:
    """Return the outcome above which a trial counts as a win.

    Zero if any outcome is negative, for losses and gains keep their sign; otherwise the midpoint between the
    smallest and the largest outcome in the data (0.5 for outcomes 0 and 1). If all outcomes are equal, half
    of that outcome, so that a task that always pays is all wins and one that never pays all losses.
    """
    outcome = frame["outcome"].to_numpy()[frame["outcome_given"].to_numpy()]
    if not outcome.size:
        return 0.0
    lowest, highest = float(outcome.min()), float(outcome.max())
    if lowest < 0:
        return 0.0
    return (lowest + highest) / 2 if lowest < highest else highest / 2


def predictive_band(tables: Sequence[pd.DataFrame], prob: float = 0.95) -> pd.DataFrame:
    """Join the same signature of many simulated data sets into one line and one band.

    Parameters
    ----------
    tables : sequence of DataFrame
        Tables with the columns x and mean, one per simulated data set, with equal x.
    prob : float
        Share of the simulated means that the band covers, between its equal-tailed limits.

    Returns
    -------
    DataFrame
        Columns x, mean (over data sets), lower, upper. NaN where no data set has a mean.

    Raises
    ------
    DataError
        If there are no tables, or their x differ.
    """
    import pandas as pd

    if not tables:
        raise DataError("no simulated data sets to summarise; expected at least one. Simulate some first.")
    x = tables[0]["x"]
    if any(not table["x"].equals(x) for table in tables):
        raise DataError(
            "the tables to summarise differ in x; expected the same signature of the same trials. "
            "Compute all of them with the same settings."
        )
    means = np.stack([table["mean"].to_numpy(dtype=float) for table in tables])
    band = np.full((3, means.shape[1]), np.nan)
    known = np.isfinite(means).any(axis=0)
    band[0, known] = np.nanmean(means[:, known], axis=0)
    band[1:, known] = np.nanquantile(means[:, known], [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    return pd.DataFrame({"x": x, "mean": band[0], "lower": band[1], "upper": band[2]})


def over_subjects(
    subject_idx: np.ndarray, x_idx: np.ndarray, value: np.ndarray, x: Sequence[Any] | np.ndarray, rows=None
) -> pd.DataFrame:
    """Average values per subject and place, then over subjects.

    Parameters
    ----------
    subject_idx : ndarray of int, shape (row,)
        Subject of each row.
    x_idx : ndarray of int, shape (row,)
        Place of each row: its index in `x`. With `rows`, one per entry of `rows`.
    value : ndarray, shape (row,)
        What is averaged; NaN does not count.
    x : sequence
        Names or positions of the places.
    rows : ndarray of int, optional
        The rows to take, aligned with `x_idx` (a row may come more than once); by default all.

    Returns
    -------
    DataFrame
        As of `mean_and_se`.
    """
    subject, taken = (subject_idx, value) if rows is None else (subject_idx[rows], value[rows])
    n_subjects = int(subject_idx.max(initial=-1)) + 1
    use = np.isfinite(taken)
    cell = (subject * len(x) + x_idx)[use]
    means = mean_by(cell, taken[use], n_subjects * len(x)).reshape(n_subjects, len(x))
    return mean_and_se(means, x)


def mean_and_se(per_subject: np.ndarray, x: Sequence[Any] | np.ndarray) -> pd.DataFrame:
    """Average over subjects.

    Parameters
    ----------
    per_subject : ndarray, shape (subject, x)
        One value per subject and place; NaN does not count.
    x : sequence
        Names or positions of the places.

    Returns
    -------
    DataFrame
        Columns x, mean, se (NaN below two subjects), lower, upper, n_subjects.
    """
    import pandas as pd

    known = np.isfinite(per_subject)
    n = known.sum(axis=0)
    unknown = np.full(len(n), np.nan)
    filled = np.where(known, per_subject, 0.0)
    mean = np.divide(filled.sum(axis=0), n, out=unknown.copy(), where=n > 0)
    squares = (np.where(known, per_subject - mean, 0.0) ** 2).sum(axis=0)
    se = np.sqrt(np.divide(squares, n * (n - 1), out=unknown.copy(), where=n > 1))
    return pd.DataFrame({"x": x, "mean": mean, "se": se, "lower": mean - se, "upper": mean + se, "n_subjects": n})
