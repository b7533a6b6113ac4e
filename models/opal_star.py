"""OpAL*: opponent actors whose balance follows how rich the environment is."""

from fitrl.language import Model, State, filled, latent, maximum, option, positive, softmax, sqrt, unit, where
from fitrl.tasks import Bandit


class OpalStar(Model):
    """Opponent actor learning with dopamine at choice set by a meta-critic: Go in rich environments, NoGo in lean ones.

    Use for bandits that differ in richness (all options good, or all bad), and for dopamine drugs as a shift of
    rho_base. `opal` has no meta-critic, and separate rates for the two actors.

    Equations, in order, with w and l the number of wins and of other outcomes so far plus 1, over all choices, and K
    the number of options: ``rich = w / (w + l)``; ``var = rich * (1 - rich) / ((w + l) / K + 1)``, the moments of
    Beta(w / K, l / K); ``gate = 1`` if ``abs(rich - .5) > phi * sqrt(var)``, else 0;
    ``rho = rho_base + gate * k * (rich - .5)``;
    ``Act = beta * (max(0, 1 + rho) * G - max(0, 1 - rho) * N)``; ``P(a) = softmax(Act)[a]``; ``rpe = r - V[c]``;
    ``V[c] += alpha_c * rpe``; ``rate = alpha_a / (1 + 1 / (10 * horizon * var))``;
    ``G[c] *= max(1 + rate * rpe, 1e-6)``; ``N[c] *= max(1 - rate * rpe, 1e-6)``; the same error for all three, from
    before the trial. All V start at q0, all G and N at 1. A win is an outcome above the midpoint of their range (raw
    outcomes: above 0). ``anneal="none"`` has ``rate = alpha_a``; ``baseline="zero"`` has no rho_base.

    The gate jumps, but with the data and not with a parameter: wins are counted as they were seen, and phi, k and
    horizon are held. The likelihood is therefore as smooth in its parameters as that of `opal`, but for a corner where
    rho is 1 or -1. That is why phi and k cannot be fitted here.

    Usual ranges: alpha_c and alpha_a .05 to .5; beta .5 to 5, below those of other models, since rho far above 1
    multiplies it; rho_base -.5 to .5.

    Identifiability: alpha_a and beta trade off, as in `opal`; rho_base acts while the gate is closed or rho is small,
    and is a matter of groups and sessions. Blocks of different richness, with values that start afresh, help.

    Checked: the authors' program (critic per action, wins counted over all actions, annealing by variance). Its
    defaults are k = 8, phi = 3 and horizon = 100; k = 20 and phi = 1, the defaults here, are its settings for bandits.

    Differs from the source: its outcomes are 1 and -1, its critic is Bayesian in most simulations (here: a delta rule,
    one of its variants); actors are floored above 0 and not at 0; errors are not normalised, since outcomes are scaled
    to within -1 and 1. A critic per state, tanh of errors and 1 - P(c) as a factor are left out.
    """

    task = Bandit
    reference = "Jaskir & Frank 2023, eLife, 10.7554/eLife.85107; Collins & Frank 2014, Psychol Rev, 10.1037/a0037015"
    alpha_c = unit("learning rate of the critic", usual=(0.05, 0.4))
    alpha_a = unit("learning rate of both actors, before annealing", usual=(0.05, 0.5))
    beta = positive("inverse temperature", median=1.5, usual=(0.5, 5.0))
    rho_base = unit("baseline dopamine at choice", location=(0.0, 1.0), scale=0.5, usual=(-0.5, 0.5)).but(lower=-1.0)
    k = option(20.0, "how strongly richness moves dopamine at choice")
    phi = option(1.0, "sds of richness from one half that open the gate")
    anneal = option("variance", "actors' rate falls with the variance of richness, or not", ("variance", "none"))
    horizon = option(100.0, "scale of the annealing, in trials")
    baseline = option("fitted", "rho_base fitted, or 0", ("fitted", "zero"))
    q0 = option(None, "initial value of the critic in scaled outcomes; by default the midpoint of their range")
    v = latent("critic's values before the trial", "outcome")
    g = latent("Go actor before the trial")
    n = latent("NoGo actor before the trial")
    rich = latent("estimated richness: probability of a win over all choices, before the trial")
    rich_sd = latent("uncertainty of the richness, before the trial")
    gate = latent("1 where the richness is credibly not one half, else 0")
    rho = latent("dopamine at choice in this trial")
    rpe = latent("reward prediction error", "outcome")

    def parameters(self):
        """Leave out rho_base where it is 0."""
        found = super().parameters()
        if self.baseline == "zero":
            del found["rho_base"]
        return found

    def start(self, p, task):
        """Start the critic at q0, both actors at 1, and with no wins or losses seen."""
        actors = {name: filled(task.n_options, 1.0) for name in ("g", "n")}
        return State(v=task.values(self.q0), wins=1.0, losses=1.0, **actors)

    def trial(self, s, p, t):
        """Set dopamine by the richness so far, choose, see the outcome, move the critic, the actors and the counts."""
        seen = s.wins + s.losses
        rich = s.wins / seen
        var = rich * (1 - rich) / (seen / t.task.n_options + 1)
        off = rich - 0.5
        gate = where(off * off > self.phi * self.phi * var, 1.0, 0.0)
        rho = (p.rho_base if self.baseline == "fitted" else 0.0) + gate * self.k * off
        t.record(rich=rich, rich_sd=sqrt(var), gate=gate, rho=rho)
        go, nogo = maximum(1 + rho, 0.0), maximum(1 - rho, 0.0)
        c = t.choose("choice", softmax(p.beta * (go * s.g - nogo * s.n)))
        r = t.observe("outcome")
        rpe = r - s.v[c]
        rate = p.alpha_a / (1 + 1 / (10 * self.horizon * var)) if self.anneal == "variance" else p.alpha_a
        s.v[c] += p.alpha_c * rpe
        s.g[c] *= maximum(1 + rate * rpe, 1e-6)
        s.n[c] *= maximum(1 - rate * rpe, 1e-6)
        won = where(r > t.task.midpoint, 1.0, 0.0)
        s.wins, s.losses = s.wins + won, s.losses + 1 - won
        t.record(rpe=rpe)
