"""The ideal observer of Behrens et al.: belief and volatility from outcomes alone, computed before any fit."""

from functools import lru_cache

import numpy as np

from fitrl.errors import ModelError
from fitrl.language import latent, positive, softmax, table
from fitrl.models.volatility import Belief

# Probability p of the event; I, log precision of its steps; k, log sd of the steps of I.
P_GRID = np.linspace(0.01, 0.99, 50)
I_GRID = np.linspace(np.log(2), np.log(1e4), 43)
K_GRID = np.linspace(np.log(5e-4), np.log(20), 54)


@lru_cache(maxsize=1)
def transitions() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the next value given the present one: of I, shape (k, new, old), and of p, shape (I, new, old).

    Each column sums to 1 over the new values of the grid.
    """
    steps = (I_GRID[:, None] - I_GRID) / np.exp(K_GRID)[:, None, None]
    to_i = np.exp(-0.5 * steps**2)
    a, b = 1 + np.exp(I_GRID)[:, None] * P_GRID, 1 + np.exp(I_GRID)[:, None] * (1 - P_GRID)
    # The beta density at the new value up to a factor of the old one, which the sum takes out.
    log_p = (a - 1)[:, None, :] * np.log(P_GRID)[:, None] + (b - 1)[:, None, :] * np.log1p(-P_GRID)[:, None]
    to_p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return to_i / to_i.sum(axis=1, keepdims=True), to_p / to_p.sum(axis=1, keepdims=True)


@lru_cache(maxsize=4096)
def observe(events: bytes) -> np.ndarray:
    """Follow the belief through a sequence of events.

    Parameters
    ----------
    events : bytes
        1 where the event occurred, else 0.

    Returns
    -------
    ndarray, shape (event + 1, 4)
        Before each event, and after the last: mean and sd of p, mean and sd of the volatility -I.
    """
    to_i, to_p = transitions()
    belief = np.full((len(P_GRID), len(I_GRID), len(K_GRID)), 1.0)
    path = np.empty((len(events) + 1, 4))
    for t in range(len(events) + 1):
        leaked = np.matmul(to_i, belief.transpose(2, 1, 0))  # k, new I, p
        leaked = np.matmul(to_p, leaked.transpose(1, 2, 0))  # I, new p, k
        belief = leaked.transpose(1, 0, 2) / leaked.sum()
        p, i = belief.sum(axis=(1, 2)), belief.sum(axis=(0, 2))
        path[t] = *_moments(p, P_GRID), *_moments(i, -I_GRID)
        if t < len(events):
            belief = belief * (P_GRID if events[t] else 1 - P_GRID)[:, None, None]
    path.flags.writeable = False  # it is kept and handed out again
    return path


def _moments(weights: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    mean = weights @ values
    return mean, np.sqrt(weights @ (values - mean) ** 2)


class Behrens(Belief):
    """The Bayesian ideal observer for a probability that changes, and whose pace of change may change.

    Use for normative regressors (belief, volatility, learning rate) and as a yardstick for what subjects do. Two
    options of which one is the better at a time: a win of one is taken for a loss of the other.

    Nothing is fitted in the learner. Its belief is computed on a grid before the fit, from outcomes alone, once for
    every sequence of outcomes; only beta is estimated.

    Equations: u = 1 if the second option won or the first lost, else 0, comes up with probability p;
    ``p' ~ Beta(1 + e^I * p, 1 + e^I * (1 - p))`` and ``I' ~ Normal(I, sd = e^k)``, with k fixed but unknown; a uniform
    start over p from .01 to .99 in steps of .02, I from log 2 to log 10^4 and k from log .0005 to log 20, both in steps
    of about .2. In every trial that teaches: I moves, p moves by the new I, choose, see u, multiply by the likelihood.
    ``belief`` is the mean of p before u; ``P(second) = softmax(beta * (1 - belief, belief))[second]``;
    ``rpe = u - belief``; ``lr = (next belief - belief) / rpe``; ``volatility`` is the mean of -I: the log variance of
    the steps of p, but for a factor. A trial without response or outcome leaves the belief as it was.

    Usual range: beta 1 to 15.

    Identifiability: beta from 50 trials on. The model cannot be simulated, since its belief comes from outcomes that
    were there; one-step and free-running predictions use the recorded outcomes.

    Outcomes must be 0 and 1, or -1 and 1: there is no belief about graded ones. A sequence of outcomes that was not met
    before takes about a tenth of a second per 100 trials on an idle machine; subjects who saw the same share the work.

    Checked: the grid and the order of steps of a port that was made from the authors' program (Waskom 2017); an older
    version of that port, widely copied, has exp(-x^2) / (2 s^2) for the normal kernel, in which k drops out.

    Differs from the source: magnitudes of the outcomes, and the risk parameter that weighs them, are left out, as the
    task has none. Belief and volatility are predictions (after the leak), where the port shows them after u. The paper
    was not read; that e^k is the sd of the steps of I, and not their variance, is the port's reading.
    """

    reference = "Behrens et al. 2007, Nat Neurosci, 10.1038/nn1954"
    beta = positive("inverse temperature, on the difference of the two probabilities")
    belief_sd = latent("sd of that probability, before the trial")
    volatility = latent("volatility: minus the log precision of the probability's steps, before the trial")
    volatility_sd = latent("sd of the volatility, before the trial")
    prepared = ("observed_p", "observed_p_sd", "observed_v", "observed_v_sd", "observed_next")

    def prepare(self, frame):
        """Compute the belief before each trial, and the one after it, from the outcomes of each sequence."""
        teaches = frame["mask_update"].to_numpy(bool)
        outcome = frame["outcome"].to_numpy(float)
        met = set(np.unique(outcome[teaches]).tolist())
        if not (met <= {0.0, 1.0} or met <= {-1.0, 1.0}):
            raise ModelError(
                f"{self.label} needs outcomes that are 0 and 1, or -1 and 1, after scaling; the data have "
                f"{', '.join(f'{x:g}' for x in sorted(met)[:6])}. Use ehgf_binary or vkf_binary, which cut graded "
                "outcomes in the middle, or code wins and losses."
            )
        event = (frame["choice"].to_numpy() == 1) == (outcome > 0)
        begins = frame["reset"].to_numpy(bool) | (frame["sequence"].diff() != 0).to_numpy()
        columns = np.empty((len(frame), 5))
        for rows in np.split(np.arange(len(frame)), np.flatnonzero(begins)[1:]):
            taught = teaches[rows]
            path = observe(event[rows][taught].astype(np.uint8).tobytes())
            before = np.cumsum(taught) - taught
            columns[rows] = np.column_stack([path[before], path[before + taught, 0]])
        return dict(zip(self.prepared, columns.T, strict=True))

    def trial(self, s, p, t):
        """Choose by the belief that was computed beforehand, and see the outcome."""
        belief = t.cue("observed_p")
        a = t.choose("choice", softmax(p.beta * table([1 - belief, belief])))
        rpe = self.seen(t, a) - belief
        t.record(
            belief=belief,
            belief_sd=t.cue("observed_p_sd"),
            volatility=t.cue("observed_v"),
            volatility_sd=t.cue("observed_v_sd"),
            rpe=rpe,
            lr=(t.cue("observed_next") - belief) / rpe,
        )
