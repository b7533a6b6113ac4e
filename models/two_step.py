"""Two-step tasks: model-based and model-free control, side by side."""

from fitrl.language import (
    Model,
    State,
    derived,
    filled,
    largest,
    latent,
    onehot,
    option,
    positive,
    real,
    softmax,
    table,
    unit,
    where,
)
from fitrl.tasks import TwoStep, TwoStepKool


class Planner(Model):
    """What all models of Daw's task share: model-based values, and the memory of the previous choice."""

    task = TwoStep
    transitions = option("fixed", "common transitions known as p_common, or told by counting", ("fixed", "counted"))
    p_common = option(0.7, "probability of the common transition in the model-based values")
    q2 = latent("values of the second options before the trial, by state", "outcome")
    last = latent("1 for the previous first choice")
    q_mb = latent("model-based values of the first options", "outcome")

    def begun(self, **values):
        """Start with these values, with no previous choice and nothing counted."""
        counted = {"balance": 0.0} if self.transitions == "counted" else {}
        return State(**values, last=filled(2, 0.0), **counted)

    def model_based(self, s):
        """Look one step ahead: the best value of each state, weighted by how likely the state is."""
        to_own = self.p_common  # probability of the first state after the first option
        if self.transitions == "counted":
            to_own = where(s.balance > 0, to_own, where(s.balance < 0, 1 - to_own, 0.5))
        first, second = largest(s.q2[0]), largest(s.q2[1])
        return table([to_own * first + (1 - to_own) * second, (1 - to_own) * first + to_own * second])

    def count(self, s, a1, state):
        """Count whether the states follow the options in their order, or the other way round."""
        if self.transitions == "counted":
            s.balance = s.balance + where(state == a1, 1.0, -1.0)

    def between(self, s, p, t):
        """Remember the first choice, also of a trial that taught nothing; a missed response keeps the one before."""
        s.last = where(t.responded("choice1"), onehot(t.choices["choice1"], 2), s.last)


class Hybrid(Planner):
    """What the models with one model-free value of each first option share."""

    q0 = option(None, "initial value in scaled outcomes; by default the midpoint of their range")
    q_mf = latent("model-free values of the first options before the trial", "outcome")
    rpe_1 = latent("prediction error on reaching the second state", "outcome")
    rpe_2 = latent("prediction error at the outcome", "outcome")

    def start(self, p, task):
        """Start every value at q0."""
        q0 = task.midpoint if self.q0 is None else self.q0
        return self.begun(q_mf=filled(2, q0), q2=filled((2, 2), q0))

    def learn(self, s, t, a1, state, a2, rate_1, rate_2, lam):
        """Move the values of both stages by prediction errors that are both taken before any update."""
        rpe_1 = s.q2[state, a2] - s.q_mf[a1]
        rpe_2 = t.observe("outcome") - s.q2[state, a2]
        s.q_mf[a1] += rate_1 * (rpe_1 + lam * rpe_2)
        s.q2[state, a2] += rate_2 * rpe_2
        self.count(s, a1, state)
        t.record(rpe_1=rpe_1, rpe_2=rpe_2)


