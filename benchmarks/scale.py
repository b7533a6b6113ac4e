"""One large fit: wall time, peak memory, divergences, R-hat, gradients per effective sample.

Run: .venv/bin/python benchmarks/scale.py --model two_step_split --subjects 1400 [--trials 200 --draws 500 --tune 500]
or with data of your own: --data FILE --model NAME
or a drug study of two sessions, with effects and slopes on these parameters:
    --model two_step_split --subjects 100 --crossover beta_mb beta_mf alpha
"""

import argparse
import resource
import time

import fitrl


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--model", default="q_learning")
    parser.add_argument("--subjects", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--target-accept", type=float, default=0.9)
    parser.add_argument("--crossover", nargs="+", metavar="PARAMETER", default=[], help="the drug moves the first")
    parser.add_argument("--correlated", action="store_true")
    given = parser.parse_args()
    if given.data:
        trials = fitrl.read_trials(given.data, model=given.model)
    elif given.crossover:
        people = fitrl.population(given.model, subjects=given.subjects, trials=given.trials, random_seed=1)
        drug = fitrl.Perturbation("verum", (fitrl.Target(given.crossover[0], -0.5),))
        trials = fitrl.crossover(people, drug, random_seed=1).trials
    else:
        trials = fitrl.simulate(given.model, subjects=given.subjects, trials=given.trials, random_seed=1).trials
    started = time.perf_counter()
    sampling = {"draws": given.draws, "tune": given.tune, "target_accept": given.target_accept}
    formulas = dict.fromkeys(given.crossover, "drug + (drug | subject)")
    fit = fitrl.fit(
        given.model,
        trials,
        formulas=formulas,
        correlated=given.correlated,
        random_seed=1,
        progressbar=False,
        **sampling,
    )
    wall = time.perf_counter() - started
    stats = fit.idata["sample_stats"].to_dataset()
    table = fitrl.summary(fit)
    gradients = float(stats["n_steps"].sum())
    print(f"{given.model}, {trials.n_subjects} subjects, {len(trials.frame):,} trials, {sampling}")
    print(fit.verdict)
    print(f"wall {wall:.0f} s ({', '.join(f'{k} {v:.0f}' for k, v in fit.spec.timings.items())})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")
    print(f"divergences {int(stats['diverging'].sum())}, largest R-hat {table['r_hat'].max():.3f}")
    print(f"mean tree depth {float(stats['tree_depth'].mean()):.1f}, gradients {gradients:.0f}")
    print(f"smallest bulk ESS {table['ess_bulk'].min():.0f}: {gradients / table['ess_bulk'].min():.0f} gradients each")


if __name__ == "__main__":
    main()
