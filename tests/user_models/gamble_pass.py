"""Gamble on a symbol or pass; what it would have paid is shown in either case.

Task and model as a lab would write them in a file of its own, for reversal learning as in Kirschner et al. 2024
(eLife, 10.7554/eLife.101413). Choices are 1 (gamble) and 0 (pass). The value of a symbol starts afresh where the
column ``fresh`` of the file says so: where its probability changes, since choices jump there at once (the authors'
program does so in the first trial of a session only).

    fitrl fit drug.csv --model gamble_pass.py --column session=condition --out results/drug
"""

import numpy as np

from fitrl.language import Model, State, bernoulli_logit, filled, latent, positive, real, unit, where
from fitrl.tasks import Column, Recorded, Task, World


class Symbols(World):
    """Three symbols that win with probability .8, .5 and .2; every sixty trials these change places."""

    def __init__(self, n_trials, n_agents, rng):
        super().__init__(n_trials, n_agents)
        self.stimulus = rng.integers(0, 3, (n_trials, n_agents))
        phase = np.arange(n_trials)[:, None] // 60
        self.fresh = np.zeros((n_trials, n_agents))
        for symbol in range(3 * (phase.max() + 1)):  # the first trial of each symbol in each phase
            self.fresh[(self.stimulus + 3 * phase == symbol).argmax(axis=0), np.arange(n_agents)] = 1.0
        p_win = np.array([0.8, 0.5, 0.2])[(self.stimulus + phase) % 3]
        self.outcome = np.where(rng.random((n_trials, n_agents)) < p_win, 1.0, -1.0)

    def cue(self, name):
        return (self.stimulus if name == "stimulus" else self.fresh)[self.trial]

    def answer(self, name, choices):
        return self.outcome[self.trial]  # whatever was chosen


class SymbolsAgain(Recorded):
    """Recorded trials, for free-running predictions: the outcome was shown whatever was chosen."""

    def answer(self, name, choices):
        return self.now(name)


class GamblePass(Task):
    """One symbol per trial: gamble on it or pass."""

    columns = (
        Column("stimulus", "cue", "the symbol", labels=("1", "2", "3")),
        Column("fresh", "quantity", "1 where the value of the symbol starts afresh, else 0"),
        Column("choice", "choice", "1 gamble, 0 pass; blank if missed", labels=("0", "1")),
        Column("outcome", "outcome", "1 or -1, what the symbol pays, also where it was passed"),
    )

    @classmethod
    def play(cls, n_trials, n_agents, rng, **settings):
        codings = {"stimulus": ("1", "2", "3"), "choice": ("0", "1")}
        return cls(2, codings["choice"], (-1.0, 1.0), codings=codings), Symbols(n_trials, n_agents, rng)

    def replay(self, columns, copies, rng, **settings):
        return SymbolsAgain(columns, copies)


class ValueOfSymbol(Model):
    """The value of each symbol follows its outcomes, real and fictive alike; a positive one speaks for gambling."""

    task = GamblePass
    reference = "Kirschner et al. 2024, eLife, 10.7554/eLife.101413, with a learning rate that stays"
    alpha = unit("learning rate", usual=(0.05, 0.6))
    beta = positive("inverse temperature", unit="1/outcome", median=3.0, usual=(1.0, 8.0))
    bias = real("value of gambling as such", location=(0.0, 0.5), scale=0.5, unit="outcome", usual=(-0.5, 0.5))
    q = latent("values of the symbols", "outcome")
    rpe = latent("prediction error", "outcome")

    def start(self, p, task):
        return State(q=filled(len(task.codings["stimulus"]), 0.0))

    def trial(self, s, p, t):
        stimulus = t.cue("stimulus")
        s.q[stimulus] = where(t.cue("fresh") > 0.5, 0.0, s.q[stimulus])
        t.choose("choice", bernoulli_logit(p.beta * (p.bias + s.q[stimulus])))
        rpe = t.observe("outcome") - s.q[stimulus]
        s.q[stimulus] += p.alpha * rpe
        t.record(rpe=rpe)
