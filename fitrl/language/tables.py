"""Tables of values, and the arithmetic that works on numbers, arrays and symbols alike.

A table is immutable. Its cells are numbers (one agent), arrays over agents (the last axis), or symbols
(a traced trial); every operation is written once and works on all three, so that the simulator, the
filter and the likelihood cannot compute different things.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.symbols import Symbol


class Table:
    """An immutable table of values, indexed by option or by stimulus and option.

    Parameters
    ----------
    data : array_like
        Shape ``shape`` (cells are numbers or symbols) or ``shape + (n_agents,)``.
    ndim : int, optional
        Number of axes of the table itself; by default all axes of `data`.

    Notes
    -----
    ``s.q[a] += x`` on a state field rebinds the field to a new table; ``old = s.q`` keeps the old one.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]  # == compares cell by cell
    __slots__ = ("_home", "data", "ndim")
    is_deferred = False  # whether arithmetic waits until a cell is read (see `fitrl.language.indexed`)

    def __init__(self, data: Any, ndim: int | None = None, home: tuple[Any, str] | None = None):
        self.data = np.asarray(data)
        self.ndim = self.data.ndim if ndim is None else ndim
        self._home = home

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the table, without the axis of agents."""
        return self.data.shape[: self.ndim]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"Table({self.data.tolist() if self.data.ndim == self.ndim else self.data!r})"

    if TYPE_CHECKING:  # set below, by name
        __add__: Callable[[Table, Any], Table]
        __radd__: Callable[[Table, Any], Table]
        __sub__: Callable[[Table, Any], Table]
        __rsub__: Callable[[Table, Any], Table]
        __mul__: Callable[[Table, Any], Table]
        __rmul__: Callable[[Table, Any], Table]
        __truediv__: Callable[[Table, Any], Table]
        __rtruediv__: Callable[[Table, Any], Table]

    def __neg__(self) -> Table:
        return _negative(self)

    def __abs__(self) -> Table:
        return absolute(self)

    # Reading and writing cells ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Read a cell, a row (fewer indices than axes), or the cells that a table of indices names."""
        key = self._key(key)
        if isinstance(key[0], Table | list) and len(key) == 1:
            return table([self[k] for k in key[0]])
        if len(key) < self.ndim:
            rest = self.shape[len(key) :]
            cells = [self[(*key, *tail)] for tail in itertools.product(*map(range, rest))]
            return _reshape(table(cells), rest)
        return self._cell(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._home is None:
            raise ModelError(
                "a table that is not a field of the state cannot be changed. Assign to the state, as in "
                "`s.q[a] = x`, or compute a new table."
            )
        state, name = self._home
        if not state._fields[name].is_same(self):
            raise ModelError(
                f"`{name}` was changed since this copy of it was taken; writing through the old copy would undo "
                f"that change. Write to `s.{name}[...]` directly."
            )
        setattr(state, name, self.put(key, value))

    def put(self, key: Any, value: Any) -> Table:
        """Return a copy in which the cell, or row, `key` holds `value`."""
        key = self._key(key)
        if len(key) < self.ndim:
            rest = self.shape[len(key) :]
            result = self
            for tail in itertools.product(*map(range, rest)):
                cell = value[tail] if isinstance(value, Table) else value
                result = result.put((*key, *tail), cell)
            return result
        if self.data.dtype == object or _has_symbols(key) or isinstance(value, Symbol):
            return self._put_symbol(key, value)
        n_agents = _agents(self, value, *key)
        if n_agents is None:
            data = self.data.astype(float)
            data[key] = value
            return Table(data, self.ndim)
        data = np.array(np.broadcast_to(_with_agents(self, True), (*self.shape, n_agents)), dtype=float)
        data[(*key, np.arange(n_agents))] = value
        return Table(data, self.ndim)

    def _key(self, key: Any) -> tuple:
        key = key if isinstance(key, tuple) else (key,)
        if len(key) > self.ndim:
            raise ModelError(f"{len(key)} indices were given to a table of {self.ndim} axes.")
        for k in key:
            if isinstance(k, slice) or k is Ellipsis:
                raise ModelError("tables take no slices; index cells or rows, or loop over range(len(table)).")
        return tuple(_position(k, size) for k, size in zip(key, self.shape, strict=False))

    def _cell(self, key: tuple) -> Any:
        if _has_symbols(key):
            return _select(key, self.shape, lambda cell: self.data[cell])
        n_agents = _agents(self, *key)
        if n_agents is None or self.data.ndim == self.ndim:
            return self.data[key]
        return self.data[(*key, np.arange(n_agents))]

    def _put_symbol(self, key: tuple, value: Any) -> Table:
        data = self.data.astype(object)
        for cell in itertools.product(*map(range, self.shape)):
            conditions = [k == i for k, i in zip(key, cell, strict=True) if isinstance(k, Symbol)]
            if any(not isinstance(k, Symbol) and k != i for k, i in zip(key, cell, strict=True)):
                continue
            new = value
            for condition in conditions:
                new = where(condition, new, data[cell])
            data[cell] = new
        return Table(data, self.ndim)

    def combined(self, function: Callable, values: Sequence[Any]) -> Table:
        """Arithmetic that waits; only deferred tables do."""
        raise ModelError("this table does not wait.")

    def homed(self, home: tuple[Any, str] | None) -> Table:
        """Return this table, tied to a field of a state (so that its cells can be assigned) or not."""
        return Table(self.data, self.ndim, home)

    def is_same(self, other: Table) -> bool:
        """Whether the other table is this very value."""
        return other.data is self.data

    # Reductions ---------------------------------------------------------------------------------

    def cells(self) -> list[Any]:
        """All cells in order, each a number, an array over agents, or a symbol."""
        return [self._cell(index) for index in itertools.product(*map(range, self.shape))]


def table(cells: Sequence[Any]) -> Table:
    """Make a one-axis table from its cells (or a taller one from tables of one shape).

    Parameters
    ----------
    cells : sequence
        Numbers, arrays over agents, symbols, or tables (or lists of these: rows of a taller table).

    Examples
    --------
    >>> table([[0.7, 0.3], [0.3, 0.7]]).shape
    (2, 2)
    """
    cells = [table(c) if isinstance(c, list | tuple) else c for c in cells]
    if any(isinstance(c, Table) for c in cells):
        rows = [c if isinstance(c, Table) else table(c) for c in cells]
        if len({row.shape for row in rows}) > 1:
            raise ModelError("the rows of a table must have one length.")
        tall = any(row.data.ndim > row.ndim for row in rows)
        data = np.stack(np.broadcast_arrays(*[_with_agents(row, tall) for row in rows]))
        return Table(data, rows[0].ndim + 1)
    if any(isinstance(c, Symbol) for c in cells):
        data = np.empty(len(cells), dtype=object)
        data[:] = cells
        return Table(data, 1)
    return Table(np.stack(np.broadcast_arrays(*cells)) if cells else np.empty(0), 1)


def filled(shape: int | tuple[int, ...], value: Any) -> Table:
    """Make a table of `shape` in which every cell holds `value`."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if isinstance(value, Symbol):
        data = np.empty(shape, dtype=object)
        data[...] = value
        return Table(data, len(shape))
    value = np.asarray(value, dtype=float)
    return Table(np.array(np.broadcast_to(value, (*shape, *value.shape))), len(shape))


def onehot(index: Any, n: int) -> Table:
    """Make a table of length `n` that is 1 at `index` and 0 elsewhere."""
    return table([where(index == k, 1.0, 0.0) for k in range(n)])


def _select(key: tuple, shape: tuple[int, ...], read: Callable[[tuple], Any]) -> Any:
    """Read a cell whose index holds symbols, as a chain of choices over that axis."""
    position = next(i for i, k in enumerate(key) if isinstance(k, Symbol))
    options = []
    for i in range(shape[position]):
        fixed = (*key[:position], i, *key[position + 1 :])
        options.append(_select(fixed, shape, read) if _has_symbols(fixed) else read(fixed))
    result = options[-1]
    for i in reversed(range(len(options) - 1)):
        result = where(key[position] == i, options[i], result)
    return result


def _reshape(flat: Table, shape: tuple[int, ...]) -> Table:
    return Table(flat.data.reshape(*shape, *flat.data.shape[1:]), len(shape))


def _position(k: Any, size: int) -> Any:
    """Check one index; truth values and whole numbers stored as floats become integers."""
    if isinstance(k, Symbol | Table | list):
        return k
    numbers = np.asarray(k)
    if numbers.dtype.kind not in "biuf":
        raise ModelError(f"index {k!r} is not a number.")
    whole = numbers.astype(np.int64)
    wrong = numbers[whole != numbers]
    if wrong.size:
        raise ModelError(f"index {wrong.flat[0]} is not a whole number.")
    outside = whole[(whole < 0) | (whole >= size)]
    if outside.size:
        raise ModelError(f"index {outside.flat[0]} is outside a table with {size} entries (they count from 0).")
    return whole if numbers.ndim else int(whole)


def _has_symbols(key: tuple) -> bool:
    return any(isinstance(k, Symbol) for k in key)


def _agents(*values: Any) -> int | None:
    """Return the number of agents among tables and arrays over agents, or None if there are none."""
    for value in values:
        if isinstance(value, Table):
            if value.data.ndim > value.ndim:
                return value.data.shape[-1]
        elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype != object:
            return value.shape[0]
    return None


def _with_agents(t: Table, tall: bool) -> np.ndarray:
    return t.data[..., None] if tall and t.data.ndim == t.ndim and t.data.dtype != object else t.data


# Arithmetic that is the same on numbers, arrays, symbols and tables -------------------------------


def _elementwise(function: Callable, *values: Any) -> Any:
    """Apply a function of scalars; over every cell if one of the values is a table."""
    tables = [v for v in values if isinstance(v, Table)]
    if not tables:
        return function(*values)
    shapes = {t.shape for t in tables}
    if len(shapes) > 1:
        raise ModelError(f"tables of different shapes do not combine: {', '.join(map(str, sorted(shapes)))}.")
    for t in tables:
        if t.is_deferred:
            return t.combined(function, values)
    if any(isinstance(v, Symbol) or (isinstance(v, Table) and v.data.dtype == object) for v in values):
        shape = shapes.pop()
        data = np.empty(shape, dtype=object)
        for cell in itertools.product(*map(range, shape)):
            data[cell] = function(*[v.data[cell] if isinstance(v, Table) else v for v in values])
        return Table(data, len(shape))
    tall = _agents(*values) is not None
    data = function(*[_with_agents(v, tall) if isinstance(v, Table) else v for v in values])
    return Table(data, tables[0].ndim)


def _operator(symbolic: str, numeric: Callable) -> Callable:
    def apply(*values):
        if any(isinstance(v, Symbol) for v in values):
            return Symbol(symbolic, *values)
        return numeric(*values)

    def operation(*values):
        return _elementwise(apply, *values)

    return operation


exp = _operator("exp", np.exp)
log = _operator("log", np.log)
log1p = _operator("log1p", np.log1p)
expm1 = _operator("expm1", np.expm1)
sqrt = _operator("sqrt", np.sqrt)
tanh = _operator("tanh", np.tanh)
absolute = _operator("abs", np.abs)
_negative = _operator("neg", np.negative)
maximum = _operator("maximum", np.maximum)
minimum = _operator("minimum", np.minimum)
softplus = _operator("softplus", lambda x: np.logaddexp(0.0, x))
sigmoid = _operator("sigmoid", lambda x: np.exp(-np.logaddexp(0.0, -x)))
logaddexp = _operator("logaddexp", np.logaddexp)


def _log_ndtr(x):
    from scipy.special import log_ndtr

    return log_ndtr(x)


log_normal_cdf = _operator("log_ndtr", _log_ndtr)


def _where_number(condition, x, y):
    if np.ndim(condition) == 0 and not isinstance(condition, np.ndarray):
        return x if condition else y
    return np.where(condition, x, y)


def _where(condition, x, y):
    if isinstance(condition, Symbol):
        return Symbol("where", condition, x, y)
    if isinstance(x, Symbol) or isinstance(y, Symbol):
        # Known while tracing (an option of the model): only its branch goes into the graph.
        return x if condition else y
    return _where_number(condition, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, else y; the `if` of the trial language."""
    return _elementwise(_where, condition, x, y)


def total(t: Table) -> Any:
    """Sum the cells of a table."""
    cells = t.cells()
    result = cells[0]
    for cell in cells[1:]:
        result = result + cell
    return result


def largest(t: Table) -> Any:
    """Return the largest cell of a table."""
    cells = t.cells()
    result = cells[0]
    for cell in cells[1:]:
        result = maximum(result, cell)
    return result


held = _operator("held", lambda x: x)


def log_sum_exp(t: Table) -> Any:
    """Logarithm of the sum of exponentials of the cells, without overflow."""
    top = held(largest(t))  # the result does not depend on it, so neither does its derivative
    return top + log(total(exp(t - top)))


for _name, _function in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "pow": np.power,
    "and": np.logical_and,
    "or": np.logical_or,
}.items():
    _op = _operator({"truediv": "div"}.get(_name, _name), _function)
    setattr(Table, f"__{_name}__", lambda self, other, op=_op: op(self, other))
    setattr(Table, f"__r{_name}__", lambda self, other, op=_op: op(other, self))
for _name, _function in {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}.items():
    _op = _operator(_name, _function)
    setattr(Table, f"__{_name}__", lambda self, other, op=_op: op(self, other))
for _documented, _doc in {
    "exp": "Exponential of a number, an array, a symbol or every cell of a table.",
    "log": "Natural logarithm.",
    "log1p": "Logarithm of 1 + x, accurate near 0.",
    "expm1": "Exponential minus 1, accurate near 0.",
    "sqrt": "Square root.",
    "tanh": "Hyperbolic tangent.",
    "absolute": "Absolute value.",
    "maximum": "Larger of two values, cell by cell.",
    "minimum": "Smaller of two values, cell by cell.",
    "softplus": "Logarithm of 1 + exp(x), without overflow.",
    "sigmoid": "Logistic function, 1 / (1 + exp(-x)).",
    "logaddexp": "Logarithm of exp(x) + exp(y), without overflow.",
    "log_normal_cdf": "Logarithm of the standard normal distribution function.",
    "held": "The same value, taken as a constant by derivatives.",
}.items():
    globals()[_documented].__doc__ = _doc
    globals()[_documented].__name__ = _documented