class TwoStepSplit(Hybrid):
    """Model-based and model-free control with a slope of its own for each (the two-step model to begin with).

    Use for Daw's two-step task; from 200 trials per person on. "Less model-based" and "noisier" are different
    parameters here, which a weight mixes up.

    Equations, in order, with T = p_common for the state that is common after option j, else 1 - p_common:
    ``Q_mb[j] = sum_s T(s|j) max_a Q2[s, a]``;
    ``P(j) = softmax(beta_mb * Q_mb + beta_mf * Q_mf + kappa * 1[j was chosen last])[j]``;
    ``P(a) = softmax(beta_2 * Q2[s])[a]`` in the state s that was reached;
    ``rpe_1 = Q2[s, a] - Q_mf[j]`` and ``rpe_2 = r - Q2[s, a]``, both before any update;
    ``Q_mf[j] += alpha * (rpe_1 + lam * rpe_2)``; ``Q2[s, a] += alpha * rpe_2`` (``alpha_2`` with ``rates="two"``).
    All values start at q0. With ``transitions="counted"``, T follows whichever order of states was seen more often so
    far; .5 while both were seen equally often.

    A response may be missing at either stage: such a trial teaches nothing, and the stage with a response counts.

    Derived: ``w_mb = beta_mb / (beta_mb + beta_mf)``, which means nothing where the sum is near 0.

    Identifiability: the two slopes are told apart by rare transitions; lam is uncertain where beta_mf is small.

    Differs from the source: one slope for all model-free values, with an eligibility trace, in place of separate slopes
    for the two model-free errors (Gillan 2016); slopes may be negative, since a constraint would turn 0 into a bias.
    """

    reference = (
        "Otto et al. 2013, Psychol Sci, 10.1177/0956797612463080; Gillan et al. 2016, eLife, 10.7554/eLife.11305; "
        "Daw et al. 2011, Neuron, 10.1016/j.neuron.2011.02.027"
    )
    beta_mb = real("model-based slope", location=(0.0, 3.0), scale=2.0, unit="1/outcome", usual=(0.0, 6.0))
    beta_mf = real("model-free slope", location=(0.0, 3.0), scale=2.0, unit="1/outcome", usual=(0.0, 6.0))
    beta_2 = positive("inverse temperature, second stage", unit="1/outcome", usual=(1.0, 8.0))
    alpha = unit("learning rate", usual=(0.2, 0.8))
    alpha_2 = unit("learning rate, second stage", usual=(0.2, 0.8))
    lam = unit("eligibility trace", usual=(0.2, 0.95))
    kappa = real("stickiness of the first choice", usual=(-0.5, 1.5))
    w_mb = derived("model-based weight", lambda p: p.beta_mb / (p.beta_mb + p.beta_mf), ("beta_mb", "beta_mf"))
    rates = option("one", "one learning rate for both stages, or two", ("one", "two"))

    def parameters(self):
        """Leave out the second learning rate unless there are two."""
        found = super().parameters()
        if self.rates == "one":
            del found["alpha_2"]
        return found

    def trial(self, s, p, t):
        """Choose, reach a state, choose again, see the outcome, learn."""
        q_mb = self.model_based(s)
        a1 = t.choose("choice1", softmax(p.beta_mb * q_mb + p.beta_mf * s.q_mf + p.kappa * s.last))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        rate_2 = p.alpha if self.rates == "one" else p.alpha_2
        self.learn(s, t, a1, state, a2, p.alpha, rate_2, p.lam)
        t.record(q_mb=q_mb)


class TwoStepDaw(Hybrid):
    """The hybrid of Daw et al. 2011: seven parameters, the model-based weight among them.

    Use to compare with published weights; `two_step_split` has the better geometry.

    Equations, in order, with Q_mb as in `two_step_split`:
    ``P(j) = softmax(beta_1 * (w_mb * Q_mb + (1 - w_mb) * Q_mf + persev * 1[j was chosen last]))[j]``;
    ``P(a) = softmax(beta_2 * Q2[s])[a]``; ``rpe_1 = Q2[s, a] - Q_mf[j]`` and ``rpe_2 = r - Q2[s, a]``, both before any
    update; ``Q_mf[j] += alpha_1 * (rpe_1 + lam * rpe_2)``; ``Q2[s, a] += alpha_2 * rpe_2``. All values start at 0.

    Derived: ``kappa = beta_1 * persev``, the stickiness in logits, as the other models have it.

    Identifiability: w_mb and persev are told apart from beta_1 only where beta_1 is clearly above 0, and w_mb only
    where the two systems disagree; 200 trials or more.

    Differs from the source: none in the equations. Published priors differ; codes that drop missed trials shift the
    history, here their rows stay and teach nothing.
    """

    reference = "Daw et al. 2011, Neuron, 10.1016/j.neuron.2011.02.027"
    alpha_1 = unit("learning rate, first stage", usual=(0.2, 0.8))
    alpha_2 = unit("learning rate, second stage", usual=(0.2, 0.8))
    beta_1 = positive("inverse temperature, first stage", unit="1/outcome", usual=(1.0, 10.0))
    beta_2 = positive("inverse temperature, second stage", unit="1/outcome", usual=(1.0, 8.0))
    lam = unit("eligibility trace", usual=(0.2, 0.95))
    w_mb = unit("model-based weight", usual=(0.2, 0.8))
    persev = real("perseveration, inside beta_1", unit="outcome", usual=(-0.1, 0.3))
    kappa = derived("stickiness in logits", lambda p: p.beta_1 * p.persev, ("beta_1", "persev"))
    q0 = option(0.0, "initial value in scaled outcomes; None for the midpoint of their range")

    def trial(self, s, p, t):
        """Choose, reach a state, choose again, see the outcome, learn."""
        q_mb = self.model_based(s)
        a1 = t.choose("choice1", softmax(p.beta_1 * (p.w_mb * q_mb + (1 - p.w_mb) * s.q_mf + p.persev * s.last)))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        self.learn(s, t, a1, state, a2, p.alpha_1, p.alpha_2, p.lam)
        t.record(q_mb=q_mb)


