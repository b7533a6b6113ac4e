"""Statistics of recovery and calibration, with answers that are known beforehand."""

import numpy as np
import pandas as pd
import pytest

from fitrl.models import q_learning
from fitrl.study import statistics
from fitrl.study.calibration import difference, judge_ranks, rank_table

PARAMETERS = q_learning.parameters()


def rows(study, truth, mean, sd=0.05, half=0.1, parameter="alpha"):
    """Subjects of one data set, with intervals of mean +- half."""
    truth, mean = np.asarray(truth, float), np.asarray(mean, float)
    return pd.DataFrame(
        {
            "n_subjects": len(truth), "n_trials": 10, "study": study, "parameter": parameter,
            "subject": np.arange(1, len(truth) + 1), "truth": truth, "mean": mean, "sd": sd,
            "lower": mean - half, "upper": mean + half,
        }
    )  # fmt: skip


NO_POPULATION = pd.DataFrame(columns=["n_subjects", "n_trials", "study", "parameter", "quantity"])


def test_bias_error_and_coverage_by_hand():
    found = statistics.recovery(rows(1, [0.2, 0.4, 0.6, 0.8], [0.25, 0.45, 0.65, 0.65]), NO_POPULATION, PARAMETERS)
    (row,) = found.to_dict("records")
    assert row["bias"] == pytest.approx((0.05 + 0.05 + 0.05 - 0.15) / 4)
    assert row["rmse"] == pytest.approx(np.sqrt((3 * 0.0025 + 0.0225) / 4))
    assert row["coverage"] == 0.75
    assert (row["n"], row["n_studies"]) == (4, 1)


def test_r_is_taken_within_data_sets():
    """Two populations far apart, in each of which estimates say nothing: r must not see the distance."""
    table = pd.concat(
        [rows(1, [0.10, 0.12, 0.14, 0.16], [0.13, 0.11, 0.15, 0.13]), rows(2, [0.80, 0.82, 0.84, 0.86], [0.83] * 4)]
    )
    (row,) = statistics.recovery(table, NO_POPULATION, PARAMETERS).to_dict("records")
    assert row["r_pooled"] > 0.95
    assert row["r"] < 0.4


def test_r_is_that_of_the_link_scale():
    """On the log scale these are a straight line, on the natural scale they are not."""
    truth = np.exp([0.0, 1.0, 2.0, 3.0])
    table = rows(1, truth, truth**2, parameter="beta")
    (row,) = statistics.recovery(table, NO_POPULATION, PARAMETERS).to_dict("records")
    assert row["r"] == pytest.approx(1.0)
    assert np.corrcoef(truth, truth**2)[0, 1] < 0.99


