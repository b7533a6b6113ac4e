"""Recorded trials, played again by agents who choose for themselves: the worlds of free-running predictions.

What another choice would have earned is known where the outcome does not depend on the choice, where the outcome of the
other option was recorded, or where probabilities of payoff were (then outcomes are drawn anew for each agent). Else it
can only be simulated, and is labelled so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.tables import Table
from fitrl.tasks.world import World

SCHEDULE_SIMULATED = "schedule simulated"


class NotReplayable(ModelError):
    """Recorded trials that cannot be played again; the message says why, and what would help."""


class Recorded(World):
    """The trials of a data set, to be played again; override `answer`, and return it from `Task.replay`.

    Cues, options on offer, missed responses and resets are those of the data. A forced or excluded choice stays as it
    was if it teaches. If it does not (a transfer phase that is held out of the fit), agents make their own, since
    nothing that follows depends on it but their own memory of it.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (trial, sequence)
        The coded trial table, laid out; rows below the end of a sequence teach nothing.
    copies : int
        Agents per sequence; among agents, copies come slowest and sequences fastest.

    Notes
    -----
    As in the data, a trial teaches where the person got an outcome. If that depends on the choice (nothing is shown
    after a decline), override `shows` and `learns`, and let `answer` return NaN where the agent's choice shows nothing.

    Examples
    --------
    The outcome is shown whatever is chosen:

    >>> class Watched(Recorded):
    ...     def answer(self, name, choices):
    ...         return self.now(name)
    >>> world = Watched({"outcome": np.array([[1.0, 0.0], [0.0, 1.0]])}, copies=2)
    >>> world.at(1).answer("outcome", {"choice": np.array([0, 0, 1, 1])})
    array([0., 1., 0., 1.])
    """

    def __init__(self, columns: Mapping[str, np.ndarray], copies: int):
        n_trials, n_sequences = next(iter(columns.values())).shape
        super().__init__(n_trials, n_sequences * copies)
        self.columns, self.copies = columns, copies

    def now(self, name: str) -> np.ndarray:
        """Return a recorded column at this trial, shape (agent,)."""
        return np.tile(self._column(name)[self.trial], self.copies)

    def every(self, name: str) -> np.ndarray:
        """Return a recorded column at every trial, shape (trial, agent)."""
        return np.tile(self._column(name), self.copies)

    def _column(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise ModelError(f'the recorded trials have no column "{name}"; they have {", ".join(self.columns)}.')
        return self.columns[name]

    def cue(self, name: str) -> np.ndarray:
        """Return what was shown."""
        return self.now(name)

    def offers(self, name: str) -> Any:
        """Return the options that were on offer."""
        names = [column for column in self.columns if column.startswith("offer_")]
        return Table(np.stack([self.now(f"offer_{j + 1}") for j in range(len(names))]), 1) if names else None

    def responds(self, name: str) -> np.ndarray:
        """Whether the person responded; a missed trial stays missed."""
        return self.now(f"{name}_given")

    def shows(self, name: str) -> np.ndarray:
        """Whether this answer was shown to the person."""
        return self.now(f"{name}_given")

    def resets(self) -> np.ndarray:
        """Whether values start afresh."""
        return self.now("reset")

    def learns(self) -> np.ndarray:
        """Whether the trial taught the person."""
        return self.now("mask_update")

    def instructed(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Whose choice stays as it was: forced or excluded ones that teach."""
        told = self.columns["mask_update"][self.trial] & ~self.columns[f"mask_{name}"][self.trial]
        return (np.tile(told, self.copies), self.now(name)) if told.any() else None


class BanditAgain(Recorded):
    """A recorded bandit.

    Parameters
    ----------
    columns, copies
        As for `Recorded`.
    outcomes : ndarray, shape (trial, offer, agent)
        What each option on offer would pay.
    all_offered : bool
        Whether all options are always on offer, in the order of their codes.
    simulated : str
        What of it is made up; empty if nothing is.
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        copies: int,
        outcomes: np.ndarray,
        all_offered: bool,
        simulated: str = "",
    ):
        super().__init__(columns, copies)
        self.outcomes, self.all_offered, self.simulated = outcomes, all_offered, simulated

    def offers(self, name: str) -> Any:
        """Return the options that were on offer, or None if always all."""
        return None if self.all_offered else super().offers(name)

    def answer(self, name: str, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the outcome of the chosen option, or of the other one (``outcome_forgone``)."""
        at = choices["choice"]
        if not self.all_offered:
            at = (np.stack(list(self.offers("choice").cells())) == at).argmax(axis=0)
        if name == "outcome_forgone":
            at = 1 - at  # the column is refused where more than two are on offer
        return self.outcomes[self.trial, at, np.arange(self.n_agents)]


