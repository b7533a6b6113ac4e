"""Coverage and calibration of sampled posteriors over many simulated data sets."""

import pytest

import fitrl

pytestmark = pytest.mark.study

SAMPLER = {"draws": 500, "tune": 700, "chains": 2, "progressbar": False}
MODELS = {"q_learning": (), "with stickiness and two rates": ("stickiness", "dual_alpha")}


@pytest.mark.parametrize("name", MODELS)
def test_intervals_cover_the_truth(name, tmp_path):
    """Thirty subjects x 150 trials, twenty populations from the priors."""
    found = fitrl.recover(
        "q_learning", traits=MODELS[name], subjects=30, trials=150, studies=20, environment="reversing",
        random_seed=1, out=tmp_path, **SAMPLER,
    )  # fmt: skip
    print(found.text())
    assert (found.fits["divergences"] == 0).mean() >= 0.9
    outside = found.table[(found.table["coverage_lower"] > 0.95) | (found.table["coverage_upper"] < 0.95)]
    # Of three rows per parameter one in twenty misses by chance: two of six to twelve are too many.
    assert len(outside) <= 1, outside
    assert found.table["coverage"].min() > 0.7
    subjects = found.table[found.table["level"] == "subject"]
    assert (subjects["r_pooled"] > 0.6).all()


def test_the_sampler_is_calibrated(tmp_path):
    """Group locations, scales and the log-likelihood of 200 small data sets."""
    found = fitrl.calibrate("q_learning", simulations=200, random_seed=1, out=tmp_path, **SAMPLER)
    print(found.text())
    assert found.passed
