"""Value learning: a value per option, moved by prediction errors."""

from fitrl.errors import ModelError
from fitrl.language import Model, State, filled, latent, maximum, option, positive, softmax, unit, where
from fitrl.tasks import Bandit


class QLearning(Model):
    """Rescorla-Wagner Q-learning with a softmax choice rule.

    Use for bandits, reversal learning and probabilistic selection (values by stimulus, never by side).

    Equations, in order: ``P(a) = softmax(beta * Q)[a]``; ``rpe = r - Q[c]`` (before the update);
    ``Q[c] += alpha * rpe``. All Q start at q0.

    Identifiability: at least 100 to 150 trials for usable individual estimates; alpha and beta trade off
    where alpha is small (early choices depend on their product).

    Differs from the source: none; stickiness, forgetting, a lapse and further learning rates are traits.
    """

    task = Bandit
    reference = (
        "Rescorla & Wagner 1972; Wilson & Collins 2019, eLife, 10.7554/eLife.49547; "
        "Daw 2011, Trial-by-trial data analysis using computational models"
    )
    alpha = unit("learning rate")
    beta = positive("inverse temperature", unit="1/outcome")
    q0 = option(None, "initial value in scaled outcomes; by default the midpoint of their range")
    q = latent("action values before the trial", "outcome")
    rpe = latent("reward prediction error", "outcome")
    lr = latent("learning rate of this trial")

    def start(self, p, task):
        """Start every value at q0."""
        return State(q=task.values(self.q0))

    def trial(self, s, p, t):
        """Choose, see the outcome, move the chosen value."""
        a = t.choose("choice", softmax(p.beta * s.q))
        r = t.observe("outcome")
        rpe = r - s.q[a]
        lr = t.rate("alpha", rpe=rpe, outcome=r)
        s.q[a] += lr * rpe
        t.record(rpe=rpe, lr=lr)


class RewardPunishment(Model):
    """Separate values of rewards and of punishments, each with its own learning rate and sensitivity.

    Use for tasks in which the same option brings gains and losses, and for drug effects split by valence.

    Equations, in order, with ``gain = max(r, 0)`` and ``loss = max(-r, 0)``: ``P(a) = softmax(Qr + Qp)[a]``;
    ``rpe_rew = rho_rew * gain - Qr[c]`` and ``rpe_pun = -rho_pun * loss - Qp[c]``;
    ``Qr[c] += alpha_rew * rpe_rew`` and ``Qp[c] += alpha_pun * rpe_pun``; where the trial taught something, the other
    options forget: ``Qr[u] *= 1 - alpha_rew`` and ``Qp[u] *= 1 - alpha_pun``, or both ``*= 1 - phi`` with
    ``forgetting="own"``. All values start at 0. ``rates="one"`` has one learning rate alpha for both. Sensitivities
    take the place of an inverse temperature; hold them at 1 with ``--fix rho_rew=1``.

    Identifiability: gains and losses on the same options, 200 trials; data without any loss are refused. A rate and
    its sensitivity trade off where the rate is small.

    Checked: the program bandit4arm_4par of hBayesDM; ``forgetting="own"`` with a lapse is its _lapse_decay,
    ``rates="one"`` with a lapse its _singleA_lapse.

    Differs from the source: a trial has one outcome, so that a gain and a loss in the same trial enter as their sum,
    where hBayesDM learns about both. A missed trial forgets nothing.
    """

    task = Bandit
    reference = (
        "Seymour et al. 2012, J Neurosci, 10.1523/JNEUROSCI.0053-12.2012; Aylward et al. 2019, Nat Hum Behav, "
        "10.1038/s41562-019-0628-0; Ahn, Haines & Zhang 2017, Comput Psychiatr, 10.1162/CPSY_a_00002 (hBayesDM)"
    )
    alpha_rew = unit("learning rate for rewards")
    alpha_pun = unit("learning rate for punishments", usual=(0.02, 0.6))
    alpha = unit("learning rate for rewards and punishments")
    rho_rew = positive("sensitivity to rewards", unit="1/outcome")
    rho_pun = positive("sensitivity to punishments", unit="1/outcome")
    phi = unit("forgetting", usual=(0.02, 0.4))
    rates = option("two", "a learning rate for each, or one for both", ("two", "one"))
    forgetting = option("rates", "options not chosen are forgotten at the learning rates, or at phi", ("rates", "own"))
    qr = latent("values of rewards before the trial, in logits")
    qp = latent("values of punishments before the trial, in logits")
    rpe_rew = latent("prediction error of the reward, in logits")
    rpe_pun = latent("prediction error of the punishment, in logits")

    def parameters(self):
        """Keep the rates that the options ask for."""
        out = ("alpha",) if self.rates == "two" else ("alpha_rew", "alpha_pun")
        out = out if self.forgetting == "own" else (*out, "phi")
        return {name: p for name, p in super().parameters().items() if name not in out}

    def start(self, p, task):
        """Start every value at 0; refuse outcomes without losses."""
        if task.outcome_range[0] >= 0:
            raise ModelError(
                "this model needs outcomes with gains and losses, but none is below 0. Use q_learning, or code losses "
                "as negative outcomes (to simulate: outcome_range=(-1, 1))."
            )
        return State(qr=filled(task.n_options, 0.0), qp=filled(task.n_options, 0.0))

    def trial(self, s, p, t):
        """Choose, see the outcome, learn about the option chosen and forget the others."""
        rate_rew, rate_pun = (p.alpha_rew, p.alpha_pun) if self.rates == "two" else (p.alpha, p.alpha)
        forget_rew, forget_pun = (rate_rew, rate_pun) if self.forgetting == "rates" else (p.phi, p.phi)
        c = t.choose("choice", softmax(s.qr + s.qp))
        r = t.observe("outcome")
        rpe_rew = p.rho_rew * maximum(r, 0.0) - s.qr[c]
        rpe_pun = -p.rho_pun * maximum(-r, 0.0) - s.qp[c]
        chosen = t.chosen("choice")
        s.qr = where(chosen == 1, s.qr + rate_rew * rpe_rew, (1 - forget_rew) * s.qr)
        s.qp = where(chosen == 1, s.qp + rate_pun * rpe_pun, (1 - forget_pun) * s.qp)
        t.record(rpe_rew=rpe_rew, rpe_pun=rpe_pun)


