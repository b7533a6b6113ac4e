"""How many nanoseconds a trial costs: log-likelihood vector and gradient, compiled.

Run ``.venv/bin/python benchmarks/engine.py``; ``--only a`` for one problem, ``--skip-scan`` to leave the slow row out.
Everything of a problem is timed in turns within one run, in short spells of which the shortest counts, so that ratios
hold on a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import kernels
import numpy as np
import pytensor
import pytensor.tensor as pt
from llvmlite import binding as llvm

from fitrl.engine.inputs import Located
from fitrl.engine.likelihood import make_likelihood
from fitrl.engine.packing import pack
from fitrl.engine.trace import trace
from fitrl.language.traits import dual_alpha, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from models import Hybrid, StimulusAction, TwoChoices, WorkingMemory

_RNG = np.random.default_rng(1)
_SPELL, _TURNS = 2e-3, 60  # seconds of a spell, spells of each row


@dataclass
class Problem:
    """A model with complete random data; columns have shape (trial, subject)."""

    model: Any
    task: Any
    columns: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    def __post_init__(self):
        self.program = trace(self.model, self.task)
        self.n_trials, self.n_subjects = self.columns["reset"].shape

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """Columns as a trial table, subject after subject."""
        return {name: column.T.ravel() for name, column in self.columns.items()}


def _flags(n_trials: int, n_subjects: int, given: tuple[str, ...]) -> dict[str, np.ndarray]:
    every = np.ones((n_trials, n_subjects), bool)
    first = np.zeros_like(every)
    first[0] = True
    return {"reset": first, "mask_update": every} | {f"{name}_given": every for name in given}


def _values(model: Any, task: Any, n_subjects: int) -> dict[str, np.ndarray]:
    found = {}
    for name, parameter in model.fitted(task).items():
        low, high = (0.1, 0.9) if parameter.link == "logit" else (1.0, 4.0) if parameter.lower == 0 else (-0.5, 0.5)
        found[name] = _RNG.uniform(low, high, n_subjects)
    return found


def bandit(n_subjects: int, n_trials: int, n_options: int, *traits: Any) -> Problem:
    """Q-learning."""
    shape = (n_trials, n_subjects)
    task, model = Bandit(n_options, tuple("ABCD"[:n_options])), find("q_learning").with_(*traits)
    choice = _RNG.integers(0, n_options, shape)
    columns = _flags(*shape, ("choice", "outcome")) | {"choice": choice, "choice_at": choice}
    columns |= {f"offer_{j + 1}": np.full(shape, j) for j in range(n_options)}
    columns["outcome"] = _RNG.integers(0, 2, shape).astype(float)
    return Problem(model, task, columns, _values(model, task, n_subjects))


def two_step(n_subjects: int, n_trials: int = 200) -> Problem:
    """The two-step hybrid with seven parameters."""
    shape, task, model = (n_trials, n_subjects), TwoChoices(), Hybrid()
    columns = _flags(*shape, ("choice1", "choice2", "state2", "outcome"))
    columns |= {name: _RNG.integers(0, 2, shape) for name in ("choice1", "state2", "choice2")}
    columns["outcome"] = _RNG.integers(0, 2, shape).astype(float)
    return Problem(model, task, columns, _values(model, task, n_subjects))


def working_memory(n_subjects: int, n_trials: int = 300) -> Problem:
    """Two tables of six stimuli by three actions."""
    shape, model = (n_trials, n_subjects), WorkingMemory()
    codings = {"stimulus": tuple("uvwxyz"), "choice": ("1", "2", "3")}
    task = StimulusAction(3, codings["choice"], codings=codings)
    columns = _flags(*shape, ("choice", "outcome"))
    columns |= {"stimulus": _RNG.integers(0, 6, shape), "choice": _RNG.integers(0, 3, shape)}
    columns |= {"set_size": np.full(shape, 6.0), "outcome": _RNG.integers(0, 2, shape).astype(float)}
    return Problem(model, task, columns, _values(model, task, n_subjects))


def with_pytensor(problem: Problem, engine: str, n_cores: int = 1, *, total: bool = False) -> Callable:
    """Compile one of the engines of fitrl; returns all scores, or their sums, and gradients when called."""
    n, rows = problem.n_subjects, problem.rows
    sequence = np.repeat(np.arange(n), problem.n_trials)
    index = {name: Located(None, np.arange(n)) for name in problem.values}
    every = {name: np.arange(len(sequence)) for name in problem.program.log_probability}
    likelihood = make_likelihood(problem.program, rows, sequence, index, every, engine, n_cores)
    inputs = {name: pt.dvector(name) for name in problem.program.parameters}
    arrays = {name: pytensor.shared(array) for name, array in likelihood.arrays.items()}
    scores = list(likelihood.scores(inputs, arrays, {}).values())
    gradients = pytensor.grad(sum(score.sum() for score in scores), list(inputs.values()))
    scores = [score.sum() for score in scores] if total else scores
    function = pytensor.function(list(inputs.values()), [*scores, *gradients], trust_input=True, mode="NUMBA")
    values = [problem.values[name] for name in inputs]
    return lambda: function(*values)


def by_hand(problem: Problem) -> Callable:
    """The hand-written kernel on the same packed arrays."""
    sequence = np.repeat(np.arange(problem.n_subjects), problem.n_trials)
    packing, rows = pack(sequence, 4), problem.rows
    arguments = [
        problem.values["alpha"],
        problem.values["beta"],
        packing.lanes.astype(np.int32),
        packing.column(rows["choice"]).astype(np.int32),
        packing.column(rows["outcome"]),
        packing.places(np.arange(len(sequence))),
        packing.blocks,
        np.ones(len(sequence)),
    ]
    return lambda: kernels.q_learning(*arguments)


def with_jax(problem: Problem) -> Callable:
    """The traced trial in JAX."""
    from jax_scan import compiled

    every = {name: np.ones_like(problem.columns["reset"]) for name in problem.program.log_probability}
    function = compiled(problem.program, problem.columns, every)
    values = [problem.values[name] for name in problem.program.parameters]

    def call():
        scores, gradients = function(*values)
        return [*[np.asarray(score).T.ravel() for score in scores.values()], *map(np.asarray, gradients)]

    call()
    return call


PROBLEMS: dict[str, tuple[str, Callable[[], Problem]]] = {
    "a1": ("2-armed Q-learning, 50 x 200", lambda: bandit(50, 200, 2)),
    "a2": ("2-armed Q-learning, 2,000 x 200", lambda: bandit(2000, 200, 2)),
    "b": ("4-armed, two rates, stickiness, 50 x 200", lambda: bandit(50, 200, 4, dual_alpha(), stickiness())),
    "c1": ("two-step hybrid, 50 x 200", lambda: two_step(50)),
    "c2": ("two-step hybrid, 1,400 x 200", lambda: two_step(1400)),
    "d": ("RLWM, 6 x 3 tables, 50 x 300", lambda: working_memory(50)),
}


def timed(functions: dict[str, Callable]) -> dict[str, float]:
    """Shortest seconds per call of each, in turns."""
    best, repeats = {}, {}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        best[name] = time.perf_counter() - start
        repeats[name] = max(1, int(_SPELL / best[name]))
    for _ in range(_TURNS):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                function()
            best[name] = min(best[name], (time.perf_counter() - start) / repeats[name])
    return best


def measure(name: str, skip_scan: bool) -> None:
    """Print the rows of one problem; what they return is compared first."""
    title, make = PROBLEMS[name]
    problem = make()
    functions = {"fitrl": with_pytensor(problem, "fast")}
    functions["fitrl, sum (as samplers do)"] = with_pytensor(problem, "fast", total=True)
    if name.endswith("2") and os.cpu_count() > 1:
        functions[f"fitrl, {os.cpu_count()} threads"] = with_pytensor(problem, "fast", os.cpu_count())
    if name.startswith("a"):
        functions["by hand (numba)"] = by_hand(problem)
    if find_spec("jax") is not None:
        functions["JAX lax.scan"] = with_jax(problem)
    if not skip_scan:
        functions["reference (pytensor.scan)"] = with_pytensor(problem, "reference")
    expected = functions["fitrl"]()
    for row, function in functions.items():
        for ours, theirs in zip(expected, function(), strict=True):
            np.testing.assert_allclose(
                theirs, ours if np.ndim(theirs) else ours.sum(), rtol=1e-8, atol=1e-8, err_msg=row
            )
    best = timed(functions)
    n = problem.n_trials * problem.n_subjects
    print(f"\n({name}) {title}\n{'':28}{'ns/trial':>10}{'/ fitrl':>10}{'us/call':>10}")
    for row, seconds in best.items():
        print(f"{row:28}{seconds / n * 1e9:10.2f}{seconds / best['fitrl']:10.2f}{seconds * 1e6:10.0f}", flush=True)


def machine() -> str:
    """Date, machine and versions, in a line each."""
    features = llvm.get_host_cpu_features()
    vectors = "AVX-512" if features.get("avx512f") else "AVX2" if features.get("avx2") else "no AVX2"
    packages = ("pytensor", "numba", "llvmlite", "numpy", *(["jax"] if find_spec("jax") else []))
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{time.strftime('%Y-%m-%d')}; {llvm.get_host_cpu_name()}, {os.cpu_count()} cores, {vectors}, {load}\n"
        f"Python {platform.python_version()}, {', '.join(f'{p} {version(p)}' for p in packages)}"
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--skip-scan", action="store_true", help="leave out the reference, which compiles slowly")
    arguments = parser.parse_args()
    print(machine())
    for name in arguments.only:
        measure(name, arguments.skip_scan)


if __name__ == "__main__":
    sys.exit(main())
