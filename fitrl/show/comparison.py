"""Figure of a comparison: differences with their standard errors, and who they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitrl.show import style

if TYPE_CHECKING:
    from fitrl.comparison.compare import Comparison


def plot_comparison(comparison: Comparison, *, ax: Any = None, **figure_kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Draw how much worse than the best each model predicts, and the differences of single subjects.

    Parameters
    ----------
    comparison : Comparison
        What `fitrl.compare` returns.
    ax : array of Axes, optional
        Two panels; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (2,)

    Examples
    --------
    >>> fig, axes = plot_comparison(fitrl.compare([first, second]))  # doctest: +SKIP
    """
    table = comparison.table.iloc[::-1]
    with style.style():
        size = (5.2, max(2.6, 0.5 * len(table) + 1.4))
        fig, axes, is_new = style.panels(2, ax, size=size, columns=2, **figure_kwargs)
        place = np.arange(len(table))
        axes[0].axvline(0, color=style.GREY, lw=1, ls="--")
        axes[0].errorbar(table["elpd_diff"], place, xerr=table["dse"].fillna(0.0), fmt="o", color=style.BLUE, capsize=3)
        labels = [
            f"{name}{'' if converged else ' (NOT CONVERGED)'}"
            for name, converged in zip(table["model"], table["converged"], strict=True)
        ]
        axes[0].set_yticks(place, labels)
        axes[0].set(xlabel="elpd difference to the best (± 1 SE over subjects)", ylim=(-0.6, len(table) - 0.4))
        _subjects(axes[1], comparison)
        style.warn(fig, axes, is_new, "" if comparison.table["converged"].all() else style.NOT_CONVERGED)
    return fig, axes


def _subjects(ax: Axes, comparison: Comparison) -> None:
    """Differences of single subjects between the best model and the next one, sorted."""
    names = list(comparison.table["model"])
    if len(names) < 2:
        ax.set_axis_off()
        return
    second = comparison.subjects.query("model == @names[1]")["elpd_diff"].sort_values().to_numpy()
    colours = np.where(second < 0, style.BLUE, style.ORANGE)
    ax.bar(np.arange(len(second)), second, color=colours, width=0.9)
    ax.axhline(0, color=style.GREY, lw=1)
    n_for = int((second < 0).sum())
    ax.set(xlabel="subjects, sorted", ylabel="elpd difference", xticks=[])
    ax.set_title(f"{names[1]} against {names[0]}: {n_for} of {len(second)} subjects for {names[0]}", fontsize=9.5)
