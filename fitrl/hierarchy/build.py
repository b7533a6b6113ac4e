"""Build the PyMC model: hierarchy, and the likelihood as one observed variable per emission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from fitrl.data import Trials
from fitrl.engine.inputs import Located
from fitrl.engine.layout import Layout, lay_out
from fitrl.engine.reference import log_likelihood
from fitrl.engine.run import filter_rows
from fitrl.engine.trace import Program, trace
from fitrl.hierarchy.links import CUBIC, LINEAR
from fitrl.hierarchy.plan import Design, Plan
from fitrl.language.parameters import Parameter, Prior
from fitrl.language.tables import exp

_FAMILIES: dict[str, Callable] = {
    "normal": lambda name, a, **kw: pm.Normal(name, a[0], a[1], **kw),
    "halfnormal": lambda name, a, **kw: pm.HalfNormal(name, a[0], **kw),
    "halfcauchy": lambda name, a, **kw: pm.HalfCauchy(name, a[0], **kw),
    "uniform": lambda name, a, **kw: pm.Uniform(name, a[0], a[1], **kw),
    "exponential": lambda name, a, **kw: pm.Exponential(name, a[0], **kw),
}


def build_model(plan: Plan, trials: Trials) -> pm.Model:
    """Build the PyMC model of a plan.

    Parameters
    ----------
    plan : Plan
        What is estimated and how.
    trials : Trials
        The data.

    Returns
    -------
    pymc.Model
        Free variables ``<p>_mu``, ``<p>_sigma``, ``<p>_offset``; deterministic ``<p>`` per subject on the natural
        scale; one observed variable per emission along the dim ``obs`` (scored rows only). Columns of the trial
        table are ``pm.Data``.
    """
    program = trace(plan.model, trials.task)
    layout = lay_out(trials.frame["sequence"].to_numpy())
    scored = {
        name: np.flatnonzero(trials.frame[f"mask_{name}"].to_numpy()) for name in program.log_probability
    }
    coords: dict[str, Any] = {"subject": trials.subjects, "row": np.arange(len(trials.frame))}
    coords |= {_obs_dim(program, name): rows for name, rows in scored.items()}
    with pm.Model(coords=coords) as model:
        values = {
            name: _parameter(plan, name, parameter, trials.n_subjects)
            for name, parameter in plan.parameters.items()
        }
        inputs = _inputs(plan, program, trials, layout)
        for name, rows in scored.items():
            _emission(name, plan, program, trials, values, inputs, rows)
    return model


def _obs_dim(program: Program, emission: str) -> str:
    return "obs" if len(program.log_probability) == 1 else f"obs_{emission}"


def natural_tensor(eta: Any, parameter: Parameter) -> Any:
    """Apply the link of a parameter to a tensor; the twin of `fitrl.hierarchy.links.natural`."""
    if parameter.link == "identity":
        return eta
    if parameter.link == "log":
        return parameter.lower + pt.exp(eta)
    x = eta if parameter.link == "logit" else CUBIC * eta**3 + LINEAR * eta
    return parameter.lower + (parameter.upper - parameter.lower) * pt.sigmoid(x)


def _prior(name: str, prior: Prior, **kwargs: Any) -> Any:
    return _FAMILIES[prior.family](name, prior.args, **kwargs)


def _parameter(plan: Plan, name: str, parameter: Parameter, n_subjects: int) -> Any:
    """Make natural-scale values of one parameter, one per cell of its design."""
    if name in plan.fixed:
        return pt.full((n_subjects,), plan.fixed[name])
    eta = _linear_predictor(plan, name, parameter, plan.designs[name])
    return pm.Deterministic(name, natural_tensor(eta, parameter), dims="subject")


def _linear_predictor(plan: Plan, name: str, parameter: Parameter, design: Design) -> Any:
    """``design @ coefficients + deviation``, on the link scale."""
    if plan.pooling == "none":
        location, spread = separate_prior(parameter)
        offset = pm.Normal(f"{name}_offset", 0.0, 1.0, dims="subject")
        return location + spread * offset[design.subject]
    coefficients = pt.stack([_prior(f"{name}_mu", parameter.location)])
    location = pt.dot(design.matrix, coefficients)
    if plan.pooling == "complete":
        return location
    scale = _prior(f"{name}_sigma", parameter.scale)
    if name in plan.centered:
        return pm.Normal(f"{name}_eta", location, scale, dims="subject")
    offset = pm.Normal(f"{name}_offset", 0.0, 1.0, dims="subject")
    return location + scale * offset[design.subject]


def separate_prior(parameter: Parameter) -> tuple[float, float]:
    """Mean and sd, on the link scale, of the prior of a subject that shares nothing with others.

    The variance is that of the location plus the mean square of the between-subject sd, so that a
    subject is as likely anywhere as under partial pooling before seeing data.
    """
    rng = np.random.default_rng(0)
    location, scale = prior_draws(parameter.location, 20_000, rng), prior_draws(parameter.scale, 20_000, rng)
    if parameter.location.family == "normal" and parameter.scale.family == "halfnormal":
        return parameter.location.args[0], float(
            np.hypot(parameter.location.args[1], parameter.scale.args[0])
        )
    # Heavy tails have no variance: take the central half of the prior predictive instead.
    low, middle, high = np.quantile(location + scale * rng.normal(size=location.size), [0.25, 0.5, 0.75])
    return float(middle), float((high - low) / 1.349)


def prior_draws(prior: Prior, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from a prior with NumPy, shape (n,)."""
    a = prior.args
    return {
        "normal": lambda: rng.normal(a[0], a[1], n),
        "halfnormal": lambda: np.abs(rng.normal(0.0, a[0], n)),
        "halfcauchy": lambda: np.abs(rng.standard_cauchy(n) * a[0]),
        "uniform": lambda: rng.uniform(a[0], a[1], n),
        "exponential": lambda: rng.exponential(1.0 / a[0], n),
    }[prior.family]()


