"""Two-step tasks as agents play them; payoffs and transitions are decided before the first choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.state import unknown
from fitrl.language.tables import table
from fitrl.tasks.environments import Drifting, Fixed
from fitrl.tasks.replay import SCHEDULE_SIMULATED, NotReplayable, Recorded, two_outcomes
from fitrl.tasks.world import World

P_COMMON = 0.7
# Environments of Daw's task by name; steps and walls of the drift are those of Daw et al. 2011.
DAW: dict[str, Any] = {"drifting": Drifting(4, 0.025, 0.25, 0.75), "fixed": Fixed((0.7, 0.3, 0.5, 0.5))}
BETWEEN_VISITS = "payoffs between visits drawn"
_POINTS = 9  # Kool's goal states pay 0 to 9 points


@dataclass
class TwoStepWorld(World):
    """Daw's task: four options that pay or not, reached by common and rare transitions.

    Attributes
    ----------
    common : ndarray of bool, shape (trial, agent)
        Whether the transition of this trial is the common one.
    outcomes : ndarray, shape (trial, state, option, agent)
        What each option of the second stage would pay.
    payoffs : ndarray, shape (trial, 4, agent)
        Probabilities behind the outcomes.
    outcome_range : (float, float)
        The two outcomes.
    """

    common: np.ndarray
    outcomes: np.ndarray
    payoffs: np.ndarray
    outcome_range: tuple[float, float]

    def __post_init__(self) -> None:
        super().__init__(*self.common.shape)

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the state that the first choice leads to, or the outcome of the second."""
        state = np.where(self.common[self.trial], choices["choice1"], 1 - choices["choice1"])
        if name == "state2":
            return state
        return self.outcomes[self.trial, state, choices["choice2"], np.arange(self.n_agents)]

    def table(self, task: Any, emitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns as a lab's file has them, with the payoffs."""
        payoffs = {f"payoff_{k + 1}": self.payoffs[:, k].round(6) for k in range(4)}
        return super().table(task, emitted) | payoffs


class TwoStepAgain(Recorded):
    """Daw's task as it was recorded, with its common and rare transitions; second options pay as they are told.

    Parameters
    ----------
    columns, copies
        As for `fitrl.tasks.Recorded`.
    outcomes : ndarray, shape (trial, 4, agent)
        What each option of the second stage would pay, those of the first state first.
    simulated : str
        What of it is made up; empty if nothing is.
    """

    answers = ("state2",)

    def __init__(self, columns: Mapping[str, np.ndarray], copies: int, outcomes: np.ndarray, simulated: str):
        super().__init__(columns, copies)
        self.outcomes, self.simulated = outcomes, simulated

    def shows(self, name: str) -> np.ndarray:
        """Whether this answer was shown to the person; the state always is."""
        return np.ones(self.n_agents, dtype=bool) if name == "state2" else super().shows(name)

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the state that the first choice leads to, or the outcome of the second."""
        common = self.now("state2") == self.now("choice1")
        state = np.where(common, choices["choice1"], 1 - choices["choice1"])
        if name == "state2":
            return state
        return self.outcomes[self.trial, 2 * state + choices["choice2"], np.arange(self.n_agents)]


def replay_two_step(
    task: Any, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, environment: Any = None
) -> TwoStepAgain:
    """Set up the very trials of a data set for agents who choose by themselves.

    Whether the transition of a trial is common is taken from the data, since it does not depend on the choice.
    Probabilities of payoff are those of the data; if there are none, they are simulated, for each agent anew.

    Parameters
    ----------
    task : TwoStep
        Configured for the data.
    columns, copies
        As for `fitrl.tasks.Recorded`.
    rng : numpy.random.Generator
        Source of randomness.
    environment : {"drifting", "fixed"}, Drifting or Fixed, optional
        As in `play_two_step`; taken where the data hold no probabilities of payoff.

    Raises
    ------
    NotReplayable
        If outcomes take more than two values, or there are payoffs of some options only.
    """
    low, high = two_outcomes(task, columns)
    names = [name for name in columns if name.startswith("payoff_")]
    n_trials, n_sequences = columns["outcome"].shape
    if names:
        if len(names) != 4:
            raise NotReplayable(f"the file has payoffs of {len(names)} options; those of all four are needed")
        payoffs, simulated = np.tile(np.stack([columns[f"payoff_{k + 1}"] for k in range(4)], axis=1), copies), ""
    else:
        payoffs = _schedule(environment, DAW, 4, "drifting", None, (n_trials, n_sequences * copies), rng)
        simulated = SCHEDULE_SIMULATED
    return TwoStepAgain(columns, copies, np.where(rng.random(payoffs.shape) < payoffs, high, low), simulated)


def play_two_step(
    n_trials: int,
    n_agents: int,
    rng: np.random.Generator,
    *,
    environment: Any = None,
    outcome_range: tuple[float, float] = (0.0, 1.0),
    n_options: int | None = None,
    p_common: float = P_COMMON,
) -> TwoStepWorld:
    """Set up Daw's task for many agents.

    Parameters
    ----------
    n_trials, n_agents : int
        Size.
    rng : numpy.random.Generator
        Source of randomness.
    environment : {"drifting", "fixed"}, Drifting or Fixed, optional
        How the four payoffs come about; by default they drift as in Daw et al. 2011: steps of sd 0.025 between
        walls at 0.25 and 0.75.
    outcome_range : (float, float)
        The two outcomes.
    n_options : int, optional
        Can only be 2, the number of first options.
    p_common : float
        Probability of the common transition.

    Raises
    ------
    ModelError
        For an environment that does not have four payoffs.
    """
    payoffs = _schedule(environment, DAW, 4, "drifting", n_options, (n_trials, n_agents), rng)
    common = rng.random((n_trials, n_agents)) < p_common
    low, high = outcome_range
    outcomes = np.where(rng.random(payoffs.shape) < payoffs, high, low).reshape(n_trials, 2, 2, n_agents)
    return TwoStepWorld(common, outcomes, payoffs, outcome_range)


@dataclass
class KoolWorld(World):
    """Kool's task: one of two start states, two options each, certain transitions, points.

    Attributes
    ----------
    start : ndarray of int, shape (trial, agent)
        Start state.
    on_left : ndarray of int, shape (trial, agent)
        Option on the left.
    points : ndarray, shape (trial, state, agent)
        What each goal state pays, as outcome.
    outcome_range : (float, float)
        Lowest and highest outcome.
    """

    start: np.ndarray
    on_left: np.ndarray
    points: np.ndarray
    outcome_range: tuple[float, float]

    def __post_init__(self) -> None:
        super().__init__(*self.start.shape)

    def cue(self, name: str) -> np.ndarray:
        """Return the start state, or the option on the left."""
        return (self.start if name == "state1" else self.on_left)[self.trial]

    def offers(self, name: str) -> Any:
        """Return the two options of the start state."""
        first = 2 * self.start[self.trial]
        return table([first, first + 1])

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the goal state, or its points."""
        state = choices["choice1"] % 2
        return state if name == "state2" else self.points[self.trial, state, np.arange(self.n_agents)]

    def table(self, task: Any, emitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns as a lab's file has them, with payoffs; start state and sides also where a model does not look."""
        payoffs = {f"payoff_{k + 1}": self.points[:, k] for k in (0, 1)}
        return super().table(task, {"state1": self.start, "left": self.on_left, **emitted}) | payoffs


def play_kool(
    n_trials: int,
    n_agents: int,
    rng: np.random.Generator,
    *,
    environment: Any = None,
    outcome_range: tuple[float, float] = (0.0, 1.0),
    n_options: int | None = None,
) -> KoolWorld:
    """Set up Kool's task for many agents.

    Parameters
    ----------
    n_trials, n_agents, rng, outcome_range, n_options
        As in `play_two_step`.
    environment : {"drifting", "fixed"}, Drifting or Fixed, optional
        How the points of the two goal states come about, as shares of the range; by default they drift with steps of
        sd 2 points between 0 and 9.
    """
    points = _kool_points(environment, outcome_range, n_options, (n_trials, n_agents), rng)
    start = rng.integers(0, 2, (n_trials, n_agents))
    on_left = 2 * start + rng.integers(0, 2, (n_trials, n_agents))
    return KoolWorld(start, on_left, points, outcome_range)


def _kool_points(
    environment: Any,
    outcome_range: tuple[float, float],
    n_options: int | None,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return what the two goal states pay, shape (trial, state, agent)."""
    named = {"drifting": Drifting(2, 2 / _POINTS, 0.0, 1.0), "fixed": Fixed((0.7, 0.3))}
    share = _schedule(environment, named, 2, "drifting", n_options, size, rng)
    low, high = outcome_range
    return low + (high - low) * np.round(share * _POINTS) / _POINTS


class KoolAgain(Recorded):
    """Kool's task as it was recorded: its start states and sides; goal states pay as they are told.

    Parameters
    ----------
    columns, copies
        As for `fitrl.tasks.Recorded`.
    leads_to : tuple of int
        State that each option leads to.
    points : ndarray, shape (trial, state, agent)
        What each goal state would pay.
    simulated : str
        What of it is made up.
    """

    answers = ("state2",)

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        copies: int,
        leads_to: tuple[int, ...],
        points: np.ndarray,
        simulated: str,
    ):
        super().__init__(columns, copies)
        self.leads_to, self.points, self.simulated = np.array(leads_to), points, simulated

    def shows(self, name: str) -> np.ndarray:
        """Whether this answer was shown to the person; the state always is."""
        return np.ones(self.n_agents, dtype=bool) if name == "state2" else super().shows(name)

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the goal state, or its points."""
        state = self.leads_to[choices["choice1"]]
        return state if name == "state2" else self.points[self.trial, state, np.arange(self.n_agents)]


def replay_kool(
    task: Any, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, environment: Any = None
) -> KoolAgain:
    """Set up the very trials of a data set for agents who choose by themselves.

    What a goal state pays is taken from the data. Where they do not record it, it is known where the person went
    there, and drawn in between, for each agent anew: it changes slowly.

    Parameters
    ----------
    task : TwoStepKool
        Configured for the data.
    columns, copies, rng
        As in `replay_two_step`.
    environment : {"drifting", "fixed"}, Drifting or Fixed, optional
        As in `play_kool`: payoffs are simulated by it, for each agent anew, whatever the data say.

    Raises
    ------
    NotReplayable
        If somebody never went to one of the goal states, or recorded payoffs are not what was paid.
    """
    n_trials, n_sequences = columns["outcome"].shape
    size = (n_trials, n_sequences * copies)
    if "payoff_1" in columns and environment is None:
        paid = np.where(columns["state2"] == 0, columns["payoff_1"], columns["payoff_2"])
        if not np.allclose(paid[columns["mask_update"]], columns["outcome"][columns["mask_update"]]):
            raise NotReplayable(
                "payoff_1 and payoff_2 are not the outcomes of the goal states in all trials; check which column "
                "belongs to which state, or leave both out"
            )
        points = np.tile(np.stack([columns["payoff_1"], columns["payoff_2"]], axis=1), copies)
        return KoolAgain(columns, copies, task.leads_to, points, "")
    if environment is None:
        return KoolAgain(columns, copies, task.leads_to, _between_visits(task, columns, copies, rng), BETWEEN_VISITS)
    low, high = task.outcome_range
    if not np.isfinite(high - low):
        raise NotReplayable("outcomes are raw, and have no range that a schedule could be simulated in")
    points = _kool_points(environment, (low, high), None, size, rng)
    return KoolAgain(columns, copies, task.leads_to, points, SCHEDULE_SIMULATED)


def _between_visits(task: Any, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what goal states pay from one visit to the next, shape (trial, state, agent); known where they were visited.

    A random walk through what was seen, with steps as large as those that were seen, within the range of outcomes.
    """
    n_trials, n_sequences = columns["outcome"].shape
    outcome, trial = columns["outcome"], np.arange(n_trials)
    visits = [
        [np.flatnonzero(columns["mask_update"][:, i] & (columns["state2"][:, i] == state)) for state in (0, 1)]
        for i in range(n_sequences)
    ]
    steps: list[np.ndarray] = []
    for i, of_sequence in enumerate(visits):
        for state, there in enumerate(of_sequence):
            if not there.size:
                label = task.codings["state2"][state]
                raise NotReplayable(
                    f'in one session a person never went to goal state "{label}", so what it pays is not known; make '
                    "it up: fitrl predict DIR --environment drifting"
                )
            steps.append(np.diff(outcome[there, i]) / np.sqrt(np.diff(there)))
    walk = rng.normal(size=(n_trials, 2, n_sequences * copies)).cumsum(axis=0)
    walk *= np.sqrt(np.mean(np.concatenate(steps) ** 2)) if sum(map(len, steps)) else 0.0
    for agent in range(walk.shape[2]):
        i = agent % n_sequences
        for state, there in enumerate(visits[i]):
            off = outcome[there, i] - walk[there, state, agent]
            walk[:, state, agent] += np.interp(trial, there, off)
    shown = outcome[columns["mask_update"]]
    return np.clip(walk, shown.min(), shown.max())


def _schedule(
    environment: Any,
    named: Mapping[str, Any],
    n_payoffs: int,
    default: str,
    n_options: int | None,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Payoffs, shape (trial, payoff, agent), from an environment or its name."""
    if n_options not in (None, 2):
        raise ModelError(f"a two-step task has two options in each state, not {n_options}.")
    environment = default if environment is None else environment
    if isinstance(environment, str) and environment not in named:
        raise ModelError(unknown("environment of a two-step task", environment, named))
    source = named[environment] if isinstance(environment, str) else environment
    payoffs = source.schedule(*size, rng)
    if payoffs.shape[1] != n_payoffs:
        raise ModelError(
            f"the environment {type(source).__name__} has {payoffs.shape[1]} payoffs; this task needs {n_payoffs}."
        )
    return payoffs
