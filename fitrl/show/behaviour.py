"""Figures of behaviour: what people did, and what the fitted model says they would do."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fitrl.errors import FitError
from fitrl.show import style

DATA = "data: mean over subjects ± 1 SE"
ONE_STEP = "one-step: each choice predicted from the subject's own past (95 % band)"
FREE = "free-running: simulated subjects learn from their own choices (95 % band)"
_ONE_STEP_COLOUR, _FREE_COLOUR = style.BLUE, style.ORANGE
_MARKERS = {_ONE_STEP_COLOUR: "s", _FREE_COLOUR: "D"}


def plot_learning(
    observed: pd.DataFrame,
    one_step: pd.DataFrame | None = None,
    free: pd.DataFrame | None = None,
    *,
    label: str = "better option",
    chance: float | None = None,
    no_free_run: str = "",
    note: str = "",
    fit=None,
    ax=None,
    **figure_kwargs,
) -> tuple[Figure, Axes]:
    """Draw a learning curve against the model's predictions.

    Parameters
    ----------
    observed : DataFrame
        Columns x, mean, lower, upper: `fitrl.tasks.signatures.learning_curve` of the data.
    one_step, free : DataFrame, optional
        Columns x, mean, lower, upper: `fitrl.tasks.signatures.predictive_band` of the curves of
        simulated choices, one step ahead and free-running.
    label : str
        What counts as correct; the label that `correct_choice` returns.
    chance : float, optional
        Level of guessing, drawn as a dotted line.
    no_free_run : str
        Why there is no free-running prediction; written below the panel when `free` is left out.
    note : str
        What else is to be known of the curve; written below the panel.
    fit : Fit, optional
        Its verdict decides whether the figure carries a warning.
    ax : Axes, optional
        By default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If a table lacks a column.

    Examples
    --------
    >>> observed = pd.DataFrame({"x": [1, 2], "mean": [0.5, 0.8], "lower": [0.4, 0.7], "upper": [0.6, 0.9]})
    >>> fig, ax = plot_learning(observed)
    """
    with style.style():
        fig, axes, is_new = style.panels(1, ax, size=(6.6, 3.6), below=1.2, **figure_kwargs)
        _curves(axes[0], observed, one_step, free, chance)
        axes[0].set(xlabel="trial", ylabel=_chose(label))
        _finish(fig, axes, is_new, fit, one_step, free, no_free_run, note=note)
    return fig, axes[0]


def plot_reversal(
    observed: pd.DataFrame,
    one_step: pd.DataFrame | None = None,
    free: pd.DataFrame | None = None,
    *,
    chance: float | None = None,
    no_free_run: str = "",
    fit=None,
    ax=None,
    **figure_kwargs,
) -> tuple[Figure, Axes]:
    """Draw choices of the currently best option around reversals against the model's predictions.

    Parameters
    ----------
    observed : DataFrame
        Columns x (lag), mean, lower, upper: `fitrl.tasks.signatures.post_reversal_curve` of the data.
    one_step, free, chance, no_free_run, fit, ax, **figure_kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If a table lacks a column, or the data hold no reversal.

    Examples
    --------
    >>> observed = pd.DataFrame({"x": [-1, 0], "mean": [0.8, 0.3], "lower": [0.7, 0.2], "upper": [0.9, 0.4]})
    >>> fig, ax = plot_reversal(observed)
    """
    _check(observed, "the data")
    if not observed["mean"].notna().any():
        raise FitError(
            "the best option never changes in these data, so that there is no reversal to draw; expected "
            "payoffs that reverse. Use plot_learning."
        )
    with style.style():
        fig, axes, is_new = style.panels(1, ax, size=(6.6, 3.6), below=1.2, **figure_kwargs)
        axes[0].axvline(-0.5, color=style.GREY, ls="--", lw=1, zorder=1)
        _curves(axes[0], observed, one_step, free, chance)
        axes[0].set(xlabel="trials since the reversal", ylabel="chose the currently best option")
        _finish(fig, axes, is_new, fit, one_step, free, no_free_run)
    return fig, axes[0]


def plot_stay(
    observed: pd.DataFrame,
    one_step: pd.DataFrame | None = None,
    free: pd.DataFrame | None = None,
    *,
    label: str = "share of trials",
    no_free_run: str = "",
    fit=None,
    ax=None,
    **figure_kwargs,
) -> tuple[Figure, Axes]:
    """Draw how often wins are followed by a stay and losses by a shift, against the model's predictions.

    Parameters
    ----------
    observed : DataFrame
        Columns x, mean, lower, upper: `fitrl.tasks.signatures.stay_rates` of the data.
    label : str
        What is counted.
    one_step, free, no_free_run, fit, ax, **figure_kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If a table lacks a column.

    Examples
    --------
    >>> observed = pd.DataFrame({"x": ["stay after win"], "mean": [0.8], "lower": [0.7], "upper": [0.9]})
    >>> fig, ax = plot_stay(observed)
    """
    with style.style():
        size = (max(6.6, 0.55 * len(observed)), 3.4)
        fig, axes, is_new = style.panels(1, ax, size=size, below=1.2, **figure_kwargs)
        _categories(axes[0], observed, one_step, free, None)
        axes[0].set_ylabel(label)
        _finish(fig, axes, is_new, fit, one_step, free, no_free_run, markers=True)
    return fig, axes[0]


def plot_accuracy(
    observed: pd.DataFrame,
    one_step: pd.DataFrame | None = None,
    free: pd.DataFrame | None = None,
    *,
    label: str = "better option",
    chance: float | None = None,
    no_free_run: str = "",
    fit=None,
    ax=None,
    **figure_kwargs,
) -> tuple[Figure, Axes]:
    """Draw the share of correct choices, overall and for each set of options, against the predictions.

    Parameters
    ----------
    observed : DataFrame
        Columns x, mean, lower, upper: `fitrl.tasks.signatures.accuracy` of the data.
    one_step, free, label, chance, no_free_run, fit, ax, **figure_kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If a table lacks a column.

    Examples
    --------
    >>> observed = pd.DataFrame({"x": ["all"], "mean": [0.8], "lower": [0.7], "upper": [0.9]})
    >>> fig, ax = plot_accuracy(observed)
    """
    with style.style():
        size = (max(6.6, 0.55 * len(observed)), 3.4)
        fig, axes, is_new = style.panels(1, ax, size=size, below=1.2, **figure_kwargs)
        _categories(axes[0], observed, one_step, free, chance)
        axes[0].set_ylabel(_chose(label))
        _finish(fig, axes, is_new, fit, one_step, free, no_free_run, markers=True)
    return fig, axes[0]


def plot_set_size(
    observed: pd.DataFrame,
    one_step: pd.DataFrame | None = None,
    free: pd.DataFrame | None = None,
    *,
    chance: float | None = None,
    no_free_run: str = "",
    fit=None,
    ax=None,
    **figure_kwargs,
) -> tuple[Figure, np.ndarray]:
    """Draw how actions are learned for each number of stimuli, a panel each, against the model's predictions.

    Parameters
    ----------
    observed : DataFrame
        Columns set_size, presentation, x, mean, lower, upper: `fitrl.tasks.signatures.learning_by_set_size` of the
        data; predictions have the same x.
    one_step, free, chance, no_free_run, fit, ax, **figure_kwargs
        As in `plot_learning`; one axes per number of stimuli.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (set size,)

    Raises
    ------
    FitError
        If a table lacks a column.

    Examples
    --------
    >>> where = {"set_size": [2, 2], "presentation": [1, 2], "x": ["2, 1st", "2, 2nd"]}
    >>> observed = pd.DataFrame({**where, "mean": [0.4, 0.8], "lower": [0.3, 0.7], "upper": [0.5, 0.9]})
    >>> fig, axes = plot_set_size(observed)
    """
    _check(observed, "the data")
    sizes = observed["set_size"].unique()
    with style.style():
        fig, axes, is_new = style.panels(len(sizes), ax, size=(3.0, 2.6), columns=3, below=1.2, **figure_kwargs)
        for panel, size in zip(axes, sizes, strict=True):
            own = (observed["set_size"] == size).to_numpy()
            place = observed.loc[own, "presentation"].to_numpy()
            one, other = (None if table is None else table[own].assign(x=place) for table in (one_step, free))
            _curves(panel, observed[own].assign(x=place), one, other, chance)
            panel.set(title=f"{size:g} stimuli", xlabel="presentation of a stimulus", ylim=(-0.02, 1.02))
        axes[0].set_ylabel("right action")
        _finish(fig, axes, is_new, fit, one_step, free, no_free_run)
    return fig, axes


def _chose(label: str) -> str:
    return style.wrapped(f"chose the {label}", 36)


def _check(table: pd.DataFrame, what: str) -> None:
    absent = [name for name in ("x", "mean", "lower", "upper") if name not in table]
    if absent:
        raise FitError(
            f"the table of {what} has no column {', '.join(absent)}; expected x, mean, lower, upper. "
            "Make it with the functions of fitrl.tasks.signatures."
        )


def _predictions(one_step: pd.DataFrame | None, free: pd.DataFrame | None):
    """Return (table, colour) of the predictions there are, free-running first, to be drawn below."""
    tables = (
        (free, _FREE_COLOUR, "the free-running prediction"),
        (one_step, _ONE_STEP_COLOUR, "the one-step prediction"),
    )
    found = []
    for table, colour, what in tables:
        if table is not None:
            _check(table, what)
            found.append((table, colour))
    return found


def _curves(ax: Axes, observed: pd.DataFrame, one_step, free, chance: float | None) -> None:
    _check(observed, "the data")
    if chance is not None:
        ax.axhline(chance, color=style.GREY, ls=":", lw=1.2, zorder=1)
    for table, colour in _predictions(one_step, free):
        ax.fill_between(table["x"], table["lower"], table["upper"], color=colour, alpha=0.25, lw=0, zorder=2)
        ax.plot(table["x"], table["mean"], color=colour, lw=2, zorder=3)
    _dots(ax, observed["x"].to_numpy(dtype=float), observed, style.BLACK)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    _limit(ax, [observed, one_step, free], chance)


def _categories(ax: Axes, observed: pd.DataFrame, one_step, free, chance: float | None) -> None:
    """Draw data and predictions side by side over labels."""
    _check(observed, "the data")
    names = [str(name) for name in observed["x"]]
    place = {name: i for i, name in enumerate(names)}
    if chance is not None:
        ax.axhline(chance, color=style.GREY, ls=":", lw=1.2, zorder=1)
    shift = {_ONE_STEP_COLOUR: 0.17, _FREE_COLOUR: 0.34}
    for table, colour in _predictions(one_step, free):
        at = np.array([place[str(name)] for name in table["x"] if str(name) in place], dtype=float)
        known = table[[str(name) in place for name in table["x"]]]
        _dots(ax, at - 0.17 + shift[colour], known, colour, marker=_MARKERS[colour])
    _dots(ax, np.arange(len(names)) - 0.17, observed, style.BLACK)
    shown = [name.replace(", ", ",\n") for name in names]
    crowded = sum(max(map(len, name.split("\n"))) for name in shown) > 55
    ax.set_xticks(range(len(names)), shown, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    if crowded:
        for tick in ax.get_xticklabels():
            tick.set_rotation_mode("anchor")
    ax.set_xlim(-0.6, len(names) - 0.4)
    _limit(ax, [observed, one_step, free], chance)


def _dots(ax: Axes, x: np.ndarray, table: pd.DataFrame, colour: str, marker: str = "o") -> None:
    mean = table["mean"].to_numpy(dtype=float)
    # One subject has no standard error: a dot without a bar.
    # Of equal draws the mean may lie beyond the quantiles by a rounding error.
    down = np.maximum(np.nan_to_num(mean - table["lower"].to_numpy(dtype=float)), 0.0)
    up = np.maximum(np.nan_to_num(table["upper"].to_numpy(dtype=float) - mean), 0.0)
    ax.errorbar(x, mean, [down, up], fmt=marker, color=colour, ms=5.5, lw=1.4, zorder=4)


def _limit(ax: Axes, tables, chance: float | None) -> None:
    """Set the y axis to the tenths that hold everything drawn."""
    columns = [t[["mean", "lower", "upper"]].to_numpy(dtype=float).ravel() for t in tables if t is not None]
    values = np.concatenate([*columns, [] if chance is None else [chance]])
    values = values[np.isfinite(values)]
    if values.size:
        low = math.floor(10 * (values.min() - 0.02)) / 10
        high = math.ceil(10 * (values.max() + 0.02)) / 10
        ax.set_ylim(max(low, -0.02), min(high, 1.02))


def _finish(
    fig, axes: np.ndarray, is_new: bool, fit, one_step, free, no_free_run: str, *, markers: bool = False, note: str = ""
) -> None:
    """Add the legend, the reason for a missing free-running prediction, a note, and the warning."""
    handles = [Line2D([], [], color=style.BLACK, marker="o", ls="", ms=5.5, label=DATA)]
    simulated = "" if free is None or "simulated" not in free else free["simulated"].iloc[0]
    free_text = FREE
    if simulated:
        free_text = style.wrapped(FREE.replace("free-running", f"free-running ({simulated})"), 78)
    for table, colour, text in ((one_step, _ONE_STEP_COLOUR, ONE_STEP), (free, _FREE_COLOUR, free_text)):
        if table is not None:
            look = {"marker": _MARKERS[colour], "ls": "", "ms": 5.5} if markers else {"lw": 3}
            handles.append(Line2D([], [], color=colour, label=text, **look))
    if free is None and no_free_run:
        reason = style.wrapped(f"No free-running prediction: {no_free_run}", 78)
        handles.append(Line2D([], [], ls="", label=reason))
    if note:
        handles.append(Line2D([], [], ls="", label=style.wrapped(note, 78)))
    if not is_new:
        # A panel of a user's figure may be narrow: keep the explanations short.
        for handle in handles:
            handle.set_label(style.wrapped(str(handle.get_label()).split(":")[0], 40))
    style.legend(fig, axes, is_new, handles, columns=1)
    style.finish(fig, axes, is_new, fit)
