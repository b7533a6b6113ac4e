"""Effects and contrasts: what formulas found, on the link scale and on the natural one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from fitrl.data.findings import listing
from fitrl.errors import FitError
from fitrl.fitting.diagnostics import SAMPLE_DIMS, diagnostics, highest_density
from fitrl.fitting.spread import correlation_matrix, covariance, standard_deviations
from fitrl.fitting.tables import population_mean
from fitrl.hierarchy.design import Design
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import unit_factor
from fitrl.language.state import unknown

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

ROPE = 0.1  # half-width in between-subject standard deviations
QUANTITIES = ("", "median_change", "mean_change", "d")  # of the effect itself (no prefix), and what follows from it
COLUMNS = ("post_mean", "post_sd", "hdi95_lower", "hdi95_upper")
DIAGNOSTICS = ("mcse_mean", "ess_bulk", "ess_tail", "r_hat")

Weighted = Sequence[tuple[float, Mapping[str, Any]]]  # populations, each with its weight in a contrast


def effects(fit: Fit) -> pd.DataFrame:
    """Tabulate every effect of every formula.

    Parameters
    ----------
    fit : Fit
        With formulas.

    Returns
    -------
    DataFrame
        One row per coefficient: parameter, effect, posterior mean, sd and 95 % highest-density interval on the link
        scale; ``prob_direction``, the probability of the sign that is more probable; ``rope_share``, the probability
        that the effect is smaller than 0.1 between-subject standard deviations (posterior draws of both). Then, with
        intervals, ``median_change``: change of the population median on the natural scale; ``mean_change``: change of
        the mean over the population of subjects; ``d``: the effect in total standard deviations between subjects. Then
        the diagnostics of the coefficient. Effects of numbers are for a change by one standard deviation, around the
        mean. Last ``slope_sd``: for effects that differ between subjects, the standard deviation of that difference.

        Rows of ``sd(...)`` are about how much subjects differ: the change in the log of their standard deviation, so
        that ``exp`` of it is a ratio. They have no change on the natural scale.

        Natural values are in the user's outcome unit, at the average of all other covariates. Without a population of
        subjects (complete pooling) what needs one is blank.

    Raises
    ------
    FitError
        If the fit has no formulas.

    Notes
    -----
    The region of practical equivalence is a convention (Kruschke 2018, 10.1177/2515245918771304): decide on your own.
    The probability of direction says that an effect exists and where it points, not how large it is (Makowski et al.
    2019, 10.3389/fpsyg.2019.02767).

    Examples
    --------
    >>> fitrl.effects(result)[["parameter", "effect", "post_mean", "prob_direction"]]  # doctest: +SKIP
    """
    _check(fit)
    rows = []
    for name in fit.plan.effects:
        for label, weighted, term in differences(fit.plan.designs[name]):
            rows.append(
                {"parameter": name, "effect": label, **compared(fit, name, weighted), **_slope(fit, name, term)}
            )
        rows += _spread_rows(fit, name)
    changes = [f"{quantity}_{k}".replace("post_", "") for quantity in (*QUANTITIES[1:], "slope_sd") for k in COLUMNS]
    own = ["parameter", "effect", *COLUMNS, "prob_direction", "rope_share"]
    return pd.DataFrame(rows, columns=[*own, *changes[: -len(COLUMNS)], *DIAGNOSTICS, *changes[-len(COLUMNS) :]])


def differences(design: Design) -> Iterator[tuple[str, Weighted, str]]:
    """Name what a formula is about: its effects; of cell means, their differences from the first.

    Parameters
    ----------
    design : Design

    Yields
    ------
    label : str
        Such as ``"drug[verum - placebo]"``.
    weighted : list of (float, dict)
        Populations whose weighted sum it is, on the link scale.
    term : str
        Of an effect; empty for a difference of cell means.
    """
    for column in design.effects:
        yield column.name, design.probes(column), column.term
    if len(design.locations) > 1:
        at = [{n: design.covariates[n].levels[k] for n, k in c.parts} for c in design.columns[: len(design.locations)]]
        for label, other in zip(design.locations[1:], at[1:], strict=True):
            yield f"{label} - {design.locations[0]}", [(1.0, other), (-1.0, at[0])], ""


def cells(fit: Fit) -> pd.DataFrame:
    """Tabulate population median and mean for every combination of the levels of the factors of a formula.

    Parameters
    ----------
    fit : Fit
        With formulas.

    Returns
    -------
    DataFrame
        One row per parameter, combination of levels that occurs, and quantity (``pop_median``, ``pop_mean``): a column
        per factor, then mean, sd and 95 % highest-density interval on the natural scale, in the user's outcome unit.
        Numbers are at their mean.

    Raises
    ------
    FitError
        If the fit has no formulas.
    """
    _check(fit)
    rows = []
    for name in fit.plan.effects:
        for at in fit.plan.designs[name].populations() or [{}]:
            found = _population(fit, name, at)
            for quantity in ("pop_median", "pop_mean"):
                if quantity in found:
                    rows.append({"parameter": name, **at, "quantity": quantity, **summarised(found[quantity])})
    table = pd.DataFrame(rows)
    last = ["quantity", *COLUMNS]
    return table[[c for c in table if c not in last] + last]


def contrast(fit: Fit, what: str, parameter: str | None = None) -> pd.DataFrame:
    """Compare two populations that differ in one covariate.

    Parameters
    ----------
    fit : Fit
        With formulas.
    what : str
        ``"drug: amisulpride - placebo"``; of a number, two of its values, ``"age: 60 - 20"``. Other covariates
        are at their average, or where ``@`` puts them: ``"drug: amisulpride - placebo @ session=2, group=patient"``.
    parameter : str, optional
        A parameter with the covariate in its formula, or a derived quantity such as ``"w_mb"``; by default
        all parameters that have it, and all that is derived from them.

    Returns
    -------
    DataFrame
        A row per parameter, as `effects` has them. A derived quantity has no link scale: only the change at the
        population medians is given, with its probability of direction.

    Raises
    ------
    FitError
        If it cannot be read, or no formula has the covariate.
    DataError
        If a level does not exist.

    Examples
    --------
    >>> fitrl.contrast(result, "drug: amisulpride - placebo")  # doctest: +SKIP
    """
    _check(fit)
    covariate, pair = _parse(fit, what)
    weighted = [(1.0, pair[0]), (-1.0, pair[1])]
    having = [name for name in fit.plan.effects if covariate in fit.plan.designs[name].covariates]
    known = {n: f for n, f in fit.plan.model.derived().items() if set(f.sources) & set(having)}
    if parameter is not None and parameter not in [*having, *known]:
        if parameter in fit.plan.parameters or parameter in fit.plan.model.derived():
            raise FitError(f"{covariate} does not move {parameter} in this fit; it moves {listing([*having, *known])}.")
        raise FitError(unknown("parameter", parameter, [*having, *known]))
    label = what.strip()
    rows: list[dict[str, Any]] = []
    for name in [*having, *known]:
        if parameter in (None, name):
            row = compared(fit, name, weighted) if name in having else _derived_row(fit, name, weighted)
            rows.append({"parameter": name, "effect": label, **row})
    return pd.DataFrame(rows)


def _parse(fit: Fit, what: str) -> tuple[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Read a contrast into the covariate and the two populations."""
    head, _, where = what.partition("@")
    name, colon, levels = (part.strip() for part in head.partition(":"))
    covariates = {n: c for d in fit.plan.designs.values() for n, c in d.covariates.items()}
    if not colon:
        raise FitError(f'"{what}" cannot be read as a contrast. Write it like "drug: amisulpride - placebo".')
    at: dict[str, Any] = {}
    for text in filter(None, (part.strip() for part in where.split(","))):
        other, sign, value = (part.strip() for part in text.partition("="))
        if not sign:
            raise FitError(f'"{text}" cannot be read. Write where other covariates are like "@ session=2".')
        at[other] = value
    for other in (name, *at):
        if other not in covariates:
            raise FitError(unknown("covariate", other, covariates))
    for other, value in at.items():
        covariates[other].at(value)
    # Levels may have dashes of their own: try every place where the text can be cut.
    cuts = [(levels[: m.start()].strip(), levels[m.end() :].strip()) for m in re.finditer("-", levels)]
    for first, second in cuts:
        c = covariates[name]
        if c.is_factor and first in c.levels and second in c.levels:
            return name, ({**at, name: first}, {**at, name: second})
    spaced = [cut for cut in levels.split(" - ") if cut.strip()]
    if len(spaced) != 2:
        raise FitError(f'"{what}" cannot be read as a contrast. Write it like "{name}: one - other".')
    first, second = (text.strip() for text in spaced)
    covariates[name].at(first), covariates[name].at(second)
    return name, ({**at, name: first}, {**at, name: second})


