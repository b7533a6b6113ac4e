"""What a model is tried on where there are data: rows of a lab's file, and agents who play them again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fitrl.conformance.interpreters import Rows
from fitrl.conformance.situation import AGENTS, FORCED, HIDDEN, MISSED, TRIALS, Played, Situation
from fitrl.data import Trials
from fitrl.engine.layout import lay_out
from fitrl.fitting.freerun import free_run
from fitrl.fitting.simulate import usual_sd
from fitrl.hierarchy.columns import trial_columns
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import population_start
from fitrl.tasks.replay import NotReplayable


@dataclass(frozen=True)
class RecordedSituation(Situation):
    """A model, and recorded trials that it is tried on; needed where its task has no environment.

    Attributes
    ----------
    data : Trials
        Read for the model.
    """

    data: Trials

    @cached_property
    def every(self) -> Rows:
        """All rows of the data."""
        columns = trial_columns(self.model, self.data)
        return Rows(columns, columns["sequence"])

    @cached_property
    def gapped(self) -> Played:
        """The beginning of a few sequences, of unequal lengths, with more missed, forced and hidden trials."""
        rng = np.random.default_rng([self.seed, 1])
        rows = self.beginning(min(AGENTS, self.every.n_sequences), TRIALS, rng)
        return Played(self.data.task, _with_gaps(rows, self.data.task, rng), self.drawn(rows.n_sequences))

    @cached_property
    def cannot_play(self) -> str:
        """Why agents cannot play these trials; empty if they can."""
        try:
            self.run(1, 2, 0)
        except NotReplayable as reason:
            return f"{reason}."
        return ""

    def play(self, agents: int, trials: int, seed: int) -> Played:
        """Let agents play the beginnings of the sequences; where they cannot, return these as they were recorded."""
        if not self.cannot_play:
            return self.run(agents, trials, seed)
        rows = self.beginning(min(agents, self.every.n_sequences), trials)
        return Played(self.data.task, rows, self.drawn(rows.n_sequences))

    def run(self, agents: int, trials: int, seed: int) -> Played:
        """Let agents play; as many of them per sequence as are needed."""
        rng = np.random.default_rng([self.seed, 3, seed])
        rows = self.beginning(min(agents, self.every.n_sequences), trials)
        copies = -(-agents // rows.n_sequences)
        eta = self.drawn(rows.n_sequences * copies)
        values = {
            name: natural(row, p.link, p.lower, p.upper)
            for row, (name, p) in zip(eta, self.model.fitted(self.data.task).items(), strict=True)
        }
        found, _ = free_run(self.model, self.data.task, rows.columns, lay_out(rows.sequence), values, copies, rng)
        columns = {name: np.tile(column, copies) for name, column in rows.columns.items()}
        for name, by_copy in found.items():
            column = by_copy.ravel()
            if f"{name}_given" in columns and name not in self.data.task.emissions():
                columns[f"{name}_given"] = np.isfinite(column)
                column = np.where(np.isfinite(column), column, 0.0)
            columns[name] = column
        sequence = np.concatenate([rows.sequence + k * rows.n_sequences for k in range(copies)])
        everyone = Rows(columns, sequence)
        return Played(self.data.task, everyone.take(range(agents)), eta[:, :agents])

    def beginning(self, n: int, trials: int, rng: Any = None) -> Rows:
        """Return the first trials of the first `n` sequences; with `rng`, all but the first one cut at random."""
        rows = self.every.take(range(n))
        first = np.searchsorted(rows.sequence, np.arange(n))
        kept = np.full(n, trials)
        if rng is not None:
            kept[1:] = rng.integers(trials // 2, trials + 1, n - 1)
        at = np.arange(len(rows.sequence)) - first[rows.sequence] < kept[rows.sequence]
        return Rows({name: column[at] for name, column in rows.columns.items()}, rows.sequence[at])

    def drawn(self, n: int) -> np.ndarray:
        """Draw link-scale parameters of `n` agents, shape (parameter, agent)."""
        rng = np.random.default_rng([self.seed, 2])
        parameters = self.model.fitted(self.data.task).values()
        eta = np.array([population_start(p) + usual_sd(p) * rng.normal(size=n) for p in parameters])
        return eta.reshape(len(parameters), n)


def _with_gaps(rows: Rows, task: Any, rng: np.random.Generator) -> Rows:
    """Take responses and outcomes away, force choices, and start values afresh in the middle."""
    n = len(rows.sequence)
    missed, forced = rng.random(n) < MISSED, rng.random(n) < FORCED
    hidden = missed | (rng.random(n) < HIDDEN)
    columns = dict(rows.columns)
    for column in task.columns:
        name = column.name
        if name not in columns:
            continue
        if name in task.emissions():
            columns[f"{name}_given"] = columns[f"{name}_given"] & ~missed
            columns[f"mask_{name}"] = columns[f"mask_{name}"] & ~missed & ~forced
        elif column.kind == "outcome":
            columns[f"{name}_given"] = columns[f"{name}_given"] & ~hidden
            columns[name] = np.where(hidden, 0.0, columns[name])
    columns["mask_update"] = columns["mask_update"] & ~hidden
    places = [np.flatnonzero(rows.sequence == s) for s in range(rows.n_sequences)]
    middle = [place[len(place) // 2] for place in places]
    columns["reset"] = columns["reset"].copy()
    columns["reset"][middle] = True
    return Rows(columns, rows.sequence)
