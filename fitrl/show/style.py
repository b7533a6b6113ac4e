"""The look of every figure: colours, fonts, axis labels, and the mark on fits that are not to be reported."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fitrl.errors import FitError

# Okabe and Ito's colours, told apart by the colour-blind (Wong 2011, 10.1038/nmeth.1618).
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#222222",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
CHAIN_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK)
GREY, LIGHT_GREY = "#8A8A8A", "#D4D4D4"
ALARM = "#C00000"

NOT_CONVERGED = "NOT CONVERGED - do not report"
QUICK = "QUICK APPROXIMATION - do not report"

_RC: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.9,
    "axes.edgecolor": "#444444",
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "savefig.dpi": 200,
}


@contextmanager
def style() -> Iterator[None]:
    """Return a context in which figures have the house style; global settings are left alone.

    Examples
    --------
    >>> with style():
    ...     fig = plt.figure()
    >>> plt.close(fig)
    """
    # Not mpl.rc_context, which also undoes what the first figure in Jupyter sets, and figures would not be shown.
    before = {name: mpl.rcParams[name] for name in _RC}
    mpl.rcParams.update(_RC)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def panels(
    n: int, ax, *, size: tuple[float, float], columns: int = 4, below: float = 0.9, **figure_kwargs
) -> tuple[Figure, np.ndarray, bool]:
    """Return a figure with `n` axes, new or the user's.

    Parameters
    ----------
    n : int
        Number of panels.
    ax : Axes or array of Axes or None
        The user's axes; None for a new figure.
    size : (float, float)
        Width and height of one panel in inches.
    columns : int
        At most so many panels side by side.
    below : float
        Inches that a new figure has for the legend and the warning, in addition to the panels.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (n,)
    is_new : bool
        Whether the figure was made here.

    Raises
    ------
    FitError
        If the user's axes are fewer or more than the panels.
    """
    if ax is not None:
        axes = np.array([ax], dtype=object) if isinstance(ax, Axes) else np.asarray(ax, dtype=object).ravel()
        if len(axes) != n:
            raise FitError(
                f"ax holds {len(axes)} axes; this figure has {n} panel(s). "
                "Pass one axes per panel, or leave ax out for a new figure."
            )
        return axes[0].figure, axes, False
    width = _columns(n, columns)
    height = -(-n // width)
    # Room at the edges for the warning, and between rows for titles below labels.
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figsize = (size[0] * width, size[1] * height + below)
    settings = {"figsize": figsize, "layout": layout, **figure_kwargs}
    fig, grid = plt.subplots(height, width, squeeze=False, **settings)
    for unused in grid.ravel()[n:]:
        unused.remove()
    return fig, grid.ravel()[:n], True


def _columns(n: int, most: int) -> int:
    """Return the number of columns that leaves the fewest holes in a grid of at most `most` columns."""
    if n <= most:
        return n
    rows = -(-n // most)
    return -(-n // rows)


def parameter_label(parameter, outcome_scale: float = 1.0, width: int = 34) -> str:
    """Return "learning rate (alpha)", with the unit if the value depends on that of the outcomes.

    Parameters
    ----------
    parameter : ParameterSpec
        Its name, description and unit.
    outcome_scale : float
        Outcomes were divided by it; at 1 there is nothing to add.
    width : int
        Longest line in characters; a longer label is broken, if it can be before the bracket.
    """
    unit = {"": "", "outcome": ", outcome units", "1/outcome": ", per outcome unit"}[parameter.unit]
    symbol = f"({parameter.name}{unit if outcome_scale != 1 else ''})"
    label = f"{parameter.description} {symbol}"
    if len(label) <= width or len(symbol) < 0.5 * width < len(parameter.description):
        return wrapped(label, width)
    return f"{wrapped(parameter.description, width)}\n{wrapped(symbol, width)}"


def wrapped(text: str, width: int) -> str:
    """Break a label into lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(text, max(12, int(width))))


def warning_of(fit) -> str:
    """Return what every figure of this fit has to say first: empty for a converged fit or without a fit."""
    if fit is None or fit.verdict.converged:
        return ""
    return QUICK if fit.verdict.status == "quick" else NOT_CONVERGED


def finish(fig: Figure, axes: np.ndarray, is_new: bool, fit) -> None:
    """Put the warning on top of a figure if the fit deserves one.

    Parameters
    ----------
    fig : Figure
    axes : ndarray of Axes
    is_new : bool
        Whether the figure is ours; on a user's figure the warning goes above each of the axes.
    fit : Fit or None
        Its verdict decides on the warning.
    """
    warn(fig, axes, is_new, warning_of(fit))


def warn(fig: Figure, axes: np.ndarray, is_new: bool, warning: str) -> None:
    """Put a warning on top of a figure, if there is one; see `finish`."""
    if not warning:
        return
    font: dict[str, Any] = {
        "color": "white",
        "fontweight": "bold",
        "bbox": {"facecolor": ALARM, "edgecolor": "none", "boxstyle": "square,pad=0.35"},
    }
    if is_new:
        # suptitle is the one text for which the layout keeps room.
        fig.suptitle(warning, fontsize=11, **font)
        return
    above_title: dict[str, Any] = {"xytext": (0, 24), "textcoords": "offset points", "ha": "center"}
    for ax in axes:
        ax.annotate(warning, (0.5, 1), xycoords="axes fraction", fontsize=9, **above_title, **font)


def legend(fig: Figure, axes: np.ndarray, is_new: bool, handles, *, columns: int = 3, title: str = "") -> None:
    """Put the legend below a new figure, or below the first of the user's axes."""
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": columns}
    if not is_new:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.28), "ncols": 1}
    owner = fig if is_new else axes[0]
    owner.legend(handles=handles, title=title or None, title_fontsize=9.5, **place)
