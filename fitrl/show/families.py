"""Which signatures of behaviour the families of tasks have, and their tables for data and predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.errors import FitError
from fitrl.tasks import signatures
from fitrl.tasks.families import family, shown
from fitrl.tasks.scoring import offer_sets

if TYPE_CHECKING:
    from fitrl.show.predictions import Behaviour

Tables = dict[str, Any]


def names(data: Behaviour) -> tuple[str, ...]:
    """Name the signatures that data have.

    Parameters
    ----------
    data : Behaviour
        Of a fit.
    """
    own = _signatures(data)
    return _bandit_names(data) if own is _BANDIT else tuple(own)


def tables(data: Behaviour, name: str) -> Tables:
    """Compute a signature of data and predictions.

    Parameters
    ----------
    data : Behaviour
        Of a fit.
    name : str
        One of `names`, or for a bandit any that bandits may have.

    Raises
    ------
    FitError
        If the task has no such signature.
    """
    known = _signatures(data)
    if name not in known:
        task = type(data.fit.trials.task).__name__
        draw = ", ".join(f"plot_{other}" for other in names(data))
        raise FitError(f"the task {task} has no signature of the kind {name}. Use {draw}.")
    return known[name](data)


def _signatures(data: Behaviour) -> dict[str, Callable[[Behaviour], Tables]]:
    """Signatures of a task by name; a bandit has them as far as its data have what they need."""
    return _FAMILIES[family(data.fit.trials.task, data.frame)]


def _bandit_names(data: Behaviour) -> tuple[str, ...]:
    found = ["stay"]
    if np.isfinite(data.correct(data.frame)).any():
        found.append("learning")
        if len(offer_sets(data.frame)[1]) > 1:
            found.append("accuracy")
    if data.transfer is not None:
        found.append("transfer")
    best = signatures.best_option(data.values)
    if signatures.post_reversal_curve(data.frame, best)["mean"].notna().any():
        found.append("reversal")
    return tuple(found)


def _learning(data: Behaviour) -> Tables:
    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.learning_curve(frame, data.correct(frame))

    return {"observed": curve(data.frame), **data.bands(curve)}


def _accuracy(data: Behaviour) -> Tables:
    labels = data.fit.trials.task.labels

    def shares(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.accuracy(frame, data.correct(frame), labels)

    return {"observed": shares(data.frame), **data.bands(shares)}


def _reversal(data: Behaviour) -> Tables:
    best = signatures.best_option(data.values)

    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.post_reversal_curve(frame, best)

    observed = curve(data.frame)
    return {"observed": observed, **(data.bands(curve) if observed["mean"].notna().any() else {})}


def _stay(data: Behaviour) -> Tables:
    threshold = signatures.win_threshold(data.fit.trials.frame)  # one for all parts of the data

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        table = signatures.win_stay_lose_shift(frame, predicted=predicted, threshold=threshold)
        return signatures.stay_rates(table)

    return data.beside("choice", rates)


def _stay_by_transition(data: Behaviour) -> Tables:
    threshold = signatures.win_threshold(data.fit.trials.frame)  # one for all parts of the data

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        return signatures.stay_by_transition(frame, predicted=predicted, threshold=threshold)

    return data.beside("choice1", rates)


def _transfer(data: Behaviour) -> Tables:
    extremes = data.transfer
    if extremes is None:
        raise FitError(
            "there is no transfer phase in these data: pairs of options that were not trained together, chosen from "
            "without outcomes, with one option that is better than all others and one that is worse. Use plot_accuracy."
        )

    def rates(choice: np.ndarray | None = None) -> pd.DataFrame:
        labels = data.fit.trials.task.labels
        return signatures.choose_avoid(data.frame, *extremes, predicted=choice, labels=labels)

    def free_rates(frame: pd.DataFrame) -> pd.DataFrame:
        return rates(frame["choice"].to_numpy())

    one_step = signatures.predictive_band([rates(choice) for choice in data.predictions.one_step["choice"]])
    return {"observed": rates(), "one_step": one_step, **data.free_band(free_rates)}


def _stay_by_start(data: Behaviour) -> Tables:
    threshold = signatures.median_outcome(data.fit.trials.frame)  # one for all parts of the data
    task: Any = data.fit.trials.task
    leads_to = np.array(task.leads_to)

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        goal = None if predicted is None else leads_to[predicted]
        return signatures.stay_by_start(frame, predicted=goal, threshold=threshold)

    return data.beside("choice1", rates)


def _set_size(data: Behaviour) -> Tables:
    n_actions = data.fit.trials.task.n_options

    def curves(choice: np.ndarray | None = None) -> pd.DataFrame:
        return signatures.learning_by_set_size(data.frame, n_actions, predicted=choice)

    # Which action is right is found from the data, also for agents who play them again.
    one_step = signatures.predictive_band([curves(choice) for choice in data.predictions.one_step["choice"]])
    free = data.free_band(lambda frame: curves(frame["choice"].to_numpy()))
    return {"observed": curves(), "one_step": one_step, **free}


def _shares(data: Behaviour) -> Tables:
    task = data.fit.trials.task
    cue = shown(task, data.frame)
    levels = task.codings[cue] if cue is not None else ()
    parts = []
    for name in data.predictions.one_step:
        labels = task.codings.get(name, task.labels)

        def shares(
            frame: pd.DataFrame, predicted: np.ndarray | None = None, name: str = name, labels: Any = labels
        ) -> pd.DataFrame:
            return signatures.choice_shares(frame, name, labels, cue=cue, levels=levels, predicted=predicted)

        parts.append(data.beside(name, shares))
    kinds = {kind for part in parts for kind in part if isinstance(part[kind], pd.DataFrame)}
    joined = {kind: pd.concat([part[kind] for part in parts], ignore_index=True) for kind in kinds}
    return parts[0] | joined


_BANDIT: dict[str, Callable[[Behaviour], Tables]] = {
    "stay": _stay,
    "learning": _learning,
    "accuracy": _accuracy,
    "transfer": _transfer,
    "reversal": _reversal,
}
_FAMILIES: dict[str, dict[str, Callable[[Behaviour], Tables]]] = {
    "transitions": {"stay": _stay_by_transition},
    "goals": {"stay": _stay_by_start},
    "associations": {"set_size": _set_size},
    "bandit": _BANDIT,
    "other": {"shares": _shares},
}
