"""Where the parameters of synthetic subjects come from: the priors, or the subjects or the population of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from fitrl.errors import FitError
from fitrl.hierarchy.design import deviations
from fitrl.hierarchy.links import link_of, natural
from fitrl.language.parameters import Parameter
from fitrl.tasks.bandit import Bandit

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


@dataclass(frozen=True)
class Truth:
    """Synthetic subjects, and the population that they were drawn from.

    Attributes
    ----------
    values : dict of str to ndarray, shape (subject,)
        Every parameter of the model on the natural scale (of scaled outcomes), fixed ones included.
    location, scale : dict of str to float
        Mean and standard deviation of the population on the link scale; parameters that are not fixed.
    """

    values: dict[str, np.ndarray]
    location: dict[str, float]
    scale: dict[str, float]


def from_prior(
    parameters: Mapping[str, Parameter],
    n: int,
    rng: np.random.Generator,
    fixed: Mapping[str, float] | None = None,
) -> Truth:
    """Draw a population from the priors, and subjects from the population.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        With their links and priors.
    n : int
        Number of subjects.
    rng : Generator
        Source of randomness.
    fixed : mapping of str to float, optional
        Parameters that are the same for everybody.

    Examples
    --------
    >>> from fitrl.models import q_learning
    >>> truth = from_prior(q_learning.parameters(), 5, np.random.default_rng(1), {"beta": 3.0})
    >>> list(truth.location), truth.values["beta"].tolist()
    (['alpha'], [3.0, 3.0, 3.0, 3.0, 3.0])
    """
    from fitrl.hierarchy.build import prior_draws  # imports PyMC, which other simulations do without

    fixed = fixed or {}
    truth = Truth({}, {}, {})
    for name, p in parameters.items():
        if name in fixed:
            truth.values[name] = np.full(n, float(fixed[name]))
            continue
        truth.location[name] = float(prior_draws(p.location, 1, rng)[0])
        truth.scale[name] = float(prior_draws(p.scale, 1, rng)[0])
        eta = truth.location[name] + truth.scale[name] * rng.normal(size=n)
        truth.values[name] = natural(eta, p.link, p.lower, p.upper)
    return truth


def from_fit(fit: Fit, n: int, rng: np.random.Generator) -> Truth:
    """Draw subjects from those of a fit, with the values of one posterior draw.

    Where a subject has several values (a formula with a condition), each agent is a subject in one of its conditions,
    drawn as often as it has trials.

    Posterior means are shrunken towards each other, values of a draw are not: their spread is that of the
    population. Subjects are drawn with replacement, all parameters of a subject together, so that the
    correlations between parameters are kept. Location and scale are those of the fit's subjects in this draw.

    Parameters
    ----------
    fit : Fit
        Sampled or quick, any pooling.
    n : int
        Number of subjects; need not be that of the fit.
    rng : Generator
        Chooses the draw and the subjects.
    """
    posterior = _one_draw(fit, rng)
    who = rng.integers(fit.trials.n_subjects, size=n)
    truth = Truth({name: np.full(n, value) for name, value in fit.plan.fixed.items()}, {}, {})
    owner, sequence = (fit.trials.frame[name].to_numpy() for name in ("subject_idx", "sequence"))
    rows = who  # not needed where each subject has one value
    if not all(fit.plan.designs[p.name].by_subject for p in fit.spec.parameters):
        rows = np.array([rng.choice(np.flatnonzero(owner == i)) for i in who])

    def of_agent(name: str) -> np.ndarray:
        design = fit.plan.designs[name]
        if design.by_subject:
            return who
        return design.index[rows] if design.by_row else design.index[sequence[rows]]

    for p in fit.spec.parameters:
        values = posterior[p.name].to_numpy()
        eta = link_of(values, p.link, p.lower, p.upper)
        truth.location[p.name], truth.scale[p.name] = float(eta.mean()), float(eta.std())
        truth.values[p.name] = values[of_agent(p.name)]
    return truth


def from_population(fit: Fit, n: int, rng: np.random.Generator) -> Truth:
    """Draw new subjects from the population of a fit, as one posterior draw has it.

    They differ from those of the fit in what the fit assumes: their parameters are normal on the link scale, and go
    together as far as the fit knows correlations.

    Parameters
    ----------
    fit : Fit
        Sampled or quick, with a population, and without formulas.
    n : int
        Number of subjects.
    rng : Generator
        Chooses the draw and the subjects.

    Raises
    ------
    FitError
        If the fit has no population, or several.

    Examples
    --------
    >>> fitrl.fitting.truth.from_population(fit, 30, np.random.default_rng(1)).values["alpha"]  # doctest: +SKIP
    """
    from fitrl.hierarchy.correlation import pairs  # imports PyMC, which other simulations do without

    check_one_population(fit)
    posterior, names = _one_draw(fit, rng), deviations(fit.plan.estimated_designs)
    correlation = np.eye(len(names))
    if fit.plan.correlated:
        for (j, k), value in zip(pairs(len(names)), posterior["correlation"].to_numpy(), strict=True):
            correlation[j, k] = correlation[k, j] = value
    unit = rng.multivariate_normal(np.zeros(len(names)), correlation, size=n)
    truth = Truth({name: np.full(n, value) for name, value in fit.plan.fixed.items()}, {}, {})
    for p in fit.spec.parameters:
        location, scale = (float(posterior[f"{p.name}_{what}"]) for what in ("mu", "sigma"))
        truth.location[p.name], truth.scale[p.name] = location, scale
        truth.values[p.name] = natural(location + scale * unit[:, names.index(p.name)], p.link, p.lower, p.upper)
    return truth


def check_one_population(fit: Fit) -> None:
    """Refuse a fit from which no new subjects can be drawn; see `from_population`.

    Raises
    ------
    FitError
        If the fit has no population, or several.
    """
    if not fit.spec.parameters:
        raise FitError(
            "new people come from a population, and nothing is estimated in this fit: all parameters are fixed."
        )
    if fit.spec.pooling != "partial" or fit.spec.formulas:
        why = "has formulas: its people come from several" if fit.spec.formulas else "has no population"
        raise FitError(
            f"new people come from one population, and this fit {why}. Start from a fit with partial "
            "pooling and without formulas, or take its subjects (new_people=False)."
        )


def _one_draw(fit: Fit, rng: np.random.Generator) -> xr.Dataset:
    """Choose one draw of the posterior."""
    posterior = fit.idata["posterior"].to_dataset()
    return posterior.isel({dim: int(rng.integers(posterior.sizes[dim])) for dim in ("chain", "draw")})


def task_settings(fit: Fit) -> dict[str, Any]:
    """Return what `fitrl.simulate` needs to play a task of the size of that of a fit.

    Returns
    -------
    dict
        ``n_options`` (bandits only) and ``outcome_range``, which for raw outcomes is the range that occurs.
    """
    task, frame = fit.trials.task, fit.trials.frame
    settings: dict[str, Any] = {"n_options": task.n_options} if isinstance(task, Bandit) else {}
    low, high = task.outcome_range
    if not np.isfinite(high - low):
        shown = frame.loc[frame["outcome_given"], "outcome"]
        low, high = float(shown.min()), float(shown.max())
    return settings | {"outcome_range": (float(low), float(high))}
