"""Checking a model on recorded trials: what agents play again, what is only looked at, and what is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fitrl
from fitrl import datasets
from fitrl.cli.app import app
from fitrl.conformance import suite
from fitrl.conformance.agreement import simulator
from fitrl.conformance.estimates import identified, recovered
from fitrl.conformance.recorded import RecordedSituation
from fitrl.errors import ModelError
from fitrl.models import declare

DECK = str(Path(__file__).parent / "user_models" / "deck_game.py")


def situation(model, trials, seed=1):
    return RecordedSituation(declare(model), {"outcome_range": trials.outcome_range}, 100, seed, trials)


@pytest.fixture(scope="module")
def cards():
    """A lab's deck game: what agents of the model did."""
    return fitrl.simulate(DECK, subjects=8, trials=80, random_seed=6).trials


def test_agents_play_the_recorded_trials_again():
    tried = situation("two_step_split", datasets.load("two_step"))
    assert tried.cannot_play == ""
    played = tried.play(30, 50, seed=3)
    assert played.rows.n_sequences == 30
    assert np.bincount(played.rows.sequence).tolist() == [50] * 30
    assert played.eta.shape == (6, 30)
    columns, recorded = played.rows.columns, tried.beginning(12, 50)
    same = np.tile(recorded.columns["state2"] == recorded.columns["choice1"], 3)[: 30 * 50]
    given = columns["choice1_given"]
    np.testing.assert_array_equal((columns["state2"] == columns["choice1"])[given], same[given])
    assert (columns["choice1"][: 12 * 50] != recorded.columns["choice1"]).mean() > 0.2
    assert not columns["mask_update"][~given].any()


@pytest.mark.parametrize("name", ["two_step", "pairs", "selection", "bandit"])
def test_choices_of_free_runs_follow_the_likelihood(name):
    """Entropy and slopes at the true parameters: the free run and the likelihood are the same model."""
    model = "two_step_split" if name == "two_step" else "q_learning"
    found = simulator(situation(model, datasets.load(name)), "simulator")
    assert found.status == "passed", found.finding


def test_what_agents_learned_from_is_what_is_noted(cards, tmp_path):
    """Also where a world draws its answer when it is asked."""
    assert simulator(situation(DECK, cards), "simulator").status == "passed"
    text, drawn = Path(DECK).read_text(), 'outcomes(self.now("deck"), self.now("number"), self.rng)'
    was = "self.outcome = np.where(self.every("
    assert was in text
    text = (
        text.replace(was, f"self.rng = rng\n        {was}")
        .replace(
            "class DeckGame",
            f"""class Drawn(CardsAgain):
    def answer(self, name, choices):
        return np.where(choices["choice"] == 1, {drawn}, np.nan)


class DeckGame""",
        )
        .replace("return CardsAgain(", "return Drawn(")
    )
    (tmp_path / "drawn.py").write_text(text)
    model = declare(str(tmp_path / "drawn.py"))
    found = simulator(situation(model, fitrl.read_trials(cards.original, model)), "simulator")
    assert found.status == "passed", found.finding


def test_gaps_are_added_to_the_recorded_rows():
    tried = situation("two_step_split", datasets.load("two_step"))
    rows, before = tried.gapped.rows, tried.every
    assert rows.n_sequences == 6
    lengths = np.bincount(rows.sequence)
    assert lengths[0] == 60
    assert len(set(lengths)) > 1
    missed = ~rows.columns["choice1_given"]
    assert missed.mean() > 0.05
    assert not (rows.columns["mask_choice1"] & missed).any()
    assert not (rows.columns["mask_update"] & missed).any()
    forced = rows.columns["choice1_given"] & ~rows.columns["mask_choice1"]
    assert rows.columns["mask_update"][forced].any()
    assert rows.columns["reset"].sum() == 12
    assert before.columns["reset"].sum() == 12  # of the twelve subjects: nothing was changed in place


@pytest.mark.study
@pytest.mark.parametrize("name", ["two_step", "pairs"])
def test_every_check_passes_on_recorded_trials(name):
    report = fitrl.check_model("two_step_split" if name == "two_step" else "q_learning", data=datasets.path(name))
    assert {check.status for check in report.checks} == {"passed"}, str(report)


def test_without_a_free_run_it_is_said_what_was_not_run():
    made = fitrl.simulate("q_learning", subjects=6, trials=80, random_seed=1)
    tried = situation("q_learning", fitrl.read_trials(made.frame.drop(columns=["payoff_1", "payoff_2"]), "q_learning"))
    for check in (simulator, recovered):
        found = check(tried, "check")
        assert found.status == "not run"
        assert "what other choices would have earned is not known" in found.finding
    assert identified(tried, "identified").status == "passed"  # of the choices that were recorded


def test_data_bring_their_own_environment():
    with pytest.raises(ModelError, match="are those of the data"):
        fitrl.check_model("q_learning", data=datasets.path("bandit"), environment="fixed")


def test_the_command_reads_data_as_a_fit_does(cards, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "_CHECKS", {"simulator": simulator})
    file = tmp_path / "cards.csv"
    renamed = cards.original.rename(columns={"number": "computer", "subject": "vp"})
    pd.DataFrame(renamed).to_csv(file, index=False)
    arguments = ["check-model", DECK, "--data", str(file), "--column", "number=computer", "--column", "subject=vp"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "runs, with symbols and on recorded trials (outcomes -1 and 1)" in result.stdout
    assert "simulated choices follow the likelihood" in result.stdout
    refused = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments[:4])
    assert refused.exit_code == 2
    assert "the number column is missing" in refused.stderr
