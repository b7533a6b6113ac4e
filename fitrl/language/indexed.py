"""Large tables in a traced trial: cells are read and written by index, never one by one.

A small table is traced cell by cell. Beyond `LARGEST_UNROLLED` cells that would make expressions as long as
the table; instead the trace keeps which cells are read, which are written, and with what. Arithmetic on the whole
table (``p.beta * s.q``) waits until a cell of the result is read; what cannot wait asks for cells, and the
trace starts again with that field cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fitrl.language.symbols import Symbol, walk
from fitrl.language.tables import Table, where

LARGEST_UNROLLED = 16


class NeedsCells(Exception):  # a signal between the trace and its tables, not an error
    """The text does something with a whole table that only its cells can answer."""

    def __init__(self, field: str):
        super().__init__(field)
        self.field = field


class DeferredTable(Table):
    """A table of which only single cells can be asked for; base of both kinds.

    Parameters
    ----------
    field : str
        State field that it comes from.
    shape : tuple of int
        Shape of the table.
    """

    __slots__ = ("_shape", "field")
    is_deferred = True

    def __init__(self, field: str, shape: tuple[int, ...]):
        self.field, self._shape, self.ndim, self._home = field, shape, len(shape), None

    @property
    def data(self) -> Any:  # type: ignore[override]
        """Refuse: there are no cells."""
        raise NeedsCells(self.field)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the table."""
        return self._shape

    def cells(self) -> list[Any]:
        """Refuse: there are too many."""
        raise NeedsCells(self.field)

    def __iter__(self) -> Iterator:
        raise NeedsCells(self.field)

    def combined(self, function: Callable, values: Sequence[Any]) -> Table:
        """Return a table whose cells are the function of the cells of the values, when one is read."""

        def read(key: tuple) -> Any:
            return function(*[v._cell(key) if isinstance(v, Table) else v for v in values])

        return MappedTable(self.field, self._shape, read)

    def put(self, key: Any, value: Any) -> Table:
        """Refuse; only a field of the state can be written by index."""
        raise NeedsCells(self.field)


class MappedTable(DeferredTable):
    """Arithmetic on a whole table that waits until a cell is read."""

    __slots__ = ("_read",)

    def __init__(self, field: str, shape: tuple[int, ...], read: Callable[[tuple], Any]):
        super().__init__(field, shape)
        self._read = read

    def _cell(self, key: tuple) -> Any:
        return self._read(key)


class IndexedTable(DeferredTable):
    """A state field that is read and written by index.

    Parameters
    ----------
    field : str
        Name of the field.
    shape : tuple of int
        Its shape.
    reads : dict
        Filled by the trace: from the text of an index to (index, symbol that was read). Shared by all
        versions of the field.
    writes : tuple of (index, value)
        What was written in this row so far, in order.
    """

    __slots__ = ("reads", "writes")

    def __init__(self, field: str, shape: tuple[int, ...], reads: dict[str, tuple], writes: tuple = ()):
        super().__init__(field, shape)
        self.reads, self.writes = reads, writes

    def homed(self, home: tuple[Any, str] | None) -> IndexedTable:
        """Return this table, tied to a state or not."""
        result = IndexedTable(self.field, self._shape, self.reads, self.writes)
        result._home = home
        return result

    def is_same(self, other: Table) -> bool:
        """Whether the other is the same version of the field."""
        return isinstance(other, IndexedTable) and other.writes is self.writes

    def _cell(self, key: tuple) -> Any:
        index = self._flat(key)
        value = self._before(index)
        for written, new in self.writes:
            value = new if repr(written) == repr(index) else where(index == written, new, value)
        return value

    def put(self, key: Any, value: Any) -> Table:
        """Return the table with one more write, or one per cell of a row."""
        key = self._key(key)
        if len(key) < self.ndim:
            return Table.put(self, key, value)
        writes = (*self.writes, (self._flat(key), value))
        return IndexedTable(self.field, self._shape, self.reads, writes)

    def only_if(self, condition: Any) -> IndexedTable:
        """Return the table whose writes happen where the condition holds."""
        masked = tuple((index, where(condition, value, self._before(index))) for index, value in self.writes)
        return IndexedTable(self.field, self._shape, self.reads, masked)

    def _before(self, index: Any) -> Symbol:
        text = repr(index)
        if text not in self.reads:
            self.reads[text] = (index, Symbol("read", self.field, len(self.reads)))
        return self.reads[text][1]

    def _flat(self, key: tuple) -> Any:
        """Position of a cell when the table is written row by row; must follow from columns alone."""
        if any(s.op in ("parameter", "state", "read") for s in walk(key)):
            raise NeedsCells(self.field)
        flat = key[0]
        for k, size in zip(key[1:], self._shape[1:], strict=True):
            flat = flat * size + k
        return flat


def choose_indexed(condition: Any, x: Table, y: Table) -> Table:
    """Choose between two versions of a field, of which one at least is indexed.

    A restart (the first is the start) is left to the engine, which refills the table; a mask keeps the writes where
    it holds.
    """
    if isinstance(y, IndexedTable) and not y.writes:
        if not isinstance(x, DeferredTable):
            return y.homed(None)
        if isinstance(x, IndexedTable):
            return x.only_if(condition)
    raise NeedsCells((y if isinstance(y, DeferredTable) else x).field)  # type: ignore[attr-defined]
