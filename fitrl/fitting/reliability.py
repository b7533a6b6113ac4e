"""Test-retest reliability: the correlation between sessions as a posterior, classical coefficients beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from fitrl.data.findings import listing
from fitrl.errors import FitError
from fitrl.fitting.diagnostics import SAMPLE_DIMS
from fitrl.fitting.effects import diagnosed, summarised
from fitrl.fitting.population import find_subjects
from fitrl.fitting.spread import correlation_matrix, covariance, standard_deviations, with_slopes
from fitrl.fitting.subjects import subject_likelihood
from fitrl.hierarchy.build import prior_draws, separate_prior
from fitrl.hierarchy.correlation import correlation_draws
from fitrl.hierarchy.covariates import Covariate
from fitrl.hierarchy.design import deviations, intercept_only
from fitrl.hierarchy.links import link_of
from fitrl.hierarchy.plan import Plan
from fitrl.language.state import unknown

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

EXPLANATION = (
    "The correlation is that of the subjects' values themselves: the model takes out that each of them is known from a "
    "limited number of trials, which an ICC of separate estimates counts as change between sessions, so that it is too "
    "low. An ICC of posterior means is no remedy: shrinkage moves the sessions of a subject towards each other and "
    "subjects towards the population, so that it may be too high or too low."
)

_PRIOR_DRAWS = 20_000
_HIGH = 0.9  # a prior whose median lies above it has made up its mind


def reliability(fit: Fit, over: str = "session", *, separate: bool = True) -> pd.DataFrame:
    """Tabulate how far subjects keep their place from session to session, parameter by parameter.

    Parameters
    ----------
    fit : Fit
        Whose formulas give subjects a value per session: ``alpha ~ session + (session | subject)``, or
        ``alpha ~ 0 + session + (session | subject)``.
    over : str
        The factor to correlate over: ``"session"``, the user's own name of it, or any other within subjects.
    separate : bool
        Estimate every subject and session alone, too, for the classical coefficients; takes some seconds.

    Returns
    -------
    DataFrame
        One row per parameter. ``post_mean``, ``post_sd`` and the 95 % highest-density interval are those of the
        correlation between any two sessions of the subjects' values, on the link scale, in the population, given the
        other covariates. ``prior_median``, ``prior95_lower``, ``prior95_upper``: what the priors say of it. Then the
        classical coefficients on the same scale: ``icc2`` is ICC(2,1), agreement, ``icc3`` is ICC(3,1),
        consistency; ``_means``: of the posterior means of this fit, ``_separate``: of the most probable values of each
        subject and session alone under the wide priors of ``pooling="none"`` (NaN if not asked for, or if learning goes
        on from session to session); ``n_subjects`` have all sessions. Last the diagnostics of the correlation.

    Raises
    ------
    FitError
        If no formula gives subjects a value per session.

    Notes
    -----
    With the standard deviation ``s`` of subjects and ``t`` of the difference between two sessions, which is coded -1/2
    and +1/2, the correlation is ``(s^2 - t^2/4) / (s^2 + t^2/4)``; with more sessions all pairs share one. It comes
    from these two standard deviations, draw by draw, never from estimates of subjects. The model has the same spread
    between subjects in all sessions, unless it was fitted with ``correlated=True``: with a correlation ``r`` of level
    and difference the sessions' variances are ``s^2 + t^2/4 -+ r s t``, and with more than two sessions the row is the
    mean of all pairs. Where ``sd(group)`` lets groups differ in their spread, it is for their average.

    Why the coefficients differ: the measurement error of separate estimates counts as change, which lowers their ICC;
    shrinkage moves posterior means of one subject towards each other, and all towards the population.

    References
    ----------
    Shrout & Fleiss 1979, Psychological Bulletin, 10.1037/0033-2909.86.2.420 (ICC). Waltmann, Schlagenhauf & Deserno
    2022, Behavior Research Methods, 10.3758/s13428-021-01739-7 (both sessions in one model).

    Examples
    --------
    >>> fitrl.reliability(result, "session")[["parameter", "post_mean", "icc3_separate"]]  # doctest: +SKIP
    """
    sessions = find_sessions(fit, over)
    estimates = _separate(fit, next(iter(sessions.values()))) if separate else {}
    rows = []
    for name, covariate in sessions.items():
        draws = _correlation(fit, name, covariate)
        values = session_values(fit, name, covariate).mean(SAMPLE_DIMS).to_numpy()
        prior = np.quantile(_prior(fit, name, covariate), [0.5, 0.025, 0.975])
        of_means = icc(values)
        alone = icc(estimates[name]) if name in estimates else (np.nan, np.nan)
        rows.append(
            {
                "parameter": name,
                "over": f"{covariate.name}: {', '.join(covariate.levels)}",
                **summarised(draws),
                **dict(zip(("prior_median", "prior95_lower", "prior95_upper"), prior, strict=True)),
                **dict(zip(("icc2_means", "icc3_means"), of_means, strict=True)),
                **dict(zip(("icc2_separate", "icc3_separate"), alone, strict=True)),
                "n_subjects": int(np.isfinite(values).all(axis=1).sum()),
                **diagnosed(fit, draws),
            }
        )
    return pd.DataFrame(rows)


def icc(values: np.ndarray) -> tuple[float, float]:
    """Compute two intraclass correlations of single measurements.

    Parameters
    ----------
    values : ndarray, shape (subject, session)
        Subjects with a missing value are left out.

    Returns
    -------
    icc2 : float
        ICC(2,1), agreement: a shift of everybody from one session to the next counts against it.
    icc3 : float
        ICC(3,1), consistency: such a shift does not. Both are NaN with fewer than two subjects or sessions, or without
        any variance.

    References
    ----------
    Shrout & Fleiss 1979, Psychological Bulletin, 10.1037/0033-2909.86.2.420.

    Examples
    --------
    >>> [round(value, 3) for value in icc(np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]))]
    [0.667, 1.0]
    """
    values = values[np.isfinite(values).all(axis=1)]
    n, k = values.shape
    if n < 2 or k < 2:
        return np.nan, np.nan
    total, subject, session = values.mean(), values.mean(axis=1, keepdims=True), values.mean(axis=0)
    # Mean squares between subjects, between sessions, and of what is left: their BMS, JMS and EMS.
    between = k * float(((subject - total) ** 2).sum()) / (n - 1)
    shift = n * float(((session - total) ** 2).sum()) / (k - 1)
    rest = float(((values - subject - session + total) ** 2).sum()) / ((n - 1) * (k - 1))
    consistency = between + (k - 1) * rest
    agreement = consistency + k * (shift - rest) / n
    return _ratio(between - rest, agreement), _ratio(between - rest, consistency)


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else np.nan


def find_sessions(fit: Fit, over: str) -> dict[str, Covariate]:
    """Find the parameters that differ from session to session in a way that differs between subjects.

    Parameters
    ----------
    fit : Fit
    over : str
        Name of a factor within subjects.

    Returns
    -------
    dict of str to Covariate
        By parameter.

    Raises
    ------
    FitError
        If there is none; says which formula would do.
    """
    formula = f'"alpha ~ {over} + ({over} | subject)"'
    if not fit.plan.effects:
        raise FitError(
            f"this fit has no formulas: a subject has one value of each parameter, whatever the {over}, so that there "
            f"is no reliability to estimate. Fit with --formula {formula}."
        )
    columns = fit.trials.columns
    spellings = {over, columns.get(over), *(name for name, own in columns.items() if own == over)}
    having = {n: c for n in fit.plan.effects for c in fit.plan.designs[n].covariates.values() if c.name in spellings}
    if not having:
        known = {c for n in fit.plan.effects for c in fit.plan.designs[n].covariates}
        raise FitError(f"no formula of this fit has {over}: {unknown('covariate', over, known)} Fit with {formula}.")
    covariate = next(iter(having.values()))
    if covariate.varies == "subject":
        raise FitError(
            f"{covariate.name} does not vary within subjects, so that nothing can be correlated over it. "
            "Name the session, or a condition that every subject went through."
        )
    if not covariate.is_factor:
        raise FitError(
            f"{covariate.name} is a number in this fit, with a straight line through its values. For a correlation "
            f'between its levels fit with "alpha ~ C({over}) + (C({over}) | subject)".'
        )
    found = {n: c for n, c in having.items() if _has_slopes(fit, n, c)}
    if not found:
        raise FitError(
            f"{listing(having)}: {covariate.name} moves all subjects alike in this fit, so that the correlation is 1 "
            f"by construction. Let subjects differ: add ({covariate.name} | subject) to the formula, and fit with "
            "partial pooling."
        )
    return found


def _has_slopes(fit: Fit, name: str, covariate: Covariate) -> bool:
    slopes = fit.plan.designs[name].slopes
    return slopes is not None and covariate.name in slopes.terms and fit.plan.pooling == "partial"


def remarks(fit: Fit, found: pd.DataFrame, over: str = "session") -> list[str]:
    """Say what a table of `reliability` leaves out, and where its priors decide.

    Parameters
    ----------
    fit : Fit
    found : DataFrame
        Of `reliability`.
    over : str

    Returns
    -------
    list of str
        Parameters without a value per session; priors that put the correlation near 1.
    """
    said = []
    alike = [n for n in fit.plan.estimated if n not in set(found["parameter"])]
    if alike:
        said.append(
            f"{listing(alike)}: no values that differ by subject and {over}, so no correlation. "
            f"Add {over} + ({over} | subject) to the formula."
        )
    sure = list(found.loc[found["prior_median"] > _HIGH, "parameter"])
    if sure:
        said.append(
            f"{listing(sure)}: before seeing data the correlation is above {_HIGH:g} with a probability of more than "
            "one half, since the prior lets subjects change little; with few data it stays there. For a study of "
            'reliability widen it, for example slopes = "halfnormal(1)" under [alpha.effects] in --priors FILE.toml.'
        )
    return said


def session_values(fit: Fit, name: str, covariate: Covariate) -> xr.DataArray:
    """Arrange the subjects' values by session, on the link scale.

    Parameters
    ----------
    fit : Fit
    name : str
        A parameter of `find_sessions`.
    covariate : Covariate
        The factor.

    Returns
    -------
    DataArray, dims (chain, draw, subject, level)
        Averaged over what else varies within subjects; NaN where a subject has no such session.
    """
    posterior, p = fit.idata["posterior"].to_dataset(), fit.plan.parameters[name]
    design = fit.plan.designs[name]
    eta = link_of(posterior[name].transpose(*SAMPLE_DIMS, ...).to_numpy(), p.link, p.lower, p.upper)
    level = np.array([covariate.levels.index(label) for label in design.labels[covariate.name]])
    found = np.full((*eta.shape[:2], fit.trials.n_subjects, len(covariate.levels)), np.nan)
    for subject, k in {*zip(design.subject.tolist(), level.tolist(), strict=True)}:
        found[:, :, subject, k] = eta[..., (design.subject == subject) & (level == k)].mean(axis=-1)
    return xr.DataArray(
        found,
        dims=[*SAMPLE_DIMS, "subject", "level"],
        coords={"subject": fit.trials.subjects, "level": list(covariate.levels)},
    )


def _between(sd: np.ndarray, correlation: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean correlation between all pairs of these rows of the slopes; arguments as in `covariance`."""
    variance = [covariance(sd, correlation, row, row) for row in rows]
    found = [
        covariance(sd, correlation, rows[j], rows[k]) / np.sqrt(variance[j] * variance[k])
        for j, k in combinations(range(len(rows)), 2)
    ]
    return np.mean(found, axis=0)


