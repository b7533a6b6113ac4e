"""Value learning: a value per option, moved by prediction errors."""

from fitrl.language import Model, State, latent, option, positive, softmax, unit
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
