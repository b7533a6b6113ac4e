"""Shipped data sets: they load, they have a truth and a card, and making them again gives the same bytes."""

import importlib.util
from pathlib import Path

import pytest

from fitrl import datasets
from fitrl.errors import DataError


def test_all_load_without_warnings_and_have_truth_and_card():
    made_with = {
        "bandit": {"alpha", "beta"},
        "pairs": {"alpha", "beta"},
        "selection": {"alpha_c", "alpha_g", "alpha_n", "beta"},
        "two_step": {"beta_mb", "beta_mf", "beta_2", "alpha", "lam", "kappa"},
        "volatile": {"alpha", "a1", "beta"},
    }
    assert datasets.list() == list(made_with)
    for name in datasets.list():
        trials = datasets.load(name)
        assert not [problem for problem in trials.problems if problem.level == "warning"]
        truth = datasets.truth(name)
        assert list(truth.columns) == ["subject", "parameter", "value"]
        assert set(truth["subject"]) == set(trials.subjects)
        assert set(truth["parameter"]) == made_with[name]
        for column in trials.original.columns:
            assert f"`{column}`" in datasets.card(name)


def test_the_designs_are_those_of_the_cards():
    bandit, pairs, selection = (datasets.load(name) for name in ("bandit", "pairs", "selection"))
    assert (~bandit.frame["choice_given"]).groupby(bandit.frame["subject"]).sum().tolist() == [3] * 12
    assert not bandit.frame.loc[~bandit.frame["choice_given"], "outcome_given"].any()
    assert (pairs.task.n_options, pairs.task.offered("choice")) == (6, 2)
    for trials, training in ((pairs, 120), (selection, 180)):
        transfer = trials.frame["trial"] > training
        assert (trials.frame["outcome_given"] == ~transfer).all()
        n_pairs = trials.frame.loc[transfer, ["offer_1", "offer_2"]].drop_duplicates()
        assert len(n_pairs) == 15


def test_the_phases_of_the_volatile_bandit():
    trials = datasets.load("volatile")
    assert trials.frame.groupby("subject").size().tolist() == [160] * 12
    assert (~trials.frame["choice_given"]).groupby(trials.frame["subject"]).sum().tolist() == [4] * 12
    assert trials.frame["reset"].sum() == 12
    payoff = trials.frame["payoff_1"]
    assert set(payoff[trials.original["phase"] == "stable"]) == {0.8}
    assert set(payoff[trials.original["phase"] == "volatile"]) == {0.2, 0.8}


def test_transitions_and_payoffs_of_the_two_step_task():
    trials = datasets.load("two_step")
    frame = trials.frame
    assert frame.groupby("subject").size().tolist() == [203] * 12
    given = frame["choice1_given"]
    assert (~given).groupby(frame["subject"]).sum().tolist() == [3] * 12
    assert (frame["choice2_given"] == given).all()
    assert (frame["state2"] == frame["choice1"])[given].mean() == pytest.approx(0.7, abs=0.02)
    payoffs = frame[[f"payoff_{k}" for k in range(1, 5)]]
    assert payoffs.min().min() >= 0.25
    assert payoffs.max().max() <= 0.75


def test_a_missed_trial_is_an_extra_row():
    """Blanking a trial afterwards would hide an outcome from which the agent had learned."""
    frame = datasets.load("bandit").frame
    assert frame.groupby("subject")["choice_given"].sum().tolist() == [97] * 12


def test_making_them_again_gives_the_same_bytes(tmp_path):
    folder = Path(datasets.__file__).parent
    spec = importlib.util.spec_from_file_location("make_datasets", folder / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write(tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(path.name for path in folder.glob("*.csv"))
    for name in made:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(DataError, match="bandit, pairs, selection, two_step, volatile"):
        datasets.load("bandits")
