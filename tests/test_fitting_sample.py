"""The retry ladder, the door to pm.sample, and what is left after an interruption."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from fitrl.errors import FitError, FitrlError
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
    """Stand in for pm.sample: returns the prepared trees in turn and keeps the calls."""
    calls, results = [], []

    def stand_in(**kwargs):
        calls.append(kwargs)
        return results.pop(0)

    # The signature is what check_sample_kwargs reads.
    stand_in.__signature__ = __import__("inspect").signature(pm.sample)
    monkeypatch.setattr(pm, "sample", stand_in)
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
