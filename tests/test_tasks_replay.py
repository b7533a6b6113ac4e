"""Recorded trials that are played again: what is taken from the data, what is drawn, and what is refused."""

import numpy as np
import pytest
from fake_fits import fake_fit

import fitrl
from fitrl.errors import ModelError
from fitrl.fitting.predict import predict
from fitrl.tasks import NotReplayable, Recorded
from fitrl.tasks.environments import Drifting, Fixed
from fitrl.tasks.replay import two_outcomes

PAYOFFS = ("payoff_1", "payoff_2", "payoff_3", "payoff_4")


def truthful(made, trials, draws=20):
    """A fit whose draws stand at the parameters behind simulated data."""
    truth = made.truth.pivot(index="subject", columns="parameter", values="value").loc[trials.subjects]
    same = {name: np.broadcast_to(truth[name].to_numpy(), (1, draws, len(truth))) for name in truth}
    return fake_fit(made.model.label, trials, same)


@pytest.fixture(scope="module")
def daw():
    return fitrl.simulate("two_step_split", subjects=5, trials=60, random_seed=4)


# Two-step ------------------------------------------------------------------------------------------------


def test_transitions_and_missed_trials_are_those_of_the_data(daw):
    frame = daw.frame.copy()
    frame.loc[7, ["choice1", "state2", "choice2", "outcome"]] = None  # no response at all
    frame.loc[11, ["choice2", "outcome"]] = None  # none at the second stage
    trials = fitrl.read_trials(frame, "two_step_split")
    free = predict(truthful(daw, trials), draws=20).free
    table = trials.frame
    whole = (table["choice1_given"] & table["choice2_given"]).to_numpy()
    common = (table["state2"] == table["choice1"]).to_numpy()
    np.testing.assert_array_equal(
        (free["state2"] == free["choice1"])[:, whole], np.broadcast_to(common[whole], (20, whole.sum()))
    )
    assert (free["choice1"] != table["choice1"].to_numpy()).any()
    np.testing.assert_array_equal(np.isfinite(free["outcome"]), np.broadcast_to(whole, (20, len(table))))


def test_recorded_probabilities_decide_what_the_second_options_pay(daw):
    certain = daw.frame.assign(payoff_1=1.0, payoff_2=0.0, payoff_3=0.0, payoff_4=1.0)
    found = predict(truthful(daw, fitrl.read_trials(certain, "two_step_split")), draws=20)
    assert found.simulated == ""
    pays = found.free["state2"] == found.free["choice2"]  # options 1 of state 1 and 2 of state 2
    np.testing.assert_array_equal(found.free["outcome"], pays.astype(float))


def test_payoffs_follow_the_options_where_the_states_are_numbered_the_other_way_round(daw):
    """Options 1 and 2 belong to the state that is common after option 2; payoffs are numbered like the options."""
    number = 2 * (2 - daw.frame["state2"].astype(int)) + daw.frame["choice2"].astype(int)
    odd = daw.frame.assign(choice2=number, state2=3 - daw.frame["state2"].astype(int))
    odd = odd.assign(payoff_1=0.1, payoff_2=0.2, payoff_3=0.3, payoff_4=0.4)
    trials = fitrl.read_trials(odd, "two_step_split", codes={"state2": [2, 1]})
    assert trials.frame[list(PAYOFFS)].iloc[0].tolist() == [0.3, 0.4, 0.1, 0.2]


def test_without_probabilities_they_drift_as_in_the_task_of_daw(daw):
    trials = fitrl.read_trials(daw.frame.drop(columns=list(PAYOFFS)), "two_step_split")
    found = predict(truthful(daw, trials, draws=200), draws=200)
    assert found.simulated == "schedule simulated"
    paid = found.free["outcome"].mean(axis=0)  # over agents, each with payoffs of its own
    assert paid.mean() == pytest.approx(0.5, abs=0.04)  # walls at .25 and .75, agents somewhat above chance
    assert paid.std() < 0.08  # no schedule is shared


