"""How much subjects differ in a parameter and its slopes, and how these go together: draws of the population."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fitrl.fitting.diagnostics import SAMPLE_DIMS
from fitrl.hierarchy.correlation import pairs
from fitrl.hierarchy.design import Slopes, deviations

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


def standard_deviations(fit: Fit, name: str) -> np.ndarray:
    """Draws of the standard deviations of subjects, link scale: of a parameter, then of each of its slopes.

    Parameters
    ----------
    fit : Fit
        With a population of subjects.
    name : str
        A parameter that is not fixed.

    Returns
    -------
    ndarray, shape (chain, draw, 1 + slope)
    """
    posterior, slopes = fit.idata["posterior"].to_dataset(), fit.plan.designs[name].slopes
    sigma = posterior[f"{name}_sigma"].transpose(*SAMPLE_DIMS).to_numpy()
    if slopes is None:
        return sigma[..., None]
    return with_slopes(sigma, posterior[f"{name}_slope_sigma"].transpose(*SAMPLE_DIMS, ...).to_numpy(), slopes)


def with_slopes(sigma: np.ndarray, of_terms: np.ndarray, slopes: Slopes) -> np.ndarray:
    """Put the sd of subjects, shape (...), and those of the terms, (..., term), beside each other: (..., 1 + slope)."""
    return np.concatenate([sigma[..., None], of_terms[..., list(slopes.of_term)] * slopes.spread], axis=-1)


def correlation_matrix(fit: Fit, name: str) -> np.ndarray:
    """Draws of the correlations between a parameter and its slopes over subjects.

    Parameters
    ----------
    fit : Fit
        With a population of subjects.
    name : str
        A parameter that is not fixed.

    Returns
    -------
    ndarray, shape (chain, draw, 1 + slope, 1 + slope)
        The identity where the fit takes them to be independent.
    """
    posterior, names = fit.idata["posterior"].to_dataset(), deviations(fit.plan.estimated_designs)
    own = deviations({name: fit.plan.designs[name]})
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(own), len(own))
    found = np.broadcast_to(np.eye(len(own)), shape).copy()
    if fit.plan.correlated:
        draws = posterior["correlation"].transpose(*SAMPLE_DIMS, ...).to_numpy()
        for at, (j, k) in enumerate(pairs(len(names))):
            if names[j] in own and names[k] in own:
                row, column = own.index(names[j]), own.index(names[k])
                found[..., row, column] = found[..., column, row] = draws[..., at]
    return found


def covariance(sd: np.ndarray, correlation: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Covariance over subjects of a parameter in two cells.

    Parameters
    ----------
    sd : ndarray, shape (..., 1 + slope)
        As `standard_deviations` gives them.
    correlation : ndarray, shape (..., 1 + slope, 1 + slope)
    first, second : ndarray, shape (slope,)
        Rows of the slopes in the two cells; their variance, if it is one cell twice.

    Returns
    -------
    ndarray, shape (...)

    Examples
    --------
    >>> half = np.array([0.5])
    >>> float(covariance(np.array([1.0, 0.8]), np.eye(2), -half, half).round(3))
    0.84
    """
    one, other = (np.concatenate([[1.0], row]) for row in (first, second))
    return np.einsum("...i,...ij,...j->...", one * sd, correlation, other * sd)
