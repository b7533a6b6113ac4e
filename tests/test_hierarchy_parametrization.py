"""Partial non-centring: the posterior stays, only how it is sampled changes."""

import numpy as np
import pymc as pm
import pytest
from scipy.special import expit, logit

import fitrl
import fitrl.models
from fitrl.fitting import pilot as room
from fitrl.fitting.compiled import compile_model
from fitrl.fitting.pilot import look
from fitrl.fitting.population import Population, find_subjects
from fitrl.hierarchy.build import build_model
from fitrl.hierarchy.parametrization import Information, inform, subject_values
from fitrl.hierarchy.plan import make_plan

RNG = np.random.default_rng(2)
N = 6


def simple(precision, weighted):
    """A population of six, told what choices say."""
    with pm.Model(coords={"subject": range(N)}) as model:
        mu, sigma = pm.Normal("a_mu", 0.0, 2.0), pm.HalfNormal("a_sigma", 1.0)
        pm.Deterministic("eta", subject_values("a", mu, sigma))
    inform(model, {"a": Information(precision, weighted)})
    return model


def value_of(model, name, point):
    names = [v.name for v in model.unobserved_value_vars]
    return model.compile_fn(model.unobserved_value_vars)(point)[names.index(name)]


@pytest.mark.parametrize("precision", [np.zeros(N), np.full(N, 1e4), RNG.gamma(1.0, 3.0, N)])
def test_density_is_that_of_a_normal_whatever_is_told(precision):
    mu, sigma, eta = -0.4, 0.7, RNG.normal(-0.4, 0.7, N)
    weighted = precision * RNG.normal(size=N)
    model = simple(precision, weighted)
    # By hand: the distance from the conditional mean in conditional standard deviations.
    sd = (precision + 1 / sigma**2) ** -0.5
    offset = (eta - sd**2 * (weighted + mu / sigma**2)) / sd
    point = {"a_mu": np.array(mu), "a_sigma_log__": np.array(np.log(sigma)), "a_offset": offset}
    np.testing.assert_allclose(value_of(model, "eta", point), eta, rtol=1e-10, atol=1e-10)
    density = model.compile_logp(vars=[model["a_offset"]], sum=False)(point)[0]
    expected = -0.5 * np.log(2 * np.pi) - np.log(sigma) - 0.5 * ((eta - mu) / sigma) ** 2 + np.log(sd)
    np.testing.assert_allclose(density, expected, rtol=1e-9)


def test_uninformed_is_non_centred():
    model = simple(np.zeros(N), np.zeros(N))
    point = {"a_mu": np.array(0.3), "a_sigma_log__": np.array(np.log(2.0)), "a_offset": np.arange(N) / 2.0}
    np.testing.assert_allclose(value_of(model, "eta", point), 0.3 + np.arange(N))


