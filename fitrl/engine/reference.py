"""The reference likelihood: `pytensor.scan` over trials, all sequences at once.

Slower than it could be and obviously right: the traced row is applied trial by trial to vectors over
sequences. It is the oracle of faster engines and, in PyTensor's JAX mode, the way to a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytensor.tensor as pt
from pytensor import scan

from fitrl.engine.inputs import Located
from fitrl.engine.lower import lower
from fitrl.engine.trace import Program
from fitrl.errors import ModelError


def log_likelihood(
    program: Program,
    parameters: Mapping[str, Located],
    columns: Mapping[str, Any],
    rows: Any,
    filled: Any,
    place: Any,
) -> dict[str, Any]:
    """Log probability of every row's emissions.

    Parameters
    ----------
    program : Program
        The traced model.
    parameters : mapping of str to Located
        Tensors of values, shape (cell,), and where they apply.
    columns : mapping of str to tensor, shape (row,)
        Columns of the trial table.
    rows, filled : tensor of int and bool, shape (trial, sequence)
        The layout (see `fitrl.engine.layout`).
    place : tensor of int, shape (row,)
        The way back.

    Returns
    -------
    dict of str to tensor, shape (row,)
        One per emission. Rows that are not scored hold a number without meaning.

    Raises
    ------
    ModelError
        If the data lack a column, or the model chooses nothing.
    """
    missing = [name for name in program.columns if name not in columns]
    if missing:
        raise ModelError(f"the model needs the column {', '.join(missing)}, which the data do not have.")
    if not program.log_probability:
        raise ModelError("this model chooses nothing, so there is no likelihood; it can be simulated and filtered.")
    by_trial: dict[tuple, Any] = {("column", name): columns[name][rows] for name in program.columns}
    by_trial["column", "reset"] = by_trial["column", "reset"].astype(bool)
    by_trial["column", "mask_update"] = pt.and_(by_trial["column", "mask_update"].astype(bool), filled)
    fixed: dict[tuple, Any] = {}
    for name, (values, index, by_row) in parameters.items():
        if by_row:
            by_trial["parameter", name] = values[index][rows]
        else:
            fixed["parameter", name] = values[index]

    n_sequences = rows.shape[1]
    zero = pt.zeros(n_sequences, dtype="float64")
    emissions = tuple(program.log_probability)
    n_columns, n_cells, n_tables = len(by_trial), len(program.cells), len(program.tables)
    n_state = n_cells + n_tables

    def step(*values):
        leaves = dict(zip(by_trial, values[:n_columns], strict=True))
        state = values[n_columns : n_columns + n_state]
        leaves |= {("state", *cell): value for cell, value in zip(program.cells, state[:n_cells], strict=True)}
        leaves |= dict(zip(fixed, values[n_columns + n_state : -1], strict=True))
        tables = _read_tables(program, dict(zip(program.tables, state[n_cells:], strict=True)), leaves)
        roots = [*program.after, *program.log_probability.values()]
        # Adding the zeros gives constants, too, one value per sequence.
        found = [values[-1] + out for out in lower(roots, leaves)]
        return [*found[:n_cells], *_written_tables(program, tables, leaves, values[-1]), *found[n_cells:]]

    outputs = scan(
        step,
        sequences=list(by_trial.values()),
        # The first row of every sequence resets, so what the state holds before it does not matter.
        outputs_info=[
            *[zero] * n_cells,
            *[pt.zeros((table.n_cells, n_sequences), dtype="float64") for table in program.tables.values()],
            *[None] * len(emissions),
        ],
        non_sequences=[*fixed.values(), zero],
        return_updates=False,
        return_list=True,
    )
    return {name: score.flatten()[place] for name, score in zip(emissions, outputs[n_state:], strict=True)}


def _read_tables(program: Program, tables: dict[str, Any], leaves: dict[tuple, Any]) -> dict[str, Any]:
    """Restart tables where the row resets, and add the cells that are read to the leaves."""
    for name, table in program.tables.items():
        tables[name] = pt.switch(leaves["column", "reset"], table.start, tables[name])
        for k, index in enumerate(lower(table.reads, leaves)):
            leaves["read", name, k] = tables[name][_cell(index, tables[name])]
    return tables


def _written_tables(program: Program, tables: dict[str, Any], leaves: dict[tuple, Any], zero: Any) -> list[Any]:
    """Tables after the row's writes, in order."""
    for name, table in program.tables.items():
        for index, value in table.writes:
            at, new = lower([index, value], leaves)
            tables[name] = pt.set_subtensor(tables[name][_cell(at, tables[name])], zero + new)
    return list(tables.values())


def _cell(index: Any, table: Any) -> tuple[Any, Any]:
    """One cell for every sequence."""
    lanes = pt.arange(table.shape[1])
    return pt.cast(index, "int64") + pt.zeros_like(lanes), lanes
