"""Links: from the real line, where effects add up, to the natural scale of a parameter."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

# Bowling et al. (2009), "A logistic approximation to the cumulative normal distribution",
# 10.3926/jiem.2009.v2n1.p114-127; the same cubic that Stan calls Phi_approx.
CUBIC, LINEAR = 0.07056, 1.5976


def natural(eta, link: str, lower: float, upper: float) -> np.ndarray:
    """Map values of the linear predictor to the natural scale.

    Parameters
    ----------
    eta : array_like
        Values on the link scale, any shape.
    link : {"logit", "log", "identity", "probit_approx"}
        The link of the parameter.
    lower, upper : float
        Range on the natural scale (``log`` uses `lower` only, ``identity`` neither).

    Returns
    -------
    ndarray, same shape as `eta`

    Examples
    --------
    >>> float(natural(0.0, "logit", 0.0, 1.0))
    0.5
    """
    eta = np.asarray(eta, dtype=float)
    if link == "logit":
        return lower + (upper - lower) * expit(eta)
    if link == "probit_approx":
        return lower + (upper - lower) * expit(CUBIC * eta**3 + LINEAR * eta)
    if link == "log":
        return lower + np.exp(eta)
    return eta


def slope(eta, link: str, lower: float, upper: float) -> np.ndarray:
    """Differentiate `natural` with respect to the linear predictor; same shape."""
    eta = np.asarray(eta, dtype=float)
    if link == "identity":
        return np.ones_like(eta)
    if link == "log":
        return np.exp(eta)
    x, inner = (eta, 1.0) if link == "logit" else (CUBIC * eta**3 + LINEAR * eta, 3 * CUBIC * eta**2 + LINEAR)
    return (upper - lower) * expit(x) * expit(-x) * inner


def link_of(theta, link: str, lower: float, upper: float) -> np.ndarray:
    """Map natural values to the link scale; the inverse of `natural`."""
    theta = np.asarray(theta, dtype=float)
    if link == "identity":
        return theta
    if link == "log":
        return np.log(theta - lower)
    x = logit((theta - lower) / (upper - lower))
    if link == "logit":
        return x
    # x = c eta^3 + b eta has one real root, by Cardano, since both coefficients are positive.
    p, q = LINEAR / CUBIC, -x / CUBIC
    root = np.sqrt(q**2 / 4 + p**3 / 27)
    return np.cbrt(-q / 2 + root) + np.cbrt(-q / 2 - root)
