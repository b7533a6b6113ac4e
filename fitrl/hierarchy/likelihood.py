"""The likelihood in PyMC: one observed variable per emission, pointwise along ``obs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Constant

from fitrl.data import Trials
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.likelihood import Likelihood, make_likelihood
from fitrl.engine.run import filter_rows
from fitrl.engine.trace import Program
from fitrl.hierarchy.columns import trial_columns
from fitrl.hierarchy.plan import Plan
from fitrl.language.tables import exp


def scored_rows(program: Program, trials: Trials) -> dict[str, np.ndarray]:
    """Rows of the trial table that count, per emission."""
    return {name: np.flatnonzero(trials.frame[f"mask_{name}"].to_numpy()) for name in program.log_probability}


def obs_dim(program: Program, emission: str) -> str:
    """Name of the dimension of an emission: ``obs``, or ``obs_<emission>`` where there are several."""
    return "obs" if len(program.log_probability) == 1 else f"obs_{emission}"


def plan_likelihood(plan: Plan, program: Program, trials: Trials, engine: str, n_cores: int = 1) -> Likelihood:
    """Prepare the likelihood of a plan and its trials; arguments as in `add_observed`."""
    columns = trial_columns(plan.model, trials)
    index = {name: Located(None, d.index, d.by_row) for name, d in plan.designs.items()}
    return make_likelihood(program, columns, columns["sequence"], index, scored_rows(program, trials), engine, n_cores)


def part_of_likelihood(
    plan: Plan, program: Program, trials: Trials, subjects: list[int]
) -> tuple[Likelihood, dict[str, np.ndarray]]:
    """Prepare the likelihood of some subjects alone.

    Parameters
    ----------
    plan, program, trials
        Of all subjects.
    subjects : list of int
        Their positions.

    Returns
    -------
    likelihood : Likelihood
        It takes the values of every cell, of all subjects.
    rows : dict of str to ndarray of int
        Rows of the trial table that it scores, per emission.
    """
    columns = trial_columns(plan.model, trials)
    kept = np.flatnonzero(np.isin(trials.frame["subject_idx"].to_numpy(), subjects))
    sequences, sequence = np.unique(columns["sequence"][kept], return_inverse=True)
    index = {n: Located(None, d.index[kept if d.by_row else sequences], d.by_row) for n, d in plan.designs.items()}
    scored = {name: np.flatnonzero(np.isin(kept, rows)) for name, rows in scored_rows(program, trials).items()}
    part = {name: column[kept] for name, column in columns.items()}
    return make_likelihood(program, part, sequence, index, scored), {name: kept[at] for name, at in scored.items()}


def add_observed(
    plan: Plan, program: Program, trials: Trials, values: Mapping[str, Any], engine: str, n_cores: int = 1
) -> None:
    """Add the observed variables to the PyMC model on the stack.

    Parameters
    ----------
    plan : Plan
        Designs of the parameters.
    program : Program
        The traced model.
    trials : Trials
        The data.
    values : mapping of str to tensor, shape (cell,)
        Natural-scale values of every parameter.
    engine : {"fast", "reference"}
        Which likelihood.
    n_cores : int
        Cores for one gradient.
    """
    likelihood = plan_likelihood(plan, program, trials, engine, n_cores)
    scored = scored_rows(program, trials)
    arrays = {name: pm.Data(name, array) for name, array in likelihood.arrays.items()}
    for name, rows in scored.items():
        _emission(name, rows, plan, trials, likelihood, values, arrays, obs_dim(program, name))


def _emission(
    name: str,
    scored: np.ndarray,
    plan: Plan,
    trials: Trials,
    likelihood: Likelihood,
    values: Mapping[str, Any],
    arrays: Mapping[str, Any],
    dim: str,
) -> None:
    observed = trials.frame[name].to_numpy()[scored]
    n_values = len(values)

    def logp(value: Any, *arguments: Any) -> Any:
        given = dict(zip(values, arguments[:n_values], strict=True))
        data = dict(zip(arrays, arguments[n_values:-1], strict=True))
        # The packed columns hold the observed responses already; only others have to be put in.
        same = isinstance(value, Constant) and np.array_equal(value.data, observed)
        return likelihood.scores(given, data, {} if same else {name: value})[name]

    def random(*arguments: Any, rng: np.random.Generator, size: Any = None) -> np.ndarray:
        return _one_step(plan, trials, name, dict(zip(values, arguments[:n_values], strict=True)), rng)[scored]

    pm.CustomDist(
        name,
        *values.values(),
        *arrays.values(),
        np.arange(len(scored)),
        logp=logp,
        random=random,
        signature=_signature([*values.values(), *arrays.values()]),
        dtype="int64" if observed.dtype.kind in "iu" else "float64",
        observed=observed,
        dims=dim,
    )


def _signature(arguments: list[Any]) -> str:
    """One core dimension per axis of every argument; the last argument gives the shape of the result."""
    parts, used = [], 0
    for argument in arguments:
        ndim = pt.as_tensor(argument).ndim
        parts.append(f"({','.join(f'd{used + i}' for i in range(ndim))})")
        used += ndim
    return f"{','.join(parts)},(n)->(n)"


def _one_step(
    plan: Plan, trials: Trials, name: str, values: Mapping[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Draw the emission of every row given the history that was observed."""
    located = {
        p: Located(np.asarray(v)[None, :], plan.designs[p].index, plan.designs[p].by_row) for p, v in values.items()
    }
    columns = trial_columns(plan.model, trials)
    layout = lay_out(columns["sequence"])
    result = np.zeros(len(trials.frame), dtype=np.int64)
    for rows, places, t in filter_rows(plan.model, trials.task, located, columns, layout):
        cells = np.stack(np.broadcast_arrays(*exp(t.probabilities[name]).cells(), np.zeros(layout.rows.shape[1])))[:-1]
        cumulative = np.cumsum(cells[:, places], axis=0)
        at = (rng.random(len(places)) * cumulative[-1] >= cumulative).sum(axis=0)
        offers = t.offers[name]
        result[rows] = at if offers is None else np.stack(offers.cells())[at, places]
    return result
