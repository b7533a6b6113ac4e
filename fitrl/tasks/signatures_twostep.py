"""Signatures of two-step tasks: how often the first choice is repeated, or leads to the same place again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fitrl.tasks.scoring import one_per_row
from fitrl.tasks.signatures_common import over_subjects, win_threshold

if TYPE_CHECKING:
    import pandas as pd

TRANSITIONS = ("reward, common", "reward, rare", "no reward, common", "no reward, rare")
STARTS = tuple(f"{outcome} outcome, {start} start" for outcome in ("high", "low") for start in ("same", "other"))


def stay_by_transition(
    frame: pd.DataFrame, *, predicted: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Average how often the first choice of a two-step task is repeated, by reward and transition before it.

    Model-free control stays after reward, whatever the transition; model-based control stays after reward that
    followed a common transition, and after none that followed a rare one.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials with ``choice1``, ``state2`` and ``outcome``; a transition is common where ``state2``
        equals ``choice1``.
    predicted : ndarray of int, shape (row,), optional
        Predicted first choices, one step ahead: each is compared with the *observed* trial before it.
    threshold : float, optional
        Outcomes above it are rewards; by default `win_threshold` of `frame`.

    Returns
    -------
    DataFrame
        Four rows, x from "reward, common" to "no reward, rare", with mean, se, lower, upper, n_subjects. A trial with a
        missed response, and the one after it, do not count.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.
    """
    choice = frame["choice1"].to_numpy()
    now_choice = choice if predicted is None else one_per_row(frame, predicted, "predicted")
    threshold = win_threshold(frame) if threshold is None else threshold
    whole = (frame["choice1_given"] & frame["choice2_given"] & frame["outcome_given"]).to_numpy()
    now = np.flatnonzero(frame["mask_choice1"].to_numpy() & ~frame["reset"].to_numpy())
    now = now[whole[now - 1]]
    before = now - 1
    no_reward = frame["outcome"].to_numpy()[before] <= threshold
    rare = frame["state2"].to_numpy()[before] != choice[before]
    stay = np.full(len(frame), np.nan)
    stay[now] = now_choice[now] == choice[before]
    cell = np.zeros(len(frame), dtype=int)
    cell[now] = 2 * no_reward + rare
    return over_subjects(frame["subject_idx"].to_numpy(), cell, stay, list(TRANSITIONS))


def stay_by_start(
    frame: pd.DataFrame, *, predicted: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Average how often people of Kool's task return to a goal state, by its outcome and by where they start.

    Model-free control returns after a high outcome from the same start state only, for it knows the options of that
    state alone; model-based control returns from the other start state just as often.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials with ``state1``, ``state2`` and ``outcome``.
    predicted : ndarray of int, shape (row,), optional
        Goal states that predicted choices lead to, one step ahead: each is compared with the *observed* trial before.
    threshold : float, optional
        Outcomes above it are high; by default the median of `frame`.

    Returns
    -------
    DataFrame
        Four rows, x from "high outcome, same start" to "low outcome, other start", with mean, se, lower, upper,
        n_subjects. A trial with a missed response, and the one after it, do not count.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.

    References
    ----------
    Kool, Cushman & Gershman 2016, PLoS Comput Biol, 10.1371/journal.pcbi.1005090.
    """
    goal, start, outcome = (frame[name].to_numpy() for name in ("state2", "state1", "outcome"))
    now_goal = goal if predicted is None else one_per_row(frame, predicted, "predicted")
    threshold = median_outcome(frame) if threshold is None else threshold
    whole = (frame["choice1_given"] & frame["outcome_given"]).to_numpy()
    now = np.flatnonzero(frame["mask_choice1"].to_numpy() & ~frame["reset"].to_numpy())
    now = now[whole[now - 1]]
    before = now - 1
    stay = np.full(len(frame), np.nan)
    stay[now] = now_goal[now] == goal[before]
    cell = np.zeros(len(frame), dtype=int)
    cell[now] = 2 * (outcome[before] <= threshold) + (start[now] != start[before])
    return over_subjects(frame["subject_idx"].to_numpy(), cell, stay, list(STARTS))


def median_outcome(frame: pd.DataFrame) -> float:
    """Return the median of the outcomes that were shown; 0 if there are none."""
    shown = frame["outcome"].to_numpy()[frame["outcome_given"].to_numpy()]
    return float(np.median(shown)) if shown.size else 0.0
