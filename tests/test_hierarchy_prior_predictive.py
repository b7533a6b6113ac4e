"""Default priors give behaviour that people show: neither chance alone nor certainty alone."""

import numpy as np
import pytest

import fitrl
from fitrl.hierarchy.build import prior_draws
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.priors import resolve_priors
from fitrl.models import declare, find
from fitrl.tasks import Bandit


def population(parameters, n, rng):
    """Subjects of `n` populations, each drawn from the priors, one subject from each."""
    values = {}
    for name, p in parameters.items():
        location, scale = prior_draws(p.location, n, rng), prior_draws(p.scale, n, rng)
        values[name] = natural(location + scale * rng.normal(size=n), p.link, p.lower, p.upper)
    return values


@pytest.mark.parametrize("traits", [(), ("stickiness",), ("dual_alpha", "stickiness", "forgetting", "lapse")])
def test_prior_predictive_accuracy_is_spread_out(traits):
    model = declare("q_learning", traits)
    rng = np.random.default_rng(0)
    values = population(model.parameters(), 500, rng)
    sim = fitrl.simulate(model, subjects=500, trials=150, parameters=values, random_seed=1)
    accuracy = (sim.frame["choice"] == "A").groupby(sim.frame["subject"]).mean()
    # A prior is too wide when more than a quarter of simulated subjects are within .02 of 0 or 1.
    assert ((accuracy < 0.02) | (accuracy > 0.98)).mean() < 0.25
    assert accuracy.quantile(0.9) - accuracy.quantile(0.1) > 0.2
    assert accuracy.mean() > 0.52


def test_hbayesdm_priors_are_far_tighter_than_ours():
    rng = np.random.default_rng(0)
    model, task = find("q_learning"), Bandit()
    spread = {
        priors: np.mean(
            [
                np.std(natural(p.location.args[0] + s * rng.normal(size=200), p.link, p.lower, p.upper))
                for p in [resolve_priors(model, task, priors)["alpha"]]
                for s in prior_draws(p.scale, 200, rng)
            ]
        )
        for priors in ("default", "hbayesdm")
    }
    assert spread["hbayesdm"] < 0.5 * spread["default"]
