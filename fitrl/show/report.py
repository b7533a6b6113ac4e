"""Figures made from a fit alone: signatures of the data, of the predictions, and both in one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fitrl.errors import FitError
from fitrl.fitting.predict import Predictions, predict
from fitrl.show import behaviour
from fitrl.show.posterior import plot_group, plot_subjects
from fitrl.show.trace import plot_trace
from fitrl.tasks import signatures
from fitrl.tasks.scoring import offer_sets
from fitrl.tasks.twostep import TwoStep

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

DRAWS = 100


@dataclass
class Behaviour:
    """Data and predictions of a fit, computed once for all figures of behaviour.

    Attributes
    ----------
    fit : Fit
    draws : int
        Simulated data sets per prediction.
    random_seed : int
        Seed of the simulations.
    """

    fit: Fit
    draws: int = DRAWS
    random_seed: int = 0

    def __post_init__(self) -> None:
        if "outcome" not in self.frame or self.fit.trials.task.choices() != ("choice",):
            raise FitError(
                f"figures of behaviour are drawn for tasks with one choice and one outcome per trial, not for "
                f"{type(self.fit.trials.task).__name__}. Draw your own from fitrl.latents(fit)."
            )

    @property
    def frame(self) -> pd.DataFrame:
        """The trials."""
        return self.fit.trials.frame

    @cached_property
    def predictions(self) -> Predictions:
        """Predicted choices."""
        return predict(self.fit, draws=self.draws, random_seed=self.random_seed)

    @cached_property
    def values(self) -> signatures.OptionValues:
        """How good each option is; simulated choices are judged by the same values."""
        return signatures.option_values(self.frame, self.fit.trials.task.n_options)

    @property
    def chance(self) -> float:
        """Share of correct choices by guessing."""
        task = self.fit.trials.task
        return 1.0 / (task.offered("choice") or task.n_options)

    def correct(self, frame: pd.DataFrame) -> np.ndarray:
        """Whether the best option on offer was chosen."""
        return signatures.correct_choice(frame, self.fit.trials.task.n_options, self.values)[0]

    def bands(self, of: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        """Compute a signature of every simulated data set: ``one_step``, ``free``, ``no_free_run``."""
        one_step = [of(signatures.with_choices(self.frame, choice)) for choice in self.predictions.one_step["choice"]]
        return {"one_step": signatures.predictive_band(one_step), **self.free_band(of)}

    def free_band(self, of: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        """Compute a signature of every free-running data set, or say why there is none."""
        free = self.predictions.free
        if free is None:
            return {"no_free_run": self.predictions.why_not}
        tables = []
        for i, choice in enumerate(free.choice):
            forgone = None if free.outcome_forgone is None else free.outcome_forgone[i]
            tables.append(of(signatures.with_choices(self.frame, choice, free.outcome[i], forgone)))
        return {"free": signatures.predictive_band(tables)}


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

    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.learning_curve(frame, data.correct(frame))

    return behaviour.plot_learning(
        curve(data.frame), **data.bands(curve), label=data.values.label, chance=data.chance, fit=data.fit, **kwargs
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
    labels = data.fit.trials.task.labels

    def shares(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.accuracy(frame, data.correct(frame), labels)

    return behaviour.plot_accuracy(
        shares(data.frame), **data.bands(shares), label=data.values.label, chance=data.chance, fit=data.fit, **kwargs
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
    best = signatures.best_option(data.values)

    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.post_reversal_curve(frame, best)

    observed = curve(data.frame)
    bands = data.bands(curve) if observed["mean"].notna().any() else {}
    return behaviour.plot_reversal(observed, **bands, chance=data.chance, fit=data.fit, **kwargs)


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
    if not isinstance(fit, Behaviour) and isinstance(fit.trials.task, TwoStep):
        return _plot_stay_by_transition(fit, **kwargs)
    data = _behaviour(fit)
    threshold = signatures.win_threshold(data.frame)

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        table = signatures.win_stay_lose_shift(frame, predicted=predicted, threshold=threshold)
        return signatures.stay_rates(table)

    # One step ahead a predicted choice is compared with the *observed* choice before it.
    one_step = [rates(data.frame, choice) for choice in data.predictions.one_step["choice"]]
    return behaviour.plot_stay(
        rates(data.frame),
        one_step=signatures.predictive_band(one_step),
        **data.free_band(rates),
        fit=data.fit,
        **kwargs,
    )


def _plot_stay_by_transition(fit: Fit, **kwargs: Any) -> tuple[Figure, Axes]:
    frame = fit.trials.frame
    predictions = predict(fit, draws=DRAWS)
    threshold = signatures.win_threshold(frame)
    one_step = [
        signatures.stay_by_transition(frame, predicted=choice, threshold=threshold)
        for choice in predictions.one_step["choice1"]
    ]
    return behaviour.plot_stay(
        signatures.stay_by_transition(frame, threshold=threshold),
        one_step=signatures.predictive_band(one_step),
        no_free_run=predictions.why_not,
        fit=fit,
        **kwargs,
    )


def write_figures(fit: Fit, folder: str | Path) -> list[Path]:
    """Write every figure that this fit has.

    Parameters
    ----------
    fit : Fit
    folder : str or Path
        Made if it does not exist.

    Returns
    -------
    list of Path
        ``group``, ``subjects`` and ``trace`` where parameters were fitted (no traces of a quick fit, no
        subjects with complete pooling); ``learning``, ``stay``, and ``accuracy`` or ``reversal`` where the
        task has them; all PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (draw, source) in _figures(fit).items():
        figure, _ = draw(source)
        path = folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        written.append(path)
    return written


def _figures(fit: Fit) -> dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]]:
    """Name the figures that apply to a fit, with what draws them, and from what."""
    found: dict[str, tuple[Callable[[Any], tuple[Figure, Any]], Any]] = {}
    if fit.spec.parameters:
        found["group"] = (plot_group, fit)
        if fit.spec.pooling != "complete":
            found["subjects"] = (plot_subjects, fit)
        if not fit.spec.quick:
            found["trace"] = (plot_trace, fit)
    if isinstance(fit.trials.task, TwoStep):
        found["stay"] = (plot_stay, fit)
        return found
    try:
        data = Behaviour(fit)
    except FitError:
        return found  # a task of another kind has signatures of its own
    found["stay"] = (plot_stay, data)
    if np.isfinite(data.correct(data.frame)).any():
        found["learning"] = (plot_learning, data)
        if len(offer_sets(data.frame)[1]) > 1:
            found["accuracy"] = (plot_accuracy, data)
    best = signatures.best_option(data.values)
    if signatures.post_reversal_curve(data.frame, best)["mean"].notna().any():
        found["reversal"] = (plot_reversal, data)
    return found


def _behaviour(fit: Fit | Behaviour) -> Behaviour:
    return fit if isinstance(fit, Behaviour) else Behaviour(fit)
