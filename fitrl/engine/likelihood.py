"""One interface to both engines: arrays in, log probabilities of the scored rows out.

`FastLikelihood` is the compiled kernel; `ReferenceLikelihood` is `pytensor.scan`, the oracle and the way to JAX.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytensor
import pytensor.tensor as pt

from fitrl.engine.emit import UnsupportedOperation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.reference import log_likelihood
from fitrl.engine.trace import Program
from fitrl.errors import ModelError

log = logging.getLogger("fitrl")

ENGINES = ("fast", "reference")

# PyTensor leaves some twenty files of generated text per fit in the temporary directory, for good, unless it is told
# where to keep them: then they have the same names in every process, and old ones are removed.
if getattr(pytensor.config, "generated_src_dir", None) == "":
    pytensor.config.generated_src_dir = str(Path(pytensor.config.compiledir) / "generated_sources")

_TRIALS_PER_WORKER = 30_000  # at 5 to 90 ns each ten times what it costs to start a thread, or more


class Likelihood(Protocol):
    """A likelihood of one data set, ready for a graph.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Everything but parameters and responses that it depends on; passed back to `scores` as tensors, so
        that data can be swapped without compiling again.
    """

    arrays: dict[str, np.ndarray]

    def scores(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any], responses: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Log probability of every scored row, per emission.

        Parameters
        ----------
        values : mapping of str to tensor, shape (cell,)
            Natural-scale values of every parameter.
        arrays : mapping of str to tensor
            The arrays of this likelihood.
        responses : mapping of str to tensor, shape (scored row,)
            Responses to score instead of those in the data, by emission.
        """


def make_likelihood(
    program: Program,
    columns: Mapping[str, np.ndarray],
    sequence: np.ndarray,
    index: Mapping[str, Located],
    scored: Mapping[str, np.ndarray],
    engine: str = "fast",
    n_cores: int = 1,
) -> Likelihood:
    """Prepare the likelihood of a data set.

    Parameters
    ----------
    program : Program
        The traced model.
    columns : mapping of str to ndarray, shape (row,)
        Columns of the trial table, at least those of the program.
    sequence : ndarray of int, shape (row,)
        Sequence of each row.
    index : mapping of str to Located
        Where the values of each parameter apply (`values` is ignored).
    scored : mapping of str to ndarray of int
        Scored rows of each emission.
    engine : {"fast", "reference"}
        A model that the fast engine has no code for falls back to the reference, with a notice in the log.
    n_cores : int
        Cores for one gradient: where there are trials enough, the fast engine works in as many threads.
    """
    missing = [name for name in program.columns if name not in columns]
    if missing:
        raise ModelError(f"the model needs the column {', '.join(missing)}, which the data do not have.")
    if not program.log_probability:
        raise ModelError("this model chooses nothing, so there is no likelihood; it can be simulated and filtered.")
    if engine not in ENGINES:
        raise ModelError(f'"{engine}" is no engine; there are {", ".join(ENGINES)}.')
    if engine == "fast":
        try:
            return FastLikelihood(program, columns, sequence, index, scored, n_cores)
        except UnsupportedOperation as error:
            log.warning("This model uses %s, for which there is no fast code; the slower reference runs.", error)
    return ReferenceLikelihood(program, columns, sequence, index, scored)


