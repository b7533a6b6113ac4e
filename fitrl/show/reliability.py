"""Figure of test-retest reliability: one session against another, subject by subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import highest_density
from fitrl.fitting.reliability import find_sessions, reliability, session_values
from fitrl.hierarchy.links import link_of, natural
from fitrl.hierarchy.plan import unit_factor
from fitrl.show import style

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

_SHARES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)  # ticks between two bounds
_STEPS = (1.0, 2.0, 3.0, 5.0, 7.0)  # ticks above a bound, times powers of ten
_FEWEST_TICKS, _GAP = 3, 0.15  # apart by a share of the axis, for their labels not to collide


def plot_reliability(
    fit: Fit,
    over: str = "session",
    *,
    pair: Sequence[str] | None = None,
    table: pd.DataFrame | None = None,
    ax: Any = None,
    **figure_kwargs: Any,
) -> tuple[Figure, np.ndarray]:
    """Draw every subject's value in one session against that in another, one panel per parameter.

    Axes are stretched as the link does, so that distances are those that the correlation is about; their numbers are on
    the natural scale.

    Parameters
    ----------
    fit : Fit
        With values that differ by subject and session; see `fitrl.reliability`.
    over : str
        The factor, ``"session"`` or another one within subjects.
    pair : two str, optional
        Which two of its levels; by default the first two.
    table : DataFrame, optional
        What `fitrl.reliability` returned, if it is at hand.
    ax : Axes or array of Axes, optional
        One per parameter; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (parameter,)

    Raises
    ------
    FitError
        If there are no such values, `pair` is not two of the levels, or `ax` does not hold one axes per parameter.

    Examples
    --------
    >>> fig, axes = fitrl.plot_reliability(result, "session")  # doctest: +SKIP
    """
    sessions = find_sessions(fit, over)
    covariate = next(iter(sessions.values()))
    first, second = _pair(pair, covariate.levels, covariate.name)
    table = reliability(fit, over, separate=False) if table is None else table
    found = {row["parameter"]: row for row in table.to_dict("records")}
    described = {p.name: p for p in fit.spec.parameters}
    with style.style():
        columns = 3 if len(sessions) > 2 else 2
        fig, axes, is_new = style.panels(
            len(sessions), ax, size=(3.9, 3.9), columns=columns, below=1.5, **figure_kwargs
        )
        for panel, (name, own) in zip(axes, sessions.items(), strict=True):
            values = session_values(fit, name, own).sel(level=[first, second])
            _scatter(panel, values.to_dataset(name="x"))
            _natural_ticks(panel, described[name], fit.trials.outcome_scale)
            label = style.parameter_label(described[name], fit.trials.outcome_scale, 30)
            panel.set_xlabel(f"{label}\n{covariate.name} {first}")
            panel.set_ylabel(f"{covariate.name} {second}")
            row = found[name]
            interval = f"[{row['hdi95_lower']:.2f}, {row['hdi95_upper']:.2f}]"
            panel.set_title(f"correlation {row['post_mean']:.2f}  {interval}", fontsize=10, loc="center")
        handles = [
            Line2D([], [], color=style.BLUE, marker="o", ms=5, lw=1.2, label="subject: posterior mean, 95 % HDI"),
            Line2D([], [], color=style.GREY, ls="--", lw=1, label="no change"),
        ]
        words = "correlation: of the subjects' values, mean and 95 % HDI; the dots themselves are shrunken"
        title = style.wrapped(words, 96 if len(axes) > 1 else 46)
        style.legend(fig, axes, is_new, handles, columns=2 if len(axes) > 1 else 1, title=title)
        style.finish(fig, axes, is_new, fit)
    return fig, axes


def _pair(pair: Sequence[str] | None, levels: tuple[str, ...], name: str) -> tuple[str, str]:
    chosen = tuple(map(str, levels[:2] if pair is None else pair))
    if len(chosen) != 2 or chosen[0] == chosen[1] or not set(chosen) <= set(levels):
        raise FitError(f"pair is {pair}; expected two different levels of {name}, which are {', '.join(levels)}.")
    return chosen[0], chosen[1]


def _scatter(ax: Axes, values: Any) -> None:
    """Dots with an interval in each direction, on the link scale."""
    both = values.dropna("subject")
    x, y = both["x"].mean(["chain", "draw"]).transpose("level", "subject").to_numpy()
    low, high = (bound["x"].transpose("level", "subject").to_numpy() for bound in highest_density(both))
    weight, opacity = (1.1, 0.45) if len(x) <= 40 else (0.7, 0.25)
    ax.hlines(y, low[0], high[0], color=style.BLUE, lw=weight, alpha=opacity)
    ax.vlines(x, low[1], high[1], color=style.BLUE, lw=weight, alpha=opacity)
    ax.scatter(x, y, s=26 if len(x) <= 40 else 14, color=style.BLUE, edgecolors="white", lw=0.5, zorder=3)
    ends = np.array([low.min(initial=np.inf), high.max(initial=-np.inf)])
    ends += np.array([-0.04, 0.04]) * np.ptp(ends)
    ax.plot(ends, ends, color=style.GREY, ls="--", lw=1, zorder=1)
    ax.set(xlim=ends, ylim=ends, aspect="equal")


def _natural_ticks(ax: Axes, parameter: Any, outcome_scale: float) -> None:
    """Write natural values, in the user's outcome unit, at their places on the link scale."""
    factor, ends = unit_factor(parameter, outcome_scale), np.array(ax.get_xlim())
    link = (parameter.link, parameter.lower, parameter.upper)

    def place(values: np.ndarray) -> np.ndarray:
        return link_of(values / factor, *link)

    low, high = factor * natural(ends, *link)
    # Round values of the whole range; in a window too narrow for them, round steps, the finer the narrower it is.
    candidates = [] if parameter.link == "identity" else [_round_values(parameter, factor)]
    candidates += [
        np.asarray(MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)) for n in (4, 5, 6, 8, 12)
    ]
    for values in candidates:
        shown = values[(values > low) & (values < high)]
        shown = shown[_spaced(place(shown), _GAP * np.ptp(ends))]
        if len(shown) >= _FEWEST_TICKS:
            break
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(place(shown), [f"{value:g}" for value in shown])


def _round_values(parameter: Any, factor: float) -> np.ndarray:
    """Values that one looks for on the axis of a bounded parameter, in the user's unit."""
    if parameter.link == "log":
        above = np.outer(10.0 ** np.arange(-6, 7), _STEPS).ravel()
    else:
        above = np.array(_SHARES) * (parameter.upper - parameter.lower) * factor
    return parameter.lower * factor + above


def _spaced(places: np.ndarray, gap: float) -> list[int]:
    """Pick sorted places, from the left, that are no closer than `gap`; returns their indices."""
    kept: list[int] = []
    for i, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= gap:
            kept.append(i)
    return kept
