"""nutpie's compiled model, with entry points that are kept on disk.

nutpie reaches a compiled log density through a small C function, which it compiles anew for every fit: some seven
seconds, more than most fits take to sample. The one emitted here does the same and is kept in PyTensor's disk cache. It
reads the data through nutpie's record, so that it serves any data set of the same design.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import numba
import numpy as np
import pymc as pm
from numba import types
from nutpie import compile_pymc as nutpie_compile
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import get_mode, optdb
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.tensor.shape import SpecifyShape

_SIGNATURES = {
    "log_density": types.int64(
        types.uint64,
        types.CPointer(types.double),
        types.CPointer(types.double),
        types.CPointer(types.double),
        types.CPointer(types.uintp),
    ),
    "expand": types.int64(
        types.uint64,
        types.uint64,
        types.CPointer(types.double),
        types.CPointer(types.double),
        types.CPointer(types.uintp),
    ),
}

# Return values other than 0 reject the point; nutpie tells 3 and 4, which it retries at the start, from failures.
_BODIES = {
    "log_density": """
def log_density(dim, point_, gradient_, value_, data_):
    point = carray(point_, (dim,))
    gradient = carray(gradient_, (dim,))
    data = carray(data_, ({n_words},))
    arguments = (point,){arrays}
    try:
        value, found = inner(*arguments)
    except Exception:
        return 1
    carray(value_, (1,))[0] = value.item()
    finite = True
    for i in range(dim):
        gradient[i] = found[i]
        finite &= isfinite(found[i])
    if not finite:
        return 3
    return 0 if isfinite(value.item()) else 4
""",
    "expand": """
def expand(dim, n_expanded, point_, values_, data_):
    point = carray(point_, (dim,))
    values = carray(values_, (n_expanded,))
    data = carray(data_, ({n_words},))
    arguments = (point,){arrays}
    try:
        found = inner(*arguments)[0]
    except Exception:
        return -2
    for i in range(n_expanded):
        values[i] = found[i]
    return 0
""",
}


class Unchecked(Op):
    """What `SpecifyShape` is without its check.

    Numba needs seconds to compile the words of an error that cannot occur: nutpie passes points of one length, which
    are cut at fixed places.
    """

    view_map: ClassVar = {0: [0]}
    __props__ = ()

    def make_node(self, x: Any, known: Any) -> Apply:
        """Build the node: the same values, with a known type."""
        return Apply(self, [x], [known()])

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Hand the array on."""
        output_storage[0][0] = inputs[0]


@register_funcify_default_op_cache_key(Unchecked)
def _hand_on(op: Unchecked, **kwargs: Any) -> Any:
    @numba_njit
    def hand_on(x):
        return x

    return hand_on


@node_rewriter([SpecifyShape])
def _leave_out_the_check(fgraph: Any, node: Apply) -> list[Any]:
    return [Unchecked()(node.inputs[0], node.outputs[0].type)]


optdb.register("fitrl_leave_out_checks", dfs_rewriter(_leave_out_the_check), "fitrl_unchecked", position=60)


def compile_model(
    model: pm.Model,
    *,
    initial_points: Mapping[str, Any] | None = None,
    starts: Callable[[int | None], dict[str, np.ndarray]] | None = None,
    var_names: Sequence[str] | None = None,
) -> nutpie_compile.CompiledPyMCModel:
    """Compile a PyMC model for nutpie; what `nutpie.compile_pymc_model` does, with entry points from the disk cache.

    Parameters
    ----------
    model : pymc.Model
        Every variable continuous.
    initial_points : mapping, optional
        Initial values by variable, as ``initvals`` of `pm.sample`; a uniform number between -1 and 1 is added.
    starts : callable, optional
        From the seed of a chain to initial values of variables that are not transformed, which are taken as they are.
    var_names : sequence of str, optional
        Variables to store; all by default.

    Returns
    -------
    nutpie.compile_pymc.CompiledPyMCModel
        For `nutpie.sample`; draws are those of `nutpie.compile_pymc_model`, to the last bit.
    """
    usual = nutpie_compile._wrap_with_lock(
        make_initial_point_fn(
            model=model,
            overrides=initial_points,
            default_strategy="support_point",
            jitter_rvs=set(model.free_RVs),
            return_transformed=True,
        )
    )

    def start(seed: int | None) -> dict[str, np.ndarray]:
        return {**usual(seed), **(starts(seed) if starts else {})}

    n_dim, n_expanded, log_density, expand, initial, shapes, transformed = nutpie_compile._make_functions(
        model,
        mode=get_mode("NUMBA").including("fitrl_unchecked"),
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=start,
        var_names=var_names,
    )
    shared = list(dict.fromkeys([*log_density.get_shared(), *expand.get_shared()]))
    keys = {variable: f"data_{i}" for i, variable in enumerate(shared)}
    data = {}
    for variable, key in keys.items():
        data[key] = np.array(variable.get_value(), order="C", copy=True)
        data[key].flags.writeable = False
    dims, coords = nutpie_compile._prepare_dims_and_coords(model, shapes, transformed)
    return nutpie_compile.CompiledPyMCModel(
        _n_dim=n_dim,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=_entry("log_density", log_density, shared, data, keys),
        compiled_expand_func=_entry("expand", expand, shared, data, keys),
        initial_point_func=initial,
        shared_data=data,
        shared_var_keys=keys,
        user_data=nutpie_compile.make_user_data(keys, data),
        n_expanded=n_expanded,
        shape_info=shapes,
        logp_func=log_density,
        expand_func=expand,
        reparameterized_names=transformed,
    )


def _entry(kind: str, function: Any, shared: Sequence[Any], data: Mapping[str, np.ndarray], keys: Mapping) -> Any:
    """Compile the C function through which nutpie calls a PyTensor function, or fetch it from the disk cache.

    nutpie passes the addresses, sizes and shapes of the data as one record: all addresses, then all sizes, then
    the shapes one after the other, each a machine word.
    """
    n, words, at = len(shared), 2 * len(shared), {}
    for variable in shared:
        at[variable] = words
        words += variable.type.ndim
    arrays, scope = (
        [],
        {"__name__": __name__, "carray": numba.carray, "isfinite": np.isfinite, "inner": function.vm.jit_fn},
    )
    for variable in function.get_shared():
        i, ndim = shared.index(variable), variable.type.ndim
        dtype = str(data[keys[variable]].dtype)
        scope |= {dtype: np.dtype(dtype), "pointer": nutpie_compile.address_as_void_pointer}
        shape = "".join(f"data[{at[variable] + axis}], " for axis in range(ndim))
        # One tuple each: Python builds long ones from a list, which numba does not know within a try.
        arrays.append(f" + (carray(pointer(data[{i}]), ({shape}), {dtype}),)")
    assert nutpie_compile.make_user_data(keys, data).nbytes == 8 * words, (n, words)
    text = _BODIES[kind].format(n_words=words, arrays="".join(arrays))
    inner = CACHED_SRC_FUNCTIONS.get(function.vm.jit_fn.py_func)
    key = sha256(f"{inner}\n{text}".encode()).hexdigest() if inner else None
    raw = compile_numba_function_src(text, kind, global_env=scope, local_env=scope, cache_key=key)
    return numba.cfunc(_SIGNATURES[kind], cache=key is not None)(raw)
