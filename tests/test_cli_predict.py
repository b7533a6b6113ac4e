"""``fitrl predict``: the table of predictive checks, its files, and what it says where a free run is not possible."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit
from typer.testing import CliRunner

import fitrl
from fitrl.cli.app import app
from fitrl.fitting.predict import Predictions
from fitrl.fitting.verdict import Check


def run(*arguments):
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(a) for a in arguments])


def saved(folder, model, made, trials, *failed):
    """Save a fit whose draws stand at the truth."""
    truth = made.truth.pivot(index="subject", columns="parameter", values="value").loc[trials.subjects]
    draws = {name: np.broadcast_to(truth[name].to_numpy(), (2, 20, len(truth))) for name in truth}
    fit = fake_fit(model, trials, draws, status="not converged" if failed else "converged")
    dataclasses.replace(fit, verdict=dataclasses.replace(fit.verdict, checks=failed)).save(folder)
    return folder


@pytest.fixture(scope="module")
def two_step(tmp_path_factory):
    made = fitrl.simulate("two_step_split", subjects=4, trials=60, random_seed=1)
    bare = made.frame.drop(columns=[f"payoff_{k}" for k in (1, 2, 3, 4)])
    trials = fitrl.read_trials(bare, "two_step_split")
    return saved(tmp_path_factory.mktemp("fit"), "two_step_split", made, trials)


def test_two_step_stay_probabilities_are_printed_and_written(two_step, tmp_path):
    result = run("predict", two_step, "--draws", 20, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["x"].tolist() == ["reward, common", "reward, rare", "no reward, common", "no reward, rare"]
    assert set(table["free_simulated"]) == {"schedule simulated"}
    assert "free-running (schedule simulated)" in result.stdout
    for value in table["observed"]:
        assert f"{value:.3f}" in result.stdout
    n_outside = (~table[["one_step_inside", "free_inside"]].to_numpy(dtype=bool)).sum()
    assert result.stdout.split("Predictions (")[0].count(" outside") == n_outside
    assert (tmp_path / "stay.png").stat().st_size > 10_000


def test_what_lies_outside_is_marked(two_step, monkeypatch):
    frame = fitrl.load(two_step).trials.frame
    always = np.zeros((5, len(frame)), dtype=int)
    never = Predictions({"choice1": always, "choice2": always}, None, "no payoffs here")
    monkeypatch.setattr("fitrl.show.predictions.predict", lambda *a, **k: never)
    result = run("predict", two_step)
    assert result.exit_code == 0, result.output
    assert result.stdout.split("Predictions (")[0].count(" outside") == 4
    assert "No free run: no payoffs here." in result.stdout
    assert "free-running" not in result.stdout


def test_a_fit_that_did_not_converge_says_so_first(tmp_path):
    made = fitrl.simulate("q_learning", subjects=3, trials=30, random_seed=1)
    failed = Check("r_hat", "fail", "group", False, 1.2, 1.01, ">", "alpha_mu", "run longer")
    result = run("predict", saved(tmp_path, "q_learning", made, made.trials, failed), "--draws", 10)
    assert result.exit_code == 3
    assert result.stdout.index("NOT CONVERGED") < result.stdout.index("signature")


def test_kools_task_is_predicted(tmp_path):
    made = fitrl.simulate("two_step_kool", subjects=2, trials=20, random_seed=1)
    result = run("predict", saved(tmp_path, "two_step_kool", made, made.trials))
    assert result.exit_code == 0
    assert "free-running" in result.stdout
    assert "high outcome, same start" in result.stdout


def test_groups_are_printed_and_drawn_on_their_own(tmp_path):
    made = fitrl.simulate("q_learning", subjects=6, trials=40, random_seed=1)
    group = np.where(made.frame["subject"].astype(int) > 3, "patients (on)", "controls")
    trials = fitrl.read_trials(made.frame.assign(group=group))
    result = run(
        "predict", saved(tmp_path / "fit", "q_learning", made, trials), "--by", "group", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert "group: controls" in result.stdout
    assert "group: patients (on)" in result.stdout
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv")["group"]) == {"controls", "patients (on)"}
    drawn = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {"stay_by_group.png", "learning_by_group.png"}
    refused = run("predict", tmp_path / "fit", "--by", "grup")
    assert refused.exit_code == 2
    assert 'Did you mean "group"?' in refused.stderr
