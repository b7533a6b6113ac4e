"""Learning rates that follow volatility: running surprise, associability, and two Bayesian filters."""

from fitrl.errors import ModelError
from fitrl.language import (
    Model,
    State,
    absolute,
    exp,
    filled,
    latent,
    log,
    log1p,
    maximum,
    option,
    positive,
    real,
    sigmoid,
    softmax,
    sqrt,
    table,
    unit,
    where,
)
from fitrl.tasks import Bandit


class Adaptive(Model):
    """What the two value models share: a value per option, errors in units of the range of outcomes."""

    task = Bandit
    beta = positive("inverse temperature", unit="1/outcome")
    q0 = option(None, "initial value in scaled outcomes; by default the midpoint of their range")
    q = latent("action values before the trial", "outcome")
    rpe = latent("reward prediction error", "outcome")
    lr = latent("learning rate of this trial")

    def fitted(self, task):
        """Refuse raw outcomes, which have no range to measure surprise against."""
        if not self.span(task) < float("inf"):
            raise ModelError(
                f"{self.label} measures surprise against the range of outcomes, but raw outcomes have none. Give the "
                "constant that brings them to 0..1 or -1..1 (--outcome-scale 100, outcome_scale=100)."
            )
        return super().fitted(task)

    def span(self, task):
        """Width of the range of outcomes, in which surprise is measured."""
        low, high = task.outcome_range
        return high - low


class DynamicAlpha(Adaptive):
    """Q-learning with a learning rate that follows the running variance of prediction errors.

    Use for reversal and volatile bandits, as a smooth stand-in for heuristics of volatility.

    Equations, in order: ``P(a) = softmax(beta * Q)[a]``; ``rpe = r - Q[c]``;
    ``logit(lr) = logit(alpha) + a1 * (s - 1)``, with s before the trial; ``Q[c] += lr * rpe``;
    ``s += eta * ((2 * rpe / span)^2 - s)``, span the width of the range of outcomes. One s for all options, from 1;
    all Q start at q0; eta is an option.

    s = 1 is the variance of a fair coin between the two outcomes (.25 for outcomes 0 and 1, 1 for -1 and 1), and there
    lr = alpha. Usual ranges: alpha .1 to .6; a1 from -1 to 4, above 0 if surprise speeds up learning; eta .05 to .3.

    Identifiability: 200 trials or more, with at least two regimes; then alpha is good and a1 a matter of the group
    more than of single subjects. eta is fixed: it trades off with a1 (a fast s varies more), nothing tells about it
    where a1 is near 0, and when it was fitted to simulated agents of 200 trials its estimates were the prior.

    Differs from the source: a heuristic of our own; Krugel 2009 is a relative, with another dynamic learning rate (of
    which only the abstract was checked). A rate alpha * (1 + variance) would leave (0, 1). Without the reference of a
    fair coin, a1 would be per squared outcome: 4 times as large for outcomes 0 and 1.
    """

    reference = "Krugel et al. 2009, PNAS, 10.1073/pnas.0905191106 (a relative; the equation is ours)"
    alpha = unit("learning rate at the surprise of a fair coin")
    a1 = real("effect of surprise on the learning rate, in logits", location=(0.0, 2.0), usual=(-1.0, 4.0))
    eta = option(0.1, "how fast the variance follows, between 0 and 1")
    s = latent("running variance of prediction errors before the trial, 1 for a fair coin")

    def start(self, p, task):
        """Start every value at q0, and the variance at that of a fair coin."""
        return State(q=task.values(self.q0), s=1.0)

    def trial(self, s, p, t):
        """Choose, see the outcome, learn at the present rate, update the variance."""
        a = t.choose("choice", softmax(p.beta * s.q))
        r = t.observe("outcome")
        rpe = r - s.q[a]
        usual = t.rate("alpha", rpe=rpe, outcome=r)
        lr = sigmoid(log(usual) - log1p(-usual) + p.a1 * (s.s - 1))
        s.q[a] += lr * rpe
        surprise = 2 * rpe / self.span(t.task)
        s.s = s.s + self.eta * (surprise * surprise - s.s)
        t.record(rpe=rpe, lr=lr)


