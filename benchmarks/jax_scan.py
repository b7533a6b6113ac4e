"""The traced trial in JAX: `lax.scan` over trials, vectorised over subjects, value and gradient jitted together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fitrl.language.symbols import LEAVES, Symbol, walk


def compiled(program: Any, columns: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> Callable:
    """Compile for complete rectangles of data.

    Parameters
    ----------
    program : Program
        The traced model.
    columns : dict of str to ndarray, shape (trial, subject)
        Columns of the program.
    masks : dict of str to ndarray, shape (trial, subject)
        Scored rows of each emission.

    Returns
    -------
    callable
        From parameter values, shape (subject,), to (log probabilities by emission, gradients).
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    operations = {
        "sub": jnp.subtract,
        "mul": jnp.multiply,
        "div": jnp.divide,
        "neg": jnp.negative,
        "sigmoid": jax.nn.sigmoid,
        "softplus": jax.nn.softplus,
        "and": jnp.logical_and,
        "or": jnp.logical_or,
        "lt": jnp.less,
        "le": jnp.less_equal,
        "gt": jnp.greater,
        "ge": jnp.greater_equal,
        "eq": jnp.equal,
        "ne": jnp.not_equal,
        "held": jax.lax.stop_gradient,
    }

    def evaluate(roots, leaves):
        done: dict[int, Any] = {}
        for symbol in walk(roots):
            if symbol.op in LEAVES:
                done[id(symbol)] = leaves[symbol.op, *symbol.args]
            else:
                args = [done[id(a)] if isinstance(a, Symbol) else a for a in symbol.args]
                done[id(symbol)] = (operations.get(symbol.op) or getattr(jnp, symbol.op))(*args)
        return [done[id(r)] if isinstance(r, Symbol) else r for r in roots]

    n_subjects = next(iter(columns.values())).shape[1]
    roots = [*program.after, *program.log_probability.values()]
    data = {name: jnp.asarray(columns[name]) for name in program.columns}
    scored = {name: jnp.asarray(mask) for name, mask in masks.items()}

    lanes, n_cells = jnp.arange(n_subjects), len(program.cells)

    def step(values, state, row):
        leaves = {("parameter", k): v for k, v in zip(program.parameters, values, strict=True)}
        leaves |= {("column", k): v for k, v in row.items()}
        leaves |= {("state", *cell): v for cell, v in zip(program.cells, state[:n_cells], strict=True)}
        tables = dict(zip(program.tables, state[n_cells:], strict=True))
        for name, table in program.tables.items():
            tables[name] = jnp.where(row["reset"], table.start, tables[name])
            for k, index in enumerate(evaluate(table.reads, leaves)):
                leaves["read", name, k] = tables[name][index, lanes]
        found = [jnp.broadcast_to(x, (n_subjects,)) for x in evaluate(roots, leaves)]
        for name, table in program.tables.items():
            for write in table.writes:
                index, value = evaluate(write, leaves)
                tables[name] = tables[name].at[index, lanes].set(value)
        return (*found[:n_cells], *tables.values()), found[n_cells:]

    def total(values):
        start = [jnp.zeros(n_subjects) for _ in program.cells]
        start += [jnp.zeros((table.n_cells, n_subjects)) for table in program.tables.values()]
        _, scores = jax.lax.scan(lambda state, row: step(values, state, row), tuple(start), data)
        scores = dict(zip(program.log_probability, scores, strict=True))
        return sum(jnp.where(scored[k], scores[k], 0.0).sum() for k in scores), scores

    function = jax.jit(jax.value_and_grad(total, has_aux=True))

    def call(*values):
        (_, scores), gradients = function(values)
        return jax.block_until_ready((scores, gradients))

    return call