class TwoStepHBayesDM(Hybrid):
    """The hybrid as the program ts_par7 of hBayesDM has it; for comparisons with that package only.

    Equations, in order, with Q_mb as in `two_step_split`:
    ``P(j) = softmax(beta_1 * (w_mb * Q_mb + (1 - w_mb) * Q_mf) + kappa * 1[j was chosen last])[j]``;
    ``Q_mf[j] += alpha_1 * (Q2[s, a] - Q_mf[j])``; ``P(a) = softmax(beta_2 * Q2[s])[a]``;
    ``Q2[s, a] += alpha_2 * (r - Q2[s, a])``; then, with the value just updated,
    ``Q_mf[j] += lam * alpha_1 * (r - Q2[s, a])``. All values start at 0.

    Differs from the source: none. From Daw's hybrid it differs in the error of the eligibility step, which is taken
    after the update and so is smaller by (1 - alpha_2): lam here times (1 - alpha_2) is lam there. With ``--priors
    hbayesdm`` kappa lies between 0 and 5.
    """

    reference = "Ahn, Haines & Zhang 2017, Comput Psychiatr, 10.1162/CPSY_a_00002 (hBayesDM, ts_par7)"
    alpha_1 = unit("learning rate, first stage", usual=(0.2, 0.8))
    beta_1 = positive("inverse temperature, first stage", unit="1/outcome", usual=(1.0, 10.0))
    alpha_2 = unit("learning rate, second stage", usual=(0.2, 0.8))
    beta_2 = positive("inverse temperature, second stage", unit="1/outcome", usual=(1.0, 8.0))
    kappa = real("stickiness of the first choice", usual=(0.0, 1.5))
    w_mb = unit("model-based weight", usual=(0.2, 0.8))
    lam = unit("eligibility trace, on an error that is already updated", usual=(0.2, 0.95))
    q0 = option(0.0, "initial value in scaled outcomes; None for the midpoint of their range")

    def trial(self, s, p, t):
        """Choose, reach a state, choose again, see the outcome, learn."""
        q_mb = self.model_based(s)
        values = p.w_mb * q_mb + (1 - p.w_mb) * s.q_mf
        a1 = t.choose("choice1", softmax(p.beta_1 * values + p.kappa * s.last))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        r = t.observe("outcome")
        rpe_1, rpe_2 = s.q2[state, a2] - s.q_mf[a1], r - s.q2[state, a2]
        s.q_mf[a1] += p.alpha_1 * rpe_1
        s.q2[state, a2] += p.alpha_2 * rpe_2
        s.q_mf[a1] += p.lam * p.alpha_1 * (r - s.q2[state, a2])
        self.count(s, a1, state)
        t.record(q_mb=q_mb, rpe_1=rpe_1, rpe_2=rpe_2)


