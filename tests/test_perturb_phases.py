"""Where a parameter acts, found from the text; two values in one trial, by hand and in every interpreter."""

from typing import ClassVar

import numpy as np
import pytest
from example_models import WorkingMemory
from hand_computed import log_p
from interpreters import bandit_columns, evaluate, stack

from fitrl import check_model
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows, plain, play_rows
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.hierarchy.priors import resolve_priors
from fitrl.language import Model, State, positive, softmax, table, unit
from fitrl.language.traits import dual_alpha, forgetting, lapse, phase_shift, stickiness
from fitrl.language.trial import Given, play_row
from fitrl.models import find
from fitrl.perturb.phases import driven, example_task, phases
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Fixed, play_bandit

TWO = Bandit(2, ("A", "B"), (0.0, 1.0))


class Gain(Model):
    """One gain for choice and for learning."""

    task = Bandit
    gain = unit("gain of choice and of learning")
    beta = positive("inverse temperature")
    first = unit("value at the start")

    def start(self, p, task):
        return State(q=table([p.first, p.first]))

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * p.gain * s.q))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.gain * rpe
        t.record(rpe=rpe)


class OneGain(Model):
    """The gain alone, which choices tell in both phases."""

    task = Bandit
    gain = unit("gain of choice and of learning")

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(8 * p.gain * s.q))
        s.q[a] += p.gain * (t.observe("outcome") - s.q[a])


class Pinned(Gain):
    """The same, by its author's word a matter of learning."""

    phases: ClassVar = {"gain": "learn"}


# By hand: gain .5 in choice and .25 in learning, beta 2, values from .5; A, A, B got 1, 0, 1.
CHOOSE, LEARN = {"gain": 0.5, "beta": 2.0, "first": 0.5}, {"gain": 0.25}
ROWS = bandit_columns((0, 0, 1), (1, 0, 1))
EXPECTED = [
    log_p(0, 2 * 0.5 * 0.5, 2 * 0.5 * 0.5),
    log_p(0, 2 * 0.5 * 0.625, 2 * 0.5 * 0.5),  # A: .5 + .25 (1 - .5) = .625
    log_p(1, 2 * 0.5 * 0.46875, 2 * 0.5 * 0.5),  # A: .625 + .25 (0 - .625) = .46875
]


def test_two_values_in_one_trial_by_hand_in_the_plain_interpreter():
    rows = [{name: column[i] for name, column in ROWS.items()} for i in range(3)]
    trials = list(plain(Gain(), TWO, CHOOSE, rows, LEARN))
    np.testing.assert_allclose([t.log_probability["choice"] for t in trials], EXPECTED, rtol=1e-14)
    assert [float(t.latents["rpe"]) for t in trials] == [0.5, -0.625, 0.5]
    assert float(trials[-1].s.q[1]) == 0.625  # B: .5 + .25 (1 - .5)


def test_two_values_in_one_trial_by_hand_in_the_filter():
    rows = stack(ROWS)
    found = np.empty(3)
    values = {name: Located(np.array([[v]]), np.array([0])) for name, v in CHOOSE.items()}
    learning = {name: Located(np.array([[v]]), np.array([0])) for name, v in LEARN.items()}
    for place, _, t in filter_rows(Gain(), TWO, values, rows.columns, lay_out(rows.sequence), learning):
        found[place] = t.log_probability["choice"]
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-14)


def test_two_values_in_one_trial_by_hand_in_the_traced_graph():
    program = trace(Gain(), TWO, split=["gain"])
    assert program.parameters == ("gain", "beta", "first", "gain@learn")
    values = {("parameter", name): v for name, v in {**CHOOSE, "gain@learn": LEARN["gain"]}.items()}
    state, found = [0.0, 0.0], []
    for i in range(3):
        leaves = values | {("column", name): ROWS[name][i] for name in program.columns}
        leaves |= {("state", *cell): value for cell, value in zip(program.cells, state, strict=True)}
        *state, log_probability = evaluate([*program.after, program.log_probability["choice"]], leaves)
        found.append(log_probability)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-14)


# The same, with the value in learning as a parameter: gain_learn on the logit of gain -------------------------------


@pytest.mark.parametrize(
    ("phase", "gain", "shift"), [("learn", 0.5, -np.log(3.0)), ("choose", 0.25, np.log(3.0))], ids=["learn", "choose"]
)
def test_a_shift_of_one_phase_is_a_value_of_its_own(phase, gain, shift):
    model = Gain().with_(phase_shift(parameter="gain", phase=phase))
    values = {**CHOOSE, "gain": gain, f"gain_{phase}": shift}
    assert list(model.parameters()) == ["gain", "beta", "first", f"gain_{phase}"]
    rows = [{name: column[i] for name, column in ROWS.items()} for i in range(3)]
    found = [t.log_probability["choice"] for t in plain(model, TWO, values, rows)]
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-13)
    rows, filtered = stack(ROWS), np.empty(3)
    located = {name: Located(np.array([[v]]), np.array([0])) for name, v in values.items()}
    for place, _, t in filter_rows(model, TWO, located, rows.columns, lay_out(rows.sequence)):
        filtered[place] = t.log_probability["choice"]
    np.testing.assert_allclose(filtered, EXPECTED, rtol=1e-13)
    assert phases(model, TWO) == {"gain": "both", "beta": "choose", "first": "learn", f"gain_{phase}": phase}


