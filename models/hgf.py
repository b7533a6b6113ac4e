"""The hierarchical Gaussian filter of 2011, whose update can fail."""

import math

from fitrl.language import option, unit, where
from fitrl.models.volatility import EHGFBinary


class HGFBinary(EHGFBinary):
    """The hierarchical Gaussian filter for binary outcomes as published, with three levels; `ehgf_binary` is sounder.

    Use for comparison with published fits of the HGF. Two options of which one is the better at a time: a win of one is
    taken for a loss of the other. An outcome above the midpoint of the range of outcomes (raw outcomes: above 0) is a
    win, any other a loss.

    Equations, in order, with the notation of `ehgf_binary`: ``P(second) = sigmoid(zeta * mu2)``; u = 1 if the second
    option won or the first lost, else 0; ``b = sigmoid(mu2)``; ``rpe = u - b``; ``v = exp(kappa * mu3 + omega2)``;
    ``gain = 1 / (1 / (sigma2 + v) + b * (1 - b))``; ``mu2' = mu2 + gain * rpe``; ``sigma2' = gain``;
    ``w = v / (sigma2 + v)``; ``d = (gain + (mu2' - mu2)^2) / (sigma2 + v) - 1``; ``h = sigma3 + exp(omega3)``;
    ``1 / sigma3' = 1 / h + kappa^2 / 2 * w * (w + (2 * w - 1) * d)``; ``mu3' = mu3 + kappa / 2 * sigma3' * w * d``.
    Start: mu2 = 0; sigma2, mu3 and sigma3 are options, and so is kappa (coupling).

    Where it fails: 1 / sigma3' may come out at 0 or below, which no precision is. That happens when a surprise hits an
    uncertain belief in a world that is held to be stable (d large, w below 1/2). From there on nothing is defined: the
    filter yields nan, and so do the likelihood and its gradient; nothing is clipped. In simulated sequences of 300
    trials with omega3 at -6 this never happened for omega2 up to -2.5; at -2 in some sequences with almost certain
    outcomes, at -1 in most with reversals, from -.5 on in all. With omega3 above -4 it sets in earlier, for omega3 = -2
    at about -2.5, for omega3 = 0 at about -5. Hence omega2 is kept between -10 and -2, and so is omega3, if fitted:
    fast learners are outside of what this filter can describe.
    What it means for a fit: NUTS takes a step to nan for one that left the support, rejects it and counts a divergence,
    which the verdict reports; a simulation with such values is refused. Within the ranges that is rare. When agents
    with a learning rate of .7 (Q-learning, reversals) were fitted there was no divergence, but half of their estimates
    crowded between -2.3 and -2: that is the end of the range and no finding. Use `ehgf_binary` then.

    Usual ranges: omega2 -5.5 to -2.3; omega3 -8 to -3; zeta .5 to 5.

    Identifiability: omega2 and zeta from 200 trials on, and they trade off. omega3 is next to unidentified below 300
    trials, and is held at -6, the prior mean of TAPAS, unless ``level3="fitted"``. Choices do not see the origin and
    scale of the third level: kappa and the start of mu3 are fixed.

    Differs from the source: no drift (rho = 0); variances in place of precisions; omega3 is its ln(theta). Where TAPAS
    stops with an error (negative posterior precision), the likelihood here is nan; its second guard, against jumps of
    more than 16 times their root mean square, is left out. Equations checked against TAPAS (tapas_hgf_binary). A port
    that sets a negative precision to 0 (DMpy) divides by it in the next line.
    """

    reference = (
        "Mathys et al. 2011, Front Hum Neurosci, 10.3389/fnhum.2011.00039; Mathys et al. 2014, Front Hum Neurosci, "
        "10.3389/fnhum.2014.00825"
    )
    omega2 = unit("tonic log-volatility of the belief", location=(1.2, 0.8), scale=0.5, usual=(-5.5, -2.3)).but(
        lower=-10.0, upper=-2.0
    )
    omega3 = unit("log-variance of the steps of volatility", location=(0.0, 0.8), scale=0.5, usual=(-8.0, -3.0)).but(
        lower=-10.0, upper=-2.0
    )
    held = -6.0
    level3 = option("fixed", "omega3 held at -6, or fitted", ("fixed", "fitted"))

    def volatility(self, p, mu3, h, v, sigma2, error):
        """Update the uncertainty of log-volatility, then log-volatility by it; nan where the precision is negative."""
        kappa, w, d = self.coupling, v / (sigma2 + v), error / (sigma2 + v) - 1
        precision = 1 / h + 0.5 * kappa * kappa * w * (w + (2 * w - 1) * d)
        sigma3 = where(precision > 0, 1 / precision, math.nan)
        return mu3 + 0.5 * kappa * sigma3 * w * d, sigma3