def _check(fit: Fit) -> None:
    if not fit.plan.effects:
        raise FitError('this fit has no formulas, so there are no effects. Fit with formulas={"alpha": "group"}.')


def _coefficients(fit: Fit, name: str) -> np.ndarray:
    """Draws of the coefficients of a design, shape (chain, draw, column)."""
    posterior, design = fit.idata["posterior"].to_dataset(), fit.plan.designs[name]
    first = posterior[f"{name}_mu"] if len(design.locations) == 1 else posterior[f"{name}_level"]
    parts = [first.transpose(*SAMPLE_DIMS, ...).to_numpy().reshape(*first.shape[:2], -1)]
    if design.effects:
        parts.append(posterior[f"{name}_effect"].transpose(*SAMPLE_DIMS, ...).to_numpy())
    return np.concatenate(parts, axis=-1)


def _between_sd(fit: Fit, name: str, at: Mapping[str, Any]) -> np.ndarray | None:
    """Return the sd of subjects at given covariates, link scale, (chain, draw); None where all share a value."""
    posterior, design = fit.idata["posterior"].to_dataset(), fit.plan.designs[name]
    if f"{name}_sigma" not in posterior:
        return None
    sd = standard_deviations(fit, name)
    if design.spread is not None:
        sd[..., 0] *= np.exp(_spread_effects(fit, name) @ design.spread_row(at))
    row = design.slope_row(at)
    return np.sqrt(covariance(sd, correlation_matrix(fit, name), row, row))


