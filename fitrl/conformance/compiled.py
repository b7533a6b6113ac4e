"""The compiled likelihood of a model, for any rows: data are swapped without compiling again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from fitrl.conformance.interpreters import Rows
from fitrl.engine.inputs import Located
from fitrl.engine.likelihood import make_likelihood
from fitrl.engine.trace import Program
from fitrl.hierarchy.build import natural_tensor
from fitrl.language.parameters import Parameter

Scores = dict[str, np.ndarray]

SAME = 1e-9  # largest difference of log probabilities that rounding explains


class CompiledLikelihood:
    """Log probabilities of scored rows, and their gradient on the link scale.

    Parameters
    ----------
    program : Program
        The traced model.
    parameters : mapping of str to Parameter
        Fitted parameters, for their links.
    rows : Rows
        Any rows of the task; they decide on names and types of columns only.
    engine : {"fast", "reference"}
        The reference gives no gradient, and is compiled for a quick start and slow runs.
    """

    def __init__(self, program: Program, parameters: Mapping[str, Parameter], rows: Rows, engine: str = "fast"):
        self.program, self.engine = program, engine
        cells = np.arange(rows.n_sequences)
        likelihood = make_likelihood(program, *self._data(rows, cells), engine=engine)
        # A model for which there is no fast code has a likelihood in which nothing is packed.
        self._packed = getattr(likelihood, "packed", None)
        eta = {name: pt.dvector(name) for name in parameters}
        arrays = {n: pt.tensor(n, dtype=a.dtype.name, shape=(None,) * a.ndim) for n, a in likelihood.arrays.items()}
        flags: dict[str, Any] = {}
        if engine == "reference":
            flags = {"mode": pytensor.compile.mode.Mode(linker="py", optimizer="fast_compile")}
        # Scan compiles its inner graph by the configured mode, not by that of the function around it.
        with pytensor.config.change_flags(**flags):
            natural = {name: natural_tensor(eta[name], p) for name, p in parameters.items()}
            found = list(likelihood.scores(natural, arrays, {}).values())
            outputs = list(found)
            if not flags and eta:
                outputs += pytensor.grad(pt.add(*[score.sum() for score in found]), list(eta.values()))
            self._function = pytensor.function(
                [*eta.values(), *arrays.values()], outputs, on_unused_input="ignore", trust_input=True
            )

    def _data(
        self, rows: Rows, cell: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Located], dict[str, np.ndarray]]:
        where = {name: Located(None, cell) for name in self.program.parameters}
        return rows.columns, rows.sequence, where, scored_rows(self.program, rows)

    def __call__(self, eta: np.ndarray, rows: Rows, cell: np.ndarray | None = None) -> tuple[Scores, np.ndarray]:
        """Score the rows.

        Parameters
        ----------
        eta : ndarray, shape (parameter, cell)
            Link-scale values.
        rows : Rows
            The data.
        cell : ndarray of int, shape (sequence,), optional
            Cell of each sequence; by default each sequence has its own.

        Returns
        -------
        scores : dict of str to ndarray, shape (scored row,)
            Log probability by emission.
        gradient : ndarray, shape (parameter, cell)
            Of the sum of all scores; empty for the reference.
        """
        data = self._data(rows, np.arange(rows.n_sequences) if cell is None else cell)
        pack = self._packed
        arrays = pack(*data) if pack else make_likelihood(self.program, *data, engine="reference").arrays
        found = self._function(*[np.ascontiguousarray(row, dtype=float) for row in eta], *arrays.values())
        n = len(self.program.log_probability)
        scores = dict(zip(self.program.log_probability, found[:n], strict=True))
        return scores, np.array(found[n:])


def scored_rows(program: Program, rows: Rows) -> dict[str, np.ndarray]:
    """Rows that count, per emission."""
    return {name: np.flatnonzero(rows.columns[f"mask_{name}"]) for name in program.log_probability}


def difference(x: np.ndarray, y: np.ndarray) -> float:
    """Largest difference, relative where numbers are above 1."""
    return float((np.abs(x - y) / (1 + np.abs(x))).max(initial=0.0))
