"""Forest plot of the effects of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fitrl.fitting.effects import ROPE, effects
from fitrl.hierarchy.plan import unit_factor
from fitrl.show import style

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

_SCALES = {
    "logit": "effect on the log-odds of the ",
    "probit_approx": "effect on the probit of the ",
    "log": "effect on the log of the ",
    "identity": "effect on the ",
}


def plot_effects(fit: Fit, *, ax: Any = None, **figure_kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Draw every effect with its interval, one panel per parameter with a formula, on the link scale.

    At the right of a new figure's panels stands how much each effect changes the median of the population on the
    natural scale, in the user's outcome unit; for ``sd(...)``, the factor of the standard deviation between subjects.

    Parameters
    ----------
    fit : Fit
        With formulas.
    ax : Axes or array of Axes, optional
        One per parameter with a formula; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (parameter,)

    Raises
    ------
    FitError
        If the fit has no formulas, or `ax` does not hold one axes per parameter.

    Examples
    --------
    >>> fig, axes = fitrl.plot_effects(result)  # doctest: +SKIP
    """
    table = effects(fit)
    names = [name for name in fit.plan.effects if name in set(table["parameter"])] if len(table) else []
    most = max((int((table["parameter"] == name).sum()) for name in names), default=1)
    described = {p.name: p for p in fit.spec.parameters}
    with style.style():
        size = (6.4, 1.5 + 0.45 * most)
        fig, axes, is_new = style.panels(max(len(names), 1), ax, size=size, columns=2, **figure_kwargs)
        for panel, name in zip(axes, names, strict=False):
            rows = table[table["parameter"] == name].iloc[::-1]
            y = np.arange(len(rows))
            sd = fit.idata["posterior"].get(f"{name}_sigma")
            if sd is not None:
                own_unit = unit_factor(described[name], fit.trials.outcome_scale)
                half = ROPE * float(sd.mean()) * (own_unit if described[name].link == "identity" else 1.0)
                panel.axvspan(-half, half, color=style.LIGHT_GREY, lw=0, zorder=0)
            panel.axvline(0, color=style.GREY, lw=1, zorder=1)
            panel.hlines(y, rows["hdi95_lower"], rows["hdi95_upper"], color=style.BLUE, lw=2.5, zorder=2)
            panel.plot(rows["post_mean"], y, "o", color=style.BLUE, ms=6, zorder=3)
            panel.set_yticks(y, [style.wrapped(str(effect), 26) for effect in rows["effect"]])
            panel.set_ylim(-0.6, len(rows) - 0.4)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))  # few: labels must not collide
            panel.set_xlabel(_scale(described[name], fit.trials.outcome_scale))
            if is_new:  # a user's figure may have no room between its panels
                _write_changes(panel, y, rows)
        handles = [
            Line2D([], [], color=style.BLUE, marker="o", ms=6, lw=2.5, label="posterior mean, 95 % HDI"),
            Patch(facecolor=style.LIGHT_GREY, label=f"within {ROPE:g} between-subject sd"),
        ]
        style.legend(fig, axes, is_new, handles, columns=2 if len(axes) > 1 else 1)
        style.finish(fig, axes, is_new, fit)
    return fig, axes


def _scale(parameter: Any, outcome_scale: float) -> str:
    """Say in words on which scale effects are drawn."""
    # Logs and log-odds of a change have no unit; an effect on the parameter itself is in that of the outcomes.
    label = style.parameter_label(parameter, outcome_scale if parameter.link == "identity" else 1.0, 99)
    if parameter.link in ("logit", "probit_approx") and (parameter.lower, parameter.upper) != (0.0, 1.0):
        low, high = np.array([parameter.lower, parameter.upper]) * unit_factor(parameter, outcome_scale)
        label += f" between {low:g} and {high:g}"
    return style.wrapped(_SCALES[parameter.link] + label.replace("\n", " "), 44)


def _write_changes(panel: Axes, y: np.ndarray, rows: pd.DataFrame) -> None:
    """Write the change on the natural scale at the right of each row."""
    for at, row in zip(y, rows.to_dict("records"), strict=True):
        panel.text(1.03, at, _change(row), transform=panel.get_yaxis_transform(), va="center", fontsize=9.5)
    heading = "change of the\npopulation median"
    panel.text(1.03, 1.0, heading, transform=panel.transAxes, va="bottom", fontsize=9.5)


def _change(row: Any) -> str:
    """Write the change of the population median; of effects on the spread, which move no median, the ratio."""
    if np.isnan(row["median_change_mean"]):
        middle, low, high = np.exp([row["post_mean"], row["hdi95_lower"], row["hdi95_upper"]])
        return f"sd \N{MULTIPLICATION SIGN} {_short(middle)} [{_short(low)}, {_short(high)}]"
    middle, low, high = (row[f"median_change_{k}"] for k in ("mean", "hdi95_lower", "hdi95_upper"))
    return f"{_short(middle)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Write two digits that count, without an exponent."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")
