"""What choices can tell about the parameters of a model: flat directions, and recovery of known values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitrl.conformance.situation import Played, Situation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities
from fitrl.fitting.population import find_subjects

# An eigenvalue of the information below this share of the largest one is zero but for rounding.
_FLAT = 1e-10
_STEP = 1e-3


def trial_scores(situation: Situation, played: Played) -> np.ndarray:
    """Slope of the log probability of every scored response in every parameter, by central differences.

    Returns
    -------
    ndarray, shape (response, parameter)
        Per population standard deviation of the parameter on the link scale; responses of all emissions, one after the
        other, in the order of `scored_agents`.
    """
    eta, rows = played.eta, played.rows
    steps = np.array([1, -1, 2, -2]) * _STEP
    shifted = np.repeat(eta[:, None, :], 4 * len(eta), axis=1)
    for j, sd in enumerate(situation.spread):
        shifted[j, 4 * j : 4 * j + 4] += (steps * sd)[:, None]
    lanes = np.arange(rows.n_sequences)
    located = {name: Located(values, lanes) for name, values in situation.natural(shifted).items()}
    found = log_probabilities(situation.model, played.task, located, rows.columns, lay_out(rows.sequence))
    scored = [score[:, rows.columns[f"mask_{name}"]] for name, score in found.items()]
    up, down, far_up, far_down = (np.concatenate(scored, axis=1)[k::4] for k in range(4))
    return ((8 * (up - down) - (far_up - far_down)) / (12 * _STEP)).T


def scored_agents(situation: Situation, played: Played) -> np.ndarray:
    """Agent of every scored response, in the order of `trial_scores`."""
    names = situation.program.log_probability
    return np.concatenate([played.rows.sequence[played.rows.columns[f"mask_{name}"]] for name in names])


def flat_directions(scores: np.ndarray, agent: np.ndarray, names: list[str]) -> list[dict[str, float]]:
    """Find directions in which parameters can be moved without any change of the likelihood.

    Parameters
    ----------
    scores : ndarray, shape (response, parameter)
        Slopes of the log probability of every response.
    agent : ndarray of int, shape (response,)
        Who responded; every agent has parameters of its own.
    names : list of str
        Parameters.

    Returns
    -------
    list of dict of str to float
        For each flat direction the parameters that take part and their weights, the largest being 1.

    Notes
    -----
    Parameters are locally identified where the information matrix, the sum of outer products of the scores, is of full
    rank (Rothenberg 1971, Econometrica, 10.2307/1913267). A direction counts as flat only if it is so for every
    agent: one agent who never met a loss says nothing about losses.
    """
    found = [{name: 1.0} for name, column in zip(names, scores.T, strict=True) if not np.abs(column).max() > 1e-9]
    rest = [j for j, name in enumerate(names) if not any(name in direction for direction in found)]
    if len(rest) < 2:
        return found
    flattest: tuple[int, np.ndarray] | None = None
    for a in np.unique(agent):
        own = scores[agent == a][:, rest]
        size, axes = np.linalg.eigh(own.T @ own)
        n_flat = int((size < _FLAT * size[-1]).sum())
        if flattest is None or n_flat < flattest[0]:
            flattest = n_flat, axes
    assert flattest is not None
    n_flat, axes = flattest
    for axis in axes[:, :n_flat].T:
        weights = axis / axis[np.argmax(np.abs(axis))]
        found.append({names[j]: float(w) for j, w in zip(rest, weights, strict=True) if abs(w) > 1e-3})
    return found


@dataclass(frozen=True)
class Recovery:
    """How well known parameters came back.

    Attributes
    ----------
    r : dict of str to float
        Correlation of truth and estimate over agents, link scale.
    learned : dict of str to float
        One minus the mean posterior variance over the variance of the population: 0 where choices say nothing.
    n_agents, n_trials : int
        Size.
    """

    r: dict[str, float]
    learned: dict[str, float]
    n_agents: int
    n_trials: int


def recover(situation: Situation, played: Played) -> Recovery:
    """Estimate every agent's parameters by their mode under the population they were drawn from."""
    rows, names = played.rows, list(situation.parameters)
    agent = scored_agents(situation, played)

    def likelihood(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, gradient = situation.fast(eta, rows)
        by_response = np.concatenate(list(scores.values()))
        return np.bincount(agent, by_response, minlength=rows.n_sequences), gradient

    start = np.repeat(situation.centre[:, None], rows.n_sequences, axis=1)
    found = find_subjects(likelihood, start, situation.centre, situation.spread)
    r = {n: _correlation(truth, mode) for n, truth, mode in zip(names, played.eta, found.mode, strict=True)}
    variance = np.diagonal(found.shape, axis1=1, axis2=2).mean(axis=0)
    learned = dict(zip(names, (1 - variance).tolist(), strict=True))
    return Recovery(r, learned, rows.n_sequences, situation.trials)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation; 0 where one side does not vary."""
    if not (np.ptp(x) > 0 and np.ptp(y) > 1e-8):
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
