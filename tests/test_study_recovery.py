"""Coverage of credible intervals over many data sets simulated from the priors' own kind of population."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import fitrl
from fitrl.models import declare

pytestmark = pytest.mark.study

N_DATA, SUBJECTS, TRIALS = 20, 30, 150
MODELS = {"q_learning": (), "with stickiness and two rates": ("stickiness", "dual_alpha")}


def one(traits, seed):
    """Simulate, fit, and say for every subject value and location whether its interval holds the truth."""
    rng = np.random.default_rng(seed)
    model = declare("q_learning", traits)
    parameters = model.parameters()
    # Location and scale from the priors, kept to where people are, so that the posterior is judged and not the prior.
    truth, locations = {}, {}
    for name, p in parameters.items():
        locations[name] = mu = rng.normal(p.location.args[0], 0.5 * p.location.args[1])
        eta = mu + rng.uniform(0.3, 0.9) * rng.normal(size=SUBJECTS)
        truth[name] = _natural(eta, p)
    played = fitrl.simulate(
        model, subjects=SUBJECTS, trials=TRIALS, environment="reversing", parameters=truth, random_seed=rng
    )
    fit = fitrl.fit(model, played.frame, random_seed=seed, chains=2, cores=1, draws=500, tune=700, progressbar=False)
    posterior = fit.idata["posterior"].to_dataset()
    rows = []
    for name in parameters:
        draws = posterior[name].transpose("chain", "draw", "subject").to_numpy()
        low, high = np.quantile(draws, [0.025, 0.975], axis=(0, 1))
        mean = draws.mean(axis=(0, 1))
        rows += [
            (seed, name, "subject", t, m, a < t < b) for t, m, a, b in zip(truth[name], mean, low, high, strict=True)
        ]
        mu = posterior[f"{name}_mu"].to_numpy()
        a, b = np.quantile(mu, [0.025, 0.975])
        rows.append((seed, name, "location", locations[name], mu.mean(), a < locations[name] < b))
    divergences = int(fit.idata["sample_stats"]["diverging"].sum())
    return pd.DataFrame(rows, columns=["data", "parameter", "level", "truth", "mean", "inside"]), divergences


def _natural(eta, p):
    from fitrl.hierarchy.links import natural

    return natural(eta, p.link, p.lower, p.upper)


@pytest.mark.parametrize("name", MODELS)
def test_intervals_cover_the_truth(name):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(one, [MODELS[name]] * N_DATA, range(1, N_DATA + 1)))
    table = pd.concat([rows for rows, _ in done])
    assert sum(n == 0 for _, n in done) >= 0.9 * N_DATA
    subjects = table[table["level"] == "subject"]
    for parameter, rows in subjects.groupby("parameter"):
        coverage, r = rows["inside"].mean(), np.corrcoef(rows["truth"], rows["mean"])[0, 1]
        # Subjects of a data set share its population; the spread between data sets gives the honest error.
        per_data = rows.groupby("data")["inside"].mean()
        error = per_data.std(ddof=1) / np.sqrt(N_DATA)
        low, high = binom.interval(0.99, len(rows), 0.95)
        print(f"{name}: {parameter} coverage {coverage:.3f} (error {error:.3f}), correlation {r:.2f}")
        slack = 2.6 * error
        assert low / len(rows) - slack < coverage < high / len(rows) + slack
        assert r > 0.6
    locations = table[table["level"] == "location"]["inside"]
    print(f"{name}: locations inside {locations.sum()} of {len(locations)}")
    assert locations.sum() >= binom.ppf(0.005, len(locations), 0.95)
