"""The fast engine for tests: random situations, the compiled kernel, the kernel as Python, and slopes of the filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from interpreters import Rows, evaluate

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.likelihood import FastLikelihood, make_likelihood
from fitrl.engine.run import log_probabilities
from fitrl.engine.trace import trace
from fitrl.tasks import Bandit

# What each kind of parameter may be, and values near its bounds.
NEAR = {"unit": (1e-6, 1 - 1e-6), "positive": (1e-3, 1e3), "real": (-3.0, 3.0)}


def bandit(n_options=2, n_offered=None, low=0.0):
    """A bandit whose forgone outcomes are shown where two are on offer."""
    return Bandit(n_options, tuple("ABCDEF"[:n_options]), (low, 1.0), n_offered, 2 in (n_options, n_offered))


def random_rows(task, lengths, rng) -> Rows:
    """Ragged rows of a bandit with missed, forced and hidden trials and resets; outcomes are any number."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    n = len(sequence)
    fresh = rng.random(n) < 0.05
    fresh[np.searchsorted(sequence, np.arange(len(lengths)))] = True
    given, shown, forced = rng.random(n) < 0.9, rng.random(n) < 0.85, rng.random(n) < 0.1
    n_offered = task.n_offered or task.n_options
    every = np.tile(np.arange(task.n_options), (n, 1))
    offers = rng.permuted(every, axis=1)[:, :n_offered] if task.n_offered else every
    at = rng.integers(0, n_offered, n)
    columns = {
        "choice": np.where(given, offers[np.arange(n), at], 0),
        "choice_given": given,
        "mask_choice": given & ~forced,
        "outcome": np.where(shown, rng.uniform(*task.outcome_range, n), 0.0),
        "outcome_given": shown,
        "outcome_forgone": np.where(shown, rng.uniform(*task.outcome_range, n), 0.0),
        "outcome_forgone_given": shown,
        "mask_update": given & shown,
        "reset": fresh,
        "choice_at": np.where(given, at, 0),
    }
    columns |= {f"offer_{j + 1}": offers[:, j] for j in range(n_offered)}
    return Rows(columns, sequence)


def random_values(model, task, n: dict[str, int], rng, near=0.3) -> dict[str, np.ndarray]:
    """Values of every parameter, a part of them near the bounds."""
    values = {}
    for name, parameter in model.fitted(task).items():
        size = n[name]
        kind = "unit" if parameter.link == "logit" else "positive" if parameter.lower == 0 else "real"
        ordinary = {
            "unit": rng.uniform(0.05, 0.95, size),
            "positive": np.exp(rng.normal(0.5, 0.7, size)),
            "real": rng.normal(size=size),
        }[kind]
        values[name] = np.where(rng.random(size) < near, rng.choice(NEAR[kind], size), ordinary)
    return values


def sizes(program, rows: Rows, shapes: dict[str, np.ndarray]) -> dict[str, int]:
    """How many values each parameter has."""
    return {k: int(np.max(shapes[k])) + 1 if k in shapes else rows.n_sequences for k in program.parameters}


def scored(program, rows: Rows) -> dict[str, np.ndarray]:
    """Scored rows of each emission."""
    return {name: np.flatnonzero(rows.columns[f"mask_{name}"]) for name in program.log_probability}


def located(program, rows: Rows, shapes) -> dict[str, Located]:
    """Where the values of each parameter apply: per sequence unless `shapes` says so."""
    every = np.arange(rows.n_sequences)
    return {k: Located(None, shapes.get(k, every), k in shapes) for k in program.parameters}


