"""Learning rates that are learned: Sutton's K1."""

import math

from fitrl.language import State, filled, latent, option, positive, sigmoid, softmax
from fitrl.models.volatility import Adaptive


class SuttonK1(Adaptive):
    """Q-learning with a learning rate that is itself learned (Sutton's K1): up where errors go on in one direction.

    Use for reversal and volatile bandits, as a fast baseline without a notion of volatility: successive errors of the
    same sign say that the rate was too low, errors that alternate that it was too high.

    Equations, in order: ``P(a) = softmax(beta * Q)[a]``; ``rpe = r - Q[c]``;
    ``b[c] += mu * (rpe / span) * h[c]`` with h before the trial; ``lr = sigmoid(b[c])``;
    ``h[c] = (h[c] + lr * rpe / span) * (1 - lr)``; ``Q[c] += lr * rpe``; span is the width of the range of outcomes. h
    is the trace of recent changes of the value. All Q start at q0, all h at 0, all b at logit(k0).

    Usual range: mu .2 to 6. In a stable world with chance outcomes errors alternate, so that the rate falls below k0 at
    first; it rises again after reversals. mu = 0 is Rescorla-Wagner learning at the rate k0.

    Identifiability: 200 trials or more with changes in between; mu is a matter of the group more than of single
    subjects, and it is the only parameter of the rate: k0 is an option.

    Checked: the K1 of TAPAS (tapas_sutton_k1_binary) and of DMpy; the paper itself could not be read.

    Differs from the source: an input is whether an option was chosen, so that its equations for several inputs become
    these, one b and one h per option, where those programs have one value for the probability of an event. Their noise
    R only shifts b, ``e^b / (R + e^b) = sigmoid(b - log R)``, and b starts at log R: it drops out, and k0 is .5 there.
    The positive part of 1 - lr is left out, as a rate is below 1. Errors are divided by span, so that mu means the same
    for outcomes 0 and 1, and -1 and 1. TAPAS starts h at a small number in place of 0.
    """

    reference = (
        "Sutton 1992, Gain adaptation beats least squares?, Proc 7th Yale Workshop on Adaptive and Learning Systems "
        "(no DOI); TAPAS HGF toolbox (tapas_sutton_k1_binary), Frässle et al. 2021, Front Psychiatry, "
        "10.3389/fpsyt.2021.680811"
    )
    mu = positive("rate at which the learning rate is learned", median=1.0, spread=1.0, usual=(0.2, 6.0))
    k0 = option(0.5, "learning rate at the start, between 0 and 1")
    b = latent("learning rate of the options in logits, before the trial")
    h = latent("trace of recent changes of the options' values, in units of the range of outcomes, before the trial")

    def start(self, p, task):
        """Start every value at q0 and every rate at k0, with nothing changed yet."""
        n = task.n_options
        return State(q=task.values(self.q0), b=filled(n, math.log(self.k0 / (1 - self.k0))), h=filled(n, 0.0))

    def trial(self, s, p, t):
        """Choose, see the outcome, adapt the rate, learn at the new rate."""
        a = t.choose("choice", softmax(p.beta * s.q))
        rpe = t.observe("outcome") - s.q[a]
        error = rpe / self.span(t.task)
        s.b[a] += p.mu * error * s.h[a]
        lr = sigmoid(s.b[a])
        s.h[a] = (s.h[a] + lr * error) * (1 - lr)
        s.q[a] += lr * rpe
        t.record(rpe=rpe, lr=lr)
