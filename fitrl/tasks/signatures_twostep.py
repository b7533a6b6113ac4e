"""Signatures of two-step tasks: how often the first choice is repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fitrl.tasks.scoring import one_per_row
from fitrl.tasks.signatures_common import over_subjects, win_threshold

if TYPE_CHECKING:
    import pandas as pd

TRANSITIONS = ("reward, common", "reward, rare", "no reward, common", "no reward, rare")


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
