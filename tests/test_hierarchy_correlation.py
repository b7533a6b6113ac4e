"""Correlated parameters: the prior, the density of subjects by hand, and what is found."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from rich.console import Console
from scipy.special import expit, logit
from scipy.stats import beta, multivariate_normal

import fitrl
from fitrl.errors import FitError, ModelError
from fitrl.fitting.spread import covariance
from fitrl.fitting.tables import population_mean
from fitrl.hierarchy.correlation import SHAPE, Correlated, correlation_draws
from fitrl.hierarchy.parametrization import Information, inform
from fitrl.show.summary import render_summary

NAMES = ("a", "b", "c")
N = 5


def model_of(scales=(0.5, 1.0, 2.0), locations=(0.2, -1.0, 3.0)):
    with pm.Model(coords={"subject": range(N)}) as model:
        subjects = Correlated(NAMES)
        for name, location, scale in zip(NAMES, locations, scales, strict=True):
            pm.Deterministic(name, subjects.values(name, location, scale), dims="subject")
    return model


def evaluated(model, point):
    names = [v.name for v in model.unobserved_value_vars]
    found = model.compile_fn(model.unobserved_value_vars)(point)
    return dict(zip(names, found, strict=True))


def random_point(model, seed=1):
    rng = np.random.default_rng(seed)
    return {v.name: rng.normal(size=np.shape(x)) for v, x in zip(
        model.value_vars, [model.initial_point()[v.name] for v in model.value_vars], strict=True
    )}  # fmt: skip


def matrix_of(pairs):
    """Correlation matrix of three from the pairs (a, b), (a, c), (b, c)."""
    found = np.eye(3)
    for (j, k), value in zip([(1, 0), (2, 0), (2, 1)], pairs, strict=True):
        found[j, k] = found[k, j] = value
    return found


@pytest.mark.parametrize("told", [False, True])
def test_density_of_subjects_is_that_of_a_multivariate_normal(told):
    """Whatever is told of subjects: density of values = density of offsets over the Jacobian of the change."""
    model = model_of()
    if told:
        rng = np.random.default_rng(3)
        inform(model, {name: Information(rng.gamma(1.0, 3.0, N), rng.normal(size=N)) for name in NAMES})
    point = random_point(model)
    at = evaluated(model, point)
    scale = np.array([0.5, 1.0, 2.0])
    covariance = matrix_of(at["correlation"]) * scale * scale[:, None]
    values = np.stack([at[name] for name in NAMES], axis=1)
    by_hand = multivariate_normal([0.2, -1.0, 3.0], covariance).logpdf(values)
    offsets = [model[f"{name}_offset"] for name in NAMES]
    density = np.sum(model.compile_logp(vars=offsets, sum=False)(point), axis=0)
    # The change from offsets to values is triangular, one offset for one value: differences give its diagonal.
    stretch = np.zeros(N)
    for name in NAMES:
        moved = {**point, f"{name}_offset": point[f"{name}_offset"] + 1e-6}
        stretch += np.log((evaluated(model, moved)[name] - at[name]) / 1e-6)
    np.testing.assert_allclose(density - stretch, by_hand, rtol=1e-6, atol=1e-6)


def test_prior_of_every_correlation_is_that_of_lkj():
    """In a matrix of size n each correlation is 2 Beta(SHAPE - 1 + n / 2) - 1, whichever pair it is."""
    drawn = pm.sample_prior_predictive(4000, model=model_of(), var_names=["correlation"], random_seed=2)["prior"]
    r = drawn["correlation"].values.reshape(-1, 3)
    shape = SHAPE - 1 + 3 / 2
    quantiles = np.linspace(0.05, 0.95, 10)
    expected = 2 * beta(shape, shape).ppf(quantiles) - 1
    for k in range(3):
        np.testing.assert_allclose(np.quantile(r[:, k], quantiles), expected, atol=0.04)
    determinant = np.array([np.linalg.det(matrix_of(pairs)) for pairs in r])
    assert determinant.min() > 0
    # The density of the matrix is det ** (SHAPE - 1): the mean determinant of LKJ(2) of size 3, by quadrature.
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (400_000, 3))
    det = 1 + 2 * flat.prod(axis=1) - (flat**2).sum(axis=1)
    inside = det > 0
    assert determinant.mean() == pytest.approx((det[inside] ** 2).sum() / det[inside].sum(), abs=0.01)


def players(n, trials, correlation, seed):
    """Q-learners whose learning rate and inverse temperature go together, played here."""
    rng = np.random.default_rng(seed)
    z = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=n)
    alpha, slope = expit(-0.3 + 0.9 * z[:, 0]), np.exp(1.4 + 0.4 * z[:, 1])
    q, who, rows = np.full((2, n), 0.5), np.arange(n), []
    for trial in range(trials):
        choice = (rng.random(n) < expit(slope * (q[1] - q[0]))).astype(int)
        outcome = (rng.random(n) < np.where(choice == trial // 20 % 2, 0.8, 0.2)).astype(float)
        q[choice, who] += alpha * (outcome - q[choice, who])
        rows.append(pd.DataFrame({"subject": who, "trial": trial, "choice": choice, "outcome": outcome}))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    frame = players(50, 160, 0.8, seed=5)
    return fitrl.fit("q_learning", frame, correlated=True, random_seed=1, progressbar=False, chains=2)


def test_a_correlation_is_found(fitted):
    table = fitrl.correlations(fitted)
    assert table[["parameter_1", "parameter_2"]].to_numpy().tolist() == [["alpha", "beta"]]
    row = table.iloc[0]
    assert row["hdi95_lower"] < 0.8 < row["hdi95_upper"]
    assert row["prob_direction"] > 0.95
    assert row["ess_bulk"] > 100


def test_saved_loaded_and_shown(fitted, tmp_path):
    fitted.save(tmp_path / "fit")
    again = fitrl.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(fitrl.correlations(again), pd.read_csv(tmp_path / "fit" / "correlations.csv"))
    assert again.plan.correlated
    console = Console(width=80, file=StringIO())
    console.print(render_summary(again))
    assert "alpha, beta" in console.file.getvalue()


def test_draws_of_a_block_follow_the_prior_of_the_whole():
    drawn = correlation_draws(2, 4, 4000, np.random.default_rng(1))
    assert (drawn[:, 0, 0] == 1).all()
    shape = SHAPE - 1 + 4 / 2
    quantiles = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(
        np.quantile(drawn[:, 0, 1], quantiles), 2 * beta(shape, shape).ppf(quantiles) - 1, atol=0.03
    )
    assert np.linalg.eigvalsh(correlation_draws(3, 3, 500, np.random.default_rng(2))).min() > 0


def test_covariance_of_cells_by_hand():
    sd, r = np.array([1.2, 0.8]), np.array([[1.0, 0.5], [0.5, 1.0]])
    of_levels = np.array([[1.0, -0.5], [1.0, 0.5]])  # rows: before, after
    by_hand = of_levels @ (r * sd * sd[:, None]) @ of_levels.T
    for j, k in ((0, 0), (0, 1), (1, 1)):
        assert covariance(sd, r, of_levels[j, 1:], of_levels[k, 1:]) == pytest.approx(by_hand[j, k])


def two_sessions(n, trials, correlation, seed):
    """Q-learners under placebo and drug, whose level of the learning rate goes with what the drug does."""
    rng = np.random.default_rng(seed)
    level, change = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=n).T
    parts = []
    for drug in (-0.5, 0.5):
        eta, q, who = -0.4 + level + (0.5 + change) * drug, np.full((2, n), 0.5), np.arange(n)
        for trial in range(trials):
            choice = (rng.random(n) < expit(6.0 * (q[1] - q[0]))).astype(int)
            outcome = (rng.random(n) < np.where(choice == trial // 15 % 2, 0.85, 0.15)).astype(float)
            q[choice, who] += expit(eta) * (outcome - q[choice, who])
            row = {"subject": who, "drug": "placebo" if drug < 0 else "verum", "session": 1 if drug < 0 else 2}
            parts.append(pd.DataFrame({**row, "trial": trial, "choice": choice, "outcome": outcome}))
    return pd.concat(parts, ignore_index=True)


def test_slopes_join_in():
    """Subjects drawn from the model: level and difference correlate as it says."""
    n = 300
    frame = two_sessions(n, 1, 0.0, seed=1)
    wide = {"alpha": {"effects": {"slopes": "uniform(0.5, 1)"}, "scale": "uniform(0.5, 1)"}}
    settings = {"formulas": {"alpha": "drug + (drug | subject)"}, "correlated": True, "priors": wide}
    model = fitrl.build("q_learning", frame, **settings)
    names = ["alpha, alpha: drug[verum - placebo]", "alpha, beta", "alpha: drug[verum - placebo], beta"]
    assert list(model.coords["deviation_pair"]) == names
    drawn = pm.sample_prior_predictive(60, model=model, var_names=["alpha", "correlation"], random_seed=3)["prior"]
    placebo, verum = logit(drawn["alpha"].values[0].reshape(60, n, 2)).transpose(2, 0, 1)
    seen = [np.corrcoef((p + v) / 2, v - p)[0, 1] for p, v in zip(placebo, verum, strict=True)]
    stated = drawn["correlation"].values[0, :, 0]
    assert stated.std() > 0.2
    np.testing.assert_allclose(seen, stated, atol=5 / np.sqrt(n))


def test_a_drug_that_helps_those_who_need_it():
    """Level and response correlate at -.7, so that sessions differ in how much subjects differ."""
    frame = two_sessions(60, 150, -0.7, seed=4)
    wide = {name: {"effects": {"slopes": "halfnormal(1)"}} for name in ("alpha", "beta")}
    fit = fitrl.fit(
        "q_learning", frame, formulas={"alpha": "drug + (drug | subject)"}, priors=wide, correlated=True,
        random_seed=1, progressbar=False, chains=2, draws=500, tune=500,
    )  # fmt: skip
    row = fitrl.correlations(fit).iloc[0]
    assert row[["parameter_1", "parameter_2"]].tolist() == ["alpha", "alpha: drug[verum - placebo]"]
    assert row["hdi95_upper"] < 0
    assert row["hdi95_lower"] < -0.7 < row["hdi95_upper"]
    posterior = fit.idata["posterior"]
    s, t = posterior["alpha_sigma"].values, posterior["alpha_slope_sigma"].values[..., 0]
    r = posterior["correlation"].values[..., 0]
    before, after = s**2 + t**2 / 4 - r * s * t, s**2 + t**2 / 4 + r * s * t
    kept = fitrl.reliability(fit, "drug", separate=False).iloc[0]
    assert kept["post_mean"] == pytest.approx(((s**2 - t**2 / 4) / np.sqrt(before * after)).mean())
    assert (before > 1.5 * after).mean() > 0.95
    means = fitrl.cells(fit).query("parameter == 'alpha' and quantity == 'pop_mean'").set_index("drug")["post_mean"]
    for drug, sign, variance in (("placebo", -1, before), ("verum", 1, after)):
        eta = posterior["alpha_mu"].values + sign * posterior["alpha_effect"].values[..., 0] / 2
        of_population = population_mean(eta, np.sqrt(variance), fit.plan.parameters["alpha"])
        assert means[drug] == pytest.approx(of_population.mean())


def test_what_cannot_be_correlated_is_refused():
    frame = players(3, 20, 0.0, seed=1)
    for more in ({"pooling": "none"}, {"pooling": "complete"}, {"fixed": {"beta": 3.0}}):
        with pytest.raises(ModelError, match="nothing to correlate"):
            fitrl.build("q_learning", frame, correlated=True, **more)
    with pytest.raises(FitError, match="independent"):
        fitrl.fit("q_learning", frame, correlated=True, quick=True)
    with pytest.raises(FitError, match="--correlated"):
        fitrl.correlations(fitrl.fit("q_learning", frame, quick=True, random_seed=1))
