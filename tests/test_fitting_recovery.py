"""Known parameters come back: a small check in every run of the tests; the thorough one is a study."""

import numpy as np
import pytest

import fitrl
from fitrl.hierarchy.links import link_of
from fitrl.models import declare

LOCATION = {"alpha": -0.4, "beta": 1.4}
SCALE = {"alpha": 0.9, "beta": 0.4}


@pytest.fixture(scope="module")
def recovered():
    """Fifteen agents x 80 trials of a reversing bandit, fitted by short chains."""
    rng = np.random.default_rng(21)
    eta = {name: rng.normal(LOCATION[name], SCALE[name], 15) for name in LOCATION}
    truth = {"alpha": 1 / (1 + np.exp(-eta["alpha"])), "beta": np.exp(eta["beta"])}
    played = fitrl.simulate(
        "q_learning", subjects=15, trials=80, environment="reversing", parameters=truth, random_seed=3
    )
    found = fitrl.fit("q_learning", played.frame, draws=300, tune=300, chains=2, random_seed=1, progressbar=False)
    return truth, found


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_subjects_are_recovered(recovered, name):
    truth, found = recovered
    draws = found.idata["posterior"][name]
    mean = draws.mean(("chain", "draw")).to_numpy()
    assert np.corrcoef(mean, truth[name])[0, 1] > 0.6
    lower, upper = np.quantile(draws.to_numpy(), [0.025, 0.975], axis=(0, 1))
    inside = (lower < truth[name]) & (truth[name] < upper)
    assert inside.sum() >= 12  # 95 % of fifteen, to the one-in-a-thousand limit of a binomial


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_the_population_is_recovered(recovered, name):
    found = recovered[1]
    posterior = found.idata["posterior"].to_dataset()
    lower, upper = np.quantile(posterior[f"{name}_mu"], [0.025, 0.975])
    assert lower < LOCATION[name] < upper
    assert upper - lower < 3 * 2 * 1.96 * SCALE[name] / np.sqrt(15)  # and not by saying nothing
    lower, upper = np.quantile(posterior[f"{name}_sigma"], [0.025, 0.975])
    assert lower < SCALE[name] < upper


def test_the_chains_agree(recovered):
    verdict = recovered[1].verdict
    assert not any(check.name == "divergences" for check in verdict.failures), verdict.text()
    worst = max(check.value for check in verdict.checks if check.name == "r_hat" and check.value)
    assert worst < 1.05


def test_simulated_populations_cover_the_usual_ranges():
    """What `fitrl simulate` draws by default is what its documentation says."""
    for name in ("alpha", "beta"):
        parameter = declare("q_learning").parameters()[name]
        truth = fitrl.simulate("q_learning", subjects=4000, trials=1, random_seed=1).truth
        drawn = truth.loc[truth["parameter"] == name, "value"].to_numpy()
        inside = (drawn > parameter.usual[0]) & (drawn < parameter.usual[1])
        assert inside.mean() == pytest.approx(0.95, abs=0.015)
        eta = link_of(drawn, parameter.link, parameter.lower, parameter.upper)
        assert abs(np.mean((eta - eta.mean()) ** 3)) < 0.15 * eta.std() ** 3


def test_traits_can_be_simulated_and_fitted_together():
    """By the quick fit: values stay in their ranges, and the model says more than guessing does."""
    traits = ["choice_trace", "dual_alpha", "forgetting", "lapse"]
    played = fitrl.simulate("q_learning", subjects=5, trials=60, traits=traits, random_seed=2)
    found = fitrl.fit("q_learning", played.trials, traits=traits, quick=True, random_seed=1)
    assert len(found.plan.parameters) == 7
    for name, parameter in found.plan.parameters.items():
        draws = found.idata["posterior"][name].to_numpy()
        assert np.isfinite(draws).all()
        assert (draws >= parameter.lower).all()
        assert (draws <= parameter.upper).all()
    p_choice = fitrl.latents(found, draws=50)["p_choice_mean"]
    assert np.log(p_choice).mean() > np.log(0.5)
