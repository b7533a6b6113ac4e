"""The kernel of a model as text: follow a model from its ``trial`` to the code that runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Numbers as `fitrl.data.trials` stores them, by kind of column; everything else that has no kind is a position.
_DTYPES = {
    "choice": "int64",
    "cue": "int64",
    "offer": "int64",
    "outcome": "float64",
    "quantity": "float64",
    "number": "float64",
}


def source(model: Any, task: Any = None, by_row: Iterable[str] = ()) -> str:
    """Write the code that the fast engine compiles for a model.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model with its traits.
    task : Task, optional
        Configured, since tables have a size; by default the task of the model with its default size.
    by_row : iterable of str
        Parameters that may change from row to row (block, condition, trial).

    Returns
    -------
    str
        Python source. ``forward_row`` and ``reverse_row`` are one trial of many subjects; ``log_likelihood``,
        ``gradient`` and ``total`` (which adds up instead of keeping single responses) the loops around them.

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be traced, has nothing to score, or has no parameter of a name in
        `by_row`.

    Examples
    --------
    >>> print(fitrl.engine.source("q_learning").partition("(")[0])
    def forward_row
    """
    from fitrl.engine.op import Kernel  # PyTensor is heavy: only when asked for
    from fitrl.engine.trace import trace
    from fitrl.errors import ModelError
    from fitrl.models import find

    model = find(model)
    task = model.task() if task is None else task
    program = trace(model, task)
    if not program.log_probability:
        raise ModelError(f"{model.label} chooses nothing, so there is no likelihood to compile.")
    by_row = frozenset(by_row)
    unknown = sorted(by_row - set(program.parameters))
    if unknown:
        raise ModelError(
            f"{model.label} has no parameter {', '.join(unknown)}; it has {', '.join(program.parameters)}."
        )
    return Kernel(program, _column_dtypes(program.columns, task), by_row).text


def _column_dtypes(columns: Iterable[str], task: Any) -> dict[str, str]:
    kinds = {column.name: column.kind for column in task.columns}
    found = {}
    for name in columns:
        flag = name in ("reset", "mask_update") or name.endswith("_given")
        found[name] = "bool" if flag else _DTYPES.get(kinds.get(name, ""), "int64")
    return found
