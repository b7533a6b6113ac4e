"""Predictive comparison against numbers that are known: conjugate posteriors, chance, and sums by hand."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit
from scipy.special import expit, logit
from typer.testing import CliRunner

import fitrl
from fitrl.cli.app import app
from fitrl.comparison.compare import decide
from fitrl.comparison.loo import good_k, psis, trial_loo
from fitrl.comparison.pointwise import log_likelihood_blocks, scored_trials
from fitrl.errors import FitError

mpl.use("agg")

N_SUBJECTS, N_TRIALS = 5, 30


def coin_data(seed=1, n_subjects=N_SUBJECTS):
    """Subjects who choose B with a probability of their own; one response is missed, one forced."""
    rng = np.random.default_rng(seed)
    p = np.linspace(0.3, 0.9, n_subjects)
    frame = pd.DataFrame(
        {
            "subject": np.repeat([f"s{i}" for i in range(n_subjects)], N_TRIALS),
            "trial": np.tile(np.arange(1, N_TRIALS + 1), n_subjects),
            "choice": np.where(rng.random((n_subjects, N_TRIALS)) < p[:, None], "B", "A").ravel(),
            "outcome": rng.integers(0, 2, n_subjects * N_TRIALS),
            "forced": 0,
        }
    )
    frame["choice"] = frame["choice"].astype(object)
    frame.loc[3, "choice"] = None
    frame.loc[N_TRIALS + 2, "forced"] = 1
    return frame


@pytest.fixture(scope="module")
def trials():
    return fitrl.read_trials(coin_data(), "biased_coin")


def counts(trials):
    """Scored choices of A and of B by subject."""
    frame = trials.frame[trials.frame["mask_choice"]]
    n_b = frame.groupby("subject")["choice"].sum()[trials.subjects].to_numpy()
    n = frame.groupby("subject").size()[trials.subjects].to_numpy()
    return n - n_b, n_b


def coin_fit(trials, seed=2, shift=0.0, status="converged"):
    """Exact draws of each subject's posterior: P(B) ~ Beta(1 + n_b, 1 + n_a) under a uniform prior."""
    n_a, n_b = counts(trials)
    p = np.random.default_rng(seed).beta(1 + n_b, 1 + n_a, (4, 500, trials.n_subjects))
    return fake_fit("biased_coin", trials, {"b_1": logit(p) + shift}, status=status)


def exact_loo(trials):
    """Log probability of each scored choice given the subject's others: Beta-Bernoulli, by hand."""
    n_a, n_b = counts(trials)
    frame = trials.frame
    who, b = frame["subject_idx"].to_numpy(), frame["choice"].to_numpy() == 1
    like = np.where(b, n_b[who], n_a[who])  # 1 + (same choices without this one)
    return np.log(like / (n_a + n_b + 1)[who])[frame["mask_choice"].to_numpy()]


def test_loo_of_a_conjugate_model_is_the_exact_one(trials):
    told = []
    loo = trial_loo(coin_fit(trials), draws=2000, done=told.append)
    assert sum(told) == np.isfinite(loo.elpd).sum()
    scored = trials.frame["mask_choice"].to_numpy()
    np.testing.assert_allclose(loo.elpd[scored], exact_loo(trials), atol=0.02)
    assert np.isnan(loo.elpd[~scored]).all()
    assert loo.n_draws == 2000
    assert loo.n_constant == 0
    assert not loo.is_bad.any()


def test_the_smoothing_is_arvizs(trials):
    import arviz_stats
    import xarray as xr

    fit = coin_fit(trials)
    (values,) = [v for _, v in log_likelihood_blocks(fit, 2000)]
    by_chain = xr.Dataset({"choice": (("chain", "draw", "obs"), values.T.reshape(4, 500, -1))})
    tree = xr.DataTree.from_dict({"log_likelihood": by_chain, "posterior": fit.idata["posterior"].to_dataset()})
    expected = arviz_stats.loo(tree, pointwise=True, reff=0.8)
    elpd, k = psis(values, 0.8)
    np.testing.assert_allclose(elpd, expected.elpd_i, rtol=1e-10)
    np.testing.assert_allclose(k, expected.pareto_k, rtol=1e-10)
    assert good_k(2000) == pytest.approx(expected.good_k)


