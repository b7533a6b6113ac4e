"""A quick look: a normal approximation around the mode, in seconds, never to be reported."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import xarray as xr
from pymc.blocking import DictToArrayBijection
from pymc.initial_point import make_initial_point_fn
from scipy.optimize import minimize

from fitrl.errors import FitError


def laplace(model: pm.Model, *, draws: int = 1000, random_seed: Any = None) -> tuple[xr.DataTree, dict[str, float]]:
    """Approximate the posterior by a normal distribution at its mode (unconstrained scale).

    Parameters
    ----------
    model : pymc.Model
        What `fitrl.build` made.
    draws : int
        Independent draws from the approximation.
    random_seed : int or Generator, optional
        Seed.

    Returns
    -------
    idata : DataTree
        One chain; no ``sample_stats``, since nothing was sampled.
    timings : dict of str to float
        Seconds to compile and to sample.

    Raises
    ------
    FitError
        If the mode is not found.

    Notes
    -----
    The Hessian is taken by central differences of the gradient. Between-subject scales are skewed and
    their mode lies low, which is one of the reasons not to report such a fit.
    """
    started = time.perf_counter()
    start = make_initial_point_fn(model=model, return_transformed=True)(0)
    start = {v.name: start[v.name] for v in model.value_vars}
    point = DictToArrayBijection.map(start)
    log_density = _compiled(model, start)
    compiled = time.perf_counter()

    def negative(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = log_density(x)
        return -float(value), -np.asarray(gradient)

    found = minimize(negative, point.data, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 20_000})
    if not np.isfinite(found.fun):
        raise FitError("the quick fit found no mode: the log density is not finite at the start. Fit without --quick.")
    covariance = np.linalg.inv(_positive(_hessian(negative, found.x)))
    rng = np.random.default_rng(random_seed)
    x = rng.multivariate_normal(found.x, (covariance + covariance.T) / 2, size=draws, method="eigh")
    idata = _to_tree(model, x, start)
    return idata, {"compile": compiled - started, "sample": time.perf_counter() - compiled}


def _compiled(model: pm.Model, start: dict[str, np.ndarray]) -> Any:
    logp = model.logp()
    gradient = pytensor.grad(logp, model.value_vars)
    function = model.compile_fn([logp, *gradient], inputs=model.value_vars, point_fn=False)

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, *parts = function(*_split(x, start).values())
        return value, np.concatenate([np.ravel(p) for p in parts])

    return evaluate


def _split(x: np.ndarray, start: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    parts, at = {}, 0
    for name, value in start.items():
        size = np.size(value)
        parts[name] = x[at : at + size].reshape(np.shape(value))
        at += size
    return parts


def _hessian(negative: Any, x: np.ndarray) -> np.ndarray:
    step = 1e-4 * np.maximum(1.0, np.abs(x))
    columns = []
    for i in range(len(x)):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += step[i]
        behind[i] -= step[i]
        columns.append((negative(ahead)[1] - negative(behind)[1]) / (2 * step[i]))
    hessian = np.array(columns)
    return (hessian + hessian.T) / 2


def _positive(hessian: np.ndarray) -> np.ndarray:
    """Lift directions without curvature to that of a standard normal, the prior's own."""
    values, vectors = np.linalg.eigh(hessian)
    return (vectors * np.where(values > 1e-3, values, 1.0)) @ vectors.T


def _to_tree(model: pm.Model, x: np.ndarray, start: dict[str, np.ndarray]) -> xr.DataTree:
    """Transform draws to the natural scale, with every deterministic."""
    outputs = model.unobserved_value_vars
    function = model.compile_fn(outputs, inputs=model.value_vars, point_fn=False)
    keep = [i for i, v in enumerate(outputs) if v.name not in start or v.name in {r.name for r in model.free_RVs}]
    rows = [function(*_split(row, start).values()) for row in x]
    coords = {"chain": [0], "draw": np.arange(len(x)), "subject": list(model.coords["subject"])}
    variables = {}
    for i in keep:
        name = str(outputs[i].name)
        values = np.stack([row[i] for row in rows])[None]
        dims = model.named_vars_to_dims.get(name, ())
        variables[name] = (("chain", "draw", *dims), values)
    posterior = xr.Dataset(variables, coords)
    posterior.attrs["inference_library"] = "fitrl (Laplace approximation)"
    return xr.DataTree.from_dict({"posterior": posterior})
