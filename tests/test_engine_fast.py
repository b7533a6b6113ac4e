"""The fast engine gives the numbers of the reference, and gives them fast code only where it should.

Most checks run the emitted source in Python, which needs no compilation; a few compile it. All of it compiled, and the
gradient against that of the scan, is behind the marker `study`.
"""

import logging
import os
import re
import subprocess
import sys

import numba
import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from example_models import StimulusActionTask, TwoStep, WorkingMemory
from fast_engine import (
    Compiled,
    Interpreted,
    bandit,
    filtered,
    kernel_nodes,
    located,
    random_rows,
    random_values,
    scored,
    sizes,
    slopes,
)
from interpreters import Rows
from numba.core.compiler import Flags
from pytensor.compile.mode import Mode
from test_engine_scan import holes_in_response_times
from test_language_examples import EXAMPLES, example

import fitrl
import fitrl.engine.packing as packing
from fitrl.engine import source
from fitrl.engine.likelihood import ReferenceLikelihood, make_likelihood
from fitrl.engine.op import _NoAlias
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language import Model, State, positive, probit, unit
from fitrl.language.traits import choice_trace, counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit

LENGTHS = (12, 3, 25, 1, 7)
EVERY_TRAIT = (lapse(), forgetting(), counterfactual(), stickiness(), dual_alpha())
# Every model of the zoo, every trait and every option of a trait.
MODELS = {
    "plain": (("q_learning",), bandit()),
    "everything": (("q_learning", *EVERY_TRAIT), bandit()),
    "three_arms": (("q_learning",), bandit(3, low=-1.0)),
    "pairs": (("q_learning", choice_trace(), dual_alpha(by="outcome"), lapse()), bandit(4, 2, low=-1.0)),
    "four_arms": (("q_learning", dual_alpha(), stickiness(after_miss="reset"), forgetting(to="zero")), bandit(4)),
    "shared_rates": (
        ("q_learning", forgetting(rate="alpha"), counterfactual(feedback="mirrored", alpha="shared")),
        bandit(),
    ),
    "shared_two_rates": (("q_learning", dual_alpha(), counterfactual(alpha="shared")), bandit()),
    "six_arms_of_which_three": (("q_learning", stickiness(), lapse()), bandit(6, 3)),
    "biased_coin": (("biased_coin",), bandit(3)),
    "wsls": (("wsls",), bandit()),
    "random": (("random",), bandit()),
}


def situation(name, lengths=LENGTHS, seed=1, near=0.3):
    """Model, task, rows and values."""
    (base, *traits), task = MODELS[name]
    model, rng = find(base).with_(*traits), np.random.default_rng(seed)
    rows = random_rows(task, lengths, rng)
    values = random_values(model, task, sizes(trace(model, task), rows, {}), rng, near)
    return model, task, rows, values


