"""Chain diagnostics of many quantities at once."""

from __future__ import annotations

import arviz_stats as az
import numpy as np
import xarray as xr

SAMPLE_DIMS = ["chain", "draw"]

# Vehtari et al. (2021). Without it ArviZ takes the quantiles from its interval setting, hence .11 and .89.
TAIL = (0.05, 0.95)


def diagnostics(draws: xr.Dataset) -> dict[str, xr.Dataset]:
    """Compute the chain diagnostics of every quantity at once.

    Parameters
    ----------
    draws : Dataset
        Variables with dims chain, draw and any others.

    Returns
    -------
    dict of str to Dataset
        ``r_hat`` (rank-normalised, the larger of bulk and folded), ``ess_bulk``, ``ess_tail``, ``mcse_mean``,
        and ``sd`` (posterior standard deviation), without the dims chain and draw. NaN where the draws
        are infinite or do not vary: there the diagnostics have no meaning, and ArviZ gives some a good value.

    Examples
    --------
    >>> draws = xr.Dataset({"x": (("chain", "draw"), np.random.default_rng(1).normal(size=(4, 500)))})
    >>> bool(diagnostics(draws)["r_hat"]["x"] < 1.01)
    True
    """
    varies = draws.max(SAMPLE_DIMS) > draws.min(SAMPLE_DIMS)
    usable = varies & draws.map(np.isfinite).all(SAMPLE_DIMS)
    # Draws that do not vary divide 0 by 0 inside ArviZ. The NaN is what we want; the gate says it aloud.
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "ess_bulk": az.ess(draws, sample_dims=SAMPLE_DIMS, method="bulk"),
            "ess_tail": az.ess(draws, sample_dims=SAMPLE_DIMS, method="tail", prob=TAIL),
            "mcse_mean": az.mcse(draws, sample_dims=SAMPLE_DIMS, method="mean"),
            "sd": draws.std(SAMPLE_DIMS, ddof=1),
        }
        if draws.sizes["chain"] > 1:
            found["r_hat"] = az.rhat(draws, sample_dims=SAMPLE_DIMS, method="rank")
        else:
            found["r_hat"] = xr.full_like(found["sd"], np.nan)
    # Chains that are stuck at different values give an infinite R-hat; JSON knows no infinity.
    return {name: values.where(usable & values.map(np.isfinite)) for name, values in found.items()}
