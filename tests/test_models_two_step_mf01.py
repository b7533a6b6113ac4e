"""MF0 and MF1: trials computed by hand, interpreters that agree, and the usual form of the same model."""

import math

import model_checks as checks
import numpy as np
import pytest
from fast_engine import random_values
from hand_computed import log_p
from interpreters import run_filter, run_plain, stack

import fitrl
from fitrl.errors import ModelError
from fitrl.language.traits import lapse
from fitrl.models import find
from fitrl.tasks import TwoStep

DAW = TwoStep(2, ("1", "2"), codings=dict.fromkeys(("choice1", "state2", "choice2"), ("1", "2")))
PARAMETERS = {"alpha": 0.5, "beta_mb": 1.0, "beta_mf0": 0.8, "beta_mf1": 0.6, "beta_2": 1.5, "kappa": 0.2}
# Option 0, its own state, second option, 1; 0, the other state, first, 0; 1, its own, first, 1; the same again.
TRIALS = ((0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 0, 0), (1, 0, 1, 1))


def counted():
    first = [
        log_p(0, 0, 0),
        # MF1[0] = 1, Q2[0, 1] = 1; the order of states is the options' own
        log_p(0, 1 + 0.6 + 0.2, 0),
        # MF1[0] = .5 - 1 = -.5; Q2[0, 1] = .5, Q2[1, 0] = -1, so Q_mb is (.5 + 0) / 2 for both: the count is even
        log_p(1, 0.25 - 0.6 * 0.5 + 0.2, 0.25),
        # MF0[1] = -1, MF1 = -.25, 1; Q2[0, 1] = .25, Q2[1, 0] = .5
        log_p(1, 0.25 - 0.6 * 0.25, 0.5 - 0.8 + 0.6 + 0.2),
    ]
    second = [log_p(1, 0, 0), log_p(0, 0, 0), log_p(0, -1.5, 0), log_p(0, 1.5 * 0.5, 0)]
    return find("two_step_mf01"), first, second


def known_transitions_no_losses():
    first = [
        log_p(0, 0, 0),
        log_p(0, 0.7 + 0.6 + 0.2, 0.3),
        # r = 0: MF1[0] = .5, Q2[0, 1] = .5, the rest 0
        log_p(1, 0.7 * 0.5 + 0.6 * 0.5 + 0.2, 0.3 * 0.5),
        # MF0[1] = 0, MF1 = .25, 1; Q2[0, 1] = .25, Q2[1, 0] = 1
        log_p(1, 0.7 * 0.25 + 0.3 + 0.6 * 0.25, 0.3 * 0.25 + 0.7 + 0.6 + 0.2),
    ]
    second = [log_p(1, 0, 0), log_p(0, 0, 0), log_p(0, 0, 0), log_p(0, 1.5, 0)]
    return find("two_step_mf01", transitions="fixed", p_common=0.7, lowest=0.0), first, second


CASES = {f.__name__: f for f in (counted, known_transitions_no_losses)}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    model, first, second = CASES[name]()
    rows = stack(checks.two_step_columns(*TRIALS))
    checks.compare_by_hand(interpreter, model, DAW, PARAMETERS, rows, choice1=first, choice2=second)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_missed_response_lets_nothing_decay(stage):
    missed = checks.insert(1, TRIALS, (None if stage == 1 else 0, 1, None, None))
    model, first, second = counted()
    found = run_filter(model, DAW, PARAMETERS, stack(checks.two_step_columns(*missed)))
    keep = [0, 2, 3, 4]
    np.testing.assert_allclose(found["choice1"][keep], first, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["choice2"][keep], second, rtol=0, atol=1e-12)


def test_errors_are_in_the_usual_units():
    trials = checks.latents_of(find("two_step_mf01"), DAW, PARAMETERS, stack(checks.two_step_columns(*TRIALS)))
    # Q2[1, 0] before trials 3 and 4 is -1 and .5 as sums, -.5 and .25 as means; MF0[1] is 0, then -1, so -.25.
    found = {name: [t[name] for t in trials] for name in ("rpe_0", "rpe_1", "rpe_2")}
    assert found["rpe_0"] == pytest.approx([0, 0, -0.5, 0.25 + 0.25])
    assert found["rpe_1"] == pytest.approx([1, -1 - 0.5, 1, 1 - 0.5])
    assert found["rpe_2"] == pytest.approx([1, -1, 1 + 0.5, 1 - 0.25])


