"""Signatures of options that are offered in sets, such as pairs: accuracy in each set, and transfer to new pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fitrl.tasks.scoring import offer_sets, offers_of, one_per_row
from fitrl.tasks.signatures_common import over_subjects

if TYPE_CHECKING:
    import pandas as pd


def accuracy(frame: pd.DataFrame, correct: np.ndarray, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Average correct choices, over all trials and for each set of options on offer.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    correct : ndarray, shape (row,)
        1, 0 or a probability; NaN where undefined.
    labels : sequence of str, optional
        Names of the options in the order of their codes; by default the codes.

    Returns
    -------
    DataFrame
        First row x "all", then one row per set on offer ("A v B") if there is more than one; mean, se, lower,
        upper, n_subjects, n_trials (with a defined `correct`).

    Raises
    ------
    DataError
        If `correct` does not have one entry per row.
    """
    import pandas as pd

    correct = one_per_row(frame, correct, "correct")
    subject_idx = frame["subject_idx"].to_numpy()
    offer_set, sets = offer_sets(frame)
    defined = np.isfinite(correct)
    overall = over_subjects(subject_idx, np.zeros(len(frame), dtype=int), correct, ["all"])
    overall["n_trials"] = int(defined.sum())
    if len(sets) < 2:
        return overall
    names = [" v ".join(labels[c] if labels is not None else str(c) for c in codes) for codes in sets]
    by_set = over_subjects(subject_idx, offer_set, correct, names)
    by_set["n_trials"] = np.bincount(offer_set[defined], minlength=len(sets))
    return pd.concat([overall, by_set], ignore_index=True)


def choose_avoid(
    frame: pd.DataFrame,
    best: int,
    worst: int,
    *,
    predicted: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Average how often the best option is chosen and the worst avoided in the new pairs of a transfer phase.

    In the probabilistic selection task: choose A, avoid B. New pairs are those that were never shown with an outcome.
    They count where one of the two options, and not both, is on offer, in trials with a response and without an
    outcome. A choice that is held out of the fit (``mask_choice`` 0) counts as well.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials; training and transfer of a person in one sequence.
    best, worst : int
        Codes of the two options; see `extreme_options`.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices; by default the choices of `frame`. Which trials count is decided by `frame`.
    labels : sequence of str, optional
        Names of the options in the order of their codes; by default the codes.

    Returns
    -------
    DataFrame
        Two rows, x "choose A" and "avoid B" (with the labels in the place of A and B), with mean, se, lower, upper,
        n_subjects. Means are NaN without new pairs.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.

    References
    ----------
    Frank et al. 2004, Science, 10.1126/science.1102941.
    """
    names = [str(code) if labels is None else labels[code] for code in (best, worst)]
    x = [f"choose {names[0]}", f"avoid {names[1]}"]
    subject_idx, offers = frame["subject_idx"].to_numpy(), offers_of(frame)
    choice = frame["choice"].to_numpy() if predicted is None else one_per_row(frame, predicted, "predicted")
    if offers is None or offers.shape[1] != 2:
        return over_subjects(subject_idx, np.zeros(len(frame), dtype=int), np.full(len(frame), np.nan), x)
    offer_set, sets = offer_sets(frame)
    shown = frame["outcome_given"].to_numpy()
    trained = np.zeros(len(sets), dtype=bool)
    trained[offer_set[shown]] = True
    has_best, has_worst = (offers == best).any(axis=1), (offers == worst).any(axis=1)
    counts = ~trained[offer_set] & (has_best != has_worst) & frame["choice_given"].to_numpy() & ~shown
    success = np.where(has_best, choice == best, choice != worst)
    return over_subjects(subject_idx, has_worst.astype(int), np.where(counts, success, np.nan), x)
