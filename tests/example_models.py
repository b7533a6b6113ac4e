"""Six models of different kinds, written as a lab member would write them in a file of their own.

1. Q-learning on pairs out of four options. 2. The two-step hybrid, and its variant with two slopes. 3. Working memory
with tables of stimulus by action. 4. The enhanced hierarchical Gaussian filter. 5. Choice and log-normal response
time. 6. Conditioning without any choice.
"""

from typing import ClassVar

import numpy as np

from fitrl.language import (
    Model,
    State,
    bernoulli_logit,
    derived,
    exp,
    filled,
    largest,
    latent,
    lognormal,
    maximum,
    minimum,
    mix,
    onehot,
    option,
    positive,
    real,
    sigmoid,
    softmax,
    table,
    total,
    uniform,
    unit,
    where,
)
from fitrl.tasks import Bandit, Column, Task, World

# 1 ------------------------------------------------------------------------------------------------


class PairsOfFour(Model):
    """Q-learning; the options on offer come from the task."""

    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature", unit="1/outcome")

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * s.q))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.alpha * rpe
        t.record(rpe=rpe)


# 2 ------------------------------------------------------------------------------------------------


class TwoStepTask(Task):
    """Two choices in a row: the first leads to one of two states, the second to an outcome."""

    columns: ClassVar = (
        Column("choice1", "choice", "first choice"),
        Column("state2", "cue", "state reached by the first choice"),
        Column("choice2", "choice", "choice in that state"),
        Column("outcome", "outcome", "what followed"),
    )


class TwoStepWorld(World):
    """Common transitions with probability .7; four payoffs that stay."""

    def __init__(self, n_trials, n_agents, rng, payoffs=((0.8, 0.3), (0.4, 0.2))):
        super().__init__(n_trials, n_agents)
        self.common = rng.random((n_trials, n_agents)) < 0.7
        self.pays = rng.random((n_trials, 2, 2, n_agents)) < np.array(payoffs)[None, :, :, None]

    def answer(self, name, choices):
        state = np.where(self.common[self.trial], choices["choice1"], 1 - choices["choice1"])
        if name == "state2":
            return state
        agents = np.arange(self.n_agents)
        return self.pays[self.trial, state, choices["choice2"], agents].astype(float)


class TwoStep(Model):
    """Daw's hybrid of model-based and model-free control, seven parameters."""

    task = TwoStepTask
    reference = "Daw 2011, Neuron, 10.1016/j.neuron.2011.02.027"
    alpha_1 = unit("learning rate, first stage")
    alpha_2 = unit("learning rate, second stage")
    beta_1 = positive("inverse temperature, first stage", unit="1/outcome")
    beta_2 = positive("inverse temperature, second stage", unit="1/outcome")
    lam = unit("eligibility trace")
    w_mb = unit("model-based weight")
    kappa = real("stickiness")
    p_common = option(0.7, "probability of the common transition")

    def start(self, p, task):
        return State(q1=filled(2, 0.0), q2=filled((2, 2), 0.0), last=filled(2, 0.0))

    def logits(self, s, p, q_mb):
        return p.beta_1 * (p.w_mb * q_mb + (1 - p.w_mb) * s.q1) + p.kappa * s.last

    def trial(self, s, p, t):
        best = table([largest(s.q2[0]), largest(s.q2[1])])
        c = self.p_common
        q_mb = table([c * best[0] + (1 - c) * best[1], (1 - c) * best[0] + c * best[1]])
        a1 = t.choose("choice1", softmax(self.logits(s, p, q_mb)))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        rpe_1 = s.q2[state, a2] - s.q1[a1]
        rpe_2 = t.observe("outcome") - s.q2[state, a2]
        s.q1[a1] += p.alpha_1 * (rpe_1 + p.lam * rpe_2)
        s.q2[state, a2] += p.alpha_2 * rpe_2
        s.last = onehot(a1, 2)
        t.record(rpe_1=rpe_1, rpe_2=rpe_2, q_mb=q_mb)


class TwoStepSplit(TwoStep):
    """The same with one slope for each system; the weight is derived."""

    beta_1 = None
    beta_mb = positive("model-based slope", unit="1/outcome")
    beta_mf = positive("model-free slope", unit="1/outcome")
    w_mb = derived("model-based weight", lambda p: p.beta_mb / (p.beta_mb + p.beta_mf), ("beta_mb", "beta_mf"))

    def logits(self, s, p, q_mb):
        return (p.beta_mb + p.beta_mf) * (p.w_mb * q_mb + (1 - p.w_mb) * s.q1) + p.kappa * s.last


