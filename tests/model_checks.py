"""What every model is checked for: numbers computed by hand, and interpreters, kernels and agents that agree.

A situation is a model, a task, rows and values: the last arguments of the functions that compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fast_engine import Compiled, Interpreted, bandit, random_rows, random_values, scored, sizes, slopes
from hand_computed import Case
from interpreters import Rows, bandit_columns, compiled_scan, played, run_filter, run_plain, run_symbols, stack

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows, plain
from fitrl.engine.trace import trace
from fitrl.fitting.simulate import draw_population
from fitrl.tasks.environments import BanditWorld

INTERPRETERS = {"plain": run_plain, "filter": run_filter, "symbols": run_symbols}

# Kinds of kernel, and how many trials each sequence has for them.
KERNELS = pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        pytest.param(Interpreted, (12, 3, 25, 1, 7), id="python"),
        pytest.param(Compiled, (60, 3, 25, 1, 7), id="compiled", marks=pytest.mark.study),
    ],
)


# Situations ------------------------------------------------------------------------------------------


def random_situation(model, task, lengths, rows_of=random_rows) -> tuple[Any, Any, Rows, dict[str, np.ndarray]]:
    """A model and a task with random rows and values, a tenth of the values near their bounds."""
    rng = np.random.default_rng(3)
    rows = rows_of(task, lengths, rng)
    return model, task, rows, random_values(model, task, sizes(trace(model, task), rows, {}), rng, near=0.1)


def insert(at, columns, new) -> list[tuple]:
    """Columns with one more trial, at a place."""
    return [(*column[:at], value, *column[at:]) for column, value in zip(columns, new, strict=True)]


def two_step_columns(choice1, state2, choice2, outcome, **more) -> dict[str, np.ndarray]:
    """Canonical columns of one sequence of a two-step task; None is a missed response."""
    given1, given2 = (np.array([c is not None for c in choice]) for choice in (choice1, choice2))
    coded = {"choice1": choice1, "state2": state2, "choice2": choice2, **more}
    table = {name: np.array([0 if x is None else x for x in values]) for name, values in coded.items()}
    return table | {
        "outcome": np.array([0.0 if r is None else float(r) for r in outcome]),
        "choice1_given": given1,
        "mask_choice1": given1,
        "choice2_given": given2,
        "mask_choice2": given2,
        "mask_update": given1 & given2,
        "reset": np.arange(len(choice1)) == 0,
    }


def random_two_step_rows(task, lengths, rng) -> Rows:
    """Ragged rows of a two-step task with responses missing at either stage, and resets; Kool's has one choice."""
    n, sequence = sum(lengths), np.repeat(np.arange(len(lengths)), lengths)
    fresh = rng.random(n) < 0.05
    fresh[np.searchsorted(sequence, np.arange(len(lengths)))] = True
    given1 = rng.random(n) < 0.9
    given2 = given1 & (rng.random(n) < 0.9)
    kool = "choice2" not in task.choices()
    start, pick = rng.integers(0, 2, n), rng.integers(0, 2, n)
    table = {
        "choice1": np.where(given1, 2 * start + pick if kool else pick, 0),
        "choice1_given": given1,
        "mask_choice1": given1,
        "state2": rng.integers(0, 2, n),
        "outcome": rng.uniform(0, 1, n),
        "mask_update": given1 & given2,
        "reset": fresh,
    }
    if kool:
        left = 2 * start + rng.integers(0, 2, n)
        return Rows(table | {"offer_1": 2 * start, "offer_2": 2 * start + 1, "left": left}, sequence)
    second = {"choice2": np.where(given2, rng.integers(0, 2, n), 0), "choice2_given": given2, "mask_choice2": given2}
    return Rows(table | second, sequence)


# By hand ---------------------------------------------------------------------------------------------


def inputs_of(case: Case) -> tuple[Any, Any, dict[str, float], Rows]:
    """What interpreters take: model, task, parameters and rows."""
    return case.model, case.task, case.parameters, stack(case.columns)


def compare_by_hand(interpreter: str, model, task, parameters, rows: Rows, **expected) -> None:
    """Log probabilities of the scored rows of each emission."""
    found = INTERPRETERS[interpreter](model, task, parameters, rows)
    for emission, values in expected.items():
        at = rows.columns[f"mask_{emission}"]
        np.testing.assert_allclose(found[emission][at], values, rtol=0, atol=1e-12, err_msg=emission)


def latents_of(model, task, parameters, rows: Rows) -> list[dict[str, Any]]:
    """Latents of each trial of the first sequence, and the state before it."""
    return [t.before.fields() | t.latents for t in plain(model, task, parameters, rows.of(0))]


def compare_latents(model, task, parameters, rows: Rows, expected: dict[str, list[float]]) -> None:
    """Latents and states of the first trials, as many as were computed."""
    trials = latents_of(model, task, parameters, rows)
    for name, values in expected.items():
        found = [t[name] for t in trials[: len(values)]]
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-12, err_msg=name)


