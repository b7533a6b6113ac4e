"""Signatures of stimuli: how actions are learned by the number of stimuli, and what is chosen when what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fitrl.tasks.scoring import one_per_row, scored
from fitrl.tasks.signatures_common import over_subjects, win_threshold

if TYPE_CHECKING:
    import pandas as pd


def right_actions(frame: pd.DataFrame, n_actions: int) -> tuple[np.ndarray, np.ndarray]:
    """Find out from the outcomes which action is right for which stimulus.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials with ``stimulus``, ``choice`` and ``outcome``; a stimulus is another one after a reset.
    n_actions : int
        Number of actions.

    Returns
    -------
    stimulus : ndarray of int, shape (row,)
        Which row of `probability` belongs to each trial.
    probability : ndarray, shape (stimulus of a person, action)
        That an action is right: 1 and 0 where it was found; where it was not, all that were not wrong are as probable.
        NaN where outcomes contradict each other, as where they are a matter of chance or change.
    """
    run = np.cumsum(frame["reset"].to_numpy())
    pairs = np.stack([run, frame["stimulus"].to_numpy()], axis=1)
    stimulus = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    rows = (frame["outcome_given"] & frame["choice_given"]).to_numpy()
    outcome = frame["outcome"].to_numpy()
    lowest, highest = outcome[rows].min(initial=np.inf), outcome[rows].max(initial=-np.inf)
    won = outcome > (lowest if lowest < highest else win_threshold(frame))  # right actions may pay different amounts
    counts = np.zeros((2, stimulus.max(initial=-1) + 1, n_actions), dtype=int)
    np.add.at(counts, (won[rows].astype(int), stimulus[rows], frame["choice"].to_numpy()[rows]), 1)
    wrong, right = counts > 0
    found = right.sum(axis=1, keepdims=True)
    left = np.where(found == 1, right, ~wrong)
    contradicted = (found > 1) | (right & wrong).any(axis=1, keepdims=True) | wrong.all(axis=1, keepdims=True)
    total = np.maximum(left.sum(axis=1, keepdims=True), 1)
    return stimulus, np.where(contradicted, np.nan, left / total)


def learning_by_set_size(
    frame: pd.DataFrame, n_actions: int, *, predicted: np.ndarray | None = None, most: int = 10
) -> pd.DataFrame:
    """Average correct choices by how often the stimulus was shown, for each number of stimuli in a block.

    Where people keep associations in working memory they learn few stimuli at once, and many slowly.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials with ``stimulus``, ``set_size``, ``choice`` and ``outcome``.
    n_actions : int
        Number of actions.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices; by default those of `frame`. Which action is right is found from `frame`.
    most : int
        Presentations of a stimulus that are shown.

    Returns
    -------
    DataFrame
        One row per set size and presentation: set_size, presentation (from 1), x (both in words), mean, se, lower,
        upper, n_subjects. NaN where outcomes do not tell which action is right. Forced or masked choices do not count,
        their presentations do.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.

    References
    ----------
    Collins & Frank 2012, Eur J Neurosci, 10.1111/j.1460-9568.2011.07980.x.
    """
    import pandas as pd

    choice = frame["choice"].to_numpy() if predicted is None else one_per_row(frame, predicted, "predicted")
    stimulus, probability = right_actions(frame, n_actions)
    correct = np.full(len(frame), np.nan)
    rows = np.flatnonzero(scored(frame) & np.isfinite(choice))
    correct[rows] = probability[stimulus[rows], choice[rows].astype(int)]
    shown = pd.Series(stimulus).groupby(stimulus).cumcount().to_numpy()
    sizes, size = np.unique(frame["set_size"].to_numpy(), return_inverse=True)
    rows = np.flatnonzero(shown < most)
    at = size[rows] * most + shown[rows]
    places = [(of, k) for of in sizes for k in range(1, most + 1)]
    names = [f"{of:g} stimuli, presentation {k}" for of, k in places]
    table = over_subjects(frame["subject_idx"].to_numpy(), at, correct, names, rows=rows)
    table.insert(0, "presentation", [k for _, k in places])
    table.insert(0, "set_size", [of for of, _ in places])
    return table[np.isin(np.arange(len(places)), at)].reset_index(drop=True)


def choice_shares(
    frame: pd.DataFrame,
    name: str,
    labels: Sequence[str],
    *,
    cue: str | None = None,
    levels: Sequence[str] = (),
    predicted: np.ndarray | None = None,
) -> pd.DataFrame:
    """Average how often each option is chosen, overall and for each level of what is shown.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    name : str
        The choice.
    labels : sequence of str
        Its options in the order of their codes; of two, the second alone is counted.
    cue : str, optional
        Column of what is shown.
    levels : sequence of str
        Its levels in the order of their codes.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices; by default those of `frame`.

    Returns
    -------
    DataFrame
        x ("choice gamble", "choice gamble, deck 1", ...), mean, se, lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.
    """
    import pandas as pd

    choice = frame[name].to_numpy() if predicted is None else one_per_row(frame, predicted, "predicted")
    subject_idx, scored = frame["subject_idx"].to_numpy(), frame[f"mask_{name}"].to_numpy()
    parts = []
    for code, label in enumerate(labels):
        if len(labels) == 2 and code == 0:
            continue
        chosen = np.where(scored, choice == code, np.nan)
        parts.append(over_subjects(subject_idx, np.zeros(len(frame), dtype=int), chosen, [f"{name} {label}"]))
        if cue is not None:
            names = [f"{name} {label}, {cue} {level}" for level in levels]
            parts.append(over_subjects(subject_idx, frame[cue].to_numpy(), chosen, names))
    return pd.concat(parts, ignore_index=True)
