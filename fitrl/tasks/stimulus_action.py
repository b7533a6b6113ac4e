"""Learning which action goes with which stimulus, in blocks of different set size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fitrl.errors import ModelError
from fitrl.tasks.replay import NotReplayable, Recorded
from fitrl.tasks.signatures_choices import right_actions
from fitrl.tasks.task import Column, Task
from fitrl.tasks.world import World

UNKNOWN_DRAWN = "right actions that nobody found are drawn"


@dataclass(frozen=True)
class SetSizes:
    """Blocks of new stimuli, so many in each; the trials are shared out so that all stimuli are shown equally often.

    Attributes
    ----------
    sizes : tuple of int
        Stimuli of each block; blocks come in random order.
    """

    sizes: tuple[int, ...] = (2, 3, 4, 5, 6)


class StimulusActionWorld(World):
    """Blocks of stimuli with one correct action each, decided before the first choice.

    Parameters
    ----------
    blocks : SetSizes
        How many stimuli are learned at a time.
    n_trials, n_agents, n_actions : int
        Size.
    rng : numpy.random.Generator
        Source of randomness.
    outcome_range : (float, float)
        Outcome of a wrong and of the correct action.
    """

    def __init__(
        self,
        blocks: SetSizes,
        n_trials: int,
        n_agents: int,
        n_actions: int,
        rng: np.random.Generator,
        outcome_range: tuple[float, float] = (0.0, 1.0),
    ):
        super().__init__(n_trials, n_agents)
        self.outcome_range = outcome_range
        sizes = np.array(blocks.sizes)
        ends = np.round(np.cumsum(sizes) / sizes.sum() * n_trials).astype(int)
        first, shown, size = np.cumsum(sizes) - sizes, [], []
        order = rng.permutation(len(sizes))
        lengths = np.diff(ends, prepend=0)
        for block in order:
            n_runs = -(-lengths[block] // sizes[block])
            new = first[block] + np.arange(sizes[block])
            runs = rng.permuted(np.tile(new[None, :, None], (n_runs, 1, n_agents)), axis=1)
            shown.append(runs.reshape(-1, n_agents)[: lengths[block]])
            size.append(np.full(lengths[block], float(sizes[block])))
        self.stimulus, self.set_size = np.concatenate(shown), np.concatenate(size)
        self.correct = rng.integers(0, n_actions, (sizes.sum(), n_agents))

    def cue(self, name: str) -> np.ndarray:
        """Return the stimulus, or the number of stimuli in the block."""
        if name == "stimulus":
            return self.stimulus[self.trial]
        return np.full(self.n_agents, self.set_size[self.trial])

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return whether the action is the correct one."""
        low, high = self.outcome_range
        correct = self.correct[self.stimulus[self.trial], np.arange(self.n_agents)]
        return np.where(choices["choice"] == correct, high, low)


class StimulusActionAgain(Recorded):
    """The stimuli of a data set, shown again; which action is right follows from the outcomes that people got.

    Where somebody never found the right action of a stimulus, one that was not wrong is drawn for each agent.

    Parameters
    ----------
    task : StimulusAction
        Configured for the data.
    columns, copies
        As for `fitrl.tasks.Recorded`.
    rng : numpy.random.Generator
        Source of randomness.

    Raises
    ------
    NotReplayable
        If outcomes contradict each other (one action is right and wrong for a stimulus, or several are right), or take
        more than two values.
    """

    def __init__(self, task: Task, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator):
        import pandas as pd  # heavy, and not needed to name the task

        super().__init__(columns, copies)
        n_trials, n_sequences = columns["stimulus"].shape
        names = ("stimulus", "choice", "choice_given", "outcome", "reset")
        flat = pd.DataFrame({name: columns[name].T.ravel() for name in names})
        flat["outcome_given"] = columns["mask_update"].T.ravel()  # not below the end of a sequence
        flat["reset"] |= np.arange(len(flat)) % n_trials == 0
        stimulus, probability = right_actions(flat, task.n_options)
        if np.isnan(probability).any():
            raise NotReplayable(
                "outcomes do not say which action is right: for some stimuli several were rewarded, or one was "
                "rewarded and not rewarded. Stimuli of another block may have the same labels: read with reset='block'"
            )
        drawn = rng.random((len(probability), copies, 1)) >= np.cumsum(probability[:, :-1], axis=1)[:, None, :]
        right = drawn.sum(axis=2)[stimulus].reshape(n_sequences, n_trials, copies)
        self.right = right.transpose(1, 2, 0).reshape(n_trials, -1)
        shown = flat["outcome_given"].to_numpy()
        self.simulated = UNKNOWN_DRAWN if (probability[stimulus[shown]].max(axis=1) < 1).any() else ""
        values = np.unique(flat.loc[shown, "outcome"])
        if len(values) > 2:
            raise NotReplayable(
                f"outcomes take {len(values)} values: right actions are paid in different amounts, and what another "
                "action would have earned is not known"
            )
        self.outcomes = (float(values[0]), float(values[1])) if len(values) == 2 else task.outcome_range

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return whether the action is the right one."""
        low, high = self.outcomes
        return np.where(choices["choice"] == self.right[self.trial], high, low)


@dataclass(frozen=True)
class StimulusAction(Task):
    """One of a few actions is correct for each stimulus; the more stimuli at a time, the harder to keep them in mind.

    Where stimuli of another block have the same labels, values have to start afresh in every block (``reset="block"``);
    new labels need no reset.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("stimulus", "cue", "what was shown"),
        Column("set_size", "quantity", "number of stimuli in the block", aliases=("setsize", "ns")),
        Column("choice", "choice", "the action; blank if there was no response"),
        Column("outcome", "outcome", "1 if correct, else 0; blank if none was shown", aliases=("reward", "feedback")),
    )

    @classmethod
    def play(  # noqa: D102
        cls, n_trials: int, n_agents: int, rng: np.random.Generator, *, environment: Any = None, **settings: Any
    ) -> tuple[Task, World]:
        if isinstance(environment, World):
            return super().play(n_trials, n_agents, rng, environment=environment, **settings)
        blocks = SetSizes() if environment is None else environment
        if not isinstance(blocks, SetSizes):
            raise ModelError(
                "this task is played in blocks of set sizes: give environment=SetSizes((2, 4, 6)) "
                "(from fitrl.tasks.stimulus_action), or nothing for sizes 2 to 6."
            )
        n_actions, outcome_range = settings.get("n_options") or 3, settings.get("outcome_range") or (0.0, 1.0)
        codings = {
            "stimulus": tuple(f"b{b + 1}s{k + 1}" for b, n in enumerate(blocks.sizes) for k in range(n)),
            "choice": tuple(str(a + 1) for a in range(n_actions)),
        }
        world = StimulusActionWorld(blocks, n_trials, n_agents, n_actions, rng, outcome_range)
        return cls(n_actions, codings["choice"], outcome_range, codings=codings), world

    def replay(  # noqa: D102
        self, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, *, environment: Any = None
    ) -> World:
        if environment is not None:
            raise ModelError("stimuli and right actions are those of the data; leave the environment out.")
        return StimulusActionAgain(self, columns, copies, rng)
