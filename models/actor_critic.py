"""Actor and critic: a policy that is learned without values of options."""

from fitrl.language import Model, State, exp, filled, latent, option, positive, softmax, unit, where
from fitrl.tasks import Bandit


class ActorCritic(Model):
    """A critic learns what a situation is worth; an actor turns its errors into propensities to choose.

    Use where options are thought to be learned as habits, without a value of their own (stimulus-response learning, as
    in negative symptoms of schizophrenia), beside `q_learning`.

    Equations, in order, with V the mean of the critic's values of the options on offer:
    ``P(a) = softmax(m)[a]``; ``rpe = r - V``; every option on offer: ``v[a] += alpha_c * rpe``;
    ``actor="plain"``: ``m[c] += alpha_a * rpe``; ``actor="gradient"``: every option on offer:
    ``m[a] += alpha_a * rpe * (1[a = c] - P(a))``. The same error for both, from before the trial. All v start at q0,
    all m at 0.

    The options on offer are the situation. Where all of them always are, or where sets of them do not overlap (fixed
    pairs, the actions of one stimulus), all in a set share one v, which is V, the value of the state. Where sets
    overlap (every pair occurs), there is no state, and V is made up of what the options were part of.
    ``critic="action"`` takes ``V = v[c]``, which learns alone: no longer the model of the textbook, since an error
    then says nothing about which of two options is the better one.

    The inverse temperature is 1: with propensities from 0, only its product with alpha_a could be seen. Usual ranges:
    alpha_c .05 to .6; alpha_a .2 to 5 per unit of outcome.

    Identifiability: alpha_a is good. alpha_c is known only as far as V moves: 300 trials, reversals or several
    situations; in a single bandit at rest it is a matter of the group.

    Differs from the source: no discounting and no eligibility, as a trial is over with its outcome. The propensities of
    a plain actor grow without bound, those of a gradient actor slow down as its choices get certain. Gold et al. 2012
    mix this policy with Q-learning, which is left out. The equations are those of the textbook (its gradient bandit
    with a baseline that learns at a constant rate); no published program was at hand to compare with.
    """

    task = Bandit
    reference = (
        "Sutton & Barto 2018, Reinforcement learning, chapters 2.8 and 13; Joel et al. 2002, Neural Netw, "
        "10.1016/S0893-6080(02)00047-3; Gold et al. 2012, Arch Gen Psychiatry, 10.1001/archgenpsychiatry.2011.1269"
    )
    alpha_c = unit("learning rate of the critic")
    alpha_a = positive("step of the actor", median=1.0, unit="1/outcome", usual=(0.2, 5.0))
    actor = option("plain", "only the choice changes, or also the options not chosen", ("plain", "gradient"))
    critic = option("state", "one value for all options on offer, or one for each", ("state", "action"))
    q0 = option(None, "initial value of the critic in scaled outcomes; by default the midpoint of their range")
    m = latent("propensities to choose before the trial, in logits")
    value = latent("what the critic expects in this trial", "outcome")
    rpe = latent("reward prediction error", "outcome")

    def start(self, p, task):
        """Start the critic at q0 and every propensity at 0."""
        return State(v=task.values(self.q0), m=filled(task.n_options, 0.0))

    def trial(self, s, p, t):
        """Choose, see the outcome, move critic and actor by the same error."""
        c = t.choose("choice", softmax(s.m))
        offered = list(t.offers["choice"] or range(t.task.n_options))
        taught = [c] if self.critic == "action" else offered
        value = sum(s.v[a] for a in taught) / len(taught)
        rpe = t.observe("outcome") - value
        for a in taught:
            s.v[a] += p.alpha_c * rpe
        if self.actor == "plain":
            s.m[c] += p.alpha_a * rpe
        else:
            for a, chance in zip(offered, exp(t.probabilities["choice"]), strict=True):
                s.m[a] += p.alpha_a * rpe * (where(a == c, 1.0, 0.0) - chance)
        t.record(value=value, rpe=rpe)
