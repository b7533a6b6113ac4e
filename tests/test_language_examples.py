"""Six models of different kinds, written as a user would, and what the language makes of each."""

from pathlib import Path

import example_models as mine
import numpy as np
import pytest
from interpreters import Rows, played, run_filter, run_plain, run_symbols

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.reference import log_likelihood
from fitrl.engine.run import filter_rows, play_rows
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.models import find
from fitrl.tasks.environments import Fixed, Pairs, play_bandit

AGENTS, TRIALS = 6, 40


def _two_step(rng):
    return mine.TwoStepTask(), mine.TwoStepWorld(TRIALS, AGENTS, rng)


def _pairs(rng):
    return play_bandit(Pairs((0.8, 0.2, 0.6, 0.4), transfer=10), TRIALS, AGENTS, rng)


def _stimuli(rng):
    codings = {"stimulus": ("x", "y", "z"), "choice": ("1", "2", "3")}
    return mine.StimulusActionTask(3, codings["choice"], codings=codings), mine.StimulusActionWorld(TRIALS, AGENTS, rng)


def _prediction(rng):
    return mine.PredictionTask(), mine.PredictionWorld(TRIALS, AGENTS, rng)


def _timed(rng):
    task, world = play_bandit(Fixed((0.8, 0.3)), TRIALS, AGENTS, rng)
    return mine.TimedBandit(task.n_options, task.labels), world


EXAMPLES = {
    "PairsOfFour": (_pairs, {"alpha": 0.3, "beta": 4.0}),
    "TwoStep": (
        _two_step,
        {"alpha_1": 0.4, "alpha_2": 0.5, "beta_1": 4.0, "beta_2": 3.0, "lam": 0.6, "w_mb": 0.5, "kappa": 0.2},
    ),
    "TwoStepSplit": (
        _two_step,
        {"alpha_1": 0.4, "alpha_2": 0.5, "beta_mb": 2.0, "beta_mf": 3.0, "beta_2": 3.0, "lam": 0.6, "kappa": 0.2},
    ),
    "WorkingMemory": (_stimuli, {"alpha": 0.1, "phi_wm": 0.2, "rho_wm": 0.9, "cap": 2.5, "eps": 0.05}),
    "BinaryFilter": (_prediction, {"omega2": -2.0, "omega3": 1.0, "zeta": 2.0}),
    "ChoiceAndTime": (
        _timed,
        {"alpha": 0.3, "beta": 4.0, "rt_base": -0.4, "rt_slope": -0.5, "rt_sd": 0.3},
    ),
}


def example(name):
    """Model, task, parameters, played rows and the log probabilities while playing."""
    setup, parameters = EXAMPLES[name]
    rng = np.random.default_rng(7)
    task, world = setup(rng)
    model = getattr(mine, name)()
    values = {k: v * np.linspace(0.9, 1.1, AGENTS) for k, v in parameters.items()}
    rows, scores = played(model, task, world, values, rng)
    return model, task, values, rows, scores