def test_prior_draws_do_not_depend_on_what_is_told():
    told = simple(np.full(N, 50.0), np.full(N, 100.0))
    drawn = pm.sample_prior_predictive(4000, model=told, var_names=["a_mu", "a_sigma", "eta"], random_seed=1)["prior"]
    z = (drawn["eta"] - drawn["a_mu"]) / drawn["a_sigma"]
    assert float(z.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(z.std()) == pytest.approx(1.0, abs=0.03)


@pytest.fixture(scope="module")
def played():
    agents = fitrl.simulate("q_learning", subjects=40, trials=150, random_seed=3)
    return make_plan(fitrl.models.find("q_learning"), agents.trials), agents


def test_the_look_finds_populations_and_subjects(played):
    plan, agents = played
    pilot = look(plan, agents.trials)
    information, start = pilot.information, pilot.population
    truth = agents.truth.pivot(index="subject", columns="parameter", values="value").loc[agents.trials.subjects]
    for name, link in (("alpha", logit), ("beta", np.log)):
        eta = link(truth[name].to_numpy())
        assert start[f"{name}_mu"] == pytest.approx(eta.mean(), abs=0.5)
        assert start[f"{name}_sigma"] == pytest.approx(eta.std(), rel=0.5)
        found = information[name]
        informed = found.precision > 0.5
        assert informed.mean() > 0.7
        mean = found.weighted[informed] / found.precision[informed]
        assert np.corrcoef(mean, eta[informed])[0, 1] > 0.7
        # Calibrated within reason: errors in units of their standard deviation.
        error = (mean - eta[informed]) * np.sqrt(found.precision[informed])
        assert 0.5 < np.sqrt((error**2).mean()) < 2.0


def test_what_is_told_does_not_change_the_compiled_code(played):
    plan, agents = played
    model = build_model(plan, agents.trials)
    compile_model(model)
    inform(model, look(plan, agents.trials).information)
    again = compile_model(model)
    assert again.compiled_logp_func.cache_hits == 1


def test_posterior_is_the_same_and_cheaper_to_sample(played):
    plan, agents = played
    run = {"draws": 500, "tune": 500, "chains": 2, "random_seed": 4, "progressbar": False, "target_accept": 0.9}
    told = fitrl.fit("q_learning", agents.trials, **run)
    with build_model(plan, agents.trials):
        plain = pm.sample(compute_convergence_checks=False, **{**run, "draws": 2000})
    for name in ("alpha_mu", "alpha_sigma", "beta_mu", "beta_sigma"):
        a, b = told.idata["posterior"][name], plain["posterior"][name]
        row = told.group.query(f"parameter == '{name.split('_')[0]}'").set_index("quantity")
        error = np.hypot(row.loc["location" if name.endswith("mu") else "scale", "mcse_mean"], float(b.std()) / 10)
        assert abs(float(a.mean()) - float(b.mean())) < 4 * error
        assert float(a.std()) == pytest.approx(float(b.std()), rel=0.25)
    assert told.group["ess_bulk"].min() > 400


def test_chains_start_apart(played):
    plan, agents = played
    model = build_model(plan, agents.trials)
    found = look(plan, agents.trials)
    inform(model, found.information)
    point = compile_model(model, initial_points=found.population, starts=found.start).initial_point_func
    apart = np.abs(point(1) - point(2))
    assert np.median(apart) > 0.5  # in units of about one posterior standard deviation for subjects
    np.testing.assert_array_equal(point(1), point(1))


def test_a_likelihood_without_numbers_leaves_sampling_uninformed(played, monkeypatch):
    plan, agents = played
    n = agents.trials.n_subjects
    monkeypatch.setattr(room, "subject_likelihood", lambda *_: lambda eta: (np.full(n, np.nan), eta))
    found = look(plan, agents.trials)
    assert (found.information, found.population, found.start(1)) == ({}, {}, {})


def test_subjects_alone_are_informed_too(played):
    _, agents = played
    plan = make_plan(fitrl.models.find("q_learning"), agents.trials, pooling="none")
    pilot = look(plan, agents.trials)
    information = pilot.information
    assert pilot.population == {}
    mean = information["alpha"].weighted / np.maximum(information["alpha"].precision, 1e-9)
    truth = agents.truth.query("parameter == 'alpha'").set_index("subject")["value"].loc[agents.trials.subjects]
    informed = information["alpha"].precision > 0.5
    assert np.corrcoef(expit(mean[informed]), truth[informed])[0, 1] > 0.6


def test_the_mode_that_weighs_more_is_found_and_chains_start_by_weight(played, monkeypatch):
    plan, agents = played
    n = agents.trials.n_subjects

    def two_bumps(eta):
        """Alpha of every subject is near -3, the higher bump, or near 1.5, the nearer one."""
        heights = np.array([np.log(3.0), 0.0])[:, None]
        away = eta[0] - np.array([-3.0, 1.5])[:, None]
        parts = heights - 0.5 * (away / 0.3) ** 2
        top = parts.max(axis=0)
        share = np.exp(parts - top) / np.exp(parts - top).sum(axis=0)
        slope = -(share * away / 0.3**2).sum(axis=0)
        other = eta[1] - 1.0
        value = top + np.log(np.exp(parts - top).sum(axis=0)) - 0.5 * (other / 0.2) ** 2
        return value, np.stack([slope, -other / 0.2**2])

    monkeypatch.setattr(room, "subject_likelihood", lambda *_: two_bumps)
    monkeypatch.setattr(room, "find_population", lambda *_, **__: Population(
        np.array([1.0, 1.0]), np.array([2.0, 0.5]), np.eye(2), np.eye(2),
        find_subjects(two_bumps, np.full((2, n), 1.0), np.array([1.0, 1.0]), np.array([2.0, 0.5])), 1, True,
    ))  # fmt: skip
    found = look(plan, agents.trials)
    information = found.information["alpha"]
    # By hand: heights 3 to 1, prior Normal(1, 2) at -3 and 1.5; equal widths.
    odds = 3.0 * np.exp(-0.5 * ((-3.0 - 1.0) / 2) ** 2) / np.exp(-0.5 * ((1.5 - 1.0) / 2) ** 2)
    best = -3.0 if odds > 1 else 1.5
    np.testing.assert_allclose(information.weighted / information.precision, best, atol=0.05)
    np.testing.assert_allclose(found.weight, min(odds, 1 / odds) / (1 + min(odds, 1 / odds)), rtol=0.15)
    starts = np.array([found.start(seed)["alpha_offset"] for seed in range(300)])
    elsewhere = np.abs(starts) > 7
    assert elsewhere.mean() == pytest.approx(found.weight.mean(), rel=0.1)


def test_a_subject_without_choices_is_left_to_the_population():
    frame = fitrl.simulate("q_learning", subjects=8, trials=60, random_seed=3).frame
    frame["choice"] = frame["choice"].astype(object).where(frame["subject"] != frame["subject"].iloc[0], None)
    frame["outcome"] = frame["outcome"].where(frame["subject"] != frame["subject"].iloc[0])
    trials = fitrl.read_trials(frame, "q_learning")
    found = look(make_plan(fitrl.models.find("q_learning"), trials), trials)
    assert found.information["alpha"].precision[0] == pytest.approx(0.0, abs=1e-8)
    assert found.weight[0] == pytest.approx(0.0, abs=1e-8)
