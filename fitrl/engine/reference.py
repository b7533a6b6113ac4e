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

    zero = pt.zeros(rows.shape[1], dtype="float64")
    emissions = tuple(program.log_probability)
    n_columns, n_cells = len(by_trial), len(program.cells)

    def step(*values):
        leaves = dict(zip(by_trial, values[:n_columns], strict=True))
        state = values[n_columns : n_columns + n_cells]
        leaves |= {("state", *cell): value for cell, value in zip(program.cells, state, strict=True)}
        leaves |= dict(zip(fixed, values[n_columns + n_cells : -1], strict=True))
        roots = [*program.after, *program.log_probability.values()]
        # Adding the zeros gives constants, too, one value per sequence.
        return [values[-1] + out for out in lower(roots, leaves)]

    outputs = scan(
        step,
        sequences=list(by_trial.values()),
        # The first row of every sequence resets, so what the state holds before it does not matter.
        outputs_info=[*[zero] * n_cells, *[None] * len(emissions)],
        non_sequences=[*fixed.values(), zero],
        return_updates=False,
        return_list=True,
    )
    return {name: score.flatten()[place] for name, score in zip(emissions, outputs[n_cells:], strict=True)}
