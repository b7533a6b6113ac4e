"""Forest plot of the effects of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fitrl.fitting.effects import ROPE, effects
from fitrl.show import style

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


def plot_effects(fit: Fit, *, ax: Any = None, **figure_kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Draw every effect with its interval, one panel per parameter with a formula, on the link scale.

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
        size = (4.6, 1.2 + 0.45 * most)
        fig, axes, is_new = style.panels(max(len(names), 1), ax, size=size, columns=2, **figure_kwargs)
        for panel, name in zip(axes, names, strict=False):
            rows = table[table["parameter"] == name].iloc[::-1]
            y = np.arange(len(rows))
            sd = fit.idata["posterior"].get(f"{name}_sigma")
            if sd is not None:
                half = ROPE * float(sd.mean())
                panel.axvspan(-half, half, color=style.LIGHT_GREY, lw=0, zorder=0)
            panel.axvline(0, color=style.GREY, lw=1, zorder=1)
            panel.hlines(y, rows["hdi95_lower"], rows["hdi95_upper"], color=style.BLUE, lw=2.5, zorder=2)
            panel.plot(rows["post_mean"], y, "o", color=style.BLUE, ms=6, zorder=3)
            panel.set_yticks(y, [style.wrapped(str(effect), 26) for effect in rows["effect"]])
            panel.set_ylim(-0.6, len(rows) - 0.4)
            panel.set_xlabel(f"{style.parameter_label(described[name], 1.0, 40)}, {described[name].link} scale")
        handles = [
            Line2D([], [], color=style.BLUE, marker="o", ms=6, lw=2.5, label="posterior mean, 95 % HDI"),
            Patch(facecolor=style.LIGHT_GREY, label=f"within {ROPE:g} between-subject sd"),
        ]
        style.legend(fig, axes, is_new, handles, columns=2 if len(axes) > 1 else 1)
        style.finish(fig, axes, is_new, fit)
    return fig, axes
