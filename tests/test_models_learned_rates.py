"""Sutton's K1 and the HGF of 2011: trials computed by hand, interpreters that agree, and where the HGF fails."""

import math

import model_checks as checks
import numpy as np
import pytest
from fast_engine import Interpreted, bandit, random_rows
from hand_computed import log_p
from interpreters import bandit_columns, run_plain, stack

import fitrl
from fitrl.engine.run import plain
from fitrl.errors import ModelError
from fitrl.language.traits import forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Volatile, play_bandit

TASK = bandit()


def sig(x):
    return 1 / (1 + math.exp(-x))


# The first option wins, loses; a switch to the second, which wins, and is chosen again.
CHOICES, OUTCOMES = (0, 0, 1, 1), (1, 0, 1, 0)
ROWS = stack(bandit_columns(CHOICES, OUTCOMES))


def sutton_k1():
    parameters = {"mu": 2.0, "beta": 2.0}
    # Trial 1: nothing has changed yet: rate .5; error .5; Q = .75, .5; h = (0 + .25) .5 = .125.
    # Trial 2: error -.75; b = 2 * -.75 * .125 = -.1875, so the rate falls. Trials 3 and 4: the same for the second.
    k = sig(-0.1875)
    q = 0.75 - 0.75 * k
    expected = [log_p(0, 1, 1), log_p(0, 1.5, 1), log_p(1, 2 * q, 1), log_p(1, 2 * q, 1.5)]
    latents = {"lr": [0.5, k, 0.5, k], "rpe": [0.5, -0.75, 0.5, -0.75]}
    return find("sutton_k1"), parameters, expected, latents


def sutton_k1_from_another_rate():
    parameters = {"mu": 4.0, "beta": 2.0}
    # Rate .2: Q = .6; h = .1 * .8 = .08. Error -.6: b = logit(.2) - 4 * .6 * .08. The second option as the first.
    k = sig(math.log(0.25) - 0.192)
    q = 0.6 - 0.6 * k
    expected = [log_p(0, 1, 1), log_p(0, 1.2, 1), log_p(1, 2 * q, 1), log_p(1, 2 * q, 1.2)]
    return find("sutton_k1", k0=0.2), parameters, expected, {"lr": [0.2, k, 0.2, k]}


def hgf_binary():
    parameters = {"omega2": -2.0, "omega3": -3.0, "zeta": 1.5}
    # In precisions, as the source has them; the model keeps variances. Start: mu2 = 0, pi2 = 10, mu3 = 1, pi3 = 1.
    # Trial 1: u = 0, b = .5.
    v = math.exp(1 - 2)
    hat2 = 1 / (0.1 + v)
    pi2 = hat2 + 0.25
    mu2 = -0.5 / pi2
    d = (1 / pi2 + mu2**2) * hat2 - 1
    w = v * hat2
    pi3 = 1 / (1 + math.exp(-3)) + 0.5 * w * (w + (2 * w - 1) * d)
    mu3 = 1 + 0.5 / pi3 * w * d
    # Trial 2: u = 1.
    b = sig(mu2)
    v = math.exp(mu3 - 2)
    hat2_2 = 1 / (1 / pi2 + v)
    pi2_2 = hat2_2 + b * (1 - b)
    mu2_2 = mu2 + (1 - b) / pi2_2
    d = (1 / pi2_2 + (mu2_2 - mu2) ** 2) * hat2_2 - 1
    w = v * hat2_2
    pi3_2 = 1 / (1 / pi3 + math.exp(-3)) + 0.5 * w * (w + (2 * w - 1) * d)
    mu3_2 = mu3 + 0.5 / pi3_2 * w * d
    # Trial 3: u = 1.
    b = sig(mu2_2)
    pi2_3 = 1 / (1 / pi2_2 + math.exp(mu3_2 - 2)) + b * (1 - b)
    mu2_3 = mu2_2 + (1 - b) / pi2_3
    expected = [log_p(0, 0, 0), log_p(0, 0, 1.5 * mu2), log_p(1, 0, 1.5 * mu2_2), log_p(1, 0, 1.5 * mu2_3)]
    latents = {
        "mu2": [0.0, mu2, mu2_2, mu2_3],
        "sigma2": [0.1, 1 / pi2, 1 / pi2_2, 1 / pi2_3],
        "mu3": [1.0, mu3, mu3_2],
        "sigma3": [1.0, 1 / pi3, 1 / pi3_2],
        "gain": [1 / pi2, 1 / pi2_2, 1 / pi2_3],
    }
    return find("hgf_binary", level3="fitted"), parameters, expected, latents


CASES = {f.__name__: f for f in (sutton_k1, sutton_k1_from_another_rate, hgf_binary)}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    model, parameters, expected, _ = CASES[name]()
    checks.compare_by_hand(interpreter, model, TASK, parameters, ROWS, choice=expected)