class KoolHybrid(Model):
    """What the models of Kool's task share: the state, model-based values, and the memory of the previous trial."""

    task = TwoStepKool
    q0 = option(None, "initial value in scaled outcomes; by default the midpoint of their range")
    q_mf = latent("model-free values of the first options before the trial", "outcome")
    q2 = latent("values of the goal states before the trial", "outcome")
    last = latent("1 for the option chosen in the previous trial")
    last_key = latent("1 for the key pressed in the previous trial: left, right")
    q_mb = latent("model-based values of the first options", "outcome")
    rpe_1 = latent("prediction error on reaching the goal state", "outcome")
    rpe_2 = latent("prediction error at the outcome", "outcome")

    def fitted(self, task):
        """Leave out the key where it is not known."""
        found = super().fitted(task)
        if not task.has_sides:
            del found["rho_resp"]
        return found

    def start(self, p, task):
        """Start every value at q0, with nothing to repeat."""
        q0 = task.midpoint if self.q0 is None else self.q0
        keys = {"last_key": filled(2, 0.0)} if task.has_sides else {}
        return State(q_mf=filled(4, q0), q2=filled(2, q0), last=filled(4, 0.0), **keys)

    def model_based(self, s, t):
        """Look one step ahead: the value of the goal state that each option leads to."""
        return table([s.q2[state] for state in t.task.leads_to])

    def habits(self, s, p, t):
        """Add what speaks for the previous option and the previous key."""
        again = p.pi_stim * s.last
        if t.task.has_sides:
            left = t.cue("left")
            again = again + p.rho_resp * table([where(left == a, s.last_key[0], s.last_key[1]) for a in range(4)])
        return again

    def learn(self, s, p, t, a):
        """Reach a goal state, see the outcome, and move values by errors that are both taken before any update."""
        state = t.observe("state2")
        rpe_1, rpe_2 = s.q2[state] - s.q_mf[a], t.observe("outcome") - s.q2[state]
        s.q_mf[a] += p.alpha * (rpe_1 + p.lam * rpe_2)
        s.q2[state] += p.alpha * rpe_2
        t.record(rpe_1=rpe_1, rpe_2=rpe_2)

    def between(self, s, p, t):
        """Remember option and key, also of a trial that taught nothing; a missed response keeps those before."""
        answered, a = t.responded("choice1"), t.choices["choice1"]
        s.last = where(answered, onehot(a, 4), s.last)
        if t.task.has_sides:
            s.last_key = where(answered, onehot(where(a == t.cue("left"), 0, 1), 2), s.last_key)


