"""Correlations between what subjects differ in, as the model estimates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import SAMPLE_DIMS
from fitrl.fitting.effects import diagnosed, direction, summarised
from fitrl.hierarchy.correlation import pairs
from fitrl.hierarchy.design import deviations

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


def correlations(fit: Fit) -> pd.DataFrame:
    """Tabulate the correlations between parameters, and with slopes, over subjects on the link scale.

    Parameters
    ----------
    fit : Fit
        With ``correlated=True``.

    Returns
    -------
    DataFrame
        One row per pair: ``parameter_1``, ``parameter_2``, where the slope of a formula with ``(drug | subject)`` is
        ``alpha: drug[verum - placebo]``, and ``alpha`` then the subjects' mean over what varies; posterior mean, sd and
        95 % highest-density interval of the correlation; ``prob_direction``, the probability of the sign that is more
        probable; diagnostics. Where formulas move the parameters, it is of what subjects differ in beyond that.

    Raises
    ------
    FitError
        If the fit takes parameters to be independent.

    Notes
    -----
    A correlation of estimates (posterior means) is something else: where choices leave a ridge between two parameters
    the errors of estimates are correlated, and shrinkage weakens what is there.

    Examples
    --------
    >>> fitrl.correlations(result)[["parameter_1", "parameter_2", "post_mean"]]  # doctest: +SKIP
    """
    if not fit.spec.correlated:
        raise FitError(
            "this fit takes parameters to be independent. Fit with correlated=True (fitrl fit --correlated)."
        )
    draws = fit.idata["posterior"]["correlation"].transpose(*SAMPLE_DIMS, ...)
    names, rows = deviations(fit.plan.estimated_designs), []
    for at, (j, k) in enumerate(pairs(len(names))):
        of_pair = draws[..., at].to_numpy()
        row = {"parameter_1": names[k], "parameter_2": names[j], **summarised(of_pair)}
        rows.append(row | {"prob_direction": direction(of_pair)} | diagnosed(fit, of_pair))
    return pd.DataFrame(rows)
