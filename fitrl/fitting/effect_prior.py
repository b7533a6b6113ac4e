"""What the prior of an effect means on the natural scale, before any data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fitrl.errors import ModelError
from fitrl.fitting.effects import differences
from fitrl.fitting.fit import prepare
from fitrl.hierarchy.build import prior_draws
from fitrl.hierarchy.design import Design
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import Plan, unit_factor

DRAWS = 20_000  # even: half of them mirror the other half
_INTERVAL = (0.025, 0.5, 0.975)


@dataclass(frozen=True)
class Implied:
    """Prior draws of one number.

    Attributes
    ----------
    parameter : str
    what : {"cell", "difference"}
        The median subject of one cell, or a difference between such.
    label : str
        Such as ``"drug = placebo"``, or the name of the effect.
    draws : ndarray, shape (draw,)
        Natural scale, in the user's outcome unit.
    factor : (float, float) or None
        Of a difference on a log link between two cells: 95 % interval of the ratio.
    """

    parameter: str
    what: str
    label: str
    draws: np.ndarray
    factor: tuple[float, float] | None = None


def effect_prior(model: Any, trials: Any, *, random_seed: int = 0, **declaration: Any) -> pd.DataFrame:
    """Tabulate what the priors of a formula imply on the natural scale.

    Parameters
    ----------
    model, trials, **declaration
        As in `fitrl.fit`, up to `subjects`, with `formulas`.
    random_seed : int
        Of the draws from the prior.

    Returns
    -------
    DataFrame
        One row per parameter and cell, then per effect: ``parameter``, ``what`` ("cell" or "difference"), ``label``,
        and the median and central 95 % of prior draws (``median``, ``q2.5``, ``q97.5``) on the natural scale, in the
        user's outcome unit. Cells are the median subject where the factors have these levels and numbers are at their
        mean; without a factor, one standard deviation below and above the mean. Effects are the same differences as in
        `fitrl.effects`.

    Raises
    ------
    ModelError
        If there is no formula, or it cannot be used.
    DataError
        If a covariate is not there or has missing values.

    Examples
    --------
    >>> fitrl.effect_prior("q_learning", "drug.csv", formulas={"alpha": "drug"})  # doctest: +SKIP
    """
    plan, trials, _ = prepare(model, trials, **declaration)
    found = implied(plan, trials.outcome_scale, random_seed)
    quantiles = np.array([np.quantile(one.draws, _INTERVAL) for one in found])
    table = pd.DataFrame(
        [(one.parameter, one.what, one.label) for one in found], columns=["parameter", "what", "label"]
    )
    return table.assign(**{"median": quantiles[:, 1], "q2.5": quantiles[:, 0], "q97.5": quantiles[:, 2]})


def describe_effect_prior(plan: Plan, outcome_scale: float) -> list[str]:
    """Say in words what the priors of the effects imply.

    Parameters
    ----------
    plan : Plan
        With formulas.
    outcome_scale : float
        Outcomes were divided by it.

    Returns
    -------
    list of str
        One sentence per effect.
    """
    return [
        f"{one.parameter}, {one.label}: {sentence(one)}" for one in implied(plan, outcome_scale) if one.what != "cell"
    ]


def sentence(one: Implied) -> str:
    """Say where the prior has 95 % of a difference."""
    return f"95 % of prior differences lie between {interval(one, 'and')}"


def interval(one: Implied, word: str = "to") -> str:
    """Write the central 95 % of a difference, on a log link with that of the ratio."""
    low, high = np.quantile(one.draws, [0.025, 0.975])
    text = f"{low:.2g} {word} {high:.2g}"
    return text if one.factor is None else f"{text}, a factor of {one.factor[0]:.2g} to {one.factor[1]:.2g}"


def implied(plan: Plan, outcome_scale: float, random_seed: int = 0) -> list[Implied]:
    """Draw cells and differences of every formula from the prior.

    Parameters
    ----------
    plan : Plan
    outcome_scale : float
        Outcomes were divided by it; undone.
    random_seed : int

    Returns
    -------
    list of Implied
        By parameter: cells first.

    Raises
    ------
    ModelError
        If there is no formula.
    """
    if not plan.effects:
        raise ModelError('there is no formula, so there is no effect. Give one, such as formulas={"alpha": "group"}.')
    rng = np.random.default_rng(random_seed)
    return [one for name in plan.effects for one in _of_parameter(plan, name, outcome_scale, rng)]


def _of_parameter(plan: Plan, name: str, outcome_scale: float, rng: np.random.Generator) -> Iterator[Implied]:
    design, p, factor = plan.designs[name], plan.parameters[name], unit_factor(plan.parameters[name], outcome_scale)
    coefficients = _coefficients(plan, name, rng)

    def median_subject(at: Mapping[str, Any]) -> np.ndarray:
        return factor * natural(coefficients @ design.row(at), p.link, p.lower, p.upper)

    for at in _cells(design):
        yield Implied(name, "cell", ", ".join(f"{n} = {_shown(v)}" for n, v in at.items()), median_subject(at))
    for label, weighted, _ in differences(design):
        draws = np.add.reduce([weight * median_subject(at) for weight, at in weighted])
        ratio = None
        if p.link == "log" and len(weighted) == 2:
            eta = sum(weight * (coefficients @ design.row(at)) for weight, at in weighted)
            low, high = np.exp(np.quantile(eta, [0.025, 0.975]))
            ratio = float(low), float(high)
        yield Implied(name, "difference", label, draws, ratio)


def _coefficients(plan: Plan, name: str, rng: np.random.Generator) -> np.ndarray:
    """Prior draws of the coefficients of a design, shape (draw, column)."""
    design, priors, location = plan.designs[name], plan.effects[name], plan.parameters[name].location
    first = [np.tile(prior_draws(location, DRAWS // 2, rng), 2) for _ in design.locations]
    # An effect is as probable as its opposite: with both among the draws, what is printed is symmetric, too.
    rest = [rng.normal(0.0, priors.sd(column.term) * column.spread, DRAWS // 2) for column in design.effects]
    return np.stack([*first, *(np.concatenate([half, -half]) for half in rest)], axis=1)


def _cells(design: Design) -> list[dict[str, Any]]:
    """List combinations of levels; without a factor one sd below and above the mean of each number."""
    numbers = [c for c in design.covariates.values() if not c.is_factor]
    return design.populations() or [{c.name: c.mean + side * c.sd} for c in numbers for side in (-1, 1)]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
