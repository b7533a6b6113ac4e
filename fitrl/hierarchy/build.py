"""Build the PyMC model: hierarchy, and the likelihood as one observed variable per emission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from fitrl.data import Trials
from fitrl.engine.trace import trace
from fitrl.hierarchy.correlation import Correlated, Independent, Subjects
from fitrl.hierarchy.design import Design, deviations
from fitrl.hierarchy.likelihood import add_observed, obs_dim, scored_rows
from fitrl.hierarchy.links import CUBIC, LINEAR
from fitrl.hierarchy.parametrization import slope_name, subject_values
from fitrl.hierarchy.plan import Plan
from fitrl.hierarchy.priors import EffectPriors
from fitrl.language.parameters import Parameter, Prior

_FAMILIES: dict[str, Callable] = {
    "normal": lambda name, a, **kw: pm.Normal(name, a[0], a[1], **kw),
    "halfnormal": lambda name, a, **kw: pm.HalfNormal(name, a[0], **kw),
    "halfcauchy": lambda name, a, **kw: pm.HalfCauchy(name, a[0], **kw),
    "uniform": lambda name, a, **kw: pm.Uniform(name, a[0], a[1], **kw),
    "exponential": lambda name, a, **kw: pm.Exponential(name, a[0], **kw),
}


def build_model(plan: Plan, trials: Trials, engine: str = "fast", n_cores: int = 1) -> pm.Model:
    """Build the PyMC model of a plan.

    Parameters
    ----------
    plan : Plan
        What is estimated and how.
    trials : Trials
        The data.
    engine : {"fast", "reference"}
        The compiled kernel, or the reference in `pytensor.scan` (which also runs on JAX).
    n_cores : int
        Cores for one gradient; with several, the compiled kernel of a large data set works in threads.

    Returns
    -------
    pymc.Model
        Free variables ``<p>_mu``, ``<p>_sigma``, ``<p>_offset``; deterministic ``<p>`` per subject on the natural
        scale; one observed variable per emission along the dim ``obs`` (scored rows only). What the likelihood needs
        of the trial table is ``pm.Data``. With a formula there are also ``<p>_effect``, ``<p>_level`` (locations of
        cell means, of which ``<p>_mu`` is then the mean), ``<p>_slope_sigma``, ``<p>_slope_1_offset`` and so on, and
        ``<p>_sigma_effect`` (on the log of ``<p>_sigma``), and ``<p>`` runs along ``<p>_cell`` where a subject has
        several values. What comes with correlated parameters: `fitrl.hierarchy.correlation.Correlated`.
    """
    program = trace(plan.model, trials.task)
    coords: dict[str, Any] = {"subject": trials.subjects}
    coords |= {obs_dim(program, name): rows for name, rows in scored_rows(program, trials).items()}
    with pm.Model(coords=coords) as model:
        subjects = Correlated(deviations(plan.estimated_designs)) if plan.correlated else Independent()
        values = {
            name: _parameter(plan, name, parameter, trials.n_subjects, subjects)
            for name, parameter in plan.parameters.items()
        }
        add_observed(plan, program, trials, values, engine, n_cores)
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


def _parameter(plan: Plan, name: str, parameter: Parameter, n_subjects: int, subjects: Subjects) -> Any:
    """Make natural-scale values of one parameter, one per cell of its design."""
    if name in plan.fixed:
        return pt.full((n_subjects,), plan.fixed[name])
    design = plan.designs[name]
    dim = "subject"
    if not design.by_subject:
        dim = f"{name}_cell"
        pm.modelcontext(None).add_coord(dim, np.arange(len(design.subject)))
    eta = _linear_predictor(plan, name, parameter, design, subjects)
    return pm.Deterministic(name, natural_tensor(eta, parameter), dims=dim)


def _linear_predictor(plan: Plan, name: str, parameter: Parameter, design: Design, subjects: Subjects) -> Any:
    """Values of the cells on the link scale."""
    if plan.pooling == "none":
        location, scale = separate_prior(parameter)
        return subject_values(name, location, scale)
    if design.formula is not None:
        return _with_effects(plan, name, parameter, design, subjects)
    location = _prior(f"{name}_mu", parameter.location)
    if plan.pooling == "complete":
        return pt.repeat(location[None], len(design.subject))
    scale = _prior(f"{name}_sigma", parameter.scale)
    return subjects.values(name, location, scale)


def _with_effects(plan: Plan, name: str, parameter: Parameter, design: Design, subjects: Subjects) -> Any:
    """Values of the cells where a formula moves them.

    The value of a subject is that at the average of its cells, to which cells add what they differ in. Matrices and
    indices are ``pm.Data``: as constants they would have to be compiled with every data set.
    """
    coefficients = _coefficients(name, parameter, design, plan.effects[name])
    matrix = pm.Data(f"{name}_matrix", design.matrix)
    if plan.pooling == "complete":
        return matrix @ coefficients
    mean_row = pm.Data(f"{name}_between", design.between())
    values = subjects.values(name, mean_row @ coefficients, _scale(plan, name, parameter, design))
    if design.by_subject:
        return values
    owner = pm.Data(f"{name}_owner", design.subject)
    eta = values[owner] + (matrix - mean_row[owner]) @ coefficients
    return eta if design.slopes is None else eta + _slopes(plan, name, design, owner, subjects)


def _scale(plan: Plan, name: str, parameter: Parameter, design: Design) -> Any:
    """Make the standard deviation between subjects: one for all, or one that covariates move."""
    sigma = _prior(f"{name}_sigma", parameter.scale)
    if design.spread is None:
        return sigma
    columns = design.spread.columns
    pm.modelcontext(None).add_coord(f"{name}_sigma_term", [column.name for column in columns])
    sd = plan.effects[name].spread.args[1] * np.array([column.spread for column in columns])
    effect = pm.Normal(f"{name}_sigma_effect", 0.0, sd, dims=f"{name}_sigma_term")
    return sigma * pt.exp(pm.Data(f"{name}_sigma_matrix", design.spread.matrix) @ effect)


def _coefficients(name: str, parameter: Parameter, design: Design, priors: EffectPriors) -> Any:
    """Coefficients of the columns of a design: locations, then effects."""
    model = pm.modelcontext(None)
    if len(design.locations) == 1:
        locations = _prior(f"{name}_mu", parameter.location)[None]
    else:
        model.add_coord(f"{name}_location", design.locations)
        locations = _prior(f"{name}_level", parameter.location, dims=f"{name}_location")
        pm.Deterministic(f"{name}_mu", locations.mean())
    if not design.effects:
        return locations
    sd = np.array([priors.sd(column.term) * column.spread for column in design.effects])
    model.add_coord(f"{name}_term", [column.name for column in design.effects])
    return pt.concatenate([locations, pm.Normal(f"{name}_effect", 0.0, sd, dims=f"{name}_term")])


def _slopes(plan: Plan, name: str, design: Design, owner: Any, subjects: Subjects) -> Any:
    """Add what subjects differ in an effect by."""
    slopes = design.slopes
    assert slopes is not None
    pm.modelcontext(None).add_coord(f"{name}_slope", slopes.terms)
    sigma = _prior(f"{name}_slope_sigma", plan.effects[name].slopes, dims=f"{name}_slope")
    values = [subjects.values(slope_name(name, k), 0.0, sigma[term]) for k, term in enumerate(slopes.of_term)]
    matrix = pm.Data(f"{name}_slope_matrix", slopes.matrix * slopes.spread)
    return (matrix * pt.stack(values, axis=1)[owner]).sum(axis=1)


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
