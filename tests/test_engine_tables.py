"""Tables beyond the size that is unrolled: read and written by index, in both engines."""

import example_models as mine
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import fitrl
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.likelihood import FastLikelihood, ReferenceLikelihood
from fitrl.engine.run import log_probabilities
from fitrl.engine.trace import trace
from fitrl.language import Model, State, filled, positive, softmax, table, unit, where
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Pairs


class Clashing(Model):
    """Parameters and state named like the kernel's own variables."""

    task = Bandit
    k = unit("learning rate")
    t0 = positive("inverse temperature")

    def start(self, p, task):
        return State(b=task.values(), s=0.0)

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.t0 * s.b))
        rpe = t.observe("outcome") - s.b[a]
        s.b[a] += p.k * rpe
        s.s = s.s + rpe


class Twice(Model):
    """Writes the same row twice, and reads what it wrote."""

    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature")

    def start(self, p, task):
        return State(q=filled((task.n_options, 2), 0.5))

    def trial(self, s, p, t):
        first = table([s.q[0, 0], s.q[1, 0]])
        values = table([where(k == 0, first[0], s.q[k, 0]) for k in range(t.task.n_options)])
        a = t.choose("choice", softmax(p.beta * values))
        r = t.observe("outcome")
        s.q[a, 0] += p.alpha * (r - s.q[a, 0])
        s.q[a, 0] += 0.1 * (s.q[a, 1] - s.q[a, 0])
        s.q[a, 1] = s.q[a, 0]


def bandit(model, n_options, pairs=True):
    """Played trials of a bandit: columns, sequences, and the values that were played with."""
    p = tuple([0.8, 0.2] * (n_options // 2))
    environment = Pairs(p=p) if pairs else fitrl.tasks.environments.Fixed(p)
    sim = fitrl.simulate("q_learning", subjects=9, trials=60, environment=environment, random_seed=1)
    frame = sim.trials.frame
    columns = {c: frame[c].to_numpy() for c in frame if frame[c].dtype.kind in "biuf"}
    rng = np.random.default_rng(0)
    columns["mask_update"] = rng.random(len(frame)) < 0.9
    columns["reset"] = columns["reset"] | (rng.random(len(frame)) < 0.05)
    values = {name: rng.uniform(0.2, 0.9, 9) for name in model.fitted(sim.trials.task)}
    return sim.trials.task, columns, values


def working_memory():
    """A model with one table that is indexed and one that decays as a whole."""
    rng = np.random.default_rng(0)
    n, codings = 9 * 60, {"stimulus": tuple("abcdef"), "choice": tuple("123")}
    task = mine.StimulusActionTask(3, codings["choice"], codings=codings)
    columns = {
        "reset": np.tile(np.arange(60) % 25 == 0, 9),
        "mask_update": rng.random(n) < 0.9,
        "choice": rng.integers(0, 3, n),
        "stimulus": rng.integers(0, 6, n),
        "outcome": np.where(rng.random(n) < 0.5, 1.0, 0.0),
        "set_size": np.full(n, 6.0),
        "sequence": np.repeat(np.arange(9), 60),
    }
    columns |= {f"{name}_given": np.ones(n, bool) for name in ("choice", "outcome", "stimulus", "set_size")}
    model = mine.WorkingMemory()
    values = {name: rng.uniform(0.1, 0.9, 9) for name in model.fitted(task)}
    return model, task, columns, values


def agrees(likelihood, model, task, columns, values):
    """Scores equal the filter's, gradients their central differences."""
    program = trace(model, task)
    sequence = columns["sequence"]
    scored = {name: np.arange(3, len(sequence)) for name in program.log_probability}
    index = {name: Located(None, np.arange(9)) for name in program.parameters}
    made = likelihood(program, columns, sequence, index, scored)
    inputs = {name: pt.dvector(name) for name in program.parameters}
    arrays = {name: pytensor.shared(a) for name, a in made.arrays.items()}
    score = made.scores(inputs, arrays, {})["choice"]
    weights = np.linspace(0.5, 1.5, len(sequence) - 3)
    gradients = pytensor.grad((score * weights).sum(), list(inputs.values()))
    function = pytensor.function(list(inputs.values()), [score, *gradients], mode="NUMBA")

    def filtered(given):
        located = {name: Located(v[None], np.arange(9)) for name, v in given.items()}
        return log_probabilities(model, task, located, columns, lay_out(sequence))["choice"][0][3:]

    found = function(*[values[name] for name in inputs])
    np.testing.assert_allclose(found[0], filtered(values), rtol=1e-10, atol=1e-12)
    for k, name in enumerate(inputs):
        ahead, behind = (values | {name: values[name] + h} for h in (1e-6, -1e-6))
        slope = (filtered(ahead) - filtered(behind)) * weights / 2e-6
        by_subject = np.bincount(sequence[3:], slope, minlength=9)
        np.testing.assert_allclose(found[1 + k], by_subject, rtol=1e-5, atol=1e-5)
    return program


def test_many_stimuli_in_pairs_are_not_unrolled():
    model = find("q_learning")
    task, columns, values = bandit(model, 40)
    program = agrees(FastLikelihood, model, task, columns, values)
    assert not program.cells
    assert (len(program.tables["q"].reads), len(program.tables["q"].writes)) == (3, 1)


def test_a_table_that_decays_as_a_whole_is_unrolled_beside_one_that_is_not():
    program = agrees(FastLikelihood, *working_memory())
    assert list(program.tables) == ["q"]
    assert {field for field, _ in program.cells} == {"wm"}


def test_whole_table_policies_are_unrolled():
    model = find("q_learning")
    task, _, _ = bandit(model, 20, pairs=False)
    assert not trace(model, task).tables


def test_several_writes_of_a_row_happen_in_order():
    model = Twice()
    task, columns, values = bandit(model, 10, pairs=False)
    program = agrees(FastLikelihood, model, task, columns, values)
    assert len(program.tables["q"].writes) == 3


def test_names_of_the_model_do_not_clash_with_those_of_the_kernel():
    model = Clashing()
    task, columns, values = bandit(model, 2, pairs=False)
    agrees(FastLikelihood, model, task, columns, values)


@pytest.mark.study
@pytest.mark.parametrize("case", ["pairs", "memory"])
def test_reference_keeps_tables_too(case):
    if case == "memory":
        agrees(ReferenceLikelihood, *working_memory())
    else:
        model = find("q_learning")
        agrees(ReferenceLikelihood, model, *bandit(model, 40))