def _rows(fit: Fit, name: str, covariate: Covariate) -> list[np.ndarray]:
    """Rows of the slopes in the sessions, other covariates at their average."""
    design = fit.plan.designs[name]
    return [design.slope_row({covariate.name: level}) for level in covariate.levels]


def _correlation(fit: Fit, name: str, covariate: Covariate) -> np.ndarray:
    """Draws of the correlation between sessions in the population, shape (chain, draw)."""
    return _between(standard_deviations(fit, name), correlation_matrix(fit, name), _rows(fit, name, covariate))


def _prior(fit: Fit, name: str, covariate: Covariate) -> np.ndarray:
    """Draws of the same correlation from the priors of standard deviations and correlations."""
    slopes, rng = fit.plan.designs[name].slopes, np.random.default_rng(0)
    assert slopes is not None
    sigma = prior_draws(fit.plan.parameters[name].scale, _PRIOR_DRAWS, rng)
    prior = fit.plan.effects[name].slopes
    of_terms = np.stack([prior_draws(prior, _PRIOR_DRAWS, rng) for _ in slopes.terms], axis=-1)
    sd = with_slopes(sigma, of_terms, slopes)
    correlation = np.eye(sd.shape[-1])
    if fit.plan.correlated:
        in_all = len(deviations(fit.plan.estimated_designs))
        correlation = correlation_draws(sd.shape[-1], in_all, _PRIOR_DRAWS, rng)
    return _between(sd, correlation, _rows(fit, name, covariate))


