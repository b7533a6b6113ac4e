"""The quick fit, against closed forms, brute force and known agents (never against itself)."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import halfnorm, norm

import fitrl.models
from fitrl.data import read_trials
from fitrl.errors import FitError
from fitrl.fitting import laplace as room
from fitrl.fitting.fit import fit
from fitrl.fitting.laplace import laplace, subject_likelihood
from fitrl.fitting.population import best_scale, find_population, find_subjects
from fitrl.hierarchy.build import separate_prior
from fitrl.hierarchy.plan import make_plan
from fitrl.language.parameters import Prior

# Agents of our own, so that neither the engine nor the simulator of fitrl is its own judge -------------


def played(n_subjects, n_trials, *, seed, location=(-0.5, 1.3), scale=(0.9, 0.4)):
    """Q-learners in a reversing bandit; gives rows and values on the link scale, (parameter, subject)."""
    rng = np.random.default_rng(seed)
    eta = np.array(location)[:, None] + np.array(scale)[:, None] * rng.normal(size=(2, n_subjects))
    alpha, beta = expit(eta[0]), np.exp(eta[1])
    q, subject = np.full((2, n_subjects), 0.5), np.arange(n_subjects)
    choices, outcomes = [], []
    for trial in range(n_trials):
        choice = (rng.random(n_subjects) < expit(beta * (q[1] - q[0]))).astype(int)
        outcome = (rng.random(n_subjects) < np.where(choice == trial // 20 % 2, 0.8, 0.2)).astype(float)
        q[choice, subject] += alpha * (outcome - q[choice, subject])
        choices.append(choice)
        outcomes.append(outcome)
    rows = {
        "subject": np.repeat([f"s{i:02d}" for i in range(n_subjects)], n_trials),
        "trial": np.tile(np.arange(1, n_trials + 1), n_subjects),
        "choice": np.array(choices).T.ravel(),
        "outcome": np.array(outcomes).T.ravel(),
    }
    return pd.DataFrame(rows), eta


def by_hand(alpha, beta, choices, outcomes):
    """Log-likelihood of one Q-learner for arrays of parameter values."""
    q, total = np.full((2, *np.shape(alpha)), 0.5), 0.0
    for choice, outcome in zip(choices, outcomes, strict=True):
        total = total + log_expit(beta * (q[choice] - q[1 - choice]))
        q[choice] += alpha * (outcome - q[choice])
    return total


def planned(frame, **declaration):
    trials = read_trials(frame, "q_learning")
    return make_plan(fitrl.models.find("q_learning"), trials, **declaration), trials


@pytest.fixture(scope="module")
def group():
    frame, eta = played(30, 150, seed=11)
    plan, trials = planned(frame)
    return plan, trials, eta, laplace(plan, trials, random_seed=5)[0]["posterior"].to_dataset()


# Subjects ----------------------------------------------------------------------------------------------


def measured(y, precision):
    """Log-likelihood of noisy measurements: subject i, shape (P,) and (P, P)."""

    def likelihood(eta):
        away = (y - eta).T
        pulled = np.einsum("ijk,ik->ij", precision, away)
        return -0.5 * (away * pulled).sum(axis=1), pulled.T

    return likelihood


def test_subjects_of_a_normal_likelihood_are_exact():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(7, 2, 2))
    precision, y = root @ np.swapaxes(root, 1, 2), rng.normal(size=(2, 7))
    location, scale = np.array([0.5, -1.0]), np.array([0.7, 2.0])
    found = find_subjects(measured(y, precision), np.zeros((2, 7)), location, scale)
    for i in range(7):
        covariance = np.linalg.inv(precision[i] + np.diag(scale**-2))
        mode = covariance @ (precision[i] @ y[:, i] + location / scale**2)
        assert found.mode[:, i] == pytest.approx(mode, abs=1e-3)
        assert scale[:, None] * found.shape[i] * scale == pytest.approx(covariance, rel=1e-5, abs=1e-7)
    assert found.n_unsettled == 0


@pytest.mark.parametrize("curvature", [0.0, 0.5])
def test_a_likelihood_without_a_peak_leaves_the_prior(curvature):
    def likelihood(eta):
        return 0.5 * curvature * (eta[0] - 1) ** 2, curvature * (eta - 1)

    found = find_subjects(likelihood, np.full((1, 2), 1.7), np.array([1.0]), np.array([0.5]))
    assert found.mode == pytest.approx(np.ones((1, 2)), abs=2e-3)
    assert found.shape == pytest.approx(np.ones((2, 1, 1)))


def test_steps_into_nowhere_are_taken_back():
    def likelihood(eta):  # a Poisson count of 1 with a rate that must be positive
        with np.errstate(invalid="ignore", divide="ignore"):
            return (10 * np.log(eta) - 10 * eta)[0], 10 / eta - 10

    found = find_subjects(likelihood, np.full((1, 1), 8.0), np.array([0.0]), np.array([100.0]))
    assert found.mode[0, 0] == pytest.approx(1.0, abs=1e-3)


# Population --------------------------------------------------------------------------------------------


def test_population_of_normal_measurements_is_the_most_probable_one():
    rng = np.random.default_rng(2)
    n, prior = 40, Prior("halfnormal", (0.8,))
    variance = rng.uniform(0.05, 1.0, n)
    y = rng.normal(1.0, np.sqrt(0.6**2 + variance))
    found = find_population(
        measured(y[None], (1 / variance)[:, None, None]), n, np.array([0.0]), np.array([1.5]), [prior], np.array([2.0])
    )

    def negative(x):  # subjects integrated out; the density of the log of the scale
        observed = norm.logpdf(y, x[0], np.sqrt(np.exp(2 * x[1]) + variance)).sum()
        return -observed - norm.logpdf(x[0], 0, 1.5) - halfnorm.logpdf(np.exp(x[1]), scale=0.8) - x[1]

    best = minimize(negative, [0.0, 0.0], method="BFGS")
    assert found.location[0] == pytest.approx(best.x[0], abs=5e-3)
    assert np.log(found.scale[0]) == pytest.approx(best.x[1], abs=2e-2)
    assert np.sqrt(found.location_covariance[0, 0]) == pytest.approx(np.sqrt(best.hess_inv[0, 0]), rel=0.05)
    # The information is the expected one, as usual for scales: it differs from the observed one by chance.
    assert np.sqrt(found.log_scale_covariance[0, 0]) == pytest.approx(np.sqrt(best.hess_inv[1, 1]), rel=0.25)


def test_long_records_give_the_textbook_errors():
    n = 50
    y = np.random.default_rng(3).normal(0.0, 0.7, (1, n))
    found = find_population(
        measured(y, np.full((n, 1, 1), 1e6)), n, np.zeros(1), np.full(1, 1e3), [Prior("halfcauchy", (1e3,))], np.ones(1)
    )
    assert found.scale[0] == pytest.approx(y.std(ddof=1), rel=1e-3)
    assert found.location_covariance[0, 0] == pytest.approx(found.scale[0] ** 2 / n, rel=1e-3)
    assert found.log_scale_covariance[0, 0] == pytest.approx(1 / (2 * n), rel=1e-3)


def test_three_alike_subjects_do_not_collapse():
    found = find_population(
        measured(np.zeros((1, 3)), np.full((3, 1, 1), 4.0)),
        3,
        np.zeros(1),
        np.ones(1),
        [Prior("halfnormal", (1.0,))],
        np.ones(1),
    )
    assert 0.05 < found.scale[0] < 1.0


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (Prior("uniform", (0.0, 10.0)), 2.0),  # squares / (n - 1)
        (Prior("uniform", (0.0, 1.5)), 1.5),
        (Prior("uniform", (3.0, 9.0)), 3.0),
        (Prior("exponential", (1e-9,)), 2.0),
        (Prior("halfcauchy", (1e9,)), 2.0),
    ],
)
def test_scale_with_a_flat_prior_is_the_sample_sd(prior, expected):
    assert best_scale(40.0, 11, prior) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "prior", [Prior("halfnormal", (0.5,)), Prior("exponential", (3.0,)), Prior("halfcauchy", (0.3,))]
)
def test_scale_is_the_maximum_in_its_logarithm(prior):
    density = {
        "halfnormal": lambda s: -0.5 * (s / 0.5) ** 2,
        "exponential": lambda s: -3.0 * s,
        "halfcauchy": lambda s: -np.log1p((s / 0.3) ** 2),
    }[prior.family]
    s = np.exp(np.linspace(-4, 4, 200_001))
    objective = -6 * np.log(s) - 5.0 / (2 * s**2) + density(s) + np.log(s)
    assert best_scale(5.0, 6, prior) == pytest.approx(s[objective.argmax()], rel=1e-3)


# The likelihood ----------------------------------------------------------------------------------------


def test_every_subject_has_its_own_likelihood_and_gradient():
    frame, eta = played(4, 40, seed=3)
    plan, trials = planned(frame)
    likelihood = subject_likelihood(plan, trials)
    value, gradient = likelihood(eta)
    for i, (_, rows) in enumerate(frame.groupby("subject")):
        hand = by_hand(expit(eta[0, i]), np.exp(eta[1, i]), rows["choice"], rows["outcome"].to_numpy())
        assert value[i] == pytest.approx(hand, rel=1e-10)
    for j in range(2):
        shift = np.eye(2)[j][:, None] * 1e-5
        numeric = (likelihood(eta + shift)[0] - likelihood(eta - shift)[0]) / 2e-5
        assert gradient[j] == pytest.approx(numeric, abs=1e-6)


# Whole fits --------------------------------------------------------------------------------------------


def test_separate_subjects_against_a_grid():
    frame, _ = played(2, 400, seed=8, scale=(0.3, 0.2))
    plan, trials = planned(frame, pooling="none")
    posterior = laplace(plan, trials, draws=4000, random_seed=1)[0]["posterior"]
    assert set(posterior.data_vars) == {"alpha", "beta"}
    a, b = np.meshgrid(np.linspace(-4, 4, 161), np.linspace(-2, 4, 151), indexing="ij")
    priors = [separate_prior(p) for p in plan.estimated.values()]
    for subject, rows in frame.groupby("subject"):
        score = by_hand(expit(a), np.exp(b), rows["choice"], rows["outcome"].to_numpy())
        score = score + norm.logpdf(a, *priors[0]) + norm.logpdf(b, *priors[1])
        weight = np.exp(score - score.max())
        weight /= weight.sum()
        for name, grid, link in (("alpha", a, logit), ("beta", b, np.log)):
            mean = (weight * grid).sum()
            sd = np.sqrt((weight * (grid - mean) ** 2).sum())
            draws = link(posterior[name].sel(subject=subject).to_numpy())
            assert draws.mean() == pytest.approx(mean, abs=0.25 * sd)
            assert draws.std() == pytest.approx(sd, rel=0.15)


def test_population_is_recovered(group):
    _, _, eta, posterior = group
    for name, values in zip(("alpha", "beta"), eta, strict=True):
        location, scale = posterior[f"{name}_mu"], posterior[f"{name}_sigma"]
        assert abs(float(location.mean()) - values.mean()) < 2.5 * float(location.std())
        assert 0.6 * values.std() < float(scale.median()) < 1.5 * values.std()
        assert float(location.std()) > 0.8 * values.std() / np.sqrt(30)
        found = posterior[name].median(("chain", "draw"))
        assert np.corrcoef(values, logit(found) if name == "alpha" else np.log(found))[0, 1] > 0.75


def test_variables_are_those_of_a_sampled_fit(group):
    _, trials, _, posterior = group
    assert set(posterior.data_vars) == {f"{p}{part}" for p in ("alpha", "beta") for part in ("", "_mu", "_sigma")}
    assert posterior["alpha"].dims == ("chain", "draw", "subject")
    assert posterior["alpha_mu"].dims == posterior["alpha_sigma"].dims == ("chain", "draw")
    assert list(posterior["subject"].values) == trials.subjects
    assert posterior.sizes["chain"] == 1


def test_same_seed_same_draws(group):
    _, trials, _, posterior = group
    plan = make_plan(fitrl.models.find("q_learning"), trials)
    again = laplace(plan, trials, random_seed=5)[0]["posterior"].to_dataset()
    assert again.identical(posterior)
    other = laplace(plan, trials, random_seed=6)[0]["posterior"].to_dataset()
    assert not np.allclose(other["alpha"], posterior["alpha"])


def test_a_subject_without_responses_has_the_population():
    frame, _ = played(12, 80, seed=4)
    frame["choice"] = frame["choice"].astype(object).where(frame["subject"] != "s05", None)
    frame["outcome"] = frame["outcome"].where(frame["subject"] != "s05")
    plan, trials = planned(frame)
    assert not trials.frame.loc[trials.frame["subject"] == "s05", "mask_choice"].any()
    posterior = laplace(plan, trials, draws=4000, random_seed=1)[0]["posterior"]
    silent = np.log(posterior["beta"].sel(subject="s05").to_numpy().ravel())
    mu = posterior["beta_mu"].to_numpy().ravel()
    spread = float(posterior["beta_sigma"].median())
    assert silent.mean() == pytest.approx(mu.mean(), abs=0.05)
    assert (silent - mu).std() == pytest.approx(spread, rel=0.1)


def test_complete_pooling_is_one_normal_for_all():
    frame, _ = played(6, 100, seed=9, scale=(0.0, 0.0))
    plan, trials = planned(frame, pooling="complete")
    posterior = laplace(plan, trials, draws=4000, random_seed=1)[0]["posterior"]
    assert set(posterior.data_vars) == {"alpha", "alpha_mu", "beta", "beta_mu"}
    assert (posterior["beta"] == np.exp(posterior["beta_mu"])).all()
    rows = [group for _, group in frame.groupby("subject")]
    a, b = np.meshgrid(np.linspace(-2, 1, 81), np.linspace(0.5, 2.5, 81), indexing="ij")
    score = sum(by_hand(expit(a), np.exp(b), r["choice"], r["outcome"].to_numpy()) for r in rows)
    prior_a, prior_b = (p.location.args for p in plan.estimated.values())
    score = score + norm.logpdf(a, *prior_a) + norm.logpdf(b, *prior_b)
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    mean = (weight * a).sum()
    sd = np.sqrt((weight * (a - mean) ** 2).sum())
    assert float(posterior["alpha_mu"].mean()) == pytest.approx(mean, abs=0.25 * sd)
    assert float(posterior["alpha_mu"].std()) == pytest.approx(sd, rel=0.15)


def test_fixed_parameters_stay_where_they_are():
    frame, _ = played(6, 60, seed=10)
    result = fit("q_learning", frame, fixed={"beta": 3.0}, quick=True, random_seed=1)
    assert result.verdict.status == "quick"
    posterior = result.idata["posterior"]
    assert set(posterior.data_vars) == {"alpha", "alpha_mu", "alpha_sigma"}
    rows = frame[frame["subject"] == "s00"]
    value, _ = subject_likelihood(result.plan, result.trials)(np.full((1, 6), -0.5))
    assert value[0] == pytest.approx(by_hand(expit(-0.5), 3.0, rows["choice"], rows["outcome"].to_numpy()), rel=1e-10)


def test_priors_other_than_normal_are_accepted():
    frame, _ = played(6, 60, seed=10)
    priors = {
        "alpha": {"location": "uniform(-3, 3)", "scale": "exponential(2)"},
        "beta": {"scale": "uniform(0, 0.2)"},
    }
    plan, trials = planned(frame, priors=priors)
    posterior = laplace(plan, trials, random_seed=1)[0]["posterior"]
    assert -3 < float(posterior["alpha_mu"].median()) < 3
    assert float(posterior["beta_sigma"].median()) < 0.25


# Errors ------------------------------------------------------------------------------------------------


def test_nothing_to_fit_is_refused():
    plan, trials = planned(played(2, 20, seed=1)[0], fixed={"alpha": 0.3, "beta": 2.0})
    with pytest.raises(FitError, match="nothing to fit"):
        laplace(plan, trials)


def test_a_likelihood_that_is_not_finite_is_refused(monkeypatch):
    plan, trials = planned(played(2, 20, seed=1)[0])
    monkeypatch.setattr(room, "subject_likelihood", lambda *_: lambda eta: (np.full(2, np.nan), eta))
    with pytest.raises(FitError, match="not finite"):
        laplace(plan, trials)


def test_a_mode_that_is_not_found_is_said_aloud(monkeypatch, caplog):
    # A gradient that contradicts its values: no step is ever better.
    plan, trials = planned(played(2, 20, seed=1)[0], pooling="none")
    monkeypatch.setattr(
        room, "subject_likelihood", lambda *_: lambda eta: (-1e3 * eta.sum(axis=0), np.full_like(eta, 1e3))
    )
    with caplog.at_level(logging.WARNING, "fitrl"):
        laplace(plan, trials, random_seed=1)
    assert "did not find the mode of 2 subject(s)" in caplog.text


def test_a_search_that_runs_away_says_what_to_do():
    made = fitrl.simulate("q_learning", subjects=70, trials=8, random_seed=1)
    with np.errstate(over="ignore"), pytest.raises(FitError, match=r"the quick fit ran away.*Sample \(without quick\)"):
        fitrl.fit("q_learning", made.trials, quick=True, random_seed=1)


def test_complete_pooling_with_a_formula_has_no_spread_to_draw():
    made = fitrl.simulate("q_learning", subjects=6, trials=40, random_seed=1)
    frame = made.frame.assign(group=np.where(made.frame["subject"].astype(int) > 3, "a", "b"))
    formulas = {"alpha": "group", "beta": "group"}
    fit = fitrl.fit("q_learning", frame, pooling="complete", formulas=formulas, quick=True, random_seed=1)
    assert np.isfinite(fitrl.effects(fit)["post_sd"]).all()