def replay_bandit(
    task: Any,
    columns: Mapping[str, np.ndarray],
    copies: int,
    rng: np.random.Generator,
    environment: Any = None,
) -> BanditAgain:
    """Set up the very trials of a data set for agents who choose by themselves.

    Parameters
    ----------
    task : Bandit
        Configured for the data.
    columns, copies
        As for `Recorded`.
    rng : numpy.random.Generator
        Source of randomness.
    environment : environment, optional
        Makes payoffs up where the data hold none and all options are always on offer.

    Returns
    -------
    BanditAgain

    Raises
    ------
    NotReplayable
        If what other choices would have earned is not known.
    """
    n_offers = sum(name.startswith("offer_") for name in columns)
    all_offered = task.n_offered is None
    recorded = _recorded_outcomes(columns, n_offers)
    if recorded is not None:
        return BanditAgain(columns, copies, np.tile(recorded, copies), all_offered)
    shape = (len(columns["outcome"]), n_offers, columns["outcome"].shape[1] * copies)
    simulated = ""
    if "payoff_1" in columns:
        payoffs = np.stack([columns[f"payoff_{j + 1}"] for j in range(n_offers)], axis=1)
        payoffs = np.tile(payoffs, copies)
    elif environment is not None and not hasattr(environment, "schedule"):
        raise ModelError(
            f"{type(environment).__name__} have cards of their own, not the outcomes of these data. Name another."
        )
    elif environment is not None and all_offered:
        payoffs, simulated = environment.schedule(shape[0], shape[2], rng), SCHEDULE_SIMULATED
        if payoffs.shape != shape:
            raise ModelError(
                f"the environment {type(environment).__name__} has {payoffs.shape[1]} options; data have {n_offers}."
            )
    else:
        remedy = "; make them up: fitrl predict DIR --environment reversing" if all_offered else ""
        raise NotReplayable(
            "the file records neither forgone outcomes (outcome_forgone, for every trial) nor probabilities of payoff "
            f"(payoff_1, payoff_2, ...), so what other choices would have earned is not known{remedy}"
        )
    low, high = two_outcomes(task, columns)
    outcomes = np.where(rng.random(payoffs.shape) < payoffs, high, low)
    return BanditAgain(columns, copies, outcomes, all_offered, simulated)


def two_outcomes(task: Any, columns: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the lower and the higher outcome of trials that pay or do not.

    Parameters
    ----------
    task : Task
        Its range of outcomes is taken where one value alone occurs.
    columns : mapping of str to ndarray, shape (trial, sequence)
        The trial table, laid out.

    Raises
    ------
    NotReplayable
        If outcomes take more than two values, or payoffs are no probabilities.
    """
    values = np.unique(columns["outcome"][columns["mask_update"]])
    if len(values) > 2:
        raise NotReplayable(
            f"outcomes take {len(values)} values, so that a probability of payoff does not say what is earned"
        )
    payoffs = [column for name, column in columns.items() if name.startswith("payoff_")]
    if any((column < 0).any() or (column > 1).any() for column in payoffs):
        raise NotReplayable("the payoffs of the file are no probabilities (0 to 1)")
    if len(values) == 2:
        return float(values[0]), float(values[1])
    low, high = task.outcome_range
    if not np.isfinite(high - low):
        raise NotReplayable("all outcomes are equal, so what the other outcome is worth is not known")
    return low, high


def _recorded_outcomes(columns: Mapping[str, np.ndarray], n_offers: int) -> np.ndarray | None:
    """Outcome of either option on offer, shape (trial, offer, sequence), where both were recorded."""
    learns = columns["mask_update"]
    if "outcome_forgone" not in columns or n_offers != 2 or not columns["outcome_forgone_given"][learns].all():
        return None
    first = columns["choice_at"] == 0
    got, missed = columns["outcome"], columns["outcome_forgone"]
    return np.stack([np.where(first, got, missed), np.where(first, missed, got)], axis=1)
