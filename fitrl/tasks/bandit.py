"""Bandits: choose one of the options on offer, see its outcome.

One task covers N-armed bandits, options that differ from trial to trial, and values per stimulus: what is
valued is an option, or a stimulus with an action, and a trial offers some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fitrl.tasks.replay import replay_bandit
from fitrl.tasks.task import Column, Task
from fitrl.tasks.world import World


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
    def play(  # noqa: D102
        cls, n_trials: int, n_agents: int, rng: np.random.Generator, *, environment: Any = None, **settings: Any
    ) -> tuple[Task, World]:
        from fitrl.tasks.environments import named, play_bandit  # environments build on this module

        if isinstance(environment, World):
            return super().play(n_trials, n_agents, rng, environment=environment, **settings)
        n_options, outcome_range = settings.get("n_options"), settings.get("outcome_range", (0.0, 1.0))
        return play_bandit(named(environment, n_options), n_trials, n_agents, rng, outcome_range)

    def replay(  # noqa: D102
        self, columns: Mapping[str, np.ndarray], copies: int, rng: np.random.Generator, *, environment: Any = None
    ) -> World:
        from fitrl.tasks.environments import named

        made_up = None if environment is None else named(environment, self.n_options)
        return replay_bandit(self, columns, copies, rng, made_up)

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
        if "payoff_1" in columns:
            columns |= _payoffs_on_offer(columns, offers, len(labels))
        if n_offered == len(labels):  # all on offer, in whatever order: their own order will do
            offers, differ = np.sort(offers, axis=0), False
        columns |= {f"offer_{j + 1}": row for j, row in enumerate(offers)}
        columns["choice_at"] = (offers == choice).argmax(axis=0)
        task = cls(
            n_options=len(labels),
            labels=labels,
            outcome_range=outcome_range,
            n_offered=n_offered if differ else None,
            has_forgone="outcome_forgone" in columns,
        )
        return task, columns, codings


def _payoffs_on_offer(columns: Mapping[str, np.ndarray], offers: np.ndarray, n_options: int) -> dict[str, np.ndarray]:
    """Payoffs in the order of the options on offer; given per option of the task, or per option on offer."""
    names = sorted((n for n in columns if n.startswith("payoff_")), key=lambda n: int(n.removeprefix("payoff_")))
    payoffs = np.stack([columns[n] for n in names])
    if len(names) == n_options and len(offers) < n_options:
        payoffs = np.take_along_axis(payoffs, offers, axis=0)
    if len(offers) == n_options:
        payoffs = np.take_along_axis(payoffs, np.argsort(offers, axis=0), axis=0)
    return {f"payoff_{j + 1}": row for j, row in enumerate(payoffs)}
