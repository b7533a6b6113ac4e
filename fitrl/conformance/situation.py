"""What a model is tried on: agents of its own, with gaps in their data as labs have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fitrl.conformance.compiled import CompiledLikelihood
from fitrl.conformance.interpreters import Rows
from fitrl.data import Trials, read_trials
from fitrl.engine.trace import Program, trace
from fitrl.errors import ModelError
from fitrl.fitting.simulate import simulate, usual_sd
from fitrl.hierarchy.columns import trial_columns
from fitrl.hierarchy.links import link_of, natural
from fitrl.hierarchy.plan import population_start
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.tasks.bandit import Bandit

AGENTS, TRIALS = 6, 60  # with gaps, for what must hold exactly
MISSED, HIDDEN, FORCED = 0.1, 0.08, 0.1


@dataclass(frozen=True)
class Played:
    """Agents who played, as the likelihood sees them.

    Attributes
    ----------
    task : Task
        Configured for the data.
    rows : Rows
        The data; a sequence per agent.
    eta : ndarray, shape (parameter, agent)
        Link-scale parameters of the agents.
    """

    task: Any
    rows: Rows
    eta: np.ndarray


@dataclass(frozen=True)
class Situation:
    """A model and the data that it is tried on.

    Attributes
    ----------
    model : Model
        With its traits.
    settings : dict
        How its task is played: arguments of `fitrl.simulate`.
    trials : int
        Trials of each agent where parameters are recovered.
    seed : int
        Every random number follows from it.
    """

    model: Model
    settings: Mapping[str, Any]
    trials: int
    seed: int

    @property
    def cannot_play(self) -> str:
        """Why agents cannot play; empty if they can."""
        return "the model prepares columns from data, so it cannot play without data." if self.model.prepared else ""

    def play(self, agents: int, trials: int, seed: int) -> Played:
        """Let agents play without gaps, and read what they did as a lab's file."""
        frame, truth = self._simulated(agents, trials, seed)
        return self._as_played(read_trials(frame, self.model), truth)

    @cached_property
    def gapped(self) -> Played:
        """Few agents with missed, forced and hidden trials, two blocks and unequal lengths."""
        frame, truth = self._simulated(AGENTS, TRIALS, self.seed)
        rng = np.random.default_rng([self.seed, 1])
        return self._as_played(read_trials(_with_gaps(frame, self.model.task, rng), self.model, reset="block"), truth)

    @cached_property
    def program(self) -> Program:
        """The traced model."""
        return trace(self.model, self.gapped.task)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Fitted parameters."""
        return self.model.fitted(self.gapped.task)

    @cached_property
    def fast(self) -> CompiledLikelihood:
        """The compiled likelihood."""
        return CompiledLikelihood(self.program, self.parameters, self.gapped.rows)

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of the simulated population on the link scale, shape (parameter,)."""
        return np.array([usual_sd(p) for p in self.parameters.values()])

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean of the simulated population on the link scale, shape (parameter,)."""
        return np.array([population_start(p) for p in self.parameters.values()])

    def natural(self, eta: np.ndarray) -> dict[str, np.ndarray]:
        """Natural-scale values by name, from link-scale values, shape (parameter, ...)."""
        return {
            name: natural(row, p.link, p.lower, p.upper)
            for row, (name, p) in zip(eta, self.parameters.items(), strict=True)
        }

    def _simulated(self, agents: int, trials: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Make data as a lab's file has them, and the parameters behind them (none where choices are random)."""
        size: dict[str, Any] = {"subjects": agents, "trials": trials, "random_seed": seed}
        if not self.model.prepared:
            made = simulate(self.model, **self.settings, **size)
            return made.frame, made.truth
        task = self.model.task
        if not issubclass(task if isinstance(task, type) else type(task), Bandit):
            raise ModelError(
                f"{self.model.label} prepares columns from data, and the checks have data of their own only for "
                "bandits. Check the model on a bandit, or fit it to data directly."
            )
        return simulate("random", **self.settings, **size).frame, pd.DataFrame()

    def _as_played(self, trials: Trials, truth: pd.DataFrame) -> Played:
        columns = trial_columns(self.model, trials)
        parameters = self.model.fitted(trials.task)
        rng = np.random.default_rng([self.seed, 2])
        eta = np.empty((len(parameters), trials.n_subjects))
        for row, (name, p) in zip(eta, parameters.items(), strict=True):
            if len(truth):
                values = truth[truth["parameter"] == name].set_index("subject")["value"][trials.subjects]
                row[:] = link_of(values.to_numpy(), p.link, p.lower, p.upper)
            else:
                row[:] = population_start(p) + usual_sd(p) * rng.normal(size=len(row))
        return Played(trials.task, Rows(columns, columns["sequence"]), eta)


def _with_gaps(frame: pd.DataFrame, task: Any, rng: np.random.Generator) -> pd.DataFrame:
    """Blank responses and outcomes, force choices, cut sequences short, and start values afresh in the middle."""
    n = len(frame)
    agent = frame["subject"].astype(int).to_numpy() - 1
    kept = rng.integers(TRIALS // 2, TRIALS + 1, AGENTS)
    kept[0] = TRIALS
    block_end = rng.integers(TRIALS // 4, TRIALS // 2, AGENTS)
    frame = frame.assign(
        block=np.where(frame["trial"] <= block_end[agent], 1, 2), forced=(rng.random(n) < FORCED).astype(int)
    )
    missed = rng.random(n) < MISSED
    hidden = missed | (rng.random(n) < HIDDEN)
    emissions = task.emissions()
    for column in task.columns:
        if column.name not in frame:
            continue
        if column.name in emissions:
            frame[column.name] = frame[column.name].astype(object).mask(missed, None)
        elif column.kind == "outcome":
            frame[column.name] = frame[column.name].astype(float).mask(hidden)
    return frame[frame["trial"] <= kept[agent]].reset_index(drop=True)