class Compiled:
    """Value and gradient of a model on rows, weighted; `on` swaps the rows without compiling again."""

    def __init__(self, model, task, rows: Rows, shapes=None, engine="fast", mode=None, n_cores=1):
        self.program, self.shapes, self.engine = trace(model, task), shapes or {}, engine
        self.n_cores = n_cores
        likelihood = self.likelihood(rows)
        values = {name: pt.dvector(name) for name in self.program.parameters}
        self.arrays = {name: pt.as_tensor(a).type(name) for name, a in likelihood.arrays.items()}
        weights = [pt.dvector(f"w_{name}") for name in self.program.log_probability]
        found = likelihood.scores(values, self.arrays, {})
        total = sum((w * found[name]).sum() for w, name in zip(weights, found, strict=True))
        gradients = pytensor.grad(total, list(values.values()))
        inputs = [*values.values(), *weights, *self.arrays.values()]
        self.function = pytensor.function(
            inputs, [*found.values(), *gradients], mode=mode, on_unused_input="ignore", trust_input=True
        )
        self.rows, self.current = rows, likelihood

    def likelihood(self, rows: Rows, shapes=None) -> Any:
        """The likelihood of a data set."""
        where = located(self.program, rows, self.shapes if shapes is None else shapes)
        return make_likelihood(
            self.program, rows.columns, rows.sequence, where, scored(self.program, rows), self.engine, self.n_cores
        )

    def on(self, rows: Rows, shapes=None) -> Compiled:
        """Take other rows."""
        self.rows, self.shapes = rows, self.shapes if shapes is None else shapes
        self.current = self.likelihood(rows)
        return self

    def __call__(self, values, weights=None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Log probabilities of scored rows by emission, and gradients by parameter."""
        counts = {name: len(at) for name, at in scored(self.program, self.rows).items()}
        weights = weights or {name: np.ones(n) for name, n in counts.items()}
        results = self.function(
            *[np.ascontiguousarray(values[k], dtype=float) for k in self.program.parameters],
            *[weights[name] for name in counts],
            *self.current.arrays.values(),
        )
        n = len(counts)
        return dict(zip(counts, results[:n], strict=True)), dict(zip(self.program.parameters, results[n:], strict=True))

    @property
    def nodes(self) -> list[str]:
        """Operations of fitrl in the compiled graph."""
        return kernel_nodes(self.function)


def kernel_nodes(function) -> list[str]:
    """Names of the operations of fitrl in a compiled function."""
    every = (type(node.op) for node in function.maker.fgraph.toposort())
    return [op.__name__ for op in every if op.__module__.startswith("fitrl.")]


class Interpreted:
    """The emitted source run by Python, without numba: slow, but there is nothing to compile."""

    def __init__(self, model, task, rows: Rows, shapes=None, n_cores=1):
        self.program, self.rows = trace(model, task), rows
        self.likelihood = FastLikelihood(
            self.program,
            rows.columns,
            rows.sequence,
            located(self.program, rows, shapes or {}),
            scored(self.program, rows),
            n_cores,
        )
        names = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "fabs")
        self.scope: dict[str, Any] = {name: getattr(np, name) for name in names}
        self.scope |= {
            "log1p_unit": np.log1p,
            "exp_unit": np.exp,
            "np": np,
            "inf": np.inf,
            "nan": np.nan,
            "select": lambda c, x, y: x if c else y,
            "row": lambda array, step: array[step] if array.ndim == 2 else array,
            "in_threads": lambda function, n, given: [function(worker, *given) for worker in range(n)],
            "added_up": lambda rows: rows.sum(axis=0),
        }
        exec(compile(self.likelihood.kernel.text, "<kernel>", "exec"), self.scope)

    def __call__(self, values, weights=None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Log probabilities of scored rows by emission, and gradients by parameter."""
        with np.errstate(all="ignore"):  # both branches of a selection are computed
            results = self.scope["gradient"](*self.inputs(values, weights))
        results = results if isinstance(results, tuple) else (results,)
        n = len(self.program.log_probability)
        scores = dict(zip(self.program.log_probability, results[:n], strict=True))
        return scores, dict(zip(self.program.parameters, results[n:], strict=True))

    def totals(self, values, weights: dict[str, float]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Sums of the log probabilities by emission, and gradients of their weighted sum, of ``total``."""
        with np.errstate(all="ignore"):
            one_each = {name: np.array([weight]) for name, weight in weights.items()}
            results = self.scope["total"](*self.inputs(values, one_each))
        results = results if isinstance(results, tuple) else (results,)
        n = len(self.program.log_probability)
        found = {k: float(r.sum()) for k, r in zip(self.program.log_probability, results[:n], strict=True)}
        return found, dict(zip(self.program.parameters, results[n:], strict=True))

    def inputs(self, values, weights=None) -> list[np.ndarray]:
        """Arguments of the emitted ``gradient``, and with one weight per emission those of ``total``."""
        arrays, program = self.likelihood.arrays, self.program
        inputs = [x for k in program.parameters for x in (np.asarray(values[k], float), arrays[f"index_{k}"])]
        inputs += [arrays[f"trial_{k}"] for k in program.columns]
        inputs += [arrays[f"place_{k}"] for k in program.log_probability]
        weights = weights or {k: np.ones(len(at)) for k, at in scored(program, self.rows).items()}
        return [*inputs, arrays["sizes"], arrays["blocks"], *weights.values()]


def filtered(model, task, values, rows: Rows, shapes=None) -> dict[str, np.ndarray]:
    """Log probabilities of scored rows from the reference filter."""
    where = located(trace(model, task), rows, shapes or {})
    given = {k: w._replace(values=np.asarray(values[k])[None, :]) for k, w in where.items()}
    with np.errstate(all="ignore"):
        found = log_probabilities(model, task, given, rows.columns, lay_out(rows.sequence))
    return {name: score[0][rows.columns[f"mask_{name}"]] for name, score in found.items()}


def slopes(model, task, values, rows: Rows, shapes=None, weights=None) -> dict[str, np.ndarray]:
    """Central differences of the traced trial in extended precision, all cells at once.

    Steps are small for what is near a bound, or multiplied by a slope of 1e3, and large enough for 64 bits of mantissa;
    float64 would leave nothing at a learning rate of 1e-6. That the traced trial is the filter is tested elsewhere.
    """
    program = trace(model, task)
    if not program.parameters:
        return {}
    where = located(program, rows, shapes or {})
    base = {k: np.asarray(values[k], dtype=np.longdouble) for k in program.parameters}
    cells = [(k, i) for k in base for i in range(len(base[k]))]
    draws = {k: np.repeat(v[None, :], 4 * len(cells), axis=0) for k, v in base.items()}
    steps = np.empty(len(cells))
    for c, (k, i) in enumerate(cells):
        x = float(base[k][i])
        steps[c] = min(1e-4 * min(x, 1 - x), 5e-7) if 0 < x < 1 else 1e-4
        draws[k][4 * c : 4 * c + 4, i] += np.array([1, -1, 2, -2]) * np.longdouble(steps[c])
    weight = {k: np.zeros(len(rows.sequence)) for k in program.log_probability}
    for k, at in scored(program, rows).items():
        weight[k][at] = 1.0 if weights is None else weights[k]
    given = {k: where[k]._replace(values=v) for k, v in draws.items()}
    found = np.zeros(len(cells), dtype=np.longdouble)
    for scores in _weighted_scores(program, rows, given, weight):
        up, down, far_up, far_down = (scores[k::4] for k in range(4))
        found += ((8 * (up - down) - (far_up - far_down)) / 12).sum(axis=1)
    ends = np.cumsum([len(v) for v in base.values()])[:-1]
    return dict(zip(base, np.split((found / steps).astype(float), ends), strict=True))


def _weighted_scores(program, rows: Rows, given: dict[str, Located], weight) -> Iterator[np.ndarray]:
    """Weighted log probabilities trial by trial, shape (draw, sequence), in the precision of the values."""
    layout = lay_out(rows.sequence)
    n_draws = len(next(iter(given.values())).values)
    lanes = np.arange(layout.rows.shape[1])
    state = [np.zeros((n_draws, len(lanes)), dtype=np.longdouble)] * len(program.cells)
    tables = {k: np.zeros((t.n_cells, n_draws, len(lanes)), np.longdouble) for k, t in program.tables.items()}
    for at, filled in zip(layout.rows, layout.filled, strict=True):
        leaves = {("parameter", k): v.values[:, v.index[at] if v.by_row else v.index] for k, v in given.items()}
        for name in program.columns:
            column = rows.columns[name][at]
            leaves["column", name] = column.astype(np.longdouble) if column.dtype.kind == "f" else column
        leaves |= {("state", *cell): value for cell, value in zip(program.cells, state, strict=True)}
        for name, table in program.tables.items():
            tables[name] = np.where(leaves["column", "reset"], table.start, tables[name])
            for k, index in enumerate(evaluate(table.reads, leaves)):
                leaves["read", name, k] = tables[name][index, :, lanes].T
        results = evaluate([*program.after, *program.log_probability.values()], leaves)
        for name, table in program.tables.items():
            for write in table.writes:
                index, value = evaluate(write, leaves)
                tables[name][index, :, lanes] = np.broadcast_to(value, (n_draws, len(lanes))).T
        state = results[: len(program.cells)]
        for name, score in zip(program.log_probability, results[len(program.cells) :], strict=True):
            w = np.where(filled, weight[name][at], 0.0)
            yield np.where(w != 0, np.broadcast_to(score, (n_draws, len(at))) * w, 0.0)
