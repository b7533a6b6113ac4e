"""The fast likelihood as a PyTensor operation, compiled by numba and kept in PyTensor's disk cache.

`LogLikelihood` is the forward pass. Its gradient is `LogLikelihoodAndGradient`, which runs both passes block by block
and returns the log probabilities as well, so that a rewrite can drop the separate forward pass: a log density
with its gradient is one node, and the history of a block never leaves the cache. Where log probabilities are only
added up, as samplers do, another rewrite makes it `TotalAndGradient`, which saves a third of the time: what is written
and read for single responses goes through memory.
"""

from __future__ import annotations

import inspect
from functools import cache
from hashlib import sha256
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.traversal import ancestors
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key
from pytensor.scalar.basic import Add
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import Sum

from fitrl.engine import threads, vector_math
from fitrl.engine.derive import derive
from fitrl.engine.emit import Names, emit
from fitrl.engine.trace import Program


@cache
def _called() -> str:
    """Text of what kernels call: compiled into them, so part of what identifies them."""
    return inspect.getsource(vector_math) + inspect.getsource(threads)


class _NoAlias(CompilerBase):
    """Compile with the promise that array arguments do not overlap.

    The rows that the kernel passes to its inner loops are always distinct. The promise holds for the functions
    compiled with this class alone; as a global flag it would corrupt foreign code that works in place.
    """

    def define_pipelines(self) -> list:
        """Numba's own pipeline, with one flag."""
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class Kernel:
    """The emitted source of a model and what is needed to call it.

    Attributes
    ----------
    text : str
        Python source of both passes.
    names : Names
        Names of inputs and outputs, in order.
    key : str
        Identifies the compiled code.
    """

    def __init__(self, program: Program, dtypes: dict[str, str], by_row: frozenset[str], threaded: bool = False):
        passes = derive(program, dtypes)
        self.names = Names(program, len(passes.tape), by_row)
        self.n_history = len(program.cells) + len(self.names.reads) + len(passes.tape)
        self.text = emit(program, passes, by_row, threaded)
        self.key = sha256(f"{_called()}\n{self.text}".encode()).hexdigest()

    def compiled(self, function: str) -> Any:
        """``log_likelihood`` or ``gradient`` as a numba function."""
        return _compiled(self.text, self.key, function)


@cache
def _compiled(text: str, key: str, function: str) -> Any:
    # Without the name of a module numba stores all globals with the code, builtins included, which fails in Jupyter.
    scope: dict[str, Any] = {"__name__": __name__, "np": np, "inf": np.inf, "nan": np.nan}
    scope |= {n: getattr(vector_math, n) for n in vector_math.FUNCTIONS}
    scope |= {"in_threads": threads.in_threads, "added_up": threads.added_up}
    compiled: dict[str, Any] = {}
    exec(compile(text, f"<fitrl kernel {key[:12]}>", "exec"), scope, compiled)
    for row in ("forward_row", "reverse_row"):
        scope[row] = numba.njit(
            compiled[row], pipeline_class=_NoAlias, fastmath=vector_math.FASTMATH, error_model="numpy"
        )
    if f"{function}_of_blocks" in compiled:
        part = compiled[f"{function}_of_blocks"]
        scope[f"{function}_of_blocks"] = numba_njit(part, fastmath=False, error_model="numpy")
    # The driver goes through PyTensor's door, which caches it on disk with the rows linked into it.
    part = next(p for p in text.split("\n\n\n") if p.startswith(f"def {function}("))
    driver = compile_numba_function_src(part, function, global_env=scope, cache_key=f"{key}_{function}")
    return numba_njit(driver, fastmath=False, error_model="numpy", cache=True)