def _population(fit: Fit, name: str, at: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Draws of one population: link-scale location, median and mean on the natural scale, sd; shape (chain, draw)."""
    design: Design = fit.plan.designs[name]
    p = fit.plan.parameters[name]
    factor = unit_factor(p, fit.trials.outcome_scale)
    eta = _coefficients(fit, name) @ design.row(at)
    found = {"link": eta, "pop_median": factor * natural(eta, p.link, p.lower, p.upper)}
    sd = _between_sd(fit, name, at)
    if sd is not None:
        found |= {"sd": sd, "pop_mean": factor * population_mean(eta, sd, p)}
    return found


def link_draws(fit: Fit, name: str, weighted: Weighted) -> np.ndarray:
    """Draws of one contrast of one parameter on the link scale, shape (chain, draw); see `compared`."""
    design: Design = fit.plan.designs[name]
    p = fit.plan.parameters[name]
    row = sum(weight * design.row(at) for weight, at in weighted)
    own_unit = unit_factor(p, fit.trials.outcome_scale) if p.link == "identity" else 1.0
    return own_unit * (_coefficients(fit, name) @ row)


def compared(fit: Fit, name: str, weighted: Weighted) -> dict[str, float]:
    """Tabulate everything about one contrast of one parameter, as `effects` does.

    Parameters
    ----------
    fit : Fit
        With a formula of this parameter.
    name : str
        The parameter.
    weighted : list of (float, dict)
        Values of covariates, each with its weight in the contrast.
    """
    p = fit.plan.parameters[name]
    populations = [(weight, _population(fit, name, at)) for weight, at in weighted]

    def total(quantity: str) -> np.ndarray:
        return np.sum([weight * found[quantity] for weight, found in populations], axis=0)

    effect = total("link")
    own_unit = unit_factor(p, fit.trials.outcome_scale) if p.link == "identity" else 1.0
    row = summarised(own_unit * effect) | {"prob_direction": direction(effect)}
    changes: dict[str, np.ndarray | None] = {"median_change": total("pop_median"), "mean_change": None, "d": None}
    row["rope_share"] = np.nan
    if "sd" in populations[0][1]:
        sd = np.sqrt(np.mean([found["sd"] ** 2 for _, found in populations], axis=0))
        row["rope_share"] = float((np.abs(effect) < ROPE * sd).mean())
        changes |= {"mean_change": total("pop_mean"), "d": effect / sd}
    for quantity, draws in changes.items():
        row |= {f"{quantity}_{k}".replace("post_", ""): v for k, v in summarised(draws).items()}
    return row | diagnosed(fit, own_unit * effect)


def _derived_row(fit: Fit, name: str, weighted: Weighted) -> dict[str, float]:
    """Compare a derived quantity: the formula at the population medians of its parameters."""
    total: Any = 0.0
    for weight, at in weighted:
        total = total + weight * derived_at(fit, name, at)
    row = summarised(None) | {"prob_direction": direction(total), "rope_share": np.nan}
    for quantity, draws in {"median_change": total, "mean_change": None, "d": None}.items():
        row |= {f"{quantity}_{k}".replace("post_", ""): v for k, v in summarised(draws).items()}
    return row | diagnosed(fit, total)


def derived_at(fit: Fit, name: str, at: Mapping[str, Any]) -> np.ndarray:
    """Draws of a derived quantity at the population medians where covariates have given values, (chain, draw)."""
    posterior = fit.idata["posterior"].to_dataset()
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    values = {}
    for parameter, p in fit.plan.parameters.items():
        factor = unit_factor(p, fit.trials.outcome_scale)
        if parameter in fit.plan.effects:
            known = {n: v for n, v in at.items() if n in fit.plan.designs[parameter].covariates}
            values[parameter] = _population(fit, parameter, known)["pop_median"].ravel()
        elif parameter in fit.plan.fixed:
            values[parameter] = np.full(shape[0] * shape[1], factor * fit.plan.fixed[parameter])
        else:
            mu = posterior[f"{parameter}_mu"].transpose(*SAMPLE_DIMS).to_numpy().ravel()
            values[parameter] = factor * natural(mu, p.link, p.lower, p.upper)
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio may have draws without a value
        return np.asarray(getattr(fit.plan.model.bind(values, fit.trials.task), name)).reshape(shape)


def _spread_effects(fit: Fit, name: str) -> np.ndarray:
    """Draws of what moves the log of the standard deviation between subjects, shape (chain, draw, column)."""
    return fit.idata["posterior"][f"{name}_sigma_effect"].transpose(*SAMPLE_DIMS, ...).to_numpy()


def _spread_rows(fit: Fit, name: str) -> Iterator[dict[str, Any]]:
    spread = fit.plan.designs[name].spread
    for k, column in enumerate(spread.columns if spread else ()):
        draws = _spread_effects(fit, name)[..., k]
        row = {"parameter": name, "effect": f"sd({column.name})", **summarised(draws)}
        yield row | {"prob_direction": direction(draws)} | diagnosed(fit, draws)


def _slope(fit: Fit, name: str, term: str) -> dict[str, float]:
    slopes = fit.plan.designs[name].slopes
    if slopes is None or term not in slopes.terms or f"{name}_slope_sigma" not in fit.idata["posterior"]:
        return {f"slope_sd_{k}".replace("post_", ""): np.nan for k in COLUMNS}
    draws = fit.idata["posterior"][f"{name}_slope_sigma"].transpose(*SAMPLE_DIMS, ...).to_numpy()
    found = summarised(draws[..., slopes.terms.index(term)])
    return {f"slope_sd_{k}".replace("post_", ""): v for k, v in found.items()}


def _dataset(draws: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"x": (SAMPLE_DIMS, draws)})


def summarised(draws: np.ndarray | None) -> dict[str, float]:
    """Mean, sd and 95 % highest-density interval of draws, shape (chain, draw); NaN of what does not exist."""
    if draws is None:
        return dict.fromkeys(COLUMNS, np.nan)
    low, high = highest_density(_dataset(draws))
    return {
        "post_mean": float(draws.mean()),
        "post_sd": float(draws.std(ddof=1)),
        "hdi95_lower": float(low["x"]),
        "hdi95_upper": float(high["x"]),
    }


def diagnosed(fit: Fit, draws: np.ndarray) -> dict[str, float]:
    """Chain diagnostics of draws, shape (chain, draw); NaN for a quick fit, which has no chains."""
    if fit.spec.quick:
        return dict.fromkeys(DIAGNOSTICS, np.nan)
    found = diagnostics(_dataset(draws))
    return {name: float(found[name]["x"]) for name in DIAGNOSTICS}


def direction(draws: np.ndarray) -> float:
    """Probability of the sign that is more probable."""
    return float(max((draws > 0).mean(), (draws < 0).mean()))
