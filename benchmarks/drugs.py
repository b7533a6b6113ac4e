"""Four published studies of interventions, each in one hierarchical model, to compare with what the papers report.

Run: .venv/bin/python benchmarks/drugs.py --data ../shared/data --out drugs [--only turi mikus]
"""

import argparse
import time
from pathlib import Path

import pandas as pd

import fitrl
from fitrl.language.traits import forgetting

USER_MODELS = Path(__file__).parents[1] / "tests" / "user_models"
DRUG = "condition + (condition | subject)"


def turi(data):
    """Placebo by sham stimulation: N without it, A and B with; the data do not say which of them was announced how."""
    raw = pd.read_csv(data / "turi2017_pst.csv")
    good, bad = (raw["pair"].map(dict(enumerate(letters, start=1))) for letters in ("ACE", "BDF"))
    choice = good.where(raw["choice"] == 1, bad).where(raw["choice"].notna())
    frame = raw.assign(option_1=good, option_2=bad, choice=choice, outcome=raw["reward"], session=raw["condition"])
    frame = frame[["subject", "session", "trial", "condition", "option_1", "option_2", "choice", "outcome"]]
    return {"model": "q_learning", "trials": frame, "formulas": {"alpha": DRUG, "beta": DRUG}}


def turi_two_rates(data):
    """The same with a learning rate for each sign of the prediction error."""
    formulas = dict.fromkeys(("alpha_pos", "alpha_neg", "beta"), DRUG)
    return turi(data) | {"traits": ["dual_alpha"], "formulas": formulas}


def michely(data):
    """Two groups by two days, cards. Which group had the drug is not published with the data."""
    raw = pd.read_csv(data / "michely2022_ssri.csv")
    raw = raw.assign(drug=raw["drug"].map({0: "group 0", 1: "group 1"}), when=raw["day"].map({1: "day 1", 2: "day 2"}))
    model = str(USER_MODELS / "deck_game.py")
    trials = fitrl.read_trials(raw, model, columns={"session": "day"})
    formulas = dict.fromkeys(("alpha_win", "alpha_loss"), "drug * when + (when | subject)")
    return {"model": model, "trials": trials, "formulas": formulas}


def mikus(data):
    """Testosterone or placebo, between people, Kool's task in points; model-free values that are not chosen fade."""
    columns = {"payoff_1": "rew_s1", "payoff_2": "rew_s2"}
    file = data / "mikus2025_testosterone.csv"
    trials = fitrl.read_trials(file, "two_step_kool_split", columns=columns, outcome_scale=5)
    formulas = dict.fromkeys(("beta_mb", "beta_mf", "alpha"), "admin")
    return {
        "model": "two_step_kool_split",
        "traits": [forgetting(field="q_mf")],
        "trials": trials,
        "formulas": formulas,
    }


def kirschner(data, *, anew=True):
    """Methamphetamine and placebo, within people, gamble or pass; values start afresh where probabilities change."""
    raw = pd.read_csv(data / "kirschner2024_meth_reversal.csv").sort_values(["subject", "condition", "trial"])
    symbol = ["subject", "condition", "stimulus"]
    fresh = ~raw.duplicated(symbol)
    if anew:
        fresh |= raw.groupby(symbol)["p_win"].diff().fillna(0.0) != 0
    raw = raw.assign(fresh=fresh.astype(int), session=raw["condition"])
    formulas = dict.fromkeys(("eta", "beta", "bias", "base", "conf"), DRUG)
    return {"model": str(USER_MODELS / "gamble_pass_surprise.py"), "trials": raw, "formulas": formulas}


def kirschner_once(data):
    """The same, but a symbol starts afresh in its first trial of a session only, as in the authors' program."""
    return kirschner(data, anew=False)


ANALYSES = {f.__name__: f for f in (turi, turi_two_rates, michely, mikus, kirschner, kirschner_once)}
COLUMNS = ["parameter", "effect", "post_mean", "hdi95_lower", "hdi95_upper", "prob_direction", "ess_bulk", "r_hat"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=ANALYSES, default=list(ANALYSES))
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    for name in given.only:
        started = time.perf_counter()
        declared = ANALYSES[name](given.data)
        model, trials = declared.pop("model"), declared.pop("trials")
        fit = fitrl.fit(model, trials, **declared, random_seed=1, progressbar=False, draws=given.draws)
        print(f"\n## {name}: {time.perf_counter() - started:.0f} s\n\n{fit.verdict.text()}\n")
        print(fitrl.effects(fit)[COLUMNS].round(3).to_string(index=False))
        print(fitrl.cells(fit).round(3).to_string(index=False), flush=True)
        fit.save(given.out / name)


if __name__ == "__main__":
    main()
