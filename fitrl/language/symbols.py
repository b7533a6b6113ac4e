"""Symbols: what a trial computes with while it is traced.

A symbol is a scalar expression: an operation and its arguments. Tracing runs the author's text once
with symbols in place of numbers, so that the same text becomes a graph. Symbols refuse what a graph
cannot follow (``if``, ``max``, ``float``), and say what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fitrl.errors import ModelError

# Leaves: one argument each, their name (a state cell: field and index).
LEAVES = ("parameter", "state", "read", "column")


class Symbol:
    """A scalar expression.

    Attributes
    ----------
    op : str
        ``"parameter"``, ``"state"`` or ``"column"`` for inputs, else the operation.
    args : tuple
        Symbols and numbers; for an input its name.
    """

    __array_ufunc__ = None  # numpy must not spread itself over symbols
    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Any):
        self.op = op
        self.args = args

    def __repr__(self) -> str:
        if self.op in LEAVES:
            return ".".join(str(a) for a in self.args)
        return f"{self.op}({', '.join(map(repr, self.args))})"

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ModelError(
            "the trial branches on a value that is only known trial by trial "
            "(an `if`, `and`, `or`, `not`, `max` or `min`). Write where(condition, x, y), maximum(x, y), "
            "minimum(x, y) or largest(table) from fitrl.language instead."
        )

    def __float__(self) -> float:
        raise ModelError(
            "a value that is only known trial by trial was turned into a Python number (float(), math.exp() "
            "or a NumPy function). Use exp, log, sqrt, where, ... from fitrl.language."
        )

    __int__ = __float__
    __complex__ = __float__

    def __index__(self) -> int:
        raise ModelError(
            "a value that is only known trial by trial was used as a position in a Python list or range(). "
            "Keep tables in the state (`s.q[a]`) or make one with table([...])."
        )

    def __neg__(self) -> Symbol:
        return Symbol("neg", self)

    def __abs__(self) -> Symbol:
        return Symbol("abs", self)

    def __invert__(self) -> Symbol:
        # Python's ~True is -2, so that ~ would mean something else when the text runs on plain numbers.
        raise ModelError("`~` is not in the language. Write `(condition) == 0`, or swap x and y in where().")

    def __getitem__(self, key: Any, value: Any = None) -> Any:
        raise ModelError(
            "a single value was indexed; only tables have cells. Start the field as a table, as in "
            "State(q=task.values())."
        )

    __setitem__ = __getitem__

    def __iter__(self) -> Iterator:
        raise ModelError("a single value was looped over; only tables can be.")


def _binary(name: str) -> tuple[Callable, Callable]:
    def forward(self, other):
        return Symbol(name, self, other) if _scalar(other) else NotImplemented

    def reflected(self, other):
        return Symbol(name, other, self) if _scalar(other) else NotImplemented

    return forward, reflected


def _scalar(x: Any) -> bool:
    """Whether x is a symbol or a number (NumPy scalars included)."""
    return isinstance(x, Symbol | int | float) or (getattr(x, "shape", None) == () and hasattr(x, "item"))


for _dunder, _op in {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "pow": "pow",
    "and": "and",
    "or": "or",
}.items():
    _forward, _reflected = _binary(_op)
    setattr(Symbol, f"__{_dunder}__", _forward)
    setattr(Symbol, f"__r{_dunder}__", _reflected)
for _op in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Symbol, f"__{_op}__", _binary(_op)[0])


def walk(roots: Iterable[Any]) -> list[Symbol]:
    """Every symbol that the roots depend on, arguments before what uses them.

    Iterative, because a long trial makes expressions deeper than Python's recursion limit.
    """
    order: list[Symbol] = []
    seen: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False) for root in roots]
    while stack:
        node, expanded = stack.pop()
        if not isinstance(node, Symbol):
            continue
        if expanded:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((arg, False) for arg in node.args)
    return order