@pytest.mark.parametrize("name", CASES)
def test_latents_by_hand(name):
    model, parameters, _, latents = CASES[name]()
    checks.compare_latents(model, TASK, parameters, ROWS, latents)


@pytest.mark.parametrize("missing", [(None, None), (None, 1), (1, None)])
@pytest.mark.parametrize("name", CASES)
def test_rows_that_teach_nothing(name, missing):
    """No response; an outcome without a response; a choice without an outcome."""
    model, parameters, expected, _ = CASES[name]()
    rows = stack(bandit_columns(*checks.insert(2, (CHOICES, OUTCOMES), missing)))
    for run in checks.INTERPRETERS.values():
        found = run(model, TASK, parameters, rows)["choice"]
        np.testing.assert_allclose(found[[0, 1, 3, 4]], expected, rtol=0, atol=1e-12)


def test_the_coding_of_outcomes_does_not_matter():
    for name in CASES:
        model, parameters, _, _ = CASES[name]()
        halved = parameters | ({"beta": 1.0} if "beta" in parameters else {})
        checks.compare_codings(model, parameters, halved, CHOICES, OUTCOMES)


def test_k1_without_metalearning_is_q_learning():
    found = run_plain(find("sutton_k1", k0=0.3), TASK, {"mu": 0.0, "beta": 2.0}, ROWS)["choice"]
    expected = run_plain(find("q_learning"), TASK, {"alpha": 0.3, "beta": 2.0}, ROWS)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_k1_as_published_programs_compute_it():
    """Written out after TAPAS for one input that is always there, and any noise R; our input is one option."""
    rng = np.random.default_rng(2)
    outcome = (rng.random(80) < 0.7).astype(float)
    trials = list(
        plain(find("sutton_k1"), TASK, {"mu": 3.0, "beta": 1.0}, stack(bandit_columns([0] * 80, outcome)).of(0))
    )
    noise, value, h = 2.5, 0.5, 0.0
    b = math.log(noise)
    for t, u in zip(trials, outcome, strict=True):
        assert t.before.q[0] == pytest.approx(value, abs=1e-12)
        error = u - value
        b += 3.0 * error * h
        rate = math.exp(b) / (noise + math.exp(b))
        h = (h + rate * error) * max(1 - rate, 0)
        value += rate * error
        assert t.latents["lr"] == pytest.approx(rate, abs=1e-12)


# Interpreters ----------------------------------------------------------------------------------------------

EVERY = {
    "sutton_k1": find("sutton_k1"),
    "sutton_k1 + traits": find("sutton_k1", k0=0.3).with_(stickiness(), lapse(), forgetting()),
    "hgf_binary": find("hgf_binary"),
    "hgf_binary, level 3 fitted": find("hgf_binary", level3="fitted").with_(stickiness(), lapse()),
}
RANGES = {
    "beta": (0.2, 6.0), "zeta": (0.2, 6.0), "mu": (0.01, 20.0), "kappa": (-2.0, 2.0),
    "omega2": (-8.0, -2.5), "omega3": (-10.0, -4.0),
}  # fmt: skip


def values_of(model, n, rng):
    """Parameters over their ranges, for the HGF where it holds; those between 0 and 1 almost up to the bounds."""
    return {name: rng.uniform(*RANGES.get(name, (0.005, 0.995)), n) for name in model.fitted(TASK)}


def situation(name, lengths, seed=3):
    """Model, task, rows and values."""
    model, rng = EVERY[name], np.random.default_rng(seed)
    rows = random_rows(TASK, lengths, rng)
    return model, TASK, rows, values_of(model, len(lengths), rng)


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths))


@pytest.mark.parametrize("name", EVERY)
def test_plain_filter_symbols_and_simulator_agree(name):
    model, rng = EVERY[name], np.random.default_rng(8)
    _, world = play_bandit(Volatile(every=5), 40, 6, rng)
    checks.compare_agents(model, TASK, world, values_of(model, 6, rng), rng)


@pytest.mark.study
@pytest.mark.parametrize("name", ["sutton_k1", "hgf_binary"])
def test_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4, 6), seed=5))


# What learns the rate, and where the filter fails ------------------------------------------------------------


def test_the_rate_rises_where_errors_go_on_and_falls_where_they_alternate():
    values = {"mu": 3.0, "beta": 1.0}
    steady = stack(bandit_columns([0] * 12, [0.6 + k / 30 for k in range(12)])).of(0)
    turning = stack(bandit_columns([0] * 12, [1, 0] * 6)).of(0)
    rising = [t.latents["lr"] for t in plain(find("sutton_k1"), TASK, values, steady)]
    falling = [t.latents["lr"] for t in plain(find("sutton_k1"), TASK, values, turning)]
    assert rising[-1] > rising[1] > 0.5
    assert falling[-1] < falling[1] < 0.5


