"""Checks of numbers: log-likelihood and gradient are finite, and the gradient is that of the likelihood."""

from __future__ import annotations

import numpy as np

from fitrl.conformance.report import Check
from fitrl.conformance.situation import Situation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities
from fitrl.hierarchy.build import separate_prior
from fitrl.hierarchy.links import link_of, natural
from fitrl.language.parameters import Parameter

_GRADIENT = 1e-6


def finite(situation: Situation, name: str) -> Check:
    """Check that log-likelihood and gradient are numbers, at usual values and near the bounds."""
    played = situation.gapped
    usual = _where_not_finite(situation, played.eta)
    if usual:
        return Check(
            name,
            "failed",
            f"not finite at usual values: {usual}.",
            "Look for the log of 0, a division by 0, or an exp that overflows.",
        )
    for j, (parameter, declared) in enumerate(situation.parameters.items()):
        for value in near_bounds(declared):
            eta = played.eta.copy()
            eta[j] = link_of(value, declared.link, declared.lower, declared.upper)
            if _where_not_finite(situation, eta):
                return Check(
                    name,
                    "failed",
                    f"not finite at {parameter} = {value:g}, though it is at usual values.",
                    "The sampler will get there: write the expression so that it holds near the bound, or narrow the "
                    "range of the parameter.",
                )
    n = 2 * len(situation.parameters)
    return Check(name, "passed", f"at usual values of {played.eta.shape[1]} agents and at {n} values near bounds")


def near_bounds(parameter: Parameter) -> tuple[float, float]:
    """Return values near the ends of a parameter's range; where there is no end, four prior sds away.

    Examples
    --------
    >>> from fitrl.language import unit
    >>> near_bounds(unit("learning rate"))
    (1e-06, 0.999999)
    """
    if np.isfinite(parameter.upper):
        width = parameter.upper - parameter.lower
        return parameter.lower + 1e-6 * width, parameter.upper - 1e-6 * width
    location, spread = separate_prior(parameter)
    far = location + np.array([-4.0, 4.0]) * spread
    low, high = natural(far, parameter.link, parameter.lower, parameter.upper)
    return float(low), float(high)


def _where_not_finite(situation: Situation, eta: np.ndarray) -> str:
    """Name the first number that is not finite; empty if all are."""
    scores, gradient = situation.fast(eta, situation.gapped.rows)
    for emission, score in scores.items():
        if not np.isfinite(score).all():
            return f"the log probability of {emission}"
    for parameter, row in zip(situation.parameters, gradient, strict=True):
        if not np.isfinite(row).all():
            return f"the gradient in {parameter}"
    return ""


def gradient(situation: Situation, name: str) -> Check:
    """Check that the gradient equals finite differences."""
    played = situation.gapped
    if not situation.parameters:
        return Check(name, "passed", "there is no parameter")
    exact = situation.fast(played.eta, played.rows)[1]
    errors = []
    for step in (1e-3, 1e-5):  # the small one for cells next to a kink, such as the sign of a prediction error
        numeric = _differences(situation, step)
        errors.append(np.abs(exact - numeric) / (1 + np.abs(numeric)))
    error = np.minimum(*errors).max(axis=1)
    worst = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
    parameter = list(situation.parameters)[worst]
    if not error[worst] <= _GRADIENT:
        return Check(
            name,
            "failed",
            f"differs from finite differences in {parameter} by {error[worst]:.2g} (relative).",
            "A jump or a kink of the likelihood misleads the sampler: write what changes abruptly with a parameter as "
            "something smooth. If there is none, this is a fault of the engine: please report it with the model.",
        )
    return Check(name, "passed", f"equals finite differences, to {error[worst]:.1g} (relative)")


def _differences(situation: Situation, step: float) -> np.ndarray:
    """Central differences of every agent's log-likelihood by the filter, shape (parameter, agent)."""
    played, rows = situation.gapped, situation.gapped.rows
    steps = np.array([1, -1, 2, -2]) * step
    shifted = np.repeat(played.eta[:, None, :], 4 * len(played.eta), axis=1)
    for j in range(len(shifted)):
        shifted[j, 4 * j : 4 * j + 4] += steps[:, None]
    located = {n: Located(v, np.arange(rows.n_sequences)) for n, v in situation.natural(shifted).items()}
    found = log_probabilities(situation.model, played.task, located, rows.columns, lay_out(rows.sequence))
    total = np.zeros((len(shifted[0]), rows.n_sequences))
    for emission, score in found.items():
        at = np.flatnonzero(rows.columns[f"mask_{emission}"])
        np.add.at(total.T, rows.sequence[at], score[:, at].T)
    up, down, far_up, far_down = (total[k::4] for k in range(4))
    return (8 * (up - down) - (far_up - far_down)) / (12 * step)
