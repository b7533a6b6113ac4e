"""Write the source of a model's kernel: one function per row and pass, and the loops around them.

The loop over subjects is inside, over trials outside, and every state cell, column and parameter of a row is
an array of its own, so that LLVM runs several subjects in one instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.scalar import basic as ps
from pytensor.tensor.basic import ScalarFromTensor, TensorFromScalar

from fitrl.engine.derive import Passes, cell_name, operation, read_names, write_names
from fitrl.engine.trace import Program
from fitrl.language.symbols import Symbol


class UnsupportedOperation(Exception):
    """The model does something that the fast engine has no code for; the reference takes over."""


def _call(name: str) -> Callable[..., str]:
    return lambda *args: f"{name}({', '.join(args)})"


def _infix(sign: str) -> Callable[..., str]:
    return lambda *args: f"({f' {sign} '.join(args)})"


_WRITE: dict[type, Callable[..., str]] = {
    ps.Add: _infix("+"),
    ps.Sub: _infix("-"),
    ps.Mul: _infix("*"),
    ps.TrueDiv: _infix("/"),
    ps.Neg: lambda x: f"(-{x})",
    ps.Reciprocal: lambda x: f"(1.0 / {x})",
    ps.Sqr: lambda x: f"({x} * {x})",
    ps.Pow: lambda x, y: f"({x} ** {y})",
    ps.Exp: _call("exp"),
    ps.Expm1: _call("expm1"),
    ps.Log: _call("log"),
    ps.Log1p: _call("log1p"),
    ps.Tanh: _call("tanh"),
    ps.Sqrt: _call("sqrt"),
    ps.Abs: _call("fabs"),
    ps.Switch: _call("select"),
    # Like NumPy's, these pass a nan on.
    ps.Maximum: lambda x, y: f"select(({x} >= {y}) | ({x} != {x}), {x}, {y})",
    ps.Minimum: lambda x, y: f"select(({x} <= {y}) | ({x} != {x}), {x}, {y})",
    ps.Sign: lambda x: f"select({x} > 0.0, 1.0, select({x} < 0.0, -1.0, 0.0))",
    ps.LT: _infix("<"),
    ps.LE: _infix("<="),
    ps.GT: _infix(">"),
    ps.GE: _infix(">="),
    ps.EQ: _infix("=="),
    ps.NEQ: _infix("!="),
    ps.AND: _infix("&"),
    ps.OR: _infix("|"),
    ps.Invert: lambda x: f"(not {x})",
    ps.Identity: lambda x: x,
}
# Used more than once in what is written, so their arguments get a name.
_REPEATS = (ps.Sqr, ps.Maximum, ps.Minimum, ps.Sign)


class _Writer:
    """Statements for a set of outputs, each shared result once."""

    def __init__(self, passes: Passes, given: dict[Variable, str]):
        self.passes = passes
        self.names = dict(given)
        self.lines: list[str] = []

    def write(self, outputs: Iterable[Variable]) -> list[str]:
        """Return the expressions of the outputs, after the statements that they need."""
        outputs = list(outputs)
        needed = self._needed(outputs)
        uses = self._uses(needed, outputs)
        for node in self.passes.graph.toposort():
            if node not in needed:
                continue
            (result,) = node.outputs
            expression = self._expression(node)
            if uses[result] > 1 and not _is_conversion(node):
                name = f"t{sum(line.startswith('t') for line in self.lines)}"
                self.lines.append(f"{name} = {expression}")
                expression = name
            self.names[result] = expression
        return [self._argument(out) for out in outputs]

    def _needed(self, outputs: list[Variable]) -> set[Apply]:
        needed: set[Apply] = set()
        stack = list(outputs)
        while stack:
            variable = stack.pop()
            if variable in self.names or variable.owner is None or variable.owner in needed:
                continue
            needed.add(variable.owner)
            stack.extend(variable.owner.inputs)
        return needed

    def _uses(self, needed: set[Apply], outputs: list[Variable]) -> dict[Variable, int]:
        uses: dict[Variable, int] = {}
        for node in needed:
            weight = 2 if isinstance(operation(node), _REPEATS) else 1
            for variable in node.inputs:
                uses[variable] = uses.get(variable, 0) + weight
        for node in needed:  # a conversion is only another name for its argument
            if _is_conversion(node):
                uses[node.inputs[0]] = uses.get(node.inputs[0], 0) + uses.get(node.outputs[0], 0) - 1
        for variable in outputs:
            uses[variable] = uses.get(variable, 0) + 1
        return uses

    def _argument(self, variable: Variable) -> str:
        if isinstance(variable, Constant):
            return _constant(variable)
        return self.names[variable]

    def _expression(self, node: Apply) -> str:
        arguments = [self._argument(v) for v in node.inputs]
        if _is_conversion(node):
            return arguments[0]
        op = operation(node)
        if isinstance(op, ps.Cast):
            return self._cast(node, arguments[0])
        if isinstance(op, ps.Switch):
            condition = _truth(node.inputs[0], arguments[0])
            return f"select({condition}, {', '.join(map(_float, node.inputs[1:], arguments[1:]))})"
        if isinstance(op, ps.Exp) and _is_never_positive(node.inputs[0]):
            return f"exp_unit({arguments[0]})"
        if isinstance(op, ps.Log1p) and _is_between_0_and_1(node.inputs[0]):
            return f"log1p_unit({arguments[0]})"
        write = _WRITE.get(type(op))
        if write is None:
            raise UnsupportedOperation(f"{type(op).__name__}")
        return write(*arguments)

    def _cast(self, node: Apply, argument: str) -> str:
        if node.outputs[0].type.dtype == "bool":
            return f"({argument} != 0)"
        return _float(node.inputs[0], argument)


def _made_by(variable: Variable, *kinds: type) -> list[Variable] | None:
    """Arguments of the operation behind a variable, if it is of one of these kinds."""
    is_one = variable.owner is not None and isinstance(operation(variable.owner), kinds)
    return variable.owner.inputs if is_one else None  # type: ignore[union-attr]


def _is_never_positive(variable: Variable) -> bool:
    """Whether this is ``-|x|``, or a logit less the largest of several."""
    if negated := _made_by(variable, ps.Neg):
        return _made_by(negated[0], ps.Abs) is not None
    if difference := _made_by(variable, ps.Sub):
        return difference[0] in _candidates(difference[1])
    return False


def _candidates(variable: Variable) -> list[Variable]:
    """Variables of which this is the largest."""
    pair = _made_by(variable, ps.Maximum)
    return [variable, *(found for x in pair or () for found in _candidates(x))]


def _is_between_0_and_1(variable: Variable) -> bool:
    power = _made_by(variable, ps.Exp)
    return power is not None and _is_never_positive(power[0])


def _is_conversion(node: Apply) -> bool:
    return isinstance(node.op, ScalarFromTensor | TensorFromScalar) or isinstance(operation(node), ps.Identity)


def _truth(variable: Variable, text: str) -> str:
    return text if variable.type.dtype == "bool" else f"({text} != 0)"


def _float(variable: Variable, text: str) -> str:
    """Write a value as a float64."""
    if variable.type.dtype == "bool":
        return f"select({text}, 1.0, 0.0)"
    if variable.type.dtype == "float64":
        return text
    return f"{text}.0" if text.lstrip("-").isdigit() else f"float({text})"


def _constant(variable: Constant) -> str:
    value = variable.data.item() if hasattr(variable.data, "item") else variable.data
    if isinstance(value, bool | int):
        return str(value)
    if not np.isfinite(value):
        return {"inf": "inf", "-inf": "(-inf)", "nan": "nan"}[repr(float(value))]
    return f"({value!r})" if value < 0 else repr(value)


def emit(program: Program, passes: Passes, by_row: frozenset[str] = frozenset(), threaded: bool = False) -> str:
    """Write the kernel of a model.

    Parameters
    ----------
    program : Program
        The traced model.
    passes : Passes
        Its scalar graphs.
    by_row : frozenset of str
        Parameters that may change from row to row.
    threaded : bool
        Whether several workers may share the blocks, each in a thread of its own.

    Raises
    ------
    UnsupportedOperation
        If the graphs hold an operation that has no fast code.
    """
    names = Names(program, len(passes.tape), by_row)
    parts = [_forward_row(names, passes), _reverse_row(names, passes), _log_likelihood(names)]
    for total in (False, True):
        worked = [_of_blocks(names, total), _in_threads(names, total)]
        parts += worked if threaded else [_gradient(names, total)]
    return "\n\n\n".join(parts) + "\n"


# Names that the kernel uses itself; one of the model's that is the same gets an underscore.
_RESERVED = re.compile(
    r"[bcikst]|t\d+|(tape|p|d)_.*|first|last|width|longest|sizes|blocks|np|inf|nan|select|fabs|exp|expm1|log|log1p|tanh|sqrt"
    r"|float|range|max|min|row|exp_unit|log1p_unit|(forward|reverse)_row|log_likelihood|(gradient|total)(_of_blocks)?"
    r"|worker|in_threads|added_up|total_.*"
)


def _own(name: str) -> str:
    return f"{name}_" if _RESERVED.fullmatch(name) or name.endswith("_") else name


class Names:
    """Names of everything that the kernel passes around, in order."""

    def __init__(self, program: Program, n_tape: int, by_row: frozenset[str]):
        self.parameters = [_own(name) for name in program.parameters]
        self.cells = [_own(cell_name(cell, program)) for cell in program.cells]
        self.columns = [_own(name) for name in program.columns]
        self.emissions = [_own(name) for name in program.log_probability]
        self.tape = [f"tape_{k}" for k in range(n_tape)]
        self.by_row = frozenset(_own(name) for name in by_row)
        self.tables = program.tables
        # Cells of tables: name -> (field, text of its position in the table, in columns of row s and lane i).
        self.reads = {n: (f, _place(program.tables[f].reads[k])) for n, (f, k) in read_names(program).items()}
        self.writes = {n: (f, _place(program.tables[f].writes[k][0])) for n, (f, k) in write_names(program).items()}
        self.cotangents = [f"d_{name}" for name in self.emissions]
        self.adjoints = [*[f"d_{name}" for name in (*self.cells, *self.writes)], *self.cotangents]

    def given(self, passes: Passes) -> dict[Variable, str]:
        """Name the inputs of the graph."""
        names = [*self.parameters, *self.cells, *self.reads, *self.columns, *self.adjoints]
        return dict(zip(passes.graph.inputs, names, strict=True))

    @property
    def inputs(self) -> list[str]:
        """Arguments of ``log_likelihood``; ``gradient`` takes one cotangent per emission on top."""
        located = [text for name in self.parameters for text in (name, f"{name}_index")]
        return [*located, *self.columns, *[f"{name}_place" for name in self.emissions], "sizes", "blocks"]


_INDEX = {"add": "+", "sub": "-", "mul": "*", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _place(index: Any) -> str:
    """Write the position of a cell, an expression in columns."""
    if not isinstance(index, Symbol):
        return str(int(index))
    if index.op == "column":
        return f"{_own(index.args[0])}[s, i]"
    arguments = [_place(a) for a in index.args]
    if index.op == "where":
        return f"({arguments[1]} if {arguments[0]} else {arguments[2]})"
    if index.op not in _INDEX:
        raise UnsupportedOperation(f"{index.op} in the index of a table")
    return f"({f' {_INDEX[index.op]} '.join(arguments)})"


def _rows(names: Iterable[str], suffix: str = "") -> list[str]:
    return [f"{name}{suffix}_row" for name in names]


def _reads(names: Iterable[str], text: str, truths: set[str]) -> list[str]:
    """Load what the text uses from its row."""
    used = [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)]
    return [f"{name} = {name}_row[i]{' != 0' if name in truths else ''}" for name in used]


def _loop(name: str, arguments: list[str], read: list[str], body: list[str], given: dict[Variable, str]) -> str:
    truths = {name for variable, name in given.items() if variable.type.dtype == "bool"}
    inside = _reads(read, "\n".join(body), truths) + body or ["pass"]  # a model without parameters or state
    head = f"def {name}(width, {', '.join(arguments)}):\n    for i in range(width):\n"
    return head + "\n".join(f"        {line}" for line in inside)


def _pass(names: Iterable[str], step: str = "0") -> list[str]:
    """Hand rows to a pass: pointers, since views cost more than what is done with them."""
    return [f"row({name}, {step})" for name in names]


def _forward_row(names: Names, passes: Passes) -> str:
    given = names.given(passes)
    writer = _Writer(passes, given)
    results = writer.write([*passes.forward, *passes.tape])
    targets = [*_rows(names.cells, "_next"), *_rows(names.writes), *_rows(f"p_{e}" for e in names.emissions)]
    targets += _rows(names.tape)
    read = [*names.parameters, *names.cells, *names.reads, *names.columns]
    body = [*writer.lines, *[f"{target}[i] = {result}" for target, result in zip(targets, results, strict=True)]]
    return _loop("forward_row", [*_rows(read), *targets], read, body, given)


def _reverse_row(names: Names, passes: Passes) -> str:
    given = names.given(passes) | dict(zip(passes.tape, names.tape, strict=True))
    writer = _Writer(passes, given)
    results = writer.write(passes.reverse)
    replaced = [f"d_{name}" for name in (*names.cells, *names.reads)]
    added = [f"d_{name}" for name in names.parameters]
    read = [*names.parameters, *names.cells, *names.reads, *names.columns, *names.tape, *names.adjoints]
    body = list(writer.lines)
    body += [f"{name}_row[i] = {result}" for name, result in zip(replaced, results[: len(replaced)], strict=True)]
    body += [f"{name}_row[i] += {result}" for name, result in zip(added, results[len(replaced) :], strict=True)]
    targets = _rows([*[f"d_{name}" for name in names.reads], *added])
    return _loop("reverse_row", [*_rows(read), *targets], read, body, given)


def _indent(lines: Iterable[str], by: int) -> list[str]:
    return [" " * (4 * by) + line for line in lines]


def _prepare(names: Names) -> list[str]:
    """Buffers of one block: they stay in the cache while a block goes forth and back."""
    lines = ["width = sizes[0]", "longest = 0", "for b in range(blocks.shape[0] - 1):"]
    lines += ["    longest = max(longest, blocks[b + 1] - blocks[b])"]
    lines += [f"{n}_row = np.empty(width)" for n in names.parameters]
    for n in names.cells:
        lines += [f"{n}_history = np.empty((longest + 1, width))", f"{n}_history[0] = 0.0"]
    lines += [f"{n}_history = np.empty((longest, width))" for n in (*names.reads, *names.tape)]
    lines += [f"{n}_row = np.empty(width)" for n in (*names.writes, *[f"p_{e}" for e in names.emissions])]
    lines += [f"{f}_table = np.zeros(({table.n_cells}, width))" for f, table in names.tables.items()]
    return lines


def _scores(names: Names) -> list[str]:
    return [f"p_{e}" for e in names.emissions]


def _totals(names: Names) -> list[str]:
    return [f"total_{e}" for e in names.emissions]


def _results(names: Names, total: bool = False) -> list[str]:
    if total:  # by block, so that what they add up to is the same for any number of workers
        return [f"{found} = np.zeros(blocks.shape[0] - 1)" for found in _totals(names)]
    return [f"{score} = np.zeros(sizes[{k + 1}])" for k, score in enumerate(_scores(names))]


def _forward_block(names: Names, total: bool = False) -> list[str]:
    lines = ["first, last = blocks[b], blocks[b + 1]"]
    for name in names.parameters:
        if name not in names.by_row:
            lines += ["for i in range(width):", f"    {name}_row[i] = {name}[{name}_index[b, i]]"]
    lines += ["for s in range(first, last):", "    t = s - first"]
    for name in names.parameters:
        if name in names.by_row:
            lines += ["    for i in range(width):", f"        {name}_row[i] = {name}[{name}_index[s, i]]"]
    for f, table in names.tables.items():
        lines += ["    for i in range(width):", "        if reset[s, i] != 0:"]
        lines += [f"            for c in range({table.n_cells}):", f"                {f}_table[c, i] = {table.start!r}"]
    for name, (f, place) in names.reads.items():
        lines += ["    for i in range(width):", f"        {name}_history[t, i] = {f}_table[{place}, i]"]
    arguments = [
        *_pass(_rows(names.parameters)),
        *_pass([f"{n}_history" for n in (*names.cells, *names.reads)], "t"),
        *_pass(names.columns, "s"),
        *_pass([f"{n}_history" for n in names.cells], "t + 1"),
        *_pass(_rows([*names.writes, *[f"p_{e}" for e in names.emissions]])),
        *_pass([f"{n}_history" for n in names.tape], "t"),
    ]
    lines += [f"    forward_row({', '.join(['width', *arguments])})"]
    for name, (f, place) in names.writes.items():
        lines += ["    for i in range(width):", f"        {f}_table[{place}, i] = {name}_row[i]"]
    for name in names.emissions:
        lines += ["    for i in range(width):"]
        if total:
            lines += [f"        total_{name}_row[i] += select({name}_place[s, i] >= 0, p_{name}_row[i], 0.0)"]
            continue
        lines += [f"        k = {name}_place[s, i]"]
        lines += ["        if k >= 0:", f"            p_{name}[k] = p_{name}_row[i]"]
    return lines


def _log_likelihood(names: Names) -> str:
    lines = [*_results(names), *_prepare(names), "for b in range(blocks.shape[0] - 1):"]
    lines += [*_indent(_forward_block(names), 1), f"return {', '.join(_scores(names))}"]
    return "\n".join([f"def log_likelihood({', '.join(names.inputs)}):", *_indent(lines, 1)])


def _function(total: bool) -> str:
    """Name what runs both passes: with a log probability and a weight for each trial, or with sums and one weight."""
    return "total" if total else "gradient"


def _gradient(names: Names, total: bool) -> str:
    lines = _results(names, total)
    lines += [f"d_{n} = np.zeros({n}.shape[0])" for n in names.parameters]
    lines += _both_passes(names, total, "range(blocks.shape[0] - 1)")
    lines += [f"return {', '.join([*_found(names, total), *[f'd_{n}' for n in names.parameters]])}"]
    head = f"def {_function(total)}({', '.join([*names.inputs, *names.cotangents])}):"
    return "\n".join([head, *_indent(lines, 1)])


def _found(names: Names, total: bool) -> list[str]:
    return _totals(names) if total else _scores(names)


def _shared(names: Names, total: bool) -> str:
    """List what every worker is given: the arguments of the function, and where its results go."""
    return ", ".join([*names.inputs, *names.cotangents, *_found(names, total), *[f"d_{n}" for n in names.parameters]])


def _of_blocks(names: Names, total: bool) -> str:
    """Both passes of the blocks of one worker, which has buffers and a row of the gradients to itself."""
    lines = _both_passes(names, total, "range(worker, blocks.shape[0] - 1, sizes[-1])", "worker, ")
    return "\n".join([f"def {_function(total)}_of_blocks(worker, {_shared(names, total)}):", *_indent(lines, 1)])


def _in_threads(names: Names, total: bool) -> str:
    lines = _results(names, total)
    lines += [f"d_{n} = np.zeros((sizes[-1], {n}.shape[0]))" for n in names.parameters]
    lines += [f"in_threads({_function(total)}_of_blocks, sizes[-1], ({_shared(names, total)}))"]
    lines += [f"return {', '.join([*_found(names, total), *[f'added_up(d_{n})' for n in names.parameters]])}"]
    head = f"def {_function(total)}({', '.join([*names.inputs, *names.cotangents])}):"
    return "\n".join([head, *_indent(lines, 1)])


def _both_passes(names: Names, total: bool, blocks: str, worker: str = "") -> list[str]:
    lines = _prepare(names)
    adjoints = [f"d_{n}" for n in (*names.cells, *names.reads, *names.writes)]
    lines += [f"{n}_row = np.empty(width)" for n in (*adjoints, *names.cotangents)]
    lines += [f"d_{f}_table = np.empty(({table.n_cells}, width))" for f, table in names.tables.items()]
    lines += [f"d_{n}_row = np.empty(width)" for n in names.parameters]
    if total:
        lines += [f"total_{e}_row = np.empty(width)" for e in names.emissions]
    lines += [f"for b in {blocks}:"]
    if total:
        lines += _indent([f"total_{e}_row[:] = 0.0" for e in names.emissions], 1)
    lines += _indent(_forward_block(names, total), 1)
    if total:
        for name in names.emissions:
            lines += ["    for i in range(width):", f"        total_{name}[b] += total_{name}_row[i]"]
    lines += _indent([f"d_{c}_row[:] = 0.0" for c in names.cells], 1)
    lines += _indent([f"d_{f}_table[:] = 0.0" for f in names.tables], 1)
    lines += _indent([f"d_{n}_row[:] = 0.0" for n in names.parameters if n not in names.by_row], 1)
    lines += ["    for s in range(last - 1, first - 1, -1):", "        t = s - first"]
    for name in names.parameters:
        if name in names.by_row:
            lines += ["        for i in range(width):", f"            {name}_row[i] = {name}[{name}_index[s, i]]"]
            lines += [f"        d_{name}_row[:] = 0.0"]
    for name in names.emissions:
        lines += ["        for i in range(width):"]
        if total:
            lines += [f"            d_{name}_row[i] = select({name}_place[s, i] >= 0, d_{name}[0], 0.0)"]
            continue
        lines += [f"            k = {name}_place[s, i]"]
        lines += [f"            d_{name}_row[i] = d_{name}[k] if k >= 0 else 0.0"]
    for name, (f, place) in reversed(names.writes.items()):
        lines += ["        for i in range(width):", f"            k = {place}"]
        lines += [f"            d_{name}_row[i] = d_{f}_table[k, i]", f"            d_{f}_table[k, i] = 0.0"]
    arguments = [
        *_pass(_rows(names.parameters)),
        *_pass([f"{n}_history" for n in (*names.cells, *names.reads)], "t"),
        *_pass(names.columns, "s"),
        *_pass([f"{n}_history" for n in names.tape], "t"),
        *_pass(_rows([*names.adjoints, *[f"d_{n}" for n in (*names.reads, *names.parameters)]])),
    ]
    lines += [f"        reverse_row({', '.join(['width', *arguments])})"]
    for name, (f, place) in names.reads.items():
        lines += ["        for i in range(width):", f"            d_{f}_table[{place}, i] += d_{name}_row[i]"]
    for f, table in names.tables.items():
        lines += ["        for i in range(width):", "            if reset[s, i] != 0:"]
        lines += [f"                for c in range({table.n_cells}):", f"                    d_{f}_table[c, i] = 0.0"]
    for name in names.parameters:
        if name in names.by_row:
            lines += ["        for i in range(width):"]
            lines += [f"            d_{name}[{worker}{name}_index[s, i]] += d_{name}_row[i]"]
    for name in names.parameters:
        if name not in names.by_row:
            lines += ["    for i in range(width):"]
            lines += [f"        d_{name}[{worker}{name}_index[b, i]] += d_{name}_row[i]"]
    return lines