def _separate(fit: Fit, covariate: Covariate) -> dict[str, np.ndarray]:
    """Estimate every subject and session alone: by parameter, link scale, shape (subject, level).

    Empty where a sequence of learning runs through several sessions, which cannot be taken apart.
    """
    if covariate.varies != "session":
        return {}
    trials, n_levels = fit.trials, len(covariate.levels)
    place = trials.frame["subject_idx"].to_numpy() * n_levels + covariate.codes
    alone, who = pd.factorize(place)
    frame = trials.frame.assign(subject_idx=alone, subject=alone.astype(str))
    parts = replace(trials, frame=frame)
    plan = fit.plan
    one_each = Plan(plan.model, plan.parameters, "none", plan.fixed, dict.fromkeys(plan.designs, intercept_only(parts)))
    location, scale = np.array([separate_prior(p) for p in plan.estimated.values()]).T
    start = np.repeat(location[:, None], len(who), axis=1)
    found = find_subjects(subject_likelihood(one_each, parts), start, location, scale)
    estimates = {}
    for name, mode in zip(plan.estimated, found.mode, strict=True):
        values = np.full(trials.n_subjects * n_levels, np.nan)
        values[who] = np.where(found.settled, mode, np.nan)
        estimates[name] = values.reshape(trials.n_subjects, n_levels)
    return estimates