def test_some_payoffs_alone_are_refused(daw):
    trials = fitrl.read_trials(daw.frame.drop(columns=["payoff_4"]), "two_step_split")
    found = predict(truthful(daw, trials), draws=2)
    assert found.free is None
    assert "payoffs of 3 options" in found.why_not


def test_points_have_no_probability(daw):
    points = daw.frame.drop(columns=list(PAYOFFS))
    points.loc[3, "outcome"] = 0.5
    found = predict(truthful(daw, fitrl.read_trials(points, "two_step_split")), draws=2)
    assert "outcomes take 3 values" in found.why_not


# Bandits -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bandit():
    made = fitrl.simulate("q_learning", subjects=4, trials=30, random_seed=4)
    return made, fitrl.read_trials(made.frame.drop(columns=["payoff_1", "payoff_2"]), "q_learning")


def test_payoffs_of_a_bandit_are_not_made_up_unless_asked(bandit):
    made, trials = bandit
    fit = truthful(made, trials)
    refused = predict(fit, draws=5)
    assert refused.free is None
    assert refused.why_not.endswith("make them up: fitrl predict DIR --environment reversing")
    asked = predict(fit, draws=5, environment=Fixed((1.0, 0.0)))
    assert asked.simulated == "schedule simulated"
    np.testing.assert_array_equal(asked.free["outcome"], (asked.free["choice"] == 0).astype(float))
    with pytest.raises(ModelError, match="has 3 options; data have 2"):
        predict(fit, draws=5, environment=Drifting(3))


def test_the_two_outcomes_are_those_that_occur():
    """A bandit that pays 0 or .5 must not pay 1."""
    made = fitrl.simulate("q_learning", subjects=4, trials=30, random_seed=4)
    trials = fitrl.read_trials(made.frame.assign(outcome=made.frame["outcome"] / 2), "q_learning")
    assert set(np.unique(predict(truthful(made, trials), draws=5).free["outcome"])) == {0.0, 0.5}


def test_two_outcomes_need_probabilities():
    columns = {
        "outcome": np.array([[0.0], [1.0]]),
        "mask_update": np.ones((2, 1), bool),
        "payoff_1": np.array([[40.0], [60.0]]),
    }
    with pytest.raises(NotReplayable, match="no probabilities"):
        two_outcomes(None, columns)


# Worlds of recorded trials -------------------------------------------------------------------------------


def test_a_recorded_world_repeats_each_sequence_for_every_copy():
    columns = {
        "choice": np.array([[0, 1], [1, 1]]),
        "choice_given": np.array([[True, True], [False, True]]),
        "mask_choice": np.array([[False, True], [False, True]]),
        "mask_update": np.array([[True, True], [False, False]]),
        "reset": np.array([[True, True], [False, True]]),
        "deck": np.array([[3, 4], [5, 6]]),
    }
    world = Recorded(columns, copies=2)
    assert (world.n_trials, world.n_agents) == (2, 4)
    assert world.at(1).cue("deck").tolist() == [5, 6, 5, 6]
    assert world.every("deck").tolist() == [[3, 4, 3, 4], [5, 6, 5, 6]]
    assert world.at(1).responds("choice").tolist() == [False, True, False, True]
    assert world.at(1).learns().tolist() == [False] * 4
    assert world.at(1).resets().tolist() == [False, True, False, True]
    told, option = world.at(0).instructed("choice")  # forced, and it teaches
    assert told.tolist() == [True, False, True, False]
    assert option.tolist() == [0, 1, 0, 1]
    assert world.at(1).instructed("choice") is None
    with pytest.raises(ModelError, match='no column "card"; they have choice'):
        world.cue("card")
    with pytest.raises(ModelError, match='gives no answer "outcome"'):
        world.answer("outcome", {})
