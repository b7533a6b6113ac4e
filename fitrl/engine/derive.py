"""From a traced trial to scalar expressions for both passes; differentiation and simplification are PyTensor's.

The forward pass takes the state before a row to the state after it, and to the log probability of each
emission. The reverse pass takes the adjoint of the state after a row to that of the state before it, and to the
gradients of the parameters. Both come from one graph, so that what they share is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import get_mode
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import MergeOptimizer, dfs_rewriter, node_rewriter
from pytensor.scalar import basic as ps
from pytensor.scalar import math as scalar_math
from pytensor.tensor.elemwise import Elemwise

from fitrl.engine.lower import lower
from fitrl.engine.trace import Program

# Operations that cost more than storing their result for the reverse pass.
_EXPENSIVE = (ps.Exp, ps.Log, ps.Log1p, ps.Expm1, ps.Tanh, ps.Pow, ps.Sqrt)


@dataclass(frozen=True)
class Passes:
    """Simplified scalar graphs of one row.

    Attributes
    ----------
    graph : FunctionGraph
        Inputs and outputs are 0-d tensors with names.
    forward : tuple of Variable
        Next state cells, what is written into tables, then log probabilities.
    reverse : tuple of Variable
        Adjoints of the state cells and of what was read from tables, then gradients of the parameters.
    tape : tuple of Variable
        Results of the forward pass that the reverse pass uses again.
    """

    graph: FunctionGraph
    forward: tuple[Variable, ...]
    reverse: tuple[Variable, ...]
    tape: tuple[Variable, ...]


def cell_name(cell: tuple[str, int], program: Program) -> str:
    """Readable name of a state cell: ``q_0``, or ``won`` for a field of one cell."""
    field, position = cell
    alone = sum(name == field for name, _ in program.cells) == 1
    return field if alone else f"{field}_{position}"


def read_names(program: Program) -> dict[str, tuple[str, int]]:
    """Names of the cells of tables that a row reads, with their field and number."""
    return {f"{f}_read_{k}": (f, k) for f, table in program.tables.items() for k in range(len(table.reads))}


def write_names(program: Program) -> dict[str, tuple[str, int]]:
    """Names of the cells of tables that a row writes, with their field and number."""
    return {f"{f}_write_{k}": (f, k) for f, table in program.tables.items() for k in range(len(table.writes))}


def derive(program: Program, column_dtypes: dict[str, str]) -> Passes:
    """Derive both passes of a row.

    Parameters
    ----------
    program : Program
        The traced model.
    column_dtypes : dict of str to str
        ``"bool"``, ``"int64"`` or ``"float64"`` for every column.

    Returns
    -------
    Passes
    """
    leaves: dict[tuple, Any] = {}
    for name in program.parameters:
        leaves["parameter", name] = pt.dscalar(name)
    for cell in program.cells:
        leaves["state", *cell] = pt.dscalar(cell_name(cell, program))
    for name, (field, k) in read_names(program).items():
        leaves["read", field, k] = pt.dscalar(name)
    for name in program.columns:
        leaves["column", name] = pt.scalar(name, dtype=column_dtypes[name])
    written = [value for table in program.tables.values() for _, value in table.writes]
    roots = [*program.after, *written, *program.log_probability.values()]
    outputs = [pt.cast(pt.as_tensor(out), "float64") for out in lower(roots, leaves)]
    names = [f"d_{cell_name(cell, program)}" for cell in program.cells]
    names += [f"d_{name}" for name in (*write_names(program), *program.log_probability)]
    adjoints = [pt.dscalar(name) for name in names]
    wrt = [leaves["state", *cell] for cell in program.cells]
    wrt += [leaves["read", *place] for place in read_names(program).values()]
    wrt += [leaves["parameter", name] for name in program.parameters]
    objective = pt.add(*[d * out for d, out in zip(adjoints, outputs, strict=True)])
    gradients = pytensor.grad(objective, wrt, disconnected_inputs="ignore", return_disconnected="zero")
    graph = FunctionGraph([*leaves.values(), *adjoints], [*outputs, *gradients], clone=True, copy_inputs=False)
    get_mode("NUMBA").excluding("fusion", "inplace", "BlasOpt", "local_log_add_exp").optimizer.rewrite(graph)
    dfs_rewriter(_share_exponential, ignore_newtrees=True).rewrite(graph)
    MergeOptimizer().rewrite(graph)
    forward = tuple(graph.outputs[: len(outputs)])
    reverse = tuple(graph.outputs[len(outputs) :])
    return Passes(graph, forward, reverse, _tape(graph, forward, reverse, adjoints))


@node_rewriter([scalar_math.Softplus, scalar_math.Sigmoid, Elemwise])
def _share_exponential(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
    """Write softplus and sigmoid of the same quantity with one exponential, ``exp(-|x|)``.

    A log probability is a softplus and its derivative a sigmoid: this way the reverse pass needs no
    exponential of its own.
    """
    if not isinstance(operation(node), scalar_math.Softplus | scalar_math.Sigmoid):
        return None
    lib = pt if isinstance(node.op, Elemwise) else ps
    (x,) = node.inputs
    is_negated = x.owner is not None and isinstance(operation(x.owner), ps.Neg)
    e = lib.exp(lib.neg(lib.abs(x.owner.inputs[0] if is_negated else x)))
    if isinstance(operation(node), scalar_math.Softplus):
        return [lib.add(lib.maximum(x, 0.0), lib.log1p(e))]
    return [lib.true_div(lib.switch(lib.ge(x, 0.0), 1.0, e), lib.add(1.0, e))]


def operation(node: Apply) -> Any:
    """Scalar operation of a node; some stay wrapped as operations on 0-d tensors."""
    return node.op.scalar_op if isinstance(node.op, Elemwise) else node.op


def _tape(
    graph: FunctionGraph, forward: tuple[Variable, ...], reverse: tuple[Variable, ...], adjoints: list[Variable]
) -> tuple[Variable, ...]:
    """Expensive results that both passes need."""
    in_forward = _ancestors(forward)
    in_reverse = _ancestors(reverse)
    return tuple(
        node.outputs[0]
        for node in graph.toposort()
        if node.outputs[0] in in_forward and node.outputs[0] in in_reverse and isinstance(operation(node), _EXPENSIVE)
    )


def _ancestors(roots: tuple[Variable, ...]) -> set[Variable]:
    found: set[Variable] = set()
    stack = list(roots)
    while stack:
        variable = stack.pop()
        if variable in found or isinstance(variable, Constant):
            continue
        found.add(variable)
        if variable.owner is not None:
            stack.extend(variable.owner.inputs)
    return found
