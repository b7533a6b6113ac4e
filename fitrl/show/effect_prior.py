"""Figure of what the prior of an effect means on the natural scale, before any data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fitrl.fitting.effect_prior import Implied, implied, interval
from fitrl.fitting.fit import prepare
from fitrl.hierarchy.plan import unit_factor
from fitrl.language.parameters import Parameter
from fitrl.show import style

_BINS = 40


def plot_effect_prior(model: Any, trials: Any, *, ax: Any = None, **declaration: Any) -> tuple[Figure, np.ndarray]:
    """Draw what the priors of formulas imply: the median subject in each cell, and the differences between cells.

    Parameters
    ----------
    model, trials, **declaration
        As in `fitrl.fit`, up to `subjects`, with `formulas`. Nothing is sampled.
    ax : array of Axes, optional
        Two per parameter with a formula; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (2 * parameter,)
        Of each parameter: cells, differences.

    Raises
    ------
    ModelError
        If there is no formula, or it cannot be used.
    FitError
        If `ax` does not hold two axes per parameter.

    Examples
    --------
    >>> fig, axes = fitrl.plot_effect_prior("q_learning", "drug.csv", formulas={"alpha": "drug"})  # doctest: +SKIP
    """
    plan, trials, _ = prepare(model, trials, **declaration)
    found = implied(plan, trials.outcome_scale)
    names = list(plan.effects)
    rows = {name: [one for one in found if one.parameter == name] for name in names}
    most = max(sum(one.what == what for one in own) for own in rows.values() for what in ("cell", "difference"))
    with style.style():
        size = (5.2, 1.3 + 0.66 * most)
        fig, axes, is_new = style.panels(2 * len(names), ax, size=size, columns=2)
        for left, right, name in zip(axes[::2], axes[1::2], names, strict=True):
            parameter, own = plan.parameters[name], rows[name]
            of_cells = [one for one in own if one.what == "cell"]
            of_differences = [one for one in own if one.what == "difference"]
            _ridges(left, of_cells, _range(parameter, of_cells, trials.outcome_scale))
            left.set_xlabel(f"{style.parameter_label(parameter, trials.outcome_scale, 44)}, median subject")
            left.set_yticks(range(len(of_cells)), [one.label.replace(", ", "\n") for one in of_cells])
            reach = max(np.quantile(np.abs(one.draws), 0.985) for one in of_differences)
            _ridges(right, of_differences, (-reach, reach))
            right.axvline(0, color=style.GREY, lw=1, zorder=1)
            right.set_xlabel(f"difference in {name}")
            right.set_yticks(range(len(of_differences)), [_broken(one.label) for one in of_differences])
            for y, one in enumerate(of_differences):
                over = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # the line at 0
                right.text(0, y + 0.19, f"95 %: {interval(one)}", ha="center", va="top", fontsize=9.5, bbox=over)
        handles = [
            Patch(facecolor=style.LIGHT_GREY, label="draws from the prior"),
            Line2D([], [], color=style.BLACK, marker="o", ms=5, lw=2.5, label="median and central 95 %"),
        ]
        style.legend(fig, axes, is_new, handles, columns=2, title="before any data: what the priors say")
    return fig, axes


def _ridges(ax: Axes, rows: Sequence[Implied], window: tuple[float, float]) -> None:
    """One histogram per row, the first on top, with median and interval below it."""
    edges = np.linspace(*window, _BINS + 1)
    for y, one in enumerate(rows):
        heights = np.histogram(one.draws, edges)[0].astype(float)
        heights *= 0.52 / (heights.max() or 1.0)
        ax.stairs(y - heights, edges, baseline=y, fill=True, color=style.LIGHT_GREY, lw=0, zorder=2)
        low, middle, high = np.clip(np.quantile(one.draws, [0.025, 0.5, 0.975]), *window)
        ax.plot([low, high], [y + 0.1] * 2, color=style.BLACK, lw=2.5, solid_capstyle="butt", zorder=3)
        ax.plot([middle], [y + 0.1], "o", color=style.BLACK, ms=5, zorder=4)
    ax.set(xlim=window, ylim=(len(rows) - 0.5, -0.8))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _broken(label: str) -> str:
    """Break the name of an effect into lines, first at the colons of an interaction."""
    return "\n".join(style.wrapped(part, 26) for part in label.replace("]:", "]:\n").split("\n"))


def _range(parameter: Parameter, rows: Sequence[Implied], outcome_scale: float) -> tuple[float, float]:
    """Where values may lie; without bounds, where nearly all do."""
    ends = np.array([parameter.lower, parameter.upper]) * unit_factor(parameter, outcome_scale)
    nearly = np.quantile(np.concatenate([one.draws for one in rows]), [0.01, 0.985])
    low, high = np.where(np.isfinite(ends), ends, nearly)
    return float(low), float(high)
