"""Reinforcement learning beside working memory: by hand, the interpreters, its task, and published data."""

import math
from pathlib import Path

import model_checks as checks
import numpy as np
import pandas as pd
import pytest
from interpreters import Rows, run_plain, stack

import fitrl
from fitrl.engine.layout import lay_out
from fitrl.errors import ModelError
from fitrl.fitting.simulate import draw_population
from fitrl.language.traits import lapse
from fitrl.models import find
from fitrl.tasks import NotReplayable, StimulusAction
from fitrl.tasks.stimulus_action import SetSizes

PUBLISHED = Path(__file__).parent.parent.parent / "shared" / "data" / "collins_rlwm_fmri2017.csv"
VALUES = {"alpha": 0.5, "bias": 0.5, "phi_wm": 0.5, "rho_wm": 0.8, "cap": 2.0, "eps": 0.1, "kappa": 0.3}


def task(n_stimuli=2, n_actions=2):
    """A task with letters for stimuli and numbers for actions."""
    codings = {"stimulus": tuple("ABCDEF"[:n_stimuli]), "choice": tuple("123"[:n_actions])}
    return StimulusAction(n_actions, codings["choice"], (0.0, 1.0), codings=codings)


def columns_of(stimuli, choices, outcomes, set_size, resets=()):
    """Canonical columns of one sequence; None is a missed response, or an outcome that was not shown."""
    n = len(stimuli)
    given, shown = (np.array([x is not None for x in values]) for values in (choices, outcomes))
    return {
        "stimulus": np.array(stimuli),
        "set_size": np.broadcast_to(np.asarray(set_size, float), n).copy(),
        "choice": np.array([0 if c is None else c for c in choices]),
        "choice_given": given,
        "mask_choice": given,
        "outcome": np.array([0.0 if r is None else float(r) for r in outcomes]),
        "outcome_given": shown,
        "mask_update": given & shown,
        "reset": np.isin(np.arange(n), [0, *resets]),
    }


# By hand ---------------------------------------------------------------------------------------------


def log_mixture(w, memory, value, last, chosen, beta=2.0):
    """Log of (1 - eps) (w P_wm + (1 - w) P_rl) + eps / 2, written out for two actions."""

    def p(cells):
        logits = [beta * x + 0.3 * side for x, side in zip(cells, last, strict=True)]
        return math.exp(logits[chosen]) / sum(math.exp(x) for x in logits)

    return math.log(0.9 * (w * p(memory) + (1 - w) * p(value)) + 0.1 / 2)


# Stimuli A, B, A, A (missed), A, B; actions 1, 2, 2, -, 1, 2; outcomes 1, 0, 0, -, 1, 1. Set size 4: w is .8 * 2 / 4.
STIMULI, ACTIONS, CORRECT = (0, 1, 0, 0, 0, 1), (0, 1, 1, None, 0, 1), (1, 0, 0, None, 1, 1)
NO, FIRST, SECOND = (0, 0), (1, 0), (0, 1)


def rlwm():
    # 1: A1 right: Q(A) .75 .5; WM(A) 1 .5.
    # 2: B2 wrong, half as much: Q(B) .5 .375; WM(B) .5 .25. WM(A) has decayed by half to .75 .5.
    # 3: A2 wrong: Q(A) .75 .375; WM(A) decays to .625 .5, then .625 .25.
    # 4: missed, but time passes: WM(A) .5625 .375.
    # 5: A1: chosen by WM(A) .5625 .375; right: Q(A) .875 .375, WM(A) 1 .4375.
    # 6: B2: WM(B) was .5 .25 after 2, and decayed in 3, 4 and 5: .5 and .5 - .25 / 8 = .46875.
    return [
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), NO, 0),
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), FIRST, 1),
        log_mixture(0.4, (0.75, 0.5), (0.75, 0.5), SECOND, 1),
        log_mixture(0.4, (0.5625, 0.375), (0.75, 0.375), SECOND, 0),
        log_mixture(0.4, (0.5, 0.46875), (0.5, 0.375), FIRST, 1),
    ]


