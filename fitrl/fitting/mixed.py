"""Modes of effects, populations and subjects together: the quick fit of models with formulas, on arrays.

Everything here is on the link scale and knows nothing of models. What `fitrl.fitting.population` does where subjects
share a location and nothing else, this does where cells of subjects follow a design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from fitrl.errors import FitError
from fitrl.fitting.population import CURVATURE, Likelihood, Subjects, best_scale, find_subjects
from fitrl.language.parameters import Prior

CellLikelihood = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_DIFFERENCE = 1e-4  # half-width of the difference quotients of the gradient
_LONGEST_STEP = 3.0  # of a subject, in standard deviations of the population
_LONGEST_STEP_OF_EFFECTS = 1.0  # in standard deviations of their prior
_HALVINGS = 8
_ROUNDS = 200
_WARM_UP = 5  # rounds before standard deviations move: the first modes are far off
_INNER = 100
_APPROACH, _NEWTON_STEPS = 3, 10  # rounds, and steps of each subject, before parabolas are laid where subjects stand
_NEAR = 0.5  # largest move of a subject, in standard deviations, at which parabolas are trusted
_LARGEST_RATIO = 1.35
_SETTLED = 1e-3  # change in one round, in standard errors
_SCALES = 50  # sets of standard deviations that stand for what is possible


@dataclass(frozen=True)
class System:
    """Linear predictors of the cells of all parameters: ``fixed @ b + (random * w[owner]).sum()``.

    Attributes
    ----------
    fixed : ndarray, shape (cell, coefficient)
    random : ndarray, shape (cell, deviation)
        Multiplied with the deviations of the cell's subject, whose standard deviation is that of their group.
    owner : ndarray of int, shape (cell,)
        Subject of each cell.
    n_subjects : int
    mean, sd : ndarray, shape (coefficient,)
        Normal priors of the coefficients.
    group : ndarray of int, shape (deviation,)
        Which standard deviation each deviation has.
    scales : sequence of Prior
        Of the standard deviations.
    start : ndarray, shape (standard deviation,)
        To begin with; better too wide than too narrow.
    """

    fixed: np.ndarray
    random: np.ndarray
    owner: np.ndarray
    n_subjects: int
    mean: np.ndarray
    sd: np.ndarray
    group: np.ndarray
    scales: Sequence[Prior]
    start: np.ndarray

    def cells(self, b: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Linear predictors, shape (..., cell), of coefficients (..., coefficient) and deviations (..., subject, d)."""
        return b @ self.fixed.T + (self.random * w[..., self.owner, :]).sum(axis=-1)

    def gradient(self, of_cells: np.ndarray) -> np.ndarray:
        """From the gradient by cell to that by coefficient and deviation, each subject on its own: (subject, n)."""
        rows = np.concatenate([self.fixed, self.random], axis=1) * of_cells[:, None]
        columns = [np.bincount(self.owner, weights=column, minlength=self.n_subjects) for column in rows.T]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Mode:
    """The most probable effects and subjects, and how uncertain they are.

    Attributes
    ----------
    b : ndarray, shape (coefficient,)
    b_covariance : ndarray, shape (coefficient, coefficient)
        With subjects integrated out, at `scale`.
    w : ndarray, shape (subject, deviation)
        At `b`.
    scale : ndarray, shape (standard deviation,)
    log_scale_covariance : ndarray
        Of the log of the scale.
    parabola : tuple of ndarray
        Likelihoods of subjects near there in coefficients and deviations: linear terms, shape (subject, n), and
        curvatures, shape (subject, n, n).
    n_rounds : int
    settled : bool
    """

    b: np.ndarray
    b_covariance: np.ndarray
    w: np.ndarray
    scale: np.ndarray
    log_scale_covariance: np.ndarray
    parabola: tuple[np.ndarray, np.ndarray]
    n_rounds: int
    settled: bool


