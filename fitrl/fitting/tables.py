"""Result tables: group parameters and subject estimates in the user's outcome unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import SAMPLE_DIMS, diagnostics, highest_density
from fitrl.fitting.spec import ParameterSpec
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import unit_factor
from fitrl.language.parameters import Parameter

STATISTICS = (
    "post_mean",
    "post_sd",
    "hdi95_lower",
    "hdi95_upper",
    "mcse_mean",
    "ess_bulk",
    "ess_tail",
    "r_hat",
)

QUANTITIES = {
    "partial": ("location", "scale", "pop_median", "pop_mean", "sample_mean"),
    "complete": ("location", "pop_median"),
    "none": ("sample_mean",),
}

# Gauss-Hermite rule for a standard normal. With 64 nodes the mean of a logit-normal is right to four
# digits up to a between-subject sd of 5 logits, far above what is seen.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def population_draws(idata: xr.DataTree, parameters: Sequence[ParameterSpec], outcome_scale: float) -> xr.Dataset:
    """Compute population summaries of every parameter, one value per draw.

    Parameters
    ----------
    idata : DataTree
        With the group ``posterior``.
    parameters : sequence of ParameterSpec
        The fitted parameters.
    outcome_scale : float
        What the outcomes were divided by.

    Returns
    -------
    Dataset, dims (chain, draw)
        ``<name>_pop_median``: the link of the location. ``<name>_pop_mean``: mean over the population of
        subjects, the link integrated over their normal distribution. ``<name>_sample_mean``: mean of these
        subjects. All on the natural scale in the user's outcome unit; those that the pooling does not give
        are absent.

    Notes
    -----
    For the log link the mean is the lognormal's, ``exp(mu + sigma**2 / 2)``; for the identity link it is
    the location; for the others it is a Gauss-Hermite sum.

    Examples
    --------
    >>> draws = population_draws(fit.idata, fit.spec.parameters, 1.0)  # doctest: +SKIP
    >>> float((draws["alpha_pop_mean"] > 0.5).mean())  # doctest: +SKIP
    0.93
    """
    posterior = _posterior(idata)
    draws = {}
    for p in parameters:
        factor = unit_factor(p, outcome_scale)
        mu, sigma = posterior.get(f"{p.name}_mu"), posterior.get(f"{p.name}_sigma")
        if mu is not None:
            draws[f"{p.name}_pop_median"] = factor * _natural(mu, p)
        if mu is not None and sigma is not None:
            mean = population_mean(mu.values, sigma.transpose(*mu.dims).values, p)
            draws[f"{p.name}_pop_mean"] = factor * mu.copy(data=mean)
        if p.name in posterior:
            values = posterior[p.name]
            over = [dim for dim in values.dims if dim not in SAMPLE_DIMS]
            draws[f"{p.name}_sample_mean"] = factor * values.mean(over)
    return xr.Dataset(draws)


def group_table(
    idata: xr.DataTree,
    parameters: Sequence[ParameterSpec],
    outcome_scale: float,
    pooling: str,
    *,
    quick: bool = False,
) -> pd.DataFrame:
    """Tabulate the group level, one row per parameter and quantity.

    Parameters
    ----------
    idata : DataTree
        With the group ``posterior``.
    parameters : sequence of ParameterSpec
        The fitted parameters, in the order of the rows.
    outcome_scale : float
        What the outcomes were divided by; undone in every row.
    pooling : {"partial", "complete", "none"}
        Decides which quantities there are: all of them; location and pop_median; sample_mean.
    quick : bool
        Whether the draws come from a Laplace approximation: the chain diagnostics are then NaN.

    Returns
    -------
    DataFrame
        Columns parameter, quantity and the statistics: mean and sd of the posterior, 95 % highest-density
        interval, Monte-Carlo error of the mean, effective draws (bulk, tail), rank R-hat. ``location``
        and ``scale`` are on the link scale (of the value in the user's outcome unit), the others natural.

    Raises
    ------
    FitError
        If the posterior lacks what this pooling should give.

    Examples
    --------
    >>> group_table(fit.idata, fit.spec.parameters, 100.0, "partial")  # doctest: +SKIP
    """
    if pooling not in QUANTITIES:
        raise FitError(f'pooling is "{pooling}"; expected one of {", ".join(QUANTITIES)}.')
    if not parameters:
        return pd.DataFrame(columns=["parameter", "quantity", *STATISTICS])
    natural_draws = population_draws(idata, parameters, outcome_scale)
    posterior = _posterior(idata)
    rows: list[tuple[str, str]] = []
    draws: dict[str, xr.DataArray] = {}
    for p in parameters:
        available = {
            "location": posterior.get(f"{p.name}_mu"),
            "scale": posterior.get(f"{p.name}_sigma"),
            **{q: natural_draws.get(f"{p.name}_{q}") for q in ("pop_median", "pop_mean", "sample_mean")},
        }
        for quantity in QUANTITIES[pooling]:
            values = available[quantity]
            if values is None:
                raise FitError(
                    f'the posterior cannot give the {quantity} of {p.name} with pooling "{pooling}"; '
                    f"it holds {', '.join(map(str, posterior.data_vars))}. Give the pooling that was fitted."
                )
            if quantity in ("location", "scale"):
                values = _in_user_unit(values, quantity, p, outcome_scale)
            rows.append((p.name, quantity))
            draws[f"{p.name} {quantity}"] = values
    found = _statistics(xr.Dataset(draws), quick=quick)
    table = pd.DataFrame(rows, columns=["parameter", "quantity"])
    for statistic in STATISTICS:
        table[statistic] = [float(found[statistic][name]) for name in draws]
    return table


def subject_table(
    idata: xr.DataTree,
    parameters: Sequence[ParameterSpec],
    outcome_scale: float,
    *,
    quick: bool = False,
    known: Mapping[str, xr.Dataset] | None = None,
) -> pd.DataFrame:
    """Tabulate the subjects' estimates on the natural scale, one row per subject and parameter.

    Parameters
    ----------
    idata : DataTree
        With the group ``posterior``.
    parameters : sequence of ParameterSpec
        The fitted parameters.
    outcome_scale : float
        What the outcomes were divided by; undone in every row.
    quick : bool
        Whether the draws come from a Laplace approximation: the chain diagnostics are then NaN.
    known : mapping of str to Dataset, optional
        The `diagnostics` of the natural-scale values, where the gate has computed them.

    Returns
    -------
    DataFrame
        Columns subject (then what distinguishes the values of a subject, such as drug, where there are several),
        parameter, and the statistics of `group_table`; subjects in the order of the data.

    Raises
    ------
    FitError
        If the posterior lacks a parameter.

    Examples
    --------
    >>> table = subject_table(fit.idata, fit.spec.parameters, 100.0)  # doctest: +SKIP
    >>> table.pivot(index="subject", columns="parameter", values="post_mean")  # doctest: +SKIP
    """
    if not parameters:
        return pd.DataFrame(columns=["subject", "parameter", *STATISTICS])
    posterior = _posterior(idata)
    missing = [p.name for p in parameters if p.name not in posterior]
    if missing:
        raise FitError(
            f"the posterior holds no subject values of {', '.join(missing)}; "
            "expected one variable per fitted parameter."
        )
    factor = xr.Dataset({p.name: unit_factor(p, outcome_scale) for p in parameters})
    draws = posterior[[p.name for p in parameters]] * factor
    if known is not None:  # of the values in scaled outcomes: what carries their unit is rescaled
        known = {name: values * factor if name in ("sd", "mcse_mean") else values for name, values in known.items()}
    found = _statistics(draws, quick=quick, known=known)
    parts = []
    for p in parameters:
        part = xr.Dataset({statistic: found[statistic][p.name] for statistic in STATISTICS})
        rows = part.to_dataframe().reset_index().drop(columns=f"{p.name}_cell", errors="ignore")
        # Labels of cells, such as alpha_cell_subject and alpha_cell_drug.
        rows.columns = pd.Index([str(c).removeprefix(f"{p.name}_cell_") for c in rows.columns])
        parts.append(rows.assign(parameter=p.name))
    table = pd.concat(parts, ignore_index=True)
    extra = [c for c in table.columns if c not in ("subject", "parameter", *STATISTICS)]
    order = {label: i for i, label in enumerate(dict.fromkeys(table["subject"]))}
    if "subject" in posterior.coords:
        order = {label: i for i, label in enumerate(posterior["subject"].values)}
    table = table.sort_values("subject", key=lambda column: column.map(order), kind="stable")
    return table[["subject", *extra, "parameter", *STATISTICS]].reset_index(drop=True)


def by_subject(values: xr.DataArray) -> xr.DataArray:
    """Average the values of each subject, where there are several.

    Parameters
    ----------
    values : DataArray
        Along ``subject``, or along ``<parameter>_cell`` with the subject as a coordinate.

    Returns
    -------
    DataArray
        Along ``subject``, in the order of the data.
    """
    dim = next((str(d) for d in values.dims if str(d).endswith("_cell")), None)
    if dim is None:
        return values
    own = values[f"{dim}_subject"].to_numpy()
    subjects = list(dict.fromkeys(own))
    means = [values.isel({dim: np.flatnonzero(own == s)}).mean(dim) for s in subjects]
    return (
        xr.concat(means, "subject", coords="minimal")
        .assign_coords(subject=subjects)
        .drop_vars([str(c) for c in values.coords if str(c).startswith(dim)], errors="ignore")
    )


def _posterior(idata: xr.DataTree) -> xr.Dataset:
    """Return the posterior as a data set."""
    if "posterior" not in idata.children:
        raise FitError("this fit has no posterior group. Expected the draws of a fit.")
    return idata["posterior"].to_dataset()


def _natural(eta: xr.DataArray, p: ParameterSpec) -> xr.DataArray:
    """Map an array with dims to the natural scale."""
    return eta.copy(data=natural(eta.values, p.link, p.lower, p.upper))


def population_mean(mu: np.ndarray, sigma: np.ndarray, p: ParameterSpec | Parameter) -> np.ndarray:
    """Integrate the link over a normal distribution of subjects, draw by draw.

    Parameters
    ----------
    mu, sigma : ndarray, of one shape
        Mean and standard deviation on the link scale.
    p : ParameterSpec or Parameter
        Its link and range.

    Returns
    -------
    ndarray, of the same shape
        Natural scale, scaled outcomes.
    """
    if p.link == "identity":
        return mu
    if p.link == "log":
        return p.lower + np.exp(mu + sigma**2 / 2)
    return natural(mu[..., None] + sigma[..., None] * _NODES, p.link, p.lower, p.upper) @ _WEIGHTS


def _in_user_unit(values: xr.DataArray, quantity: str, p: ParameterSpec, outcome_scale: float) -> xr.DataArray:
    """Express a location or scale on the link scale of the value in the user's unit.

    Log link: log(theta * f) = log(theta) + log(f), the scale stays. Identity: both are multiplied.
    Links with two bounds: the bounds carry the unit, nothing changes.
    """
    factor = unit_factor(p, outcome_scale)
    if p.link == "identity":
        return factor * values
    if p.link == "log" and quantity == "location":
        return values + np.log(factor)
    return values


def _statistics(draws: xr.Dataset, *, quick: bool, known: Mapping[str, xr.Dataset] | None = None) -> dict[str, Any]:
    """Compute every statistic of every variable at once; the diagnostics may be known already."""
    if quick:
        # Independent draws of one normal approximation: a chain diagnostic of them would look perfect.
        empty = draws.mean(SAMPLE_DIMS).map(lambda values: xr.full_like(values, np.nan, dtype=float))
        found = dict.fromkeys(("mcse_mean", "ess_bulk", "ess_tail", "r_hat"), empty)
        found["post_sd"] = draws.std(SAMPLE_DIMS, ddof=1)
    else:
        found = dict(diagnostics(draws) if known is None else known)
        found["post_sd"] = found.pop("sd")
    found["post_mean"] = draws.mean(SAMPLE_DIMS)
    found["hdi95_lower"], found["hdi95_upper"] = highest_density(draws)
    return found