# 3 ------------------------------------------------------------------------------------------------


class StimulusActionTask(Task):
    """One correct action for each of several stimuli, in blocks of different set size."""

    columns: ClassVar = (
        Column("stimulus", "cue", "what was shown"),
        Column("set_size", "quantity", "stimuli in the block"),
        Column("choice", "choice", "the action"),
        Column("outcome", "outcome", "1 if correct, else 0"),
    )


class StimulusActionWorld(World):
    """Stimuli in random order; action ``stimulus % n_actions`` is correct."""

    def __init__(self, n_trials, n_agents, rng, n_stimuli=3, n_actions=3):
        super().__init__(n_trials, n_agents)
        self.stimulus = rng.integers(0, n_stimuli, (n_trials, n_agents))
        self.n_stimuli, self.n_actions = n_stimuli, n_actions

    def cue(self, name):
        return self.stimulus[self.trial] if name == "stimulus" else np.full(self.n_agents, float(self.n_stimuli))

    def answer(self, name, choices):
        return np.where(choices["choice"] == self.stimulus[self.trial] % self.n_actions, 1.0, 0.0)


class WorkingMemory(Model):
    """Reinforcement learning beside a store of limited capacity that forgets."""

    task = StimulusActionTask
    reference = "Collins & Frank 2012, Eur J Neurosci, 10.1111/j.1460-9568.2011.07980.x"
    alpha = unit("learning rate")
    phi_wm = unit("decay of working memory")
    rho_wm = unit("reliance on working memory")
    cap = positive("capacity", median=3.5, usual=(2.0, 5.0))
    eps = unit("lapse", location=(-3.5, 1.0), scale=0.5)
    beta = option(25.0, "inverse temperature, fixed")

    def start(self, p, task):
        shape = (len(task.codings["stimulus"]), task.size("choice"))
        return State(q=filled(shape, 1 / shape[1]), wm=filled(shape, 1 / shape[1]))

    def trial(self, s, p, t):
        stimulus, n_actions = t.cue("stimulus"), t.task.size("choice")
        w = p.rho_wm * minimum(1.0, p.cap / t.cue("set_size"))
        learned = softmax(self.beta * s.q[stimulus])
        held = softmax(self.beta * s.wm[stimulus])
        a = t.choose("choice", mix(p.eps, uniform(n_actions), mix(w, held, learned)))
        r = t.observe("outcome")
        rpe = r - s.q[stimulus, a]
        s.q[stimulus, a] += p.alpha * rpe
        s.wm = s.wm + p.phi_wm * (1 / n_actions - s.wm)
        s.wm[stimulus, a] = r
        t.record(rpe=rpe, w=w)


# 4 ------------------------------------------------------------------------------------------------


class PredictionTask(Task):
    """Predict which of two outcomes will come; the outcome does not depend on the prediction."""

    columns: ClassVar = (
        Column("choice", "choice", "predicted outcome"),
        Column("outcome", "outcome", "what came, 0 or 1"),
    )


