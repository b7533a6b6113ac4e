"""Figures of groups or sessions side by side, which show whether the model knows what the drug does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fitrl.errors import FitError
from fitrl.show import style
from fitrl.show.predictions import Behaviour
from fitrl.show.report import DRAW

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

_MOST_LEVELS = 6  # panels of a figure that is written without being asked for


def plot_by(fit: Fit | Behaviour, by: str, signature: str | None = None, **figure_kwargs: Any) -> tuple[Figure, Any]:
    """Draw a signature of behaviour for groups or sessions side by side, each against its own predictions.

    Parameters
    ----------
    fit : Fit or Behaviour
        A fit, or its behaviour, which saves simulating again.
    by : str
        A column of the data that is constant within people, or within sessions.
    signature : str, optional
        Such as "stay" or "learning" (`Behaviour.names`); by default the first that the task has.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (level,), or (level, set size) for learning by set size

    Raises
    ------
    DataError
        If there is no such column, or a value is missing.
    FitError
        If it changes within a session, or no level has this signature.

    Examples
    --------
    >>> fig, axes = fitrl.plot_by(result, "drug", "stay")  # doctest: +SKIP
    """
    data = fit if isinstance(fit, Behaviour) else Behaviour(fit)
    name = data.names[0] if signature is None else signature
    parts = {level: part for level, part in data.split(by).items() if name in part.names}
    if not parts:
        raise FitError(f"no level of {by} has the signature {name}. These data have {', '.join(data.names)}.")
    wide = max(_n_panels(part, name) for part in parts.values())
    grid = (len(parts), wide) if wide > 1 else (1, len(parts))
    with style.style():
        size = (3.4 * grid[1] if wide > 1 else 5.0 * grid[1], 3.2 * grid[0] + 1.2)
        fig, axes = plt.subplots(*grid, squeeze=False, **{"figsize": size, "layout": "constrained", **figure_kwargs})
        axes = axes if wide > 1 else axes.T
        for row, (level, part) in zip(axes, parts.items(), strict=True):
            used = row[: _n_panels(part, name)]
            DRAW[name](part, ax=used if wide > 1 else used[0])
            used[0].set_title("\n".join([f"{by}: {level}", used[0].get_title(loc="left")]).strip(), loc="left")
            for ax in row[len(used) :]:
                ax.remove()
        _joined(fig, [ax for ax in axes.ravel() if ax.figure is not None], style.warning_of(data.fit))
    return fig, axes if wide > 1 else axes[:, 0]


def write_by(data: Behaviour, folder: Path, by: str) -> list[Path]:
    """Write a figure per signature, with a panel per group or session, as PNG, into a folder that exists.

    Parameters
    ----------
    data : Behaviour
    folder : Path
    by : str
        Column of groups or sessions.
    """
    written = []
    for name in dict.fromkeys(name for part in data.split(by).values() for name in part.names):
        figure, _ = plot_by(data, by, name)
        path = folder / f"{name}_by_{plain(by)}.png"
        figure.savefig(path)
        plt.close(figure)
        written.append(path)
    return written


def plain(name: str) -> str:
    """Write a name of the user's as part of a file's."""
    return re.sub(r"[^\w-]+", "_", name)


def factors(fit: Fit) -> list[str]:
    """Name the factors in the formulas of a fit that tell groups or sessions apart, if they have few levels."""
    covariates = {name: c for design in fit.plan.designs.values() for name, c in design.covariates.items()}
    return [n for n, c in covariates.items() if c.is_factor and c.varies != "row" and len(c.levels) <= _MOST_LEVELS]


def _n_panels(part: Behaviour, name: str) -> int:
    return part.tables(name)["observed"]["set_size"].nunique() if name == "set_size" else 1


def _joined(fig: Figure, axes: list[Any], warning: str) -> None:
    """Make one figure of panels that were drawn one by one: one scale, one legend, one warning."""
    lowest, highest = np.array([ax.get_ylim() for ax in axes]).T
    legend = axes[0].get_legend()
    handles, labels = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
    for ax in axes:
        ax.set_ylim(lowest.min(), highest.max())
        if ax.get_legend() is not None:
            ax.get_legend().remove()
        for text in [text for text in ax.texts if text.get_text() == warning]:
            text.remove()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    style.warn(fig, np.array(axes), True, warning)