class EWA(Model):
    """Experience-weighted attraction: the more often an option was chosen, the less its value moves.

    Use for reversal learning in which updating slows down with experience, as with perseveration after a reversal.

    Equations, in order: ``P(a) = softmax(beta * v)[a]``; ``n' = rho_e * n[c] + 1``;
    ``v[c] = (phi_e * n[c] * v[c] + r) / n'`` with n[c] and v[c] of before; ``n[c] = n'``. All v start at q0, all n at
    n0. In terms of an error: ``lr = 1 / n'``; ``rpe = r - (1 + (rho_e - phi_e) * n[c]) * v[c]``; ``v[c] += lr * rpe``.

    With ``n0 = 0`` the first outcome of an option is its value. ``rho_e = phi_e = 1`` is the running mean,
    ``rho_e = phi_e`` a weighted mean; ``rho_e = 0`` is Q-learning with learning rate ``1 - phi_e``, values being larger
    by ``1 / (1 - phi_e)`` and beta smaller by as much. phi_e is therefore one minus a learning rate.

    Usual ranges: phi_e .3 to .95; rho_e .05 to .9; beta .5 to 6, on a scale that moves with phi_e and rho_e (values
    settle at ``(1 - rho_e) / (1 - phi_e)`` times the mean outcome), so that beta is not to be compared across groups in
    which these differ.

    Identifiability: 200 trials or more with reversals; then phi_e is good. rho_e speaks through the first few choices
    of an option and the scale of beta, with which it trades off: with 200 trials little is known of a subject's rho_e,
    and a population of them may look alike.

    Checked: equations 1 and 2 of den Ouden et al. 2013, and the program prl_ewa of hBayesDM, which starts all n and v
    at 0 (``q0=0``); how the paper starts them was not found. Its choice rule is without a lapse or stickiness, which
    are traits here.

    Differs from the source: of the model of Camerer & Ho 1999 for games it keeps, as den Ouden et al. do, neither
    forgone outcomes nor the attraction of all strategies, and n belongs to an option. Values start at the midpoint of
    the range of outcomes.
    """

    task = Bandit
    reference = (
        "Camerer & Ho 1999, Econometrica, 10.1111/1468-0262.00054; den Ouden et al. 2013, Neuron, "
        "10.1016/j.neuron.2013.08.030"
    )
    phi_e = unit("retention of values", usual=(0.3, 0.95))
    rho_e = unit("retention of experience", usual=(0.05, 0.9))
    beta = positive("inverse temperature", median=2.0, unit="1/outcome", usual=(0.5, 6.0))
    q0 = option(None, "initial value in scaled outcomes; by default the midpoint of their range")
    n0 = option(0.0, "experience at the start, in trials")
    v = latent("values (attractions) before the trial", "outcome")
    n = latent("experience with the options before the trial, in trials")
    rpe = latent("prediction error: what moves the value, times the learning rate", "outcome")
    lr = latent("learning rate of this trial, one over the experience with it")

    def start(self, p, task):
        """Start every value at q0 and every experience at n0."""
        return State(v=task.values(self.q0), n=filled(task.n_options, self.n0))

    def trial(self, s, p, t):
        """Choose, see the outcome, count it in, average it in."""
        c = t.choose("choice", softmax(p.beta * s.v))
        r = t.observe("outcome")
        v, kept = s.v[c], p.phi_e * s.n[c]
        n = p.rho_e * s.n[c] + 1
        s.v[c] = (kept * v + r) / n
        s.n[c] = n
        t.record(rpe=r - (n - kept) * v, lr=1 / n)