def test_no_shift_is_no_change_and_shifts_are_those_of_the_link():
    model = Gain().with_(phase_shift(parameter="gain"))
    p = model.bind({**CHOOSE, "gain_learn": 0.7}, TWO)
    assert (p.gain, p._in_learning.beta) == (0.5, 2.0)
    np.testing.assert_allclose(p._in_learning.gain, 1 / (1 + np.exp(-0.7)), rtol=1e-15)
    assert model.bind({**CHOOSE, "gain_learn": 0.0}, TWO)._in_learning.gain == 0.5
    ends = model.bind({**CHOOSE, "gain": np.array([0.0, 1.0]), "gain_learn": 3.0}, TWO)._in_learning.gain
    assert ends.tolist() == [0.0, 1.0]
    sharp = Gain().with_(phase_shift(parameter="beta")).bind({**CHOOSE, "beta_learn": 0.7}, TWO)
    np.testing.assert_allclose(sharp._in_learning.beta, 2 * np.exp(0.7), rtol=1e-15)
    sticky = Gain().with_(stickiness(), phase_shift(parameter="kappa"))
    assert sticky.bind({**CHOOSE, "kappa": 0.5, "kappa_learn": -0.75}, TWO)._in_learning.kappa == -0.25


def test_a_shift_needs_a_parameter_that_it_can_move():
    with pytest.raises(ModelError, match=r"phase_shift:parameter=NAME\)\. It can be gain, beta, first\."):
        Gain().with_(phase_shift())
    with pytest.raises(ModelError, match=r'no parameter "gian".*"gain"'):
        Gain().with_(phase_shift(parameter="gian"))
    with pytest.raises(ModelError, match=r"no choice depends on the declared parameter beta_learn"):
        trace(Gain().with_(phase_shift(parameter="beta")), TWO)
    wide = {"gain": {"upper": 2.0}}
    with pytest.raises(ModelError, match=r"priors of gain: with phase_shift its link and range must be .* 0 to 1"):
        resolve_priors(Gain().with_(phase_shift(parameter="gain")), TWO, wide)
    assert resolve_priors(Gain(), TWO, wide)["gain"].upper == 2.0
    with pytest.raises(ModelError, match="has a value per option, a unit or a probit link"):
        find("biased_coin").with_(phase_shift(parameter="b"))


def test_a_shift_of_one_phase_passes_what_every_model_must():
    report = check_model(OneGain().with_(phase_shift(parameter="gain")))
    assert report.passed, str(report)
    # Choices tell beta * gain of choice and gain of learning: of three parameters one is too many.
    (failed,) = [c for c in check_model(Gain().with_(phase_shift(parameter="gain"))).checks if c.status == "failed"]
    assert failed.name == "identified"


def test_the_simulator_plays_what_the_filter_scores():
    rng = np.random.default_rng(3)
    task, world = play_bandit(Fixed(), 30, 5, rng)
    choose = {"gain": rng.uniform(0.2, 0.8, 5), "beta": np.full(5, 4.0), "first": np.full(5, 0.4)}
    learn = {"gain": rng.uniform(0.2, 0.8, 5)}
    played = [
        (t.emitted["choice"], t.emitted["outcome"], t.log_probability["choice"], t.latents["rpe"])
        for t in play_rows(Gain(), task, world, choose, rng, learn)
    ]
    choice, outcome, scored, rpe = (np.array(x) for x in zip(*played, strict=True))
    rows = stack(*[bandit_columns(choice[:, i], outcome[:, i]) for i in range(5)])
    values, learning = ({n: Located(v[None], np.arange(5)) for n, v in given.items()} for given in (choose, learn))
    filtered = [
        (t.log_probability["choice"], t.latents["rpe"])
        for _, _, t in filter_rows(Gain(), task, values, rows.columns, lay_out(rows.sequence), learning)
    ]
    np.testing.assert_allclose([f[0] for f in filtered], scored, rtol=1e-12)
    np.testing.assert_allclose([f[1] for f in filtered], rpe, rtol=1e-12)


def test_the_same_value_in_both_phases_is_no_split_at_all():
    rng = np.random.default_rng(3)
    task, world = play_bandit(Fixed(), 40, 6, rng)
    values = {"gain": rng.uniform(0.2, 0.8, 6), "beta": np.full(6, 4.0), "first": np.full(6, 0.4)}
    one, two = (
        [t.s.q.data for t in play_rows(Gain(), task, world, values, np.random.default_rng(1), learning)]
        for learning in (None, {"gain": values["gain"]})
    )
    np.testing.assert_array_equal(one, two)