def rlwm_both():
    # bias_rl .2, bias_wm 1. 2: Q(B) .5 .45; WM(B) .5 0. 3: Q(A) .75 .45; WM(A) .625 0. 4: WM(A) .5625 .25.
    # 6: WM(B) .5, .5 - .5 / 8 = .4375.
    return [
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), NO, 0),
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), FIRST, 1),
        log_mixture(0.4, (0.75, 0.5), (0.75, 0.5), SECOND, 1),
        log_mixture(0.4, (0.5625, 0.25), (0.75, 0.45), SECOND, 0),
        log_mixture(0.4, (0.5, 0.4375), (0.5, 0.45), FIRST, 1),
    ]


def rlwm_interaction():
    # Errors teach as much. What is expected: .4 of memory, which has decayed, and .6 of the value.
    # 1: expected .5: Q(A) .75 .5. 2: .5: Q(B) .5 .25; WM(B) .5 0. 3: A2: memory .5: .5: Q(A) .75 .25; WM(A) .625 0.
    # 4: WM(A) .5625 .25. 5: A1: memory .53125: expected .4 * .53125 + .6 * .75 = .6625: Q(A) .75 + .16875.
    # 6: WM(B) .5 .4375.
    return [
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), NO, 0),
        log_mixture(0.4, (0.5, 0.5), (0.5, 0.5), FIRST, 1),
        log_mixture(0.4, (0.75, 0.5), (0.75, 0.5), SECOND, 1),
        log_mixture(0.4, (0.5625, 0.25), (0.75, 0.25), SECOND, 0),
        log_mixture(0.4, (0.5, 0.4375), (0.5, 0.25), FIRST, 1),
    ]


NO_BIAS = {name: value for name, value in VALUES.items() if name != "bias"}
CASES = {
    "rlwm": (find("rlwm", beta=2.0), VALUES, rlwm()),
    "rlwm_both": (find("rlwm", beta=2.0, biases="both"), NO_BIAS | {"bias_rl": 0.2, "bias_wm": 1.0}, rlwm_both()),
    "rlwm_interaction": (find("rlwm", beta=2.0, biases="none", interaction="rpe"), NO_BIAS, rlwm_interaction()),
}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("n_stimuli", [2, 6])  # a small table is traced by cell, a large one by index
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, n_stimuli, interpreter):
    model, parameters, expected = CASES[name]
    rows = stack(columns_of(STIMULI, ACTIONS, CORRECT, 4))
    checks.compare_by_hand(interpreter, model, task(n_stimuli), parameters, rows, choice=expected)


def test_latents_by_hand():
    model, parameters, _ = CASES["rlwm_interaction"]
    rows = stack(columns_of(STIMULI, ACTIONS, CORRECT, 4))
    found = checks.latents_of(model, task(), parameters, rows)
    assert list(found[4]["wm_shown"]) == pytest.approx([0.5625, 0.25])
    assert list(found[5]["wm_shown"]) == pytest.approx([0.5, 0.4375])
    assert list(found[5]["q_shown"]) == pytest.approx([0.5, 0.25])
    assert [found[i]["rpe"] for i in (0, 1, 2, 4)] == pytest.approx([0.5, -0.5, -0.5, 0.3375])
    assert [t["w_wm"] for t in found] == pytest.approx([0.4] * 6)


