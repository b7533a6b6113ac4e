"""Figures of studies: truth against estimates, correlations, sizes, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from fitrl.language.parameters import Parameter
from fitrl.show import style
from fitrl.study.calibration import differences
from fitrl.study.design import Cell
from fitrl.study.report import LEAST_R

if TYPE_CHECKING:
    from fitrl.study.calibration import Calibration
    from fitrl.study.recovery import Recovery

_MOST_POINTS = 300  # more intervals would hide each other
_PANEL = (3.5, 3.4)


def write_recovery(study: Recovery, folder: Path) -> None:
    """Draw all figures of a recovery study into a folder."""
    folder.mkdir(parents=True)
    several = len(study.design.cells) > 1
    with style.style():
        for cell in study.design.cells:
            size = f"_{cell.name}" if several else ""
            _save(plot_subjects(study, cell)[0], folder / f"subjects{size}.png")
            if len(study.population):
                _save(plot_population(study, cell)[0], folder / f"population{size}.png")
            if len(study.design.estimated) > 1:
                _save(plot_correlations(study, cell)[0], folder / f"correlations{size}.png")
        if several:
            _save(plot_sizes(study)[0], folder / "sizes.png")


def write_calibration(study: Calibration, folder: Path) -> None:
    """Draw the figure of a calibration study into a folder."""
    folder.mkdir(parents=True)
    with style.style():
        _save(plot_ranks(study)[0], folder / "ranks.png")


def _save(fig: Figure, file: Path) -> None:
    fig.savefig(file)
    plt.close(fig)


@style.style()
def plot_subjects(study: Recovery, cell: Cell | None = None, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw estimates of subjects against the truth, one panel per parameter.

    Parameters
    ----------
    study : Recovery
    cell : Cell, optional
        Which size; by default the first.
    ax : Axes or array of Axes, optional
        One per parameter; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (parameter,)
    """
    cell = cell or study.design.cells[0]
    parameters = study.design.estimated
    found = _of_cell(study.subjects, cell)
    table = _rows(_of_cell(study.table, cell), "level", "parameter")
    fig, axes, is_new = style.panels(len(parameters), ax, size=_PANEL, below=1.0)
    for panel, (name, p) in zip(axes, parameters.items(), strict=True):
        shown = found[found["parameter"] == name]
        step = max(1, -(-len(shown) // _MOST_POINTS))
        _against_truth(panel, shown.iloc[::step], ["truth", "mean"], log=p.link == "log")
        row = table["subject", name]
        note = f"; {len(shown.iloc[::step])} of {len(shown)} drawn" if step > 1 else ""
        panel.set_title(f"r = {row['r']:.2f}, coverage {100 * row['coverage']:.0f} %{note}", fontsize=9.5)
        label = _label(p)
        panel.set_xlabel(f"true {label}")
        panel.set_ylabel(f"estimated {label}")
    _finish(fig, axes, is_new, study, f"{_size(cell)}: subjects", _handles())
    return fig, axes


@style.style()
def plot_population(study: Recovery, cell: Cell | None = None, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw estimates of the population against the truth: location and scale of every parameter.

    Parameters
    ----------
    study : Recovery
    cell : Cell, optional
        Which size; by default the first.
    ax : Axes or array of Axes, optional
        One per quantity, locations first; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes
    """
    cell = cell or study.design.cells[0]
    parameters = study.design.estimated
    found = _of_cell(study.population, cell)
    table = _rows(_of_cell(study.table, cell), "level", "parameter")
    n = len(parameters)
    fig, axes, is_new = style.panels(2 * n, ax, size=_PANEL, columns=n, below=1.0)
    what = {"location": "population mean", "scale": "between-subject sd"}
    for panel, (quantity, name) in zip(axes, ((q, name) for q in what for name in parameters), strict=True):
        shown = found[(found["parameter"] == name) & (found["quantity"] == quantity)]
        _against_truth(panel, shown, ["truth", "lower", "upper"], log=False)
        row = table[quantity, name]
        r = "" if np.isnan(row["r"]) else f"r = {row['r']:.2f}, "
        panel.set_title(f"{r}coverage {100 * row['coverage']:.0f} %", fontsize=9.5)
        label = f"{what[quantity]} of {name} ({_scale(parameters[name])})"
        panel.set_xlabel(style.wrapped(f"true {label}", 34))
        panel.set_ylabel(style.wrapped(f"estimated {label}", 34))
    _finish(fig, axes, is_new, study, f"{_size(cell)}: populations, one per data set", _handles())
    return fig, axes


def _against_truth(ax: Axes, found: pd.DataFrame, limits: list[str], *, log: bool) -> None:
    """Draw estimates against the truth; axes reach over the columns `limits`: long intervals may be cut."""
    inside = (found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])
    for hit, colour in ((True, style.BLUE), (False, style.VERMILION)):
        part = found[inside == hit]
        ax.vlines(part["truth"], part["lower"], part["upper"], color=colour, lw=0.7, alpha=0.35 if hit else 0.6)
        ax.plot(part["truth"], part["mean"], "o", ms=3.2, color=colour, alpha=0.8, mec="none")
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log")
    low, high = float(found[limits].min().min()), float(found[limits].max().max())
    if log:
        low, high = low / (high / low) ** 0.08, high * (high / low) ** 0.08
    else:
        low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
    ax.plot([low, high], [low, high], color=style.GREY, lw=1, zorder=0)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_box_aspect(1)
    if log:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())


@style.style()
def plot_correlations(study: Recovery, cell: Cell | None = None, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw correlations between parameters: of the true values, of the estimates, of the errors.

    Parameters
    ----------
    study : Recovery
    cell : Cell, optional
        Which size; by default the first.
    ax : Axes or array of Axes, optional
        Three; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (3,)
    """
    cell = cell or study.design.cells[0]
    names = list(study.design.estimated)
    pairs = _of_cell(study.correlations, cell)
    side = 1.6 + 0.55 * len(names)
    fig, axes, is_new = style.panels(3, ax, size=(side, side), columns=3, below=0.8)
    titles = {"true_r": "true values", "estimate_r": "estimates", "error_r": "errors (estimate - truth)"}
    for panel, (column, title) in zip(axes, titles.items(), strict=True):
        matrix = np.full((len(names), len(names)), np.nan)  # nothing to see on the diagonal
        for row in pairs.to_dict("records"):
            i, j = names.index(row["parameter_1"]), names.index(row["parameter_2"])
            matrix[i, j] = matrix[j, i] = row[column]
        panel.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr")
        for i, j in np.ndindex(matrix.shape):
            if np.isfinite(matrix[i, j]):
                colour = "white" if abs(matrix[i, j]) > 0.6 else style.BLACK
                panel.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=colour, fontsize=9.5)
        panel.set_title(title, fontsize=10)
        panel.set_xticks(range(len(names)), names, rotation=90 if len(names) > 2 else 0)
        panel.set_yticks(range(len(names)), names if panel is axes[0] else [""] * len(names))
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    _finish(fig, axes, is_new, study, f"{_size(cell)}: correlations between parameters", [])
    return fig, axes


@style.style()
def plot_sizes(study: Recovery, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw how recovery depends on the size of the experiment.

    Parameters
    ----------
    study : Recovery
        With several sizes.
    ax : Axes or array of Axes, optional
        Two per parameter, correlations first; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes
    """
    names = list(study.design.estimated)
    levels = ["subject", *(["location"] if len(study.population) else [])]
    fig, axes, is_new = style.panels(len(levels) * len(names), ax, size=(3.5, 2.9), columns=len(names), below=1.0)
    colours = dict(zip(study.design.subjects, style.CHAIN_COLOURS * len(study.design.subjects), strict=False))
    for panel, (level, name) in zip(axes, ((level, name) for level in levels for name in names), strict=True):
        rows = study.table.query("level == @level and parameter == @name")
        column = "r" if level == "subject" else "rmse"
        for n, colour in colours.items():
            line = rows[rows["n_subjects"] == n]
            panel.plot(line["n_trials"], line[column], "o-", ms=5, lw=1.5, color=colour, clip_on=False)
        panel.set_xticks(study.design.trials)
        panel.set_xlabel("trials per subject")
        if level == "subject":
            panel.axhline(LEAST_R, color=style.GREY, lw=1, ls="--")
            panel.set_ylim(min(0.0, float(np.nanmin([0.0, *rows["r"]]))), 1)
            panel.set_ylabel(f"{name}: r of subjects")
        else:
            panel.set_ylim(0, 1.1 * float(rows["rmse"].max()))
            panel.set_ylabel(f"{name}: error of the population\nmean (RMSE, {_scale(study.design.estimated[name])})")
    handles = [Line2D([], [], color=c, marker="o", ms=5, label=f"{n} subjects") for n, c in colours.items()]
    handles.append(Line2D([], [], color=style.GREY, ls="--", lw=1, label=f"r = {LEAST_R:g}, the least to rely on"))
    _finish(fig, axes, is_new, study, "by size of the experiment", handles)
    return fig, axes


@style.style()
def plot_ranks(study: Calibration, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw the distribution of ranks minus the uniform one, with simultaneous bands.

    Parameters
    ----------
    study : Calibration
    ax : Axes or array of Axes, optional
        One per quantity; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (quantity,)
    """
    verdicts = _rows(study.table, "quantity")
    found = differences(study.ranks)
    fig, axes, is_new = style.panels(len(found), ax, size=(3.1, 2.6), below=1.1, sharex=True, sharey=True)
    colours = {"passes": style.BLUE, "borderline": style.ORANGE, "fails": style.VERMILION}
    for panel, (name, d) in zip(axes, found.items(), strict=True):
        panel.fill_between(d.at, *d.family_band, color=style.LIGHT_GREY, alpha=0.5, lw=0)
        panel.fill_between(d.at, *d.band, color=style.LIGHT_GREY, lw=0)
        panel.axhline(0, color=style.GREY, lw=0.8)
        row = verdicts[(name,)]
        panel.step(d.at, d.difference, where="post", color=colours[row["status"]], lw=1.6)
        words = f"{name}: {row['status']}" + (f"\n{row['what']}" if row["what"] else "")
        panel.set_title(words, fontsize=9.5, color=style.BLACK if row["status"] == "passes" else colours[row["status"]])
        if panel.get_subplotspec().is_last_row() or not is_new:
            panel.set_xlabel("rank of the truth")
        if panel.get_subplotspec().is_first_col() or not is_new:
            panel.set_ylabel("share of ranks below\n- expected share")
    handles = [
        Patch(facecolor=style.LIGHT_GREY, label="95 % band of one quantity"),
        Patch(facecolor=style.LIGHT_GREY, alpha=0.5, label="95 % band of all together"),
    ]
    design = study.design
    title = f"{design.studies} data sets of {_size(design.cells[0])}"
    _finish(fig, axes, is_new, study, title, handles)
    return fig, axes


# Pieces -------------------------------------------------------------------------------------------------


def _rows(table: pd.DataFrame, *keys: str) -> dict[tuple[str, ...], dict[Any, Any]]:
    """Rows of a table by the values of some columns."""
    return {tuple(row[key] for key in keys): row for row in table.to_dict("records")}


def _of_cell(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    return table[(table["n_subjects"] == cell.subjects) & (table["n_trials"] == cell.trials)]


def _size(cell: Cell) -> str:
    return f"{cell.subjects} subjects x {cell.trials} trials"


def _label(p: Parameter) -> str:
    return style.wrapped(f"{p.description} ({p.name})", 30)


def _scale(p: Parameter) -> str:
    return {"log": "log", "identity": "natural scale"}.get(p.link, f"{p.link} scale" if p.link != "logit" else "logit")


def _handles() -> list[Line2D]:
    words = {style.BLUE: "mean and 95 % interval", style.VERMILION: "interval misses the truth"}
    handles = [Line2D([], [], color=c, marker="o", ms=4, lw=1, label=label) for c, label in words.items()]
    return [*handles, Line2D([], [], color=style.GREY, lw=1, label="estimate = truth")]


def _finish(fig: Figure, axes: np.ndarray, is_new: bool, study, title: str, handles: list) -> None:
    """Put title, warning and legend around a new figure."""
    if handles:
        style.legend(fig, axes, is_new, handles)
    if not is_new:
        return
    title = f"{study.design.describe()}, {title}"
    if study.design.quick:
        box: dict[str, Any] = {"facecolor": style.ALARM, "edgecolor": "none", "boxstyle": "square,pad=0.35"}
        layout = fig.get_layout_engine()
        if isinstance(layout, ConstrainedLayoutEngine):
            layout.set(h_pad=0.17)  # it leaves no room for the box around the text
        fig.suptitle(f"{title}\nQUICK APPROXIMATIONS (Laplace), not posteriors", fontsize=10.5, color="white", bbox=box)
        return
    n_bad = int((study.fits["status"] == "not converged").sum())
    if n_bad:
        title += f"\n{n_bad} of {len(study.fits)} fits did not converge"
    fig.suptitle(title, fontsize=11)
