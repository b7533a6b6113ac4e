"""From rows to a rectangle of trials by sequences, and the index that leads back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """Where each row stands in a rectangle (trial, sequence) that is padded below.

    Attributes
    ----------
    rows : ndarray of int, shape (trial, sequence)
        Row of the trial table; padding repeats row 0.
    filled : ndarray of bool, shape (trial, sequence)
        Whether the place holds a row.
    place : ndarray of int, shape (row,)
        Place of each row in the flattened rectangle.
    """

    rows: np.ndarray
    filled: np.ndarray
    place: np.ndarray


def lay_out(sequence: np.ndarray) -> Layout:
    """Lay rows out by sequence, in the order in which they stand.

    Parameters
    ----------
    sequence : ndarray of int, shape (row,)
        Sequence of each row, 0-based; rows of a sequence are in trial order.

    Examples
    --------
    >>> lay_out(np.array([0, 0, 1])).filled
    array([[ True,  True],
           [ True, False]])
    """
    sequence = np.asarray(sequence)
    n_sequences = int(sequence.max()) + 1 if len(sequence) else 0
    counts = np.bincount(sequence, minlength=n_sequences)
    order = np.argsort(sequence, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    step = np.empty(len(sequence), dtype=np.int64)
    step[order] = np.arange(len(sequence)) - np.repeat(first, counts)
    shape = (int(counts.max(initial=0)), n_sequences)
    rows, filled = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    rows[step, sequence], filled[step, sequence] = np.arange(len(sequence)), True
    return Layout(rows, filled, step * n_sequences + sequence)