def deviation_likelihood(likelihood: CellLikelihood, system: System, b: np.ndarray) -> Likelihood:
    """Likelihood of the deviations of subjects, shape (deviation, subject), at given coefficients."""

    def own(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, gradient = likelihood(system.cells(b, w.T))
        return total, system.gradient(gradient)[:, len(b) :].T

    return own


def approach(
    likelihood: CellLikelihood,
    system: System,
    b: np.ndarray,
    scale: np.ndarray,
    w: np.ndarray,
    *,
    rounds: int,
    newton_steps: int,
) -> tuple[np.ndarray, np.ndarray, Subjects]:
    """Take a few steps towards the most probable effects, standard deviations and subjects.

    Parameters
    ----------
    likelihood, system
        As in `find_mode`.
    b, scale, w : ndarray
        Where to begin: coefficients, standard deviations, and deviations, shape (subject, deviation).
    rounds : int
        Steps of coefficients and standard deviations.
    newton_steps : int
        Of every subject in each round.

    Returns
    -------
    b, scale : ndarray
    subjects : Subjects
        Given these.

    Notes
    -----
    Unlike in `find_mode`, subjects go near their modes before parabolas are laid there, which takes longer and does not
    run away along ridges.
    """
    for _ in range(rounds):
        w = _deviations(likelihood, system, b, scale, w, newton_steps).mode.T
        solved = _solve(system, _parabola(likelihood, system, b, w, scale), scale)
        scale = np.clip(_scales(system, replace(solved, w=w)), *_reach(scale))
        step = (solved.b - b) / system.sd
        step *= system.sd * min(1.0, _LONGEST_STEP_OF_EFFECTS / max(np.abs(step).max(), 1e-12))
        b, w = b + step, w + np.einsum("idb,b->id", solved.w_on_b, step)
    return b, scale, _deviations(likelihood, system, b, scale, w, newton_steps)


def _deviations(
    likelihood: CellLikelihood, system: System, b: np.ndarray, scale: np.ndarray, start: np.ndarray, newton_steps: int
) -> Subjects:
    own, sd = deviation_likelihood(likelihood, system, b), scale[system.group]
    return find_subjects(own, start.T, np.zeros(len(sd)), sd, newton_steps=newton_steps)


def find_mode(likelihood: CellLikelihood, system: System) -> Mode:
    """Find the most probable effects, standard deviations and subjects.

    Parameters
    ----------
    likelihood : callable
        From linear predictors, shape (cell,), to log-likelihoods, shape (subject,), and their gradient, shape (cell,).
    system : System

    Returns
    -------
    Mode

    Raises
    ------
    FitError
        If there is no mode to be found.

    Notes
    -----
    Likelihoods are replaced by parabolas where the subjects stand; for these, coefficients and subjects have a closed
    form (Laird & Ware 1982, 10.2307/2529876) and standard deviations follow by expectation-maximisation, with the
    uncertainty of both taken into account. Subjects then move there, by at most what makes them more probable, and so
    on (penalised quasi-likelihood, Breslow & Clayton 1993, 10.1080/01621459.1993.10594284, here with priors). Where a
    likelihood curves the wrong way it is taken to say nothing.
    """
    with that_may_run_away():
        return _find_mode(likelihood, system)


@contextmanager
def that_may_run_away() -> Iterator[None]:
    """Say what to do where a search for modes ends in what cannot be inverted, with a `FitError`."""
    try:
        yield
    except np.linalg.LinAlgError:
        raise FitError(
            "the quick fit ran away: these data have no mode that it could find, or too little to tell effects from "
            "the spread of subjects. Sample (without quick)."
        ) from None


def _find_mode(likelihood: CellLikelihood, system: System) -> Mode:
    w = np.zeros((system.n_subjects, system.random.shape[1]))
    b, scale, subjects = approach(
        likelihood,
        system,
        system.mean.astype(float),
        system.start.astype(float),
        w,
        rounds=_APPROACH,
        newton_steps=_NEWTON_STEPS,
    )
    w = subjects.mode.T
    settled, near = False, False
    for n_rounds in range(1, _ROUNDS + 1):
        parabola = _parabola(likelihood, system, b, w, scale)
        last_b, last_w, last_scale = b, w, scale
        # Far from the modes parabolas lead astray, the more the wider the population: there its spread waits.
        for _ in range(_INNER if near and n_rounds > _WARM_UP else 0):
            new = np.clip(_scales(system, _solve(system, parabola, scale)), *_reach(last_scale))
            moved = float(np.abs(np.log(new / scale)).max(initial=0.0)) * np.sqrt(2 * system.n_subjects)
            scale = new
            if moved < _SETTLED / 10:
                break
        solved = _solve(system, parabola, scale)
        step = (solved.b - b) / system.sd
        b = b + system.sd * step * min(1.0, _LONGEST_STEP_OF_EFFECTS / max(np.abs(step).max(), 1e-12))
        w = _better(likelihood, system, b, w, solved.w + np.einsum("idb,b->id", solved.w_on_b, b - solved.b), scale)
        far = float((np.abs(w - last_w) / scale[system.group]).max(initial=0.0))
        if not near and n_rounds > _WARM_UP:
            scale = np.clip(_scales(system, replace(solved, w=w)), *_reach(last_scale))
        near = far < _NEAR
        change = max(
            float((np.abs(b - last_b) / np.sqrt(np.diagonal(solved.b_covariance))).max()),
            float(np.abs(np.log(scale / last_scale)).max(initial=0.0)) * np.sqrt(2 * system.n_subjects),
            far,
        )
        if n_rounds > _WARM_UP and change < _SETTLED:
            settled = True
            break
    parabola = _parabola(likelihood, system, b, w, scale)
    solved = _solve(system, parabola, scale)
    of_log_scale = _log_scale_covariance(system, solved, scale)
    return Mode(b, solved.b_covariance, w, scale, of_log_scale, parabola, n_rounds, settled)


def draw_around(
    system: System, found: Mode, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw coefficients, deviations and standard deviations around a mode.

    Parameters
    ----------
    system : System
    found : Mode
        Of this system.
    draws : int
    rng : numpy.random.Generator

    Returns
    -------
    b : ndarray, shape (draw, coefficient)
    w : ndarray, shape (draw, subject, deviation)
    scale : ndarray, shape (draw, standard deviation)

    Raises
    ------
    FitError
        If so little is known of the standard deviations that there is nothing to draw.

    Notes
    -----
    Given standard deviations, coefficients and subjects are normal where likelihoods are parabolas. That is solved for
    50 sets of standard deviations, so that what is not known of these widens the rest.
    """
    n = min(_SCALES, draws)
    scales = np.empty((n, 0))  # with complete pooling there are none
    if len(found.scale):
        mean = np.zeros(len(found.scale))
        scales = found.scale * np.exp(rng.multivariate_normal(mean, found.log_scale_covariance, size=n, method="eigh"))
    of_draw = np.arange(draws) % n
    b, w = np.empty((draws, len(found.b))), np.empty((draws, *found.w.shape))
    for k in range(n):
        at = of_draw == k
        with that_may_run_away():
            solved = _solve(system, found.parabola, scales[k])
            root = np.linalg.cholesky(solved.w_covariance)
        away = rng.multivariate_normal(np.zeros(len(found.b)), solved.b_covariance, size=at.sum(), method="eigh")
        noise = rng.normal(size=(at.sum(), *found.w.shape))
        b[at] = solved.b + away
        w[at] = solved.w + np.einsum("idb,sb->sid", solved.w_on_b, away) + np.einsum("ide,sie->sid", root, noise)
    return b, w, scales[of_draw]


def _reach(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far standard deviations may move in one round."""
    return scale / _LARGEST_RATIO, scale * _LARGEST_RATIO


@dataclass(frozen=True)
class _Solved:
    """Coefficients and subjects where likelihoods are parabolas, at given standard deviations.

    Attributes
    ----------
    b, b_covariance, w
        As in `Mode`.
    w_covariance : ndarray, shape (subject, deviation, deviation)
        Given the coefficients.
    w_on_b : ndarray, shape (subject, deviation, coefficient)
        How the mode of a subject follows the coefficients.
    """

    b: np.ndarray
    b_covariance: np.ndarray
    w: np.ndarray
    w_covariance: np.ndarray
    w_on_b: np.ndarray


def _parabola(
    likelihood: CellLikelihood, system: System, b: np.ndarray, w: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear terms and curvatures of subjects' likelihoods in coefficients and deviations: (subject, n), (.., n, n)."""
    here, n_fixed = system.cells(b, w), len(b)
    of = np.concatenate([system.fixed, system.random], axis=1)
    unit = np.concatenate([system.sd, scale[system.group]])
    hessian = np.empty((system.n_subjects, len(unit), len(unit)))
    for j in range(len(unit)):
        shift = _DIFFERENCE * of[:, j]
        ahead, behind = (system.gradient(likelihood(here + sign * shift)[1]) for sign in (1, -1))
        hessian[:, j] = (behind - ahead) / (2 * _DIFFERENCE) * unit[j] * unit
    hessian = np.where(np.isfinite(hessian), hessian, 0.0)
    size, axes = np.linalg.eigh((hessian + np.swapaxes(hessian, 1, 2)) / 2)
    scaled = (axes * np.maximum(size, 0.0)[:, None, :]) @ np.swapaxes(axes, 1, 2)
    curvature = scaled / (unit[:, None] * unit)
    gradient = system.gradient(likelihood(here)[1])
    gradient = np.where(np.isfinite(gradient), gradient, 0.0)
    at = np.concatenate([np.broadcast_to(b, (system.n_subjects, n_fixed)), w], axis=1)
    return gradient + np.einsum("ijk,ik->ij", curvature, at), curvature


def _solve(system: System, parabola: tuple[np.ndarray, np.ndarray], scale: np.ndarray) -> _Solved:
    linear, curvature = parabola
    n = len(system.mean)
    precision = system.sd**-2.0
    with_b = curvature[:, :n, n:]
    # In units of the population: where its spread is next to nothing the precisions would drown the rest.
    sd = scale[system.group]
    in_units = np.linalg.inv(sd[:, None] * curvature[:, n:, n:] * sd + np.eye(len(sd)))
    covariance = sd[:, None] * in_units * sd
    on_b = -covariance @ np.swapaxes(with_b, 1, 2)
    of_b = np.linalg.inv(np.diag(precision) + (curvature[:, :n, :n] + with_b @ on_b).sum(axis=0))
    right = precision * system.mean + (linear[:, :n] + np.einsum("idb,id->ib", on_b, linear[:, n:])).sum(axis=0)
    if not (np.isfinite(of_b).all() and np.diagonal(of_b).min(initial=1.0) > 0):
        raise np.linalg.LinAlgError
    b = of_b @ right
    w = np.einsum("ide,ie->id", covariance, linear[:, n:]) + np.einsum("idb,b->id", on_b, b)
    return _Solved(b, of_b, w, covariance, on_b)


def _scales(system: System, solved: _Solved) -> np.ndarray:
    """Most probable standard deviations, given what is known of the subjects."""
    own = np.diagonal(solved.w_covariance, axis1=1, axis2=2)
    shared = np.einsum("idb,bc,idc->id", solved.w_on_b, solved.b_covariance, solved.w_on_b)
    squares = (solved.w**2 + own + shared).sum(axis=0)
    found = [
        best_scale(float(squares[system.group == g].sum()), system.n_subjects * int((system.group == g).sum()), prior)
        for g, prior in enumerate(system.scales)
    ]
    return np.array(found)


def _better(
    likelihood: CellLikelihood, system: System, b: np.ndarray, old: np.ndarray, new: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Move subjects towards the top of their parabola as far as it makes them more probable."""
    sd = scale[system.group]

    def objective(w: np.ndarray) -> np.ndarray:
        value = likelihood(system.cells(b, w))[0]
        return np.where(np.isfinite(value), value, -np.inf) - 0.5 * ((w / sd) ** 2).sum(axis=1)

    step = new - old
    length = np.abs(step / sd).max(axis=1, initial=0.0)
    step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-12))[:, None]
    before = objective(old)
    for _ in range(_HALVINGS):
        after = objective(old + step)
        # Rounding lets the value fall a little next to the mode.
        worse = ~(after >= before - 1e-10 * (1 + np.abs(before)))
        if not worse.any():
            return old + step
        step[worse] /= 2
    step[worse] = 0.0
    return old + step


def _log_scale_covariance(system: System, solved: _Solved, scale: np.ndarray) -> np.ndarray:
    """As in `fitrl.fitting.population`: what subjects tell once the uncertainty about themselves is taken off."""
    sd = scale[system.group]
    informed = np.eye(len(sd)) - solved.w_covariance / (sd[:, None] * sd)
    squares = 2 * (informed**2).sum(axis=0)
    member = system.group[None, :] == np.arange(len(scale))[:, None]
    prior = [CURVATURE[p.family](s, p.args) for s, p in zip(scale, system.scales, strict=True)]
    return np.linalg.inv(member @ squares @ member.T + np.diag(prior))
