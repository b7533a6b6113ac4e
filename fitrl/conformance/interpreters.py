"""Interpreters of a model side by side, on one table of rows: plain Python numbers, and the filter on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities, plain
from fitrl.language.model import Model


@dataclass
class Rows:
    """Columns of a trial table, and the sequence of each row.

    Attributes
    ----------
    columns : dict of str to ndarray, shape (row,)
        Numeric columns.
    sequence : ndarray of int, shape (row,)
        Sequence of each row, 0-based; rows of a sequence are in trial order.
    """

    columns: dict[str, np.ndarray]
    sequence: np.ndarray

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return int(self.sequence.max()) + 1

    def of(self, sequence: int) -> list[dict[str, Any]]:
        """Rows of one sequence as dictionaries of Python numbers."""
        rows = np.flatnonzero(self.sequence == sequence)
        return [{name: column[row].item() for name, column in self.columns.items()} for row in rows]

    def take(self, sequences: Sequence[int]) -> Rows:
        """Return some sequences, in another order; rows keep their order within each."""
        places = [np.flatnonzero(self.sequence == s) for s in sequences]
        rows = np.concatenate(places)
        number = np.repeat(np.arange(len(sequences)), [len(p) for p in places])
        return Rows({name: column[rows] for name, column in self.columns.items()}, number)

    def but(self, **columns: np.ndarray) -> Rows:
        """Return the same rows with some columns replaced."""
        return Rows({**self.columns, **columns}, self.sequence)


def run_plain(model: Model, task: Any, parameters: Mapping[str, Any], rows: Rows) -> dict[str, np.ndarray]:
    """Log probability of every row's emissions, one agent after the other, on Python numbers.

    Parameters
    ----------
    model, task
        The model and the configured task.
    parameters : mapping of str to ndarray, shape (sequence,)
        Natural-scale values; a number stands for all sequences.
    rows : Rows
        The data.

    Returns
    -------
    dict of str to ndarray, shape (row,)
    """
    found: dict[str, np.ndarray] = {}
    for s in range(rows.n_sequences):
        values = {name: float(np.broadcast_to(v, rows.n_sequences)[s]) for name, v in parameters.items()}
        places = np.flatnonzero(rows.sequence == s)
        for place, t in zip(places, plain(model, task, values, rows.of(s)), strict=True):
            for name, value in t.log_probability.items():
                found.setdefault(name, np.full(len(rows.sequence), np.nan))[place] = value
    return found


def run_filter(model: Model, task: Any, parameters: Mapping[str, Any], rows: Rows) -> dict[str, np.ndarray]:
    """Log probability of every row's emissions, all sequences at once, on arrays; as `run_plain`."""
    n = rows.n_sequences
    located = {k: Located(np.broadcast_to(v, n)[None, :], np.arange(n)) for k, v in parameters.items()}
    found = log_probabilities(model, task, located, rows.columns, lay_out(rows.sequence))
    return {name: value[0] for name, value in found.items()}
