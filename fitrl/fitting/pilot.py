"""A rough first look at the subjects, which tells the sampler how to sample them and where to start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.fitting.population import Likelihood, Subjects, find_population, find_subjects
from fitrl.fitting.subjects import subject_likelihood
from fitrl.hierarchy.build import normal_prior, separate_prior
from fitrl.hierarchy.parametrization import Information
from fitrl.hierarchy.plan import Plan

log = logging.getLogger("fitrl")

# Enough to be of use: only the work of the sampler depends on it.
_NEWTON_STEPS, _ROUNDS, _SETTLED = 5, 12, 0.3
_FROM_AFAR, _STEPS_FROM_AFAR = 2.0, 10  # where other modes are looked for, in population sds along each parameter
_APART = 3.0  # conditional sds between two modes
_SPREAD = 1.5  # of the starts of chains around a mode, in conditional sds: wider than the posterior


@dataclass(frozen=True)
class Pilot:
    """What a first look found.

    Attributes
    ----------
    information : dict of str to Information
        What choices say of each subject, by parameter; empty if nothing was found.
    population : dict
        Where chains start: ``<p>_mu`` (or ``<p>_level``) and ``<p>_sigma``.
    other : ndarray, shape (parameter, subject)
        Each subject's second best mode, in conditional sds from the best one; 0 if there is none.
    weight : ndarray, shape (subject,)
        Posterior probability of that second mode.
    correlation : ndarray, shape (subject, parameter, parameter)
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
        return {f"{name}_offset": values for name, values in zip(self.information, at, strict=True)}


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
    subject's value given the population is taken as it is, whatever it owes to other parameters. Formulas are left
    aside: every subject has one value here, that at the average of its cells.
    """
    parameters = plan.estimated
    n = trials.n_subjects
    nothing = Pilot({}, {}, np.zeros((0, n)), np.zeros(n), np.zeros((n, 0, 0)))
    if plan.pooling == "complete" or not parameters:
        return nothing
    likelihood = subject_likelihood(plan, trials)
    origin = np.array([normal_prior(p.location) for p in parameters.values()])
    wide = np.array([separate_prior(p) for p in parameters.values()])
    at_origin = likelihood(np.repeat(origin[:, :1], trials.n_subjects, axis=1))
    if not all(np.isfinite(found).all() for found in at_origin):
        log.info("The likelihood is not finite in the middle of the priors: sampling starts uninformed.")
        return nothing
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
            population[f"{name}_sigma"] = float(scale[j])
            levels = len(plan.designs[name].locations)  # more than one for cell means
            start_at = float(location[j]) if levels == 1 else np.full(levels, location[j])
            population[f"{name}_mu" if levels == 1 else f"{name}_level"] = start_at
    best, second, weight = _modes(likelihood, subjects, location, scale)
    share = np.diagonal(best.shape, axis1=1, axis2=2).T  # of the prior variance that is left
    correlation = best.shape / np.sqrt(share.T[:, :, None] * share.T[:, None, :])
    information = {}
    for j, name in enumerate(parameters):
        variance = scale[j] ** 2
        precision = np.maximum(1 / share[j] - 1, 0.0) / variance
        information[name] = Information(precision, best.mode[j] * (precision + 1 / variance) - location[j] / variance)
    return Pilot(information, population, second, weight, correlation)


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
