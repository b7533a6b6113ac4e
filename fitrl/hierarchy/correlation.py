"""Correlations between the parameters of a subject: a prior on them, and subjects that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from fitrl.hierarchy.parametrization import subject_values

# Of the LKJ prior: 1 would be flat over correlation matrices, more draws them towards independence.
SHAPE = 2.0


class Subjects(Protocol):
    """How the values of subjects, one per parameter, come about."""

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the subjects of one parameter to the model; see `fitrl.hierarchy.parametrization.subject_values`."""


class Independent:
    """Subjects whose parameters have nothing to do with each other."""

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the subjects of one parameter to the model; see `fitrl.hierarchy.parametrization.subject_values`."""
        return subject_values(name, location, scale)


class Correlated:
    """Subjects whose parameters are correlated on the link scale, with an LKJ prior on the correlations.

    Parameters
    ----------
    names : sequence of str
        The parameters, in the order in which their values will be asked for.

    Notes
    -----
    Deviations from the location are a Cholesky factor times independent innovations, row by row: given the parameters
    before it, a parameter is normal around a location of its own for each subject. So each is sampled partly
    non-centred like an uncorrelated one.

    The factor is built from canonical partial correlations, whose prior is a beta distribution on (-1, 1): of those
    given k others, in a matrix of size n, with both shapes ``SHAPE + (n - 2 - k) / 2``. The model gets them as
    ``correlation_partial`` (on (0, 1)) and the correlations as ``correlation``, both along the dim ``parameter_pair``.

    References
    ----------
    Lewandowski, Kurowicka & Joe 2009, J Multivar Anal, 10.1016/j.jmva.2009.04.008 (the prior and its construction).
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        n = len(self.names)
        pairs = [(j, k) for j in range(n) for k in range(j)]
        model = pm.modelcontext(None)
        model.add_coord("parameter_pair", [f"{self.names[k]}, {self.names[j]}" for j, k in pairs])
        shape = np.array([SHAPE + (n - 2 - k) / 2 for _, k in pairs])
        partial = 2 * pm.Beta("correlation_partial", shape, shape, dims="parameter_pair") - 1
        self._factor = _cholesky({pair: partial[i] for i, pair in enumerate(pairs)}, n)
        correlation = [sum(self._factor[j][m] * self._factor[k][m] for m in range(k + 1)) for j, k in pairs]
        pm.Deterministic("correlation", pt.stack(correlation), dims="parameter_pair")
        self._innovations: list[Any] = []

    def values(self, name: str, location: Any, scale: Any) -> Any:
        """Add the subjects of the next parameter to the model; see `fitrl.hierarchy.parametrization.subject_values`."""
        row = self._factor[len(self._innovations)]
        assert name == self.names[len(self._innovations)], (name, self.names)
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
