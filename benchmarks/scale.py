"""One large fit: wall time, peak memory, divergences, R-hat, gradients per effective sample.

Run: .venv/bin/python benchmarks/scale.py --subjects 2000 [--model q_learning --trials 200 --centered alpha beta]
"""

import argparse
import resource
import time

import fitrl


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="q_learning")
    parser.add_argument("--subjects", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--centered", nargs="*", default=())
    given = parser.parse_args()
    trials = fitrl.simulate(given.model, subjects=given.subjects, trials=given.trials, random_seed=1).trials
    started = time.perf_counter()
    fit = fitrl.fit(
        given.model,
        trials,
        random_seed=1,
        draws=given.draws,
        tune=given.tune,
        centered=tuple(given.centered),
        progressbar=False,
    )
    wall = time.perf_counter() - started
    stats = fit.idata["sample_stats"].to_dataset()
    table = fitrl.summary(fit)
    gradients = float(stats["n_steps"].sum())
    print(f"{given.model}, {given.subjects} x {given.trials}, centred: {', '.join(given.centered) or 'none'}")
    print(fit.verdict)
    print(f"wall {wall:.0f} s ({', '.join(f'{k} {v:.0f}' for k, v in fit.spec.timings.items())})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")
    print(f"divergences {int(stats['diverging'].sum())}, largest R-hat {table['r_hat'].max():.3f}")
    print(f"mean tree depth {float(stats['tree_depth'].mean()):.1f}, gradients {gradients:.0f}")
    print(f"smallest bulk ESS {table['ess_bulk'].min():.0f}: {gradients / table['ess_bulk'].min():.0f} gradients each")


if __name__ == "__main__":
    main()
