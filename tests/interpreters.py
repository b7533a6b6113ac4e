"""The interpreters side by side, on one table of rows: plain, filter, symbols, compiled scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, log_ndtr

from fitrl.conformance.interpreters import Rows, run_filter, run_plain
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import play_rows
from fitrl.engine.trace import Program, trace
from fitrl.language.symbols import LEAVES, Symbol, walk

__all__ = [
    "NUMPY",
    "Rows",
    "bandit_columns",
    "compiled_scan",
    "evaluate",
    "played",
    "run_filter",
    "run_plain",
    "run_symbols",
    "stack",
]


def stack(*tables: dict[str, np.ndarray]) -> Rows:
    """Several sequences, one below the other."""
    columns = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    return Rows(columns, np.repeat(np.arange(len(tables)), [len(t["reset"]) for t in tables]))


def bandit_columns(choices, outcomes, *, offers=None, forgone=None, forced=(), resets=(), n_options=2):
    """Canonical columns of one sequence; None is a missed response, or an outcome that was not shown."""
    n = len(choices)
    given = np.array([c is not None for c in choices])
    shown = np.array([r is not None for r in outcomes])
    columns = {
        "choice": np.array([0 if c is None else c for c in choices]),
        "choice_given": given,
        "mask_choice": given & ~np.isin(np.arange(n), forced),
        "outcome": np.array([0.0 if r is None else float(r) for r in outcomes]),
        "outcome_given": shown,
        "mask_update": given & shown,
        "reset": np.isin(np.arange(n), [0, *resets]),
    }
    if forgone is not None:
        columns["outcome_forgone"] = np.array([0.0 if r is None else float(r) for r in forgone])
        columns["outcome_forgone_given"] = np.array([r is not None for r in forgone])
    offers = offers or [tuple(range(n_options))] * n
    for j, offer in enumerate(np.array(offers).T):
        columns[f"offer_{j + 1}"] = offer
    return columns


def played(model, task, world, parameters: dict[str, Any], rng) -> tuple[Rows, dict[str, np.ndarray]]:
    """Let agents play; give the data as a file would hold them, and the log probabilities while playing."""
    seen: dict[str, list[np.ndarray]] = {}
    scores: dict[str, list[np.ndarray]] = {}
    for trial, t in enumerate(play_rows(model, task, world, parameters, rng)):
        here = world.at(trial)

        def wide(value):
            return np.broadcast_to(value, world.n_agents)

        row = {"reset": wide(here.resets()), "mask_update": wide(here.learns())}
        for name, value in t.emitted.items():
            answered = here.responds(name) if name in t.log_probability else here.shows(name)
            row[name], row[f"{name}_given"] = np.where(answered, value, 0), wide(answered)
        for name, value in t.log_probability.items():
            told = here.instructed(name)
            row[f"mask_{name}"] = row[f"{name}_given"] & (True if told is None else ~told[0])
            row["mask_update"] = row["mask_update"] & row[f"{name}_given"]
            scores.setdefault(name, []).append(wide(value))
        for offers in t.offers.values():
            row |= {f"offer_{j + 1}": wide(offer) for j, offer in enumerate(offers or ())}
        for name, value in row.items():
            seen.setdefault(name, []).append(value)
    columns = {name: np.stack(values).T.ravel() for name, values in seen.items()}
    rows = Rows(columns, np.repeat(np.arange(world.n_agents), world.n_trials))
    return rows, {name: np.stack(values).T.ravel() for name, values in scores.items()}


NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "logaddexp": np.logaddexp,
    "log_ndtr": log_ndtr,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "where": np.where,
    "held": lambda x: x,
}


def evaluate(roots: list[Any], leaves: dict[tuple, Any]) -> list[Any]:
    """Evaluate expressions on numbers."""
    done: dict[int, Any] = {}
    for symbol in walk(roots):
        if symbol.op in LEAVES:
            done[id(symbol)] = leaves[(symbol.op, *symbol.args)]
        else:
            args = [done[id(a)] if isinstance(a, Symbol) else a for a in symbol.args]
            with np.errstate(all="ignore"):  # the branch of a `where` that is not taken may be anything
                done[id(symbol)] = NUMPY[symbol.op](*args)
    return [done[id(r)] if isinstance(r, Symbol) else r for r in roots]


def run_symbols(model, task, parameters: dict[str, np.ndarray], rows: Rows) -> dict[str, np.ndarray]:
    """Trace once, then evaluate the expressions row by row."""
    program = trace(model, task)
    found = {name: np.full(len(rows.sequence), np.nan) for name in program.log_probability}
    for s in range(rows.n_sequences):
        inputs = {("parameter", k): np.broadcast_to(v, rows.n_sequences)[s] for k, v in parameters.items()}
        state: list[Any] = [0.0] * len(program.cells)
        for place in np.flatnonzero(rows.sequence == s):
            leaves = inputs | {("column", name): rows.columns[name][place] for name in program.columns}
            leaves |= {("state", *cell): value for cell, value in zip(program.cells, state, strict=True)}
            values = evaluate([*program.after, *program.log_probability.values()], leaves)
            state = values[: len(program.cells)]
            for name, value in zip(found, values[len(program.cells) :], strict=True):
                found[name][place] = value
    return found


def compiled_scan(program: Program, rows: Rows, shapes: dict[str, np.ndarray] | None = None, quick=False):
    """Compile the reference: a function of parameter values to (log probabilities by emission, gradients).

    `shapes` maps parameters that change by row to their index; others have one value per sequence. The gradient is
    that of the sum over scored rows. `quick` runs the graph in Python: no compilation, many times slower to run.
    """
    import pytensor
    import pytensor.tensor as pt

    from fitrl.engine.reference import log_likelihood

    shapes = shapes or {}
    layout = lay_out(rows.sequence)
    inputs = {name: pt.dvector(name) for name in program.parameters}
    every = np.arange(rows.n_sequences)
    # Shared, not constant: nothing to fold, and the graph is the same for other data.
    located = {k: Located(v, pytensor.shared(shapes.get(k, every)), k in shapes) for k, v in inputs.items()}
    found = log_likelihood(
        program,
        located,
        {name: pytensor.shared(column) for name, column in rows.columns.items()},
        pytensor.shared(layout.rows),
        pytensor.shared(layout.filled),
        pytensor.shared(layout.place),
    )
    scored = sum(score[np.flatnonzero(rows.columns[f"mask_{name}"])].sum() for name, score in found.items())
    gradients = pytensor.grad(scored, list(inputs.values())) if inputs else []
    # Scan compiles its inner graph by the configured mode, not by that of the function around it.
    flags = {"mode": pytensor.compile.mode.Mode(linker="py", optimizer="fast_compile")} if quick else {}
    with pytensor.config.change_flags(**flags):
        function = pytensor.function(list(inputs.values()), [*found.values(), *gradients])

    def call(values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        sizes = {k: np.max(shapes[k]) + 1 if k in shapes else rows.n_sequences for k in inputs}
        results = function(*[np.array(np.broadcast_to(values[k], sizes[k]), dtype=float) for k in inputs])
        n = len(found)
        return dict(zip(found, results[:n], strict=True)), dict(zip(inputs, results[n:], strict=True))

    return call
