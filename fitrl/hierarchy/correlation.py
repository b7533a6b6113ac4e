"""Correlations between what subjects differ in: a prior on them, and subjects that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from fitrl.hierarchy.parametrization import subject_values

# Of the LKJ prior: 1 would be flat over correlation matrices, more draws them towards independence.
SHAPE = 2.0


def pairs(n: int) -> list[tuple[int, int]]:
    """List the pairs of n quantities in the order in which correlations stand, the later quantity first."""
    return [(j, k) for j in range(n) for k in range(j)]


def correlation_draws(size: int, of: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from the prior of the correlations between some of the quantities that subjects differ in.

    Parameters
    ----------
    size : int
        How many quantities.
    of : int
        How many there are in the model.
    n : int
        Number of draws.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, size, size)

    Notes
    -----
    A block of a matrix that follows LKJ(a) follows LKJ(a + (number of rows left out) / 2).
    """
    factor = np.zeros((n, size, size))
    for j in range(size):
        left = np.ones(n)
        for k in range(j):
            shape = SHAPE + (of - 2 - k) / 2
            partial = 2 * rng.beta(shape, shape, n) - 1
            factor[:, j, k] = partial * np.sqrt(left)
            left *= 1 - partial**2
        factor[:, j, j] = np.sqrt(left)
    return factor @ np.swapaxes(factor, 1, 2)


class Subjects(Protocol):
    """How the values of subjects come about, one quantity that they differ in after the other."""

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the next quantity to the model; see `fitrl.hierarchy.parametrization.subject_values`."""


class Independent:
    """Subjects that differ in several quantities which have nothing to do with each other."""

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the next quantity to the model; see `fitrl.hierarchy.parametrization.subject_values`."""
        return subject_values(name, location, scale)


class Correlated:
    """Subjects that differ in correlated quantities (link scale), with an LKJ prior on the correlations.

    Parameters
    ----------
    names : sequence of str
        The quantities, in the order in which their values will be asked for; see
        `fitrl.hierarchy.design.deviations`.

    Notes
    -----
    Deviations from the location are a Cholesky factor times independent innovations, row by row: given the quantities
    before it, one is normal around a location of its own for each subject. So each is sampled partly
    non-centred like an uncorrelated one.

    The factor is built from canonical partial correlations, whose prior is a beta distribution on (-1, 1): of those
    given k others, in a matrix of size n, with both shapes ``SHAPE + (n - 2 - k) / 2``. The model gets them as
    ``correlation_partial`` (on (0, 1)) and the correlations as ``correlation``, both along the dim ``deviation_pair``.

    References
    ----------
    Lewandowski, Kurowicka & Joe 2009, J Multivar Anal, 10.1016/j.jmva.2009.04.008 (the prior and its construction).
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        n = len(self.names)
        known = pairs(n)
        model = pm.modelcontext(None)
        model.add_coord("deviation_pair", [f"{self.names[k]}, {self.names[j]}" for j, k in known])
        shape = np.array([SHAPE + (n - 2 - k) / 2 for _, k in known])
        partial = 2 * pm.Beta("correlation_partial", shape, shape, dims="deviation_pair") - 1
        self._factor = _cholesky({pair: partial[i] for i, pair in enumerate(known)}, n)
        correlation = [sum(self._factor[j][m] * self._factor[k][m] for m in range(k + 1)) for j, k in known]
        pm.Deterministic("correlation", pt.stack(correlation), dims="deviation_pair")
        self._innovations: list[Any] = []

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the next quantity to the model; see `fitrl.hierarchy.parametrization.subject_values`."""
        row = self._factor[len(self._innovations)]
        around = location + scale * sum(w * u for w, u in zip(row, self._innovations, strict=False))
        values = subject_values(name, around, scale * row[-1])
        self._innovations.append((values - around) / (scale * row[-1]))
        return values


def _cholesky(partial: dict[tuple[int, int], Any], n: int) -> list[list[Any]]:
    """Rows of the Cholesky factor of the correlation matrix with these partial correlations."""
    rows: list[list[Any]] = []
    for j in range(n):
        row, left = [], 1.0  # the variance that those before leave
        for k in range(j):
            row.append(partial[j, k] * pt.sqrt(left))
            left = left * (1 - partial[j, k] ** 2)
        rows.append([*row, pt.sqrt(left)])
    return rows
