"""A rough first look at the subjects, which tells the sampler how to sample them and where to start."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.fitting.population import Subjects, find_population, find_subjects
from fitrl.fitting.subjects import subject_likelihood
from fitrl.hierarchy.build import normal_prior, separate_prior
from fitrl.hierarchy.parametrization import Information
from fitrl.hierarchy.plan import Plan

log = logging.getLogger("fitrl")

_NEWTON_STEPS, _ROUNDS, _SETTLED = 8, 6, 0.1  # enough to be of use: nothing but the work of the sampler depends on it


def look(plan: Plan, trials: Trials) -> tuple[dict[str, Information], dict[str, Any]]:
    """Find out roughly what choices say of each subject.

    Parameters
    ----------
    plan : Plan
        What is estimated and how.
    trials : Trials
        The data.

    Returns
    -------
    information : dict of str to Information
        By parameter, for `fitrl.hierarchy.parametrization.inform`; empty where there is nothing to tell, or where the
        likelihood is not finite in the middle of the priors.
    start : dict
        Where chains start, for ``initvals`` of `pm.sample`: populations near the mode, subjects drawn from them.

    Notes
    -----
    Newton's method and expectation-maximisation as in the quick fit, broken off early. The variance of a subject's
    value given the population is taken as it is, whatever it owes to other parameters.
    """
    if plan.pooling == "complete" or not plan.estimated:
        return {}, {}
    likelihood = subject_likelihood(plan, trials)
    parameters = plan.estimated
    origin = np.array([normal_prior(p.location) for p in parameters.values()])
    wide = np.array([separate_prior(p) for p in parameters.values()])
    at_origin = likelihood(np.repeat(origin[:, :1], trials.n_subjects, axis=1))
    if not all(np.isfinite(found).all() for found in at_origin):
        log.info("The likelihood is not finite in the middle of the priors: sampling starts uninformed.")
        return {}, {}
    if plan.pooling == "none":
        location, scale = wide.T
        start = np.repeat(location[:, None], trials.n_subjects, axis=1)
        subjects = find_subjects(likelihood, start, location, scale, newton_steps=_NEWTON_STEPS)
        return _information(parameters, subjects, location, scale), {}
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
    )
    begin: dict[str, Any] = {}
    for name, location, scale in zip(parameters, found.location, found.scale, strict=True):
        begin |= {f"{name}_mu": location, f"{name}_sigma": scale, f"{name}_offset": "prior"}
    return _information(parameters, found.subjects, found.location, found.scale), begin


def _information(
    parameters: Any, subjects: Subjects, location: np.ndarray, scale: np.ndarray
) -> dict[str, Information]:
    """Turn modes and variances under a population into what choices alone say."""
    share = np.diagonal(subjects.shape, axis1=1, axis2=2).T  # of the prior variance that is left
    found = {}
    for j, name in enumerate(parameters):
        variance = scale[j] ** 2
        precision = np.maximum(1 / share[j] - 1, 0.0) / variance
        weighted = subjects.mode[j] * (precision + 1 / variance) - location[j] / variance
        usable = np.isfinite(precision) & np.isfinite(weighted)
        found[name] = Information(np.where(usable, precision, 0.0), np.where(usable, weighted, 0.0))
    return found