@pytest.mark.parametrize("name", EXAMPLES)
def test_all_interpreters_agree(name):
    model, task, values, rows, scores = example(name)
    filtered = run_filter(model, task, values, rows)
    assert set(filtered) == set(scores)
    for other in (scores, run_plain(model, task, values, rows), run_symbols(model, task, values, rows)):
        for emission, found in filtered.items():
            np.testing.assert_allclose(other[emission], found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_parameters_of_the_program(name):
    model, task, values, _, _ = example(name)
    assert set(trace(model, task).parameters) == set(values)


def test_the_two_forms_of_the_hybrid_are_one_model():
    model, task, values, rows, _ = example("TwoStepSplit")
    b_mb, b_mf = values["beta_mb"], values["beta_mf"]
    same = {k: v for k, v in values.items() if k not in ("beta_mb", "beta_mf")}
    same |= {"beta_1": b_mb + b_mf, "w_mb": b_mb / (b_mb + b_mf)}
    other = run_filter(mine.TwoStep(), task, same, rows)
    for emission, found in run_filter(model, task, values, rows).items():
        np.testing.assert_allclose(other[emission], found, rtol=0, atol=1e-12)


def test_a_derived_quantity_is_not_fitted():
    model = mine.TwoStepSplit()
    assert "w_mb" not in model.parameters()
    assert "beta_1" not in model.parameters()
    assert model.derived()["w_mb"].sources == ("beta_mb", "beta_mf")


def test_two_step_by_hand():
    """Two trials of the hybrid, written out."""
    b1, b2, a1, a2, lam, w, k = 4.0, 3.0, 0.4, 0.5, 0.6, 0.5, 0.2
    columns = {
        "choice1": np.array([0, 0]),
        "state2": np.array([1, 0]),
        "choice2": np.array([1, 0]),
        "outcome": np.array([1.0, 0.0]),
        "mask_update": np.array([True, True]),
        "reset": np.array([True, False]),
    }
    names = ("beta_1", "beta_2", "alpha_1", "alpha_2", "lam", "w_mb", "kappa")
    values = dict(zip(names, (b1, b2, a1, a2, lam, w, k), strict=True))
    found = run_filter(mine.TwoStep(), mine.TwoStepTask(), values, Rows(columns, np.zeros(2, int)))
    # Trial 1: Q2[1, 1] = .5; Q1[0] = .4 * (0 + .6 * 1) = .24. Trial 2: best in state 1 is .5.
    # Q_MB = (.3 * .5, .7 * .5)
    first = b1 * (w * 0.15 + (1 - w) * 0.24) + k
    second = b1 * (w * 0.35)
    np.testing.assert_allclose(found["choice1"], [np.log(0.5), -np.log1p(np.exp(second - first))], atol=1e-12)
    np.testing.assert_allclose(found["choice2"], [np.log(0.5)] * 2, atol=1e-12)


def test_a_missing_response_time_leaves_the_choice_alone():
    model, task, values, rows, _ = example("ChoiceAndTime")
    whole = run_filter(model, task, values, rows)
    columns = {name: column.copy() for name, column in rows.columns.items()}
    columns["rt"][::3], columns["rt_given"][::3] = 0.0, False
    holes = Rows(columns, rows.sequence)
    for run in (run_filter, run_plain, run_symbols):
        found = run(model, task, values, holes)
        np.testing.assert_array_equal(found["choice"], whole["choice"])
        assert np.isfinite(found["rt"]).all()  # an infinite one would make gradients nan though it is not scored
        np.testing.assert_allclose(found["rt"][columns["rt_given"]], whole["rt"][columns["rt_given"]], atol=1e-12)


def test_simulated_agents_use_their_working_memory():
    rng = np.random.default_rng(3)
    task, _ = _stimuli(rng)
    world = mine.StimulusActionWorld(60, 300, rng)
    values = dict(EXAMPLES["WorkingMemory"][1])
    late = [t.emitted["outcome"].mean() for t in play_rows(mine.WorkingMemory(), task, world, values, rng)][-20:]
    assert 0.75 < np.mean(late) < 1.0


# Conditioning: no choice at all ---------------------------------------------------------------------


def conditioning(n_trials=200):
    task = mine.ConditioningTask(codings={"cue": ("tone",)})
    return mine.Conditioning(), task, mine.ConditioningWorld(n_trials, 2)


def test_conditioning_moves_the_error_from_reward_to_cue():
    model, task, world = conditioning()
    values = {"alpha": 0.3, "gamma": 0.95, "lam": 0.0}
    errors = [
        np.array([np.broadcast_to(e, 2) for e in t.latents["rpe"]])[:, 0]
        for t in play_rows(model, task, world, values, np.random.default_rng(0))
    ]
    first, late, omitted = errors[0], errors[-2], errors[-1]
    assert first[0] == 0  # the cue means nothing yet
    assert first[4] == 1  # all of the reward is news
    assert late[0] == pytest.approx(0.95**4, abs=0.02)
    assert np.abs(late[1:]).max() < 0.02
    assert omitted[4] == pytest.approx(-1, abs=0.02)
    assert np.abs(np.delete(omitted, [0, 4])).max() < 0.02


def test_conditioning_is_traced_and_filtered_and_not_fitted():
    model, task, world = conditioning(5)
    program = trace(model, task)
    assert program.log_probability == {}
    assert set(program.parameters) == {"alpha", "gamma", "lam"}
    values = {"alpha": 0.3, "gamma": 0.95, "lam": 0.5}
    rng = np.random.default_rng(0)
    rows, _ = played(model, task, world, values, rng)
    located = {k: Located(np.full((1, 2), v), np.arange(2)) for k, v in values.items()}
    filtered = list(filter_rows(model, task, located, rows.columns, lay_out(rows.sequence)))
    for (_, _, given), lived in zip(filtered, play_rows(model, task, world, values, rng), strict=True):
        for x, y in zip(given.latents["rpe"], lived.latents["rpe"], strict=True):
            np.testing.assert_array_equal(x, y)
    layout = lay_out(rows.sequence)
    with pytest.raises(ModelError, match="chooses nothing, so there is no likelihood"):
        log_likelihood(program, {}, rows.columns, layout.rows, layout.filled, layout.place)


# A file of one's own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TwoStep", "WorkingMemory"])
def test_a_file_of_ones_own_has_the_same_rights(tmp_path, name):
    """The text, in another folder and found by path, gives the same numbers as the imported class."""
    file = tmp_path / "my_models.py"
    file.write_text(Path(mine.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    model = find(f"{file}:{name}")
    mine_model, task, values, rows, _ = example(name)
    for emission, found in run_filter(model, task, values, rows).items():
        np.testing.assert_array_equal(found, run_filter(mine_model, task, values, rows)[emission])