def test_draws_whose_tail_is_flat_are_not_smoothed():
    values = np.full((1, 1000), -2.0)
    values[0, :300] = -1.0  # the 700 smallest likelihoods, so the whole tail, are the same
    elpd, k = psis(values)
    assert elpd[0] == pytest.approx(-np.log(np.mean(np.where(values == -1.0, np.e, np.e**2))))
    assert k[0] == -np.inf


def test_log_likelihood_by_blocks_is_that_of_the_text(trials, monkeypatch):
    fit = coin_fit(trials)
    monkeypatch.setattr("fitrl.comparison.pointwise._AGENTS", 4000)  # two subjects at a time
    blocks = list(log_likelihood_blocks(fit, 2000))
    assert len(blocks) == 3
    rows = np.concatenate([rows for rows, _ in blocks])
    assert rows.tolist() == np.flatnonzero(trials.frame["mask_choice"]).tolist()
    b = fit.idata["posterior"]["b_1"].to_numpy().reshape(2000, -1)
    frame = trials.frame.iloc[rows]
    sign = np.where(frame["choice"] == 1, 1, -1)[:, None]
    expected = np.log(expit(sign * b[:, frame["subject_idx"]].T))
    np.testing.assert_allclose(np.concatenate([v for _, v in blocks]), expected, atol=1e-12)


def test_constant_trials_are_scored_with_their_constant():
    simulated = fitrl.simulate("q_learning", subjects=4, trials=12, random_seed=3)
    rng = np.random.default_rng(1)
    draws = {"alpha": rng.beta(3, 5, (2, 300, 4)), "beta": rng.gamma(9, 0.4, (2, 300, 4))}
    loo = trial_loo(fake_fit("q_learning", simulated.trials, draws))
    first = simulated.trials.frame["reset"].to_numpy()
    np.testing.assert_allclose(loo.elpd[first], -np.log(2), atol=1e-12)  # equal values: even odds in every draw
    assert np.isnan(loo.pareto_k[first]).all()
    equal = np.isclose(loo.elpd, -np.log(2), rtol=0, atol=1e-12)  # also where both values have moved alike
    assert loo.n_constant == equal.sum() >= 4
    assert np.isfinite(loo.elpd).all()


def test_the_table_adds_up(trials):
    found = fitrl.compare({"coin": coin_fit(trials), "none": fake_fit("random", trials, {})}, draws=2000)
    n_scored = int(trials.frame["mask_choice"].sum())
    assert n_scored == N_SUBJECTS * N_TRIALS - 2
    assert found.n_trials == n_scored
    table = found.table.set_index("model")
    assert table.index[0] == "coin"
    for name in ("chance", "none"):
        assert table["elpd"][name] == pytest.approx(-n_scored * np.log(2))
        assert table["n_constant"][name] == n_scored
    exact = exact_loo(trials)
    assert table["elpd"]["coin"] == pytest.approx(exact.sum(), abs=0.3)
    # Over subjects: sqrt(n * variance of the subjects' differences), with the differences worked out by hand.
    who = trials.frame["subject"][trials.frame["mask_choice"]].to_numpy()
    d = -np.log(2) - exact
    sums = np.array([d[who == s].sum() for s in trials.subjects])
    assert table["dse"]["chance"] == pytest.approx(np.sqrt(5 * sums.var(ddof=1)), rel=0.05)
    assert table["dse_trials"]["chance"] == pytest.approx(np.sqrt(len(d) * d.var(ddof=1)), rel=0.05)
    by_subject = found.subjects.query("model == 'chance'").set_index("subject")["elpd_diff"]
    np.testing.assert_allclose(by_subject[trials.subjects], sums, atol=0.15)
    assert found.warnings == ()
    assert "trial LOO, conditional on the other trials" in str(found)


def test_the_rule_of_decision():
    assert decide(0.0, 0.0) == "practically the same"
    assert decide(-3.99, 0.01) == "practically the same"
    assert decide(-20.0, 10.01) == "undecided"
    assert decide(-20.0, 10.0) == "worse"
    assert decide(-20.0, float("nan")) == "undecided"  # one subject has no standard error


