"""Payoffs and costs in two pathways: the model of Möller and Bogacz."""

from fitrl.language import Model, State, derived, filled, latent, maximum, option, positive, softmax, unit, where
from fitrl.tasks import Bandit


def _kept(p):
    """Share of the mean outcome that ``(G - N) / 2`` settles at."""
    return p.alpha * (1 + p.eps_slope) / (2 * p.lam_decay + p.alpha * (1 + p.eps_slope))


def _spread(p):
    """Share of the mean unsigned error that ``(G + N) / 2`` settles at."""
    return p.alpha * (1 - p.eps_slope) / (2 * p.lam_decay)


class MoellerBogacz(Model):
    """Go and NoGo pathways that learn payoffs and costs from one error, weighed by dopamine at choice.

    Use for effort and cost-benefit choices, and for the claim that the sum of the pathways holds the spread of
    outcomes: half their difference follows the mean, half their sum the mean unsigned error.

    Equations, in order: ``T = d_da * G - (1 - d_da) * N``; ``P(a) = softmax(beta * T)[a]``;
    ``rpe = r - (G[c] - N[c]) / 2``; with f(x) = x above 0, else eps_slope * x:
    ``G[c] = max(0, G[c] + alpha * f(rpe) - lam_decay * G[c])`` and
    ``N[c] = max(0, N[c] + alpha * f(-rpe) - lam_decay * N[c])``, both from before the trial. All G and N start at 0.
    d_da is dopamine or motivation at choice: .5 weighs both alike, and is held there unless ``dopamine="fitted"``.

    Usual ranges: alpha .05 to .6; eps_slope .3 to .95; lam_decay .01 to .2; beta 1 to 15; d_da .3 to .7.

    Derived: ``c_mean = alpha * (1 + eps_slope) / (2 * lam_decay + alpha * (1 + eps_slope))``, the share of the mean
    outcome that ``value`` settles at, and ``c_spread = alpha * (1 - eps_slope) / (2 * lam_decay)``, the share of the
    mean unsigned error that half of ``spread`` settles at. Their inverse is how the paper chooses eps_slope and
    lam_decay.

    Identifiability: poor. With d_da at .5 choices see the difference of the pathways alone, so that eps_slope and
    lam_decay say hardly more than c_mean, and beta trades off with that. In a quick fit of 30 simulated agents with 200
    trials the search did not settle, and truth and estimates of alpha, eps_slope, lam_decay and beta correlated .70,
    .37, .48 and .35: hold eps_slope and lam_decay (``--fix``). The likelihood has corners, at the floor and where an
    error changes its sign. d_da is a matter of a manipulation (sessions, drugs), not of single persons.

    Checked: the program of Jaskir & Frank 2023 for this model, and its use of the paper's rule for the two shares; the
    paper itself was read in its abstract only.

    Differs from the source: one event in a trial, where the paper has payoff and cost at different moments: G and N
    then hold payoff and cost only in as far as outcomes of the same option differ in sign. Softmax in place of noise
    added to T. A floor at 0 is part of the model; unlike in OpAL a pathway leaves it again.
    """

    task = Bandit
    reference = (
        "Möller & Bogacz 2019, PLoS Comput Biol, 10.1371/journal.pcbi.1006285; Mikhael & Bogacz 2016, PLoS Comput "
        "Biol, 10.1371/journal.pcbi.1005062; Jaskir & Frank 2023, eLife, 10.7554/eLife.85107 (code)"
    )
    alpha = unit("learning rate")
    eps_slope = unit("weight of an error in the pathway that it speaks against", location=(0.5, 1.0), usual=(0.3, 0.95))
    lam_decay = unit("decay of the chosen option's pathways", location=(-3.0, 1.0), scale=0.5, usual=(0.01, 0.2))
    beta = positive("inverse temperature", unit="1/outcome")
    d_da = unit("dopamine at choice: weight of Go against NoGo", location=(0.0, 0.5), scale=0.5, usual=(0.3, 0.7))
    c_mean = derived("share of the mean outcome in the value", _kept, ("alpha", "eps_slope", "lam_decay"))
    c_spread = derived("share of the mean unsigned error in the spread", _spread, ("alpha", "eps_slope", "lam_decay"))
    dopamine = option("held", "d_da held at .5, or fitted", ("held", "fitted"))
    g = latent("Go pathway before the trial", "outcome")
    n = latent("NoGo pathway before the trial", "outcome")
    value = latent("half the difference of Go and NoGo before the trial", "outcome")
    spread = latent("sum of Go and NoGo before the trial", "outcome")
    rpe = latent("reward prediction error", "outcome")

    def parameters(self):
        """Leave out dopamine at choice unless it is fitted."""
        found = super().parameters()
        if self.dopamine == "held":
            del found["d_da"]
        return found

    def start(self, p, task):
        """Start both pathways at 0."""
        return State(g=filled(task.n_options, 0.0), n=filled(task.n_options, 0.0))

    def trial(self, s, p, t):
        """Choose, see the outcome, move both pathways of the chosen option."""
        go = p.d_da if self.dopamine == "fitted" else 0.5
        t.record(value=0.5 * (s.g - s.n), spread=s.g + s.n)
        c = t.choose("choice", softmax(p.beta * (go * s.g - (1 - go) * s.n)))
        g, n = s.g[c], s.n[c]
        rpe = t.observe("outcome") - 0.5 * (g - n)
        up, down = where(rpe > 0, rpe, p.eps_slope * rpe), where(rpe > 0, -p.eps_slope * rpe, -rpe)
        s.g[c] = maximum(g + p.alpha * up - p.lam_decay * g, 0.0)
        s.n[c] = maximum(n + p.alpha * down - p.lam_decay * n, 0.0)
        t.record(rpe=rpe)
