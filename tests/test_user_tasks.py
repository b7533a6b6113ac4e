"""Tasks of labs' own, in files of their own: accept or decline with a cue and a number, and Kool's task in points.

The files in ``user_models`` are what a lab member would write. Files of data have the columns of the published ones.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit
from scipy.special import expit, log_expit

import fitrl
from fitrl.conformance.interpreters import Rows, run_filter, run_plain
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows, play_rows
from fitrl.errors import DataError, ModelError
from fitrl.fitting.predict import predict
from fitrl.hierarchy.columns import trial_columns
from fitrl.language import Model, State, bernoulli_logit, positive
from fitrl.models import declare
from fitrl.tasks import Column, NotReplayable, Task

FOLDER = Path(__file__).parent / "user_models"
DECK, PASS = str(FOLDER / "deck_game.py"), str(FOLDER / "gamble_pass.py")
SURPRISE = str(FOLDER / "gamble_pass_surprise.py")
DAY = {"session": "day"}
DECK_VALUES = {"alpha_win": 0.5, "alpha_loss": 0.2, "beta_number": 2.0, "beta_deck": 3.0, "bias": 0.1}


def cards(**changes):
    """Two days of a lab's deck game; a missed trial, declines without an outcome."""
    frame = pd.DataFrame(
        {
            "subject": 7,
            "drug": 0,
            "day": [1, 1, 1, 1, 1, 1, 2, 2],
            "trial": [1, 2, 3, 4, 5, 6, 1, 2],
            "deck": [3, 3, 1, 3, 3, 3, 3, 1],
            "number": [1, 7, 9, 5, 3, 5, 5, 4],
            "choice": [1, 1, 0, 1, np.nan, 1, 0, 1],
            "reward": [1, -1, np.nan, 0, np.nan, 1, np.nan, 0],
        }
    )
    return frame.assign(**changes)


def symbols(**changes):
    """A lab's gamble or pass; the outcome is shown in either case."""
    frame = pd.DataFrame(
        {
            "subject": 1,
            "condition": "placebo",
            "trial": range(1, 8),
            "stimulus": [1, 3, 1, 2, 1, 3, 1],
            "fresh": [1, 1, 0, 1, 0, 0, 1],
            "choice": [1, 0, 0, 1, 1, 1, 0],
            "outcome": [-1, -1, 1, 1, -1, 1, 1],
            "reward": [-1, 0, 0, 1, -1, 1, 0],
        }
    )
    return frame.assign(**changes)


def scores(file, trials, parameters):
    """Log probability of every choice, by the plain interpreter and the filter, which agree."""
    model, columns = declare(file), trial_columns(declare(file), trials)
    rows = Rows(columns, columns["sequence"])
    plain = run_plain(model, trials.task, parameters, rows)["choice"]
    np.testing.assert_allclose(run_filter(model, trials.task, parameters, rows)["choice"], plain, atol=1e-12)
    return plain


# Reading ------------------------------------------------------------------------------------------


def test_a_deck_game_is_read():
    trials = fitrl.read_trials(cards(), DECK, columns=DAY)
    frame = trials.frame
    assert trials.outcome_range == (-1.0, 1.0)
    assert trials.codings == {"deck": ("1", "2", "3"), "choice": ("0", "1")}  # deck 2 is known, though never shown
    assert frame["deck"].tolist() == [2, 2, 0, 2, 2, 2, 2, 0]
    assert frame["number"].tolist() == [1, 7, 9, 5, 3, 5, 5, 4]
    assert frame["mask_choice"].tolist() == [True] * 4 + [False] + [True] * 3
    assert frame["mask_update"].tolist() == [True, True, False, True, False, True, False, True]  # not after declines
    assert frame["reset"].tolist() == [True] + [False] * 5 + [True, False]


def test_words_have_no_order_of_their_own():
    """By the alphabet "accept" would be 0, and the model would take it for a decline."""
    words = cards(choice=cards()["choice"].map({0: "decline", 1: "accept"}))
    with pytest.raises(DataError, match='"accept" is no label of choice in this task; they are "0", "1"'):
        fitrl.read_trials(words, DECK, columns=DAY)
    declared = fitrl.read_trials(words, DECK, columns=DAY, codes={"choice": ["decline", "accept"]})
    assert declared.frame["choice"].tolist() == fitrl.read_trials(cards(), DECK, columns=DAY).frame["choice"].tolist()


def test_an_unknown_cue_is_refused():
    with pytest.raises(DataError, match='"4" is no label of deck in this task'):
        fitrl.read_trials(cards(deck=[3, 3, 1, 4, 3, 3, 3, 1]), DECK, columns=DAY)


