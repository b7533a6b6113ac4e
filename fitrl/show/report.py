"""Figures made from a fit alone: signatures of the data, of the predictions, and both in one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitrl.show import behaviour
from fitrl.show.effects import plot_effects
from fitrl.show.posterior import plot_group, plot_subjects
from fitrl.show.predictions import BLIND_TO_REVERSALS, Behaviour, behaviour_of
from fitrl.show.trace import plot_trace
from fitrl.tasks.twostep import TwoStep, TwoStepKool

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
        If the task has no such signature.

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
        If the task has no such signature.

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
    repeated, by reward and transition. For Kool's: returns to a goal state, by its outcome and the start state.

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
    data = _behaviour(fit)
    labels = {TwoStep: "first choice repeated", TwoStepKool: "returned to the goal state"}
    task = data.fit.trials.task
    label = next((text for kind, text in labels.items() if isinstance(task, kind)), "share of trials")
    return behaviour.plot_stay(**data.tables("stay"), label=label, fit=data.fit, **kwargs)


def plot_set_size(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Draw how actions are learned for each number of stimuli in a block, against posterior predictions.

    Parameters
    ----------
    fit, **kwargs
        As in `plot_learning`; ``ax`` is one axes per number of stimuli.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (set size,)

    Raises
    ------
    FitError
        If the task is not one of stimuli and actions (`fitrl.tasks.StimulusAction`).

    Examples
    --------
    >>> fig, axes = fitrl.plot_set_size(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    return behaviour.plot_set_size(**data.tables("set_size"), chance=data.chance, fit=data.fit, **kwargs)


def plot_shares(fit: Fit | Behaviour, **kwargs: Any) -> tuple[Figure, Axes]:
    """Draw how often each option is chosen, and at each level of what is shown, against posterior predictions.

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
        If the task has signatures of its own.

    Examples
    --------
    >>> fig, ax = fitrl.plot_shares(result)  # doctest: +SKIP
    """
    data = _behaviour(fit)
    return behaviour.plot_stay(**data.tables("shares"), label="share of choices", fit=data.fit, **kwargs)


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
        subjects with complete pooling); and the signatures that the task has, such as ``learning``, ``stay``,
        ``transfer`` or ``reversal``; all PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return _write(_figures(fit, data), folder)


def write_behaviour(data: Behaviour, folder: Path) -> list[Path]:
    """Write a figure per signature of the behaviour in a fit, as PNG, into a folder that exists."""
    return _write({name: (DRAW[name], data) for name in data.names}, folder)


def _write(figures: dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]], folder: Path) -> list[Path]:
    written = []
    for name, (draw, source) in figures.items():
        figure, _ = draw(source)
        path = folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        written.append(path)
    return written


DRAW: dict[str, Callable[..., tuple[Figure, Any]]] = {
    "stay": plot_stay,
    "learning": plot_learning,
    "accuracy": plot_accuracy,
    "transfer": plot_transfer,
    "reversal": plot_reversal,
    "set_size": plot_set_size,
    "shares": plot_shares,
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
        found |= {name: (DRAW[name], data) for name in data.names}
    return found


def _behaviour(fit: Fit | Behaviour) -> Behaviour:
    return fit if isinstance(fit, Behaviour) else Behaviour(fit)
