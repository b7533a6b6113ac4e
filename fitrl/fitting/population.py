"""Modes of subjects, and the population that makes them likely: expectation-maximisation on arrays.

Everything here is on the link scale and knows nothing of models: a likelihood is a function from values,
shape (parameter, subject), to the log-likelihood of every subject and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from fitrl.language.parameters import Prior

Likelihood = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_DIFFERENCE = 1e-4  # half-width of the difference quotients of the gradient
_LONGEST_STEP = 3.0  # in prior standard deviations
_DECREMENT = 1e-8  # squared distance to the mode in posterior standard deviations
_NEWTON_STEPS = 200
_SETTLED = 1e-3  # change of the population in one round, in standard errors
_ROUNDS = 500
# Rounds in which the likelihood is a parabola are cheap: that many follow each of the first real ones.
_SHORTCUTS, _WITH_SHORTCUTS = 200, 30

# Of the log density of a between-subject sd: its slope and its curvature (downwards) in log s. The log of a
# uniform number below a bound has standard deviation 1, hence its curvature.
_SLOPE: dict[str, Callable[[float, tuple[float, ...]], float]] = {
    "halfnormal": lambda s, a: -((s / a[0]) ** 2),
    "exponential": lambda s, a: -a[0] * s,
    "halfcauchy": lambda s, a: -2 * s**2 / (a[0] ** 2 + s**2),
    "uniform": lambda s, a: 0.0,
}
CURVATURE: dict[str, Callable[[float, tuple[float, ...]], float]] = {
    "halfnormal": lambda s, a: 2 * (s / a[0]) ** 2,
    "exponential": lambda s, a: a[0] * s,
    "halfcauchy": lambda s, a: (2 * a[0] * s / (a[0] ** 2 + s**2)) ** 2,
    "uniform": lambda s, a: 1.0,
}


@dataclass(frozen=True)
class Subjects:
    """A normal approximation for every subject, given the population.

    Attributes
    ----------
    mode : ndarray, shape (parameter, subject)
        Most probable values.
    shape : ndarray, shape (subject, parameter, parameter)
        Covariance around it in units of the population: the identity where choices say nothing.
    settled : ndarray of bool, shape (subject,)
        Whether the mode was found to the last digit.
    """

    mode: np.ndarray
    shape: np.ndarray
    settled: np.ndarray

    @property
    def n_unsettled(self) -> int:
        """Subjects whose mode was not found."""
        return int((~self.settled).sum())


@dataclass(frozen=True)
class Population:
    """The most probable population, and how uncertain it is.

    Attributes
    ----------
    location, scale : ndarray, shape (parameter,)
        Mean and standard deviation over subjects.
    location_covariance : ndarray, shape (parameter, parameter)
        Of the location.
    log_scale_covariance : ndarray, shape (parameter, parameter)
        Of the log of the scale.
    subjects : Subjects
        Given this population.
    n_rounds : int
        Rounds of expectation-maximisation.
    settled : bool
        Whether the last of them moved the population no more.
    """

    location: np.ndarray
    scale: np.ndarray
    location_covariance: np.ndarray
    log_scale_covariance: np.ndarray
    subjects: Subjects
    n_rounds: int
    settled: bool


def find_subjects(
    likelihood: Likelihood,
    start: np.ndarray,
    location: np.ndarray,
    scale: np.ndarray,
    *,
    newton_steps: int = _NEWTON_STEPS,
) -> Subjects:
    """Find the mode and the curvature of every subject's posterior under a normal prior.

    Parameters
    ----------
    likelihood : callable
        From values, shape (parameter, subject), to log-likelihoods, shape (subject,), and their gradient,
        shape (parameter, subject). Subjects must not depend on each other.
    start : ndarray, shape (parameter, subject)
        Where to begin.
    location, scale : ndarray, shape (parameter,)
        Mean and standard deviation of the prior.
    newton_steps : int
        When to give up on subjects whose mode is not found.

    Returns
    -------
    Subjects

    Notes
    -----
    Newton's method, damped for each subject on its own. Where a likelihood is flat or curves the wrong way
    it is taken to say nothing, so that the curvature is that of the prior.

    Examples
    --------
    >>> def one_measurement_each(eta):
    ...     return -0.5 * ((eta - 2.0) ** 2).sum(axis=0), 2.0 - eta
    >>> found = find_subjects(one_measurement_each, np.zeros((1, 3)), np.zeros(1), np.ones(1))
    >>> found.mode.round(3).tolist()
    [[1.0, 1.0, 1.0]]
    """
    location, scale = location[:, None], scale[:, None]

    def objective(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = likelihood(location + scale * z)
        return value - 0.5 * (z**2).sum(axis=0), (scale * gradient - z).T[..., None]

    z = (start - location) / scale
    value, gradient = objective(z)
    damping = np.full(z.shape[1], 1e-3)
    for _ in range(newton_steps):
        size, axes = _curvature(likelihood, location + scale * z, scale)
        along = np.swapaxes(axes, 1, 2) @ gradient
        left = (along[..., 0] ** 2 / size).sum(axis=1) > _DECREMENT
        if not left.any():
            break
        step = (axes @ (along / (size + damping[:, None])[..., None]))[..., 0].T
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.linalg.norm(step, axis=0), 1e-12))
        new_value, new_gradient = objective(z + step)
        # Rounding lets the value fall a little next to the mode. A value that is not a number is not better.
        better = new_value >= value - 1e-10 * (1 + np.abs(value))
        better &= np.isfinite(new_gradient).all(axis=(1, 2))
        z = np.where(better, z + step, z)
        value = np.where(better, new_value, value)
        gradient = np.where(better[:, None, None], new_gradient, gradient)
        damping = np.where(better, np.maximum(damping / 10, 1e-6), damping * 10)
    return Subjects(location + scale * z, (axes / size[:, None, :]) @ np.swapaxes(axes, 1, 2), ~left)


def _curvature(likelihood: Likelihood, eta: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and axes of the negative Hessian of every subject, in units of the prior: never below 1."""
    n_parameters, n_subjects = eta.shape
    hessian = np.empty((n_subjects, n_parameters, n_parameters))
    for j in range(n_parameters):
        shift = np.zeros((n_parameters, 1))
        shift[j] = _DIFFERENCE
        ahead, behind = likelihood(eta + shift)[1], likelihood(eta - shift)[1]
        hessian[:, j] = (scale[j] * scale * (behind - ahead) / (2 * _DIFFERENCE)).T
    hessian = np.where(np.isfinite(hessian), hessian, 0.0)
    size, axes = np.linalg.eigh((hessian + np.swapaxes(hessian, 1, 2)) / 2)
    return 1.0 + np.maximum(size, 0.0), axes


