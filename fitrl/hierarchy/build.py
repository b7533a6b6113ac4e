"""Build the PyMC model: hierarchy, and the likelihood as one observed variable per emission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from fitrl.data import Trials
from fitrl.engine.trace import trace
from fitrl.hierarchy.likelihood import add_observed, obs_dim, scored_rows
from fitrl.hierarchy.links import CUBIC, LINEAR
from fitrl.hierarchy.parametrization import subject_values
from fitrl.hierarchy.plan import Design, Plan
from fitrl.language.parameters import Parameter, Prior

_FAMILIES: dict[str, Callable] = {
    "normal": lambda name, a, **kw: pm.Normal(name, a[0], a[1], **kw),
    "halfnormal": lambda name, a, **kw: pm.HalfNormal(name, a[0], **kw),
    "halfcauchy": lambda name, a, **kw: pm.HalfCauchy(name, a[0], **kw),
    "uniform": lambda name, a, **kw: pm.Uniform(name, a[0], a[1], **kw),
    "exponential": lambda name, a, **kw: pm.Exponential(name, a[0], **kw),
}


def build_model(plan: Plan, trials: Trials, engine: str = "fast") -> pm.Model:
    """Build the PyMC model of a plan.

    Parameters
    ----------
    plan : Plan
        What is estimated and how.
    trials : Trials
        The data.
    engine : {"fast", "reference"}
        The compiled kernel, or the reference in `pytensor.scan` (which also runs on JAX).

    Returns
    -------
    pymc.Model
        Free variables ``<p>_mu``, ``<p>_sigma``, ``<p>_offset``; deterministic ``<p>`` per subject on the natural
        scale; one observed variable per emission along the dim ``obs`` (scored rows only). What the likelihood needs
        of the trial table is ``pm.Data``.
    """
    program = trace(plan.model, trials.task)
    coords: dict[str, Any] = {"subject": trials.subjects}
    coords |= {obs_dim(program, name): rows for name, rows in scored_rows(program, trials).items()}
    with pm.Model(coords=coords) as model:
        values = {
            name: _parameter(plan, name, parameter, trials.n_subjects) for name, parameter in plan.parameters.items()
        }
        add_observed(plan, program, trials, values, engine)
    return model


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
    """Values of the cells on the link scale."""
    if plan.pooling == "none":
        location, scale = separate_prior(parameter)
    else:
        location = _prior(f"{name}_mu", parameter.location)
        if plan.pooling == "complete":
            return pt.repeat(location[None], len(design.subject))
        scale = _prior(f"{name}_sigma", parameter.scale)
    return _by_cell(subject_values(name, location, scale, design.subject.max() + 1), design)


def _by_cell(values: Any, design: Design) -> Any:
    """Values of subjects at the cells of a design."""
    # A constant index would write the number of subjects into the compiled code: a compilation per data set.
    if np.array_equal(design.subject, np.arange(len(design.subject))):
        return values
    return values[design.subject]


def separate_prior(parameter: Parameter) -> tuple[float, float]:
    """Mean and sd, on the link scale, of the prior of a subject that shares nothing with others.

    The variance is that of the location plus the mean square of the between-subject sd, so that a
    subject is as likely anywhere as under partial pooling before seeing data.
    """
    rng = np.random.default_rng(0)
    location, scale = prior_draws(parameter.location, 20_000, rng), prior_draws(parameter.scale, 20_000, rng)
    if parameter.location.family == "normal" and parameter.scale.family == "halfnormal":
        return parameter.location.args[0], float(np.hypot(parameter.location.args[1], parameter.scale.args[0]))
    # Heavy tails have no variance: take the central half of the prior predictive instead.
    low, middle, high = np.quantile(location + scale * rng.normal(size=location.size), [0.25, 0.5, 0.75])
    return float(middle), float((high - low) / 1.349)


def normal_prior(prior: Prior) -> tuple[float, float]:
    """Mean and sd of a prior, or of the normal distribution with the same median and interquartile range."""
    if prior.family == "normal":
        return prior.args[0], prior.args[1]
    low, middle, high = np.quantile(prior_draws(prior, 20_000, np.random.default_rng(0)), [0.25, 0.5, 0.75])
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
