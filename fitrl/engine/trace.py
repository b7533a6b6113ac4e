"""Trace a model: run its text once with symbols, and keep the expressions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.blame import author_text, place_of
from fitrl.language.indexed import LARGEST_UNROLLED, DeferredTable, IndexedTable, NeedsCells
from fitrl.language.model import Model
from fitrl.language.state import State, unknown
from fitrl.language.symbols import Symbol, walk
from fitrl.language.tables import Table
from fitrl.language.trial import Given, play_row


@dataclass(frozen=True)
class TableField:
    """A state field that is read and written by index (see `fitrl.language.indexed`).

    Attributes
    ----------
    n_cells : int
        Number of cells.
    start : float
        What every cell holds at the start.
    reads : tuple
        Index of each cell that a row reads before it writes: expressions in columns.
    writes : tuple of (index, value)
        Cells that a row writes, in order.
    """

    n_cells: int
    start: float
    reads: tuple[Any, ...]
    writes: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Program:
    """One row of a model as scalar expressions.

    Attributes
    ----------
    parameters : tuple of str
        Fitted parameters, in order.
    columns : tuple of str
        Columns of the trial table that the expressions use, in order; ``reset`` and ``mask_update`` among
        them.
    cells : tuple of (str, int)
        Cells of the state: field and position.
    start : tuple
        For each cell its expression at the start, in parameters.
    after : tuple
        For each cell its expression after the row.
    log_probability : dict
        For each emission its log probability.
    recorded : dict
        For each recorded quantity its expression.
    tables : dict of str to TableField
        State fields that are kept as tables rather than cell by cell.
    """

    parameters: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, int], ...]
    start: tuple[Any, ...]
    after: tuple[Any, ...]
    log_probability: dict[str, Any]
    recorded: dict[str, Any]
    tables: dict[str, TableField] = field(default_factory=dict)


class _Columns(Mapping[str, Any]):
    """Columns of a row as symbols, made when they are asked for."""

    def __init__(self, model: Model, task: Any) -> None:
        self.asked: dict[str, Symbol] = {}
        self._task = task
        self._known = {"reset", "mask_update", *model.prepared}
        for column in task.columns:
            self._known |= {column.name, f"{column.name}_given"}

    def __getitem__(self, name: str) -> Symbol:
        if name not in self._known and not name.startswith("offer_"):
            raise ModelError(
                f"{unknown('column', name, [c.name for c in self._task.columns])} "
                f"The task {type(self._task).__name__} declares its columns."
            )
        return self.asked.setdefault(name, Symbol("column", name))

    def __len__(self) -> int:
        return len(self.asked)

    def __iter__(self) -> Iterator[str]:
        return iter(self.asked)


# A parameter that is split has a second copy of this name, for learning.
IN_LEARNING = "{}@learn"


def trace(model: Model, task: Any, split: Collection[str] = ()) -> Program:
    """Trace one row of a model.

    Large tables are kept as tables where the text allows it.

    Parameters
    ----------
    model : Model
        With its traits.
    task : Task
        Configured, since tables have a size.
    split : collection of str
        Parameters that are two: one of their own name that what is scored depends on with the state as given, and
        one named ``IN_LEARNING.format(name)`` that the next state depends on. They follow the others in
        ``Program.parameters``.

    Returns
    -------
    Program

    Raises
    ------
    ModelError
        Names the line if the text does something that a graph cannot follow; also if a parameter has no
        effect on what is scored, or a column is used that the task does not know.
    """
    unrolled: set[str] = set()
    while True:
        try:
            return _trace(model, task, unrolled, split)
        except NeedsCells as need:
            unrolled.add(need.field)


def _trace(model: Model, task: Any, unrolled: set[str], split: Collection[str]) -> Program:
    names = tuple(model.fitted(task))
    copies = {name: Symbol("parameter", IN_LEARNING.format(name)) for name in names if name in split}
    p = model.bind({name: Symbol("parameter", name) for name in names}, task, copies)
    start = model.start_state(model.bind({name: Symbol("parameter", name) for name in names} | copies, task), task)
    cells, before = _state_symbols(start, unrolled)
    columns = _Columns(model, task)
    with author_text(model):
        t, after = play_row(
            model,
            task,
            p,
            before,
            columns["reset"],
            columns["mask_update"],
            lambda p, s, start: Given(model, task, p, s, start, columns),
        )
    tables = {
        name: _table_field(start.fields()[name], value)
        for name, value in after.fields().items()
        if isinstance(before.fields()[name], IndexedTable)
    }
    program = Program(
        parameters=(*names, *[symbol.args[0] for symbol in copies.values()]),
        columns=tuple(columns.asked),
        cells=cells,
        start=tuple(_cells(start, tables)),
        after=tuple(_cells(after, tables)),
        log_probability=dict(t.log_probability),
        recorded=dict(t.latents),
        tables=tables,
    )
    _check_parameters(model, task, program)
    return program


def _table_field(start: Table, after: Any) -> TableField:
    """Collect what a row does with an indexed field."""
    if not isinstance(after, IndexedTable):
        raise NeedsCells(after.field if isinstance(after, DeferredTable) else "")
    return TableField(
        n_cells=int(np.prod(start.shape)),
        start=float(start.data.flat[0]),
        reads=tuple(index for index, _ in after.reads.values()),
        writes=after.writes,
    )


def _is_uniform(start: Table) -> bool:
    """Whether every cell starts with the same number, so that a restart is a refill."""
    return start.data.dtype != object and bool((start.data == start.data.flat[0]).all())


def _state_symbols(start: State, unrolled: set[str]) -> tuple[tuple[tuple[str, int], ...], State]:
    cells: list[tuple[str, int]] = []
    fields: dict[str, Any] = {}
    for name, value in start.fields().items():
        if isinstance(value, np.ndarray):
            raise ModelError(
                f"the state field `{name}` starts as a NumPy array of shape {value.shape}. Make tables with "
                "table([...]), filled(shape, value) or task.values()."
            )
        if not isinstance(value, Table):
            cells.append((name, 0))
            fields[name] = Symbol("state", name, 0)
            continue
        large = int(np.prod(value.shape)) > LARGEST_UNROLLED
        if large and name not in unrolled and _is_uniform(value):
            fields[name] = IndexedTable(name, value.shape, {})
            continue
        data = np.empty(value.shape, dtype=object)
        for position, index in enumerate(np.ndindex(value.shape)):
            cells.append((name, position))
            data[index] = Symbol("state", name, position)
        fields[name] = Table(data, len(value.shape))
    return tuple(cells), State(**fields)


def _cells(state: State, tables: Mapping[str, TableField]) -> Iterator[Any]:
    for name, value in state.fields().items():
        if name in tables:
            continue
        if isinstance(value, Table):
            yield from value.cells()
        else:
            yield value


def _check_parameters(model: Model, task: Any, program: Program) -> None:
    """Refuse parameters that no scored response depends on, now or through the state."""
    if not program.log_probability:
        return
    live: set[tuple] = set()
    used: set[str] = set()
    roots: list[Any] = list(program.log_probability.values())
    after = dict(zip(program.cells, zip(program.start, program.after, strict=True), strict=True))
    while roots:
        new: list[Any] = []
        for symbol in walk(roots):
            if symbol.op == "parameter":
                used.add(symbol.args[0])
            elif symbol.op == "state" and symbol.args not in live:
                live.add(symbol.args)
                new.extend(after[symbol.args])
            elif symbol.op == "read" and symbol.args[:1] not in live:
                live.add(symbol.args[:1])
                new.extend(value for _, value in program.tables[symbol.args[0]].writes)
        roots = new
    # Of the two copies of a parameter that was split, one may be idle.
    idle = [name for name in model.fitted(task) if not used & {name, IN_LEARNING.format(name)}]
    if not idle:
        return
    owner = next((t.label for t in model.traits if idle[0] in t.parameters()), "")
    if owner == "dual_alpha":
        raise ModelError(
            f"{model.label} never asks for its learning rate by name, so dual_alpha has nothing to replace. "
            f'{place_of(model.trial)}: write `lr = t.rate("alpha", rpe=rpe, outcome=r)` instead of `p.alpha`.'
        )
    raise ModelError(
        f"{place_of(model.trial)}: no choice depends on the declared parameter {', '.join(idle)}, so it cannot be "
        "estimated. Use it in trial(), or remove it."
    )