class PearceHall(Adaptive):
    """Q-learning with Pearce-Hall associability: recent surprise about an option speeds up learning about it.

    Use for associability in conditioning and reversal.

    Equations, in order: ``P(a) = softmax(beta * Q)[a]``; ``rpe = r - Q[c]``; ``Q[c] += kappa_ph * A[c] * rpe`` with A
    before the trial; ``A[c] = (1 - eta_ph) * A[c] + eta_ph * abs(rpe) / span``, span the width of the range of
    outcomes. All Q start at q0, all A at a0.

    Usual ranges: kappa_ph .2 to .9, eta_ph .05 to .5. eta_ph = 1 is the pure Pearce-Hall model (the rate is the last
    unsigned error), eta_ph = 0 with a0 = 1 is Rescorla-Wagner learning.

    Identifiability: 150 trials or more; kappa_ph trades off with the first associability, which is therefore fixed, and
    where eta_ph is small with beta as in Q-learning. eta_ph is a matter of the group more than of single subjects.

    Differs from the source: choices in place of skin conductance, so that a cue is an option and the associability of
    an option that is not chosen stays as it is; division by span, so that a rate is below 1 for outcomes -1 and 1, too.
    The update was checked against two public implementations of this hybrid; one of them takes from its source a
    factor of .01 on abs(rpe), for outcomes on another scale. The first associability is fitted in some (here: fixed).
    """

    reference = (
        "Li et al. 2011, Nat Neurosci, 10.1038/nn.2904; Pearce & Hall 1980, Psychol Rev, 10.1037/0033-295X.87.6.532"
    )
    kappa_ph = unit("scale of the learning rate", usual=(0.2, 0.9))
    eta_ph = unit("how fast associability follows surprise", usual=(0.05, 0.5))
    a0 = option(1.0, "associability at the start")
    assoc = latent("associability of the options before the trial")

    def start(self, p, task):
        """Start every value at q0 and every associability at a0."""
        return State(q=task.values(self.q0), assoc=filled(task.n_options, self.a0))

    def trial(self, s, p, t):
        """Choose, see the outcome, learn in proportion to associability, update it."""
        a = t.choose("choice", softmax(p.beta * s.q))
        rpe = t.observe("outcome") - s.q[a]
        lr = p.kappa_ph * s.assoc[a]
        s.q[a] += lr * rpe
        s.assoc[a] += p.eta_ph * (absolute(rpe) / self.span(t.task) - s.assoc[a])
        t.record(rpe=rpe, lr=lr)


class Belief(Model):
    """What observers share: one belief about which of two options is the rewarded one."""

    task = Bandit
    belief = latent("probability that the second option is the rewarded one, before the trial")
    rpe = latent("prediction error: what was seen of the second option, 1 or 0, less the belief")
    lr = latent("learning rate in probability: change of the belief per prediction error")

    def fitted(self, task):
        """Refuse a task in which a win of one option does not speak against the other."""
        if task.n_options != 2 or task.offered("choice") is not None:
            raise ModelError(
                f"{self.label} holds one belief about which of two options is the rewarded one; this task has "
                f"{task.n_options}. For more options or for stimuli use dynamic_alpha or pearce_hall."
            )
        return super().fitted(task)

    def choose(self, t, slope, m):
        """Choose by the log-odds of either option: logit of the second over the first = slope * m."""
        return t.choose("choice", softmax(slope * table([0.0 * m, m])))

    def seen(self, t, a):
        """Turn the outcome into one about the second option: 1 if it won or the first lost, else 0."""
        won = t.observe("outcome") > t.task.midpoint
        return where(a == 1, where(won, 1.0, 0.0), where(won, 0.0, 1.0))

    def learned(self, t, rpe, gain, before, after):
        """Record the belief, and the learning rate on the scale of probabilities."""
        belief = sigmoid(before)
        moved = (sigmoid(after) - belief) / where(rpe == 0, 1.0, rpe)  # 0 / 0 where the belief was certain
        t.record(belief=belief, rpe=rpe, gain=gain, lr=moved)