class _KernelOp(Op):
    """Shared by both operations: identity, inputs, and running without numba's linker."""

    function: str

    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.kernel.key == other.kernel.key  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self.kernel.key))

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Run the kernel on NumPy arrays."""
        results = _callable(self.kernel.text, self.kernel.key, self.function)(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = result


@cache
def _callable(text: str, key: str, function: str) -> Any:
    inner = _compiled(text, key, function)
    return numba.njit(lambda *args: inner(*args))


class LogLikelihood(_KernelOp):
    """Log probability of every scored response.

    Inputs are those of the emitted ``log_likelihood``: for each parameter its values and index, the packed
    columns, for each emission the places of its scored rows, sizes, and blocks.
    """

    function = "log_likelihood"

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node: one vector per emission."""
        inputs = tuple(pt.as_tensor(x) for x in inputs)
        return Apply(self, inputs, [pt.dvector(f"p_{name}") for name in self.kernel.names.emissions])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Variable]:
        """Gradient with respect to the parameters."""
        given = [
            pt.zeros_like(out) if isinstance(c.type, DisconnectedType) else c
            for c, out in zip(cotangents, outputs, strict=True)
        ]
        found = LogLikelihoodAndGradient(self.kernel)(*inputs, *given, return_list=True)
        gradients = iter(found[len(outputs) :])
        values = set(range(0, 2 * len(self.kernel.names.parameters), 2))
        return [next(gradients) if i in values else disconnected_type() for i in range(len(inputs))]

    def infer_shape(self, node: Apply, shapes: Any) -> list[tuple]:
        """Lengths are among the inputs, so that nothing needs the result to know its shape."""
        sizes = node.inputs[-2]
        return [(sizes[k + 1],) for k in range(len(node.outputs))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Only parameter values are connected."""
        values = set(range(0, 2 * len(self.kernel.names.parameters), 2))
        return [[i in values] * len(node.outputs) for i in range(len(node.inputs))]


class _WithGradient(_KernelOp):
    """Shared by the operations that run both passes: one vector per emission, one per parameter."""

    prefix: str

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node; the vectors of emissions are called after what they hold."""
        inputs = tuple(pt.as_tensor(x) for x in inputs)
        names = self.kernel.names
        outputs = [pt.dvector(f"{self.prefix}_{name}") for name in names.emissions]
        return Apply(self, inputs, [*outputs, *[pt.dvector(f"d_{name}") for name in names.parameters]])


class LogLikelihoodAndGradient(_WithGradient):
    """Log probabilities and the gradient of their weighted sum with respect to the parameters.

    Inputs are those of `LogLikelihood` and one weight per scored response of each emission.
    """

    function, prefix = "gradient", "p"


class TotalAndGradient(_WithGradient):
    """Sums of the log probabilities and the gradient of their weighted sum with respect to the parameters.

    Inputs are those of `LogLikelihood` and one weight per emission, shape (1,). The sums come block by block, to be
    added up. This is what a sampler needs: nothing is written or read for single responses.
    """

    function, prefix = "total", "total"


@register_funcify_and_cache_key(LogLikelihood)
@register_funcify_and_cache_key(LogLikelihoodAndGradient)
@register_funcify_and_cache_key(TotalAndGradient)
def _funcify(op: _KernelOp, node: Apply | None = None, **kwargs: Any) -> tuple[Any, str]:
    return op.kernel.compiled(op.function), f"{op.kernel.key}_{op.function}"


# Rewrites -------------------------------------------------------------------------------------------


@node_rewriter([LogLikelihood])
def _use_the_forward_pass_of_the_gradient(fgraph: Any, node: Apply) -> list[Variable] | None:
    """Take log probabilities from the node that computes their gradient, if there is one."""
    for client, _ in fgraph.clients[node.inputs[0]]:
        if not isinstance(client.op, LogLikelihoodAndGradient) or client.op.kernel.key != node.op.kernel.key:
            continue
        if list(client.inputs[: len(node.inputs)]) != list(node.inputs):
            continue
        if any(out in ancestors(client.inputs) for out in node.outputs):
            continue  # the weights depend on the log probabilities themselves
        return client.outputs[: len(node.outputs)]
    return None


@node_rewriter([Elemwise])
def _add_the_weights(fgraph: Any, node: Apply) -> list[Variable] | None:
    """Sum of two gradients of one model: the gradient with the sum of the weights."""
    if not isinstance(node.op.scalar_op, Add):
        return None
    seen: dict[tuple, int] = {}
    for position, term in enumerate(node.inputs):
        owner = term.owner
        if owner is None or not isinstance(owner.op, LogLikelihoodAndGradient):
            continue
        n = len(owner.op.kernel.names.emissions)
        key = (owner.op, owner.outputs.index(term), *owner.inputs[:-n])
        if key not in seen:
            seen[key] = position
            continue
        other = node.inputs[seen[key]].owner
        weights = [a + b for a, b in zip(other.inputs[-n:], owner.inputs[-n:], strict=True)]
        both = owner.op(*owner.inputs[:-n], *weights, return_list=True)[owner.outputs.index(term)]
        rest = [t for i, t in enumerate(node.inputs) if i not in (position, seen[key])]
        return [pt.add(both, *rest) if rest else both]
    return None


@node_rewriter([LogLikelihoodAndGradient])
def _only_add_up(fgraph: Any, node: Apply) -> dict[Variable, Variable] | None:
    """Where log probabilities are only added up, and all weigh the same, leave out what single ones need."""
    n = len(node.op.kernel.names.emissions)
    weights = [_the_same_for_all(weight) for weight in node.inputs[-n:]]
    sums = [[client for client, _ in fgraph.clients[scores]] for scores in node.outputs[:n]]
    if any(weight is None for weight in weights) or not all(_is_sum(client) for found in sums for client in found):
        return None
    found = TotalAndGradient(node.op.kernel)(*node.inputs[:-n], *weights, return_list=True)
    replaced = dict(zip(node.outputs[n:], found[n:], strict=True))
    return replaced | {c.outputs[0]: t.sum() for t, clients in zip(found, sums, strict=False) for c in clients}


def _the_same_for_all(weights: Variable) -> Variable | None:
    """Return the number that a vector consists of, shape (1,); None if it may have several."""
    if weights.owner is None or not isinstance(weights.owner.op, Alloc):
        return None
    value = weights.owner.inputs[0]
    return pt.atleast_1d(value) if all(value.type.broadcastable) else None


def _is_sum(node: Apply) -> bool:
    return isinstance(node.op, Sum) and node.outputs[0].type.ndim == 0


optdb.register("fitrl_add_the_weights", dfs_rewriter(_add_the_weights), "fast_run", "numba", "fitrl", position=2.1)
optdb.register(
    "fitrl_use_the_forward_pass",
    dfs_rewriter(_use_the_forward_pass_of_the_gradient),
    "fast_run",
    "numba",
    "fitrl",
    position=2.2,
)
optdb.register("fitrl_only_add_up", dfs_rewriter(_only_add_up), "fast_run", "numba", "fitrl", position=2.3)