def test_k1_learns_slowly_in_a_stable_phase_and_faster_in_a_volatile_one():
    turning = (np.arange(240) // 15) % 2
    u = sequences(np.where((np.arange(240) < 120) | (turning == 0), 0.8, 0.2), 100, np.random.default_rng(1))
    values = {"mu": 3.0, "beta": 1.0}
    lr = checks.follow(find("sutton_k1"), TASK, values, u, lambda t: t.latents["lr"], choice=1).mean(axis=1)
    assert lr[100:120].mean() < 0.15
    assert lr[220:].mean() > 0.2


def sequences(p, n, rng):
    """Whether the second option wins, shape (trial, sequence)."""
    return (rng.random((len(p), n)) < p[:, None]).astype(float)


def third_level(values, u, **options):
    """Precision of the third level of the HGF after each trial."""
    return 1 / checks.follow(find("hgf_binary", **options), TASK, values, u, lambda t: t.s.sigma3, choice=1)


TURNING = (np.arange(300) // 25) % 2
SCHEDULES = {
    "reversals": np.where(TURNING == 0, 0.8, 0.2),
    "stable": np.full(300, 0.95),
    "coin": np.full(300, 0.5),
    "certain": np.where((np.arange(300) // 60) % 2 == 0, 1.0, 0.0),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_precision_holds_where_the_card_says_so(schedule):
    u = sequences(SCHEDULES[schedule], 40, np.random.default_rng(1))
    for omega2 in (-8.0, -4.0, -2.5):
        precision = third_level({"omega2": omega2, "zeta": 1.0}, u)
        assert (precision > 0).all()


def test_the_precision_fails_where_the_card_says_so():
    """The range of omega2 ends at -2; a start of mu3 that is higher by 1.5 is the same as an omega2 higher by 1.5."""
    u = sequences(SCHEDULES["reversals"], 40, np.random.default_rng(1))
    with np.errstate(invalid="ignore", over="ignore"):  # of what follows a failed update
        precision = third_level({"omega2": -2.0, "zeta": 1.0}, u, mu3_0=2.5)
    assert np.isnan(precision[-1]).all()
    assert not np.isinf(precision).any()  # nothing was clipped to 0


def test_a_failed_update_is_nan_in_score_and_gradient_and_not_before():
    u = sequences(SCHEDULES["reversals"], 1, np.random.default_rng(1))
    model, values = find("hgf_binary", mu3_0=2.5), {"omega2": np.array([-2.0]), "zeta": np.array([1.0])}
    rows = stack(bandit_columns([1] * 300, list(u[:, 0])))
    scores, gradients = Interpreted(model, TASK, rows)(values)
    with np.errstate(invalid="ignore", over="ignore"):
        found = {name: checks.INTERPRETERS[name](model, TASK, values, rows)["choice"] for name in ("plain", "filter")}
    found["kernel"] = scores["choice"]
    at = {name: int(np.argmax(np.isnan(x))) for name, x in found.items()}
    assert len(set(at.values())) == 1
    assert 0 < at["filter"] < 299
    assert all(np.isnan(x[at[name] :]).all() for name, x in found.items())
    assert all(np.isnan(gradient).all() for gradient in gradients.values())


def test_a_simulation_beyond_the_edge_is_refused():
    with np.errstate(invalid="ignore", over="ignore"), pytest.raises(ModelError, match="no probabilities"):
        fitrl.simulate(
            "hgf_binary",
            subjects=3,
            trials=300,
            environment="reversing",
            options={"mu3_0": 3.0},
            parameters={"omega2": -2.001, "zeta": 3.0},
            random_seed=1,
        )


def test_parameters_and_refusals():
    assert list(find("hgf_binary").parameters()) == ["omega2", "zeta"]
    assert list(find("hgf_binary", level3="fitted").parameters()) == ["omega2", "omega3", "zeta"]
    values = {"omega2": -3.0, "zeta": 1.5}
    held = run_plain(find("hgf_binary"), TASK, values, ROWS)["choice"]
    fitted = run_plain(find("hgf_binary", level3="fitted"), TASK, values | {"omega3": -6.0}, ROWS)["choice"]
    np.testing.assert_allclose(held, fitted, rtol=0, atol=1e-14)
    with pytest.raises(ModelError, match="raw outcomes have none"):
        find("sutton_k1").fitted(Bandit(2, ("A", "B"), (-math.inf, math.inf)))
    with pytest.raises(ModelError, match="this task has 3"):
        fitrl.simulate("hgf_binary", subjects=2, trials=5, n_options=3)
