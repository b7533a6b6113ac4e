"""Models of the benchmarks that the zoo does not have in this form, so that numbers stay comparable over time."""

from __future__ import annotations

from typing import ClassVar

from fitrl.language import (
    Model,
    State,
    filled,
    largest,
    minimum,
    mix,
    onehot,
    option,
    positive,
    real,
    softmax,
    table,
    uniform,
    unit,
)
from fitrl.tasks import Column, Task


class TwoChoices(Task):
    """Two choices in a row: the first leads to one of two states, the second to an outcome."""

    columns: ClassVar = (
        Column("choice1", "choice", "first choice"),
        Column("state2", "cue", "state reached by the first choice"),
        Column("choice2", "choice", "choice in that state"),
        Column("outcome", "outcome", "what followed"),
    )


class Hybrid(Model):
    """Daw's hybrid of model-based and model-free control, seven parameters (models.md C1)."""

    task = TwoChoices
    alpha_1 = unit("learning rate, first stage")
    alpha_2 = unit("learning rate, second stage")
    beta_1 = positive("inverse temperature, first stage")
    beta_2 = positive("inverse temperature, second stage")
    lam = unit("eligibility trace")
    w_mb = unit("model-based weight")
    kappa = real("stickiness")

    def start(self, p, task):
        return State(q1=filled(2, 0.0), q2=filled((2, 2), 0.0), last=filled(2, 0.0))

    def trial(self, s, p, t):
        first, second = largest(s.q2[0]), largest(s.q2[1])
        q_mb = table([0.7 * first + 0.3 * second, 0.3 * first + 0.7 * second])
        a1 = t.choose("choice1", softmax(p.beta_1 * (p.w_mb * q_mb + (1 - p.w_mb) * s.q1) + p.kappa * s.last))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        rpe_1 = s.q2[state, a2] - s.q1[a1]
        rpe_2 = t.observe("outcome") - s.q2[state, a2]
        s.q1[a1] += p.alpha_1 * (rpe_1 + p.lam * rpe_2)
        s.q2[state, a2] += p.alpha_2 * rpe_2
        s.last = onehot(a1, 2)


class StimulusAction(Task):
    """One correct action for each of several stimuli, in blocks of different set size."""

    columns: ClassVar = (
        Column("stimulus", "cue", "what was shown"),
        Column("set_size", "quantity", "stimuli in the block"),
        Column("choice", "choice", "the action"),
        Column("outcome", "outcome", "1 if correct, else 0"),
    )


class WorkingMemory(Model):
    """Reinforcement learning beside a store of limited capacity that forgets; two tables of stimulus by action."""

    task = StimulusAction
    alpha = unit("learning rate")
    phi_wm = unit("decay of working memory")
    rho_wm = unit("reliance on working memory")
    cap = positive("capacity")
    eps = unit("lapse")
    beta = option(25.0, "inverse temperature, fixed")

    def start(self, p, task):
        shape = (len(task.codings["stimulus"]), task.size("choice"))
        return State(q=filled(shape, 1 / shape[1]), wm=filled(shape, 1 / shape[1]))

    def trial(self, s, p, t):
        stimulus, n_actions = t.cue("stimulus"), t.task.size("choice")
        w = p.rho_wm * minimum(1.0, p.cap / t.cue("set_size"))
        learned, held = softmax(self.beta * s.q[stimulus]), softmax(self.beta * s.wm[stimulus])
        a = t.choose("choice", mix(p.eps, uniform(n_actions), mix(w, held, learned)))
        r = t.observe("outcome")
        s.q[stimulus, a] += p.alpha * (r - s.q[stimulus, a])
        s.wm = s.wm + p.phi_wm * (1 / n_actions - s.wm)
        s.wm[stimulus, a] = r