def _n_workers(sizes: np.ndarray, blocks: np.ndarray, n_cores: int) -> int:
    """Threads that a gradient is worth: to start one must cost little beside what it does."""
    n_trials = sizes[0] * blocks[-1]
    return int(max(min(n_cores, len(blocks) - 1, n_trials // _TRIALS_PER_WORKER), 1))


class FastLikelihood:
    """The compiled kernel on packed columns."""

    def __init__(
        self,
        program: Program,
        columns: Mapping[str, np.ndarray],
        sequence: np.ndarray,
        index: Mapping[str, Located],
        scored: Mapping[str, np.ndarray],
        n_cores: int = 1,
    ):
        from fitrl.engine.op import Kernel, LogLikelihood
        from fitrl.engine.packing import column_dtypes

        used = {name: np.asarray(columns[name]) for name in program.columns}
        self.program = program
        self.by_row = frozenset(name for name, located in index.items() if located.by_row)
        self.kernel = Kernel(program, column_dtypes(used), self.by_row)
        self.arrays = self.packed(columns, sequence, index, scored)
        workers = _n_workers(self.arrays["sizes"], self.arrays["blocks"], n_cores)
        if workers > 1:
            self.kernel = Kernel(program, column_dtypes(used), self.by_row, threaded=True)
            self.arrays["sizes"][-1] = workers
        self.operation = LogLikelihood(self.kernel)

    def packed(
        self,
        columns: Mapping[str, np.ndarray],
        sequence: np.ndarray,
        index: Mapping[str, Located],
        scored: Mapping[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        """Arrays of a data set, which may be another one with the same columns: the kernel stays."""
        from fitrl.engine.packing import pack

        packing = pack(sequence, self.kernel.n_history)
        arrays: dict[str, np.ndarray] = {}
        for name in self.program.parameters:
            cells = np.asarray(index[name].index)
            where = packing.column(cells) if name in self.by_row else cells[packing.lanes]
            arrays[f"index_{name}"] = where.astype(np.int32)
        for name in self.program.columns:
            values = np.asarray(columns[name])
            column = packing.resets(values) if name == "reset" else packing.column(values)
            narrow = {"b": np.int8, "f": np.float64}  # rows are read from memory, so their size is time
            arrays[f"trial_{name}"] = column.astype(narrow.get(column.dtype.kind, np.int32))
        for name in self.program.log_probability:
            arrays[f"place_{name}"] = packing.places(scored[name])
        n_scored = [len(scored[name]) for name in self.program.log_probability]
        arrays["sizes"] = np.array([packing.rows.shape[1], *n_scored, 1])
        arrays["blocks"] = packing.blocks
        return arrays

    def scores(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any], responses: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Log probability of every scored row; see `Likelihood`."""
        columns = {name: arrays[f"trial_{name}"] for name in self.program.columns}
        for name, response in responses.items():
            place = arrays[f"place_{name}"]
            at = place.flatten()
            given = response[pt.maximum(at, 0)].reshape(place.shape)
            columns[name] = pt.cast(pt.switch(place >= 0, given, columns[name]), columns[name].dtype)
        inputs = [x for name in self.program.parameters for x in (values[name], arrays[f"index_{name}"])]
        inputs += [columns[name] for name in self.program.columns]
        inputs += [arrays[f"place_{name}"] for name in self.program.log_probability]
        found = self.operation(*inputs, arrays["sizes"], arrays["blocks"], return_list=True)
        return dict(zip(self.program.log_probability, found, strict=True))


class ReferenceLikelihood:
    """The scan on a rectangle of trials and sequences."""

    def __init__(
        self,
        program: Program,
        columns: Mapping[str, np.ndarray],
        sequence: np.ndarray,
        index: Mapping[str, Located],
        scored: Mapping[str, np.ndarray],
    ):
        self.program = program
        self.by_row = {name: located.by_row for name, located in index.items()}
        layout = lay_out(sequence)
        self.arrays: dict[str, np.ndarray] = {
            f"index_{name}": np.asarray(index[name].index) for name in program.parameters
        }
        for name in program.columns:
            values = np.asarray(columns[name])
            self.arrays[f"trial_{name}"] = values.astype(np.int8) if values.dtype == bool else values
        self.arrays |= {f"scored_{name}": np.asarray(scored[name]) for name in program.log_probability}
        self.arrays["layout_rows"] = layout.rows
        self.arrays["layout_filled"] = layout.filled.astype(np.int8)
        self.arrays["layout_place"] = layout.place

    def scores(
        self, values: Mapping[str, Any], arrays: Mapping[str, Any], responses: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Log probability of every scored row; see `Likelihood`."""
        columns = {name: arrays[f"trial_{name}"] for name in self.program.columns}
        for name, response in responses.items():
            columns[name] = pt.set_subtensor(columns[name][arrays[f"scored_{name}"]], response)
        located = {name: Located(values[name], arrays[f"index_{name}"], by_row) for name, by_row in self.by_row.items()}
        found = log_likelihood(
            self.program,
            located,
            columns,
            arrays["layout_rows"],
            arrays["layout_filled"].astype(bool),
            arrays["layout_place"],
        )
        return {name: score[arrays[f"scored_{name}"]] for name, score in found.items()}
