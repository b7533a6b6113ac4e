"""The compiled reference gives the numbers of the filter, and the right gradient. Few graphs: each takes seconds."""

import numpy as np
import pytest
from hand_computed import CASES
from interpreters import Rows, compiled_scan, played, run_filter, run_plain, stack
from test_language_examples import EXAMPLES, example

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.reference import log_likelihood
from fitrl.engine.run import log_probabilities
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language.traits import counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Pairs, play_bandit


def filter_located(model, task, values, shapes, rows):
    """Filter with parameters of any shape; scores by emission."""
    every = np.arange(rows.n_sequences)
    located = {k: Located(np.asarray(v)[None, :], shapes.get(k, every), k in shapes) for k, v in values.items()}
    return {k: v[0] for k, v in log_probabilities(model, task, located, rows.columns, lay_out(rows.sequence)).items()}


def slopes(model, task, values, shapes, rows, step=1e-5):
    """Central differences of the sum over scored rows."""

    def total(changed):
        found = filter_located(model, task, changed, shapes, rows)
        return sum(score[rows.columns[f"mask_{name}"]].sum() for name, score in found.items())

    result = {}
    for name, value in values.items():
        result[name] = np.empty(len(value))
        for i in range(len(value)):
            up, down = (value.copy() for _ in range(2))
            up[i] += step
            down[i] -= step
            result[name][i] = (total(values | {name: up}) - total(values | {name: down})) / (2 * step)
    return result


def check(model, task, values, rows, shapes=None, quick=False):
    """Compare the compiled reference with the filter, and its gradient with differences."""
    shapes = shapes or {}
    values = {k: np.array(v, dtype=float) for k, v in values.items()}
    scores, gradients = compiled_scan(trace(model, task), rows, shapes, quick)(values)
    for name, found in filter_located(model, task, values, shapes, rows).items():
        scored = rows.columns[f"mask_{name}"]
        np.testing.assert_allclose(scores[name][scored], found[scored], rtol=0, atol=1e-10)
    for name, expected in slopes(model, task, values, shapes, rows).items():
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))
    return scores, gradients


# Hand-computed examples of two arms, as sequences of one graph: a trait is off at 0.
OFF = {"kappa": 0.0, "phi": 0.0, "eps": 0.0, "alpha_cf": 0.0}
TOGETHER = (
    "plain_two_arms",
    "with_stickiness",
    "stickiness_keeps_over_a_miss",
    "with_forgetting_to_q0",
    "with_lapse",
    "with_two_rates_by_error",
    "with_shown_forgone_outcomes",
    "all_traits_with_stickiness",
    "a_missed_trial_neither_teaches_nor_counts",
    "forgetting_runs_through_a_missed_trial",
    "a_missed_first_trial",
    "a_forced_choice_teaches_but_does_not_count",
    "a_reset_in_the_middle",
    "a_missed_reset",
    "a_choice_without_feedback_counts_and_does_not_teach",
)


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.study)])
def test_hand_computed_examples_in_one_graph(quick):
    model = find("q_learning").with_(lapse(), forgetting(), counterfactual(), stickiness(), dual_alpha())
    cases = [CASES[name]() for name in TOGETHER]
    tables = []
    for case in cases:
        n = len(case.columns["reset"])
        none = {"outcome_forgone": np.zeros(n), "outcome_forgone_given": np.zeros(n, bool)}
        tables.append(none | case.columns)
    tables = [{name: t[name] for name in tables[0]} for t in tables]
    rows = stack(*tables)
    program = trace(model, Bandit(2, ("A", "B"), (0.0, 1.0), has_forgone=True))
    values = {}
    for name in program.parameters:
        single = name in ("alpha_pos", "alpha_neg")
        absent = [c.parameters.get("alpha") if single else OFF.get(name) for c in cases]
        values[name] = np.array([c.parameters.get(name, other) for c, other in zip(cases, absent, strict=True)])
    scores, _ = compiled_scan(program, rows, quick=quick)(values)
    expected = np.concatenate([case.expected for case in cases])
    np.testing.assert_allclose(scores["choice"][rows.columns["mask_choice"]], expected, rtol=0, atol=1e-12)