def compare_codings(model, parameters, halved, choices, outcomes) -> None:
    """Losses of 1 in place of nothing: the same rates, and the same choices at half the slope per outcome."""
    rows = stack(bandit_columns(choices, outcomes)).of(0)
    other = stack(bandit_columns(choices, [2 * r - 1 for r in outcomes])).of(0)
    pairs = zip(plain(model, bandit(), parameters, rows), plain(model, bandit(low=-1.0), halved, other), strict=True)
    for x, y in pairs:
        assert x.log_probability["choice"] == pytest.approx(y.log_probability["choice"], abs=1e-13)
        assert x.latents["lr"] == pytest.approx(y.latents["lr"], abs=1e-13)


# Agreement -------------------------------------------------------------------------------------------


def compare_slopes(gradients: dict[str, np.ndarray], model, task, rows: Rows, values) -> None:
    """Gradients as central differences."""
    for parameter, expected in slopes(model, task, values, rows).items():
        np.testing.assert_allclose(gradients[parameter], expected, rtol=1e-5, atol=1e-6, err_msg=parameter)


def compare_kernel(kind, model, task, rows: Rows, values, rtol=0.0) -> None:
    """Scores of a kernel as the filter has them, which are those of plain Python; gradients as central differences."""
    by_number, filtered = run_plain(model, task, values, rows), run_filter(model, task, values, rows)
    scores, gradients = kind(model, task, rows)(values)
    for emission, at in scored(trace(model, task), rows).items():
        np.testing.assert_allclose(by_number[emission], filtered[emission], rtol=rtol, atol=1e-12)
        np.testing.assert_allclose(scores[emission], filtered[emission][at], rtol=1e-10, atol=1e-13)
    compare_slopes(gradients, model, task, rows, values)


def compare_reference(model, task, rows: Rows, values) -> None:
    """Scores of the reference as the filter has them; gradients as central differences, and closely as the kernel's."""
    scores, gradients = compiled_scan(trace(model, task), rows, quick=True)(values)
    for emission, expected in run_filter(model, task, values, rows).items():
        np.testing.assert_allclose(scores[emission], expected, rtol=0, atol=1e-13, err_msg=emission)
    compare_slopes(gradients, model, task, rows, values)
    for parameter, expected in Interpreted(model, task, rows)(values)[1].items():
        np.testing.assert_allclose(gradients[parameter], expected, rtol=1e-8, atol=1e-10, err_msg=parameter)


def compare_agents(model, task, world, values, rng, interpreters=tuple(INTERPRETERS)) -> None:
    """What agents play is scored by interpreters as it was while they played; symbols know no tables."""
    rows, playing = played(model, task, world, values, rng)
    for name in interpreters:
        found = INTERPRETERS[name](model, task, values, rows)
        for emission, expected in playing.items():
            at = rows.columns[f"mask_{emission}"]
            np.testing.assert_allclose(found[emission][at], expected[at], rtol=0, atol=1e-12, err_msg=name)


def compare_bandit_agents(model, task) -> None:
    """`compare_agents` for people of the default priors who miss trials and are not shown some of the outcomes."""
    rng = np.random.default_rng(8)
    n_trials, n_agents, n_offered = 30, 5, task.n_offered or task.n_options
    offered = None
    if task.n_offered:
        every = np.arange(task.n_options)[None, :, None] + np.zeros((n_trials, task.n_options, n_agents), int)
        offered = rng.permuted(every, axis=1)[:, :n_offered]
    missed = rng.random((n_trials, n_agents)) < 0.1
    world = BanditWorld(
        outcomes=rng.choice([task.outcome_range[0], 0.3, 1.0], (n_trials, n_offered, n_agents)),
        offered=offered,
        shown=(rng.random((n_trials, n_agents)) < 0.8) & ~missed,
        missed=missed,
    )
    compare_agents(model, task, world, draw_population(model.fitted(task), n_agents, rng), rng)


def change_hidden_cells(model, task, rows: Rows, values) -> None:
    """What stands in cells that teach nothing changes no score."""
    columns = {name: column.copy() for name, column in rows.columns.items()}
    for name in {"outcome", "outcome_forgone"} & set(columns):
        columns[name][~columns["mask_update"]] = 0.77
    columns["choice"][~columns["choice_given"]] = task.n_options - 1
    at = columns["mask_choice"]
    other = run_filter(model, task, values, Rows(columns, rows.sequence))["choice"]
    np.testing.assert_array_equal(other[at], run_filter(model, task, values, rows)["choice"][at])


# What happens over many trials -----------------------------------------------------------------------


def follow(model, task, values, outcomes: np.ndarray, read: Callable[[Any], Any], choice=0) -> np.ndarray:
    """A quantity after each trial, shape (trial, sequence), of agents who always choose the same option."""
    n_trials, n = outcomes.shape
    rows = stack(*[bandit_columns([choice] * n_trials, list(sequence)) for sequence in outcomes.T])
    located = {k: Located(np.full((1, n), v), np.arange(n)) for k, v in values.items()}
    found = [read(t) for _, _, t in filter_rows(model, task, located, rows.columns, lay_out(rows.sequence))]
    return np.stack([np.broadcast_to(np.asarray(x), (1, n))[0] for x in found])


def run_long(model, task, n: int, rng) -> Iterator[Any]:
    """Trials of random rows and parameters, 200 of each of `n` draws."""
    for _ in range(n):
        rows = random_rows(task, (200,), rng)
        values = {name: float(rng.uniform(p.lower, min(p.upper, 20.0))) for name, p in model.fitted(task).items()}
        yield from plain(model, task, values, rows.of(0))
