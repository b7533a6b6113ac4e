"""The summary of a fit: the verdict first, then the population."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fitrl.fitting.advice import instead_of_tests
from fitrl.fitting.correlations import correlations
from fitrl.fitting.derived import derived
from fitrl.fitting.effects import effects
from fitrl.hierarchy.plan import unit_factor

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

_COLOURS = {"converged": "bold green", "not converged": "bold red", "quick": "bold yellow"}


def summary(fit: Fit) -> pd.DataFrame:
    """Tabulate the population: one row per parameter and quantity, as in ``group.csv``.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    DataFrame
        See `fitrl.fitting.tables.group_table`. Look at ``fit.verdict`` first.

    Examples
    --------
    >>> fitrl.summary(result).query("quantity == 'pop_median'")  # doctest: +SKIP
    """
    return fit.group.copy()


def render_summary(fit: Fit) -> RenderableType:
    """Write the summary for a terminal: verdict, what was fitted, population, fixed parameters, what to do with groups.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    rich renderable
        At most 80 columns wide.

    Examples
    --------
    >>> import rich
    >>> rich.print(render_summary(result))  # doctest: +SKIP
    """
    first, *rest = fit.verdict.text().split("\n")
    parts: list[RenderableType] = [Text(first, style=_COLOURS[fit.verdict.status])]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in rest]
    parts += [Text(), Text(_what(fit))]
    if fit.spec.parameters:
        parts += [Text(), _population(fit), Text(_legend(fit), style="dim")]
    if fit.spec.formulas:
        parts += [Text(), render_effects(effects(fit)), Text(EFFECTS_LEGEND, style="dim")]
    if fit.spec.correlated:
        parts += [Text(), render_correlations(correlations(fit))]
    if fit.spec.fixed:
        parts.append(Text(f"Fixed: {_fixed(fit)}"))
    if advice := instead_of_tests(fit):
        parts += [Text(), Text(advice)]
    return Group(*parts)


def _what(fit: Fit) -> str:
    """One sentence: model, data, pooling, priors, seed."""
    spec, frame = fit.spec, fit.trials.frame
    masks = [name for name in frame.columns.astype(str) if name.startswith("mask_") and name != "mask_update"]
    n_scored = int(frame[masks].to_numpy(dtype=bool).sum())
    options = [f"{name} = {value}" for name, value in spec.options.items() if value is not None]
    name = fit.plan.model.describe() + (f" ({', '.join(options)})" if options else "")
    return (
        f"{name}: {fit.trials.n_subjects} subjects, {n_scored:,} scored choices from {fit.trials.source}; "
        f"{spec.pooling} pooling, {spec.priors} priors, seed {spec.seed}"
    )


def _population(fit: Fit) -> Table:
    """One row per parameter: population median, or mean of these subjects without pooling."""
    quantity = _quantity(fit)
    group = summary(fit).query("quantity == @quantity").set_index("parameter")
    subjects = fit.subjects.groupby("parameter")["post_mean"]
    several = fit.spec.pooling != "complete"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("parameter", "meaning"):
        table.add_column(heading)
    centre = "mean" if quantity == "sample_mean" else "median"
    for heading in (centre, "95 % interval", *(["subjects"] if several else []), "R-hat"):
        table.add_column(heading, justify="right", no_wrap=True)
    for parameter in fit.spec.parameters:
        value, low, high, r_hat = (
            float(group[column][parameter.name]) for column in ("post_mean", "hdi95_lower", "hdi95_upper", "r_hat")
        )
        mean, low_text, high_text = rounded([value, low, high], high - low)
        cells = [parameter.name, parameter.description, mean, f"{low_text} to {high_text}"]
        if several:
            values = subjects.get_group(parameter.name)
            cells.append(" to ".join(rounded([values.min(), values.max()], high - low)))
        cells.append("-" if np.isnan(r_hat) else f"{r_hat:.3f}")
        table.add_row(*(Text(cell) for cell in cells))
    for row in _derived(fit, several):
        table.add_row(*(Text(cell, style="italic") for cell in row))
    return table


def _derived(fit: Fit, several: bool) -> Iterator[list[str]]:
    """Rows of the quantities that follow from the parameters, at their population medians."""
    found = derived(fit)
    for row in found[found["subject"] == ""].to_dict("records"):
        low, high = row["q2.5"], row["q97.5"]
        middle, low_text, high_text = rounded([row["median"], low, high], high - low)
        cells = [str(row["quantity"]), f"{row['description']}, derived", middle, f"{low_text} to {high_text}"]
        if several:
            of_subjects = found[(found["subject"] != "") & (found["quantity"] == row["quantity"])]["median"]
            cells.append(" to ".join(rounded([of_subjects.min(), of_subjects.max()], high - low)))
        yield [*cells, "-"]


EFFECTS_LEGEND = (
    "effect: link scale; change: of the population median, natural scale; P(sign): of being above or below 0; "
    "practically 0: within 0.1 sd between subjects; numbers per sd; sd(...): log of the ratio of sds between subjects"
)
_CHANGE = ("median_change_mean", "median_change_hdi95_lower", "median_change_hdi95_upper")


def render_effects(found: pd.DataFrame) -> Table:
    """Write effects or contrasts, as `fitrl.effects` and `fitrl.contrast` give them, for a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("parameter", "effect"):
        table.add_column(heading, overflow="fold")
    for heading in ("mean", "95 % interval", "P(sign)", "practically 0", "change", "95 % interval"):
        table.add_column(heading, justify="right")
    for row in found.to_dict("records"):
        share = float(row["rope_share"])
        middle = [f"{row['prob_direction']:.3f}", "-" if np.isnan(share) else f"{share:.2f}"]
        effect = _with_interval(row, ("post_mean", "hdi95_lower", "hdi95_upper"))
        cells = [str(row["parameter"]), str(row["effect"]), *effect, *middle, *_with_interval(row, _CHANGE)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def render_correlations(found: pd.DataFrame) -> Table:
    """Write the correlations between parameters, as `fitrl.correlations` gives them, for a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("correlation over subjects (link scale)", overflow="fold")
    for heading in ("mean", "95 % interval", "P(sign)"):
        table.add_column(heading, justify="right")
    for row in found.to_dict("records"):
        pair = f"{row['parameter_1']}, {row['parameter_2']}"
        interval = _with_interval(row, ("post_mean", "hdi95_lower", "hdi95_upper"))
        table.add_row(*(Text(cell) for cell in (pair, *interval, f"{row['prob_direction']:.3f}")))
    return table


def _with_interval(row: dict, columns: Iterable[str]) -> list[str]:
    """Write a value and its interval; dashes where there is none."""
    mean, low, high = (float(row[column]) for column in columns)
    if np.isnan(mean):
        return ["-", "-"]
    shown = rounded([mean, low, high], high - low)
    return [shown[0], f"{shown[1]} to {shown[2]}"]


def _quantity(fit: Fit) -> str:
    return "sample_mean" if fit.spec.pooling == "none" else "pop_median"


def rounded(values: Iterable[float], width: float) -> list[str]:
    """Write numbers with two significant digits of the width of their interval.

    Examples
    --------
    >>> rounded([0.3123, 0.2544, 0.3819], 0.1275)
    ['0.31', '0.25', '0.38']
    """
    digits = 2 if not width > 0 else int(np.clip(1 - np.floor(np.log10(width)), 0, 6))
    return [f"{value:.{digits}f}" for value in values]


def _legend(fit: Fit) -> str:
    scale = fit.trials.outcome_scale
    words = [
        "mean: of these subjects" if fit.spec.pooling == "none" else "median: of the population",
        "interval: highest density",
    ]
    if fit.plan.model.derived() and fit.spec.pooling != "none":
        words.append("derived: middle 95 %")
    if fit.spec.pooling != "complete":
        words.append("subjects: lowest to highest estimate")
    if scale != 1 and any(p.unit for p in fit.spec.parameters):
        words.append(f"in your outcome unit (outcomes were divided by {scale:g})")
    return "; ".join(words)


def _fixed(fit: Fit) -> str:
    parameters, scale = fit.plan.parameters, fit.trials.outcome_scale
    return ", ".join(
        f"{name} = {value * unit_factor(parameters[name], scale):g}" for name, value in fit.spec.fixed.items()
    )