def after_one_row(learning, *, learns):
    """Log probability and values after a choice of A that paid, from given values."""
    p = Gain().bind(CHOOSE, TWO, learning)
    row = {name: column[0] for name, column in ROWS.items()}
    t, s = play_row(
        Gain(),
        TWO,
        p,
        State(q=table([0.7, 0.2])),
        False,
        learns,
        lambda p, s, start: Given(Gain(), TWO, p, s, start, row),
    )
    return float(t.log_probability["choice"]), s.q.data.tolist()


def test_a_shift_of_learning_leaves_a_transfer_phase_unchanged_given_the_same_values():
    plain_choice, frozen = after_one_row(None, learns=False)
    assert after_one_row(LEARN, learns=False) == (plain_choice, frozen)
    assert frozen == [0.7, 0.2]
    taught = after_one_row(LEARN, learns=True)
    assert taught[0] == plain_choice
    np.testing.assert_allclose(taught[1], [0.7 + 0.25 * 0.3, 0.2], rtol=1e-15)


def test_a_shift_of_choice_leaves_values_unchanged_for_given_choices():
    rows = [{name: column[i] for name, column in ROWS.items()} for i in range(3)]
    base = [t.s.q.data.tolist() for t in plain(Gain(), TWO, {**CHOOSE, "gain": 0.25}, rows)]
    shifted = [t.s.q.data.tolist() for t in plain(Gain(), TWO, {**CHOOSE, "gain": 0.9}, rows, LEARN)]
    assert shifted == base


@pytest.mark.parametrize(
    ("name", "learn", "choose"),
    [
        ("q_learning", "alpha", "beta"),
        ("reward_punishment", "alpha_rew alpha_pun rho_rew rho_pun", ""),
        ("opal", "alpha_c alpha_g alpha_n", "beta"),
        ("two_step_split", "alpha lam", "beta_mb beta_mf beta_2 kappa"),
        ("two_step_kool", "alpha lam", "beta w_mb pi_stim rho_resp"),
        ("vkf_binary", "lam_v omega", "beta"),
        ("ehgf_binary", "omega2", "zeta"),
        ("biased_coin", "", "b_1"),
    ],
)
def test_the_zoo_knows_its_phases(name, learn, choose):
    model = find(name)
    expected = dict.fromkeys(learn.split(), "learn") | dict.fromkeys(choose.split(), "choose")
    assert phases(model, example_task(model)) == expected


def test_traits_have_phases_too():
    model = find("q_learning").with_(dual_alpha(), stickiness(), forgetting(), lapse())
    found = phases(model, TWO)
    assert {name for name, phase in found.items() if phase == "learn"} == {"alpha_pos", "alpha_neg", "phi"}
    assert {name for name, phase in found.items() if phase == "choose"} == {"beta", "kappa", "eps"}


def test_a_quantity_in_both_is_both_and_a_start_is_learning():
    assert phases(Gain(), TWO) == {"gain": "both", "beta": "choose", "first": "learn"}


def test_opals_dopamine_acts_in_choice():
    model = find("opal", asymmetry="both")
    assert phases(model, TWO)["rho_da"] == "choose"


def test_large_tables_are_analysed_as_small_ones():
    large = Bandit(40, tuple(map(str, range(40))), (0.0, 1.0), 2)
    assert phases(find("q_learning"), large) == {"alpha": "learn", "beta": "choose"}
    assert driven(find("q_learning"), large, "alpha") == ("q",)


def test_a_model_with_memory_and_a_task_of_its_own():
    model = WorkingMemory()
    task = model.task(2, ("0", "1"), (0.0, 1.0), codings={"stimulus": ("a", "b", "c")})
    expected = dict.fromkeys(("alpha", "phi_wm"), "learn") | dict.fromkeys(("rho_wm", "cap", "eps"), "choose")
    assert phases(model, task) == expected


def test_an_author_may_pin_a_phase():
    assert phases(Pinned(), TWO)["gain"] == "learn"
    wrong = type("Wrong", (Gain,), {"phases": {"gian": "learn"}})
    with pytest.raises(ModelError, match='Did you mean "gain"'):
        phases(wrong(), TWO)
    wrong = type("Wrong", (Gain,), {"phases": {"gain": "both"}})
    with pytest.raises(ModelError, match='"learn" or "choose"'):
        phases(wrong(), TWO)


def test_what_a_parameter_drives():
    opal = find("opal")
    assert driven(opal, TWO, "alpha_g") == ("g",)
    assert driven(opal, TWO, "alpha_c") == ("v",)
    assert driven(opal, TWO, "beta") == ()