def test_the_usual_form_with_other_slopes():
    """A learning rate before every new term, and slopes divided by it (by its square for MF0): the same choices."""
    rng, alpha = np.random.default_rng(4), 0.3
    choice1, state2, choice2, outcome = (rng.integers(0, 2, 60) for _ in range(4))
    mb, mf0, mf1, second = 0.9 / alpha, 0.5 / alpha**2, 0.7 / alpha, 1.4 / alpha
    q2, q_mf0, q_mf1, expected = np.zeros((2, 2)), np.zeros(2), np.zeros(2), []
    last = np.zeros(2)
    for a, s, b, r in zip(choice1, state2, choice2, 2 * outcome - 1, strict=True):
        logits = mb * q2.max(axis=1) + mf0 * q_mf0 + mf1 * q_mf1 + 0.4 * last
        expected.append(logits[a] - np.logaddexp(*logits) + second * q2[s, b] - np.logaddexp(*(second * q2[s])))
        q_mf0, q_mf1 = (1 - alpha) * q_mf0, (1 - alpha) * q_mf1
        q_mf0[a] += alpha * q2[s, b]
        q_mf1[a] += alpha * r
        q2 = (1 - alpha) * q2
        q2[s, b] += alpha * r
        last = np.eye(2)[a]
    values = {"alpha": alpha, "beta_mb": 0.9, "beta_mf0": 0.5, "beta_mf1": 0.7, "beta_2": 1.4, "kappa": 0.4}
    rows = stack(checks.two_step_columns(list(choice1), list(state2), list(choice2), list(outcome)))
    found = run_plain(find("two_step_mf01", transitions="fixed"), DAW, values, rows)
    np.testing.assert_allclose(found["choice1"] + found["choice2"], expected, rtol=0, atol=1e-11)


EVERY = {
    "counted": (find("two_step_mf01"), DAW),
    "fixed": (find("two_step_mf01", transitions="fixed", p_common=0.7, lowest=0.0), DAW),
    "lapse": (find("two_step_mf01").with_(lapse()), TwoStep(2, ("1", "2"), (-1.0, 1.0), codings=DAW.codings)),
}


def situation(name, lengths):
    """Model, task, rows and values."""
    return checks.random_situation(*EVERY[name], lengths, checks.random_two_step_rows)


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths), rtol=1e-12)


@pytest.mark.study
def test_reference_agrees():
    checks.compare_reference(*situation("counted", (9, 4)))


@pytest.mark.parametrize("name", EVERY)
def test_agents_play_what_the_filter_scores(name):
    model, rng = EVERY[name][0], np.random.default_rng(8)
    task, world = TwoStep.play(40, 6, rng)
    values = random_values(model, task, dict.fromkeys(model.fitted(task), 6), rng, near=0.0)
    checks.compare_agents(model, task, world, values, rng)


def test_raw_outcomes_have_no_lowest():
    with pytest.raises(ModelError, match="raw outcomes have no range"):
        find("two_step_mf01").fitted(TwoStep(2, ("1", "2"), (-math.inf, math.inf), codings=DAW.codings))


def test_each_slope_shows_in_what_agents_repeat():
    """MF1 repeats what was rewarded whatever the transition; the model-based slope turns with the transition."""
    rest = {"alpha": 0.6, "beta_2": 1.5, "kappa": 0.0, "beta_mf0": 0.0}
    effects = {}
    for name, slopes_ in {"mb": {"beta_mb": 1.5, "beta_mf1": 0.0}, "mf": {"beta_mb": 0.0, "beta_mf1": 1.5}}.items():
        frame = fitrl.simulate(
            "two_step_mf01", subjects=60, trials=150, parameters=rest | slopes_, random_seed=5
        ).trials.frame
        stay = (frame["choice1"] == frame.groupby("subject")["choice1"].shift(-1))[frame["trial"] < 150]
        won, common = (frame["outcome"] > 0)[stay.index], (frame["state2"] == frame["choice1"])[stay.index]
        p = {(w, c): stay[(won == w) & (common == c)].mean() for w in (True, False) for c in (True, False)}
        reward = p[True, True] + p[True, False] - p[False, True] - p[False, False]
        turned = p[True, True] - p[True, False] - p[False, True] + p[False, False]
        effects[name] = reward, turned
    assert effects["mf"][0] > 0.4
    assert abs(effects["mf"][1]) < 0.1
    assert effects["mb"][1] > 0.4
    assert abs(effects["mb"][0]) < 0.2