def test_as_its_authors_compute_it():
    """Their program in plain Python: blocks of new stimuli, all responses given; the mixture with every part."""
    rng = np.random.default_rng(5)
    values = {"alpha": 0.1, "phi_wm": 0.2, "rho_wm": 0.9, "cap": 3.0, "eps": 0.05, "kappa": 0.5}
    values |= {"bias_rl": 0.3, "bias_wm": 0.6}
    blocks, expected = [], []
    for size in (2, 5):
        stimuli, choices = rng.integers(0, size, 30), rng.integers(0, 3, 30)
        correct = (rng.random(30) < 0.6).astype(float)
        blocks.append((stimuli, choices, correct, size))
        w = 0.9 * min(1, 3 / size)
        q, wm, last = np.full((size, 3), 1 / 3), np.full((size, 3), 1 / 3), np.zeros(3)
        for i, c, r in zip(stimuli, choices, correct, strict=True):
            p_rl, p_wm = (np.exp(25 * x[i] + 0.5 * last) for x in (q, wm))
            p_rl, p_wm = (0.05 / 3 + 0.95 * p / p.sum() for p in (p_rl, p_wm))
            expected.append(np.log(w * p_wm[c] + (1 - w) * p_rl[c]))
            wm += 0.2 * (1 / 3 - wm)
            q[i, c] += 0.1 * (1 if r else 0.3) * (r - (w * wm[i, c] + (1 - w) * q[i, c]))
            wm[i, c] += (1 if r else 0.6) * (r - wm[i, c])
            last = np.eye(3)[c]
    stimuli, choices, correct = (np.concatenate(x) for x in list(zip(*blocks, strict=True))[:3])
    columns = columns_of(stimuli, choices, correct, np.repeat([2.0, 5.0], 30), resets=[30])
    model = find("rlwm", biases="both", interaction="rpe")
    found = run_plain(model, task(6, 3), values, stack(columns))["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


# All interpreters, all options -----------------------------------------------------------------------

EVERY = {
    "rlwm": (find("rlwm"), task(5, 3)),
    "rlwm_small": (find("rlwm", beta=3.0), task(3, 2)),
    "rlwm_both": (find("rlwm", biases="both", interaction="rpe", beta=8.0), task(6, 3)),
    "rlwm_none": (find("rlwm", biases="none"), task(6, 3)),
}


def random_rows(task, lengths, rng):
    """Ragged rows with missed, forced and hidden trials and resets."""
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    n = len(sequence)
    given, shown, forced = rng.random(n) < 0.9, rng.random(n) < 0.85, rng.random(n) < 0.1
    n_stimuli = len(task.codings["stimulus"])
    columns = columns_of(rng.integers(0, n_stimuli, n), rng.integers(0, task.n_options, n), np.zeros(n), n_stimuli)
    first = np.isin(np.arange(n), np.searchsorted(sequence, np.arange(len(lengths))))
    columns |= {
        "set_size": rng.integers(2, 7, n).astype(float),
        "choice": np.where(given, columns["choice"], 0),
        "choice_given": given,
        "mask_choice": given & ~forced,
        "outcome": np.where(shown, rng.integers(0, 2, n), 0.0),
        "outcome_given": shown,
        "mask_update": given & shown,
        "reset": first | (rng.random(n) < 0.05),
    }
    return Rows(columns, sequence)


def situation(name, lengths):
    """A capacity off the whole numbers, where the weight has a corner."""
    model, task, rows, values = checks.random_situation(*EVERY[name], lengths, random_rows)
    values["cap"] = np.random.default_rng(3).choice([1.3, 2.6, 3.4, 4.7, 7.2], len(values["cap"]))
    return model, task, rows, values


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths))


@pytest.mark.study
@pytest.mark.parametrize("name", ["rlwm_small", "rlwm_both"])
def test_the_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4)))


@pytest.mark.parametrize("options", [{}, {"biases": "both", "interaction": "rpe"}])
def test_agents_play_what_the_filter_scores(options):
    model, rng = find("rlwm", **options), np.random.default_rng(8)
    played_task, world = StimulusAction.play(40, 5, rng)
    values = draw_population(model.fitted(played_task), 5, rng)
    checks.compare_agents(model, played_task, world, values, rng, interpreters=("plain", "filter"))


@pytest.mark.parametrize("name", EVERY)
def test_what_stands_in_cells_that_teach_nothing_changes_no_score(name):
    checks.change_hidden_cells(*situation(name, (12, 3, 25, 1, 7)))


# The task ------------------------------------------------------------------------------------------------


def test_blocks_share_out_the_trials():
    _, world = StimulusAction.play(200, 3, np.random.default_rng(1))
    for agent in range(3):
        shown = world.stimulus[:, agent]
        assert (np.bincount(shown, minlength=20) == 10).all()
        for size in (2, 3, 4, 5, 6):
            block = np.flatnonzero(world.set_size == size)
            assert np.ptp(block) == len(block) - 1  # in a row
            assert len(np.unique(shown[block])) == size
            assert len(np.unique(shown[block[:size]])) == size  # every stimulus once before any comes again


def test_one_action_is_correct():
    made = fitrl.simulate("rlwm", subjects=4, trials=100, n_options=4, random_seed=2).frame
    right = made[made["outcome"] == 1].groupby(["subject", "stimulus"])["choice"].nunique()
    assert (right == 1).all()
    assert set(made["choice"]) == {"1", "2", "3", "4"}


def test_an_environment_by_name_is_refused():
    with pytest.raises(ModelError, match=r"SetSizes\(\(2, 4, 6\)\)"):
        fitrl.simulate("rlwm", subjects=1, trials=10, environment="reversing")


