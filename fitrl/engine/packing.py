"""From rows to blocks of lanes: the order in which the fast engine reads the trial table.

A lane is a sequence. Lanes of similar length share a block, so that a short sequence does not wait for a long one; a
block is narrow enough for its history to stay in the cache, and a multiple of the width of vector instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_VECTOR = 8  # float64 values in the widest vector register
_CACHE = 2**20  # bytes of history per block: about a level-2 cache


@dataclass(frozen=True)
class Packing:
    """Where rows stand in blocks.

    Attributes
    ----------
    rows : ndarray of int, shape (step, lane)
        Row of the trial table at each place, -1 for padding. The steps of a block follow each other.
    read : ndarray of int, shape (step, lane)
        The same, but padding repeats the last row of its lane.
    lanes : ndarray of int, shape (block, lane)
        Sequence of each lane; lanes without one repeat the first of their block.
    blocks : ndarray of int, shape (block + 1,)
        First step of each block, and the end.
    """

    rows: np.ndarray
    read: np.ndarray
    lanes: np.ndarray
    blocks: np.ndarray

    def column(self, values: np.ndarray) -> np.ndarray:
        """Lay out a column of the trial table, shape (step, lane).

        Padding repeats a row of its own sequence. Its results count for nothing, but they are computed: zeros in its
        place could divide by zero, and the reverse pass would add 0 * inf to the gradient.
        """
        return values[self.read]

    def resets(self, values: np.ndarray) -> np.ndarray:
        """Lay out the column ``reset``; padding starts afresh, so that nothing grows along it."""
        return np.where(self.rows >= 0, values[self.read], True)

    def places(self, scored: np.ndarray) -> np.ndarray:
        """Position of each place among the scored rows, -1 where it is not scored, shape (step, lane)."""
        position = np.full(self.rows.max(initial=0) + 2, -1, dtype=np.int32)
        position[scored] = np.arange(len(scored), dtype=np.int32)
        return position[self.rows]  # padding, -1, reads the last entry, which is -1


def pack(sequence: np.ndarray, n_cells: int, width: int | None = None) -> Packing:
    """Pack rows into blocks.

    Parameters
    ----------
    sequence : ndarray of int, shape (row,)
        Sequence of each row; the rows of a sequence are in trial order.
    n_cells : int
        Numbers per trial that the kernel keeps between its passes.
    width : int, optional
        Lanes per block; by default what fits the cache.

    Examples
    --------
    >>> pack(np.array([0, 0, 1]), n_cells=2, width=8).rows[:, :3]
    array([[ 0,  2, -1],
           [ 1, -1, -1]])
    """
    sequence = np.asarray(sequence)
    counts = np.bincount(sequence)
    order = np.argsort(-counts, kind="stable")
    width = width or _width(counts[order], n_cells)
    by_sequence = np.argsort(sequence, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)])
    n_blocks = -(-len(counts) // width)
    lanes = np.zeros((n_blocks, width), dtype=np.int64)
    rows, read, ends = [], [], [0]
    for b in range(n_blocks):
        members = order[b * width : (b + 1) * width]
        lanes[b] = np.concatenate([members, np.full(width - len(members), members[0])])
        steps = np.arange(counts[members[0]])[:, None]
        last = counts[lanes[b]] - 1
        repeated = by_sequence[first[lanes[b]] + np.minimum(steps, last)]
        is_row = (steps <= last) & (np.arange(width) < len(members))
        rows.append(np.where(is_row, repeated, -1))
        read.append(repeated)
        ends.append(ends[-1] + len(steps))
    return Packing(np.concatenate(rows), np.concatenate(read), lanes, np.array(ends, dtype=np.int64))


def _width(longest_first: np.ndarray, n_cells: int) -> int:
    """Lanes per block that cost least.

    A block runs as many steps as its longest sequence has; a step costs its vectors, and about one more for itself.
    """
    fits = _CACHE // (8 * _VECTOR * max(int(longest_first[0]) * n_cells, 1))
    widths = range(1, min(max(fits, 8), 16, -(-len(longest_first) // _VECTOR)) + 1)
    return _VECTOR * min(widths, key=lambda vectors: longest_first[:: _VECTOR * vectors].sum() * (vectors + 1))


def column_dtypes(columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Kind of each column as the kernel reads it: bool, int64 or float64."""
    kinds = {"b": "bool", "i": "int64", "u": "int64", "f": "float64"}
    return {name: kinds[values.dtype.kind] for name, values in columns.items()}
