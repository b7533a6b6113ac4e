"""A complete fit from the command line, cold (empty caches) and warm, split into its parts.

Run: .venv/bin/python benchmarks/fit.py [--data FILE --model NAME --priors default]
Without a file it simulates 50 x 200 trials of Q-learning. Prints seconds and the smallest bulk ESS per second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

FITRL = str(Path(sys.executable).with_name("fitrl"))
PARTS = ("import", "build", "pilot", "compile", "sample", "write")


def one_fit(arguments, out, caches):
    """Run `fitrl fit` in a process of its own; returns seconds by part, whole, and the smallest group ESS."""
    environment = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={caches}", "COLUMNS": "100"}
    started = time.perf_counter()
    done = subprocess.run([FITRL, "fit", *arguments, "--out", out], env=environment, capture_output=True, text=True)
    whole = time.perf_counter() - started
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    line = next(line for line in done.stdout.splitlines() if line.startswith("Seconds:"))
    parts = dict(part.split() for part in line.removeprefix("Seconds:").split(";")[0].split(", "))
    verdict = json.loads((Path(out) / "verdict.json").read_text())["status"]
    ess = pd.read_csv(Path(out) / "group.csv")["ess_bulk"].min()
    return {**{p: float(parts[p]) for p in PARTS}, "whole": whole, "ESS": ess, "verdict": verdict}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--model", default="q_learning")
    parser.add_argument("--priors", default="default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = given.data
        if data is None:
            import fitrl

            data = f"{folder}/simulated.csv"
            fitrl.simulate("q_learning", subjects=50, trials=200, random_seed=1).frame.to_csv(data, index=False)
        arguments = [data, "--model", given.model, "--priors", given.priors, "--seed", "1"]
        print(f"{Path(data).name}, {given.model}, priors {given.priors}")
        print(f"{'':6}" + "".join(f"{p:>9}" for p in (*PARTS, "whole", "ESS/s")) + "  verdict")
        for label in ("cold", "warm"):
            found = one_fit(arguments, f"{folder}/out", f"{folder}/caches")
            numbers = [*(found[p] for p in PARTS), found["whole"], found["ESS"] / found["whole"]]
            print(f"{label:6}" + "".join(f"{x:9.1f}" for x in numbers) + f"  {found['verdict']}")


if __name__ == "__main__":
    main()