class VKFBinary(Belief):
    """The volatile Kalman filter for binary outcomes.

    Use for two options of which one is the better at a time (reversal learning): a win of one is taken for a loss of
    the other. An outcome above the midpoint of the range of outcomes (raw outcomes: above 0) is a win, any other a
    loss; graded outcomes are cut there.

    Equations, in order, with m the log-odds that the second option is the rewarded one:
    ``P(second) = sigmoid(beta * m)``; u = 1 if the second option won or the first lost, else 0;
    ``rpe = u - sigmoid(m)``; ``gain = sqrt(w + v)``; ``k = (w + v) / (w + v + omega)``; ``m' = m + gain * rpe``;
    ``w' = (1 - k) * (w + v)``; ``v' = (1 - lam_v) * v + lam_v * ((m' - m)^2 + (1 - k) * v + k * w)``, with w and v of
    before. Start: m = 0, w = omega, v = v0, an option.

    The last line is ``v + lam_v * ((m' - m)^2 + w + w' - 2 * (1 - k) * w - v)`` of the source, written as a sum of
    positive terms. Usual ranges: lam_v .05 to .5; omega .3 to 3; beta .5 to 5.

    Identifiability: omega and beta are fair from 200 trials on, and trade off, since both scale what an outcome does to
    a choice. lam_v needs reversals and is a matter of the group: with 200 trials a subject's estimate says little. v0
    is fixed: it speaks through the first trials only, and could not be told in simulated agents.

    Differs from the source: it has one filter per cue, told of every cue's outcome; here the two options of a bandit
    are one cue. Equations checked against the authors' program (vkf_bin).
    """

    reference = "Piray & Daw 2020, PLoS Comput Biol, 10.1371/journal.pcbi.1007963"
    lam_v = unit("how fast volatility is learned", usual=(0.05, 0.5))
    omega = positive("noise of the outcome, and uncertainty at the start", median=1.0, spread=0.5, usual=(0.3, 3.0))
    beta = positive("inverse temperature, on log-odds", median=1.5, usual=(0.5, 5.0))
    v0 = option(0.5, "volatility at the start, above 0")
    m = latent("log-odds that the second option is the rewarded one, before the trial")
    w = latent("uncertainty: variance of the log-odds, before the trial")
    v = latent("volatility before the trial")
    gain = latent("weight of the prediction error in log-odds")

    def start(self, p, task):
        """Start without a preference."""
        return State(m=0.0, w=p.omega, v=self.v0)

    def trial(self, s, p, t):
        """Choose, see the outcome, update belief, uncertainty and volatility."""
        a = self.choose(t, p.beta, s.m)
        m, w, v = s.m, s.w, s.v
        rpe = self.seen(t, a) - sigmoid(m)
        gain = sqrt(w + v)
        kept = p.omega / (w + v + p.omega)  # 1 - k
        step = gain * rpe
        s.m = m + step
        s.w = kept * (w + v)
        s.v = (1 - p.lam_v) * v + p.lam_v * (step * step + kept * v + (1 - kept) * w)
        self.learned(t, rpe, gain, m, s.m)


