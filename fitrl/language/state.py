"""The state of a learner: named fields, each a number or a table."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.indexed import DeferredTable, choose_indexed
from fitrl.language.symbols import Symbol
from fitrl.language.tables import Table, table, where


class State:
    """What a learner carries from trial to trial.

    Fields are set once, by keyword, in ``start``; later they are rebound (``s.v = s.v + x``,
    ``s.q[a] += x``) and keep their shape.

    Examples
    --------
    >>> from fitrl.language import State, filled
    >>> s = State(q=filled(2, 0.5))
    >>> old = s.q
    >>> s.q[0] += 0.1
    >>> float(s.q[0]), float(old[0])
    (0.6, 0.5)
    """

    _fields: dict[str, Any]

    def __init__(self, **fields: Any):
        object.__setattr__(self, "_fields", {name: _value(v) for name, v in fields.items()})

    def __getattr__(self, name: str) -> Any:
        fields = object.__getattribute__(self, "_fields")
        if name not in fields:
            raise ModelError(unknown("state field", name, fields))
        value = fields[name]
        return value.homed((self, name)) if isinstance(value, Table) else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise ModelError(f"{unknown('state field', name, self._fields)} Declare it in start().")
        old, value = self._fields[name], _value(value)
        shapes = [v.shape if isinstance(v, Table) else () for v in (old, value)]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"state field `{name}` changes its shape from {shapes[0]} to {shapes[1]}; a field keeps the shape "
                f"that start() gave it."
            )
        self._fields[name] = value

    def __repr__(self) -> str:
        return f"State({', '.join(f'{k}={v!r}' for k, v in self._fields.items())})"

    def fields(self) -> dict[str, Any]:
        """Return the fields as a dictionary (a copy)."""
        return dict(self._fields)

    def copy(self) -> State:
        """Return a state that later changes of this one do not touch."""
        return State(**self._fields)


def choose_state(condition: Any, if_true: State, if_false: State) -> State:
    """Field by field, the first state where the condition holds, else the second."""
    first, second = if_true.fields(), if_false.fields()
    return State(**{name: _choose(condition, first[name], second[name]) for name in second})


def _choose(condition: Any, x: Any, y: Any) -> Any:
    if isinstance(x, DeferredTable) or isinstance(y, DeferredTable):
        return choose_indexed(condition, x, y)
    return where(condition, x, y)


def unknown(what: str, name: str, known: Any) -> str:
    """Say that a name is not known, with the nearest known one and the list."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(known) or "none"
    return f'there is no {what} "{name}".{hint} Known: {listed}.'


def _value(value: Any) -> Any:
    """Detach a table from the state it came from; a list becomes a table."""
    if isinstance(value, list | tuple):
        return table(value)
    if isinstance(value, Table):
        return value.homed(None)
    if isinstance(value, Symbol | int | float | np.ndarray | np.generic):
        return value
    raise ModelError(
        f"a state field cannot hold {type(value).__name__}: {value!r}. It holds a number or a table of numbers."
    )