def test_a_number_that_is_shown_may_be_blank_where_the_response_is():
    number = [1, 7, 9, 5, np.nan, 5, 5, 4]
    assert fitrl.read_trials(cards(number=number), DECK, columns=DAY).frame["number"].notna().all()
    number[3] = np.nan
    with pytest.raises(DataError, match="number is blank in 1 row with a response"):
        fitrl.read_trials(cards(number=number), DECK, columns=DAY)


def test_a_response_is_no_cue():
    class Timed(Task):
        columns = (Column("choice", "choice", "choice"), Column("rt", "number", "response time"))

    class Peeks(Model):
        task = Timed
        beta = positive("slope")

        def start(self, p, task):
            return State()

        def trial(self, s, p, t):
            t.choose("choice", bernoulli_logit(p.beta * t.cue("rt")))

    frame = pd.DataFrame({"subject": 1, "choice": [0, 1] * 20, "rt": 0.5})
    with pytest.raises(ModelError, match=r"`rt` is a response[\s\S]*quantity"):
        fitrl.build(Peeks(), frame)


# By hand ------------------------------------------------------------------------------------------


def test_deck_game_by_hand():
    p = {"alpha_win": 0.5, "alpha_loss": 0.2, "beta_number": 2.0, "beta_deck": 3.0, "bias": 0.1}
    # Chance is (5 - number) / 4. Deck 3 is worth: 0; a win at chance 1 leaves 0 (1 - 1 - 0); a loss at chance -.5
    # gives .2 * (-1 + .5) = -.1; a draw at chance 0 gives -.1 + .35 * .1 = -.065; a missed trial nothing.
    # On day 2 it is worth 0 again.
    logits = [2.1, -0.9, -1.9, 0.1 - 0.3, np.nan, 0.1 - 0.195, 0.1, 0.6]
    signs = [1, 1, -1, 1, 1, 1, -1, 1]
    expected = log_expit(np.multiply(signs, logits))
    found = scores(DECK, fitrl.read_trials(cards(), DECK, columns=DAY), p)
    played = np.isfinite(expected)
    np.testing.assert_allclose(found[played], expected[played], atol=1e-12)


def test_gamble_or_pass_by_hand():
    # Symbol 1: 0, then -.25; passed and shown to win, -.25 + .25 * 1.25 = .0625. Symbol 3: 0, then -.25, though passed.
    # In the last trial symbol 1 starts afresh.
    logits = 2.0 * (0.3 + np.array([0.0, 0.0, -0.25, 0.0, 0.0625, -0.25, 0.0]))
    expected = log_expit(np.array([1, -1, -1, 1, 1, 1, -1]) * logits)
    trials = fitrl.read_trials(symbols(), PASS, columns={"session": "condition"})
    found = scores(PASS, trials, {"alpha": 0.25, "beta": 2.0, "bias": 0.3})
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gamble_or_pass_by_surprise_by_hand():
    # At A = 1 the logit of the rate is log 3 where the outcome confirms the choice (rate .75), else -log 9 (rate .1).
    p = {"eta": 0.5, "beta": 2.0, "bias": 0.3, "base": -0.5 * np.log(3), "conf": 1.5 * np.log(3)}
    # Symbol 1: gambled and lost, A = 1; passed and would have won, A = .55; passed and would have lost, which confirms.
    # Symbol 3 was passed and would have lost: .75 of the way to -1.
    q_1, a_1 = -0.1, 0.5 * 1 + 0.5 * 0.1
    rate = 1 / (1 + 9**a_1)
    q_2, a_2 = -0.1 + rate * 1.1, 0.5 * 1.1 + 0.5 * rate
    q_3 = q_2 - (1 + q_2) * 3**a_2 / (1 + 3**a_2)
    choice = [1, 0, 0, 1, 0, 1, 0]
    expected = log_expit(np.where(choice, 1, -1) * 2.0 * (0.3 + np.array([0, 0, q_1, 0, q_2, -0.75, q_3])))
    trials = fitrl.read_trials(symbols(choice=choice, fresh=0), SURPRISE, columns={"session": "condition"})
    np.testing.assert_allclose(scores(SURPRISE, trials, p), expected, atol=1e-12)


