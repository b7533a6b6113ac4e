"""What is estimated, and how subjects share: decided before PyMC is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.errors import FitError, ModelError
from fitrl.hierarchy.design import Design, deviations, intercept_only, make_design
from fitrl.hierarchy.formula import check_names
from fitrl.hierarchy.links import link_of
from fitrl.hierarchy.priors import EffectPriors, effect_priors, resolve_priors
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown

POOLING = ("partial", "none", "complete")


@dataclass(frozen=True)
class Plan:
    """Model, parameters with their priors, and pooling.

    Attributes
    ----------
    model : Model
        With its traits.
    parameters : dict of str to Parameter
        All parameters of the model, fixed ones included.
    pooling : {"partial", "none", "complete"}
        Whether subjects share a population, nothing, or one value.
    fixed : dict of str to float
        Values that are not estimated, on the natural scale of the model (scaled outcomes).
    designs : dict of str to Design
        Linear predictor of each parameter.
    effects : dict of str to EffectPriors
        Priors of the effects, for parameters with a formula.
    correlated : bool
        Whether what subjects differ in, parameters and slopes, may be correlated.
    """

    model: Model
    parameters: dict[str, Parameter]
    pooling: str
    fixed: dict[str, float]
    designs: dict[str, Design]
    effects: dict[str, EffectPriors] = field(default_factory=dict)
    correlated: bool = False

    @property
    def estimated(self) -> dict[str, Parameter]:
        """Parameters that are not fixed."""
        return {n: p for n, p in self.parameters.items() if n not in self.fixed}

    @property
    def estimated_designs(self) -> dict[str, Design]:
        """Linear predictors of the parameters that are not fixed."""
        return {n: self.designs[n] for n in self.estimated}


def unit_factor(parameter: Any, outcome_scale: float) -> float:
    """Return what a natural-scale value is multiplied by to be in the user's outcome unit.

    Parameters
    ----------
    parameter : Parameter or ParameterSpec
        Its `unit` decides.
    outcome_scale : float
        What the outcomes were divided by, above 0.

    Returns
    -------
    float

    Raises
    ------
    FitError
        If `outcome_scale` is not above 0.

    Examples
    --------
    >>> from fitrl.models import q_learning
    >>> unit_factor(q_learning.parameters()["beta"], 100.0)
    0.01
    """
    if not outcome_scale > 0 or not np.isfinite(outcome_scale):
        raise FitError(f"the outcome scale is {outcome_scale}; expected a number above 0.")
    return {"": 1.0, "outcome": float(outcome_scale), "1/outcome": 1.0 / outcome_scale}[parameter.unit]


def make_plan(
    model: Model,
    trials: Trials,
    *,
    priors: str | Mapping[str, Mapping[str, Any]] = "default",
    pooling: str = "partial",
    fixed: Mapping[str, float] | None = None,
    formulas: Mapping[str, str] | None = None,
    correlated: bool = False,
) -> Plan:
    """Decide what is estimated and how.

    Parameters
    ----------
    model : Model
        With its traits and options.
    trials : Trials
        The data.
    priors : str or mapping
        See `fitrl.hierarchy.priors.resolve_priors`.
    pooling : {"partial", "none", "complete"}
        Population, separate subjects, or one value for all.
    fixed : mapping of str to float, optional
        Parameters held at a value, in the user's own outcome unit.
    formulas : mapping of str to str, optional
        Right-hand side by parameter, such as ``{"alpha": "group + age"}``; covariates are columns of the trial table
        (see `fitrl.hierarchy.covariates.with_subjects` for others).
    correlated : bool
        Whether what subjects differ in, parameters and slopes, may be correlated.

    Raises
    ------
    ModelError
        For an unknown parameter, a value outside of its range, a pooling that does not exist, or a formula that cannot
        be used.
    DataError
        If a covariate is not there or has missing values.
    """
    parameters = resolve_priors(model, trials.task, priors)
    if pooling not in POOLING:
        raise ModelError(unknown("pooling", pooling, POOLING))
    for name in fixed or {}:
        if name not in parameters:
            raise ModelError(unknown("parameter", name, parameters))
    values = {}
    for name, value in (fixed or {}).items():
        parameter = parameters[name]
        values[name] = float(value) / unit_factor(parameter, trials.outcome_scale)
        if not parameter.lower <= values[name] <= parameter.upper:
            raise ModelError(f"{name} is fixed at {value:g}, outside of its range {_range(parameter)}.")
    formulas = formulas or {}
    _check_formulas(model, parameters, formulas, values, pooling)
    designs = dict.fromkeys(parameters, intercept_only(trials))
    designs |= {name: make_design(name, text, trials) for name, text in formulas.items()}
    with_effects = {name: d for name, d in designs.items() if d.formula is not None}
    _check_spread(with_effects, pooling)
    effects = {n: effect_priors(parameters[n], priors, _terms(d)) for n, d in with_effects.items()}
    for name in parameters.keys() - with_effects.keys():
        effect_priors(parameters[name], priors, ())  # a slip in a file is found whether or not it is used
    plan = Plan(model, parameters, pooling, values, designs, effects, correlated)
    if correlated and (pooling != "partial" or len(deviations(plan.estimated_designs)) < 2):
        raise ModelError(
            "correlated: there is nothing to correlate without a population of subjects (partial pooling) that differ "
            "in two parameters, or in a parameter and its slope, as with (drug | subject)."
        )
    return plan


def _terms(design: Design) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.term for column in design.effects))


def _check_spread(designs: Mapping[str, Design], pooling: str) -> None:
    for name, design in designs.items():
        if design.spread is not None and pooling != "partial":
            raise ModelError(
                f'{name}: with pooling "{pooling}" subjects have no spread that sd() could be about. Use partial.'
            )


def _check_formulas(
    model: Model,
    parameters: Mapping[str, Parameter],
    formulas: Mapping[str, str],
    fixed: Mapping[str, float],
    pooling: str,
) -> None:
    check_names(formulas, parameters, model.derived())
    for name in formulas:
        if name in fixed:
            raise ModelError(f"{name} is fixed, so that nothing can move it. Leave out its formula, or do not fix it.")
    if formulas and pooling == "none":
        raise ModelError(
            'pooling is "none": without a population there are no effects. Use partial or complete pooling.'
        )
    for name in formulas:
        if parameters[name].location.family != "normal":
            raise ModelError(
                f"the location of {name} has the prior {parameters[name].location}; with a formula it must be normal."
            )


def _range(parameter: Parameter) -> str:
    return f"{parameter.lower:g} to {parameter.upper:g}"


def population_start(parameter: Parameter) -> float:
    """Middle of the usual range, on the link scale; where simulated populations stand."""
    low, high = link_of(np.array(parameter.usual), parameter.link, parameter.lower, parameter.upper)
    return float((low + high) / 2)
