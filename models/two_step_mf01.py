"""The two-step model of large online samples: a slope for each of the two model-free errors."""

from fitrl.errors import ModelError
from fitrl.language import filled, latent, option, positive, real, softmax, unit
from fitrl.models.two_step import Planner


class TwoStepMF01(Planner):
    """Model-based control and two model-free values, MF0 (from the second state) and MF1 (from the outcome).

    Use for Daw's task where published estimates of this form are to be met (online samples, regressions on symptoms);
    `two_step_split` has one model-free slope with an eligibility trace in place of the two.

    Equations, in order, with r the outcome brought to -1..1 (option ``lowest``) and d = 1 - alpha:
    ``P(j) = softmax(beta_mb * Q_mb + beta_mf0 * MF0 + beta_mf1 * MF1 + kappa * 1[j was chosen last])[j]``, where
    Q_mb[j] is the largest Q2 of the state to which j has led more often; ``P(a) = softmax(beta_2 * Q2[s])[a]``;
    ``MF0 = d * MF0``, then ``MF0[j] += Q2[s, a]`` with Q2 from before the trial; ``MF1 = d * MF1``, then
    ``MF1[j] += r``; ``Q2 = d * Q2``, then ``Q2[s, a] += r``. All values start at 0; whatever was not chosen decays. A
    trial without a response at either stage teaches nothing and lets nothing decay.

    No learning rate stands before the new term, so that values are sums and not means: this takes most of the trade-off
    between alpha and the slopes out of the likelihood. In the usual units the values are ``alpha * Q2``,
    ``alpha * MF1`` and ``alpha^2 * MF0``, hence a slope here is alpha times the usual one (alpha^2 times for beta_mf0);
    ``rpe_0``, ``rpe_1`` and ``rpe_2`` are in the usual units. Usual ranges: slopes 0 to 1.5, alpha .2 to .8.

    Identifiability: 200 trials; MF0 and MF1 are told apart by what the second options were worth, which is little where
    these are alike: beta_mf0 is the least certain.

    Differs from the source: its supplement could not be read; the rule is that of independent programs for the same
    model, which agree but for these points: some count transitions for each option on its own (here jointly: the order
    of states seen more often so far, .5 while equal), some keep alpha before the new term or start at .5. beta_2 is
    above 0 here. Very wide priors published with it are not the default.
    """

    reference = "Gillan et al. 2016, eLife, 10.7554/eLife.11305"
    alpha = unit("learning rate, and decay of what was not chosen", usual=(0.2, 0.8))
    beta_mb = real("model-based slope, on values that are sums", usual=(0.0, 1.5))
    beta_mf0 = real("slope of the model-free value learned from the second state", usual=(0.0, 0.8))
    beta_mf1 = real("slope of the model-free value learned from the outcome", usual=(0.0, 1.5))
    beta_2 = positive("inverse temperature, second stage, on values that are sums", median=1.0, usual=(0.3, 2.5))
    kappa = real("stickiness of the first choice", usual=(-0.5, 1.5))
    transitions = option("counted", "common transitions known, or told by counting", ("fixed", "counted"))
    p_common = option(1.0, "probability of the common transition in the model-based values")
    lowest = option(-1.0, "what the lowest outcome counts, where the highest counts 1", (-1.0, 0.0))
    q2 = latent("values of the second options before the trial, by state: sums of outcomes")
    q_mb = latent("model-based values of the first options: the best sum in the state they lead to")
    mf0 = latent("model-free values from the second state, before the trial")
    mf1 = latent("model-free values from the outcome, before the trial")
    rpe_0 = latent("prediction error of MF0 on reaching the second state, in counted outcomes")
    rpe_1 = latent("prediction error of MF1 at the outcome, in counted outcomes")
    rpe_2 = latent("prediction error of the second stage, in counted outcomes")

    def fitted(self, task):
        """Refuse raw outcomes, which cannot be brought to -1..1."""
        low, high = task.outcome_range
        if not high - low < float("inf"):
            raise ModelError(
                f"{self.label} counts outcomes from {self.lowest:g} to 1, but raw outcomes have no range. Give the "
                "constant that brings them to 0..1 or -1..1 (--outcome-scale 100, outcome_scale=100)."
            )
        return super().fitted(task)

    def start(self, p, task):
        """Start every value at 0."""
        return self.begun(mf0=filled(2, 0.0), mf1=filled(2, 0.0), q2=filled((2, 2), 0.0))

    def trial(self, s, p, t):
        """Choose, reach a state, choose again, see the outcome; let everything decay, and add what was met."""
        q_mb = self.model_based(s)
        logits = p.beta_mb * q_mb + p.beta_mf0 * s.mf0 + p.beta_mf1 * s.mf1 + p.kappa * s.last
        a1 = t.choose("choice1", softmax(logits))
        state = t.observe("state2")
        a2 = t.choose("choice2", softmax(p.beta_2 * s.q2[state]))
        low, high = t.task.outcome_range
        r = self.lowest + (1 - self.lowest) * (t.observe("outcome") - low) / (high - low)
        q2, mf0, mf1, kept = s.q2[state, a2], s.mf0[a1], s.mf1[a1], 1 - p.alpha
        s.mf0, s.mf1, s.q2 = kept * s.mf0, kept * s.mf1, kept * s.q2
        s.mf0[a1] += q2
        s.mf1[a1] += r
        s.q2[state, a2] += r
        self.count(s, a1, state)
        t.record(
            q_mb=q_mb,
            rpe_0=p.alpha * q2 - p.alpha * p.alpha * mf0,
            rpe_1=r - p.alpha * mf1,
            rpe_2=r - p.alpha * q2,
        )