def test_a_fresh_symbol_has_neither_value_nor_a_history_of_surprise():
    """The three trials from the fresh start on are as the first three of the session, with the same outcomes."""
    frame = symbols(stimulus=1, choice=1, outcome=-1, fresh=[0, 0, 0, 1, 0, 0, 0])
    trials = fitrl.read_trials(frame, SURPRISE, columns={"session": "condition"})
    found = scores(SURPRISE, trials, {"eta": 0.4, "beta": 2.0, "bias": 0.1, "base": -1.0, "conf": 2.0})
    np.testing.assert_allclose(found[3:6], found[:3], atol=1e-12)
    assert np.ptp(found[:3]) > 0.1


# Free runs ----------------------------------------------------------------------------------------


def played_again(file, frame, columns, values, draws=200):
    """Free runs of agents with the given parameters over recorded trials; columns as (draw, row)."""
    trials = fitrl.read_trials(frame, file, columns=columns)
    same = {name: np.full((1, draws, trials.n_subjects), value) for name, value in values.items()}
    return trials.frame, predict(fake_fit(file, trials, same), draws=draws)


def test_an_outcome_that_is_always_shown_is_known_for_every_choice():
    values = {"alpha": 0.25, "beta": 2.0, "bias": 0.3}
    frame, found = played_again(PASS, symbols(), {"session": "condition"}, values)
    assert found.simulated == ""
    assert (found.free["outcome"] == frame["outcome"].to_numpy()).all()
    # Values do not depend on choices here, so that agents choose as the filter says: see test_gamble_or_pass_by_hand.
    logits = 2.0 * (0.3 + np.array([0.0, 0.0, -0.25, 0.0, 0.0625, -0.25, 0.0]))
    np.testing.assert_allclose(found.free["choice"].mean(axis=0), expit(logits), atol=0.12)


def test_a_declined_gamble_is_drawn_where_it_was_not_recorded():
    frame, found = played_again(DECK, cards(), DAY, DECK_VALUES)
    choice, outcome = found.free["choice"], found.free["outcome"]
    assert found.simulated == "outcomes of declined gambles simulated"
    given = frame["choice_given"].to_numpy()
    np.testing.assert_array_equal(np.isfinite(outcome), (choice == 1) & given)  # nothing is shown after a decline
    for row in np.flatnonzero(given):
        seen = np.unique(outcome[choice[:, row] == 1, row])
        if frame["outcome_given"][row]:
            assert seen.tolist() == [frame["outcome"][row]]
        else:
            assert set(seen) <= {-1.0, 0.0, 1.0}
            assert len(seen) > 1
    # An agent that gambled where the person declined learns from it: deck 3 was declined in the first row of day 2.
    (row,) = np.flatnonzero((frame["session"] == "2") & (frame["deck"] == 2))
    assert set(np.unique(outcome[choice[:, row] == 1, row])) == {-1.0, 0.0, 1.0}


def test_agents_learn_from_what_they_gambled_on():
    """The person declined twice; agents who gambled and won in the first trial gamble more often in the second."""
    frame = cards()[:2].assign(deck=3, number=5, choice=[0, 0], reward=np.nan)
    frame = pd.concat([frame, cards()[:2].assign(subject=8)])  # outcomes of both signs occur
    table, found = played_again(DECK, frame, DAY, DECK_VALUES | {"beta_deck": 8.0}, draws=400)
    first, second = np.flatnonzero(table["subject"] == "7")
    won, lost = (found.free["outcome"][:, first] == sign for sign in (1, -1))
    assert found.free["choice"][won, second].mean() > found.free["choice"][lost, second].mean() + 0.3


def test_without_a_method_replay_it_is_said_what_is_missing():
    class Silent(type(declare(PASS)).task):
        replay = Task.replay

    class Model_(type(declare(PASS))):
        task = Silent

    trials = fitrl.read_trials(symbols(), Model_(), columns={"session": "condition"})
    with pytest.raises(NotReplayable, match=r"Silent does not say what other choices would have earned.*replay"):
        trials.task.replay({}, 1, np.random.default_rng(0))


def test_a_world_of_another_size_is_refused(tmp_path):
    text = Path(PASS).read_text().replace("SymbolsAgain(columns, copies)", "SymbolsAgain(columns, 1)")
    file = tmp_path / "slip.py"
    file.write_text(text)
    with pytest.raises(ModelError, match=r"replay\(\) returns a world of 7 trials and 1 agents; expected 7 and 200"):
        played_again(str(file), symbols(), {"session": "condition"}, {"alpha": 0.2, "beta": 2.0, "bias": 0.0})


# Agents -------------------------------------------------------------------------------------------


