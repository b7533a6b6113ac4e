"""Test-retest reliability: coefficients of a published table, correlations by hand and of a known truth."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit
from scipy.stats import binom
from typer.testing import CliRunner

mpl.use("agg")
import matplotlib.pyplot as plt

import fitrl
from fitrl.cli.app import app
from fitrl.data import read_trials
from fitrl.errors import FitError
from fitrl.fitting.reliability import icc, reliability, remarks
from fitrl.hierarchy.plan import make_plan
from fitrl.models import find

# Four judges on six targets, Shrout & Fleiss (1979), table 2.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]],
    dtype=float,
)
WIDE = {name: {"effects": {"slopes": "halfnormal(1)"}} for name in ("alpha", "beta")}


def played(eta, beta, n_trials, rng):
    """Choices and outcomes of Q-learners in a reversing bandit, shape (trial, agent)."""
    n = len(eta)
    q, agent = np.full((2, n), 0.5), np.arange(n)
    choices, outcomes = [], []
    for trial in range(n_trials):
        choice = (rng.random(n) < expit(beta * (q[1] - q[0]))).astype(int)
        outcome = (rng.random(n) < np.where(choice == trial // 15 % 2, 0.85, 0.15)).astype(float)
        q[choice, agent] += expit(eta) * (outcome - q[choice, agent])
        choices.append(choice)
        outcomes.append(outcome)
    return np.array(choices), np.array(outcomes)


def retested(n_subjects, n_trials, correlation, *, seed, sessions=2, spread=1.2):
    """Sessions of the same people, whose learning rates correlate on the logit."""
    rng = np.random.default_rng(seed)
    covariance = spread**2 * (np.full((sessions, sessions), correlation) + (1 - correlation) * np.eye(sessions))
    eta = rng.multivariate_normal(np.full(sessions, -0.5), covariance, size=n_subjects)
    beta = np.exp(1.7 + 0.2 * rng.normal(size=n_subjects))
    parts = []
    for k in range(sessions):
        choices, outcomes = played(eta[:, k], beta, n_trials, rng)
        parts.append(
            pd.DataFrame(
                {
                    "subject": np.repeat([f"s{i:02d}" for i in range(n_subjects)], n_trials),
                    "session": k + 1,
                    "trial": np.tile(np.arange(1, n_trials + 1), n_subjects),
                    "choice": choices.T.ravel(),
                    "outcome": outcomes.T.ravel(),
                    "sex": np.repeat(np.where(np.arange(n_subjects) % 2, "f", "m"), n_trials),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def quick(frame, formulas, **kwargs):
    return fitrl.fit("q_learning", frame, formulas=formulas, quick=True, random_seed=1, **kwargs)


def planned(frame, formulas, **kwargs):
    """A fit before it is sampled: all that refusals look at."""
    trials = read_trials(frame, "q_learning")
    plan = make_plan(find("q_learning"), trials, formulas=formulas, **kwargs)
    return SimpleNamespace(plan=plan, trials=trials)


@pytest.fixture(scope="module")
def frame():
    return retested(40, 90, 0.6, seed=3)


@pytest.fixture(scope="module")
def fit(frame):
    formulas = {"alpha": "session + (session | subject)", "beta": "0 + session + (session | subject)"}
    return quick(frame, formulas, priors=WIDE)


@pytest.fixture(scope="module")
def table(fit):
    return reliability(fit).set_index("parameter")


def test_the_coefficients_of_the_published_table():
    agreement, consistency = icc(RATINGS)
    assert round(agreement, 2) == 0.29
    assert round(consistency, 2) == 0.71


def test_coefficients_by_hand_and_with_gaps():
    # Means of subjects 1.5, 2.5, 3.5; a shift of 1 and no rest: BMS 2, JMS 1.5, EMS 0.
    values = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    assert icc(values) == pytest.approx((2 / (2 + 2 * 1.5 / 3), 1.0))
    assert icc(np.vstack([values, [np.nan, 9.0]])) == icc(values)
    assert np.isnan(icc(np.ones((4, 2)))).all()
    assert np.isnan(icc(values[:1])).all()
    # Two sessions with equal variances: consistency is Pearson's correlation.
    x = np.random.default_rng(0).normal(size=(50, 2))
    x = (x - x.mean(0)) / x.std(0)
    assert icc(x)[1] == pytest.approx(np.corrcoef(x.T)[0, 1])


def test_the_correlation_is_that_of_the_standard_deviations(fit, table):
    posterior = fit.idata["posterior"]
    sigma, change = posterior["alpha_sigma"].to_numpy(), posterior["alpha_slope_sigma"].to_numpy()[..., 0]
    by_hand = (sigma**2 - change**2 / 4) / (sigma**2 + change**2 / 4)
    assert table.loc["alpha", "post_mean"] == pytest.approx(by_hand.mean())
    assert table.loc["alpha", "over"] == "session: 1, 2"
    # A half-normal of scale 1/2 over one of scale 3/2 is a third of a Cauchy number's size, whose median is 1.
    assert table.loc["alpha", "prior_median"] == pytest.approx((1 - 1 / 9) / (1 + 1 / 9), abs=0.02)


def test_a_known_correlation_is_found(fit, table):
    assert table.loc["alpha", "hdi95_lower"] < 0.6 < table.loc["alpha", "hdi95_upper"]
    assert table.loc["alpha", "hdi95_lower"] > 0.1
    # Measurement error lowers the coefficient of separate estimates.
    assert table.loc["alpha", "icc3_separate"] < table.loc["alpha", "post_mean"]
    assert table.loc["alpha", "n_subjects"] == 40


@pytest.mark.study
@pytest.mark.parametrize("correlation", [0.2, 0.5, 0.8])
def test_coverage_and_bias_of_the_correlation(correlation):
    """The interval holds the truth; the ICC of separate estimates does not come near a high one."""
    hits, separate, n_fits = 0, [], 30
    for seed in range(n_fits):
        found = reliability(
            quick(
                retested(60, 100, correlation, seed=500 + seed), {"alpha": "session + (session | subject)"}, priors=WIDE
            )
        ).iloc[0]
        hits += found["hdi95_lower"] <= correlation <= found["hdi95_upper"]
        separate.append(found["icc3_separate"])
    assert hits >= binom.ppf(0.005, n_fits, 0.95)
    assert np.mean(separate) < correlation


def test_coefficients_are_those_of_the_means_of_the_posterior(fit, table):
    draws = fit.idata["posterior"]["alpha"]
    eta = logit(draws).mean(["chain", "draw"]).to_numpy()
    subject, session = (draws[f"alpha_cell_{what}"].to_numpy() for what in ("subject", "session"))
    values = np.array([[eta[(subject == s) & (session == k)].item() for k in "12"] for s in fit.trials.subjects])
    assert (table.loc["alpha", "icc2_means"], table.loc["alpha", "icc3_means"]) == pytest.approx(icc(values))


def test_separate_estimates_are_those_of_fits_without_pooling(frame, table):
    """Each session of each subject as a subject of its own."""
    alone = frame.assign(subject=frame["subject"] + "_" + frame["session"].astype(str)).drop(columns="session")
    posterior = quick(alone, None, pooling="none").idata["posterior"]
    eta = logit(posterior["alpha"]).median(["chain", "draw"])
    values = np.array([[float(eta.sel(subject=f"s{i:02d}_{k}")) for k in (1, 2)] for i in range(40)])
    # Modes there, medians of draws around them here.
    assert table.loc["alpha", "icc3_separate"] == pytest.approx(icc(values)[1], abs=0.03)


def test_three_sessions_share_one_correlation():
    frame = retested(12, 40, 0.5, seed=9, sessions=3)
    gap = frame.query("not (subject == 's03' and session == 2)")
    fit = quick(gap, {"alpha": "C(session) + sex + (C(session) | subject)"})
    row = reliability(fit, "session", separate=False).iloc[0]
    posterior = fit.idata["posterior"]
    sigma, change = posterior["alpha_sigma"].to_numpy(), posterior["alpha_slope_sigma"].to_numpy()[..., 0]
    # Independent levels of variance change^2 / 2, around their mean: 2/3 of it is left, and -1/3 is shared.
    by_hand = (sigma**2 - change**2 / 6) / (sigma**2 + change**2 / 3)
    assert row["post_mean"] == pytest.approx(by_hand.mean())
    assert row["n_subjects"] == 11
    assert np.isnan(row["icc3_separate"])


def test_what_the_priors_decide_is_said(fit, frame):
    assert remarks(fit, reliability(fit, separate=False)) == []
    narrow = quick(frame.query("trial <= 10"), {"alpha": "session + (session | subject)"})
    said = remarks(narrow, reliability(narrow, separate=False))
    assert "beta: no values that differ by subject and session" in said[0]
    assert 'slopes = "halfnormal(1)"' in said[1]


def test_a_condition_within_sessions_has_no_separate_estimates(frame):
    half = frame.assign(half=np.where(frame["trial"] % 2, "odd", "even")).query("trial <= 40")
    row = reliability(quick(half, {"alpha": "half + (half | subject)"}), "half").iloc[0]
    assert np.isnan(row["icc3_separate"])
    assert np.isfinite([row["post_mean"], row["icc3_means"]]).all()


@pytest.mark.parametrize(
    ("formulas", "over", "message"),
    [
        (None, "session", r"no formulas.*session \+ \(session \| subject\)"),
        ({"alpha": "session"}, "session", r"moves all subjects alike.*1 by construction.*add \(session \| subject\)"),
        ({"alpha": "0 + session"}, "session", "1 by construction"),
        ({"alpha": "sex"}, "session", "no formula of this fit has session"),
        ({"alpha": "sex"}, "sex", "sex does not vary within subjects"),
    ],
)
def test_fits_without_a_value_per_session_are_refused(frame, formulas, over, message):
    with pytest.raises(FitError, match=message):
        reliability(planned(frame, formulas), over)


def test_numbers_are_no_sessions():
    frame = retested(6, 8, 0.5, seed=1, sessions=3)
    with pytest.raises(FitError, match=r"session is a number.*C\(session\)"):
        reliability(planned(frame, {"alpha": "session + (session | subject)"}))


def test_complete_pooling_has_no_subjects(frame):
    with pytest.raises(FitError, match="partial pooling"):
        reliability(planned(frame, {"alpha": "session + (session | subject)"}, pooling="complete"))


def test_chains_are_diagnosed(fit):
    """The same draws as two chains of a sampled fit."""
    draws = fit.idata["posterior"].to_dataset()
    halves = [draws.isel(chain=0, draw=slice(k * 500, (k + 1) * 500)).assign_coords(draw=range(500)) for k in (0, 1)]
    chains = xr.concat(halves, pd.Index([0, 1], name="chain"))
    spec = dataclasses.replace(fit.spec, quick=False)
    sampled = dataclasses.replace(fit, spec=spec, idata=xr.DataTree.from_dict({"posterior": chains}))
    found = reliability(sampled, separate=False)
    assert (found["r_hat"] < 1.02).all()
    assert (found["ess_bulk"] > 400).all()
    np.testing.assert_allclose(found["post_mean"], reliability(fit, separate=False)["post_mean"])


def test_the_figure_shows_both_sessions(fit, table):
    fig, axes = fitrl.plot_reliability(fit)
    fig.canvas.draw()
    draws = fit.idata["posterior"]["alpha"]
    eta = logit(draws).mean(["chain", "draw"]).to_numpy()
    session = draws["alpha_cell_session"].to_numpy()
    dots = axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(dots, np.column_stack([eta[session == "1"], eta[session == "2"]]))
    assert axes[0].get_title(loc="center").startswith(f"correlation {table.loc['alpha', 'post_mean']:.2f}")
    ticks = axes[0].get_xticks()
    np.testing.assert_allclose(expit(ticks), [float(t.get_text()) for t in axes[0].get_xticklabels()])
    assert 2 <= len(ticks) <= 7
    with pytest.raises(FitError, match="two different levels of session, which are 1, 2"):
        fitrl.plot_reliability(fit, pair=("1", "3"))
    plt.close(fig)


def test_command_line(fit, tmp_path):
    fit.save(tmp_path / "fit")
    out = tmp_path / "out"
    found = CliRunner(env={"COLUMNS": "140"}).invoke(app, ["reliability", str(tmp_path / "fit"), "-o", str(out)])
    assert found.exit_code == 0, found.output
    text = " ".join(found.stdout.split())
    assert "QUICK" in text
    assert "shrinkage moves the sessions of a subject towards each other" in text
    row = pd.read_csv(out / "reliability.csv").iloc[0]
    assert f"alpha {row['post_mean']:.2f} {row['hdi95_lower']:.2f} to {row['hdi95_upper']:.2f}" in text
    assert f"{row['icc2_separate']:.2f} / {row['icc3_separate']:.2f}" in text
    assert list(pd.read_csv(out / "reliability.csv")["parameter"]) == ["alpha", "beta"]
    assert (out / "reliability.png").read_bytes().startswith(b"\x89PNG")
    found = CliRunner().invoke(app, ["reliability", str(tmp_path / "fit"), "--over", "group"])
    assert found.exit_code == 2
    assert "no formula of this fit has group" in " ".join(found.stderr.split())
