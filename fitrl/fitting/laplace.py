"""A quick look: normal approximations around the modes of subjects, in seconds, never to be reported."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import xarray as xr

from fitrl.data import Trials
from fitrl.errors import FitError
from fitrl.fitting.mixed import draw_around, find_mode, that_may_run_away
from fitrl.fitting.population import Likelihood, Subjects, find_population, find_subjects
from fitrl.fitting.subjects import stacked_likelihood, subject_likelihood
from fitrl.fitting.system import make_system
from fitrl.hierarchy.build import normal_prior, separate_prior
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import Plan

log = logging.getLogger("fitrl")


def laplace(
    plan: Plan, trials: Trials, *, draws: int = 1000, random_seed: Any = None
) -> tuple[xr.DataTree, dict[str, float]]:
    """Approximate the posterior by normal distributions on the link scale.

    Parameters
    ----------
    plan : Plan
        What is estimated and how; whether a parameter is centred makes no difference.
    trials : Trials
        The data.
    draws : int
        Independent draws from the approximation.
    random_seed : int or Generator, optional
        Seed.

    Returns
    -------
    idata : DataTree
        One chain with ``<p>_mu``, ``<p>_sigma`` and ``<p>`` as in a sampled fit, without offsets; no
        ``sample_stats``, since nothing was sampled. With formulas, its attribute ``settled`` is 0 where the mode was
        not found.
    timings : dict of str to float
        Seconds to compile and to sample.

    Raises
    ------
    FitError
        If nothing is estimated, or the likelihood is not finite at the start.

    Notes
    -----
    Subjects get a mode and a curvature under a population that is found by expectation-maximisation
    (Huys et al. 2011, 10.1371/journal.pcbi.1002028), here with the priors on its location and scale.
    Subjects and location are drawn together. With formulas, effects take part in this (`fitrl.fitting.mixed`). It is
    rough: posteriors are not normal, the uncertainty of the scale does not reach subjects (with formulas it does), and
    a location whose prior is not normal gets the normal prior with the same median and interquartile range.

    Examples
    --------
    >>> from fitrl.hierarchy.plan import make_plan
    >>> idata, timings = laplace(make_plan(model, trials), trials, random_seed=1)  # doctest: +SKIP
    """
    if not plan.estimated:
        raise FitError("every parameter is fixed, so there is nothing to fit.")
    check_quick(plan)
    started = time.perf_counter()
    if plan.effects:
        return _with_effects(plan, trials, draws, random_seed)
    likelihood = subject_likelihood(plan, trials)
    parameters = plan.estimated
    origin = np.array([normal_prior(p.location) for p in parameters.values()])
    at_origin, gradient = likelihood(np.repeat(origin[:, :1], trials.n_subjects, axis=1))
    _check_start(at_origin, gradient)
    compiled = time.perf_counter()
    rng = np.random.default_rng(random_seed)
    approximate = {"partial": _partial, "none": _separate, "complete": _complete}[plan.pooling]
    posterior = _dataset(approximate(plan, likelihood, trials.n_subjects, origin, draws, rng), trials.subjects)
    idata = xr.DataTree.from_dict({"posterior": posterior})
    return idata, {"compile": compiled - started, "sample": time.perf_counter() - compiled}


def _check_start(*found: np.ndarray) -> None:
    if not all(np.isfinite(values).all() for values in found):
        raise FitError(
            "the likelihood is not finite where the priors are centred, so the quick fit cannot start. "
            "Check the model's arithmetic there (a division by 0, the log of 0), or fit without quick."
        )


# One function per pooling: draws by name, (draw,) or (draw, subject), subjects on the natural scale -----


def _partial(
    plan: Plan, likelihood: Likelihood, n_subjects: int, origin: np.ndarray, draws: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    wide = np.array([separate_prior(p)[1] for p in plan.estimated.values()])
    scales = [p.scale for p in plan.estimated.values()]
    with that_may_run_away():
        found = find_population(likelihood, n_subjects, origin[:, 0], origin[:, 1], scales, wide)
    if not found.settled:
        log.warning("the quick fit has not settled after %d rounds; its population is rougher still.", found.n_rounds)
    n = len(wide)
    away = rng.multivariate_normal(np.zeros(n), found.location_covariance, size=draws, method="eigh")
    log_ratio = rng.multivariate_normal(np.zeros(n), found.log_scale_covariance, size=draws, method="eigh")
    eta = _around(found.subjects, found.scale, draws, rng)
    # A subject follows the location as far as its own choices leave it free.
    eta += found.scale * np.einsum("ijk,dk->dij", found.subjects.shape, away / found.scale)
    variables = _natural(plan, eta)
    for j, name in enumerate(plan.estimated):
        variables[f"{name}_mu"] = found.location[j] + away[:, j]
        variables[f"{name}_sigma"] = found.scale[j] * np.exp(log_ratio[:, j])
    return variables


def _separate(
    plan: Plan, likelihood: Likelihood, n_subjects: int, origin: np.ndarray, draws: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    location, scale = np.array([separate_prior(p) for p in plan.estimated.values()]).T
    start = np.repeat(location[:, None], n_subjects, axis=1)
    found = find_subjects(likelihood, start, location, scale)
    return _natural(plan, _around(found, scale, draws, rng))


def _complete(
    plan: Plan, likelihood: Likelihood, n_subjects: int, origin: np.ndarray, draws: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    def pooled(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = likelihood(np.repeat(eta, n_subjects, axis=1))
        return value.sum(keepdims=True), gradient.sum(axis=1, keepdims=True)

    location, scale = origin.T
    found = find_subjects(pooled, location[:, None], location, scale)
    eta = _around(found, scale, draws, rng)
    variables = _natural(plan, np.repeat(eta, n_subjects, axis=1))
    for j, name in enumerate(plan.estimated):
        variables[f"{name}_mu"] = eta[:, 0, j]
    return variables


def check_quick(plan: Plan) -> None:
    """Refuse what only a sampler can do.

    Raises
    ------
    FitError
        For correlated parameters, or a spread that differs between groups.
    """
    if plan.correlated:
        raise FitError(
            "the quick fit takes parameters to be independent. Leave out correlated (--correlated), or quick (--quick)."
        )
    moved = [name for name, design in plan.designs.items() if design.spread is not None]
    if moved:
        raise FitError(
            f"{', '.join(moved)}: the quick fit takes subjects to differ equally in all groups. Sample (without "
            "quick), or leave sd() out of the formula."
        )


def _with_effects(plan: Plan, trials: Trials, draws: int, random_seed: Any) -> tuple[xr.DataTree, dict[str, float]]:
    """Draws of a plan with formulas."""
    started = time.perf_counter()
    likelihood = stacked_likelihood(plan, trials)
    system, layout = make_system(plan, trials.n_subjects)
    _check_start(*likelihood(system.fixed @ system.mean))
    compiled = time.perf_counter()
    found = find_mode(likelihood, system)
    if not found.settled:
        log.warning("the quick fit has not settled after %d rounds; it is rougher still.", found.n_rounds)
    rng = np.random.default_rng(random_seed)
    b, w, scale = draw_around(system, found, draws, rng)
    variables = layout.variables(b, scale)
    ends = np.cumsum([len(plan.designs[name].subject) for name in plan.estimated])
    cells = np.split(system.cells(b, w), ends[:-1], axis=1)
    for (name, p), eta in zip(plan.estimated.items(), cells, strict=True):
        variables[name] = ((layout.cell_dim(name),), natural(eta, p.link, p.lower, p.upper))
    posterior = _labelled(variables, {"subject": trials.subjects, **layout.coords}, draws)
    posterior.attrs["settled"] = int(found.settled)
    timings = {"compile": compiled - started, "sample": time.perf_counter() - compiled}
    return xr.DataTree.from_dict({"posterior": posterior}), timings


def _around(found: Subjects, scale: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws around the modes, link scale, shape (draw, subject, parameter)."""
    if found.n_unsettled:
        log.warning("the quick fit did not find the mode of %d subject(s) exactly.", found.n_unsettled)
    n_parameters, n_subjects = found.mode.shape
    noise = rng.normal(size=(draws, n_subjects, n_parameters))
    return found.mode.T + scale * np.einsum("ijk,dik->dij", np.linalg.cholesky(found.shape), noise)


def _natural(plan: Plan, eta: np.ndarray) -> dict[str, np.ndarray]:
    """Values of subjects on the natural scale, from shape (draw, subject, parameter)."""
    return {name: natural(eta[..., j], p.link, p.lower, p.upper) for j, (name, p) in enumerate(plan.estimated.items())}


def _dataset(variables: dict[str, np.ndarray], subjects: list[str]) -> xr.Dataset:
    draws = len(next(iter(variables.values())))
    dims = {name: ("subject",)[: values.ndim - 1] for name, values in variables.items()}
    return _labelled({n: (dims[n], values) for n, values in variables.items()}, {"subject": subjects}, draws)


def _labelled(
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]], coords: dict[str, Any], draws: int
) -> xr.Dataset:
    posterior = xr.Dataset(
        {name: (("chain", "draw", *dims), values[None]) for name, (dims, values) in variables.items()},
        {"chain": [0], "draw": np.arange(draws), **coords},
    )
    posterior.attrs["inference_library"] = "fitrl (hierarchical Laplace approximation)"
    return posterior