# The likelihood -------------------------------------------------------------------------------------


def _inputs(plan: Plan, program: Program, trials: Trials, layout: Layout) -> dict[str, Any]:
    """Everything but the parameters that the likelihood depends on, as data of the model."""
    inputs: dict[str, Any] = {}
    for name in plan.parameters:
        design = plan.designs[name]
        inputs[f"index_{name}"] = pm.Data(f"index_{name}", design.index)
    for name in program.columns:
        values = trials.frame[name].to_numpy()
        inputs[f"trial_{name}"] = pm.Data(f"trial_{name}", values.astype(_dtype(values)), dims="row")
    inputs["layout_rows"] = pm.Data("layout_rows", layout.rows)
    inputs["layout_filled"] = pm.Data("layout_filled", layout.filled.astype("int8"))
    inputs["layout_place"] = pm.Data("layout_place", layout.place, dims="row")
    return inputs


def _dtype(values: np.ndarray) -> str:
    return "int8" if values.dtype == bool else ("int64" if values.dtype.kind in "iu" else "float64")


def _emission(
    name: str,
    plan: Plan,
    program: Program,
    trials: Trials,
    values: dict[str, Any],
    inputs: dict[str, Any],
    scored: np.ndarray,
) -> None:
    """Add the observed variable of one emission."""
    rows = pm.Data(f"scored_{name}", scored)
    keys = [*values, *inputs]
    split = len(values)

    def unpack(arguments: tuple) -> tuple[dict[str, Located], dict[str, Any], dict[str, Any]]:
        named = dict(zip(keys, arguments[:-1], strict=True))
        located = {
            parameter: Located(named[parameter], named[f"index_{parameter}"], plan.designs[parameter].by_row)
            for parameter in keys[:split]
        }
        return located, {column: named[f"trial_{column}"] for column in program.columns}, named

    def logp(value: Any, *arguments: Any) -> Any:
        located, columns, named = unpack(arguments)
        at = arguments[-1]
        columns[name] = pt.set_subtensor(columns[name][at], value)
        scores = log_likelihood(
            program,
            located,
            columns,
            named["layout_rows"],
            named["layout_filled"].astype(bool),
            named["layout_place"],
        )
        return scores[name][at]

    def random(*arguments: Any, rng: np.random.Generator, size: Any = None) -> np.ndarray:
        located, columns, named = unpack(arguments)
        return _one_step(plan, trials, name, located, columns, named, np.asarray(arguments[-1]), rng)

    observed = trials.frame[name].to_numpy()[scored]
    pm.CustomDist(
        name,
        *values.values(),
        *inputs.values(),
        rows,
        logp=logp,
        random=random,
        signature=_signature([*values.values(), *inputs.values()]),
        dtype="int64" if observed.dtype.kind in "iu" else "float64",
        observed=pm.Data(f"{name}_observed", observed, dims=_obs_dim(program, name)),
        dims=_obs_dim(program, name),
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
    plan: Plan,
    trials: Trials,
    name: str,
    located: dict[str, Located],
    columns: dict[str, Any],
    named: dict[str, Any],
    scored: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the emission of every scored row given the history that was observed."""
    draws = {
        p: Located(np.asarray(v.values)[None, :], np.asarray(v.index), v.by_row) for p, v in located.items()
    }
    arrays = {
        c: np.asarray(v).astype(bool) if np.asarray(v).dtype == np.int8 else np.asarray(v)
        for c, v in columns.items()
    }
    layout = Layout(
        named["layout_rows"], np.asarray(named["layout_filled"]).astype(bool), named["layout_place"]
    )
    result = np.zeros(len(layout.place))
    for rows, places, t in filter_rows(plan.model, trials.task, draws, arrays, layout):
        cells = np.stack(np.broadcast_arrays(*exp(t.probabilities[name]).cells()))[:, places]
        cumulative = np.cumsum(cells, axis=0)
        at = (rng.random(len(places)) * cumulative[-1] >= cumulative).sum(axis=0)
        offers = t.offers[name]
        result[rows] = at if offers is None else np.stack(offers.cells())[at, places]
    return result[scored].astype(np.int64)
