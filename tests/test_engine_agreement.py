"""No two interpreters disagree: random models, tasks, masks and parameters, with simulated choices."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from interpreters import Rows, played, run_filter, run_plain, run_symbols

from fitrl.engine.run import plain
from fitrl.language.traits import choice_trace, counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import BanditWorld

few = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
RANGES = {"unit": (0.02, 0.98), "beta": (0.1, 12.0), "kappa": (-2.0, 2.0), "b": (-2.0, 2.0)}


@st.composite
def traits(draw, n_offered):
    """Any combination that is allowed."""
    chosen = []
    by = draw(st.sampled_from([None, "pe", "outcome"]))
    if by:
        chosen.append(dual_alpha(by=by))
    history = draw(st.sampled_from([None, "keep", "reset", "trace"]))
    if history == "trace":
        chosen.append(choice_trace())
    elif history:
        chosen.append(stickiness(after_miss=history))
    if draw(st.booleans()):
        rate = "free" if by else draw(st.sampled_from(["free", "alpha"]))
        chosen.append(forgetting(to=draw(st.sampled_from(["q0", "zero"])), rate=rate))
    if n_offered == 2 and draw(st.booleans()):
        feedback = draw(st.sampled_from(["full", "mirrored"]))
        chosen.append(counterfactual(feedback=feedback, alpha=draw(st.sampled_from(["own", "shared"]))))
    if draw(st.booleans()):
        chosen.append(lapse())
    return draw(st.permutations(chosen))


@st.composite
def situations(draw):
    """A model, a task, a world with gaps, and parameters that differ between agents."""
    n_options = draw(st.integers(2, 4))
    pairs = n_options > 2 and draw(st.booleans())
    n_offered = 2 if pairs else n_options
    base = draw(st.sampled_from(["q_learning"] * 6 + ["biased_coin", "wsls", "random"]))
    model = find(base)
    if base == "q_learning":
        model = find(base, q0=draw(st.sampled_from([None, 0.0, 0.2]))).with_(*draw(traits(n_offered)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n_trials, n_agents = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    low = draw(st.sampled_from([0.0, -1.0]))
    offered = None
    if pairs:
        every = np.arange(n_options)[None, :, None] + np.zeros((n_trials, n_options, n_agents), int)
        offered = rng.permuted(every, axis=1)[:, :2]
    forced = None
    if draw(st.booleans()):
        told = rng.integers(0, n_offered, (n_trials, n_agents))
        told = told if offered is None else np.take_along_axis(offered, told[:, None], axis=1)[:, 0]
        forced = np.where(rng.random((n_trials, n_agents)) < 0.2, told, -1)
    fresh = rng.random((n_trials, n_agents)) < draw(st.sampled_from([0.0, 0.15]))
    fresh[0] = True
    missed = rng.random((n_trials, n_agents)) < draw(st.sampled_from([0.0, 0.3]))
    shown = rng.random((n_trials, n_agents)) < draw(st.sampled_from([1.0, 0.7]))
    world = BanditWorld(
        outcomes=rng.choice([low, 0.3, 1.0], (n_trials, n_offered, n_agents)),
        offered=offered,
        shown=shown & ~missed,
        forced=forced,
        fresh=fresh,
        missed=missed,
    )
    task = Bandit(n_options, tuple("ABCD"[:n_options]), (low, 1.0), 2 if pairs else None, n_offered == 2)
    values = {}
    for name in model.fitted(task):
        bounds = RANGES.get(name, RANGES["b"] if name.startswith("b_") else RANGES["unit"])
        values[name] = rng.uniform(*bounds, n_agents)
    return model, task, world, values, rng


@few
@given(situations())
def test_all_interpreters_agree(situation):
    model, task, world, values, rng = situation
    rows, while_playing = played(model, task, world, values, rng)
    filtered = run_filter(model, task, values, rows)["choice"]
    scored = rows.columns["mask_choice"]
    np.testing.assert_allclose(while_playing["choice"][scored], filtered[scored], rtol=0, atol=1e-12)
    np.testing.assert_allclose(run_plain(model, task, values, rows)["choice"], filtered, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run_symbols(model, task, values, rows)["choice"], filtered, rtol=0, atol=1e-12)


@few
@given(situations())
def test_probabilities_of_all_options_add_up(situation):
    model, task, world, values, rng = situation
    rows, _ = played(model, task, world, values, rng)
    one = {name: float(v[0]) for name, v in values.items()}
    for row, t in zip(rows.of(0), plain(model, task, one, rows.of(0)), strict=True):
        every = np.exp([float(x) for x in t.probabilities["choice"].cells()])
        assert abs(every.sum() - 1) < 1e-12
        if row["mask_choice"]:
            offers = t.offers["choice"]
            at = row["choice"] if offers is None else [int(o) for o in offers].index(row["choice"])
            assert abs(np.log(every[at]) - t.log_probability["choice"]) < 1e-9


@few
@given(situations(), st.data())
def test_padding_order_and_company_change_nobody(situation, data):
    """A sequence gives the same numbers alone, cut short, reordered, or among others."""
    model, task, world, values, rng = situation
    rows, _ = played(model, task, world, values, rng)
    keep = np.ones(len(rows.sequence), bool)
    for s in range(rows.n_sequences):  # unequal lengths: rows cut off at the end
        places = np.flatnonzero(rows.sequence == s)
        keep[places[data.draw(st.integers(1, len(places))) :]] = False
    ragged = Rows({name: column[keep] for name, column in rows.columns.items()}, rows.sequence[keep])
    whole = run_filter(model, task, values, rows)["choice"][keep]
    together = run_filter(model, task, values, ragged)["choice"]
    np.testing.assert_allclose(together, whole, rtol=0, atol=1e-14)
    order = data.draw(st.permutations(range(rows.n_sequences)))
    moved = run_filter(model, task, {k: v[list(order)] for k, v in values.items()}, ragged.take(list(order)))
    np.testing.assert_allclose(
        moved["choice"],
        np.concatenate([together[ragged.sequence == s] for s in order]),
        rtol=0,
        atol=1e-14,
    )
    alone = run_filter(model, task, {k: v[[order[0]]] for k, v in values.items()}, ragged.take([order[0]]))
    np.testing.assert_allclose(alone["choice"], together[ragged.sequence == order[0]], rtol=0, atol=1e-14)


@few
@given(situations())
def test_what_is_masked_does_not_matter(situation):
    """What stands in the cells of a missed response or a hidden outcome changes no scored number."""
    model, task, world, values, rng = situation
    rows, _ = played(model, task, world, values, rng)
    missed, hidden = ~rows.columns["choice_given"], ~rows.columns["mask_update"]
    assume(missed.any() or hidden.any())
    columns = {name: column.copy() for name, column in rows.columns.items()}
    columns["choice"][missed] = task.n_options - 1
    if "outcome" in columns:
        columns["outcome"][hidden] = 0.77
    scored = columns["mask_choice"]
    other = run_filter(model, task, values, Rows(columns, rows.sequence))["choice"]
    np.testing.assert_array_equal(other[scored], run_filter(model, task, values, rows)["choice"][scored])
