"""Signatures on trials small enough to count by hand."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitrl.errors import DataError
from fitrl.tasks import signatures as sg


def trials(choice, outcome, *, subject=None, reset=None, offers=None, payoff=None, forgone=None, forced=()):
    """Canonical trials; NaN for a missed response or an outcome that was not shown."""
    choice, outcome = np.array(choice, float), np.array(outcome, float)
    n = len(choice)
    subject = np.zeros(n, int) if subject is None else np.array(subject)
    starts = np.r_[True, subject[1:] != subject[:-1]]
    given = np.isfinite(choice)
    free = np.ones(n, bool)
    free[list(forced)] = False
    frame = pd.DataFrame(
        {
            "subject": [f"s{i}" for i in subject],
            "subject_idx": subject,
            "sequence": subject,
            "choice": np.where(given, choice, 0).astype(int),
            "choice_given": given,
            "mask_choice": given & free,
            "outcome": np.where(np.isfinite(outcome), outcome, 0.0),
            "outcome_given": np.isfinite(outcome),
            "mask_update": given & np.isfinite(outcome),
            "reset": starts if reset is None else starts | np.array(reset, bool),
        }
    )
    offers = np.tile([0, 1], (n, 1)) if offers is None else np.array(offers)
    for j in range(offers.shape[1]):
        frame[f"offer_{j + 1}"] = offers[:, j]
    frame["choice_at"] = (offers == frame["choice"].to_numpy()[:, None]).argmax(axis=1)
    if payoff is not None:
        for k, column in enumerate(np.array(payoff, float).T, 1):
            frame[f"payoff_{k}"] = column
    if forgone is not None:
        forgone = np.array(forgone, float)
        frame["outcome_forgone"] = np.where(np.isfinite(forgone), forgone, 0.0)
        frame["outcome_forgone_given"] = np.isfinite(forgone)
    return frame


nan = np.nan


def test_correct_by_payoff_leaves_out_ties_missed_and_forced():
    frame = trials(
        [1, 0, nan, 1, 1, 0],
        [1, 0, nan, 1, 0, 1],
        payoff=[(0.2, 0.8), (0.2, 0.8), (0.2, 0.8), (0.5, 0.5), (0.8, 0.2), (0.8, 0.2)],
        forced=[5],
    )
    correct, label = sg.correct_choice(frame, 2)
    np.testing.assert_array_equal(correct, [1, 0, nan, nan, 0, nan])
    assert label == "better option (by payoff)"


def test_correct_is_judged_among_the_options_on_offer():
    frame = trials([1, 0], [1, 1], offers=[(1, 0), (2, 0)], payoff=[(0.1, 0.5, 0.9)] * 2)
    np.testing.assert_array_equal(sg.correct_choice(frame, 3)[0], [1, 0])


def test_correct_by_forgone_outcomes_uses_every_outcome_shown():
    # Obtained outcomes alone favour option 0 (0.6 against 0.5); all outcomes do not (0.375 against 0.75).
    frame = trials([0, 1, 1, 0], [0.6, 0.5, 0.5, 0.6], forgone=[1, 0.1, 0.2, 1])
    correct, label = sg.correct_choice(frame, 2)
    np.testing.assert_array_equal(correct, [0, 1, 1, 0])
    assert label == "better option (mean of all outcomes shown)"


def test_correct_without_payoffs_is_empirical_and_per_sequence():
    frame = trials([0, 1, 0, 1, 0, 0], [1, 0, 0, 1, 1, 1], subject=[0, 0, 1, 1, 2, 2])
    correct, label = sg.correct_choice(frame, 2)
    # Subject 2 never tried option 1, so nothing can be said about the better one.
    np.testing.assert_array_equal(correct, [1, 0, 0, 1, nan, nan])
    assert label == "empirically better option"


def test_values_of_the_data_can_judge_simulated_choices():
    frame = trials([0, 1], [1, 0])
    values = sg.option_values(frame, 2)
    simulated = sg.with_choices(frame, np.array([1, 1]), np.array([1.0, 1.0]))
    np.testing.assert_array_equal(sg.correct_choice(simulated, 2, values)[0], [0, 0])


def test_payoffs_may_be_given_for_the_options_on_offer_only():
    frame = trials([0, 3], [1, 1], offers=[(0, 1), (2, 3)], payoff=[(0.8, 0.2), (0.8, 0.2)])
    values = sg.option_values(frame, 4).values
    np.testing.assert_array_equal(values, [[0.8, 0.2, nan, nan], [nan, nan, 0.8, 0.2]])
    np.testing.assert_array_equal(sg.correct_choice(frame, 4)[0], [1, 0])


def test_a_wrong_number_of_payoffs_is_an_error():
    frame = trials([0, 1], [1, 0], payoff=[(0.5,), (0.5,)])
    with pytest.raises(DataError, match=r"1 payoff columns; .* each of the 2 options, or .* the 2 on offer"):
        sg.option_values(frame, 2)


def test_learning_curve_averages_subjects_not_trials():
    frame = trials([0] * 5, [1] * 5, subject=[0, 0, 0, 1, 1])
    table = sg.learning_curve(frame, np.array([0, 1, 1, 1, 0.0]))
    np.testing.assert_allclose(table["mean"], [0.5, 0.5, 1])
    np.testing.assert_allclose(table["se"], [0.5, 0.5, nan])
    np.testing.assert_allclose(table["upper"], [1, 1, nan])
    assert table["x"].tolist() == [1, 2, 3]
    assert table["n_subjects"].tolist() == [2, 2, 1]


def test_learning_curve_restarts_at_a_reset_and_counts_missed_trials():
    frame = trials([0, nan, 0, 0, 0, 0], [1] * 6, reset=[1, 0, 0, 1, 0, 0])
    table = sg.learning_curve(frame, np.array([0, nan, 1, 0, 0, 1.0]))
    np.testing.assert_allclose(table["mean"], [0, 0, 1])


def test_learning_curve_bins():
    frame = trials([0] * 5, [1] * 5)
    table = sg.learning_curve(frame, np.array([0, 1, 1, 1, 0.0]), bins=3)
    np.testing.assert_allclose(table["mean"], [0.5, 1, 0])
    assert table["x"].tolist() == [1.5, 3.5, 5]
    long = trials([0] * 100, [1] * 100)
    assert len(sg.learning_curve(long, np.ones(100))) == 20
    assert len(sg.learning_curve(long[:30], np.ones(30))) == 30


@pytest.mark.parametrize(("correct", "bins"), [(np.ones(2), None), (np.ones(3), 0)])
def test_learning_curve_refuses(correct, bins):
    with pytest.raises(DataError, match="expected"):
        sg.learning_curve(trials([0] * 3, [1] * 3), correct, bins)


def test_stay_and_shift_by_hand():
    # pairs:            W stay  W shift  L shift  L stay  (subject 1) W stay
    frame = trials([0, 0, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1, 1], subject=[0, 0, 0, 0, 0, 1, 1])
    table = sg.win_stay_lose_shift(frame)
    assert table["subject"].tolist() == ["s0", "s1"]
    np.testing.assert_allclose(table["p_stay_win"], [0.5, 1])
    np.testing.assert_allclose(table["p_shift_loss"], [0.5, nan])
    assert table["n_win"].tolist() == [2, 1]
    assert table["n_loss"].tolist() == [2, 0]
    rates = sg.stay_rates(table)
    np.testing.assert_allclose(rates["mean"], [0.75, 0.5])
    np.testing.assert_allclose(rates["se"], [0.25, nan])


def test_pairs_end_at_missed_trials_resets_and_hidden_outcomes():
    missed = trials([0, nan, 0], [1, nan, 1])
    reset = trials([0, 0], [1, 1], reset=[0, 1])
    hidden = trials([0, 0], [nan, 1])
    forced = trials([0, 0], [1, 1], forced=[1])
    for frame in (missed, reset, hidden, forced):
        assert sg.win_stay_lose_shift(frame)["n_win"].tolist() == [0]
    after_forced = trials([0, 0], [1, 1], forced=[0])
    assert sg.win_stay_lose_shift(after_forced)["n_win"].tolist() == [1]


def test_stay_pairs_trials_with_the_same_offers():
    frame = trials(
        [0, 2, 0, 3],
        [1, 0, 0, 1],
        offers=[(0, 1), (2, 3), (1, 0), (2, 3)],
    )
    table = sg.win_stay_lose_shift(frame)
    np.testing.assert_allclose(table[["p_stay_win", "p_shift_loss"]].to_numpy(), [[1, 1]])
    assert table[["n_win", "n_loss"]].to_numpy().tolist() == [[1, 1]]


def test_predicted_choices_are_compared_with_the_observed_past():
    frame = trials([0, 1, 0], [1, 1, 1])
    table = sg.win_stay_lose_shift(frame, predicted=np.array([1, 0, 1]))
    assert table["p_stay_win"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("outcome", "threshold"),
    [
        ([0, 1], 0.5),
        ([-1, 1], 0),
        ([-1, 0.25], 0),
        ([0.36, 0.54], 0.45),
        ([1, 1], 0.5),
        ([0, 0], 0),
        ([nan, nan], 0),
    ],
)
def test_win_threshold(outcome, threshold):
    assert sg.win_threshold(trials([0, 1], outcome)) == pytest.approx(threshold)


def test_post_reversal_curve_by_hand():
    payoff = [(0.8, 0.2)] * 3 + [(0.2, 0.8)] * 3
    frame = trials([0, 1, 0, 0, 1, 1], [1] * 6, payoff=payoff)
    best = sg.best_option(sg.option_values(frame, 2))
    np.testing.assert_array_equal(best, [0, 0, 0, 1, 1, 1])
    table = sg.post_reversal_curve(frame, best, before=4, after=4)
    assert table["x"].tolist() == list(range(-4, 5))
    np.testing.assert_array_equal(table["mean"], [nan, 1, 0, 1, 0, 1, 1, nan, nan])
    assert table["n_reversals"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0]


def test_post_reversal_curve_stays_between_neighbouring_reversals_and_in_the_run():
    best = np.array([0, 0, 1, 1, 0, 0, 0.0])
    frame = trials([0] * 7, [1] * 7, reset=[0, 0, 0, 0, 0, 0, 1])
    table = sg.post_reversal_curve(frame, best, before=2, after=3).set_index("x")
    # Reversals at rows 2 and 4; row 6 belongs to another run.
    assert table["n_reversals"].tolist() == [2, 2, 2, 2, 0, 0]
    np.testing.assert_allclose(table.loc[[-2, -1, 0, 1], "mean"], [0.5, 0.5, 0.5, 0.5])


def test_a_best_option_that_differs_between_subjects_is_no_reversal():
    frame = trials([0, 0, 1, 1], [1] * 4, subject=[0, 0, 1, 1])
    table = sg.post_reversal_curve(frame, np.array([0, 0, 1, 1.0]))
    assert table["n_reversals"].sum() == 0
    assert table["mean"].isna().all()


def test_best_option_is_unknown_when_tied():
    values = sg.OptionValues(np.array([[0.5, 0.5], [0.1, 0.2], [nan, 0.3]]), "")
    np.testing.assert_array_equal(sg.best_option(values), [nan, 1, nan])


def test_accuracy_overall_and_per_set():
    frame = trials([0, 2, 0, 3], [1] * 4, offers=[(0, 1), (2, 3), (1, 0), (3, 2)])
    table = sg.accuracy(frame, np.array([1, 0, 1, nan]), labels=["A", "B", "C", "D"])
    assert table["x"].tolist() == ["all", "A v B", "C v D"]
    np.testing.assert_allclose(table["mean"], [2 / 3, 1, 0])
    assert table["n_trials"].tolist() == [3, 2, 1]
    assert sg.accuracy(frame[:1], np.ones(1))["x"].tolist() == ["all"]


def test_sets_of_many_options_are_told_apart():
    offers = np.array([(0, 1, 200), (0, 2, 199), (200, 1, 0), (1, 2, 200)])
    frame = trials([0, 0, 0, 1], [1] * 4, offers=offers)
    assert sg.accuracy(frame, np.ones(4))["n_trials"].tolist() == [4, 2, 1, 1]


def test_with_choices_keeps_the_masks_and_the_original():
    frame = trials([0, nan, 1, 1], [1, nan, 0, 1], forgone=[0, nan, 1, 0], forced=[3])
    before = frame.copy(deep=True)
    new = sg.with_choices(frame, np.array([1, 1, nan, 0]), np.array([0.5, 0.25, nan, nan]))
    pd.testing.assert_frame_equal(frame, before)
    assert new["choice"].tolist() == [1, 1, 0, 0]
    assert new["choice"].dtype == np.int64
    assert new["choice_at"].tolist() == [1, 1, 0, 0]
    assert new["choice_given"].tolist() == [True, True, False, True]
    assert new["mask_choice"].tolist() == [True, False, False, False]
    assert new["outcome"].tolist() == [0.5, 0.25, 0, 0]
    assert new["outcome_given"].tolist() == [True, True, False, False]
    assert not new["outcome_forgone_given"].any()
    one_step = sg.with_choices(frame, np.array([1, 0, 0, 0]))
    assert one_step["outcome"].tolist() == frame["outcome"].tolist()
    assert one_step["outcome_forgone_given"].tolist() == frame["outcome_forgone_given"].tolist()


def test_with_choices_refuses_an_option_that_was_not_on_offer():
    frame = trials([0, 1], [1, 1], offers=[(0, 1), (1, 2)])
    with pytest.raises(DataError, match=r"choice 0 in row 1 .* \[1, 2\]"):
        sg.with_choices(frame, np.array([0, 0]))


def test_predictive_band_covers_the_simulated_means():
    x = [1, 2]
    tables = [pd.DataFrame({"x": x, "mean": [i / 100, nan]}) for i in range(101)]
    band = sg.predictive_band(tables, prob=0.9)
    np.testing.assert_allclose(band.loc[0, ["mean", "lower", "upper"]].astype(float), [0.5, 0.05, 0.95])
    assert band.loc[1, ["mean", "lower", "upper"]].isna().all()
    with pytest.raises(DataError, match="differ in x"):
        sg.predictive_band([tables[0], tables[0].assign(x=[1, 3])])
    with pytest.raises(DataError, match="at least one"):
        sg.predictive_band([])


def test_signatures_of_a_large_data_set_are_fast():
    rng = np.random.default_rng(1)
    n_subjects, n_trials = 400, 200
    n = n_subjects * n_trials
    left = rng.integers(0, 4, n)
    offers = np.stack([left, (left + rng.integers(1, 4, n)) % 4], axis=1)
    choice = offers[np.arange(n), rng.integers(0, 2, n)]
    frame = trials(
        choice,
        rng.integers(0, 2, n),
        subject=np.repeat(np.arange(n_subjects), n_trials),
        offers=offers,
        payoff=rng.random((n, 4)),
    )
    values = sg.option_values(frame, 4)
    start = time.perf_counter()
    new = sg.with_choices(frame, choice, frame["outcome"].to_numpy())
    correct, _ = sg.correct_choice(new, 4, values)
    sg.learning_curve(new, correct)
    sg.win_stay_lose_shift(new)
    sg.accuracy(new, correct)
    # About 0.05 s on a quiet machine; a loop over rows would take many seconds.
    assert time.perf_counter() - start < 2


def test_accuracies_of_a_published_data_set():
    path = Path(__file__).parents[1].parent / "shared" / "data" / "fontanesi2019_rlddm.csv"
    if not path.exists():
        pytest.skip("the shared data are not here")
    from fitrl.data import read_trials
    from fitrl.tasks.bandit import Bandit

    columns = {"option_1": "option_correct", "option_2": "option_incorrect"}
    data = read_trials(path, Bandit, columns=columns, outcome_scale=100, reset="block")
    correct, label = sg.correct_choice(data.frame, data.task.n_options)
    # The file holds no payoffs; the outcomes shown order the options as their published means do.
    np.testing.assert_array_equal(correct, data.original["correct"].astype(float))
    assert label == "better option (mean of all outcomes shown)"
    table = sg.accuracy(data.frame, correct, data.task.labels).set_index("x")["mean"]
    assert table[["1 v 2", "1 v 3", "2 v 4", "3 v 4"]].tolist() == pytest.approx(
        [0.743, 0.889, 0.883, 0.744], abs=0.002
    )


def test_the_tasks_room_stays_light():
    heavy = "{'pandas', 'xarray', 'pytensor', 'pymc', 'matplotlib'}"
    code = f"import sys, fitrl.tasks.signatures; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Training: 0 v 1 and 2 v 3. Transfer, without outcomes: two trained pairs, 0 v 1 and 2 v 3, and new ones.
TRANSFER = [(0, 1), (2, 3), (0, 2), (3, 0), (0, 2), (1, 2), (3, 1), (0, 1), (2, 3)]


def transfer_frame(choice):
    return trials(choice, [1.0, 1.0] + [nan] * 7, offers=TRANSFER)


def test_choose_and_avoid_by_hand():
    # 0 v 2: 0, then 2; 3 v 0: missed; 1 v 2: 2; 3 v 1: 1. Trained pairs do not count, whatever was chosen.
    frame = transfer_frame([0, 2, 0, nan, 2, 2, 1, 1, 3])
    table = sg.choose_avoid(frame, 0, 1, labels="ABCD")
    assert table["x"].tolist() == ["choose A", "avoid B"]
    np.testing.assert_allclose(table["mean"], [1 / 2, 1 / 2])
    assert table["n_subjects"].tolist() == [1, 1]


def test_choose_and_avoid_of_other_choices_count_in_the_same_trials():
    frame = transfer_frame([0, 2, 0, nan, 2, 2, 1, 1, 3])
    predicted = np.array([1, 3, 0, 0, 0, 2, 3, 0, 2])  # the missed trial does not count, although it is predicted
    np.testing.assert_allclose(sg.choose_avoid(frame, 0, 1, predicted=predicted)["mean"], [1, 1])


def test_choices_held_out_of_the_fit_are_judged():
    frame = transfer_frame([0, 2, 0, 3, 2, 2, 1, 1, 3])
    held_out = frame.assign(mask_choice=frame["outcome_given"])
    pd.testing.assert_frame_equal(sg.choose_avoid(held_out, 0, 1), sg.choose_avoid(frame, 0, 1))
    np.testing.assert_allclose(sg.choose_avoid(frame, 0, 1)["mean"], [1 / 3, 1 / 2])


def test_choose_and_avoid_need_new_pairs():
    trained = trials([0, 2], [1, 1], offers=TRANSFER[:2])
    three_arms = trials([0, 2], [1, nan], offers=[(0, 1, 2)] * 2)
    for frame in (trained, three_arms):
        assert sg.choose_avoid(frame, 0, 1)["mean"].isna().all()


def test_a_pair_that_is_trained_later_is_not_new():
    offers = [(0, 1), (0, 2), (0, 2)]
    frame = trials([0, 0, 0], [1, nan, 1], offers=offers)
    assert sg.choose_avoid(frame, 0, 1)["mean"].isna().all()


def test_extreme_options():
    frame = trials([0, 2], [1, 1], offers=[(0, 1), (2, 3)], payoff=[(0.8, 0.2), (0.7, 0.3)])
    assert sg.extreme_options(sg.option_values(frame, 4)) == (0, 1)
    tied = trials([0, 2], [1, 1], offers=[(0, 1), (2, 3)], payoff=[(0.8, 0.2), (0.8, 0.3)])
    assert sg.extreme_options(sg.option_values(tied, 4)) is None
    unknown = trials([0, 0], [1, 1], offers=[(0, 1), (0, 1)], payoff=[(0.8, 0.2), (0.8, 0.2)])
    assert sg.extreme_options(sg.option_values(unknown, 4)) is None


# Stimuli and actions ----------------------------------------------------------------------------------------


def stimuli():
    """Two stimuli: the right action of the first is found at its second presentation, that of the other is not."""
    return pd.DataFrame(
        {
            "subject_idx": 0, "sequence": 0, "stimulus": [0, 1, 0, 1, 0], "set_size": 2.0,
            "choice": [0, 0, 2, 1, 2], "outcome": [0.0, 0.0, 1.0, 0.0, 1.0], "outcome_given": True,
            "choice_given": True, "mask_choice": True, "mask_update": True, "reset": [True, False, False, False, False],
        }
    )  # fmt: skip


def test_right_actions_follow_from_outcomes():
    of_row, probability = sg.right_actions(stimuli(), 4)
    assert of_row.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_allclose(probability, [[0, 0, 1, 0], [0, 0, 0.5, 0.5]])  # two that were not wrong are left
    again = stimuli().assign(reset=[True, False, True, False, False])  # other stimuli from the third trial on
    assert sg.right_actions(again, 4)[0].tolist() == [0, 1, 2, 3, 2]
    contradiction = stimuli().assign(choice=[2, 0, 2, 1, 2])  # wrong at first, right afterwards
    of_row, probability = sg.right_actions(contradiction, 4)
    assert np.isnan(probability[0]).all()
    assert not np.isnan(probability[1]).any()
    two_right = stimuli().assign(choice=[0, 0, 2, 1, 3])
    assert np.isnan(sg.right_actions(two_right, 4)[1][0]).all()


def test_learning_by_set_size_counts_presentations():
    table = sg.learning_by_set_size(stimuli(), 4)
    assert table["x"].tolist() == [f"2 stimuli, presentation {k}" for k in (1, 2, 3)]
    assert table["mean"].tolist() == [0.0, 0.5, 1.0]
    predicted = sg.learning_by_set_size(stimuli(), 4, predicted=np.array([2, 2, 2, 1, 0]))
    assert predicted["mean"].tolist() == [0.75, 0.5, 0.0]  # of the second stimulus two actions may be right
    assert len(sg.learning_by_set_size(stimuli(), 4, most=2)) == 2
    masked = sg.learning_by_set_size(stimuli().assign(mask_choice=[True, True, False, True, True]), 4)
    assert masked["mean"].tolist() == [0.0, 0.0, 1.0]
    points = stimuli().assign(outcome=[0.0, 0.0, 1.0, 0.0, 2.0])  # right actions may pay one or two
    assert sg.learning_by_set_size(points, 4)["mean"].tolist() == [0.0, 0.5, 1.0]


def test_shares_by_what_is_shown():
    frame = stimuli().assign(choice=[0, 1, 1, 1, 0])
    table = sg.choice_shares(frame, "choice", ("pass", "take"), cue="stimulus", levels=("a", "b"))
    assert table["x"].tolist() == ["choice take", "choice take, stimulus a", "choice take, stimulus b"]
    np.testing.assert_allclose(table["mean"], [3 / 5, 1 / 3, 1.0])
    assert sg.choice_shares(frame, "choice", ("x", "y", "z"))["x"].tolist() == ["choice x", "choice y", "choice z"]


def test_returns_to_goal_states_by_hand():
    frame = pd.DataFrame(
        {
            "subject_idx": 0, "state1": [0, 0, 1, 1, 0], "state2": [0, 0, 0, 1, 0],
            "outcome": [1.0, 0.0, 1.0, 0.0, 0.0], "choice1_given": True, "outcome_given": True, "mask_choice1": True,
            "reset": [True, False, False, False, False],
        }
    )  # fmt: skip
    table = sg.stay_by_start(frame).set_index("x")["mean"]
    # After 1: same start, returned. After 0: other start, returned. After 1: same start, left. After 0: other, left.
    assert table.dropna().to_dict() == {"high outcome, same start": 0.5, "low outcome, other start": 0.5}
    predicted = sg.stay_by_start(frame, predicted=np.array([0, 1, 0, 0, 0])).set_index("x")["mean"]
    assert predicted["high outcome, same start"] == 0.5  # left after the first, returned after the third
