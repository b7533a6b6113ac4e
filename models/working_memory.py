"""Reinforcement learning beside working memory."""

from fitrl.language import (
    Model,
    State,
    exp,
    filled,
    lapse,
    latent,
    log1p,
    minimum,
    mix,
    onehot,
    option,
    positive,
    real,
    softmax,
    uniform,
    unit,
    where,
)
from fitrl.tasks import StimulusAction


class RLWM(Model):
    """Slow reinforcement learning beside a working memory that is fast, forgets, and holds only so much.

    Use for learning which action goes with which stimulus at several set sizes, where a poor memory would pass for a
    low learning rate (schizophrenia, stimulants, age).

    Equations, in order, for the stimulus i that is shown, one of n_s in the block, with n_a actions and r = 1 if the
    outcome is above the midpoint of the range, else 0: ``w = rho_wm * min(1, cap / n_s)``;
    ``P = (1 - eps) * (w * softmax(beta * WM[i] + kappa * last) + (1 - w) * softmax(beta * Q[i] + kappa * last))
    + eps / n_a``, last being 1 for the previous action, whatever the stimulus; all of working memory decays:
    ``WM += phi_wm * (1 / n_a - WM)``; ``rpe = r - Q[i, c]``; ``Q[i, c] += alpha * x * rpe``;
    ``WM[i, c] += x * (r - WM[i, c])``, with x = 1 if r = 1, else bias. All Q and WM start at 1 / n_a. Working memory
    decays in every row, with or without a response.

    ``biases="shared"`` (the default): one bias for both systems. ``"both"``: bias_rl and bias_wm. ``"none"``: errors
    teach as much as successes. ``interaction="rpe"``: ``rpe = r - (w * WM[i, c] + (1 - w) * Q[i, c])``, so that what is
    held in mind is not surprising and little is learned about it.

    beta is fixed at 25, an option: choices are nearly deterministic given values, and what is left of noise is in the
    mixture and in eps. This makes the rest identifiable. Usual ranges: alpha .02 to .3; bias .1 to .9; phi_wm .05 to
    .4; rho_wm .6 to .98; cap 2 to 5; eps .005 to .1; kappa -.5 to 1 (``25 * stick`` of the authors).

    Identifiability: set sizes from 2 to 6 and about 600 trials. alpha, phi_wm, eps and kappa are fair, bias less so;
    cap and rho_wm are a matter of the group, since only their product is seen in sets above capacity, and values soon
    say what memory says in small ones. cap says nothing once it is above the largest set size.

    Checked: the program RLWM_llh of Collins 2025: order of events, decay, bias, interaction, stickiness within the
    softmax, lapse in both policies (which is a lapse of the mixture). Ten people of their public data (fMRI, 2017) come
    out as in the authors' own fits of the same model.

    Differs from the source: capacity is a number between whole ones, not searched among them; trials without a
    response, or faster than .15 s, are removed there, where here memory decays over them (mask fast ones with
    ``mask_choice`` and ``mask_update``); the first choice of a block may be sticky if values do not start afresh. Left
    out: outcomes of errors as a parameter (r0), a bias from all stimuli (chunk), learning from choices alone.
    """

    task = StimulusAction
    reference = (
        "Collins & Frank 2012, Eur J Neurosci, 10.1111/j.1460-9568.2011.07980.x; Collins et al. 2014, J Neurosci, "
        "10.1523/JNEUROSCI.0989-14.2014; Collins et al. 2017, J Neurosci, 10.1523/JNEUROSCI.2700-16.2017 "
        "(interaction); Collins 2025, Nat Hum Behav, 10.1038/s41562-025-02340-0 (code)"
    )
    alpha = unit("learning rate", location=(-2.0, 1.5), usual=(0.02, 0.3))
    bias = unit("share that errors have of learning from successes", usual=(0.1, 0.9))
    bias_rl = unit("the same for reinforcement learning", usual=(0.1, 0.9))
    bias_wm = unit("the same for working memory", usual=(0.1, 0.9))
    phi_wm = unit("decay of working memory", location=(-1.5, 1.5), usual=(0.05, 0.4))
    rho_wm = unit("reliance on working memory", location=(1.0, 1.5), usual=(0.6, 0.98))
    cap = positive("capacity of working memory, in stimuli", median=3.5, spread=0.5, scale=0.3, usual=(2.0, 5.0))
    eps = lapse("lapse", usual=(0.005, 0.1))
    kappa = real("stickiness to an action", usual=(-0.5, 1.0))
    biases = option("shared", "whether errors teach less, in both systems alike or not", ("shared", "both", "none"))
    interaction = option("none", "whether working memory takes part in the prediction error", ("none", "rpe"))
    beta = option(25.0, "inverse temperature of both systems, fixed")
    q_shown = latent("values of the actions for this stimulus, before the trial")
    wm_shown = latent("working memory of the actions for this stimulus, before the trial")
    w_wm = latent("weight of working memory in this trial")
    last = latent("1 for the previous action")
    rpe = latent("reward prediction error")

    def parameters(self):
        """Keep the biases that the option asks for."""
        out = {"shared": ("bias_rl", "bias_wm"), "both": ("bias",), "none": ("bias", "bias_rl", "bias_wm")}
        return {name: p for name, p in super().parameters().items() if name not in out[self.biases]}

    def start(self, p, task):
        """Start every value and memory at chance; nothing seen, no previous action."""
        n_stimuli, n_actions = len(task.codings.get("stimulus", ("",))), task.n_options
        chance = filled((n_stimuli, n_actions), 1 / n_actions)
        return State(q=chance, wm=chance, seen=filled(n_stimuli, 0.0), now=0.0, last=filled(n_actions, 0.0))

    def trial(self, s, p, t):
        """Choose by both systems, see the outcome, learn in both."""
        i, chance, n_actions = t.cue("stimulus"), 1 / t.task.n_options, t.task.n_options
        # Memory of a stimulus is kept as it was in the row after it was last seen; only that of this one is needed.
        kept = exp((s.now - s.seen[i]) * log1p(-p.phi_wm))
        q, wm = s.q[i], chance + kept * (s.wm[i] - chance)
        w = p.rho_wm * minimum(1.0, p.cap / t.cue("set_size"))
        learned, remembered = softmax(self.beta * q + p.kappa * s.last), softmax(self.beta * wm + p.kappa * s.last)
        c = t.choose("choice", mix(p.eps, uniform(n_actions), mix(w, remembered, learned)))
        won = t.observe("outcome") > t.task.midpoint
        r = where(won, 1.0, 0.0)
        bias_rl, bias_wm = {
            "shared": lambda: (p.bias, p.bias),
            "both": lambda: (p.bias_rl, p.bias_wm),
            "none": lambda: (1.0, 1.0),
        }[self.biases]()
        wm_next = chance + (1 - p.phi_wm) * (wm - chance)
        expected = q[c] if self.interaction == "none" else w * wm_next[c] + (1 - w) * q[c]
        rpe = r - expected
        s.q[i, c] += p.alpha * where(won, 1.0, bias_rl) * rpe
        s.wm[i] = wm_next
        s.wm[i, c] = wm_next[c] + where(won, 1.0, bias_wm) * (r - wm_next[c])
        s.seen[i] = s.now + 1
        t.record(q_shown=q, wm_shown=wm, w_wm=w, rpe=rpe)

    def between(self, s, p, t):
        """Let time pass, and remember the action."""
        s.now = s.now + 1
        s.last = where(t.responded("choice"), onehot(t.choices["choice"], t.task.n_options), s.last)
