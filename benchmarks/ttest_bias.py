"""False alarms of a t-test on point estimates, beside those of the effect in the hierarchical model.

A crossover of 20 subjects x 60 trials per session in which the drug does nothing. Three analyses of each data set:

- effect: one model of all sessions, ``alpha ~ drug + (drug | subject)``; found if the 95 % interval excludes 0.
- two hierarchies: a hierarchical model of each session, a paired t-test on the subjects' posterior means (logit).
- alone: every subject and session by itself (no pooling), a paired t-test on these estimates (logit).

All fits are Laplace approximations. The second analysis is too sure because means of different subjects are pulled
together, within each session towards its own population: their differences vary less than those of the subjects, while
the difference of the two populations keeps all of its noise (Boehm, Marsman, Matzke & Wagenmakers 2018,
10.3758/s13428-018-1054-3, for two groups: two-step analyses of hierarchical estimates are biased towards the
alternative, those that ignore the hierarchy towards the null).

Seeds 0 to 199: the effect found a difference in 0 of 200 (95 % binomial 0 to 1.8 %), two hierarchies in 33 % (26 to
40 %), alone in 5 % (2 to 9 %); 5 % are due. The first finds fewer, since zero is the middle of the prior of an effect
and so few trials move it little; how well real effects are covered is in effects.py.

Run: .venv/bin/python benchmarks/ttest_bias.py [--replications 100] [--subjects 20] [--trials 60] [--shift 0]
"""

import argparse
import logging

import numpy as np
from scipy.special import logit
from scipy.stats import ttest_rel

import fitrl
from fitrl.study.statistics import coverage_interval

NOMINAL = 0.05


def estimated(trials, name, seed, **settings):
    """Return posterior means of subjects on the logit scale, by subject."""
    fit = fitrl.fit("q_learning", trials, quick=True, random_seed=seed, **settings)
    draws = fit.idata["posterior"][name]
    return dict(zip(draws["subject"].to_numpy(), logit(draws).mean(("chain", "draw")).to_numpy(), strict=True))


def data_set(subjects, trials, shift, seed):
    people = fitrl.population("q_learning", subjects=subjects, trials=trials, environment="reversing", random_seed=seed)
    drug = fitrl.Perturbation("verum", (fitrl.Target("alpha", shift),))
    return drug, fitrl.crossover(people, drug, random_seed=seed)


def analyses(drug, made, seed):
    """Say for each analysis whether it finds a difference."""
    found = fitrl.estimate(drug, "q_learning", made.trials, on={"drug": "verum"}, quick=True, random_seed=seed).table
    (row,) = found.to_dict("records")
    frame = made.frame.drop(columns=["drug", "session"])
    under = made.frame["drug"] == "verum"
    apart = [estimated(frame[here].reset_index(drop=True), "alpha", seed) for here in (under, ~under)]
    names = frame["subject"].unique()
    each = frame.assign(subject=frame["subject"] + np.where(under, " verum", " placebo"))
    alone = estimated(each, "alpha", seed, pooling="none")
    pairs = {
        "two hierarchies": [[of[name] for name in names] for of in apart],
        "alone": [[alone[f"{name} {what}"] for name in names] for what in ("verum", "placebo")],
    }
    clear = {"effect": bool(row["hdi95_lower"] > 0 or row["hdi95_upper"] < 0)}
    return clear | {name: bool(ttest_rel(*pair).pvalue < NOMINAL) for name, pair in pairs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=100)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--shift", type=float, default=0.0, help="of the learning rate, on the logit")
    given = parser.parse_args()
    logging.getLogger("fitrl").setLevel(logging.ERROR)  # the notes on each design
    found = {}
    for seed in range(given.replications):
        drug, made = data_set(given.subjects, given.trials, given.shift, seed)
        for name, clear in analyses(drug, made, seed).items():
            found.setdefault(name, []).append(clear)
    print(f"{given.replications} crossovers of {given.subjects} x {given.trials}, shift {given.shift:g} on the logit")
    for name, clear in found.items():
        low, high = coverage_interval(np.array(clear), np.arange(len(clear)))
        print(f"  {name:<16} finds a difference in {np.mean(clear):6.1%}  (95 % binomial {low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
