"""Figures made from a fit alone: signatures of the data, of the predictions, and both in one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitrl.errors import FitError
from fitrl.show import behaviour
from fitrl.show.effects import plot_effects
from fitrl.show.posterior import plot_group, plot_subjects
from fitrl.show.predictions import BLIND_TO_REVERSALS, Behaviour, behaviour_of
from fitrl.show.trace import plot_trace
from fitrl.tasks.twostep import TwoStep

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


def plot_learning(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw the learning curve of the data against posterior predictions, one-step and free-running.

    Parameters
    ----------
    fit : Fit
    **kwargs
        ``ax``, or arguments of ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If the task has not one choice and one outcome per trial.

    Examples
    --------
    >>> fig, ax = fitrl.plot_learning(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    note = "" if data.has_payoffs else BLIND_TO_REVERSALS
    return behaviour.plot_learning(
        **data.tables("learning"), label=data.label, chance=data.chance, note=note, fit=data.fit, **kwargs
    )


def plot_accuracy(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw the share of correct choices for every set of options against posterior predictions.

    Parameters
    ----------
    fit, **kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If the task has not one choice and one outcome per trial.

    Examples
    --------
    >>> fig, ax = fitrl.plot_accuracy(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    return behaviour.plot_accuracy(
        **data.tables("accuracy"), label=data.label, chance=data.chance, fit=data.fit, **kwargs
    )


def plot_reversal(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw choices around changes of the best option against posterior predictions.

    Parameters
    ----------
    fit, **kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If the best option never changes, or is not known trial by trial.

    Examples
    --------
    >>> fig, ax = fitrl.plot_reversal(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    return behaviour.plot_reversal(**data.tables("reversal"), chance=data.chance, fit=data.fit, **kwargs)


def plot_stay(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw how often choices are repeated, by what followed them, against posterior predictions.

    For one choice per trial: stay after a win, shift after a loss. For Daw's two-step task: first choices that are
    repeated, by reward and transition.

    Parameters
    ----------
    fit, **kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If the task is neither of these.

    Examples
    --------
    >>> fig, ax = fitrl.plot_stay(result)  # doctest: +SKIP
    """
    data = fit if isinstance(fit, Behaviour) else Behaviour(fit)
    label = "first choice repeated" if isinstance(data.fit.trials.task, TwoStep) else "share of trials"
    return behaviour.plot_stay(**data.tables("stay"), label=label, fit=data.fit, **kwargs)


def plot_transfer(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw how often the best option is chosen and the worst avoided in new pairs, against posterior predictions.

    Parameters
    ----------
    fit, **kwargs
        As in `plot_learning`.

    Returns
    -------
    fig : Figure
    ax : Axes

    Raises
    ------
    FitError
        If there is no transfer phase: pairs without outcomes that were not shown together before.

    Examples
    --------
    >>> fig, ax = fitrl.plot_transfer(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    return behaviour.plot_stay(**data.tables("transfer"), fit=data.fit, **kwargs)


def write_figures(fit: Fit, folder: str | Path, data: Behaviour | None = None) -> list[Path]:
    """Write every figure that this fit has.

    Parameters
    ----------
    fit : Fit
    folder : str or Path
        Made if it does not exist.
    data : Behaviour, optional
        The behaviour in this fit, if it is at hand.

    Returns
    -------
    list of Path
        ``group``, ``subjects`` and ``trace`` where parameters were fitted (no traces of a quick fit, no
        subjects with complete pooling); ``learning``, ``stay``, and ``accuracy``, ``transfer`` or ``reversal`` where
        the task has them; all PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return _write(_figures(fit, data), folder)


def write_behaviour(data: Behaviour, folder: Path) -> list[Path]:
    """Write a figure per signature of the behaviour in a fit, as PNG, into a folder that exists."""
    return _write({name: (_DRAW[name], data) for name in data.names}, folder)


def _write(figures: dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]], folder: Path) -> list[Path]:
    written = []
    for name, (draw, source) in figures.items():
        figure, _ = draw(source)
        path = folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        written.append(path)
    return written


_DRAW: dict[str, Callable[..., tuple[Figure, Any]]] = {
    "stay": plot_stay,
    "learning": plot_learning,
    "accuracy": plot_accuracy,
    "transfer": plot_transfer,
    "reversal": plot_reversal,
}


def _figures(fit: Fit, data: Behaviour | None = None) -> dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]]:
    """Name the figures that apply to a fit, with what draws them, and from what."""
    found: dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]] = {}
    if fit.spec.parameters:
        found["group"] = (plot_group, fit)
        if fit.spec.pooling != "complete":
            found["subjects"] = (plot_subjects, fit)
        if not fit.spec.quick:
            found["trace"] = (plot_trace, fit)
        if fit.spec.formulas:
            found["effects"] = (plot_effects, fit)
    data = data or behaviour_of(fit)
    if data is not None:
        found |= {name: (_DRAW[name], data) for name in data.names}
    return found


def _behaviour(fit: Fit | Behaviour) -> Behaviour:
    """Behaviour with one choice and one outcome per trial."""
    data = fit if isinstance(fit, Behaviour) else Behaviour(fit)
    if isinstance(data.fit.trials.task, TwoStep):
        raise FitError("this figure is drawn for tasks with one choice and one outcome per trial. Use plot_stay.")
    return data
