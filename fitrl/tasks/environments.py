"""Environments of bandits: how payoffs come about, and worlds in which many agents can play at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.state import unknown
from fitrl.language.tables import Table
from fitrl.tasks.bandit import Bandit
from fitrl.tasks.world import World


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
class Volatile:
    """A stable phase and a volatile one: payoffs stay, then change places every few trials; or the other way round.

    The data say which phase a trial belongs to, in the column ``phase`` ("stable" or "volatile"). Values do not start
    afresh between phases.

    Attributes
    ----------
    p : tuple of float
        Probabilities of the higher outcome, handed round among the options.
    every : int
        Trials between reversals in the volatile phase; the first trial of it is a reversal unless it comes first.
    n_stable : int or None
        Trials of the stable phase; None for half of all.
    first : {"stable", "volatile"}
        The phase that comes first.

    References
    ----------
    Behrens et al. 2007, Nat Neurosci, 10.1038/nn1954; Browning et al. 2015, Nat Neurosci, 10.1038/nn.3961.
    Differs from the sources: the same probabilities in both phases, so that they differ in volatility alone; equal
    phases and regular reversals.
    """

    p: tuple[float, ...] = (0.8, 0.2)
    every: int = 20
    n_stable: int | None = None
    first: str = "stable"

    def __post_init__(self) -> None:
        if self.first not in ("stable", "volatile"):
            raise ModelError(f'the first phase is "{self.first}"; it can be "stable" or "volatile".')

    def phases(self, n_trials: int) -> np.ndarray:
        """Name of the phase of each trial, shape (trial,)."""
        n_stable = n_trials // 2 if self.n_stable is None else min(self.n_stable, n_trials)
        volatile = np.arange(n_trials) >= n_stable
        if self.first == "volatile":
            volatile = volatile[::-1]
        return np.where(volatile, "volatile", "stable")

    def schedule(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Payoff probabilities, shape (trial, option, agent)."""
        volatile = self.phases(n_trials) == "volatile"
        position = np.cumsum(volatile) - 1
        reversal = volatile & (position % self.every == 0) & (np.arange(n_trials) > 0)
        k = np.arange(len(self.p))
        payoffs = np.array(self.p)[(k + np.cumsum(reversal)[:, None]) % len(self.p)]
        return np.repeat(payoffs[:, :, None], n_agents, axis=2)


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


@dataclass(frozen=True)
class Decks:
    """Decks of cards: every card wins, and some cost more than they win.

    Outcomes are the net of a card, between -1 and 1. Of two decks the card that was not chosen is shown, too (a
    fictive outcome, the column ``outcome_forgone``).

    Attributes
    ----------
    gain, loss : tuple of float
        What a card of each deck wins, and what it costs if it costs anything, in outcomes.
    p_loss : tuple of float
        Share of the cards that cost something.

    References
    ----------
    Bechara et al. 1994, Cognition, 10.1016/0010-0277(94)90018-3 (Iowa gambling task): per ten cards decks A and B win
    1000 and lose 1250, C and D win 500 and lose 250; A and C lose in five cards, B and D in one. The default are A and
    C in units of 200; with four decks, all of them in units of 1150.
    Differs from the source: cards are drawn independently, each loss of a deck is the same, fictive outcomes are ours.
    """

    gain: tuple[float, ...] = (0.5, 0.25)
    loss: tuple[float, ...] = (1.25, 0.25)
    p_loss: tuple[float, ...] = (0.5, 0.5)

    def __post_init__(self) -> None:
        if not len(self.gain) == len(self.loss) == len(self.p_loss) >= 2:
            raise ModelError("decks: gain, loss and p_loss have one number each for every deck, of two decks or more.")
        if min(self.p_loss) < 0 or max(self.p_loss) > 1:
            raise ModelError(f"decks: p_loss is {self.p_loss}; expected shares between 0 and 1.")
        if np.abs(self._nets()).max() > 1:
            raise ModelError("decks: what a card nets must lie between -1 and 1. Divide by the largest.")

    def _nets(self) -> np.ndarray:
        """Outcomes of the two kinds of cards, shape (kind, deck): without and with a loss."""
        gain = np.array(self.gain)
        return np.stack([gain, gain - np.array(self.loss)])

    def cards(self, n_trials: int, n_agents: int, rng: np.random.Generator) -> np.ndarray:
        """Outcomes of the cards on top, shape (trial, deck, agent)."""
        costs = rng.random((n_trials, len(self.gain), n_agents)) < np.array(self.p_loss)[None, :, None]
        without, with_loss = self._nets()[:, None, :, None]
        return np.where(costs, with_loss, without)


