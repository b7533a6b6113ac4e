"""The retry ladder, the door to pm.sample, and what is left after an interruption."""

import os
import subprocess
import sys

import numpy as np
import nutpie
import pymc as pm
import pytest
import xarray as xr

import fitrl
from fitrl.errors import FitError, FitrlError
from fitrl.fitting import sample as sampling
from fitrl.fitting.compiled import compile_model
from fitrl.fitting.sample import check_sample_kwargs, sample


def tree(divergences=0, chains=4, draws=100, missing=()):
    """What a sampler returns; `missing` is the number of draws that each chain lacks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(chains, draws))
    diverging = np.zeros((chains, draws), bool)
    diverging.flat[:divergences] = True
    for chain, lacking in enumerate(missing):
        x[chain, draws - lacking :] = np.nan
    coords = {"chain": range(chains), "draw": range(draws)}
    dims = ("chain", "draw")
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"x": (dims, x)}, coords, {"sampling_time": 0.0}),
            "sample_stats": xr.Dataset({"diverging": (dims, diverging), "depth": (dims, np.full(x.shape, 3))}, coords),
        }
    )


@pytest.fixture
def sampler(monkeypatch):
    """Stand in for the sampler: returns the prepared trees in turn and keeps the calls."""
    calls, results = [], []

    def stand_in(model, arguments):
        calls.append(arguments)
        return results.pop(0)

    monkeypatch.setattr(sampling, "_nutpie", lambda model, arguments, starts: lambda a: stand_in(model, a))
    monkeypatch.setattr(sampling, "_pymc", stand_in)
    return calls, results


def test_without_divergences_there_is_one_run(sampler):
    calls, results = sampler
    results.append(tree())
    idata, attempts, _ = sample(None, {"draws": 100})
    assert [c["target_accept"] for c in calls] == [0.9]
    assert (calls[0]["tune"], calls[0]["chains"]) == (1000, 4)
    assert attempts == ({"target_accept": 0.9, "divergences": 0, "interrupted": False},)
    assert "tree_depth" in idata["sample_stats"]


def test_divergences_climb_the_ladder_and_are_logged(sampler, caplog):
    _, results = sampler
    results.extend([tree(3), tree(1), tree(0)])
    _, attempts, _ = sample(None, {"draws": 100})
    assert [a["target_accept"] for a in attempts] == [0.9, 0.95, 0.99]
    assert [a["divergences"] for a in attempts] == [3, 1, 0]
    assert [r.getMessage().split(" at ")[0] for r in caplog.records] == ["3 divergences", "1 divergences"]


def test_the_ladder_starts_where_the_user_says_and_ends(sampler):
    _, results = sampler
    results.extend([tree(3), tree(2)])
    _, attempts, _ = sample(None, {"draws": 100, "target_accept": 0.97})
    assert [a["target_accept"] for a in attempts] == [0.97, 0.99]
    assert attempts[-1]["divergences"] == 2


def test_options_of_nuts_pass_through_with_the_target(sampler):
    calls, results = sampler
    results.extend([tree(1), tree(0)])
    sample(None, {"draws": 100, "nuts": {"adaptation": "low_rank", "target_accept": 0.92}})
    assert [c["nuts"] for c in calls] == [
        {"adaptation": "low_rank", "target_accept": 0.92},
        {"adaptation": "low_rank", "target_accept": 0.95},
    ]
    assert all("target_accept" not in c for c in calls)


def test_an_interruption_keeps_what_every_started_chain_has(sampler):
    calls, results = sampler
    results.append(tree(2, missing=(10, 40, 100, 100)))
    idata, attempts, _ = sample(None, {"draws": 100})
    assert idata["posterior"].sizes["chain"] == 2
    assert idata["posterior"].sizes["draw"] == idata["sample_stats"].sizes["draw"] == 60
    assert attempts[-1]["interrupted"]
    assert len(calls) == 1  # an interrupted run is not repeated


def test_fewer_chains_than_asked_for_is_an_interruption(sampler):
    _, results = sampler
    results.append(tree(chains=3))
    _, attempts, _ = sample(None, {"draws": 100})
    assert attempts[-1]["interrupted"]


def test_nothing_sampled_is_an_error(sampler):
    _, results = sampler
    results.append(tree(missing=(100, 100, 100, 100)))
    with pytest.raises(FitrlError, match="before the first draw"):
        sample(None, {"draws": 100})


def test_a_slip_in_an_argument_is_named():
    with pytest.raises(FitError, match=r'no argument "darws"\. Did you mean "draws"'):
        check_sample_kwargs({"darws": 10})
    check_sample_kwargs({"target_accept": 0.9, "max_treedepth": 8, "nuts_sampler": "pymc", "cores": 1})


@pytest.fixture(scope="module")
def small():
    trials = fitrl.simulate("q_learning", subjects=5, trials=30, random_seed=1).trials
    return fitrl.build("q_learning", trials), trials


def test_both_doors_to_nutpie_give_the_same_draws(small):
    model, _ = small
    run = {"draws": 50, "tune": 50, "chains": 2, "cores": 2, "random_seed": 7, "progressbar": False}
    ours, _, _ = sample(model, run)
    theirs = pm.sample(model=model, target_accept=0.9, compute_convergence_checks=False, **run)
    for name, draws in theirs["posterior"].data_vars.items():
        np.testing.assert_array_equal(ours["posterior"][name], draws)
    assert set(ours.children) == set(theirs.children)
    assert ours["posterior"].attrs.keys() >= {"sampling_time", "tuning_steps"}


@pytest.mark.parametrize("model", ["q_learning", "two_step_daw"])
def test_entry_points_are_kept_on_disk(model):
    trials = fitrl.simulate(model, subjects=5, trials=30, random_seed=1).trials
    model = fitrl.build(model, trials)
    compile_model(model)
    again = compile_model(model)
    assert again.compiled_logp_func.cache_hits == again.compiled_expand_func.cache_hits == 1


def test_one_compilation_serves_other_data_of_the_same_design(small):
    model, _ = small
    other_trials = fitrl.simulate("q_learning", subjects=5, trials=41, random_seed=2).trials
    other = fitrl.build("q_learning", other_trials)
    run = {"draws": 20, "tune": 20, "chains": 1, "seed": 3, "progress_bar": False}
    data = {name: other[name].get_value() for name in (v.name for v in other.data_vars)}
    swapped = nutpie.sample(compile_model(model).with_data(**data), **run)
    fresh = nutpie.sample(compile_model(other), **run)
    np.testing.assert_array_equal(swapped["posterior"]["alpha"], fresh["posterior"]["alpha"])


def test_an_argument_that_only_pymc_knows_goes_to_pymc(monkeypatch, small):
    model, _ = small
    seen = {}

    def stand_in(**kwargs):
        seen.update(kwargs)
        return tree(draws=5, chains=1)

    stand_in.__signature__ = __import__("inspect").signature(pm.sample)
    monkeypatch.setattr(pm, "sample", stand_in)
    sample(model, {"draws": 5, "tune": 5, "chains": 1, "nuts_sampler": "pymc"})
    assert seen["nuts_sampler"] == "pymc"
    assert seen["model"] is model


def test_a_jax_sampler_agrees():
    """With `pip install fitrl[jax]`: the reference likelihood under numpyro gives the posterior of ours."""
    pytest.importorskip("numpyro")
    trials = fitrl.simulate("q_learning", subjects=4, trials=60, random_seed=3).trials
    settings = {"chains": 2, "tune": 500, "draws": 500, "random_seed": 1, "progressbar": False}
    ours, theirs = (
        fitrl.fit("q_learning", trials, **settings, **more).idata["posterior"]
        for more in ({}, {"nuts_sampler": "numpyro"})
    )
    for name in ("alpha_mu", "beta_mu", "alpha_sigma", "beta_sigma"):
        a, b = ours[name].to_numpy(), theirs[name].to_numpy()
        assert abs(a.mean() - b.mean()) < 0.25 * a.std(), name
        assert b.std() == pytest.approx(a.std(), rel=0.25), name


ONE_FIT = """
import fitrl
data = fitrl.simulate("q_learning", subjects=4, trials=20, random_seed=1)
fitrl.fit("q_learning", data.trials, draws=20, tune=20, chains=1, progressbar=False, random_seed=1)
"""


def test_a_fit_leaves_nothing_in_the_temporary_directory(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", ONE_FIT]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
