"""Bandits: choose one of the options on offer, see its outcome.

One task covers N-armed bandits, options that differ from trial to trial, and values per stimulus: what is
valued is an option, or a stimulus with an action, and a trial offers some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from fitrl.tasks.task import Column, Task


@dataclass(frozen=True)
class Bandit(Task):
    """An N-armed bandit.

    Attributes
    ----------
    n_offered : int or None
        Options on offer in a trial where they differ from trial to trial; None if always all.
    has_forgone : bool
        Whether outcomes of options that were not chosen are recorded (``outcome_forgone``).
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("choice", "choice", "the chosen option; blank if there was no response"),
        Column("outcome", "outcome", "what followed; blank if none was shown", aliases=("reward", "feedback")),
        Column("outcome_forgone", "outcome", "shown outcome of the other option", False, ("forgone",)),
        Column("stimulus", "cue", "what was shown; values are kept per stimulus and choice", False),
        Column("option_#", "offer", "an option on offer, where they differ from trial to trial", False),
        Column("payoff_#", "payoff", "probability that option # on offer pays, for simulations", False),
    )

    n_offered: int | None = None
    has_forgone: bool = False

    def offered(self, choice: str) -> int | None:  # noqa: D102
        return self.n_offered

    @classmethod
    def configured(
        cls,
        columns: Mapping[str, np.ndarray],
        codings: Mapping[str, tuple[str, ...]],
        outcome_range: tuple[float, float],
    ) -> tuple[Self, dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
        """Configure for coded data; a stimulus turns choices into (stimulus, choice) pairs."""
        columns, codings = dict(columns), dict(codings)
        labels, choice = codings["choice"], columns["choice"]
        n_rows, n_offered, differ = len(choice), len(labels), False
        if "offer_1" in columns:
            n_offered = sum(name.startswith("offer_") for name in columns)
            differ = True
        else:
            columns |= {f"offer_{j + 1}": np.full(n_rows, j, dtype=np.int64) for j in range(n_offered)}
        if "stimulus" in columns:
            n_actions, stimuli = len(labels), codings["stimulus"]
            shift = columns["stimulus"] * n_actions
            columns["choice"] = choice = np.where(columns["choice_given"], choice + shift, 0)
            for j in range(n_offered):
                columns[f"offer_{j + 1}"] = columns[f"offer_{j + 1}"] + shift
            codings["choice"] = labels = tuple(f"{s}:{a}" for s in stimuli for a in labels)
            differ = True
        offers = np.stack([columns[f"offer_{j + 1}"] for j in range(n_offered)])
        columns["choice_at"] = (offers == choice).argmax(axis=0)
        task = cls(
            n_options=len(labels),
            labels=labels,
            outcome_range=outcome_range,
            n_offered=n_offered if differ else None,
            has_forgone="outcome_forgone" in columns,
        )
        return task, columns, codings


# Environments ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fixed:
    """Payoffs that stay: option k pays with probability ``p[k]``.

    Attributes
    ----------
    p : tuple of float
        Probability of the higher outcome, one per option.
    """

    p: tuple[float, ...] = (0.7, 0.3)

    def schedule(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Payoff probabilities, shape (trial, option, agent)."""
        return np.broadcast_to(np.array(self.p)[None, :, None], (n_trials, len(self.p), n_agents)).copy()


@dataclass(frozen=True)
class Reversing:
    """Payoffs that change places: after `every` trials (give or take `jitter`) they move one option on.

    Attributes
    ----------
    p : tuple of float
        Probabilities of the higher outcome, handed round among the options.
    every, jitter : int
        Trials between reversals, and the largest deviation from that number.
    """

    p: tuple[float, ...] = (0.8, 0.2)
    every: int = 25
    jitter: int = 5

    def schedule(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Payoff probabilities, shape (trial, option, agent)."""
        lengths = rng.integers(self.every - self.jitter, self.every + self.jitter + 1, (n_trials, n_agents))
        changes = np.zeros((n_trials + 1, n_agents), dtype=int)
        ends = np.minimum(np.cumsum(lengths, axis=0), n_trials)
        np.add.at(changes, (ends, np.arange(n_agents)[None, :]), 1)
        turn = np.cumsum(changes[:n_trials], axis=0)
        k = np.arange(len(self.p))[None, :, None]
        return np.array(self.p)[(k + turn[:, None, :]) % len(self.p)]


@dataclass(frozen=True)
class Drifting:
    """Payoffs that walk at random between two walls.

    Attributes
    ----------
    n_options : int
        Number of options, each with a walk of its own.
    sd : float
        Standard deviation of a step.
    lower, upper : float
        Reflecting walls.

    References
    ----------
    Daw et al. 2006, Nature, 10.1038/nature04766 (restless bandits).
    Differs from the source: walks of probabilities of a binary outcome, as in the two-step task.
    """

    n_options: int = 2
    sd: float = 0.05
    lower: float = 0.2
    upper: float = 0.8

    def schedule(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Payoff probabilities, shape (trial, option, agent)."""
        start = rng.uniform(self.lower, self.upper, (1, self.n_options, n_agents))
        steps = rng.normal(0.0, self.sd, (n_trials - 1, self.n_options, n_agents))
        walk = np.cumsum(np.concatenate([start, steps]), axis=0)
        span = self.upper - self.lower
        folded = np.mod(walk - self.lower, 2 * span)  # reflection is a walk on a circle, folded
        return self.lower + np.where(folded > span, 2 * span - folded, folded)


@dataclass(frozen=True)
class Pairs:
    """Stimuli shown in fixed pairs; then, without outcomes, in all combinations (a transfer phase).

    Attributes
    ----------
    p : tuple of float
        Probability of the higher outcome, one per stimulus; stimuli 0 and 1 are the first pair.
    transfer : int
        Trials of the transfer phase at the end, counted in the trials of the simulation.

    References
    ----------
    Frank et al. 2004, Science, 10.1126/science.1102941 (probabilistic selection task).
    """

    p: tuple[float, ...] = (0.8, 0.2, 0.7, 0.3, 0.6, 0.4)
    transfer: int = 0

    def schedule(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Payoff probabilities, shape (trial, option, agent)."""
        return Fixed(self.p).schedule(n_trials, n_agents, rng)

    def offers(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Stimuli on offer, shape (trial, 2, agent): pairs in shuffled runs, then all combinations."""
        n = len(self.p)
        training = np.arange(n).reshape(-1, 2)
        every = np.array([(i, j) for i in range(n) for j in range(i + 1, n)])

        def runs(pairs: np.ndarray, length: int) -> np.ndarray:
            n_runs = -(-length // len(pairs))
            order = rng.permuted(np.tile(np.arange(len(pairs))[:, None, None], (1, n_runs, n_agents)), axis=0)
            return pairs[order.transpose(1, 0, 2).reshape(-1, n_agents)[:length]].transpose(0, 2, 1)

        return np.concatenate([runs(training, n_trials - self.transfer), runs(every, self.transfer)])


ENVIRONMENTS = {"fixed": Fixed, "reversing": Reversing, "drifting": Drifting, "pairs": Pairs}


@dataclass(frozen=True)
class World:
    """A bandit that can be played by many agents at once: every payoff is decided before the first choice.

    Attributes
    ----------
    outcomes : ndarray, shape (trial, option, agent)
        What each option would pay.
    offered : ndarray, shape (trial, offer, agent), or None
        Options on offer, None if always all.
    shown : ndarray of bool, shape (trial, agent)
        Whether outcomes are shown; where not, nothing is learned.
    forced : ndarray of int, shape (trial, agent), or None
        Option that is chosen for the agent, -1 where it chooses.
    payoffs : ndarray, shape (trial, option, agent), or None
        Probabilities behind the outcomes.
    fresh : ndarray of bool, shape (trial, agent), or None
        Where values start afresh; None for the first trial only.
    trial : int
        The present trial.
    """

    outcomes: np.ndarray
    offered: np.ndarray | None
    shown: np.ndarray
    forced: np.ndarray | None = None
    payoffs: np.ndarray | None = None
    fresh: np.ndarray | None = None
    trial: int = 0

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.outcomes.shape[0]

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return self.outcomes.shape[2]

    def at(self, trial: int) -> World:
        """Return the world at a trial."""
        return replace(self, trial=trial)

    def offers(self, name: str) -> Any:
        """Return the options on offer in this trial, a table of indices, or None if all."""
        from fitrl.language.tables import Table

        return None if self.offered is None else Table(self.offered[self.trial], 1)

    def cue(self, name: str) -> Any:
        """Bandits show nothing but the options."""
        from fitrl.errors import ModelError

        raise ModelError(f'a simulated bandit shows no cue "{name}".')

    def resets(self) -> bool | np.ndarray:
        """Whether values start afresh in this trial, per agent."""
        return self.trial == 0 if self.fresh is None else self.fresh[self.trial]

    def learns(self) -> np.ndarray:
        """Whether this trial teaches, per agent."""
        return self.shown[self.trial]

    def instructed(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Which agents' choices are made for them, and which option they get; None if nobody's."""
        if self.forced is None:
            return None
        return self.forced[self.trial] >= 0, self.forced[self.trial]

    def shows(self, name: str) -> np.ndarray:
        """Whether outcomes are shown in this trial, per agent."""
        return self.shown[self.trial]

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the outcome of the chosen option, or of the other one (``outcome_forgone``)."""
        option = choices["choice"]
        if name == "outcome_forgone":
            pair = (0, 1) if self.offered is None else self.offered[self.trial]
            option = pair[0] + pair[1] - option
        return self.outcomes[self.trial, option, np.arange(self.n_agents)]


def play(
    environment: Fixed | Reversing | Drifting | Pairs,
    n_trials: int,
    n_agents: int,
    rng: np.random.Generator,
    outcome_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[Bandit, World]:
    """Set up a bandit for many agents.

    Parameters
    ----------
    environment : Fixed, Reversing, Drifting or Pairs
        How payoffs come about.
    n_trials, n_agents : int
        Size.
    rng : numpy.random.Generator
        Source of randomness.
    outcome_range : (float, float)
        The two outcomes.

    Returns
    -------
    task : Bandit
    world : World
    """
    payoffs = environment.schedule(n_trials, n_agents, rng)
    low, high = outcome_range
    outcomes = np.where(rng.random(payoffs.shape) < payoffs, high, low)
    offers, shown = None, np.ones((n_trials, n_agents), dtype=bool)
    if isinstance(environment, Pairs):
        offers = environment.offers(n_trials, n_agents, rng)
        shown[n_trials - environment.transfer :] = False
    n_options = payoffs.shape[1]
    labels = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[k] if n_options <= 26 else str(k + 1) for k in range(n_options))
    task = Bandit(n_options, labels, outcome_range, None if offers is None else 2, has_forgone=True)
    return task, World(outcomes, offers, shown, None, payoffs)