class TwoStepKoolModel(KoolHybrid):
    """The hybrid for the task of Kool et al. 2016: two start states, certain transitions, no second choice.

    Use where the same two goal states are reached from two start states: model-based control carries what was earned
    over to the other start state at once, model-free control does not.

    Equations, in order: ``Q = w_mb * Q2[state that a leads to] + (1 - w_mb) * Q_mf[a]``;
    ``P(a) = softmax(beta * (Q + pi_stim * 1[a was chosen in the previous trial] + rho_resp * 1[a stands at the key
    pressed in the previous trial]))[a]`` over the two options of the start state; ``rpe_1 = Q2[s] - Q_mf[a]`` and
    ``rpe_2 = r - Q2[s]``, both before any update; ``Q_mf[a] += alpha * (rpe_1 + lam * rpe_2)``;
    ``Q2[s] += alpha * rpe_2``. All values start at q0.

    ``rho_resp`` exists only if the data say what stood on the left (column ``left``). The previous trial's option is
    not on offer in the other start state, so ``pi_stim`` acts where the start state repeats.

    Derived: ``beta_mb`` and ``beta_mf``, the slopes of the two systems.

    Identifiability: 125 to 200 trials; w_mb is uncertain where beta is small.

    Differs from the source: none in the equations; priors are the toolkit's. The option 1 of each start state leads to
    the first goal state unless the data say otherwise.
    """

    reference = (
        "Kool, Cushman & Gershman 2016, PLoS Comput Biol, 10.1371/journal.pcbi.1005090; "
        "Kool, Gershman & Cushman 2017, Psychol Sci, 10.1177/0956797617708288"
    )
    beta = positive("inverse temperature", unit="1/outcome", usual=(1.0, 10.0))
    alpha = unit("learning rate", usual=(0.2, 0.8))
    lam = unit("eligibility trace", usual=(0.2, 0.95))
    w_mb = unit("model-based weight", usual=(0.2, 0.8))
    pi_stim = real("perseveration of the option, inside beta", unit="outcome", usual=(-0.1, 0.3))
    rho_resp = real("perseveration of the key, inside beta", unit="outcome", usual=(-0.1, 0.2))
    beta_mb = derived("model-based slope", lambda p: p.beta * p.w_mb, ("beta", "w_mb"))
    beta_mf = derived("model-free slope", lambda p: p.beta * (1 - p.w_mb), ("beta", "w_mb"))

    def trial(self, s, p, t):
        """Choose, reach a goal state, see the outcome, learn."""
        q_mb = self.model_based(s, t)
        values = p.w_mb * q_mb + (1 - p.w_mb) * s.q_mf + self.habits(s, p, t)
        a = t.choose("choice1", softmax(p.beta * values))
        self.learn(s, p, t, a)
        t.record(q_mb=q_mb)


class TwoStepKoolSplit(KoolHybrid):
    """Model-based and model-free control in Kool's task with a slope of its own for each.

    Use to ask whether a drug or a group changes one system or the other: a weight and an inverse temperature mix that
    up. Relates to `two_step_kool` as `two_step_split` does to `two_step_daw`.

    Equations as in `two_step_kool`, but for the choice: ``P(a) = softmax(beta_mb * Q2[state that a leads to] +
    beta_mf * Q_mf[a] + pi_stim * 1[a was chosen in the previous trial] + rho_resp * 1[a stands at the key pressed in
    the previous trial])[a]`` over the two options of the start state. Repetition is in logits here.

    Derived: ``w_mb = beta_mb / (beta_mb + beta_mf)``, which means nothing where the sum is near 0.

    Identifiability: the two systems are told apart by trials after a change of the start state; lam is uncertain where
    beta_mf is small. Compare with `forgetting(field="q_mf")`: in the data of Mikus et al. 2025 model-free values of
    options that are not chosen fade, choices are predicted much better with it, and beta_mf is five times as large.

    Differs from the source: slopes in place of a weight and an inverse temperature, and they may be negative, since a
    constraint would turn 0 into a bias.
    """

    reference = (
        "Kool, Cushman & Gershman 2016, PLoS Comput Biol, 10.1371/journal.pcbi.1005090; "
        "Otto et al. 2013, Psychol Sci, 10.1177/0956797612463080 (slopes)"
    )
    beta_mb = real("model-based slope", location=(0.0, 3.0), scale=2.0, unit="1/outcome", usual=(0.0, 6.0))
    beta_mf = real("model-free slope", location=(0.0, 3.0), scale=2.0, unit="1/outcome", usual=(0.0, 6.0))
    alpha = unit("learning rate", usual=(0.2, 0.8))
    lam = unit("eligibility trace", usual=(0.2, 0.95))
    pi_stim = real("stickiness of the option", usual=(-0.5, 1.0))
    rho_resp = real("stickiness of the key", usual=(-0.5, 1.0))
    w_mb = derived("model-based weight", lambda p: p.beta_mb / (p.beta_mb + p.beta_mf), ("beta_mb", "beta_mf"))

    def trial(self, s, p, t):
        """Choose, reach a goal state, see the outcome, learn."""
        q_mb = self.model_based(s, t)
        a = t.choose("choice1", softmax(p.beta_mb * q_mb + p.beta_mf * s.q_mf + self.habits(s, p, t)))
        self.learn(s, p, t, a)
        t.record(q_mb=q_mb)
