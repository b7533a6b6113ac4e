"""A task that is being played; subclass it to simulate a task of your own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from fitrl.errors import ModelError


class World:
    """A task played by many agents at once; override `answer`, and `cue` if it shows anything.

    Attributes
    ----------
    n_trials, n_agents : int
        Size.
    trial : int
        The present trial, 0-based.
    simulated : str
        What is made up although the trials are those of a data set ("schedule simulated"); empty if nothing is.
    answers : tuple of str
        Answers that predictions are compared in besides the outcomes of the task, also where a model does not look.

    Notes
    -----
    Decide everything that does not depend on choices (payoffs, stimuli) before the first trial, in ``__init__``:
    then two models, or a model with and without a lesion, meet the same world.

    Examples
    --------
    >>> class Coins(World):
    ...     def answer(self, name, choices):
    ...         return np.where(choices["choice"] == 0, 1.0, 0.0)
    >>> Coins(10, 3).at(4).answer("outcome", {"choice": np.array([0, 1, 0])})
    array([1., 0., 1.])
    """

    simulated: str = ""
    answers: tuple[str, ...] = ()

    def __init__(self, n_trials: int, n_agents: int):
        self.n_trials, self.n_agents, self.trial = n_trials, n_agents, 0

    def at(self, trial: int) -> Self:
        """Return the world at a trial."""
        here = copy.copy(self)
        here.trial = trial
        return here

    def cue(self, name: str) -> Any:
        """Return what is shown in this trial, as codes of shape (agent,)."""
        raise ModelError(f'the world {type(self).__name__} shows no cue "{name}". Give it a method cue(name).')

    def answer(self, name: str, choices: Mapping[str, Any]) -> Any:
        """Return the answer `name` to the choices so far, shape (agent,).

        NaN says that nothing is shown (the outcome of a gamble that was declined): the file then has a blank there,
        and if the task requires the column, nothing is learned in the trial, as when the file is read.
        """
        raise ModelError(
            f'the world {type(self).__name__} gives no answer "{name}". Give it a method answer(name, choices).'
        )

    def offers(self, name: str) -> Any:
        """Return the options on offer for the choice `name` (a table of codes), or None if all are."""
        return None

    def responds(self, name: str) -> bool | np.ndarray:
        """Whether there is a response in this trial."""
        return True

    def shows(self, name: str) -> bool | np.ndarray:
        """Whether this answer is shown, for one agent or each."""
        return True

    def resets(self) -> bool | np.ndarray:
        """Whether values start afresh in this trial."""
        return self.trial == 0

    def learns(self) -> bool | np.ndarray:
        """Whether this trial teaches; not where there is no response."""
        return True

    def instructed(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Which agents are told what to choose, and what; None if nobody is."""
        return None

    def table(self, task: Any, emitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns as a lab's file has them, in the order of the task.

        Parameters
        ----------
        task : Task
            Configured; it names the columns and their labels.
        emitted : mapping of str to ndarray, shape (trial, agent)
            What agents did and saw, coded.

        Returns
        -------
        dict of str to ndarray, shape (trial, agent)
            Labels of choices and cues, numbers of the rest; NaN where an outcome was not shown.
        """
        found = {}
        for column in task.columns:
            if column.name not in emitted:
                continue
            values = np.asarray(emitted[column.name])
            if column.kind in ("choice", "cue"):
                labels = task.codings.get(column.name, task.labels)
                values = np.array(labels, dtype=object)[values]
            elif column.kind == "outcome":
                shown = [np.broadcast_to(self.at(i).shows(column.name), values[i].shape) for i in range(len(values))]
                values = np.where(shown, values, np.nan)
            found[column.name] = values
        return found
