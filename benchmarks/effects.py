"""Do intervals of effects hold what they promise? Two groups and crossovers, simulated and fitted many times.

In each data set the learning rate moves by an amount drawn from the default prior of an effect, normal(0, 0.5) on the
logit, and the inverse temperature does not move. Two groups of --people each, ``alpha, beta ~ group``; crossovers of
--people x 2 sessions who respond differently in both parameters (sd 0.3), ``alpha, beta ~ drug + (drug | subject)``.
Fits are Laplace approximations; --nuts does the first so many data sets of each design by NUTS, too.

Run: .venv/bin/python benchmarks/effects.py [--people 60] [--trials 200] [--replications 200] [--nuts 20] [--cores 2]
"""

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

import fitrl
from fitrl.study.statistics import coverage_interval

DESIGNS = ("two groups", "crossover")
NUTS = {"draws": 500, "tune": 500, "chains": 2, "cores": 1, "progressbar": False}


def analysed(job):
    """Simulate and fit one data set; a row for each of the two effects."""
    design, seed, nuts, each, trials = job
    logging.getLogger("fitrl").setLevel(logging.ERROR)  # the notes on each design
    of_shift, of_people, of_sessions = (np.random.default_rng([seed, k]) for k in range(3))
    shift = float(of_shift.normal(0.0, 0.5))
    people = fitrl.population(
        "q_learning",
        subjects=each if design == "crossover" else 2 * each,
        trials=trials,
        environment="reversing",
        random_seed=of_people,
    )
    if design == "crossover":
        targets = fitrl.Target("alpha", shift, sd_delta=0.3), fitrl.Target("beta", 0.0, sd_delta=0.3)
        drug = fitrl.Perturbation("verum", targets)
        made, formula = fitrl.crossover(people, drug, random_seed=of_sessions), "drug + (drug | subject)"
    else:
        patients = fitrl.Perturbation("patients", (fitrl.Target("alpha", shift),), apply_to="group")
        made, formula = fitrl.two_groups(people, patients), "group"
    settings = NUTS if nuts else {"quick": True}
    fit = fitrl.fit(
        "q_learning", made.trials, formulas={"alpha": formula, "beta": formula}, random_seed=seed, **settings
    )
    table = fitrl.effects(fit).set_index("parameter")
    # Later levels are compared with earlier ones: controls - patients would turn the sign.
    sign = -1.0 if "- patients" in table.loc["alpha", "effect"] or "- verum" in table.loc["alpha", "effect"] else 1.0
    return [
        {"design": design, "by": "NUTS" if nuts else "Laplace", "parameter": name, "truth": sign * truth}
        | {what: table.loc[name, what] for what in ("post_mean", "post_sd", "hdi95_lower", "hdi95_upper")}
        for name, truth in (("alpha", shift), ("beta", 0.0))
    ]


def share(hit):
    """Write a share with its 95 % binomial interval."""
    low, high = coverage_interval(np.array(hit), np.arange(len(hit)))
    return f"{np.mean(hit):6.1%} ({low:.1%} to {high:.1%}) of {len(hit)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--nuts", type=int, default=20)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    size = given.people, given.trials
    jobs = [(d, seed, False, *size) for seed in range(given.replications) for d in DESIGNS]
    jobs += [(d, seed, True, *size) for seed in range(given.nuts) for d in DESIGNS]
    with ProcessPoolExecutor(given.cores) as pool:
        table = pd.DataFrame([row for rows in pool.map(analysed, jobs, chunksize=4) for row in rows])
    table["covered"] = (table["hdi95_lower"] <= table["truth"]) & (table["truth"] <= table["hdi95_upper"])
    table["found"] = (table["hdi95_lower"] > 0) | (table["hdi95_upper"] < 0)
    for by, fits in table.groupby("by"):
        for design, own in [*fits.groupby("design"), ("both", fits)]:
            effect, zero = (own[own["parameter"] == name] for name in ("alpha", "beta"))
            print(f"{by}, {design}")
            print(f"  effects covered      {share(effect['covered'])}")
            print(f"  zeros found          {share(zero['found'])}")
            print(f"  both covered         {share(own['covered'])}")
            error = effect["post_mean"] - effect["truth"]
            print(f"  bias {error.mean():+.3f}, RMSE {np.sqrt((error**2).mean()):.3f} (effects: sd 0.5)")
            print(f"  errors in posterior sds: sd {(error / effect['post_sd']).std():.2f}", flush=True)


if __name__ == "__main__":
    main()
