"""What an author gets to read after a mistake: the line, and the remedy."""

import math

import numpy as np
import pytest

from fitrl.engine.run import plain
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language import Model, State, filled, positive, softmax, table, unit, where
from fitrl.language.traits import counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.models.value import QLearning
from fitrl.tasks import Bandit

HEAD = """\
import math
import numpy as np
from fitrl.language import *
from fitrl.tasks import Bandit

class Mine(Model):
    "A model with a mistake."
    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature")

    def start(self, p, task):
        START

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * s.q))
        r = t.observe("outcome")
        rpe = r - s.q[a]
        s.q[a] += p.alpha * rpe
        MISTAKE
"""
TASK = Bandit(2, ("A", "B"), (0.0, 1.0))


def traced(tmp_path, mistake, start="return State(q=task.values(), n=0.0)", text=HEAD):
    """Trace a model file with a mistake; give the message of the error."""
    file = tmp_path / "mine.py"
    file.write_text(text.replace("MISTAKE", mistake).replace("START", start), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        trace(find(str(file)), TASK)
    return str(caught.value)


# The mistake (the last line of trial, line 19 of the file or below) and what the message must hold.
MISTAKES = {
    "undeclared parameter": ("s.q[a] += p.alhpa", ['no parameter "alhpa"', 'mean "alpha"', "Declare it"]),
    "if on a symbol": ("if rpe > 0: s.n = 1.0", ["an `if`", "where(condition, x, y)"]),
    "conditional": ("s.n = 1.0 if rpe > 0 else 0.0", ["an `if`", "where(condition, x, y)"]),
    "and": ("s.n = where(rpe > 0 and r > 0, 1.0, 0.0)", ["`and`", "where(condition, x, y)"]),
    "not": ("s.n = where(not rpe > 0, 1.0, 0.0)", ["`not`", "where(condition, x, y)"]),
    "chained comparison": ("s.n = where(0 < rpe < 1, 1.0, 0.0)", ["`and`", "where(condition, x, y)"]),
    "tilde": ("s.n = where(~(rpe > 0), 1.0, 0.0)", ["`~`", "(condition) == 0"]),
    "max": ("s.n = max(rpe, 0.0)", ["`max`", "maximum(x, y)"]),
    "min": ("s.n = min(rpe, 0.0)", ["`min`", "minimum(x, y)"]),
    "max of a table": ("s.n = max(s.q)", ["`max`", "largest(table)"]),
    "math.exp": ("s.n = math.exp(rpe)", ["math.exp()", "Use exp, log"]),
    "numpy on a symbol": ("s.n = np.exp(rpe)", ["ufunc", "fitrl.language"]),
    "numpy on a table": ("s.q = np.exp(s.q)", ["ufunc", "fitrl.language"]),
    "float": ("s.n = float(rpe)", ["Python number", "fitrl.language"]),
    "int": ("s.n = int(rpe)", ["Python number", "fitrl.language"]),
    "range": ("for _ in range(a): pass", ["range()", "table([...])"]),
    "list index": ("s.n = [0.1, 0.2][a]", ["Python list", "table([...])"]),
    "looping over a value": ("for _ in rpe: pass", ["looped over", "only tables"]),
    "cell of a value": ("s.n[a] = 1.0", ["single value was indexed", "State(q=task.values())"]),
    "new shape": ("s.q = s.q[a]", ["`q` changes its shape from (2,) to ()", "start()"]),
    "new field": ("s.value = rpe", ['no state field "value"', "Declare it in start()"]),
    "unknown field": ("s.n = s.m", ['no state field "m"', "Known: q, n"]),
    "field of text": ("s.n = 'often'", ["cannot hold str", "number or a table"]),
    "two choices of one name": (
        't.choose("choice", softmax(s.q))',
        ["chosen or emitted twice", "Give each emission its own name"],
    ),
    "unknown emission": ('t.emit("rt", normal(0.0, 1.0))', ['no response "rt"', "Bandit", "Known: choice"]),
    "unknown column": ('s.n = t.observe("outcom")', ['no column "outcom"', 'mean "outcome"', "Bandit"]),
    "stale copy": ("q = s.q; q[0] = 1.0; q[1] = 2.0", ["changed since this copy", "`s.q[...]`"]),
    "stale copy after a change": ("q = s.q; s.q[a] += 1.0; q[a] += 1.0", ["changed since", "s.q[...]"]),
    "loose table": ("q = 2 * s.q; q[a] = 1.0", ["not a field of the state", "s.q[a] = x"]),
    "slice": ("s.n = total(s.q[0:1])", ["no slices", "range(len(table))"]),
    "index out of range": ("s.n = s.q[2]", ["index 2 is outside a table with 2 entries", "from 0"]),
    "negative index": ("s.n = s.q[-1]", ["index -1 is outside a table", "from 0"]),
    "too many indices": ("s.n = s.q[a, a]", ["2 indices", "1 axes"]),
    "index of text": ("s.n = s.q['A']", ["'A' is not a number"]),
    "tables of two shapes": ("s.n = total(s.q + table([1.0, 2.0, 3.0]))", ["different shapes", "(2,), (3,)"]),
    "softmax of a number": ("softmax(rpe)", ["table of logits", "bernoulli_logit"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_names_line_and_remedy(tmp_path, name):
    mistake, parts = MISTAKES[name]
    message = traced(tmp_path, mistake)
    assert message.startswith("mine.py, line 20, in trial(): `"), message
    assert mistake.split(";")[0].split(":")[0] in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("start", "parts"),
    [
        ("return task.values()", ["returns Table", "must return State(...)"]),
        ("State(q=task.values())", ["returns NoneType", "must return State(...)"]),
        ("return {'q': task.values()}", ["returns dict", "must return State(...)"]),
        ("return State(q=task.valeus())", ["mine.py, line 13", "valeus"]),
        ("return State(q=task.values(p.gamma))", ["mine.py, line 13", 'no parameter "gamma"']),
        ("return State(q=np.zeros(2), n=0.0)", ["`q` starts as a NumPy array", "task.values()"]),
        ("return State(q=0.5, n=0.0)", ["mine.py, line 16", "softmax takes a table", "bernoulli_logit"]),
    ],
)
def test_mistakes_in_start(tmp_path, start, parts):
    message = traced(tmp_path, "pass", start)
    assert "mine.py, line" in message or "NumPy" in message
    for part in parts:
        assert part in message, message


def test_start_that_returns_no_state_names_its_line(tmp_path):
    assert traced(tmp_path, "pass", "return 1.0").startswith("mine.py, line 12, in start()")


def test_idle_parameter(tmp_path):
    text = HEAD.replace("s.q[a] += p.alpha * rpe", "pass")
    message = traced(tmp_path, "t.record(lr=p.alpha)", text=text)
    assert message.startswith("mine.py, line 15, in trial()")
    assert "no choice depends on the declared parameter alpha" in message
    assert "remove it" in message


def test_parameter_that_acts_through_the_state_is_not_idle(tmp_path):
    (tmp_path / "fine.py").write_text(HEAD.replace("MISTAKE", "pass").replace("START", "return State(q=task.values())"))
    assert trace(find(str(tmp_path / "fine.py")), TASK).parameters == ("alpha", "beta")


def test_two_rates_need_a_rate_asked_for_by_name(tmp_path):
    text = HEAD.replace("s.q[a] += p.alpha * rpe", "s.q[a] += 0.1 * rpe")
    (tmp_path / "mine.py").write_text(text.replace("MISTAKE", "pass").replace("START", "return State(q=task.values())"))
    with pytest.raises(ModelError, match=r"dual_alpha has nothing to replace.*line 15.*lr = t\.rate"):
        trace(find(str(tmp_path / "mine.py")).with_(dual_alpha()), TASK)


def test_mistake_in_a_model_derived_from_the_zoo_names_the_users_line():
    class Mine(QLearning):
        """Starts with the wrong field."""

        def start(self, p, task):
            return State(value=task.values())

    with pytest.raises(ModelError, match=r'value\.py, line \d+, in trial\(\).*\n.*no state field "q"'):
        trace(Mine(), TASK)

    class Other(QLearning):
        """Asks for a parameter that nobody declared."""

        def start(self, p, task):
            return State(q=task.values(p.q0_free))

    with pytest.raises(ModelError, match=r"test_language_mistakes\.py, line \d+, in start\(\): `return State"):
        trace(Other(), TASK)


def test_mistakes_show_in_plain_runs_too(tmp_path):
    (tmp_path / "mine.py").write_text(
        HEAD.replace("MISTAKE", "s.n = s.q[5]").replace("START", "return State(q=task.values(), n=0.0)")
    )
    rows = [{"choice": 0, "outcome": 1.0}]
    with pytest.raises(ModelError, match=r"mine\.py, line 20.*\n.*index 5 is outside"):
        list(plain(find(str(tmp_path / "mine.py")), TASK, {"alpha": 0.1, "beta": 1.0}, rows))


def test_choice_asked_for_before_it_is_made(tmp_path):
    text = HEAD.replace('a = t.choose("choice", softmax(p.beta * s.q))', 't.chosen("choice")')
    message = traced(tmp_path, "pass", text=text)
    assert message.startswith("mine.py, line 16")
    assert 't.choose("choice", ...) first' in message


# Options, traits and files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: find("q_learning", q=1), ['no option "q"', 'mean "q0"']),
        (lambda: dual_alpha(by="sign"), ["option by is 'sign'", "'pe', 'outcome'"]),
        (lambda: stickiness(after="keep"), ['no option "after"', "Known: after_miss"]),
        (lambda: find("q_learning").with_(lapse(), lapse()), ["lapse was given twice"]),
        (lambda: find("biased_coin").with_(dual_alpha()), ["replaces the parameter `alpha`", "it has b"]),
        (
            lambda: find("q_learning").with_(dual_alpha(), forgetting(rate="alpha")),
            ["needs one learning rate `alpha`", "rate=free"],
        ),
        (lambda: find("q_lerning"), ['no model "q_lerning"', 'mean "q_learning"']),
        (lambda: find("missing.py"), ["no model file missing.py"]),
        (lambda: find(3), ["by name, file or class", "int"]),
    ],
)
def test_wrong_options(make, parts):
    with pytest.raises(ModelError) as caught:
        make()
    for part in parts:
        assert part in str(caught.value)


def test_lapse_on_a_policy_of_free_probabilities():
    with pytest.raises(ModelError, match="cannot be told apart"):
        trace(find("wsls").with_(lapse()), TASK)


def test_unchosen_option_of_three():
    with pytest.raises(ModelError, match="3 options on offer"):
        trace(find("q_learning").with_(counterfactual()), Bandit(3, ("A", "B", "C"), (0.0, 1.0)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = (1,\n", ["line 1", "SyntaxError"]),
        ("x = 1\ny = x +* 2\n", ["line 2", "SyntaxError"]),
        ("x = 1\nimport nowhere_to_be_found\n", ["line 2", "ModuleNotFoundError"]),
        ("x = 1\n", ["defines no model", "inherits from fitrl.language.Model"]),
        (
            "from fitrl.language import Model\nclass One(Model): pass\nclass Two(Model): pass\n",
            ["several models", ":One"],
        ),
    ],
)
def test_wrong_files(tmp_path, text, parts):
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(ModelError) as caught:
        find(str(file))
    assert "broken.py" in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_one_of_two_models_by_name(tmp_path):
    file = tmp_path / "two.py"
    file.write_text("from fitrl.language import Model\nclass One(Model): pass\nclass Two(Model): pass\n")
    assert find(f"{file}:Two").label == "two"
    with pytest.raises(ModelError, match="defines no model Three; it defines One, Two"):
        find(f"{file}:Three")


# What is allowed ---------------------------------------------------------------------------------------


def test_lists_become_tables():
    state = State(q=[0.5, 0.5])
    old = state.q
    state.q[1] += 0.25
    assert [float(x) for x in state.q] == [0.5, 0.75]
    assert [float(x) for x in old] == [0.5, 0.5]
    assert table([[0.7, 0.3], [0.2, 0.8]])[1, 0] == 0.2


def test_truth_values_and_whole_floats_index_like_integers():
    q = filled(2, 0.0).put(1, 5.0)
    assert q[True] == 5.0
    assert q[1.0] == 5.0
    np.testing.assert_array_equal(q[np.array([True, False])], [5.0, 0.0])
    np.testing.assert_array_equal(q[np.array([1.0, 0.0])], [5.0, 0.0])
    for wrong in (0.5, np.array([0.0, 0.5]), np.array([0, 2]), np.array([-1, 0])):
        with pytest.raises(ModelError, match="index"):
            q[wrong]


class Remembers(Model):
    """Keeps a truth value and a position in its state, and uses both."""

    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature")

    def start(self, p, task):
        return State(q=task.values(), won=False, last=0)

    def trial(self, s, p, t):
        bonus = where(s.won & (s.q[s.last] > 0.6), 0.3, 0.0)
        a = t.choose("choice", softmax(p.beta * s.q.put(s.last, s.q[s.last] + bonus)))
        r = t.observe("outcome")
        s.q[a] += p.alpha * (r - s.q[a])
        s.won, s.last = r > 0.5, a


def test_truth_values_and_positions_in_the_state():
    from hand_computed import CHOICES, OUTCOMES, log_p
    from interpreters import bandit_columns, compiled_scan, run_filter, run_plain, run_symbols, stack

    rows = stack(bandit_columns(CHOICES, OUTCOMES))
    values = {"alpha": 0.3, "beta": 2.0}
    expected = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3 + 0.6, 1.0),  # won on A, which is worth .65
        log_p(1, 0.91, 1.0),
        log_p(0, 0.91, 1.3 + 0.6),  # won on B
        log_p(1, 2 * 0.6185 + 0.6, 1.3),
    ]
    for run in (run_plain, run_filter, run_symbols):
        np.testing.assert_allclose(run(Remembers(), TASK, values, rows)["choice"], expected, rtol=0, atol=1e-12)
    scores, _ = compiled_scan(trace(Remembers(), TASK), rows, quick=True)({k: np.array([v]) for k, v in values.items()})
    np.testing.assert_allclose(scores["choice"], expected, rtol=0, atol=1e-12)


def test_print_works_in_plain_runs(capsys):
    class Chatty(QLearning):
        """Prints and branches, as one does while looking for a mistake."""

        def trial(self, s, p, t):
            super().trial(s, p, t)
            if t.latents["rpe"] > 0:
                print(f"surprise {math.exp(t.latents['rpe']):.2f}", s)

    list(plain(Chatty(), TASK, {"alpha": 0.5, "beta": 1.0}, [{"choice": 0, "outcome": 1.0}]))
    assert capsys.readouterr().out.startswith("surprise 1.65 State(q=Table([0.75, 0.5]))")
