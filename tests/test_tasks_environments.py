"""Environments of bandits whose outcomes are more than two numbers: decks of cards."""

import numpy as np
import pytest

import fitrl
from fitrl.errors import ModelError
from fitrl.fitting.predict import predict
from fitrl.tasks.environments import IOWA, Decks, named


def test_cards_of_the_iowa_decks_net_what_the_source_says():
    cards = 1150 * IOWA.cards(40_000, 1, np.random.default_rng(1))[:, :, 0]
    for k, nets in enumerate([(-150, 100), (-1150, 100), (0, 50), (-200, 50)]):
        np.testing.assert_allclose(np.unique(cards[:, k].round(9)), nets, atol=1e-9)
    # Per ten cards: A and B lose 250, C and D win 250; A and C cost in five cards of ten, B and D in one.
    np.testing.assert_allclose(10 * cards.mean(axis=0), [-250, -250, 250, 250], atol=5 * 375 * 10 / np.sqrt(40_000))
    costs = (cards < np.array([100, 100, 50, 50]) - 1).mean(axis=0)
    np.testing.assert_allclose(costs, [0.5, 0.1, 0.5, 0.1], atol=0.01)


def test_two_decks_show_the_other_card():
    made = fitrl.simulate("q_learning", subjects=5, trials=60, environment="decks", random_seed=1)
    outcomes = {"A": {0.5, -0.75}, "B": {0.25, 0.0}}
    for deck, own in made.frame.groupby("choice"):
        other = "B" if deck == "A" else "A"
        assert set(own["outcome"]) == outcomes[deck]
        assert set(own["outcome_forgone"]) == outcomes[other]
    task = made.trials.task
    assert (task.has_forgone, task.outcome_range) == (True, (-1.0, 1.0))
    four = fitrl.simulate("q_learning", subjects=3, trials=60, environment="decks", n_options=4, random_seed=1)
    assert "outcome_forgone" not in four.frame
    assert set(four.frame["choice"]) == set("ABCD")


def test_agents_learn_from_fictive_outcomes_and_play_recorded_decks_again():
    made = fitrl.simulate(
        "q_learning", traits=["counterfactual"], subjects=8, trials=60, environment="decks", random_seed=2
    )
    fit = fitrl.fit("q_learning", made.trials, traits=["counterfactual"], quick=True, random_seed=3)
    predicted = predict(fit, draws=5)
    assert predicted.free is not None
    assert predicted.simulated == ""  # what the other card netted is in the data
    outcomes = predicted.free["outcome"]
    assert set(np.unique(outcomes)) <= {0.5, -0.75, 0.25, 0.0}


def test_decks_that_cannot_be_played_are_refused():
    with pytest.raises(ModelError, match="one number each for every deck"):
        Decks((1.0, 0.5), (0.5,), (0.5, 0.5))
    with pytest.raises(ModelError, match="between -1 and 1"):
        Decks((1.0, 0.5), (3.0, 0.5), (0.5, 0.5))
    with pytest.raises(ModelError, match="expected shares between 0 and 1"):
        Decks((0.5, 0.5), (0.5, 0.5), (5, -1))
    with pytest.raises(ModelError, match="2 or 4 decks, not 3"):
        named("decks", 3)
    assert named("decks", 4) is IOWA


def test_decks_are_no_schedule_for_other_data():
    made = fitrl.simulate("q_learning", subjects=3, trials=20, random_seed=1)
    trials = fitrl.read_trials(made.frame.drop(columns=["payoff_1", "payoff_2"]), "q_learning")
    fit = fitrl.fit("q_learning", trials, quick=True, random_seed=1)
    with pytest.raises(ModelError, match="cards of their own"):
        predict(fit, draws=2, environment="decks")
