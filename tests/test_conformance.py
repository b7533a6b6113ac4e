"""`check_model`: the zoo passes, and models that are wrong fail with the right line."""

import numpy as np
import pytest
from typer.testing import CliRunner

import fitrl
from fitrl.cli.app import app
from fitrl.conformance.identify import flat_directions
from fitrl.errors import ModelError
from fitrl.models import CATALOGUE, find

# What a model is known not to hold; nothing else may fail.
KNOWN: dict[str, set[str]] = {}

BROKEN = '''
from fitrl.language import Model, State, latent, log, option, positive, real, softmax, sqrt, unit, where
from fitrl.tasks import Bandit


class Base(Model):
    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature")
    rpe = latent("prediction error")

    def start(self, p, task):
        return State(q=task.values())

    def slope(self, p):
        return p.beta

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(self.slope(p) * s.q))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.alpha * rpe
        t.record(rpe=rpe)


class Unrecorded(Base):
    lr = latent("learning rate of this trial")


class NanAtTheBound(Base):
    def slope(self, p):
        return p.beta * sqrt(p.alpha - 0.001)


class Redundant(Base):
    rho = positive("sensitivity", usual=(0.5, 2.0))

    def slope(self, p):
        return p.beta * p.rho


class NoEffect(Base):
    shift = real("shift of all logits")

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * s.q + p.shift))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.alpha * rpe
        t.record(rpe=rpe)


class Unused(Base):
    idle = unit("never looked at")


class LearnsFromMisses(Base):
    def between(self, s, p, t):
        a = t.choices["choice"]
        s.q[a] += p.alpha * (0.0 - s.q[a])


class TwoFaces(Base):
    """Noisier when it is played than when it is scored."""

    def slope(self, p):
        return p.beta

    def trial(self, s, p, t):
        slope = 0.5 * p.beta if hasattr(t, "world") else p.beta
        a = t.choose("choice", softmax(slope * s.q))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.alpha * rpe
        t.record(rpe=rpe)


class OutsideTheState(Base):
    """Keeps the values of the last trial where no reset finds them."""

    def trial(self, s, p, t):
        n = self.__dict__.setdefault("calls", [0])
        n[0] += 1
        a = t.choose("choice", softmax(p.beta * s.q * (1.0 + 0.01 * n[0])))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.alpha * rpe
        t.record(rpe=rpe)


class Silent(Model):
    """Conditioning without a choice."""

    task = Bandit
    alpha = unit("learning rate")

    def start(self, p, task):
        return State(v=0.0)

    def trial(self, s, p, t):
        s.v = s.v + p.alpha * (t.observe("outcome") - s.v)


class Crash(Base):
    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * s.q))
        s.q[a] += p.alpah
'''


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "broken.py"
    path.write_text(BROKEN, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_zoo_passes(name):
    report = fitrl.check_model(name, trials=60)
    assert {check.name for check in report.of("failed")} <= KNOWN.get(name, set()), str(report)
    no_schedule = {"simulator", "recovery"} if find(name).prepared else set()  # its belief needs recorded outcomes
    assert {check.name for check in report.of("not run")} == no_schedule, str(report)


@pytest.mark.parametrize(
    ("cls", "failing", "words"),
    [
        ("Unrecorded", "latents", "never recorded: lr"),
        ("NanAtTheBound", "finite", "alpha = 1e-06"),
        ("Redundant", "identified", "cannot be told apart: beta, rho"),
        ("NoEffect", "identified", "shift changes nothing"),
        ("LearnsFromMisses", "missed responses", "learns from them"),
        ("TwoFaces", "simulator", "standard errors off"),
    ],
)
def test_what_is_wrong_is_the_only_line_that_fails(broken, cls, failing, words):
    report = fitrl.check_model(f"{broken}:{cls}", trials=60)
    assert not report.passed
    assert [check.name for check in report.of("failed")] == [failing], str(report)
    assert words in report.of("failed")[0].finding
    assert report.of("failed")[0].advice


def test_a_model_that_keeps_things_outside_of_its_state_disagrees_with_plain_numbers(broken):
    report = fitrl.check_model(f"{broken}:OutsideTheState", trials=60)
    assert "plain interpreter" in {check.name for check in report.of("failed")}


@pytest.mark.parametrize(("cls", "words"), [("Unused", "idle"), ("Crash", "alpah")])
def test_a_model_that_does_not_run_says_where_and_stops_there(broken, cls, words):
    report = fitrl.check_model(f"{broken}:{cls}")
    assert [(check.name, check.status) for check in report.checks] == [("the text of the model", "failed")]
    assert words in report.checks[0].finding
    assert "broken.py, line" in report.checks[0].finding


def test_a_model_without_choices_has_nothing_to_check(broken):
    report = fitrl.check_model(f"{broken}:Silent")
    assert report.passed
    assert [check.status for check in report.checks] == ["passed", "not run"]
    assert "nothing is chosen" in report.checks[0].finding


def test_the_direction_of_a_redundant_pair_is_named(broken):
    finding = fitrl.check_model(f"{broken}:Redundant", trials=60).of("failed")[0].finding
    # In population sds: log(15) / 3.92 of log beta, log(4) / 3.92 of log rho; up with one, down with the other.
    ratio = np.log(4) / np.log(15)
    assert f"beta {ratio:+.2f}, rho -1.00" in finding or f"beta {-ratio:+.2f}, rho +1.00" in finding


def test_flat_directions_by_hand():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 2))
    agent = np.repeat([0, 1], 25)
    assert flat_directions(x, agent, ["a", "b"]) == []
    same = np.column_stack([x[:, 0], -2 * x[:, 0], x[:, 1]])
    (direction,) = flat_directions(same, agent, ["a", "b", "c"])
    assert direction == pytest.approx({"a": 1.0, "b": 0.5})  # 2 steps of a undo 1 of b: a - 2 b / 2 = 0
    nothing = np.column_stack([x, np.zeros(50)])
    assert flat_directions(nothing, agent, ["a", "b", "c"]) == [{"c": 1.0}]
    one_agent = np.where((agent == 0)[:, None], same[:, :2], x)  # flat for the first agent only
    assert flat_directions(one_agent, agent, ["a", "b"]) == []


def test_recovery_speaks_about_the_size_that_was_asked_for():
    few = fitrl.check_model("q_learning", trials=20).checks
    (recovery,) = [check for check in few if check.name == "recovery"]
    assert recovery.status == "warning"
    assert "40 agents x 20 trials" in recovery.finding
    with pytest.raises(ModelError, match="at least 20"):
        fitrl.check_model("q_learning", trials=5)


def test_command_line(broken):
    run = CliRunner(env={"COLUMNS": "100"}).invoke
    good = run(app, ["check-model", "biased_coin", "--trials", "40"])
    assert good.exit_code == 0, good.output
    assert "can be used" in good.stdout
    bad = run(app, ["check-model", f"{broken}:Unrecorded", "--trials", "40"])
    assert bad.exit_code == 3
    assert "MUST NOT BE USED" in bad.stdout
    assert run(app, ["check-model", "no_such_model"]).exit_code == 2