def pairs_in_three_shapes(rng):
    """Pairs out of four with a transfer phase; one parameter per sequence, one per cell, one per trial."""
    model = find("q_learning").with_(stickiness())
    task, world = play_bandit(Pairs((0.8, 0.2, 0.6, 0.4), transfer=3), 12, 3, rng)
    rows, _ = played(model, task, world, {"alpha": 0.3, "beta": 3.0, "kappa": 0.2}, rng)
    keep = np.ones(len(rows.sequence), bool)
    keep[20:24] = False  # sequence 1 is shorter
    rows = Rows({name: column[keep] for name, column in rows.columns.items()}, rows.sequence[keep])
    n = len(rows.sequence)
    half = np.concatenate([np.arange(k) >= k // 2 for k in np.bincount(rows.sequence)]).astype(int)
    shapes = {"alpha": 2 * rows.sequence + half, "beta": np.arange(n)}
    values = {"alpha": rng.uniform(0.1, 0.9, 6), "beta": rng.uniform(1, 6, n), "kappa": rng.normal(0, 0.5, 3)}
    return model, task, values, shapes, rows


def test_three_shapes_of_parameters():
    model, task, values, shapes, rows = pairs_in_three_shapes(np.random.default_rng(2))
    _, gradients = check(model, task, values, rows, shapes, quick=True)
    assert {k: len(v) for k, v in gradients.items()} == {"alpha": 6, "beta": len(rows.sequence), "kappa": 3}
    assert not gradients["beta"][~rows.columns["mask_choice"]].any()


def test_three_shapes_of_parameters_by_hand():
    """A rate per half, a slope per trial: A wins with .5, then loses with .2."""
    case = CASES["plain_two_arms"]()
    rows = stack(case.columns)
    values = {"alpha": np.array([0.5, 0.2]), "beta": np.array([1.0, 2.0, 3.0, 4.0, 5.0])}
    shapes = {"alpha": np.array([0, 1, 1, 1, 1]), "beta": np.arange(5)}
    found = filter_located(case.model, case.task, values, shapes, rows)["choice"]
    # A: .5, .75 (rate .5), .6 (rate .2), then B: .6, A: .68
    gaps = [0.0, 2 * 0.25, -3 * 0.1, 4 * 0.0, -5 * 0.08]  # beta of the trial times (chosen - other)
    np.testing.assert_allclose(found, -np.log1p(np.exp(-np.array(gaps))), rtol=0, atol=1e-12)


def test_values_carry_over_between_cells():
    """Two cells with one value are the same as one value for the sequence."""
    model, task, values, shapes, rows = pairs_in_three_shapes(np.random.default_rng(4))
    values["alpha"] = np.repeat(values["alpha"][::2], 2)
    values["beta"] = np.array([2.0, 3.0, 4.0])[rows.sequence]
    by_row = filter_located(model, task, values, shapes, rows)["choice"]
    plain_values = values | {"alpha": values["alpha"][::2], "beta": np.array([2.0, 3.0, 4.0])}
    np.testing.assert_array_equal(by_row, run_filter(model, task, plain_values, rows)["choice"])
    np.testing.assert_allclose(run_plain(model, task, plain_values, rows)["choice"], by_row, rtol=0, atol=1e-12)


def holes_in_response_times():
    """Choices and response times, some of either missing; a missing time holds 0, whose logarithm is infinite."""
    model, task, values, rows, _ = example("ChoiceAndTime")
    columns = {name: column[:70].copy() for name, column in rows.columns.items()}
    for name, places in (("rt", slice(0, None, 3)), ("choice", slice(1, None, 7))):
        columns[name][places] = 0
        columns[f"{name}_given"][places] = columns[f"mask_{name}"][places] = False
    columns["mask_update"] &= columns["choice_given"]
    return model, task, {k: v[:2] for k, v in values.items()}, Rows(columns, rows.sequence[:70])


def test_two_emissions_with_holes_compiled():
    check(*holes_in_response_times())


def test_two_choices():
    model, task, values, rows, _ = example("TwoStep")
    few = rows.take([0, 3])
    check(model, task, {k: v[[0, 3]] for k, v in values.items()}, few, quick=True)


def test_a_missing_column_is_named():
    case = CASES["with_shown_forgone_outcomes"]()
    rows = stack({k: v for k, v in case.columns.items() if not k.startswith("outcome_forgone")})
    layout = lay_out(rows.sequence)
    with pytest.raises(ModelError, match="needs the column outcome_forgone, outcome_forgone_given"):
        log_likelihood(trace(case.model, case.task), {}, rows.columns, layout.rows, layout.filled, layout.place)


@pytest.mark.study
@pytest.mark.parametrize("name", CASES)
def test_every_hand_computed_example_compiled(name):
    case = CASES[name]()
    rows = stack(case.columns)
    values = {k: np.array([v]) for k, v in case.parameters.items()}
    scores, _ = check(case.model, case.task, values, rows)
    np.testing.assert_allclose(scores["choice"][case.columns["mask_choice"]], case.expected, rtol=0, atol=1e-12)


@pytest.mark.study
def test_three_shapes_of_parameters_compiled():
    model, task, values, shapes, rows = pairs_in_three_shapes(np.random.default_rng(2))
    check(model, task, values, rows, shapes)


@pytest.mark.study
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_model_compiled(name):
    model, task, values, rows, _ = example(name)
    check(model, task, values, rows)
