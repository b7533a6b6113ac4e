"""Chain diagnostics against ArviZ's own, one quantity at a time."""

import arviz_stats as az
import numpy as np
import pytest
import xarray as xr

from fitrl.fitting.diagnostics import SAMPLE_DIMS, TAIL, diagnostics, highest_density


def autoregressive(rng, n_quantities, chains, draws, rho):
    x = rng.normal(size=(n_quantities, chains, draws))
    for t in range(1, draws):
        x[..., t] += rho * x[..., t - 1]
    return x


def made(kind, chains, draws):
    rng = np.random.default_rng(3)
    x = {
        "independent": lambda: rng.normal(size=(40, chains, draws)),
        "sticky": lambda: autoregressive(rng, 40, chains, draws, 0.95),
        "antithetic": lambda: autoregressive(rng, 40, chains, draws, -0.7),
        "tied": lambda: rng.integers(0, 5, size=(40, chains, draws)).astype(float),
        "skewed": lambda: rng.normal(size=(40, chains, draws)) ** 4,
        "apart": lambda: rng.normal(size=(40, chains, draws)) + np.arange(chains)[None, :, None],
        "drifting": lambda: autoregressive(rng, 40, chains, draws, 0.5) + np.linspace(0, 2, draws),
    }[kind]()
    return xr.Dataset({"x": (("subject", "chain", "draw"), x), "y": (("chain", "draw"), x[0])})


KINDS = ("independent", "sticky", "antithetic", "tied", "skewed", "apart", "drifting")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("chains", "draws"), [(4, 100), (2, 101), (1, 64), (3, 8), (4, 13)])
def test_diagnostics_are_those_of_arviz(kind, chains, draws):
    data = made(kind, chains, draws)
    found = diagnostics(data)
    expected = {
        "ess_bulk": az.ess(data, sample_dims=SAMPLE_DIMS, method="bulk"),
        "ess_tail": az.ess(data, sample_dims=SAMPLE_DIMS, method="tail", prob=TAIL),
        "mcse_mean": az.mcse(data, sample_dims=SAMPLE_DIMS, method="mean"),
        "sd": data.std(SAMPLE_DIMS, ddof=1),
    }
    if chains > 1:
        expected["r_hat"] = az.rhat(data, sample_dims=SAMPLE_DIMS, method="rank")
    else:
        assert np.isnan(found["r_hat"]["x"]).all()
    for statistic, values in expected.items():
        for name in ("x", "y"):
            want = values[name].where(np.isfinite(values[name]))
            assert found[statistic][name].dims == want.dims
            np.testing.assert_allclose(found[statistic][name], want, rtol=1e-9, err_msg=f"{statistic}[{name}]")


def test_draws_without_meaning_give_no_number():
    x = np.random.default_rng(0).normal(size=(4, 3, 50))
    x[0] = 1.5
    x[1, 0, 0] = np.inf
    x[2, 1, 1] = np.nan
    found = diagnostics(xr.Dataset({"x": (("subject", "chain", "draw"), x)}))
    for values in found.values():
        assert np.isnan(values["x"][:3]).all()
        assert np.isfinite(values["x"][3])


def test_stuck_chains_are_not_called_converged():
    x = np.repeat(np.arange(4.0)[:, None], 100, axis=1)
    found = diagnostics(xr.Dataset({"x": (("chain", "draw"), x)}))
    assert not found["r_hat"]["x"] <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_are_those_of_arviz(kind):
    data = made(kind, 4, 103)
    lower, upper = highest_density(data, 0.95)
    expected = az.hdi(data, prob=0.95, dim=SAMPLE_DIMS)
    for bound, values in (("lower", lower), ("upper", upper)):
        for name in ("x", "y"):
            np.testing.assert_array_equal(values[name], expected[name].sel(ci_bound=bound))


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_of_a_few_draws_nothing_is_said(draws):
    found = diagnostics(xr.Dataset({"x": (("chain", "draw"), np.random.default_rng(1).normal(size=(2, draws)))}))
    assert all(np.isnan(values["x"].item()) for values in found.values())
