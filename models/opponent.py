"""Opponent actors: one learns the benefits of an option (Go, D1), the other its costs (NoGo, D2)."""

from fitrl.language import Model, State, filled, latent, maximum, option, positive, softmax, unit
from fitrl.tasks import Bandit


class Opal(Model):
    """Opponent actor learning: a critic, a Go and a NoGo actor with Hebbian growth, dopamine at choice.

    Use for asymmetries between learning from gains and from losses, above all with a transfer phase without feedback
    (probabilistic selection), and for dopamine's part in learning (alpha_g, alpha_n) or in choice (rho_da).

    Equations, in order: ``Act = beta * ((1 + rho_da) * G - (1 - rho_da) * N)``; ``P(a) = softmax(Act)[a]``;
    ``rpe = r - V[c]``; ``V[c] += alpha_c * rpe``; ``G[c] *= max(1 + alpha_g * rpe, 1e-6)``;
    ``N[c] *= max(1 - alpha_n * rpe, 1e-6)``; the same error for all three, from before the trial. All V start at q0,
    all G and N at 1. V, G and N belong to options. The floor keeps an actor above 0, from where it would never grow
    again; it is reached where an error exceeds ``1 / alpha``, which only outcomes in -1 to 1 can bring about.

    ``asymmetry="learning"`` (the default): alpha_g and alpha_n, and rho_da is 0. ``"choice"``: one rate alpha_a for
    both actors, and rho_da. ``"both"``: all three, for training with transfer that is scored.

    Identifiability: alpha_g, alpha_n, beta and rho_da are not separable in one bandit; 180 trials of training and 60 of
    transfer or more. beta trades off against the actors' rates (early on only beta * alpha counts). rho_da of single
    persons is hardly recovered even then; compare groups or sessions. A person's posterior may have two modes: slow
    rates all over, or a critic that knows the last outcome only (alpha_c near 1) with faster actors.

    Checked: the authors' code of Jaskir & Frank 2023 (critic per action; no annealing, normalisation or soft bound).

    Differs from the source: that code clips actors at 0 and has one rate for both; its variants are left out (a critic
    per state or Bayesian, a factor of 1 - P(c), a soft bound, decay). rho_da belongs to the person.
    """

    task = Bandit
    reference = (
        "Collins & Frank 2014, Psychol Rev, 10.1037/a0037015; Jaskir & Frank 2023, eLife, 10.7554/eLife.85107 (code)"
    )
    alpha_c = unit("learning rate of the critic", usual=(0.05, 0.4))
    alpha_g = unit("learning rate of the Go actor", usual=(0.05, 0.4))
    alpha_n = unit("learning rate of the NoGo actor", usual=(0.05, 0.4))
    alpha_a = unit("learning rate of both actors", usual=(0.05, 0.4))
    beta = positive("inverse temperature")
    rho_da = unit("dopamine at choice: Go over NoGo", location=(0.0, 1.0), scale=0.5, usual=(-0.5, 0.5)).but(lower=-1.0)
    asymmetry = option("learning", "where Go and NoGo may differ: rates, dopamine", ("learning", "choice", "both"))
    q0 = option(None, "initial value of the critic in scaled outcomes; by default the midpoint of their range")
    v = latent("critic's values before the trial", "outcome")
    g = latent("Go actor before the trial")
    n = latent("NoGo actor before the trial")
    go_nogo = latent("Go minus NoGo before the trial")
    rpe = latent("reward prediction error", "outcome")

    def parameters(self):
        """Keep the parameters of the chosen asymmetry."""
        out = {"learning": ("alpha_a", "rho_da"), "choice": ("alpha_g", "alpha_n"), "both": ("alpha_a",)}
        return {name: p for name, p in super().parameters().items() if name not in out[self.asymmetry]}

    def start(self, p, task):
        """Start the critic at q0 and both actors at 1."""
        return State(v=task.values(self.q0), g=filled(task.n_options, 1.0), n=filled(task.n_options, 1.0))

    def trial(self, s, p, t):
        """Choose, see the outcome, move the critic and both actors."""
        rho = 0.0 if self.asymmetry == "learning" else p.rho_da
        alpha_g, alpha_n = (p.alpha_a, p.alpha_a) if self.asymmetry == "choice" else (p.alpha_g, p.alpha_n)
        t.record(go_nogo=s.g - s.n)
        c = t.choose("choice", softmax(p.beta * ((1 + rho) * s.g - (1 - rho) * s.n)))
        rpe = t.observe("outcome") - s.v[c]
        s.v[c] += p.alpha_c * rpe
        s.g[c] *= maximum(1 + alpha_g * rpe, 1e-6)
        s.n[c] *= maximum(1 - alpha_n * rpe, 1e-6)
        t.record(rpe=rpe)
