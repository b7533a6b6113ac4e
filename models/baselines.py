"""Baselines: what choices look like without learning. Fit them beside every model."""

from fitrl.language import (
    Model,
    State,
    latent,
    onehot,
    option,
    probabilities,
    real,
    softmax,
    uniform,
    unit,
    where,
)
from fitrl.tasks import Bandit


class RandomChoice(Model):
    """Choose every option on offer with the same probability.

    Use as the floor of every comparison. No parameters, so there is nothing to estimate; its
    log-likelihood is ``-log K`` per choice.
    """

    name = "random"
    task = Bandit
    reference = "Wilson & Collins 2019, eLife, 10.7554/eLife.49547"

    def trial(self, s, p, t):
        """Choose at random."""
        t.choose("choice", uniform(t.task.n_options))


class BiasedCoin(Model):
    """Prefer some options over others, always to the same degree.

    Use to show that choices follow outcomes at all. ``P(a) = softmax(b)[a]`` with b = 0 for the first option.
    """

    name = "biased_coin"
    task = Bandit
    reference = "Wilson & Collins 2019, eLife, 10.7554/eLife.49547 (biased random responding)"
    b = real("bias in logits", per_option=True, usual=(-1.0, 1.0))

    def trial(self, s, p, t):
        """Choose by bias."""
        t.choose("choice", softmax(p.b))


class WinStayLoseShift(Model):
    """Stay after a win, shift after a loss, each with a probability of its own.

    Use as the simplest rule that reacts to outcomes. A shift spreads evenly over the other options on offer;
    the first choice is uniform. A win is an outcome above `win_above` (by default the midpoint of the range).

    Differs from the source: two probabilities instead of one error rate.
    """

    name = "wsls"
    task = Bandit
    reference = "Wilson & Collins 2019, eLife, 10.7554/eLife.49547 (noisy win-stay-lose-shift)"
    p_stay_win = unit("probability to stay after a win", usual=(0.5, 0.95))
    p_shift_loss = unit("probability to shift after a loss", usual=(0.3, 0.9))
    win_above = option(None, "an outcome above this is a win; by default the midpoint of the range")
    last = latent("1 for the previous choice")
    won = latent("1 if the previous outcome was a win")

    def start(self, p, task):
        """Start with no previous choice."""
        return State(last=0.0 * task.values(0.0), won=0.0)

    def trial(self, s, p, t):
        """Stay or shift."""
        n = t.task.offered("choice") or t.task.n_options
        stay = where(s.won == 1, p.p_stay_win, 1.0 - p.p_shift_loss)
        away = (1.0 - stay) / (n - 1)
        weights = where(s.last == 1, stay + 0.0 * s.last, away + 0.0 * s.last)
        a = t.choose("choice", probabilities(weights))
        limit = self.win_above
        won = t.observe("outcome") > (t.task.midpoint if limit is None else limit)
        s.last = onehot(a, t.task.n_options)
        s.won = where(won, 1.0, 0.0)
