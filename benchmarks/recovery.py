"""Recovery of every model of tier 1 at values that real people have: 30 subjects x 200 trials, 20 data sets.

Each model is fitted to a public data set first. New people from the population of that fit play the task, or (--same)
its own subjects do, and are fitted again. Parameters may be correlated in both, as those of real people are.
A study that was stopped continues; what is finished is kept in --out.

Run: .venv/bin/python benchmarks/recovery.py --data ../shared/data --out recovery [--only q_learning opal] [--cores 2]
"""

import argparse
from pathlib import Path

import pandas as pd

import fitrl
import fitrl.models
from fitrl.fitting.store import load

SAMPLER = {"draws": 1500, "tune": 1000, "chains": 2, "progressbar": False}
KIND = {False: "new", True: "same"}


def bandit2arm(data, model):
    return fitrl.read_trials(data / "hbayesdm_bandit2arm.txt", model)


def reversal(data, model):
    return fitrl.read_trials(data / "hbayesdm_prl.txt", model)


def turi(data, model):
    """Training in the baseline condition: three pairs of symbols."""
    raw = pd.read_csv(data / "turi2017_pst.csv").query("condition == 'N'")
    good, bad = (raw["pair"].map(dict(enumerate(letters, start=1))) for letters in ("ACE", "BDF"))
    choice = good.where(raw["choice"] == 1, bad).where(raw["choice"].notna())
    options = {"option_1": good, "option_2": bad, "choice": choice, "outcome": raw["reward"]}
    return fitrl.read_trials(raw[["subject", "trial"]].assign(**options), model)


def fontanesi(data, model):
    names = {"option_1": "option_correct", "option_2": "option_incorrect", "outcome_forgone": "forgone"}
    file = data / "fontanesi2019_rlddm.csv"
    return fitrl.read_trials(file, model, columns=names, outcome_scale=100, reset="block")


def zorowitz(data, model):
    """The first 60 people."""
    raw = pd.read_csv(data / "zorowitz2023_twostep.csv")
    return fitrl.read_trials(raw[raw["subject"].isin(raw["subject"].unique()[:60])], model)


def hbayesdm_ts(data, model):
    return fitrl.read_trials(data / "hbayesdm_ts.txt", model)


def mikus(data, model):
    """The first 60 people under placebo."""
    raw = pd.read_csv(data / "mikus2025_testosterone.csv").query("admin == 'Placebo'")
    return fitrl.read_trials(raw[raw["subject"].isin(raw["subject"].unique()[:60])], model, outcome_scale=5)


# Name of the study: model, traits, real people, how payoffs come about (None: the default of the task).
STUDIES = {
    "q_learning": ("q_learning", (), bandit2arm, "fixed"),
    "dual_alpha": ("q_learning", ("dual_alpha",), turi, "pairs"),
    "dual_alpha_reversal": ("q_learning", ("dual_alpha",), reversal, "reversing"),
    "confirmation_bias": ("q_learning", ("confirmation_bias",), fontanesi, "pairs"),
    "reward_punishment": ("reward_punishment", (), bandit2arm, "fixed"),
    "reward_punishment_reversal": ("reward_punishment", (), reversal, "reversing"),
    "opal": ("opal", (), turi, "pairs"),
    "two_step_split": ("two_step_split", (), zorowitz, None),
    "two_step_split_ts": ("two_step_split", (), hbayesdm_ts, None),
    "two_step_daw": ("two_step_daw", (), zorowitz, None),
    "two_step_daw_ts": ("two_step_daw", (), hbayesdm_ts, None),
    "two_step_hbayesdm": ("two_step_hbayesdm", (), hbayesdm_ts, None),
    "two_step_kool": ("two_step_kool", (), mikus, None),
    "dynamic_alpha": ("dynamic_alpha", (), reversal, "volatile"),
    "pearce_hall": ("pearce_hall", (), reversal, "volatile"),
    "vkf_binary": ("vkf_binary", (), reversal, "volatile"),
    "ehgf_binary": ("ehgf_binary", (), reversal, "volatile"),
}


def study(name, data, out, studies, cores, same):
    """Fit the real people unless that is done, and do what is missing of the study."""
    model, traits, people, environment = STUDIES[name]
    folder = out / name / "people"
    if not folder.exists():
        declared = fitrl.models.declare(model, traits)
        found = fitrl.fit(model, people(data, declared), traits=traits, correlated=True, random_seed=1, **SAMPLER)
        print(f"{name}: {found.verdict}", flush=True)
        found.save(folder)
    found = fitrl.recover(
        fit=load(folder), new_people=not same, out=out / name / KIND[same], subjects=30, trials=200, studies=studies,
        environment=environment, random_seed=1, cores=cores, **SAMPLER,
    )  # fmt: skip
    return found


def written(out, same):
    """Write the subject level of every finished study as a table in Markdown."""
    lines = [
        "| study | converged | parameter | r | bias | RMSE | coverage of 95 % intervals |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in STUDIES:
        folder = out / name / KIND[same]
        if not (folder / "recovery.csv").exists():
            continue
        fits, table = pd.read_csv(folder / "fits.csv"), pd.read_csv(folder / "recovery.csv")
        first = f"`{name}` | {(fits['status'] == 'converged').sum()} of {len(fits)}"
        for row in table[table["level"] == "subject"].to_dict("records"):
            covered = [f"{100 * row[f'coverage{end}']:.0f} %" for end in ("", "_lower", "_upper")]
            numbers = [f"{row['r_pooled']:.2f}", f"{row['bias']:+.2g}", f"{row['rmse']:.2g}"]
            cells = [first, f"`{row['parameter']}`", *numbers, f"{covered[0]} ({covered[1]} to {covered[2]})"]
            lines.append(f"| {' | '.join(cells)} |")
            first = " | "
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--cores", type=int)
    parser.add_argument("--same", action="store_true", help="the people of the public data set themselves")
    given = parser.parse_args()
    for name in given.only:
        found = study(name, given.data, given.out, given.studies, given.cores, given.same)
        print(f"\n## {name}\n\n{found.text()}", flush=True)
    print(f"\n{written(given.out, given.same)}")


if __name__ == "__main__":
    main()