def test_two_choices_in_a_trial_are_one_unit():
    trials = fitrl.simulate("two_step_split", subjects=3, trials=20, random_seed=5).trials
    frame = trials.original.copy()
    frame.loc[4, "choice2"] = None  # the first choice of this trial still counts
    frame.loc[7, ["choice1", "choice2"]] = None
    trials = fitrl.read_trials(frame, "two_step_split")
    assert len(scored_trials(fake_fit("two_step_split", trials, {}))) == 59
    rng = np.random.default_rng(1)
    names = trials.task and fitrl.models.find("two_step_split").fitted(trials.task)
    draws = {n: rng.uniform(0.3, 0.6, (2, 200, 3)) for n in names}
    found = fitrl.compare([fake_fit("two_step_split", trials, draws)])
    table = found.table.set_index("model")
    assert found.n_trials == 59
    assert table["elpd"]["chance"] == pytest.approx(-(59 + 58) * np.log(2))


def test_fits_of_different_trials_are_refused(trials):
    one = coin_fit(trials)
    frame = coin_data()
    frame.loc[10, "choice"] = "A" if frame["choice"][10] == "B" else "B"
    other = coin_fit(fitrl.read_trials(frame, "biased_coin"))
    with pytest.raises(FitError, match=r"different trials .*subject s0, trial 11"):
        fitrl.compare([one, other])
    more = coin_fit(fitrl.read_trials(coin_data(n_subjects=6), "biased_coin"))
    with pytest.raises(FitError, match="different trials"):
        fitrl.compare([one, more])


def test_the_order_of_rows_and_codes_does_not_matter(trials):
    frame = coin_data()
    turned = frame[::-1].sort_values("trial", kind="stable")
    swapped = fitrl.read_trials(turned, "biased_coin", codes={"choice": ["B", "A"]})
    n_a, n_b = counts(swapped)
    p = np.random.default_rng(2).beta(1 + n_b, 1 + n_a, (4, 500, swapped.n_subjects))
    found = fitrl.compare({"one": coin_fit(trials), "other": fake_fit("biased_coin", swapped, {"b_1": logit(p)})})
    assert (found.table["decision"][:2] != "worse").all()
    assert abs(found.table["elpd_diff"][1]) < 0.5


def test_quick_fits_are_refused_and_failed_ones_come_first(trials):
    with pytest.raises(FitError, match="quick approximation"):
        fitrl.compare([coin_fit(trials), coin_fit(trials, status="quick")])
    found = fitrl.compare({"good": coin_fit(trials), "bad": coin_fit(trials, status="not converged")})
    assert str(found).startswith("WARNING: bad did NOT CONVERGE")
    assert not found.table.set_index("model")["converged"]["bad"]


def test_unreliable_trials_are_counted_by_subject(trials):
    n_a, n_b = counts(trials)
    p = np.random.default_rng(2).beta(1 + n_b, 1 + n_a, (4, 500, trials.n_subjects))
    wild = logit(p)
    # Draws of the first subject that all but forbid B: the weights of its choices of B have a heavy tail.
    wild[..., 0] = -(np.random.default_rng(3).standard_cauchy(wild[..., 0].shape) ** 2)
    found = fitrl.compare({"wild": fake_fit("biased_coin", trials, {"b_1": wild})}, draws=2000)
    row = found.table.set_index("model").loc["wild"]
    by_subject = found.subjects.query("model == 'wild'").set_index("subject")["n_high_k"]
    assert row["n_high_k"] == by_subject.sum() > 0
    assert by_subject["s0"] == n_b[0]
    assert row["n_subjects_high_k"] == 1
    assert "s0 (" in found.warnings[0]


def test_too_few_draws_are_refused(trials):
    few = fake_fit("biased_coin", trials, {"b_1": np.random.default_rng(1).normal(size=(1, 50, N_SUBJECTS))})
    with pytest.raises(FitError, match="50 draws"):
        fitrl.compare([few])
    with pytest.raises(FitError, match="no fit"):
        fitrl.compare([])


def test_command_line_writes_tables_and_figure(trials, tmp_path):
    coin_fit(trials).save(tmp_path / "coin")
    fake_fit("random", trials, {}).save(tmp_path / "none")
    run = CliRunner(env={"COLUMNS": "100"}).invoke
    out = tmp_path / "comparison"
    result = run(app, ["compare", str(tmp_path / "coin"), str(tmp_path / "none"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "conditional on the other trials" in result.stdout
    assert {p.name for p in out.iterdir()} == {"comparison.csv", "comparison_subjects.csv", "comparison.png"}
    table = pd.read_csv(out / "comparison.csv")
    assert set(table["model"]) == {"coin", "none", "chance"}
    assert run(app, ["compare", str(tmp_path / "nothing")]).exit_code == 2
