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
from fitrl.show.behaviour import DATA, FREE, ONE_STEP
from fitrl.show.predictions import TABLE, Behaviour
from fitrl.show.report import DRAW

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

_MOST_LEVELS = 6  # panels of a figure that is written without being asked for
_COLUMNS = 4


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
    parts = {level: part for level, part in data.split(by).items() if _shows(part, name)}
    if not parts:
        raise FitError(f"no level of {by} has the signature {name}. These data have {', '.join(data.names)}.")
    wide = max(_n_panels(part, name) for part in parts.values())
    across = wide if wide > 1 else min(len(parts), _COLUMNS)
    down = len(parts) if wide > 1 else -(-len(parts) // across)
    with style.style():
        size = ((3.4 if wide > 1 else 5.0) * across, 3.2 * down + 1.4)
        settings = {"figsize": size, "layout": "constrained", **figure_kwargs}
        fig, axes = plt.subplots(down, across, squeeze=False, **settings)
        rows = axes if wide > 1 else axes.reshape(-1, 1)
        drawn = []
        for row, (level, part) in zip(rows, parts.items(), strict=False):
            own = row[: _n_panels(part, name)]
            DRAW[name](part, ax=own if wide > 1 else own[0])
            heading = f"{by}: {level}".replace("$", r"\$")
            own[0].set_title("\n".join([heading, own[0].get_title(loc="left")]).strip(), loc="left")
            drawn += list(own)
        for ax in set(axes.ravel()) - set(drawn):
            ax.remove()
        _joined(fig, drawn, data)
    return fig, axes if wide > 1 else rows[: len(parts), 0]


def write_by(data: Behaviour, folder: Path, by: str, ending: str | None = None) -> list[Path]:
    """Write a figure per signature, with a panel per group or session, as PNG, into a folder that exists.

    Parameters
    ----------
    data : Behaviour
    folder : Path
    by : str
        Column of groups or sessions.
    ending : str, optional
        What names of files end in; by default that column.
    """
    written = []
    for name in dict.fromkeys(name for part in data.split(by).values() for name in part.names):
        figure, _ = plot_by(data, by, name)
        path = folder / f"{name}_by_{plain(by) if ending is None else ending}.png"
        figure.savefig(path)
        plt.close(figure)
        written.append(path)
    return written


def plain(name: str) -> str:
    """Write a name of the user's as part of a file's."""
    return re.sub(r"[^\w-]+", "_", name)


def factors(fit: Fit) -> dict[str, str]:
    """Name the factors in the formulas of a fit that tell groups or sessions apart, if they have few levels.

    Returns
    -------
    dict of str to str
        What names of files about them end in.
    """
    covariates = {name: c for design in fit.plan.designs.values() for name, c in design.covariates.items()}
    found: dict[str, str] = {}
    for name, c in covariates.items():
        # Columns that the table of predictions has itself cannot be its first.
        if c.is_factor and c.varies != "row" and len(c.levels) <= _MOST_LEVELS and name not in TABLE:
            taken = plain(name) in found.values()
            found[name] = f"{plain(name)}_{len(found) + 1}" if taken else plain(name)
    return found


def _n_panels(part: Behaviour, name: str) -> int:
    return part.tables(name)["observed"]["set_size"].nunique() if name == "set_size" else 1


def _shows(part: Behaviour, name: str) -> bool:
    return name in part.names and bool(part.tables(name)["observed"]["mean"].notna().any())


def _joined(fig: Figure, axes: list[Any], data: Behaviour) -> None:
    """Make one figure of panels that were drawn one by one: one scale, one legend in full, one warning."""
    warning, why_not = style.warning_of(data.fit), data.predictions.why_not
    lowest, highest = np.array([ax.get_ylim() for ax in axes]).T
    legend = axes[0].get_legend()
    # Labels of single panels are cut at the colon.
    full = {text.split(":")[0]: text for text in (DATA, ONE_STEP, FREE)}
    full["No free-running prediction"] = style.wrapped(f"No free-running prediction: {why_not}", 78)
    handles, labels = legend.legend_handles, [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    labels = [full.get(label, f"{label}: agents learn from their own choices (95 % band)") for label in labels]
    for ax in axes:
        ax.set_ylim(lowest.min(), highest.max())
        if ax.get_legend() is not None:
            ax.get_legend().remove()
        for text in [text for text in ax.texts if text.get_text() == warning]:
            text.remove()
    fig.legend(handles, labels, loc="outside lower center", ncols=1)
    style.warn(fig, np.array(axes), True, warning)
