"""Gamble on a symbol or pass, with a learning rate that follows surprise.

Task and winning model of Kirschner et al. 2024 (eLife, 10.7554/eLife.101413), as a lab would write them in a file of
its own. Choices are 1 (gamble) and 0 (pass); what the symbol would have paid, 1 or -1, is shown in either case.

Equations, in order, for the symbol s of the trial: where it starts afresh (the column ``fresh``, and the first trial
of a session) ``Q[s] = 0`` and ``A[s] = 1``; ``P(gamble) = sigmoid(beta * (bias + Q[s]))``; ``rpe = outcome - Q[s]``;
``lr = sigmoid(A[s] * (base + conf * c))``, with c = 1 where the outcome confirms the choice (gambled and won, or
passed and would have lost), else -1; ``Q[s] += lr * rpe``; ``A[s] = eta * abs(rpe) + (1 - eta) * lr``.

Usual ranges, from the estimates that the authors publish: eta .1 to .5, beta 1 to 4, bias -.3 to .3, base -5 to 0
(down to -20 in people who hardly learn), conf 1 to 4. A starts at 1 and soon lies near .5, where base and conf count
half. Where base + conf * c is below 0, as it mostly is after outcomes that do not confirm the choice, a higher A means
a lower rate: what surprises again counts less. eta says how much of the latest surprise A takes up; which way A then
moves the rate is up to the two weights.

Identifiability: beta, bias and base from 150 trials on. eta and conf are a matter of the group: with 150 trials, the
choices of one person say little of them. Where base is far below 0 nothing is learned, and choices say nothing of eta.

Differs from the source: c is 1 and -1, which the authors z-score within each session (the same model, but base and
conf then depend on how often outcomes confirmed the choices); priors of a population in place of theirs for single
people (eta Beta(2, 5), beta Gamma(3, 1), bias normal(0, .5), base normal(0, 20), conf normal(10, 20); their files have
variants of them). What they plot as learning rate is A; the rate that moves values is ``lr``. In their program a
symbol starts afresh in its first trial of a session only, although the log of the task has pictures exchanged where
probabilities changed, and choices there jump to about one half; ``fresh`` may say so. Equations are those of the
authors' program (REFIT_Chicago_public); with the estimates that they publish, it gives their variability of A in
single people.

    fitrl fit drug.csv --model gamble_pass_surprise.py --column session=condition --out results/drug
"""

import numpy as np

from fitrl.language import Model, State, absolute, bernoulli_logit, filled, latent, positive, real, sigmoid, unit, where
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
        Column("fresh", "quantity", "1 where the symbol starts afresh, else 0"),
        Column("choice", "choice", "1 gamble, 0 pass; blank if missed", labels=("0", "1")),
        Column("outcome", "outcome", "1 or -1, what the symbol pays, also where it was passed"),
    )

    @classmethod
    def play(cls, n_trials, n_agents, rng, **settings):
        codings = {"stimulus": ("1", "2", "3"), "choice": ("0", "1")}
        return cls(2, codings["choice"], (-1.0, 1.0), codings=codings), Symbols(n_trials, n_agents, rng)

    def replay(self, columns, copies, rng, **settings):
        return SymbolsAgain(columns, copies)


class ValueBySurprise(Model):
    """The value of each symbol follows its outcomes, at a rate that depends on surprise and on being confirmed."""

    task = GamblePass
    reference = "Kirschner et al. 2024, eLife, 10.7554/eLife.101413"
    eta = unit("how much of the associability is the latest surprise", location=(-1.0, 1.0), usual=(0.1, 0.5))
    beta = positive("inverse temperature", unit="1/outcome", median=3.0, usual=(1.0, 6.0))
    bias = real("value of gambling as such", location=(0.0, 0.5), scale=0.5, unit="outcome", usual=(-0.3, 0.3))
    base = real("weight of associability in the logit of the rate", location=(-2.0, 3.0), scale=3.0, usual=(-5.0, 0.0))
    conf = real("its change by confirming outcomes", location=(2.0, 3.0), scale=2.0, usual=(1.0, 4.0))
    q = latent("values of the symbols", "outcome")
    assoc = latent("associability of the symbols before the trial")
    rpe = latent("prediction error", "outcome")
    lr = latent("learning rate of this trial")

    def start(self, p, task):
        symbols = len(task.codings["stimulus"])
        return State(q=filled(symbols, 0.0), assoc=filled(symbols, 1.0))

    def trial(self, s, p, t):
        stimulus, fresh = t.cue("stimulus"), t.cue("fresh") > 0.5
        s.q[stimulus] = where(fresh, 0.0, s.q[stimulus])
        s.assoc[stimulus] = where(fresh, 1.0, s.assoc[stimulus])
        choice = t.choose("choice", bernoulli_logit(p.beta * (p.bias + s.q[stimulus])))
        outcome = t.observe("outcome")
        rpe = outcome - s.q[stimulus]
        confirmed = where(choice == 1, outcome, -outcome)
        lr = sigmoid(s.assoc[stimulus] * (p.base + p.conf * confirmed))
        s.q[stimulus] += lr * rpe
        s.assoc[stimulus] = p.eta * absolute(rpe) + (1 - p.eta) * lr
        t.record(rpe=rpe, lr=lr)