class PredictionWorld(World):
    """A sequence that reverses every twenty trials."""

    def __init__(self, n_trials, n_agents, rng):
        super().__init__(n_trials, n_agents)
        p = np.where(np.arange(n_trials) // 20 % 2, 0.2, 0.8)
        self.outcome = (rng.random((n_trials, n_agents)) < p[:, None]).astype(float)

    def answer(self, name, choices):
        return self.outcome[self.trial]


class BinaryFilter(Model):
    """Enhanced hierarchical Gaussian filter for binary outcomes, coupling fixed at 1."""

    task = PredictionTask
    reference = "Mathys 2014, Front Hum Neurosci, 10.3389/fnhum.2014.00825"
    omega2 = real("log volatility, level 2", location=(-3.0, 1.5))
    omega3 = real("log volatility, level 3", location=(2.0, 1.5))
    zeta = positive("response slope")
    sigma2_0 = option(0.1, "variance of level 2 at the start")
    mu2 = latent("belief, level 2")
    mu3 = latent("belief, level 3: log volatility")

    def start(self, p, task):
        return State(mu2=0.0, pi2=1 / self.sigma2_0, mu3=1.0, pi3=1.0)

    def trial(self, s, p, t):
        mu2_hat, pi2_old = s.mu2, s.pi2
        t.choose("choice", bernoulli_logit(p.zeta * mu2_hat))
        u = t.observe("outcome")
        mu1_hat = sigmoid(mu2_hat)
        delta1 = u - mu1_hat
        v = exp(s.mu3 + p.omega2)
        pi2_hat = 1 / (1 / pi2_old + v)
        s.pi2 = pi2_hat + mu1_hat * (1 - mu1_hat)
        s.mu2 = mu2_hat + delta1 / s.pi2
        surprise = 1 / s.pi2 + (s.mu2 - mu2_hat) ** 2
        pi3_hat = 1 / (1 / s.pi3 + exp(p.omega3))
        s.mu3 = s.mu3 + 0.5 * v * pi2_hat * (surprise * pi2_hat - 1) / pi3_hat
        v_new = exp(s.mu3 + p.omega2)
        precision = 1 / (1 / pi2_old + v_new)
        w, balance = v_new * precision, (v_new - 1 / pi2_old) * precision
        s.pi3 = pi3_hat + maximum(0.0, 0.5 * w * (w + balance * (surprise * precision - 1)))
        t.record(delta1=delta1, lr=1 / s.pi2)


# 5 ------------------------------------------------------------------------------------------------


class TimedBandit(Bandit):
    """A bandit with response times."""

    columns: ClassVar = (*Bandit.columns, Column("rt", "number", "response time in seconds"))


class ChoiceAndTime(Model):
    """Q-learning; the response is the faster, the further apart the values."""

    task = TimedBandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature", unit="1/outcome")
    rt_base = real("log response time when values are equal", location=(-0.5, 0.5))
    rt_slope = real("change of the log response time with the difference of values")
    rt_sd = positive("sd of the log response time", median=0.3)

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        gap = abs(s.q[0] - s.q[1])
        a = t.choose("choice", softmax(p.beta * s.q))
        t.emit("rt", lognormal(p.rt_base + p.rt_slope * gap, p.rt_sd))
        s.q[a] += p.alpha * (t.observe("outcome") - s.q[a])


# 6 ------------------------------------------------------------------------------------------------


class ConditioningTask(Task):
    """A cue, and a reward some steps later; nothing is chosen."""

    columns: ClassVar = (
        Column("cue", "cue", "which cue"),
        Column("delay", "quantity", "steps from the cue to the reward"),
        Column("outcome", "outcome", "size of the reward; 0 where it is omitted"),
    )


class ConditioningWorld(World):
    """One cue; the reward comes after four steps, and is omitted on the last trial."""

    def cue(self, name):
        return np.zeros(self.n_agents, int) if name == "cue" else np.full(self.n_agents, 4.0)

    def answer(self, name, choices):
        return np.full(self.n_agents, 0.0 if self.trial == self.n_trials - 1 else 1.0)


class Conditioning(Model):
    """Temporal-difference learning with a complete serial compound: one weight per cue and step since it."""

    task = ConditioningTask
    reference = "Schultz, Dayan & Montague 1997, Science, 10.1126/science.275.5306.1593"
    alpha = unit("learning rate")
    gamma = unit("discount factor")
    lam = unit("eligibility trace")
    n_steps = option(6, "steps from the cue to the end of the trial")

    def start(self, p, task):
        return State(w=filled((len(task.codings["cue"]), self.n_steps), 0.0))

    def trial(self, s, p, t):
        cue, delay = t.cue("cue"), t.cue("delay")
        trace = filled(self.n_steps, 0.0)
        errors = [p.gamma * s.w[cue, 0]]  # on entering the cue; between trials nothing is expected
        for step in range(1, self.n_steps + 1):
            r = where(delay == step, t.observe("outcome"), 0.0)
            ahead = s.w[cue, step] if step < self.n_steps else 0.0
            rpe = r + p.gamma * ahead - s.w[cue, step - 1]
            trace = (p.gamma * p.lam * trace).put(step - 1, 1.0)
            s.w[cue] = s.w[cue] + p.alpha * rpe * trace
            errors.append(rpe)
        t.record(rpe=table(errors), value=total(s.w[cue]))
