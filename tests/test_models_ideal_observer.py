"""Behrens' ideal observer: the belief on its grid, choices by hand, interpreters that agree, what it says."""

import math

import model_checks as checks
import numpy as np
import pandas as pd
import pytest
from fast_engine import bandit, random_rows
from hand_computed import log_p
from interpreters import Rows, bandit_columns, stack
from scipy.stats import beta as beta_distribution
from scipy.stats import norm

import fitrl
from fitrl.errors import ModelError
from fitrl.language.traits import lapse, stickiness
from fitrl.models import find
from fitrl.models.ideal_observer import I_GRID, K_GRID, P_GRID, observe
from fitrl.tasks.environments import Volatile

TASK = bandit()
MODEL = find("behrens")
# Which option is the rewarded one: the first wins, loses; the second wins, loses.
CHOICES, OUTCOMES, EVENTS = (0, 0, 1, 1), (1, 0, 1, 0), (0, 1, 1, 0)


def path(events):
    return observe(bytes(events))


def prepared(rows: Rows) -> Rows:
    """The rows with the columns that the model prepares."""
    frame = pd.DataFrame(rows.columns).assign(sequence=rows.sequence)
    return rows.but(**MODEL.prepare(frame))


def test_the_belief_as_defined():
    """Densities of the definition, normalised on the grid, and sums over the whole joint distribution."""
    to_i = norm.pdf(I_GRID[:, None, None], I_GRID[:, None], np.exp(K_GRID))  # new, old, k
    a, b = 1 + np.exp(I_GRID) * P_GRID[:, None], 1 + np.exp(I_GRID) * (1 - P_GRID[:, None])
    to_p = beta_distribution.pdf(P_GRID[:, None, None], a, b)  # new, old, I
    joint = np.ones((len(P_GRID), len(I_GRID), len(K_GRID)))
    expected = []
    for event in (1, 1, 0, 1, None):
        joint = np.einsum("ijk,pjk->pik", to_i / to_i.sum(axis=0), joint)
        joint = np.einsum("pqi,qik->pik", to_p / to_p.sum(axis=0), joint)
        joint /= joint.sum()
        mean = (joint.sum(axis=(1, 2)) * P_GRID).sum()
        volatility = -(joint.sum(axis=(0, 2)) * I_GRID).sum()
        sd = math.sqrt((joint.sum(axis=(1, 2)) * (P_GRID - mean) ** 2).sum())
        expected.append((mean, sd, volatility))
        if event is not None:
            joint = joint * (P_GRID if event else 1 - P_GRID)[:, None, None]
    np.testing.assert_allclose(path((1, 1, 0, 1))[:, :3], expected, rtol=1e-9)


def test_the_grid_is_the_published_one():
    assert np.diff(P_GRID) == pytest.approx(0.02)
    assert np.diff(I_GRID) == pytest.approx(0.2, abs=0.005)
    assert np.diff(K_GRID) == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
def test_by_hand(interpreter):
    belief = path(EVENTS)[:, 0]
    assert belief[0] == pytest.approx(0.5, abs=1e-12)
    rows = prepared(stack(bandit_columns(CHOICES, OUTCOMES)))
    expected = [log_p(c, 3 * (1 - p), 3 * p) for c, p in zip(CHOICES, belief[:4], strict=True)]
    checks.compare_by_hand(interpreter, MODEL, TASK, {"beta": 3.0}, rows, choice=expected)


def test_latents_by_hand():
    rows = prepared(stack(bandit_columns(CHOICES, OUTCOMES)))
    trials, expected = checks.latents_of(MODEL, TASK, {"beta": 3.0}, rows), path(EVENTS)
    for k, name in enumerate(("belief", "belief_sd", "volatility", "volatility_sd")):
        np.testing.assert_allclose([t[name] for t in trials], expected[:4, k], rtol=1e-14)
    error = np.array(EVENTS) - expected[:4, 0]
    np.testing.assert_allclose([t["rpe"] for t in trials], error, rtol=1e-14)
    np.testing.assert_allclose([t["lr"] for t in trials], np.diff(expected[:, 0]) / error, rtol=1e-12)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_both_codings_of_a_loss_and_a_fresh_start(low):
    outcomes = [r if r else low for r in OUTCOMES]
    found = prepared(stack(bandit_columns(CHOICES, outcomes, resets=(2,)))).columns
    expected = [path(EVENTS[:2])[0], path(EVENTS[:2])[1], path(EVENTS[2:])[0], path(EVENTS[2:])[1]]
    np.testing.assert_allclose(found["observed_p"], [x[0] for x in expected], rtol=1e-14)
    np.testing.assert_allclose(found["observed_v"], [x[2] for x in expected], rtol=1e-14)


@pytest.mark.parametrize("missing", [(None, None), (None, 1), (1, None)])
def test_rows_that_teach_nothing(missing):
    columns = bandit_columns(*checks.insert(2, (CHOICES, OUTCOMES), missing))
    found = prepared(stack(columns)).columns["observed_p"]
    expected = path(EVENTS)[:, 0]
    np.testing.assert_allclose(found, expected[[0, 1, 2, 2, 3]], rtol=1e-14)


EVERY = {"behrens": MODEL, "behrens + traits": MODEL.with_(stickiness(), lapse())}


def situation(name, lengths):
    """Model, task, rows and values; outcomes are 0 and 1."""
    model, rng = EVERY[name], np.random.default_rng(3)
    rows = random_rows(TASK, lengths, rng)
    rows = prepared(rows.but(outcome=(rows.columns["outcome"] > 0.5) * 1.0))
    return model, TASK, rows, {n: rng.uniform(0.05, 0.95, len(lengths)) for n in model.fitted(TASK)}


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths))


def test_volatility_and_learning_rate_are_higher_in_a_volatile_phase():
    turning = (np.arange(240) // 15) % 2
    p = np.where((np.arange(240) < 120) | (turning == 0), 0.8, 0.2)
    rng = np.random.default_rng(1)
    found = np.mean([path((rng.random(240) < p).astype(np.uint8)) for _ in range(5)], axis=0)
    assert found[220:240, 2].mean() > found[100:120, 2].mean() + 1
    assert found[220:240, 1].mean() > found[100:120, 1].mean()


def test_graded_outcomes_are_refused():
    made = fitrl.simulate("q_learning", subjects=2, trials=20, random_seed=1).frame
    graded = made.assign(outcome=made["outcome"] * 0.5 + 0.25)
    with pytest.raises(ModelError, match=r"are 0 and 1, or -1 and 1.* 0\.25, 0\.75"):
        fitrl.fit("behrens", fitrl.read_trials(graded, "behrens", outcome_scale=1), quick=True)


def test_it_is_fitted_and_not_simulated():
    trials = fitrl.simulate("q_learning", subjects=3, trials=30, environment=Volatile(every=10), random_seed=1).trials
    fit = fitrl.fit("behrens", trials, quick=True, random_seed=1)
    latents = fitrl.latents(fit)
    assert latents["belief_mean"].between(0.01, 0.99).all()
    assert latents["lr_mean"].between(0, 1).all()
    with pytest.raises(ModelError, match=r'shows no "observed_p".*can be fitted'):
        fitrl.simulate("behrens", subjects=2, trials=5)
    with pytest.raises(ModelError, match="this task has 3"):
        fitrl.fit("behrens", fitrl.simulate("q_learning", subjects=2, trials=20, n_options=3).trials, quick=True)