def test_what_is_not_shown_teaches_neither_agents_nor_the_likelihood():
    """The world answers NaN after a decline: values of agents are those that the filter finds in their file."""
    model, rng = declare(DECK), np.random.default_rng(3)
    task, world = model.task.play(40, 3, rng)
    values = {"alpha_win": 0.4, "alpha_loss": 0.3, "beta_number": 2.0, "beta_deck": 2.0, "bias": 0.0}
    played = list(play_rows(model, task, world, values, rng))
    before = np.stack([[np.broadcast_to(cell, 3) for cell in t.before.q.cells()] for t in played])
    file = world.table(task, {n: np.stack([t.emitted[n] for t in played]) for n in played[0].emitted})
    declined = file["choice"] == "0"
    assert 0.2 < declined.mean() < 0.8
    np.testing.assert_array_equal(np.isnan(file["outcome"]), declined)
    frame = pd.DataFrame({name: column.T.ravel() for name, column in file.items()})
    trials = fitrl.read_trials(frame.assign(subject=np.repeat([1, 2, 3], 40)), model)
    columns = trial_columns(model, trials)
    located = {name: Located(np.array([[value]]), np.zeros(3, int)) for name, value in values.items()}
    filtered = filter_rows(model, trials.task, located, columns, lay_out(columns["sequence"]))
    again = np.stack([[np.broadcast_to(cell, 3) for cell in t.before.q.cells()] for _, _, t in filtered])
    np.testing.assert_allclose(again, before, atol=1e-12)
    assert np.abs(before[-1]).min() > 0


@pytest.mark.parametrize(
    ("file", "least"),
    [
        (DECK, {"beta_number": 0.8, "beta_deck": 0.5, "bias": 0.7}),
        (PASS, {"alpha": 0.7, "beta": 0.7, "bias": 0.8}),
        (SURPRISE, {"beta": 0.7, "bias": 0.8, "base": 0.6}),
    ],
    ids=["deck", "pass", "surprise"],
)
def test_agents_come_back(file, least):
    made = fitrl.simulate(file, subjects=30, trials=150, random_seed=5)
    fit = fitrl.fit(file, made.trials, quick=True, random_seed=1)
    found = fit.idata["posterior"].to_dataset().mean(("chain", "draw"))
    truth = made.truth.pivot(index="subject", columns="parameter", values="value").loc[made.trials.subjects]
    for name, r in least.items():
        assert np.corrcoef(truth[name], found[name])[0, 1] > r, name
    table = fitrl.latents(fit, draws=10)
    assert {"q_0_mean", "q_1_mean", "q_2_mean", "rpe_mean", "p_choice_mean"} <= set(table)
    shown = made.trials.frame["outcome_given"].to_numpy()
    np.testing.assert_array_equal(table["rpe_mean"].notna(), shown)


def test_the_card_of_a_file_names_its_traits(capsys):
    from fitrl.cli.app import app

    app(["models", DECK], standalone_mode=False)
    card = capsys.readouterr().out
    assert "stickiness" in card.partition("Traits that can be added")[2].partition("Not with this model")[0]


# Kool's task in points ----------------------------------------------------------------------------


def points(**changes):
    """Kool's task as a lab has it: four options numbered through, points from -4 to 5, a missed trial."""
    frame = pd.DataFrame(
        {
            "subject": 133,
            "admin": "Placebo",
            "trial": range(1, 7),
            "state1": [1, 2, 2, 1, 2, 1],
            "choice1": [2, 3, 4, np.nan, 3, 1],
            "stim_left": [1, 4, 4, 2, 3, 1],
            "state2": [2, 1, 2, np.nan, 1, 1],
            "reward": [4, 0, -4, np.nan, 5, 1],
        }
    )
    return frame.assign(**changes)


def test_kool_in_points_is_read():
    trials = fitrl.read_trials(points(), "two_step_kool", outcome_scale=5)
    frame = trials.frame
    assert trials.outcome_range == (-1.0, 1.0)
    assert trials.task.leads_to == (0, 1, 0, 1)
    assert trials.task.has_sides
    assert frame["outcome"].tolist() == [0.8, 0.0, -0.8, 0.0, 1.0, 0.2]
    assert frame[["offer_1", "offer_2"]].to_numpy().tolist() == [[0, 1], [2, 3], [2, 3], [0, 1], [2, 3], [0, 1]]
    assert frame["mask_choice1"].tolist() == [True] * 3 + [False] + [True] * 2


def test_an_option_of_the_wrong_start_state_is_refused_with_a_remedy():
    with pytest.raises(DataError, match=r"expected were 1 and 2 in the first start state.*--codes choice1=A,B,C,D"):
        fitrl.read_trials(points(choice1=[2, 3, 1, np.nan, 4, 1]), "two_step_kool", outcome_scale=5)