def find_population(
    likelihood: Likelihood,
    n_subjects: int,
    location_mean: np.ndarray,
    location_sd: np.ndarray,
    scales: Sequence[Prior],
    start_scale: np.ndarray,
    *,
    newton_steps: int = _NEWTON_STEPS,
    rounds: int = _ROUNDS,
    settled: float = _SETTLED,
    shortcuts: bool = True,
) -> Population:
    """Find the population by expectation-maximisation, with priors on its location and scale.

    Parameters
    ----------
    likelihood : callable
        As in `find_subjects`.
    n_subjects : int
        Number of subjects.
    location_mean, location_sd : ndarray, shape (parameter,)
        Normal prior on the location.
    scales : sequence of Prior
        Prior on the between-subject standard deviation of each parameter.
    start_scale : ndarray, shape (parameter,)
        Standard deviations to begin with; better too wide than too narrow.
    newton_steps, rounds : int
        When to give up on a subject in a round, and on the population.
    settled : float
        Change of the population in one round, in standard errors, that counts as none.
    shortcuts : bool
        Whether each round goes on with parabolas in place of likelihoods. They take modes for granted: not with few
        `newton_steps`, which leave some subjects on the way.

    Returns
    -------
    Population

    Notes
    -----
    In each round subjects get their mode and curvature given the population (E), then the population
    becomes the one that is most probable given these (M). Both steps are repeated with likelihoods replaced
    by parabolas at the modes before the likelihood is asked again, which ends at the same point. The scale
    is maximised in its logarithm, which keeps it away from 0 with few subjects.

    The covariances say what subjects tell about the population once the uncertainty about themselves is
    taken off (missing information, Louis 1982); with long records the standard errors approach
    ``scale / sqrt(n)`` and, for the log of the scale, ``1 / sqrt(2 n)``.
    """
    precision = location_sd**-2.0
    location, scale = location_mean.astype(float), start_scale.astype(float)
    mode = np.repeat(location[:, None], n_subjects, axis=1)

    def maximised(mode: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = n_subjects / scale**2
        best = (weight * mode.mean(axis=1) + precision * location_mean) / (weight + precision)
        squares = ((mode - best[:, None]) ** 2 + variance).sum(axis=1)
        return best, np.array([best_scale(q, n_subjects, p) for q, p in zip(squares, scales, strict=True)])

    change = np.inf
    for n_rounds in range(1, rounds + 1):
        subjects = find_subjects(likelihood, mode, location, scale, newton_steps=newton_steps)
        if change < settled or n_rounds == rounds:
            break
        before, mode = (location, scale), subjects.mode
        if shortcuts:
            quadratic = _quadratic(subjects, location, scale)
            for _ in range(_SHORTCUTS if n_rounds <= _WITH_SHORTCUTS else 1):
                last = location, scale
                location, scale = maximised(*_moments(*quadratic, *last))
                if _moved(*last, location, scale, n_subjects) < settled / 10:
                    break
        else:
            location, scale = maximised(mode, scale[:, None] ** 2 * np.diagonal(subjects.shape, axis1=1, axis2=2).T)
        change = _moved(*before, location, scale, n_subjects)
    curvature = [CURVATURE[prior.family](s, prior.args) for s, prior in zip(scale, scales, strict=True)]
    of_location, of_log_scale = _covariances(subjects, scale, precision, np.array(curvature))
    return Population(location, scale, of_location, of_log_scale, subjects, n_rounds, change < settled)


def _covariances(
    subjects: Subjects, scale: np.ndarray, precision: np.ndarray, curvature: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the location and of the log of the scale; `precision` and `curvature` are those of priors."""
    informed = np.eye(len(scale)) - subjects.shape  # 0 where choices say nothing, the identity where they say all
    of_location = np.linalg.inv(informed.sum(axis=0) + np.diag(precision * scale**2))
    return scale[:, None] * of_location * scale, np.linalg.inv(2 * (informed**2).sum(axis=0) + np.diag(curvature))


def _quadratic(subjects: Subjects, location: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likelihoods as parabolas at the modes: linear terms (subject, parameter), curvatures (subject, P, P)."""
    curvature = (np.linalg.inv(subjects.shape) - np.eye(len(scale))) / (scale[:, None] * scale)
    slope = (subjects.mode.T - location) / scale**2  # at a mode the prior pulls as hard the other way
    return slope + np.einsum("ijk,ki->ij", curvature, subjects.mode), curvature


def _moments(
    linear: np.ndarray, curvature: np.ndarray, location: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of subjects under another population, shape (parameter, subject) each."""
    covariance = np.linalg.inv(curvature + np.diag(scale**-2.0))
    mean = np.einsum("ijk,ik->ji", covariance, linear + location / scale**2)
    return mean, np.diagonal(covariance, axis1=1, axis2=2).T


def _moved(
    location: np.ndarray, scale: np.ndarray, new_location: np.ndarray, new_scale: np.ndarray, n_subjects: int
) -> float:
    """Largest change of a population, in standard errors."""
    of_location = np.abs(new_location - location) / scale * np.sqrt(n_subjects)
    of_scale = np.abs(np.log(new_scale / scale)) * np.sqrt(2 * n_subjects)
    return float(max(of_location.max(), of_scale.max()))


def best_scale(squares: float, n_subjects: int, prior: Prior) -> float:
    """Find the most probable between-subject standard deviation, maximised in its logarithm.

    Parameters
    ----------
    squares : float
        Expected sum of squared distances of subjects from the location.
    n_subjects : int
        Number of subjects.
    prior : Prior
        Of the standard deviation.

    Examples
    --------
    >>> round(best_scale(50.0, 51, Prior("halfcauchy", (1e6,))), 4)
    1.0
    """

    def slope(log_scale: float) -> float:
        scale = float(np.exp(log_scale))
        return squares / scale**2 - n_subjects + 1 + _SLOPE[prior.family](scale, prior.args)

    low, high = prior.args if prior.family == "uniform" else (0.0, np.inf)
    low, high = np.log(np.clip([low, high], 1e-6, 1e6))
    if slope(low) <= 0:
        return float(np.exp(low))
    if slope(high) >= 0:
        return float(np.exp(high))
    return float(np.exp(brentq(slope, low, high)))
