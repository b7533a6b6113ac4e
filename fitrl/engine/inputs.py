"""How parameter values reach a likelihood: values per cell, and where each sequence or row finds its own."""

from __future__ import annotations

from typing import Any, NamedTuple


class Located(NamedTuple):
    """Values of one parameter and where they apply.

    The three shapes are one: per subject (`index` says which subject each sequence belongs to), per cell of a
    design (`index` says which cell each row belongs to, `by_row`), and per trial (``index = arange(n_rows)``,
    `by_row`).

    Attributes
    ----------
    values : tensor or array, shape (cell,) or (draw, cell)
        Natural-scale values.
    index : tensor or array of int, shape (sequence,), or (row,) if `by_row`
        Position in `values`.
    by_row : bool
        Whether the value may change from row to row.
    """

    values: Any
    index: Any
    by_row: bool = False