class EHGFBinary(Belief):
    """The enhanced hierarchical Gaussian filter for binary outcomes, with three levels.

    Use for two options of which one is the better at a time (reversal learning): a win of one is taken for a loss of
    the other. An outcome above the midpoint of the range of outcomes (raw outcomes: above 0) is a win, any other a
    loss; graded outcomes are cut there.

    Equations, in order, with mu2 the log-odds that the second option is the rewarded one, sigma2 its variance, mu3 and
    sigma3 those of log-volatility: ``P(second) = sigmoid(zeta * mu2)``; u = 1 if the second option won or the first
    lost, else 0; ``b = sigmoid(mu2)``; ``rpe = u - b``; ``v = exp(kappa * mu3 + omega2)``;
    ``gain = 1 / (1 / (sigma2 + v) + b * (1 - b))``; ``mu2' = mu2 + gain * rpe``; ``sigma2' = gain``;
    ``w = v / (sigma2 + v)``; ``e = gain + (mu2' - mu2)^2``; ``h = sigma3 + exp(omega3)``;
    ``mu3' = mu3 + kappa / 2 * h * w * (e / (sigma2 + v) - 1)``, and with ``v* = exp(kappa * mu3' + omega2)`` and
    ``w* = v* / (sigma2 + v*)``:
    ``1 / sigma3' = 1 / h + max(0, kappa^2 / 2 * w* * (w* + (2 * w* - 1) * (e / (sigma2 + v*) - 1)))``.
    Start: mu2 = 0; sigma2, mu3 and sigma3 are options, and so is kappa (coupling).

    The response is the unit-square sigmoid on the prediction, ``b^zeta / (b^zeta + (1 - b)^zeta)``. Usual ranges:
    omega2 -5 to -1; omega3 -2 to 3; zeta .5 to 5.

    Identifiability: omega2 and zeta from 200 trials on, and they trade off. omega3 is hardly identified below 300
    trials, and low values make the filter unstable (below), so it is held at 2, the prior mean of TAPAS, unless
    ``level3="fitted"``; fitted to simulated agents of 150 trials it brought divergences, held hardly any. Choices do
    not see the origin and scale of the third level: kappa and the start of mu3 are fixed.

    Differs from the source: no drift (rho = 0) and kappa1 = 1, as by default there; variances in place of precisions.
    Equations checked against two versions of the TAPAS program (tapas_ehgf_binary); one of them keeps b between .001
    and .999, which is not done here. It differs from the HGF of 2011 in that mu3 is updated before sigma3, which
    cannot become negative. Where omega2 is above about -1 and omega3 below about 2, the filter may still run away: the
    variance of an extreme belief stays high, one surprise throws it to the other extreme, and mu3 explodes. Such values
    have no finite likelihood (the clipped version stays finite there, with beliefs that mean nothing).
    For that reason omega2 is kept between -10 and 0, as in hBayesDM.
    """

    reference = (
        "Mathys et al. 2011, Front Hum Neurosci, 10.3389/fnhum.2011.00039; Mathys et al. 2014, Front Hum Neurosci, "
        "10.3389/fnhum.2014.00825; TAPAS HGF toolbox (the enhanced update)"
    )
    omega2 = unit("tonic log-volatility of the belief", location=(0.8, 0.8), scale=0.5, usual=(-5.0, -1.0)).but(
        lower=-10.0, upper=0.0
    )
    omega3 = real("log-variance of the steps of volatility", location=(2.0, 1.5), scale=1.0, usual=(-2.0, 3.0))
    zeta = positive("inverse temperature, on log-odds", median=1.5, usual=(0.5, 5.0))
    held = 2.0  # omega3 unless it is fitted
    level3 = option("fixed", "omega3 held at 2, or fitted", ("fixed", "fitted"))
    coupling = option(1.0, "effect of log-volatility on the belief (kappa); its scale cannot be seen in choices")
    sigma2_0 = option(0.1, "variance of the belief at the start")
    mu3_0 = option(1.0, "log-volatility at the start; its origin cannot be seen in choices")
    sigma3_0 = option(1.0, "variance of log-volatility at the start")
    mu2 = latent("log-odds that the second option is the rewarded one, before the trial")
    sigma2 = latent("uncertainty: variance of the log-odds, before the trial")
    mu3 = latent("log-volatility before the trial")
    sigma3 = latent("uncertainty of log-volatility before the trial")
    gain = latent("weight of the prediction error in log-odds")

    def parameters(self):
        """Leave out omega3 unless it is fitted."""
        found = super().parameters()
        if self.level3 == "fixed":
            del found["omega3"]
        return found

    def start(self, p, task):
        """Start without a preference."""
        return State(mu2=0.0, sigma2=self.sigma2_0, mu3=self.mu3_0, sigma3=self.sigma3_0)

    def trial(self, s, p, t):
        """Choose, see the outcome, update the belief, then what is known of volatility."""
        a = self.choose(t, p.zeta, s.mu2)
        mu2, sigma2 = s.mu2, s.sigma2
        rpe = self.seen(t, a) - sigmoid(mu2)
        v = exp(self.coupling * s.mu3 + p.omega2)
        gain = 1 / (1 / (sigma2 + v) + sigmoid(mu2) * sigmoid(-mu2))
        step = gain * rpe
        h = s.sigma3 + exp(p.omega3 if self.level3 == "fitted" else self.held)
        s.mu3, s.sigma3 = self.volatility(p, s.mu3, h, v, sigma2, gain + step * step)
        s.mu2, s.sigma2 = mu2 + step, gain
        self.learned(t, rpe, gain, mu2, s.mu2)

    def volatility(self, p, mu3, h, v, sigma2, error):
        """Update log-volatility by the predicted uncertainty h, then its uncertainty by the new log-volatility."""
        kappa = self.coupling
        mu3 = mu3 + 0.5 * kappa * h * (v / (sigma2 + v)) * (error / (sigma2 + v) - 1)
        v_new = exp(kappa * mu3 + p.omega2)
        w = v_new / (sigma2 + v_new)
        precision = 0.5 * kappa * kappa * w * (w + (2 * w - 1) * (error / (sigma2 + v_new) - 1))
        return mu3, 1 / (1 / h + maximum(precision, 0.0))
