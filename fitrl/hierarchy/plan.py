"""What is estimated, and how subjects share: decided before PyMC is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.errors import FitError, ModelError
from fitrl.hierarchy.links import link_of
from fitrl.hierarchy.priors import resolve_priors
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown

POOLING = ("partial", "none", "complete")


@dataclass(frozen=True)
class Design:
    """The linear predictor of one parameter: ``matrix @ coefficients + deviation of the subject``.

    Attributes
    ----------
    terms : tuple of str
        Names of the columns; the first is the intercept.
    matrix : ndarray, shape (cell, term)
        One row per value of the parameter.
    subject : ndarray of int, shape (cell,)
        Subject of each cell.
    index : ndarray of int, shape (sequence,) or (row,)
        Cell that each sequence, or each row, uses.
    by_row : bool
        Whether `index` runs over rows.
    """

    terms: tuple[str, ...]
    matrix: np.ndarray
    subject: np.ndarray
    index: np.ndarray
    by_row: bool = False


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
    centered : tuple of str
        Parameters that are sampled centred.
    designs : dict of str to Design
        Linear predictor of each parameter.
    """

    model: Model
    parameters: dict[str, Parameter]
    pooling: str
    fixed: dict[str, float]
    centered: tuple[str, ...]
    designs: dict[str, Design]

    @property
    def estimated(self) -> dict[str, Parameter]:
        """Parameters that are not fixed."""
        return {n: p for n, p in self.parameters.items() if n not in self.fixed}


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
    centered: Sequence[str] = (),
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
    centered : sequence of str
        Parameters to sample centred (where data per subject are rich).

    Raises
    ------
    ModelError
        For an unknown parameter, a value outside of its range, or a pooling that does not exist.
    """
    parameters = resolve_priors(model, trials.task, priors)
    if pooling not in POOLING:
        raise ModelError(unknown("pooling", pooling, POOLING))
    for name in (*(fixed or {}), *centered):
        if name not in parameters:
            raise ModelError(unknown("parameter", name, parameters))
    values = {}
    for name, value in (fixed or {}).items():
        parameter = parameters[name]
        values[name] = float(value) / unit_factor(parameter, trials.outcome_scale)
        if not parameter.lower <= values[name] <= parameter.upper:
            raise ModelError(f"{name} is fixed at {value:g}, outside of its range {_range(parameter)}.")
    for name in centered:
        if name in values or pooling != "partial":
            raise ModelError(f"{name} cannot be centred: it has no population (it is fixed, or pooling is {pooling}).")
    n_subjects = trials.n_subjects
    design = Design(
        ("Intercept",), np.ones((n_subjects, 1)), np.arange(n_subjects), np.asarray(trials.sequence_subject)
    )
    return Plan(model, parameters, pooling, values, tuple(centered), dict.fromkeys(parameters, design))


def _range(parameter: Parameter) -> str:
    return f"{parameter.lower:g} to {parameter.upper:g}"


def population_start(parameter: Parameter) -> float:
    """Middle of the usual range, on the link scale; where simulated populations stand."""
    low, high = link_of(np.array(parameter.usual), parameter.link, parameter.lower, parameter.upper)
    return float((low + high) / 2)
