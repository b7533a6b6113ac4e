"""Baselines, poolings, fixed and centred parameters, against posteriors by brute force."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import fitrl
from fitrl.hierarchy.build import separate_prior
from fitrl.models import declare

SHORT = {"draws": 400, "tune": 300, "chains": 2, "random_seed": 1, "progressbar": False}
GRID = np.linspace(-8, 8, 4001)


@pytest.fixture(scope="module")
def trials():
    """Six subjects who win and lose, stay and shift, to different degrees."""
    stay, shift = np.linspace(0.4, 0.95, 6), np.linspace(0.9, 0.3, 6)
    return fitrl.simulate(
        "wsls", subjects=6, trials=60, parameters={"p_stay_win": stay, "p_shift_loss": shift}, random_seed=2
    ).trials


def on_grid(log_likelihood, mean, sd):
    """Mean and sd of the natural-scale value, for a normal prior on the logits."""
    log_p = log_likelihood + norm.logpdf(GRID, mean, sd)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    value = (p * expit(GRID)).sum()
    return value, np.sqrt((p * (expit(GRID) - value) ** 2).sum())


def binomial(k, n):
    return k * np.log(expit(GRID)) + (n - k) * np.log(expit(-GRID))


def test_random_choice_has_nothing_to_estimate(trials):
    found = fitrl.fit("random", trials)
    assert found.verdict.converged
    assert "Nothing was estimated" in found.verdict.text()
    assert not found.idata["posterior"].data_vars
    assert found.model.compile_logp()({}) == pytest.approx(-np.log(2) * len(trials.frame))
    assert fitrl.summary(found).empty
    np.testing.assert_allclose(fitrl.latents(found)["p_choice_mean"], 0.5)


@pytest.fixture(scope="module")
def biased(trials):
    return fitrl.fit("biased_coin", trials, pooling="complete", **SHORT)


def test_one_bias_for_all_is_the_exact_posterior(trials, biased):
    """Complete pooling, sampled: a logistic regression with an intercept."""
    choice = trials.frame["choice"].to_numpy()
    prior = biased.plan.parameters["b_1"].location
    mean, sd = on_grid(binomial(choice.sum(), len(choice)), *prior.args)
    draws = expit(biased.idata["posterior"]["b_1"].to_numpy())
    assert (draws == draws[..., :1]).all()  # one value for every subject
    assert draws[..., 0].mean() == pytest.approx(mean, abs=0.25 * sd)
    assert draws[..., 0].std() == pytest.approx(sd, rel=0.25)
    assert "b_1_sigma" not in biased.idata["posterior"]


def test_subjects_who_share_nothing_have_their_own_posteriors(trials):
    """No pooling, quick: each subject's stays are binomial under the subject's own prior."""
    # Narrower than the default, under which posteriors of people who nearly always stay are far from normal in logits.
    scales = {name: {"scale": "halfnormal(1)"} for name in ("p_stay_win", "p_shift_loss")}
    found = fitrl.fit("wsls", trials, pooling="none", priors=scales, quick=True, random_seed=1)
    posterior = found.idata["posterior"].to_dataset()
    assert set(posterior) == {"p_stay_win", "p_shift_loss"}
    prior = separate_prior(found.plan.parameters["p_stay_win"])
    for i, (_, rows) in enumerate(trials.frame.groupby("subject", sort=False)):
        won, stayed = rows["outcome"].to_numpy()[:-1] > 0.5, np.diff(rows["choice"].to_numpy()) == 0
        mean, sd = on_grid(binomial((won & stayed).sum(), won.sum()), *prior)
        ours = posterior["p_stay_win"].isel(subject=i).to_numpy()
        assert ours.mean() == pytest.approx(mean, abs=0.5 * sd)  # normal in logits: near, not equal
        assert ours.std() == pytest.approx(sd, rel=0.3)


def test_wsls_recovers_who_stays(trials):
    found = fitrl.fit("wsls", trials, quick=True, random_seed=1)
    posterior = found.idata["posterior"].to_dataset().mean(("chain", "draw"))
    assert np.corrcoef(posterior["p_stay_win"], np.linspace(0.4, 0.95, 6))[0, 1] > 0.8
    assert np.corrcoef(posterior["p_shift_loss"], np.linspace(0.9, 0.3, 6))[0, 1] > 0.8


def test_a_fixed_parameter_is_held(trials):
    """The rest is what it would be if the model had no such parameter."""
    found = fitrl.fit("wsls", trials, fixed={"p_shift_loss": 0.7}, pooling="complete", quick=True, random_seed=1)
    assert set(found.idata["posterior"].data_vars) == {"p_stay_win_mu", "p_stay_win"}
    assert found.spec.fixed == {"p_shift_loss": 0.7}
    first = trials.frame["reset"].to_numpy()
    p = fitrl.latents(found, draws=1)["p_choice_mean"].to_numpy()
    lost = np.roll(trials.frame["outcome"].to_numpy() < 0.5, 1) & ~first
    shifted = np.roll(trials.frame["choice"].to_numpy(), 1) != trials.frame["choice"].to_numpy()
    np.testing.assert_allclose(p[lost & shifted], 0.7)
    np.testing.assert_allclose(p[lost & ~shifted], 0.3)


def test_a_model_without_that_parameter_says_so(trials):
    with pytest.raises(fitrl.ModelError, match="alpha"):
        fitrl.fit("wsls", trials, fixed={"alpha": 0.5})
    assert list(declare("wsls").parameters()) == ["p_stay_win", "p_shift_loss"]