IOWA = Decks(
    tuple(x / 1150 for x in (100, 100, 50, 50)), tuple(x / 1150 for x in (250, 1250, 50, 250)), (0.5, 0.1, 0.5, 0.1)
)

ENVIRONMENTS = {
    "fixed": Fixed,
    "reversing": Reversing,
    "volatile": Volatile,
    "drifting": Drifting,
    "pairs": Pairs,
    "decks": Decks,
}


def named(environment: Any, n_options: int | None = None) -> Any:
    """Find the environment of a bandit.

    Parameters
    ----------
    environment : str, environment or None
        A name in `ENVIRONMENTS`; None for payoffs that stay; an environment is returned as it is.
    n_options : int, optional
        Number of options for a name: payoffs spread from 0.7 to 0.3 (0.8 to 0.2 for reversing and volatile ones); 2 or
        4 decks.

    Raises
    ------
    ModelError
        If the name is not known, or cannot be played with that many options.
    """
    environment = "fixed" if environment is None else environment
    if not isinstance(environment, str):
        return environment
    if environment not in ENVIRONMENTS:
        raise ModelError(unknown("environment", environment, ENVIRONMENTS))
    kind = ENVIRONMENTS[environment]
    if n_options is None:
        return kind()
    if n_options < 2 or (environment == "pairs" and n_options % 2):
        raise ModelError(f"{environment} with {n_options} options cannot be played; give 2 or more (pairs: even).")
    if kind is Drifting:
        return Drifting(n_options)
    if kind is Decks:
        if n_options not in (2, 4):
            raise ModelError(f"there are 2 or 4 decks, not {n_options}. Describe others: Decks(gain, loss, p_loss).")
        return Decks() if n_options == 2 else IOWA
    if environment == "pairs":
        best = np.linspace(0.8, 0.6, n_options // 2)
        return kind(tuple(np.round(np.stack([best, 1 - best], axis=1).ravel(), 3).tolist()))
    top = 0.8 if environment in ("reversing", "volatile") else 0.7
    return kind(tuple(np.round(np.linspace(top, 1 - top, n_options), 3).tolist()))


@dataclass
class BanditWorld(World):
    """A bandit that many agents play at once: every payoff is decided before the first choice.

    Attributes
    ----------
    outcomes : ndarray, shape (trial, offer, agent)
        What each option on offer would pay.
    offered : ndarray of int, shape (trial, offer, agent), or None
        Options on offer, None if always all, in the order of their codes.
    shown : ndarray of bool, shape (trial, agent)
        Whether outcomes are shown; where not, nothing is learned.
    forced : ndarray of int, shape (trial, agent), or None
        Option that is chosen for the agent, -1 where it chooses itself.
    fresh : ndarray of bool, shape (trial, agent), or None
        Where values start afresh; None for the first trial only.
    payoffs : ndarray, shape (trial, offer, agent), or None
        Probabilities behind the outcomes.
    missed : ndarray of bool, shape (trial, agent), or None
        Where agents do not respond; None if they always do.
    notes : mapping of str to ndarray, shape (trial, agent)
        Columns of the file that agents do not see, such as the phase of the experiment.
    fictive : bool
        Whether the outcome of the other option is in the file, also for a model that does not look.
    """

    outcomes: np.ndarray
    offered: np.ndarray | None
    shown: np.ndarray
    forced: np.ndarray | None = None
    fresh: np.ndarray | None = None
    payoffs: np.ndarray | None = None
    missed: np.ndarray | None = None
    notes: Mapping[str, np.ndarray] = field(default_factory=dict)
    fictive: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.outcomes.shape[0], self.outcomes.shape[2])

    def cue(self, name: str) -> Any:
        """Refuse: nothing is shown besides the options."""
        raise ModelError(
            f'this bandit shows no "{name}". A model that needs it can be fitted, and run freely over recorded trials.'
        )

    def offers(self, name: str) -> Any:
        """Return the options on offer in this trial, a table of indices, or None if all."""
        return None if self.offered is None else Table(self.offered[self.trial], 1)

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

    def responds(self, name: str) -> bool | np.ndarray:
        """Whether there is a response in this trial, per agent."""
        return True if self.missed is None else ~self.missed[self.trial]

    def shows(self, name: str) -> np.ndarray:
        """Whether outcomes are shown in this trial, per agent."""
        return self.shown[self.trial]

    def table(self, task: Any, emitted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns as a lab's file has them: options on offer, outcomes also for a model that does not look, payoffs."""
        labels = np.array(task.labels, dtype=object)
        found: dict[str, np.ndarray] = {}
        if self.offered is not None:
            found |= {f"option_{j + 1}": labels[self.offered[:, j]] for j in range(self.offered.shape[1])}
        for name in ("outcome", "outcome_forgone") if self.fictive else ("outcome",):
            answers = [self.at(i).answer(name, {"choice": choice}) for i, choice in enumerate(emitted["choice"])]
            emitted = {**emitted, name: np.stack(answers)}
        found |= super().table(task, emitted)
        if self.payoffs is not None:
            found |= {f"payoff_{j + 1}": self.payoffs[:, j].round(6) for j in range(self.payoffs.shape[1])}
        return {**found, **self.notes}

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the outcome of the chosen option, or of the other one (``outcome_forgone``)."""
        at = choices["choice"]
        if self.offered is not None:
            at = (self.offered[self.trial] == at).argmax(axis=0)
        if name == "outcome_forgone":
            if self.outcomes.shape[1] != 2:
                raise ModelError("a forgone outcome is that of the one other option; here more than two are on offer.")
            at = 1 - at
        return self.outcomes[self.trial, at, np.arange(self.n_agents)]


def play_bandit(
    environment: Fixed | Reversing | Volatile | Drifting | Pairs | Decks,
    n_trials: int,
    n_agents: int,
    rng: np.random.Generator,
    outcome_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[Bandit, BanditWorld]:
    """Set up a bandit for many agents.

    Parameters
    ----------
    environment : Fixed, Reversing, Volatile, Drifting, Pairs or Decks
        How payoffs come about.
    n_trials, n_agents : int
        Size.
    rng : numpy.random.Generator
        Source of randomness.
    outcome_range : (float, float)
        The two outcomes; decks have their own, between -1 and 1.

    Returns
    -------
    task : Bandit
    world : BanditWorld
    """
    if isinstance(environment, Decks):
        cards = environment.cards(n_trials, n_agents, rng)
        decks, two = cards.shape[1], cards.shape[1] == 2
        task = Bandit(decks, _letters(decks), (-1.0, 1.0), has_forgone=two)
        return task, BanditWorld(cards, None, np.ones((n_trials, n_agents), dtype=bool), fictive=two)
    payoffs = environment.schedule(n_trials, n_agents, rng)
    n_options = payoffs.shape[1]
    offers, shown = None, np.ones((n_trials, n_agents), dtype=bool)
    if isinstance(environment, Pairs):
        offers = environment.offers(n_trials, n_agents, rng)
        payoffs = np.take_along_axis(payoffs, offers, axis=1)
        shown[n_trials - environment.transfer :] = False
    low, high = outcome_range
    outcomes = np.where(rng.random(payoffs.shape) < payoffs, high, low)
    task = Bandit(
        n_options, _letters(n_options), outcome_range, None if offers is None else 2, has_forgone=payoffs.shape[1] == 2
    )
    notes = {}
    if isinstance(environment, Volatile):
        notes["phase"] = np.repeat(environment.phases(n_trials)[:, None], n_agents, axis=1)
    return task, BanditWorld(outcomes, offers, shown, payoffs=payoffs, notes=notes)


def _letters(n_options: int) -> tuple[str, ...]:
    """Labels of options."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return tuple(letters[k] if n_options <= len(letters) else str(k + 1) for k in range(n_options))