def three_shapes(model, task, lengths, rng):
    """One parameter per half of a sequence, one per trial, the others per sequence."""
    rows = random_rows(task, lengths, rng)
    half = np.concatenate([np.arange(k) >= k // 2 for k in lengths]).astype(int)
    first, second = trace(model, task).parameters[:2]
    shapes = {first: 2 * rows.sequence + half, second: np.arange(len(rows.sequence))}
    return rows, shapes, random_values(model, task, sizes(trace(model, task), rows, shapes), rng)


def agree(found, model, task, rows, values, shapes=None, weights=None, differences=True):
    """Scores to 1e-10 of the filter; gradient to 1e-5 of central differences."""
    scores, gradients = found
    for name, expected in filtered(model, task, values, rows, shapes).items():
        np.testing.assert_allclose(scores[name], expected, rtol=1e-10, atol=1e-13)
    if not differences:
        return
    for name, expected in slopes(model, task, values, rows, shapes, weights).items():
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


# The emitted source as Python ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_and_trait(name):
    model, task, rows, values = situation(name)
    agree(Interpreted(model, task, rows)(values), model, task, rows, values)


@pytest.mark.parametrize("name", ["plain", "everything", "pairs"])
def test_three_shapes_of_parameters(name):
    (base, *traits), task = MODELS[name]
    model = find(base).with_(*traits)
    rows, shapes, values = three_shapes(model, task, LENGTHS, np.random.default_rng(3))
    agree(Interpreted(model, task, rows, shapes)(values), model, task, rows, values, shapes)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_model(name):
    model, task, values, rows, _ = example(name)
    keep = np.bincount(rows.sequence)[0] - 5 * rows.sequence  # unequal lengths
    step = np.arange(len(rows.sequence)) - np.searchsorted(rows.sequence, rows.sequence)
    ragged = Rows({k: v[step < keep] for k, v in rows.columns.items()}, rows.sequence[step < keep])
    agree(Interpreted(model, task, ragged)(values), model, task, ragged, values)


def test_two_emissions_that_are_scored_in_different_rows():
    model, task, values, rows = holes_in_response_times()
    rng = np.random.default_rng(4)
    counts = {name: len(at) for name, at in scored(trace(model, task), rows).items()}
    assert len(set(counts.values())) == 2
    weights = {name: rng.normal(size=n) for name, n in counts.items()}
    agree(Interpreted(model, task, rows)(values, weights), model, task, rows, values, weights=weights)


def test_a_table_that_is_read_by_index():
    """Six stimuli by three actions: too many cells to write each of them out."""
    rng = np.random.default_rng(14)
    codings = {"stimulus": tuple("uvwxyz"), "choice": ("1", "2", "3")}
    model, task = WorkingMemory(), StimulusActionTask(3, codings["choice"], codings=codings)
    assert trace(model, task).tables
    sequence = np.repeat(np.arange(3), (20, 7, 13))
    n, given = len(sequence), rng.random(40) < 0.9
    columns = {"stimulus": rng.integers(0, 6, n), "set_size": np.full(n, 6.0), "choice": rng.integers(0, 3, n) * given}
    columns |= {"outcome": rng.random(n), "reset": np.concatenate([[True], np.diff(sequence) > 0])}
    columns |= dict.fromkeys(("choice_given", "mask_choice", "outcome_given", "mask_update"), given)
    rows = Rows(columns, sequence)
    values = random_values(model, task, sizes(trace(model, task), rows, {}), rng, near=0.1)
    agree(Interpreted(model, task, rows)(values), model, task, rows, values)


def test_padding_divides_by_nothing():
    """A column that is never 0 in the data is never 0 in the padding: the reverse pass would find 0 * inf."""
    model, task, values, rows, _ = example("WorkingMemory")
    short = np.arange(len(rows.sequence)) < 45  # the second sequence ends early
    ragged = Rows({k: v[short] for k, v in rows.columns.items()}, rows.sequence[short])
    _, gradients = Interpreted(model, task, ragged)(values)
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name


# Compiled ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_arms():
    """Everything at once on two arms, compiled once; rows are swapped."""
    model, task, rows, values = situation("everything")
    return model, task, Compiled(model, task, rows), values


@pytest.mark.parametrize("n_subjects", [1, 7])
def test_compiled_with_every_trait(two_arms, n_subjects):
    model, task, fast, _ = two_arms
    rng = np.random.default_rng(n_subjects)
    rows = random_rows(task, rng.integers(1, 40, n_subjects), rng)
    values = random_values(model, task, sizes(fast.program, rows, {}), rng)
    agree(fast.on(rows)(values), model, task, rows, values)


def test_compiled_with_a_thousand_subjects(two_arms):
    model, task, fast, _ = two_arms
    rng = np.random.default_rng(11)
    rows = random_rows(task, rng.integers(1, 60, 1000), rng)
    values = random_values(model, task, sizes(fast.program, rows, {}), rng)
    found = fast.on(rows)(values)
    agree(found, model, task, rows, values, differences=False)
    few = rng.choice(1000, 6, replace=False).tolist()
    small = {k: v[few] for k, v in values.items()}
    agree(fast.on(rows.take(few))(small), model, task, rows.take(few), small)
    _, gradients = fast(small)
    for name, whole in found[1].items():
        np.testing.assert_allclose(whole[few], gradients[name], rtol=1e-9, atol=1e-12)


def test_one_node_for_value_and_gradient(two_arms):
    _, _, fast, _ = two_arms
    assert fast.nodes == ["LogLikelihoodAndGradient"]


def test_company_order_and_width_change_nobody(two_arms, monkeypatch):
    model, task, fast, _ = two_arms
    rng = np.random.default_rng(5)
    rows = random_rows(task, rng.integers(1, 30, 21), rng)
    values = random_values(model, task, sizes(fast.program, rows, {}), rng)
    scores, gradients = fast.on(rows)(values)

    def same(rows, chosen):
        there, slope = fast.on(rows)({k: v[chosen] for k, v in values.items()})
        for name, found in slope.items():
            np.testing.assert_allclose(found, gradients[name][chosen], rtol=1e-12, atol=1e-12)
        return there["choice"]

    whole = scores["choice"]
    owner = rows.sequence[rows.columns["mask_choice"]]
    for chosen in (rng.permutation(21).tolist(), [4], list(range(20))):
        expected = np.concatenate([whole[owner == s] for s in chosen])
        np.testing.assert_allclose(same(rows.take(chosen), chosen), expected, rtol=1e-13, atol=1e-15)
    pack = packing.pack
    for width in (1, 8, 16, 64):
        monkeypatch.setattr(packing, "pack", lambda sequence, n, w=width: pack(sequence, n, w))
        np.testing.assert_allclose(same(rows, list(range(21))), whole, rtol=1e-13, atol=1e-15)


def test_a_weight_per_trial(two_arms):
    model, task, fast, _ = two_arms
    rng = np.random.default_rng(6)
    rows = random_rows(task, (15, 4, 9), rng)
    values = random_values(model, task, sizes(fast.program, rows, {}), rng)
    weights = {"choice": rng.normal(size=int(rows.columns["mask_choice"].sum()))}
    agree(fast.on(rows)(values, weights), model, task, rows, values, weights=weights)


@pytest.fixture(scope="module")
def two_emissions():
    """Choices and response times, scored in different rows, compiled."""
    model, task, values, rows = holes_in_response_times()
    return model, task, Compiled(model, task, rows), values


def test_two_emissions_share_one_node(two_emissions):
    model, task, fast, values = two_emissions
    assert fast.nodes == ["LogLikelihoodAndGradient"]
    rng = np.random.default_rng(8)
    weights = {k: rng.normal(size=len(at)) for k, at in scored(fast.program, fast.rows).items()}
    agree(fast(values, weights), model, task, fast.rows, values, weights=weights)


def same_sums(python, values, rows, rng):
    """What ``total`` adds up is what ``gradient`` says of each response."""
    one = {name: float(rng.normal()) for name in python.program.log_probability}
    weights = {name: np.full(len(at), one[name]) for name, at in scored(python.program, rows).items()}
    (scores, slope), (totals, found) = python(values, weights), python.totals(values, one)
    for name, each in scores.items():
        assert totals[name] == pytest.approx(each.sum(), rel=1e-12, abs=1e-12)
    for name, expected in slope.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_sums_are_those_of_the_responses(name):
    model, task, rows, values = situation(name)
    same_sums(Interpreted(model, task, rows), values, rows, np.random.default_rng(1))


def test_sums_of_several_emissions_and_of_values_by_row():
    rng = np.random.default_rng(2)
    model, task, values, rows = holes_in_response_times()
    same_sums(Interpreted(model, task, rows), values, rows, rng)
    (base,), task = MODELS["plain"]
    model = find(base)
    rows, shapes, values = three_shapes(model, task, (9, 4, 14), rng)
    same_sums(Interpreted(model, task, rows, shapes), values, rows, rng)


def summed(fast, extra=None):
    """Compile the sum of all log probabilities, each emission with a weight, and its gradient."""
    values = {name: pt.dvector(name) for name in fast.program.parameters}
    found = fast.current.scores(values, fast.arrays, {})
    total = sum((k + 2.0) * score.sum() for k, score in enumerate(found.values()))
    outputs = [total, *pytensor.grad(total, list(values.values())), *(extra(found) if extra else [])]
    function = pytensor.function([*values.values(), *fast.arrays.values()], outputs, on_unused_input="ignore")
    return function, lambda given: function(*given.values(), *fast.current.arrays.values())


def test_single_responses_are_left_out_where_nobody_asks(two_emissions):
    _, _, fast, values = two_emissions
    function, call = summed(fast)
    assert kernel_nodes(function) == ["TotalAndGradient"]
    total, *gradients = call(values)
    counts = {name: len(at) for name, at in scored(fast.program, fast.rows).items()}
    weights = {name: np.full(n, k + 2.0) for k, (name, n) in enumerate(counts.items())}
    scores, expected = fast(values, weights)
    assert total == pytest.approx(sum((weights[name] * score).sum() for name, score in scores.items()), rel=1e-12)
    for found, name in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, expected[name], rtol=1e-12, atol=1e-12)
    for extra in (lambda found: [next(iter(found.values()))], lambda found: [next(iter(found.values())).max()]):
        assert kernel_nodes(summed(fast, extra)[0]) == ["LogLikelihoodAndGradient"]


def test_three_shapes_compiled():
    (base,), task = MODELS["plain"]
    model = find(base)
    rng = np.random.default_rng(9)
    rows, shapes, values = three_shapes(model, task, (9, 4, 14), rng)
    fast = Compiled(model, task, rows, shapes)
    agree(fast(values), model, task, rows, values, shapes)
    gradients = fast(values)[1]
    assert {k: len(v) for k, v in gradients.items()} == {"alpha": 6, "beta": 27}
    assert not gradients["beta"][~rows.columns["mask_choice"]].any()


# What compiler flags may not do ------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("parameter", ["beta", "alpha_pos", "kappa", "eps"])
def test_nan_and_infinity_come_out_as_in_the_reference(two_arms, parameter, bad):
    model, task, fast, _ = two_arms
    rng = np.random.default_rng(10)
    rows = random_rows(task, (20, 20, 20), rng)
    values = random_values(model, task, sizes(fast.program, rows, {}), rng, near=0)
    values[parameter][1] = bad
    scores, gradients = fast.on(rows)(values)
    expected = filtered(model, task, values, rows)["choice"]
    at = np.flatnonzero(rows.columns["mask_choice"])
    # After a reset PyTensor knows that kappa is multiplied by 0, and leaves it out.
    known = rows.columns["reset"][at] & np.isfinite(scores["choice"]) & (parameter == "kappa")
    np.testing.assert_allclose(scores["choice"][~known], expected[~known], rtol=1e-10, atol=1e-13)
    assert not np.isfinite(scores["choice"][rows.sequence[at] == 1]).all()
    assert np.isfinite(scores["choice"][rows.sequence[at] != 1]).all()
    for name, gradient in gradients.items():  # the company of somebody without a number keeps theirs
        assert np.isfinite(gradient[[0, 2]]).all(), name


def test_noalias_stays_ours(two_arms):
    """A foreign kernel whose arguments overlap still reads what it has just written."""
    _, _, fast, values = two_arms
    fast.on(situation("everything")[2])(values)

    def add_in_place(before, after):
        for i in range(before.shape[0]):
            after[i] = before[i] + 1.0

    foreign, ours = numba.njit(add_in_place), numba.njit(add_in_place, pipeline_class=_NoAlias)
    running = np.zeros(1001)
    foreign(running[:-1], running[1:])
    np.testing.assert_array_equal(running, np.arange(1001.0))
    ours(np.zeros(8), np.zeros(8))  # arguments that do not overlap
    assert Flags().noalias is False
    assert not re.search(r"noalias [^,]*%arg\.", next(iter(foreign.inspect_llvm().values())))
    assert re.search(r"noalias [^,]*%arg\.", next(iter(ours.inspect_llvm().values())))


# Where the fast engine is used ---------------------------------------------------------------------------


class ProbitChoice(Model):
    """Value learning with a probit choice rule."""

    task = Bandit
    alpha = unit("learning rate")
    beta = positive("slope")

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        a = t.choose("choice", probit(p.beta * (s.q[1] - s.q[0])))
        s.q[a] += p.alpha * (t.observe("outcome") - s.q[a])


def test_without_fast_code_the_reference_runs_and_says_so(caplog):
    model, task = ProbitChoice(), bandit()
    rng = np.random.default_rng(12)
    rows, program = random_rows(task, (8, 5), rng), trace(model, task)
    values = random_values(model, task, sizes(program, rows, {}), rng, near=0)
    where, at = located(program, rows, {}), scored(program, rows)
    with caplog.at_level(logging.WARNING, "fitrl"):
        found = make_likelihood(program, rows.columns, rows.sequence, where, at)
    assert isinstance(found, ReferenceLikelihood)
    assert len(caplog.records) == 1
    assert "no fast code" in caplog.text
    python = Mode(linker="py", optimizer="fast_compile")
    with pytensor.config.change_flags(mode=python):
        arrays = {name: pytensor.shared(array) for name, array in found.arrays.items()}
        given = {name: pytensor.shared(value) for name, value in values.items()}
        function = pytensor.function([], found.scores(given, arrays, {})["choice"])
        expected = filtered(model, task, values, rows)["choice"]
        np.testing.assert_allclose(function(), expected, rtol=1e-10, atol=1e-13)
    assert kernel_nodes(function) == []


def test_a_model_that_uses_an_operation_without_fast_code_has_no_source():
    with pytest.raises(Exception, match="Erfc"):
        source(ProbitChoice, bandit())


def frame(rows: Rows, columns: dict[str, str]) -> pd.DataFrame:
    """Rows as a user's data frame: missing where not given."""
    found = {"subject": [f"s{k}" for k in rows.sequence]}
    for name, mine in columns.items():
        values = pd.Series(rows.columns[name].astype(float))
        found[mine] = values.where(pd.Series(rows.columns.get(f"{name}_given", np.ones(len(values), bool))))
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def built():
    """A small data set in PyMC."""
    rng = np.random.default_rng(13)
    rows = random_rows(bandit(), (30, 22, 30, 9), rng)
    rows.columns["mask_choice"] = rows.columns["choice_given"]  # nothing forced, one block
    rows.columns["reset"] = np.concatenate([[True], np.diff(rows.sequence) > 0])
    data = frame(rows, {"choice": "choice", "outcome": "outcome"})
    data.loc[data["choice"].isna(), "outcome"] = np.nan
    return fitrl.build("q_learning", data), rows


def test_pymc_uses_one_node(built):
    model, _ = built
    function = model.logp_dlogp_function(ravel_inputs=True)._pytensor_function
    assert kernel_nodes(function) == ["TotalAndGradient"]
    assert kernel_nodes(model.compile_logp().f) == ["LogLikelihood"]


def test_pymc_two_choices_share_one_node():
    _, _, _, rows, _ = example("TwoStep")
    data = frame(rows, {k: k for k in ("choice1", "state2", "choice2", "outcome")})
    with_two = fitrl.build(TwoStep, data)
    assert kernel_nodes(with_two.logp_dlogp_function(ravel_inputs=True)._pytensor_function) == ["TotalAndGradient"]


def test_find_map_and_pointwise_log_likelihood(built):
    model, rows = built
    flags = {"progressbar": False, "model": model}
    best = pm.find_MAP(jitter=False, return_inferencedata=True, **flags)
    found = pm.compute_log_likelihood(best, extend_inferencedata=False, **flags)["choice"].to_numpy().ravel()
    values = {k: best["posterior"][k].to_numpy().ravel() for k in ("alpha", "beta")}
    expected = filtered(find("q_learning"), bandit(), values, rows)["choice"]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# Source ----------------------------------------------------------------------------------------------


def test_source_reads_like_the_model():
    text = source(find("q_learning"))
    for word in ("def forward_row(", "def reverse_row(", "alpha", "beta", "q_0", "outcome", "mask_update"):
        assert word in text
    assert "alpha[alpha_index[s, i]]" in source(find("q_learning"), by_row=["alpha"])


def test_source_is_what_runs():
    for name in ("plain", "pairs"):
        model, task, rows, _ = situation(name)
        assert source(model, task) == Interpreted(model, task, rows).likelihood.kernel.text


def test_source_mistakes():
    with pytest.raises(ModelError, match="has no parameter gamma; it has alpha, beta"):
        source(find("q_learning"), by_row=["gamma"])


# Long --------------------------------------------------------------------------------------------------

CHILD = """
import numpy as np, pytensor, sys
sys.path.insert(0, "tests")
from test_engine_fast import Compiled, situation
model, task, rows, values = situation("plain")
fast = Compiled(model, task, rows)
fast(values)
stats = fast.function.vm.jit_fn.stats
print("hits", sum(stats.cache_hits.values()), "misses", sum(stats.cache_misses.values()))
"""


@pytest.mark.study
def test_a_second_process_does_not_compile_again(tmp_path):
    flags = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path}"}

    def run():
        found = subprocess.run([sys.executable, "-c", CHILD], env=flags, capture_output=True, text=True, check=True)
        return found.stdout.split()[-4:]

    assert run() == ["hits", "0", "misses", "1"]
    assert run() == ["hits", "1", "misses", "0"]


def against_the_scan(model, task, rows, values, shapes=None):
    scores, gradients = Compiled(model, task, rows, shapes)(values)
    other, slope = Compiled(model, task, rows, shapes, engine="reference")(values)
    for name, expected in other.items():
        np.testing.assert_allclose(scores[name], expected, rtol=1e-10, atol=1e-13)
    for name, expected in slope.items():
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.study
@pytest.mark.parametrize("name", MODELS)
def test_every_model_and_trait_against_the_scan(name):
    model, task, rows, values = situation(name)
    against_the_scan(model, task, rows, values)


@pytest.mark.study
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_against_the_scan(name):
    model, task, values, rows, _ = example(name)
    against_the_scan(model, task, rows, values)


@pytest.mark.study
@pytest.mark.parametrize("name", ["everything", "pairs"])
def test_three_shapes_against_the_scan(name):
    (base, *traits), task = MODELS[name]
    model = find(base).with_(*traits)
    rows, shapes, values = three_shapes(model, task, LENGTHS, np.random.default_rng(3))
    against_the_scan(model, task, rows, values, shapes)