def test_r_without_spread_or_with_two_values_is_not_a_number():
    assert np.isnan(statistics.correlation(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])))
    assert np.isnan(statistics.correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


def test_shrinkage_by_hand():
    """Means -1, 0, 1 have variance 1; posterior variances of 3 make three quarters of the sum."""
    assert statistics.shrinkage(np.array([-1.0, 0.0, 1.0]), np.full(3, np.sqrt(3)), np.zeros(3)) == pytest.approx(0.75)
    same = statistics.shrinkage(np.array([9.0, 10, 11, -1, 0, 1]), np.full(6, np.sqrt(3)), np.repeat([1, 2], 3))
    assert same == pytest.approx(0.75)


def test_the_binomial_interval_is_exact():
    """19 of 20: the textbook's Clopper-Pearson limits."""
    inside = np.arange(20) > 0
    low, high = statistics.coverage_interval(inside, np.arange(20))
    assert low == pytest.approx(0.7513, abs=1e-4)
    assert high == pytest.approx(0.9987, abs=1e-4)
    assert statistics.coverage_interval(np.zeros(10, bool), np.arange(10))[0] == 0.0


def test_values_that_miss_together_count_less():
    """Ten data sets of 20 subjects: misses all in one of them say less than misses spread over all."""
    study = np.repeat(np.arange(10), 20)
    together = study > 0
    spread = np.tile(np.arange(20) > 1, 10)
    assert together.mean() == spread.mean() == 0.9
    wide = np.diff(statistics.coverage_interval(together, study))
    narrow = np.diff(statistics.coverage_interval(spread, study))
    plain = np.diff(statistics.coverage_interval(spread, np.zeros(200)))
    assert narrow == pytest.approx(plain)
    assert wide > 3 * narrow


def test_coverage_intervals_hold_the_true_share():
    """Exact intervals hold it in at least 95 % of cases; 500 of them show at least 92 %."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(500):
        low, high = statistics.coverage_interval(rng.random(40) < 0.9, np.arange(40))
        hits += low <= 0.9 <= high
    assert hits >= 460


def test_correlations_of_truth_estimates_and_errors():
    """Errors that mirror each other: the estimates correlate though the true values do not."""
    rng = np.random.default_rng(2)
    eta = rng.normal(size=(2, 2000))
    eta[1] -= eta[0] * (eta[0] @ eta[1]) / (eta[0] @ eta[0])  # no correlation at all
    error = rng.normal(size=2000)
    to = {"alpha": lambda x: 1 / (1 + np.exp(-x)), "beta": np.exp}
    table = pd.concat(
        [
            rows(1, to["alpha"](eta[0]), to["alpha"](eta[0] + error), parameter="alpha"),
            rows(1, to["beta"](eta[1]), to["beta"](eta[1] - error), parameter="beta"),
        ]
    )
    (row,) = statistics.correlations(table, PARAMETERS).to_dict("records")
    assert row["true_r"] == pytest.approx(0.0, abs=0.05)
    assert row["error_r"] == pytest.approx(-1.0)
    assert row["estimate_r"] == pytest.approx(-0.5, abs=0.05)


# Calibration --------------------------------------------------------------------------------------------


def ranked(posterior, n=200, seed=1):
    """Ranks of a normal mean with a normal prior, one measurement, and the given posterior (mean, sd)."""
    rng = np.random.default_rng(seed)
    results = []
    for i in range(n):
        truth = rng.normal()
        mean, sd = posterior(truth + rng.normal())
        draws = rng.normal(mean, sd, 99)
        rank = {"below": int((draws < truth).sum()), "equal": 0, "draws": 99}
        results.append({"n_subjects": 8, "n_trials": 60, "study": i, "ranks": {"mu": rank}})
    return judge_ranks(rank_table(results, seed)).to_dict("records")[0]


def test_the_right_posterior_passes():
    assert ranked(lambda y: (y / 2, np.sqrt(0.5)))["status"] == "passes"


@pytest.mark.parametrize(
    ("posterior", "what"),
    [
        (lambda y: (y / 2, np.sqrt(0.5) / 2), "posteriors too narrow"),
        (lambda y: (y / 2, np.sqrt(0.5) * 2), "posteriors too wide"),
        (lambda y: (y / 2 + 0.4, np.sqrt(0.5)), "posteriors too high"),
        (lambda y: (y / 2 - 0.4, np.sqrt(0.5)), "posteriors too low"),
    ],
)
def test_a_wrong_posterior_fails_and_the_reason_is_named(posterior, what):
    found = ranked(posterior)
    assert (found["status"], found["what"]) == ("fails", what)


def test_ranks_are_blind_to_a_posterior_that_is_the_prior_but_the_likelihood_is_not():
    """The case for the log-likelihood as a test quantity (Modrak et al. 2023): data ignored altogether."""
    rng = np.random.default_rng(3)
    results = []
    for i in range(200):
        truth = rng.normal()
        y, draws = truth + rng.normal(), rng.normal(size=99)  # the posterior claimed is the prior
        score = lambda mu, y=y: -0.5 * (y - mu) ** 2  # noqa: E731
        ranks = {
            "mu": {"below": int((draws < truth).sum()), "equal": 0, "draws": 99},
            "log-likelihood": {"below": int((score(draws) < score(truth)).sum()), "equal": 0, "draws": 99},
        }
        results.append({"n_subjects": 8, "n_trials": 60, "study": i, "ranks": ranks})
    found = judge_ranks(rank_table(results, 1)).set_index("quantity")["status"]
    assert found.to_dict() == {"mu": "passes", "log-likelihood": "fails"}


def test_ranks_among_different_numbers_of_draws_are_uniform():
    """Each data set has its own effective sample size; 5 draws in one, 400 in the next."""
    rng = np.random.default_rng(4)
    results = []
    for i in range(400):
        n = (5, 400)[i % 2]
        rank = {"below": int(rng.integers(0, n + 1)), "equal": 0, "draws": n}
        results.append({"n_subjects": 8, "n_trials": 60, "study": i, "ranks": {"mu": rank}})
    table = rank_table(results, 1)
    assert judge_ranks(table)["status"].tolist() == ["passes"]
    few = table.loc[table["draws"] == 5, "pit"]
    assert few.nunique() == len(few)


def test_ties_share_their_slots():
    """A quantity that is the same in all draws and in truth has ranks of every size."""
    results = [
        {"n_subjects": 8, "n_trials": 60, "study": i, "ranks": {"x": {"below": 0, "equal": 99, "draws": 99}}}
        for i in range(300)
    ]
    assert judge_ranks(rank_table(results, 2))["status"].tolist() == ["passes"]


def test_the_bands_raise_few_false_alarms():
    """400 uniform samples: 5 % leave their band, and 1 % that of five quantities together."""
    rng = np.random.default_rng(5)
    bands = difference(rng.random(60), 5)
    left = np.zeros(2)
    for _ in range(400):
        sample = np.sort(rng.random(60))
        ecdf = np.searchsorted(sample, bands.at[1:-1], side="right") / 60 - bands.at[1:-1]
        for i, (low, high) in enumerate((bands.band, bands.family_band)):
            left[i] += ((ecdf < low[1:-1] - 1e-9) | (ecdf > high[1:-1] + 1e-9)).any()
    assert 6 <= left[0] <= 40  # 20 expected: the one-in-a-thousand limits, and a little for the bands themselves
    assert left[1] <= 12  # 4 expected
