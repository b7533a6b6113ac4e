"""Kalman filters: values with an uncertainty, which sets the learning rate and may draw choices."""

from fitrl.errors import ModelError
from fitrl.language import (
    Model,
    State,
    filled,
    latent,
    option,
    positive,
    probit,
    real,
    softmax,
    sqrt,
    unit,
)
from fitrl.tasks import Bandit

# What each choice rule has of slopes.
_SLOPES = {
    "softmax": ("beta",),
    "ucb": ("beta", "beta_ru"),
    "thompson": ("beta_vtu",),
    "hybrid": ("beta_vtu", "beta_ru"),
}


class Kalman(Model):
    """A Kalman filter for each option; choices follow means, an uncertainty bonus, or Thompson sampling.

    Use for bandits with graded or drifting payoffs, and for directed (bonus) against random exploration (sampling).

    Equations, in order, for every option a mean m and a standard deviation s: choose (below);
    ``k = s[c]^2 / (s[c]^2 + sigma_o^2)``; ``rpe = r - m[c]``; ``m[c] += k * rpe``; ``s[c]^2 *= 1 - k``; then, in every
    row, ``s^2 += (sigma_d * sigma_o)^2`` for all options. With ``drift="decay"`` this last step is
    ``m = lam_k * m + (1 - lam_k) * q0`` and ``s^2 = lam_k^2 * s^2 + (sigma_d * sigma_o)^2``. All m start at q0, and all
    s at ``s0 * sigma_o``; the first choice is made before any drift.

    Choice rules (``rule``): ``"softmax"``: ``P(a) = softmax(beta * m)[a]``. ``"ucb"``, an uncertainty bonus:
    ``P(a) = softmax(beta * m + beta_ru * s)[a]``. ``"thompson"``, for two options, with V the difference of means,
    second less first, and ``TU = sqrt(s[0]^2 + s[1]^2)``: ``P(second) = Phi(beta_vtu * V / TU)``; ``beta_vtu = 1`` is
    sampling from the two beliefs (hold it there with ``--fix beta_vtu=1``). ``"hybrid"``, for two options, with RU the
    difference of standard deviations: ``P(second) = Phi(beta_vtu * V / TU + beta_ru * RU)``.

    The noise of outcomes sigma_o is not fitted: choices by means see only the ratios of the drift and of the first s
    to it, and in the other rules it trades off with beta_ru or beta_vtu. It is an option, by default half the range of
    outcomes (the standard deviation of a fair coin between them); raw outcomes need it. sigma_d and s0 are in units of
    it, and so is the rate that they lead to: an option that is chosen always has k of .1, .4 and .6 with sigma_d of
    .1, .5 and 1. Usual ranges: sigma_d .1 to 1; beta 1 to 15; beta_ru -2 to 6; beta_vtu .3 to 3; lam_k .8 to .99.

    Identifiability: 150 to 200 trials; sigma_d trades off with beta where it is small, and beta_ru needs options that
    are left alone for a while. lam_k needs drifting payoffs and more trials. s0 is fixed: it speaks through the first
    trials only.

    Checked: Gershman's code for Thompson and hybrid (standard deviations, not variances, in RU). Daw's filter after the
    description of the program bandit4arm2_kalman_filter of hBayesDM.

    Differs from the source: Daw et al. 2006 fit where values drift to, here q0. Gershman 2018 has no drift (sigma_d
    near 0), probit in place of softmax for the first two rules, too, and takes the filter's parameters as known.
    Thompson sampling with three options or more (the probability that an option is the best, Speekenbrink &
    Konstantinidis 2015) has no closed form and is refused. Bonus and noise add up: ``beta * (m + phi * s)`` elsewhere
    is ``beta_ru = beta * phi``. The two rules with Phi run on the reference engine, which is slower.
    """

    task = Bandit
    reference = (
        "Daw et al. 2006, Nature, 10.1038/nature04766; Gershman 2018, Cognition, 10.1016/j.cognition.2017.12.014; "
        "Speekenbrink & Konstantinidis 2015, Top Cogn Sci, 10.1111/tops.12145"
    )
    sigma_d = positive("standard deviation of the drift, in units of the noise", median=0.3, usual=(0.1, 1.0))
    lam_k = unit("share of a value that is left after the drift", location=(2.0, 1.0), usual=(0.8, 0.99))
    beta = positive("inverse temperature", unit="1/outcome")
    beta_ru = real("uncertainty bonus", location=(0.0, 3.0), scale=2.0, unit="1/outcome", usual=(-2.0, 6.0))
    beta_vtu = positive("slope on the difference of means over total uncertainty", median=1.0, usual=(0.3, 3.0))
    rule = option("softmax", "how choices follow beliefs", tuple(_SLOPES))
    drift = option("walk", "beliefs about payoffs that walk, or also decay towards q0", ("walk", "decay"))
    sigma_o = option(None, "noise of outcomes (sd) in scaled outcomes; by default half their range")
    s0 = option(1.0, "standard deviation of the first belief, in units of the noise")
    q0 = option(None, "mean of the first belief in scaled outcomes; by default the midpoint of their range")
    m = latent("means before the trial", "outcome")
    s = latent("standard deviations before the trial", "outcome")
    rpe = latent("prediction error", "outcome")
    lr = latent("Kalman gain: learning rate of this trial")

    def parameters(self):
        """Leave out slopes of other rules, and lam_k where values do not decay."""
        out = {name for slopes in _SLOPES.values() for name in slopes} - set(_SLOPES[self.rule])
        out |= {"lam_k"} if self.drift == "walk" else set()
        return {name: p for name, p in super().parameters().items() if name not in out}

    def fitted(self, task):
        """Refuse raw outcomes without a noise, and sampling among more than two options."""
        if self.sigma_o is None and not self.noise(task) < float("inf"):
            raise ModelError(
                f"{self.label} needs the noise of outcomes, and raw outcomes have no range to take it from. Set the "
                "option sigma_o (the standard deviation of payoffs around their mean), or scale outcomes."
            )
        if "beta_vtu" in _SLOPES[self.rule] and (task.n_options != 2 or task.offered("choice") is not None):
            raise ModelError(
                f"{self.label} with rule={self.rule} is for two options that are always on offer; this task has "
                f"{task.n_options}. Use rule=softmax or rule=ucb."
            )
        return super().fitted(task)

    def noise(self, task):
        """Return the standard deviation of outcomes."""
        low, high = task.outcome_range
        return (high - low) / 2 if self.sigma_o is None else self.sigma_o

    def start(self, p, task):
        """Start every belief at q0, with s0."""
        return State(m=task.values(self.q0), variance=filled(task.n_options, self.s0 * self.s0))

    def policy(self, p, m, s):
        """Turn means and standard deviations into choice probabilities."""
        if self.rule == "softmax":
            return softmax(p.beta * m)
        if self.rule == "ucb":
            return softmax(p.beta * m + p.beta_ru * s)
        evidence = p.beta_vtu * (m[1] - m[0]) / sqrt(s[0] * s[0] + s[1] * s[1])
        return probit(evidence if self.rule == "thompson" else evidence + p.beta_ru * (s[1] - s[0]))

    def trial(self, s, p, t):
        """Choose, see the outcome, update the belief about what was chosen."""
        sd = self.noise(t.task) * sqrt(s.variance)
        c = t.choose("choice", self.policy(p, s.m, sd))
        variance = s.variance[c]  # in units of the squared noise
        gain = variance / (variance + 1)
        rpe = t.observe("outcome") - s.m[c]
        s.m[c] += gain * rpe
        s.variance[c] = gain
        t.record(s=sd, rpe=rpe, lr=gain)

    def between(self, s, p, t):
        """Let payoffs drift, in every row."""
        if self.drift == "decay":
            s.m, s.variance = t.start.m + p.lam_k * (s.m - t.start.m), p.lam_k * p.lam_k * s.variance
        s.variance = s.variance + p.sigma_d * p.sigma_d
