"""A rough first look at the subjects, which tells the sampler how to sample them and where to start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.fitting.mixed import approach, deviation_likelihood
from fitrl.fitting.population import Likelihood, Subjects, find_population, find_subjects
from fitrl.fitting.subjects import stacked_likelihood, subject_likelihood
from fitrl.fitting.system import make_system
from fitrl.hierarchy.build import normal_prior, separate_prior
from fitrl.hierarchy.parametrization import Information, slope_name
from fitrl.hierarchy.plan import Plan

log = logging.getLogger("fitrl")

# Enough to be of use: only the work of the sampler depends on it.
_NEWTON_STEPS, _ROUNDS, _SETTLED = 5, 12, 0.3
_ROUNDS_OF_EFFECTS = 3
_FROM_AFAR, _STEPS_FROM_AFAR = 2.0, 10  # where other modes are looked for, in population sds along each parameter
_APART = 3.0  # conditional sds between two modes
_SPREAD = 1.5  # of the starts of chains around a mode, in conditional sds: wider than the posterior


@dataclass(frozen=True)
class Pilot:
    """What a first look found.

    Attributes
    ----------
    information : dict of str to Information
        What choices say of each subject, by parameter, and of its slopes by `slope_name`; empty if nothing was found.
    population : dict
        Where chains start: ``<p>_mu`` (or ``<p>_level``), ``<p>_effect``, ``<p>_sigma`` and ``<p>_slope_sigma``.
    other : ndarray, shape (value, subject)
        Each subject's second best mode, in conditional sds from the best one; 0 if there is none. The values of a
        subject are those of `information`, one after the other.
    weight : ndarray, shape (subject,)
        Posterior probability of that second mode.
    correlation : ndarray, shape (subject, value, value)
        Of each subject's values around the best mode.
    """

    information: dict[str, Information]
    population: dict[str, Any]
    other: np.ndarray
    weight: np.ndarray
    correlation: np.ndarray

    def start(self, seed: int | None) -> dict[str, np.ndarray]:
        """Draw where a chain starts: offsets around a mode of each subject, by the names of the variables.

        Chains start apart, so that R-hat means something, and in proportion to what modes weigh: where a subject has
        two that count, chains that cannot cross will disagree, and the verdict will say so.
        """
        rng = np.random.default_rng(seed)
        at = np.where(rng.random(len(self.weight)) < self.weight, self.other, 0.0)
        at = at + _SPREAD * np.einsum("ijk,ki->ji", np.linalg.cholesky(self.correlation), rng.normal(size=at.shape))
        return {f"{name}_offset": row for name, row in zip(self.information, at, strict=True)}


def look(plan: Plan, trials: Trials) -> Pilot:
    """Find out roughly what choices say of each subject.

    Parameters
    ----------
    plan : Plan
        What is estimated and how.
    trials : Trials
        The data.

    Returns
    -------
    Pilot
        Empty where there is nothing to tell, or where the likelihood is not finite in the middle of the priors.

    Notes
    -----
    Newton's method and expectation-maximisation as in the quick fit, broken off early; then Newton's method again
    from far off along each parameter, for modes that weigh more (by Laplace's approximation). The variance of a
    subject's value given the population is taken as it is, whatever it owes to other parameters.
    """
    n = trials.n_subjects
    if plan.pooling == "complete" or not plan.estimated:
        found = None
    else:
        found = _around_effects(plan, trials) if plan.effects else _around_locations(plan, trials)
    if found is None:
        return Pilot({}, {}, np.zeros((0, n)), np.zeros(n), np.zeros((n, 0, 0)))
    best, second, weight = _modes(found.likelihood, found.subjects, found.location, found.scale)
    share = np.diagonal(best.shape, axis1=1, axis2=2).T  # of the prior variance that is left
    correlation = best.shape / np.sqrt(share.T[:, :, None] * share.T[:, None, :])
    variance = found.scale[:, None] ** 2
    precision = np.maximum(1 / share - 1, 0.0) / variance
    away = best.mode - found.location[:, None]
    weighted = away * (precision + 1 / variance) + found.centre * precision
    information = {name: Information(p, w) for name, p, w in zip(found.names, precision, weighted, strict=True)}
    return Pilot(information, found.population, second, weight, correlation)


@dataclass(frozen=True)
class _Found:
    """Subjects around a population, as `find_subjects` takes and gives them.

    Attributes
    ----------
    likelihood : callable
        Of values, shape (value, subject).
    subjects : Subjects
        Modes.
    location, scale : ndarray, shape (value,)
        Of the population of these values.
    centre : ndarray, shape (value, subject)
        Location on the link scale; that of a slope is 0.
    names : list of str
        Of the values, by which their `Information` goes.
    population : dict
        As in `Pilot`.
    """

    likelihood: Likelihood
    subjects: Subjects
    location: np.ndarray
    scale: np.ndarray
    centre: np.ndarray
    names: list[str]
    population: dict[str, Any]


def _is_finite(*found: np.ndarray) -> bool:
    if all(np.isfinite(values).all() for values in found):
        return True
    log.info("The likelihood is not finite in the middle of the priors: sampling starts uninformed.")
    return False


def _around_locations(plan: Plan, trials: Trials) -> _Found | None:
    """Subjects that share a location, or nothing; their values are those of the parameters."""
    parameters = plan.estimated
    likelihood = subject_likelihood(plan, trials)
    origin = np.array([normal_prior(p.location) for p in parameters.values()])
    wide = np.array([separate_prior(p) for p in parameters.values()])
    if not _is_finite(*likelihood(np.repeat(origin[:, :1], trials.n_subjects, axis=1))):
        return None
    population: dict[str, Any] = {}
    if plan.pooling == "none":
        location, scale = wide.T
        start = np.repeat(location[:, None], trials.n_subjects, axis=1)
        subjects = find_subjects(likelihood, start, location, scale, newton_steps=_STEPS_FROM_AFAR)
    else:
        found = find_population(
            likelihood,
            trials.n_subjects,
            origin[:, 0],
            origin[:, 1],
            [p.scale for p in parameters.values()],
            wide[:, 1],
            newton_steps=_NEWTON_STEPS,
            rounds=_ROUNDS,
            settled=_SETTLED,
            shortcuts=False,
        )
        location, scale, subjects = found.location, found.scale, found.subjects
        for j, name in enumerate(parameters):
            population |= {f"{name}_mu": float(location[j]), f"{name}_sigma": float(scale[j])}
    centre = np.repeat(location[:, None], trials.n_subjects, axis=1)
    return _Found(likelihood, subjects, location, scale, centre, list(parameters), population)


def _around_effects(plan: Plan, trials: Trials) -> _Found | None:
    """Subjects around what formulas say of them; their values are deviations, of parameters and of slopes."""
    plain = _around_locations(plan, trials)
    if plain is None:
        return None
    of_cells = stacked_likelihood(plan, trials)
    system, layout = make_system(plan, trials.n_subjects)
    # Begin where the look without formulas ended, with no effects and no slopes.
    start, scale, w = np.zeros(len(system.mean)), system.start.copy(), np.zeros((trials.n_subjects, len(system.group)))
    names, column, row = list[str](), 0, 0
    for j, name in enumerate(plan.estimated):
        design = plan.designs[name]
        start[column : column + len(design.locations)] = plain.location[j]
        scale[system.group[row]] = plain.scale[j]
        w[:, row] = plain.subjects.mode[j] - plain.location[j]
        n_slopes = 0 if design.slopes is None else len(design.slopes.columns)
        names += [name, *(slope_name(name, k) for k in range(n_slopes))]
        column, row = column + len(design.columns), row + 1 + n_slopes
    b, scale, subjects = approach(
        of_cells, system, start, scale, w, rounds=_ROUNDS_OF_EFFECTS, newton_steps=_NEWTON_STEPS
    )
    population = {name: found[0] for name, (_, found) in layout.variables(b[None], scale[None]).items()}
    free = {name: found for name, found in population.items() if name not in layout.means}
    centre = np.zeros((len(system.group), trials.n_subjects))
    ends = np.cumsum([len(plan.designs[name].subject) for name in plan.estimated])
    for name, cells in zip(plan.estimated, np.split(system.fixed @ b, ends[:-1]), strict=True):
        owner = plan.designs[name].subject
        centre[names.index(name)] = np.bincount(owner, cells) / np.bincount(owner)
    likelihood = deviation_likelihood(of_cells, system, b)
    return _Found(likelihood, subjects, np.zeros(len(system.group)), scale[system.group], centre, names, free)


def _modes(
    likelihood: Likelihood, subjects: Subjects, location: np.ndarray, scale: np.ndarray
) -> tuple[Subjects, np.ndarray, np.ndarray]:
    """Best mode of each subject; second best, in conditional sds from it; and how probable that one is."""
    found = [subjects]
    for j in range(len(location)):
        for side in (-_FROM_AFAR, _FROM_AFAR):
            start = location.copy()
            start[j] += side * scale[j]
            start = np.repeat(start[:, None], subjects.mode.shape[1], axis=1)
            found.append(find_subjects(likelihood, start, location, scale, newton_steps=_STEPS_FROM_AFAR))
    evidence = []
    for candidate in found:
        z = (candidate.mode - location[:, None]) / scale[:, None]
        value = likelihood(candidate.mode)[0] - 0.5 * (z**2).sum(axis=0) + 0.5 * np.linalg.slogdet(candidate.shape)[1]
        evidence.append(np.where(candidate.settled & np.isfinite(value), value, -np.inf))
    evidence[0] = np.where(np.isfinite(evidence[0]), evidence[0], -1e300)  # a subject that settled nowhere stays there
    value, rows = np.array(evidence), np.arange(subjects.mode.shape[1])
    mode, shape = np.array([c.mode for c in found]), np.array([c.shape for c in found])
    first = value.argmax(axis=0)
    settled = np.array([c.settled for c in found])[first, rows]
    best = Subjects(mode[first, :, rows].T, shape[first, rows], settled)
    sd = scale[:, None] * np.sqrt(np.diagonal(best.shape, axis1=1, axis2=2).T)
    away = (mode - best.mode) / sd
    rest = np.where((np.abs(away) > _APART).any(axis=1), value, -np.inf)
    second = rest.argmax(axis=0)
    with np.errstate(over="ignore"):
        weight = 1 / (1 + np.exp(value[first, rows] - rest[second, rows]))
    return best, away[second, :, rows].T, weight
