"""Effects from data to answer: the quick fit, NUTS, tables and contrasts by hand, storage, the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy.special import expit
from scipy.stats import binom, norm
from typer.testing import CliRunner

import fitrl
import fitrl.models
from fitrl.cli.app import app
from fitrl.data import read_trials
from fitrl.errors import DataError, FitError
from fitrl.fitting.effects import _between_sd, cells, contrast, effects
from fitrl.fitting.laplace import laplace
from fitrl.fitting.mixed import System, draw_around, find_mode
from fitrl.fitting.pilot import look
from fitrl.fitting.predict import latents, predict
from fitrl.hierarchy.plan import make_plan
from fitrl.language.parameters import Prior

# Agents of our own, so that neither the engine nor the simulator of fitrl is its own judge ------------------


def played(alpha, beta, n_trials, rng):
    """Choices and outcomes of Q-learners in a reversing bandit, shape (trial, agent)."""
    n = len(alpha)
    q, agent = np.full((2, n), 0.5), np.arange(n)
    choices, outcomes = [], []
    for trial in range(n_trials):
        choice = (rng.random(n) < expit(beta * (q[1] - q[0]))).astype(int)
        outcome = (rng.random(n) < np.where(choice == trial // 20 % 2, 0.8, 0.2)).astype(float)
        q[choice, agent] += alpha * (outcome - q[choice, agent])
        choices.append(choice)
        outcomes.append(outcome)
    return np.array(choices), np.array(outcomes)


def study(n_subjects, n_trials, *, seed, of_drug=0.0, of_group=0.0, slope=0.0):
    """Two sessions with drug and placebo, order balanced; two groups. Effects on the logit of the learning rate."""
    rng = np.random.default_rng(seed)
    who = np.arange(n_subjects)
    group = np.where(who % 2, 0.5, -0.5)
    own, v = -0.4 + 0.6 * rng.normal(size=n_subjects), slope * rng.normal(size=n_subjects)
    beta = np.exp(1.3 + 0.3 * rng.normal(size=n_subjects))
    parts = []
    for session in (1, 2):
        drug = np.where((who // 2 + session) % 2, 0.5, -0.5)
        eta = own + of_group * group + (of_drug + v) * drug
        choices, outcomes = played(expit(eta), beta, n_trials, rng)
        parts.append(
            pd.DataFrame(
                {
                    "subject": np.repeat([f"s{i:02d}" for i in who], n_trials),
                    "session": session,
                    "trial": np.tile(np.arange(1, n_trials + 1), n_subjects),
                    "choice": choices.T.ravel(),
                    "outcome": outcomes.T.ravel(),
                    "drug": np.repeat(np.where(drug > 0, "verum", "placebo"), n_trials),
                    "group": np.repeat(np.where(group > 0, "patient", "control"), n_trials),
                    "age": np.repeat(20 + who, n_trials),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


FORMULAS = {"alpha": "drug * group + age + (drug | subject)", "beta": "0 + drug"}


@pytest.fixture(scope="module")
def data():
    return study(12, 60, seed=4, of_drug=0.8)


@pytest.fixture(scope="module")
def quick(data):
    return fitrl.fit("q_learning", data, formulas=FORMULAS, quick=True, random_seed=2)


def draws_of(fit):
    posterior = fit.idata["posterior"].to_dataset()
    return {name: posterior[name].transpose("chain", "draw", ...).to_numpy()[0] for name in posterior.data_vars}


# The mode, against a closed form --------------------------------------------------------------------------------


def test_mode_of_a_linear_mixed_model_is_the_closed_form():
    """Normal measurements of every cell: given the standard deviation everything is linear algebra."""
    rng = np.random.default_rng(0)
    n, prior_sd, noise = 200, np.array([2.0, 1.0]), 0.5
    owner = np.repeat(np.arange(n), 2)
    x = np.column_stack([np.ones(2 * n), np.tile([-0.5, 0.5], n)])
    y = x @ [0.3, 0.9] + 0.8 * rng.normal(size=n)[owner] + noise * rng.normal(size=2 * n)

    def likelihood(eta):
        away = (y - eta) / noise
        return np.bincount(owner, weights=-0.5 * away**2), away / noise

    system = System(
        x,
        np.ones((2 * n, 1)),
        owner,
        n,
        np.zeros(2),
        prior_sd,
        np.array([0]),
        [Prior("halfcauchy", (1e6,))],
        np.ones(1),
    )
    found = find_mode(likelihood, system)
    assert found.settled
    marginal = found.scale[0] ** 2 * (owner[:, None] == owner) + noise**2 * np.eye(2 * n)
    precision = x.T @ np.linalg.solve(marginal, x) + np.diag(prior_sd**-2.0)
    np.testing.assert_allclose(found.b, np.linalg.solve(precision, x.T @ np.linalg.solve(marginal, y)), rtol=1e-4)
    np.testing.assert_allclose(found.b_covariance, np.linalg.inv(precision), rtol=1e-3, atol=1e-9)
    # The variance of the means of subjects is that of the population and half that of the noise.
    means = y.reshape(n, 2).mean(axis=1)
    assert found.scale[0] ** 2 == pytest.approx(means.var(ddof=1) - noise**2 / 2, rel=0.02)


def test_draws_know_that_the_spread_is_uncertain():
    """One normal measurement of each of few subjects: given a spread, the mean is that of a normal sample."""
    rng = np.random.default_rng(1)
    n, noise, prior_sd = 8, 0.4, 3.0
    y = 0.5 + rng.normal(size=n) + noise * rng.normal(size=n)

    def likelihood(eta):
        away = (y - eta) / noise
        return -0.5 * away**2, away / noise

    ones = np.ones((n, 1))
    priors = (np.zeros(1), np.array([prior_sd]))
    system = System(ones, ones, np.arange(n), n, *priors, np.array([0]), [Prior("halfnormal", (2.0,))], np.ones(1))
    found = find_mode(likelihood, system)
    b, w, scale = draw_around(system, found, 20_000, np.random.default_rng(2))
    assert np.log(scale[:, 0]).std() == pytest.approx(np.sqrt(found.log_scale_covariance[0, 0]), rel=0.3)
    assert b[:, 0].var() > 1.03 * found.b_covariance[0, 0]
    for one in np.unique(scale)[[0, 25, 49]]:
        at = scale[:, 0] == one
        precision = n / (one**2 + noise**2) + prior_sd**-2
        mean = y.sum() / (one**2 + noise**2) / precision
        assert at.sum() == 400
        assert b[at, 0].mean() == pytest.approx(mean, abs=4 / np.sqrt(400 * precision))
        assert b[at, 0].var() == pytest.approx(1 / precision, rel=0.25)
        own = (w[at, 0, 0] + b[at, 0]).mean()  # between the measurement and the mean of all
        weight = one**2 / (one**2 + noise**2)
        assert own == pytest.approx(weight * y[0] + (1 - weight) * mean, abs=0.1)


def test_the_first_look_knows_effects_and_slopes():
    n = 40
    frame = study(n, 200, seed=8, of_drug=0.8, slope=1.2)
    rng = np.random.default_rng(8)  # as in `study`
    own, slope = -0.4 + 0.6 * rng.normal(size=n), 1.2 * rng.normal(size=n)
    trials = read_trials(frame)
    plan = make_plan(fitrl.models.find("q_learning"), trials, formulas={"alpha": "drug + (drug | subject)"})
    found = look(plan, trials)
    assert set(found.population) == {
        "alpha_mu",
        "alpha_effect",
        "alpha_sigma",
        "alpha_slope_sigma",
        "beta_mu",
        "beta_sigma",
    }
    assert found.population["alpha_effect"][0] == pytest.approx(0.8 + slope.mean(), abs=0.4)
    assert found.population["alpha_slope_sigma"][0] == pytest.approx(1.2, rel=0.4)
    for name, truth in (("alpha", own), ("alpha_slope_1", slope)):
        information = found.information[name]
        mean = information.weighted / np.maximum(information.precision, 1e-9)
        informed = information.precision > 0.5
        assert informed.mean() > 0.6
        assert np.corrcoef(mean[informed], truth[informed])[0, 1] > 0.7
        error = ((mean - truth) * np.sqrt(information.precision))[informed]
        assert 0.5 < np.sqrt((error**2).mean()) < 2.0
    starts = found.start(3)
    assert {k: v.shape for k, v in starts.items()} == {
        "alpha_offset": (n,), "alpha_slope_1_offset": (n,), "beta_offset": (n,)
    }  # fmt: skip


@pytest.mark.study
def test_posterior_with_slopes_is_the_same_whatever_the_look_said():
    trials = read_trials(study(16, 80, seed=9, of_drug=0.8, slope=0.8))
    formulas = {"alpha": "drug + (drug | subject)"}
    told = fitrl.fit("q_learning", trials, formulas=formulas, random_seed=1, progressbar=False, chains=2)
    with fitrl.build("q_learning", trials, formulas=formulas):
        plain = pm.sample(
            2000, chains=2, target_accept=0.95, random_seed=2, progressbar=False, compute_convergence_checks=False
        )
    for name in ("alpha_mu", "alpha_effect", "alpha_sigma", "alpha_slope_sigma", "beta_mu", "beta_sigma"):
        a, b = (found["posterior"][name].values.ravel() for found in (told.idata, plain))
        assert abs(a.mean() - b.mean()) < 0.2 * b.std(), name
        assert a.std() == pytest.approx(b.std(), rel=0.2), name


def test_mixed_and_plain_quick_fits_agree_without_effects(data):
    from fitrl.fitting.laplace import _with_effects

    trials = read_trials(data, "q_learning")
    plan = make_plan(fitrl.models.find("q_learning"), trials)
    plain = laplace(plan, trials, random_seed=1)[0]["posterior"].to_dataset()
    mixed = _with_effects(plan, trials, 1000, 1)[0]["posterior"].to_dataset()
    for name in ("alpha_mu", "beta_mu", "alpha_sigma", "beta_sigma"):
        sd = float(plain[name].std())
        assert float(mixed[name].mean()) == pytest.approx(float(plain[name].mean()), abs=0.35 * sd)
        assert float(mixed[name].std()) == pytest.approx(sd, rel=0.25)
    np.testing.assert_allclose(
        mixed["alpha"].mean(("chain", "draw")), plain["alpha"].mean(("chain", "draw")), atol=0.03
    )


# Effects are found ----------------------------------------------------------------------------------------------


def covered(n_fits, n_subjects, n_trials, truth, seed):
    """How many 95 % intervals of a group effect hold the truth, and the mean estimate."""
    hits, estimates = 0, []
    for k in range(n_fits):
        frame = study(n_subjects, n_trials, seed=seed + k, of_group=truth)
        trials = read_trials(frame, "q_learning")
        plan = make_plan(fitrl.models.find("q_learning"), trials, formulas={"alpha": "group", "beta": "group"})
        draws = laplace(plan, trials, random_seed=k)[0]["posterior"]["alpha_effect"].to_numpy().ravel()
        low, high = np.quantile(draws, [0.025, 0.975])
        hits += low <= truth <= high
        estimates.append(draws.mean())
    return hits, np.mean(estimates)


def test_quick_fits_cover_a_group_effect():
    hits, estimate = covered(20, 24, 50, 0.5, seed=100)
    assert hits >= binom.ppf(0.001, 20, 0.95)
    assert 0.2 < estimate < 0.6  # shrunken by its prior, of the right sign


@pytest.mark.study
@pytest.mark.parametrize("truth", [0.0, 0.6])
def test_coverage_of_quick_fits_is_nominal(truth):
    hits, _ = covered(200, 40, 100, truth, seed=1000)
    low, high = binom.ppf([0.005, 0.995], 200, 0.95)
    assert low <= hits <= high


def test_nuts_finds_an_effect_within_subjects():
    frame = study(16, 80, seed=8, of_drug=1.5)
    formulas = {"alpha": "drug + (drug | subject)", "beta": "drug"}
    kwargs = {"draws": 250, "tune": 300, "chains": 2, "progressbar": False, "random_seed": 3}
    found = fitrl.fit("q_learning", frame, formulas=formulas, **kwargs)
    effect = found.idata["posterior"]["alpha_effect"]
    assert effect.dims == ("chain", "draw", "alpha_term")
    assert float(effect.mean()) > 0.4
    assert float((effect > 0).mean()) > 0.95
    rough = fitrl.fit("q_learning", frame, formulas=formulas, quick=True, random_seed=1).idata["posterior"]
    assert float(effect.mean()) == pytest.approx(float(rough["alpha_effect"].mean()), abs=float(effect.std()))
    assert {c.where for c in found.verdict.checks if c.scope == "group"} >= {"alpha_effect[drug[verum - placebo]]"}
    assert np.isfinite(effects(found)["r_hat"]).all()
    assert found.subjects.query("parameter == 'alpha'").shape[0] == 32


def test_groups_that_differ_in_spread():
    """Patients differ four times as much from each other as controls do."""
    rng = np.random.default_rng(6)
    n = 60
    group = np.where(np.arange(n) % 2, 0.5, -0.5)
    eta = -1.5 + 0.5 * np.exp(1.4 * group) * rng.normal(size=n)  # sds of 0.25 and 1.0
    choices, outcomes = played(expit(eta), np.exp(1.5 + 0.2 * rng.normal(size=n)), 150, rng)
    frame = pd.DataFrame(
        {
            "subject": np.repeat(np.arange(n), 150),
            "choice": choices.T.ravel(),
            "outcome": outcomes.T.ravel(),
            "group": np.repeat(np.where(group > 0, "patient", "control"), 150),
        }
    )
    fit = fitrl.fit(
        "q_learning", frame, formulas={"alpha": "group + sd(group)"}, random_seed=1, progressbar=False, chains=2
    )
    table = effects(fit).set_index("effect")
    row = table.loc["sd(group[patient - control])"]
    assert row["prob_direction"] > 0.95
    assert 0.3 < row["post_mean"] < 2.0
    assert row["post_mean"] == pytest.approx(float(fit.idata["posterior"]["alpha_sigma_effect"].mean()))
    assert np.isnan(row["median_change_mean"])
    # The population mean of the group that differs more is further from its median.
    of_group = cells(fit).pivot(index="group", columns="quantity", values="post_mean")
    away = (of_group["pop_mean"] - of_group["pop_median"]).abs()
    assert away["patient"] > away["control"]
    posterior = fit.idata["posterior"]
    for side, level in ((-0.5, "control"), (0.5, "patient")):
        sd = posterior["alpha_sigma"] * np.exp(side * posterior["alpha_sigma_effect"][..., 0])
        np.testing.assert_allclose(_between_sd(fit, "alpha", {"group": level}), sd, rtol=1e-12)


def test_subjects_who_differ_widely_in_an_effect():
    """Far from the modes a parabola can send standard deviations to infinity; the truth is 1.5."""
    frame = study(24, 100, seed=5, slope=1.5)
    fit = fitrl.fit(
        "q_learning", frame, formulas={"alpha": "drug + (drug | subject)", "beta": "drug"}, quick=True, random_seed=1
    )
    assert 0.6 < draws_of(fit)["alpha_slope_sigma"].mean() < 2.2
    assert effects(fit)["slope_sd_mean"].notna().tolist() == [True, False]


# Answers, by hand from draws --------------------------------------------------------------------------------------


def test_effects_by_hand(quick):
    draws, table = draws_of(quick), effects(quick)
    assert list(table["effect"]) == [
        "drug[verum - placebo]",
        "group[patient - control]",
        "drug[verum - placebo]:group[patient - control]",
        "age",
        "drug[verum] - drug[placebo]",
    ]
    b, row = draws["alpha_effect"][:, 0], table.iloc[0]
    mu, sd = draws["alpha_mu"], np.sqrt(draws["alpha_sigma"] ** 2 + (draws["alpha_slope_sigma"][:, 0] / 2) ** 2)
    assert row["post_mean"] == pytest.approx(b.mean())
    assert row["prob_direction"] == pytest.approx(max((b > 0).mean(), (b < 0).mean()))
    assert row["rope_share"] == pytest.approx((np.abs(b) < 0.1 * sd).mean())
    assert row["d_mean"] == pytest.approx((b / sd).mean())
    assert row["median_change_mean"] == pytest.approx((expit(mu + b / 2) - expit(mu - b / 2)).mean())
    assert row["slope_sd_mean"] == pytest.approx(draws["alpha_slope_sigma"].mean())
    # The population mean by brute force: many subjects instead of a quadrature.
    z = norm.ppf((np.arange(2000) + 0.5) / 2000)
    means = [expit((mu + side * b / 2)[:, None] + sd[:, None] * z).mean(axis=1) for side in (1, -1)]
    assert row["mean_change_mean"] == pytest.approx((means[0] - means[1]).mean(), abs=1e-4)
    # Cell means: the difference of two locations.
    last, level = table.iloc[4], draws["beta_level"]
    assert last["post_mean"] == pytest.approx((level[:, 1] - level[:, 0]).mean())
    assert last["median_change_mean"] == pytest.approx((np.exp(level[:, 1]) - np.exp(level[:, 0])).mean())
    # An interaction: the difference of differences.
    by = {(d, g): expit(mu + d * b + g * draws["alpha_effect"][:, 1] + d * g * draws["alpha_effect"][:, 2])
          for d in (-0.5, 0.5) for g in (-0.5, 0.5)}  # fmt: skip
    hand = by[0.5, 0.5] - by[-0.5, 0.5] - by[0.5, -0.5] + by[-0.5, -0.5]
    assert table.iloc[2]["median_change_mean"] == pytest.approx(hand.mean())


def test_contrasts_by_hand(quick):
    draws = draws_of(quick)
    mu, b = draws["alpha_mu"], draws["alpha_effect"]
    found = contrast(quick, "drug: placebo - verum", "alpha").iloc[0]
    assert found["post_mean"] == pytest.approx(-b[:, 0].mean())
    among = contrast(quick, "drug: verum - placebo @ group=patient", "alpha").iloc[0]
    assert among["post_mean"] == pytest.approx((b[:, 0] + b[:, 2] / 2).mean())
    sd, mean = np.std(20 + np.arange(12), ddof=1), 25.5
    ages = contrast(quick, "age: 30 - 22").iloc[0]
    assert ages["post_mean"] == pytest.approx((8 / sd * b[:, 3]).mean())
    change = expit(mu + (30 - mean) / sd * b[:, 3]) - expit(mu + (22 - mean) / sd * b[:, 3])
    assert ages["median_change_mean"] == pytest.approx(change.mean())
    assert list(contrast(quick, "drug: verum - placebo")["parameter"]) == ["alpha", "beta"]


@pytest.mark.parametrize(
    ("what", "parameter", "error", "message"),
    [
        ("drug", None, FitError, "Write it like"),
        ("drug: verum", None, FitError, "Write it like"),
        ("drgu: verum - placebo", None, FitError, 'Did you mean "drug"'),
        ("drug: verum - placbo", None, DataError, 'Did you mean "placebo"'),
        ("age: old - young", None, DataError, "age is a number"),
        ("group: patient - control", "beta", FitError, "group does not move beta"),
        ("drug: verum - placebo", "gamma", FitError, 'no parameter "gamma"'),
        ("drug: verum - placebo @ group", None, FitError, "cannot be read"),
    ],
)
def test_contrasts_that_cannot_be_made(quick, what, parameter, error, message):
    with pytest.raises(error, match=message):
        contrast(quick, what, parameter)


def test_cells_by_hand(quick):
    draws, table = draws_of(quick), cells(quick)
    row = table.query("parameter == 'alpha' and drug == 'verum' and group == 'control' and quantity == 'pop_median'")
    b = draws["alpha_effect"]
    eta = draws["alpha_mu"] + b[:, 0] / 2 - b[:, 1] / 2 - b[:, 2] / 4
    assert float(row["post_mean"].iloc[0]) == pytest.approx(expit(eta).mean())
    assert len(table) == 2 * 4 + 2 * 2


def test_contrasts_of_derived_quantities():
    made = fitrl.simulate("two_step_split", subjects=6, trials=40, random_seed=1)
    frame = made.frame.assign(group=np.where(made.frame["subject"].astype(int) % 2, "a", "b"))
    fit = fitrl.fit("two_step_split", frame, formulas={"beta_mb": "group"}, quick=True, random_seed=1)
    draws = draws_of(fit)
    mf = draws["beta_mf_mu"]  # identity links
    mb = {g: draws["beta_mb_mu"] + s * draws["beta_mb_effect"][:, 0] for g, s in (("a", -0.5), ("b", 0.5))}
    found = contrast(fit, "group: b - a", "w_mb").iloc[0]
    hand = mb["b"] / (mb["b"] + mf) - mb["a"] / (mb["a"] + mf)
    assert found["median_change_mean"] == pytest.approx(hand.mean())
    assert np.isnan(found["post_mean"])
    assert "w_mb" in set(contrast(fit, "group: b - a")["parameter"])
    assert len(fitrl.derived(fit).query("quantity == 'w_mb'")) == 7


# What goes on with a fit of several cells ---------------------------------------------------------------------------


def test_cells_are_labelled(quick):
    alpha = quick.subjects.query("parameter == 'alpha'")
    assert list(quick.subjects.columns[:3]) == ["subject", "drug", "parameter"]
    assert len(alpha) == 24
    assert list(alpha["subject"][:2]) == ["s00", "s00"]
    assert set(alpha["drug"]) == {"placebo", "verum"}
    draws = quick.idata["posterior"]["alpha"].mean(("chain", "draw"))
    where = (draws["alpha_cell_subject"] == "s03") & (draws["alpha_cell_drug"] == "verum")
    table = alpha.query("subject == 's03' and drug == 'verum'")["post_mean"]
    assert float(table.iloc[0]) == pytest.approx(float(draws[where.to_numpy()].item()))


def test_saved_and_loaded(quick, tmp_path):
    quick.save(tmp_path)
    again = fitrl.load(tmp_path)
    assert again.spec.formulas == FORMULAS
    pd.testing.assert_frame_equal(effects(again), effects(quick))
    pd.testing.assert_frame_equal(again.subjects, quick.subjects)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "effects.csv"), effects(quick), check_dtype=False)
    assert len(pd.read_csv(tmp_path / "cells.csv")) == 12


def test_covariates_of_a_table_are_stored(data, tmp_path):
    scores = pd.DataFrame({"subject": [f"s{i:02d}" for i in range(12)], "score": np.arange(12) ** 2})
    made = fitrl.fit(
        "q_learning", data, formulas={"beta": "score"}, subjects=scores, priors={"beta": {"effects": "normal(0, 0.1)"}},
        quick=True, random_seed=1,
    )  # fmt: skip
    made.save(tmp_path)
    again = fitrl.load(tmp_path)
    assert again.plan.effects["beta"].sd("score") == 0.1
    np.testing.assert_allclose(again.plan.designs["beta"].matrix, made.plan.designs["beta"].matrix)


def test_latents_predictions_and_agents_of_several_cells(quick, data):
    assert len(latents(quick, 20)) == len(data)
    assert predict(quick, 5).one_step["choice"].shape == (5, len(data))
    made = fitrl.simulate(parameters=quick, subjects=7, trials=5, random_seed=1)
    assert len(made.truth) == 14
    assert set(made.truth["value"]) <= {v for name in ("alpha", "beta") for v in draws_of(quick)[name].ravel()}


def test_rows_find_their_cells_in_the_filter():
    """A condition that changes within the session: probabilities follow the cell of each row."""
    frame = study(4, 12, seed=1).query("session == 1").assign(volatile=lambda f: np.where(f["trial"] % 3, "no", "yes"))
    fit = fitrl.fit("q_learning", frame, formulas={"beta": "volatile"}, fixed={"alpha": 0.4}, quick=True, random_seed=1)
    values, rows = draws_of(fit)["beta"], fit.trials.frame
    low_high = {(s, v): values[:, i] for i, (s, v) in enumerate(zip(
        fit.idata["posterior"]["beta_cell_subject"].to_numpy(), fit.idata["posterior"]["beta_cell_volatile"].to_numpy(),
        strict=True))}  # fmt: skip
    expected = []
    for subject, own in rows.groupby("subject", sort=False):
        q = np.array([0.5, 0.5])
        for choice, outcome, trial in zip(own["choice"], own["outcome"], own["trial"], strict=True):
            beta = low_high[subject, "no" if trial % 3 else "yes"]
            expected.append(expit(beta * (q[choice] - q[1 - choice])).mean())
            q[choice] += 0.4 * (outcome - q[choice])
    np.testing.assert_allclose(latents(fit, 1000)["p_choice_mean"], expected, rtol=1e-9)


def test_figures_and_summary(quick):
    import matplotlib.pyplot as plt
    from rich.console import Console

    from fitrl.show.summary import render_summary

    fig, axes = fitrl.plot_effects(quick)
    assert [len(ax.get_yticks()) for ax in axes] == [4, 1]
    plt.close(fig)
    fig, _ = fitrl.plot_subjects(quick)
    plt.close(fig)
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render_summary(quick))
    console.file.close()
    assert "verum" in console.export_text()


def test_fits_without_formulas_have_no_effects(data):
    fit = fitrl.fit("q_learning", data, quick=True, random_seed=1)
    assert fit.spec.formulas == {}
    with pytest.raises(FitError, match="no formulas"):
        effects(fit)


# The command line -----------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(a) for a in arguments])


def test_command_line(data, tmp_path):
    who, file, out = tmp_path / "who.csv", tmp_path / "data.csv", tmp_path / "out"
    data.drop(columns="age").to_csv(file, index=False)
    pd.DataFrame({"subject": [f"s{i:02d}" for i in range(12)], "age": np.arange(12)}).to_csv(who, index=False)
    found = run(
        "fit", file, "-m", "q_learning", "-o", out, "--quick", "--seed", 1, "--subjects", who,
        "--formula", "alpha ~ drug + age + (drug | subject)", "--formula", "beta ~ drug",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "-1/2 = placebo, +1/2 = verum" in found.stdout
    assert {"effects.csv", "cells.csv"} <= {p.name for p in out.iterdir()}
    assert (out / "figures" / "effects.png").exists()
    found = run("contrast", out, "drug: verum - placebo", "-o", tmp_path / "c.csv")
    assert found.exit_code == 0, found.output
    assert "QUICK" in found.stdout
    assert list(pd.read_csv(tmp_path / "c.csv")["parameter"]) == ["alpha", "beta"]
    found = run("contrast", out, "drug: verum - nothing")
    assert found.exit_code == 2
    assert 'no level of drug "nothing"' in found.stderr


@pytest.mark.parametrize(
    ("formula", "message"),
    [("alpha = drug", "Write it like"), ("alpha ~ durg", 'Did you mean "drug"'), ("alhpa ~ drug", 'mean "alpha"')],
)
def test_command_line_names_mistakes(data, tmp_path, formula, message):
    data.to_csv(tmp_path / "data.csv", index=False)
    found = run(
        "fit", tmp_path / "data.csv", "-m", "q_learning", "-o", tmp_path / "out", "--quick", "--formula", formula
    )
    assert found.exit_code == 2
    assert message in found.stderr
    assert not (tmp_path / "out").exists()
