"""Correlated parameters: the prior, the density of subjects by hand, and what is found."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from rich.console import Console
from scipy.special import expit
from scipy.stats import beta, multivariate_normal

import fitrl
from fitrl.errors import FitError, ModelError
from fitrl.hierarchy.correlation import SHAPE, Correlated
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


def test_what_cannot_be_correlated_is_refused():
    frame = players(3, 20, 0.0, seed=1)
    for more in ({"pooling": "none"}, {"pooling": "complete"}, {"fixed": {"beta": 3.0}}):
        with pytest.raises(ModelError, match="nothing to correlate"):
            fitrl.build("q_learning", frame, correlated=True, **more)
    with pytest.raises(FitError, match="independent"):
        fitrl.fit("q_learning", frame, correlated=True, quick=True)
    with pytest.raises(FitError, match="--correlated"):
        fitrl.correlations(fitrl.fit("q_learning", frame, quick=True, random_seed=1))