def test_a_lapse_is_there_already():
    with pytest.raises(ModelError, match="declares `eps`, which rlwm already has"):
        find("rlwm").with_(lapse())


# What the model says about behaviour ---------------------------------------------------------------------


def accuracy(seed=1, **changes):
    """Share of correct choices by set size, from the third time on."""
    usual = {"alpha": 0.05, "bias": 0.4, "phi_wm": 0.15, "rho_wm": 0.9, "cap": 3.0, "eps": 0.02, "kappa": 0.0}
    made = fitrl.simulate(
        "rlwm", subjects=60, trials=160, parameters=usual | changes, random_seed=seed, environment=SetSizes((2, 6))
    ).frame
    seen = made.groupby(["subject", "stimulus"]).cumcount()
    return made[seen >= 2].groupby("set_size")["outcome"].mean()


def test_set_size_costs_memory_and_not_learning():
    usual, without = accuracy(), accuracy(rho_wm=0.001)
    assert usual[2] - usual[6] > 0.05
    assert abs(without[2] - without[6]) < 0.03
    assert accuracy(cap=6.0)[6] > usual[6] + 0.02


# Published data ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLISHED.exists(), reason="shared data are not here")
def test_published_data_are_read():
    frame = pd.read_csv(PUBLISHED)
    frame = frame[frame["subject"] <= 2]
    trials = fitrl.read_trials(frame, "rlwm", reset="block")
    assert trials.task.n_options == 3
    assert trials.codings["stimulus"] == ("1", "2", "3", "4", "5", "6")
    assert trials.frame["reset"].sum() == 36
    assert (~trials.frame["choice_given"]).sum() == frame["missed"].sum()
    assert trials.frame["set_size"].tolist() == frame["set_size"].tolist()


def test_recorded_stimuli_are_played_again():
    made = fitrl.simulate("rlwm", subjects=3, trials=60, random_seed=1)
    layout = lay_out(made.trials.frame["sequence"].to_numpy())
    columns = {name: made.trials.frame[name].to_numpy()[layout.rows] for name in made.trials.frame if name != "subject"}
    columns["mask_update"] = columns["mask_update"] & layout.filled
    world = made.trials.task.replay(columns, 2, np.random.default_rng(1))
    right = columns["outcome"] == 1
    for trial in range(60):
        # The choice of the person, repeated by every copy, has the outcome that it had.
        answer = world.at(trial).answer("outcome", {"choice": np.tile(columns["choice"][trial], 2)})
        np.testing.assert_array_equal(answer, np.tile(right[trial], 2))
    points = {**columns, "outcome": columns["outcome"] * (1 + np.arange(60)[:, None] % 2)}
    with pytest.raises(NotReplayable, match="different amounts"):
        made.trials.task.replay(points, 1, np.random.default_rng(1))
    columns["outcome"] = np.where(columns["choice"] == 0, 1.0, 0.0)  # one action is always right: nothing contradicts
    assert made.trials.task.replay(columns, 1, np.random.default_rng(1)) is not None
    columns["outcome"] = np.arange(60)[:, None] % 2 + np.zeros((60, 3))
    with pytest.raises(NotReplayable, match="do not say which action is right"):
        made.trials.task.replay(columns, 1, np.random.default_rng(1))
    with pytest.raises(ModelError, match="leave the environment out"):
        made.trials.task.replay(columns, 1, np.random.default_rng(1), environment="drifting")


def test_what_is_made_up_does_not_depend_on_the_lengths_of_sequences():
    def world(lengths):
        stimulus = np.arange(max(lengths))[:, None] % 2 + np.zeros((1, len(lengths)), dtype=int)
        filled = np.arange(max(lengths))[:, None] < np.array(lengths)
        columns = {
            "stimulus": np.where(filled, stimulus, 0), "choice": np.where(filled, stimulus, 0),
            "choice_given": filled, "outcome": np.where(filled, 1.0, 0.0), "mask_update": filled,
            "reset": np.arange(max(lengths))[:, None] + np.zeros((1, len(lengths)), dtype=int) == 0,
        }  # fmt: skip
        columns["reset"] |= ~filled  # rows below the end are copies of a first row
        columns["outcome"][2] = 0.0
        columns["choice"][2] = 2
        return task(2, 3).replay(columns, 2, np.random.default_rng(1))

    assert world((8, 8)).simulated == ""
    assert world((8, 5)).simulated == ""
