"""The volatility family: trials computed by hand, interpreters that agree, invariants, rates that follow volatility.

The interpreters are also compared on random bandits with gaps; the simulator against the filter on played trials.
"""

import math

import model_checks as checks
import numpy as np
import pytest
from fast_engine import bandit, random_rows
from hand_computed import log_p
from interpreters import bandit_columns, run_plain, stack

import fitrl
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows, plain
from fitrl.errors import DataError, ModelError
from fitrl.language.traits import dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Volatile, named, play_bandit
from fitrl.tasks.signatures import latent_by_phase, learning_rate_by_phase

TASK = bandit()
MODELS = {
    **{name: find(name) for name in ("dynamic_alpha", "pearce_hall", "vkf_binary")},
    "ehgf_binary": find("ehgf_binary", level3="fitted"),
}
FAMILY = tuple(MODELS)


def sig(x):
    return 1 / (1 + math.exp(-x))


# The first option wins, loses; a switch to the second, which wins, and is chosen again.
CHOICES, OUTCOMES = (0, 0, 1, 1), (1, 0, 1, 0)
ROWS = stack(bandit_columns(CHOICES, OUTCOMES))


def dynamic_alpha():
    parameters = {"alpha": 0.5, "a1": 2.0, "beta": 2.0}
    # Trial 1: s = 1, so the rate is .5; error .5; Q = .75, .5; surprise (2 * .5)^2 = 1, so s stays 1.
    # Trial 2: error -.75, rate .5; Q = .375, .5; surprise 1.5^2 = 2.25; s = 1 + .1 (2.25 - 1) = 1.125.
    # Trial 3: error .5, rate sig(2 * .125) = sig(.25); surprise 1; s = 1.125 + .1 (1 - 1.125) = 1.1125.
    # Trial 4: error 0 - Q, rate sig(2 * .1125) = sig(.225).
    q = 0.5 + 0.5 * sig(0.25)
    expected = [log_p(0, 1, 1), log_p(0, 1.5, 1.0), log_p(1, 0.75, 1.0), log_p(1, 0.75, 2 * q)]
    latents = {"lr": [0.5, 0.5, sig(0.25), sig(0.225)], "s": [1.0, 1.0, 1.125, 1.1125], "rpe": [0.5, -0.75, 0.5, -q]}
    return parameters, expected, latents


def pearce_hall():
    parameters = {"kappa_ph": 0.8, "eta_ph": 0.5, "beta": 2.0}
    # Trial 1: error .5, rate .8 * 1; Q = .9, .5; A[0] = .5 * 1 + .5 * .5 = .75.
    # Trial 2: error -.9, rate .8 * .75 = .6; Q = .9 - .54 = .36, .5; A[0] = .5 * .75 + .5 * .9 = .825.
    # Trial 3: error .5, rate .8: the second option was not yet chosen; Q = .36, .9; A[1] = .75.
    # Trial 4: error -.9, rate .6.
    expected = [log_p(0, 1, 1), log_p(0, 1.8, 1.0), log_p(1, 0.72, 1.0), log_p(1, 0.72, 1.8)]
    return parameters, expected, {"lr": [0.8, 0.6, 0.8, 0.6], "rpe": [0.5, -0.9, 0.5, -0.9]}


def vkf_binary():
    parameters = {"lam_v": 0.25, "omega": 1.0, "beta": 2.0}
    # Trial 1: u = 0; m = 0, w = 1, v = .5: error -.5, gain sqrt(1.5), m' = -.5 sqrt(1.5); k = 1.5 / 2.5 = .6;
    # w' = .4 * 1.5 = .6; in the form of the paper v' = .5 + .25 (.25 * 1.5 + .6 + 1 - 2 * .4 * 1 - .5) = .66875.
    m1 = -0.5 * math.sqrt(1.5)
    # Trial 2: u = 1; w + v = 1.26875, k = 1.26875 / 2.26875, 1 - k = 1 / 2.26875.
    error2, gain2 = 1 - sig(m1), math.sqrt(1.26875)
    m2, w2 = m1 + gain2 * error2, 1.26875 / 2.26875
    v2 = 0.66875 + 0.25 * ((m2 - m1) ** 2 + w2 + 0.6 - 2 * 0.6 / 2.26875 - 0.66875)
    # Trial 3: u = 1.
    error3, gain3 = 1 - sig(m2), math.sqrt(w2 + v2)
    m3 = m2 + gain3 * error3
    expected = [log_p(0, 0, 0), log_p(0, 0, 2 * m1), log_p(1, 0, 2 * m2), log_p(1, 0, 2 * m3)]
    latents = {
        "m": [0.0, m1, m2, m3],
        "w": [1.0, 0.6, w2],
        "v": [0.5, 0.66875, v2],
        "rpe": [-0.5, error2, error3],
        "gain": [math.sqrt(1.5), gain2, gain3],
        "lr": [(sig(m1) - 0.5) / -0.5, (sig(m2) - sig(m1)) / error2, (sig(m3) - sig(m2)) / error3],
    }
    return parameters, expected, latents


def ehgf_binary():
    parameters = {"omega2": -2.0, "omega3": -1.0, "zeta": 1.5}
    # In precisions, as the source has them; the model keeps variances. Start: mu2 = 0, pi2 = 10, mu3 = 1, pi3 = 1.
    # Trial 1: u = 0, b = .5.
    v = math.exp(1 - 2)
    hat2 = 1 / (0.1 + v)
    pi2 = hat2 + 0.25
    mu2 = -0.5 / pi2
    delta2 = (1 / pi2 + mu2**2) * hat2 - 1
    hat3 = 1 / (1 + math.exp(-1))
    mu3 = 1 + 0.5 / hat3 * (v * hat2) * delta2
    v_star = math.exp(mu3 - 2)
    p = 1 / (0.1 + v_star)
    w, r, d = v_star * p, (v_star - 0.1) * p, (1 / pi2 + mu2**2) * p - 1
    pi3 = hat3 + max(0, 0.5 * w * (w + r * d))
    # Trial 2: u = 1.
    b = sig(mu2)
    v = math.exp(mu3 - 2)
    hat2_2 = 1 / (1 / pi2 + v)
    pi2_2 = hat2_2 + b * (1 - b)
    mu2_2 = mu2 + (1 - b) / pi2_2
    delta2 = (1 / pi2_2 + (mu2_2 - mu2) ** 2) * hat2_2 - 1
    hat3 = 1 / (1 / pi3 + math.exp(-1))
    mu3_2 = mu3 + 0.5 / hat3 * (v * hat2_2) * delta2
    v_star = math.exp(mu3_2 - 2)
    p = 1 / (1 / pi2 + v_star)
    w, r, d = v_star * p, (v_star - 1 / pi2) * p, (1 / pi2_2 + (mu2_2 - mu2) ** 2) * p - 1
    pi3_2 = hat3 + max(0, 0.5 * w * (w + r * d))
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
        "rpe": [-0.5, 1 - sig(mu2), 1 - b],
    }
    return parameters, expected, latents


CASES = {f.__name__: f for f in (dynamic_alpha, pearce_hall, vkf_binary, ehgf_binary)}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", FAMILY)
def test_by_hand(name, interpreter):
    parameters, expected, _ = CASES[name]()
    checks.compare_by_hand(interpreter, MODELS[name], TASK, parameters, ROWS, choice=expected)


@pytest.mark.parametrize("name", FAMILY)
def test_latents_by_hand(name):
    parameters, _, latents = CASES[name]()
    checks.compare_latents(MODELS[name], TASK, parameters, ROWS, latents)


def test_a_hall_of_one_is_the_last_error_and_of_zero_is_q_learning():
    last = list(plain(find("pearce_hall"), TASK, {"kappa_ph": 0.8, "eta_ph": 1.0, "beta": 2.0}, ROWS.of(0)))
    assert last[1].latents["lr"] == pytest.approx(0.8 * 0.5)
    parameters = {"kappa_ph": 0.3, "eta_ph": 0.0, "beta": 2.0}
    found = run_plain(find("pearce_hall"), TASK, parameters, ROWS)["choice"]
    expected = run_plain(find("q_learning"), TASK, {"alpha": 0.3, "beta": 2.0}, ROWS)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    parameters = {"alpha": 0.3, "a1": 0.0, "beta": 2.0}
    found = run_plain(find("dynamic_alpha"), TASK, parameters, ROWS)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", FAMILY)
def test_the_coding_of_outcomes_does_not_matter(name):
    parameters = CASES[name]()[0]
    halved = parameters | ({"beta": 1.0} if name in ("dynamic_alpha", "pearce_hall") else {})  # they have 2 per outcome
    checks.compare_codings(MODELS[name], parameters, halved, CHOICES, OUTCOMES)


@pytest.mark.parametrize("missing", [(None, None), (None, 1), (1, None)])
@pytest.mark.parametrize("name", FAMILY)
def test_rows_that_teach_nothing(name, missing):
    """No response; an outcome without a response, which says of no option that it won; a choice without an outcome."""
    parameters, expected, _ = CASES[name]()
    rows = stack(bandit_columns(*checks.insert(2, (CHOICES, OUTCOMES), missing)))
    for run in checks.INTERPRETERS.values():
        found = run(MODELS[name], TASK, parameters, rows)["choice"]
        np.testing.assert_allclose(found[[0, 1, 3, 4]], expected, rtol=0, atol=1e-12)
    assert rows.columns["mask_choice"][2] == (missing[0] is not None)


# Interpreters ----------------------------------------------------------------------------------------------

EVERY = {
    **{name: MODELS[name] for name in FAMILY},
    **{f"{name} + traits": MODELS[name].with_(stickiness(), lapse()) for name in FAMILY},
    "ehgf_binary, level 3 fixed": find("ehgf_binary"),
    "dynamic_alpha + dual_alpha": find("dynamic_alpha").with_(dual_alpha()),
    "pearce_hall + forgetting": find("pearce_hall").with_(forgetting()),
}
RANGES = {
    "beta": (0.2, 6.0), "zeta": (0.2, 6.0), "a1": (-3.0, 5.0), "omega": (0.05, 4.0),
    "omega2": (-6.0, -1.5), "omega3": (-4.0, 4.0), "kappa": (-2.0, 2.0),
}  # fmt: skip


def values_of(model, n, rng):
    """Parameters over their ranges; those between 0 and 1 almost up to the bounds."""
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


@pytest.mark.parametrize(
    "name", ["pearce_hall", *(pytest.param(n, marks=pytest.mark.study) for n in FAMILY if n != "pearce_hall")]
)
def test_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4, 6), seed=5))


# Invariants and refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vkf_binary", "ehgf_binary"])
def test_variances_stay_above_zero(name):
    """For any parameters of the ranges above and any choices and outcomes, over 300 trials."""
    model, rng = MODELS[name], np.random.default_rng(1)
    n = 400
    rows = random_rows(TASK, [300] * n, rng)
    values = {k: Located(v[None, :], np.arange(n)) for k, v in values_of(model, n, rng).items()}
    for _, _, t in filter_rows(model, TASK, values, rows.columns, lay_out(rows.sequence)):
        for field in {"vkf_binary": ("w", "v"), "ehgf_binary": ("sigma2", "sigma3")}[name]:
            variance = np.asarray(getattr(t.s, field))
            assert (variance > 0).all()
            assert np.isfinite(variance).all()
        assert (np.asarray(t.latents["lr"]) > 0).all()


@pytest.mark.parametrize("name", ["vkf_binary", "ehgf_binary"])
def test_a_belief_is_about_two_options(name):
    with pytest.raises(ModelError, match="this task has 3"):
        fitrl.simulate(name, subjects=2, trials=5, n_options=3)
    with pytest.raises(ModelError, match="this task has 6"):
        fitrl.simulate(name, subjects=2, trials=5, environment="pairs")
    with pytest.raises(ModelError, match='no state field "q"'):
        fitrl.simulate(MODELS[name].with_(forgetting()), subjects=2, trials=5)


@pytest.mark.parametrize("name", ["dynamic_alpha", "pearce_hall"])
def test_surprise_needs_a_range_of_outcomes(name):
    raw = Bandit(2, ("A", "B"), (-math.inf, math.inf))
    with pytest.raises(ModelError, match="raw outcomes have none"):
        MODELS[name].fitted(raw)


def test_omega3_is_held_at_two_unless_it_is_fitted():
    assert list(find("ehgf_binary").parameters()) == ["omega2", "zeta"]
    held = {"omega2": -2.0, "zeta": 1.5}
    found = run_plain(find("ehgf_binary"), TASK, held, ROWS)["choice"]
    fitted = run_plain(MODELS["ehgf_binary"], TASK, held | {"omega3": 2.0}, ROWS)["choice"]
    np.testing.assert_allclose(found, fitted, rtol=0, atol=1e-14)


def test_two_rates_need_one_to_replace():
    with pytest.raises(ModelError, match="alpha"):
        find("pearce_hall").with_(dual_alpha())
    assert find("vkf").label == "vkf_binary"


# The environment and its phases ------------------------------------------------------------------------------


def test_schedule_by_hand():
    rng = np.random.default_rng(0)
    environment = Volatile(p=(0.9, 0.1), every=2, n_stable=3)
    assert environment.phases(8).tolist() == ["stable"] * 3 + ["volatile"] * 5
    payoffs = environment.schedule(8, 2, rng)
    assert payoffs.shape == (8, 2, 2)
    assert payoffs[:, 0, 0].tolist() == [0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1]
    np.testing.assert_allclose(payoffs.sum(axis=1), 1)
    turned = Volatile(p=(0.9, 0.1), every=2, n_stable=3, first="volatile")
    assert turned.phases(7).tolist() == ["volatile"] * 4 + ["stable"] * 3
    assert turned.schedule(7, 1, rng)[:, 0, 0].tolist() == [0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert Volatile().phases(5).tolist() == ["stable"] * 2 + ["volatile"] * 3
    assert named("volatile", 4).p == (0.8, 0.6, 0.4, 0.2)
    with pytest.raises(ModelError, match="volatile"):
        Volatile(first="Stable")


def test_phases_are_in_the_file_and_nothing_starts_afresh_between_them():
    made = fitrl.simulate("q_learning", subjects=3, trials=20, environment="volatile", random_seed=1)
    assert made.frame["phase"].tolist() == (["stable"] * 10 + ["volatile"] * 10) * 3
    assert made.trials.frame["reset"].to_numpy().nonzero()[0].tolist() == [0, 20, 40]
    assert not [problem for problem in made.trials.problems if problem.level == "warning"]
    assert made.trials.original["phase"].tolist() == made.frame["phase"].tolist()


# Signatures ------------------------------------------------------------------------------------------------


def agents_with_two_rates(rates, n_agents=40, n_trials=300, every=10):
    """Q-learners whose rate changes with the phase, by a loop that shares nothing with the toolkit."""
    import pandas as pd

    rng = np.random.default_rng(2)
    parts = []
    for agent in range(n_agents):
        q = np.array([0.5, 0.5])
        for trial in range(n_trials):
            phase = "first" if trial < n_trials // 2 else "second"
            choice = int(rng.random() < 1 / (1 + np.exp(-5 * (q[1] - q[0]))))
            outcome = int(rng.random() < (0.8 if (trial // every) % 2 == choice else 0.2))
            q[choice] += rates[phase] * (outcome - q[choice])
            parts.append((agent, trial, choice, outcome, phase))
    return pd.DataFrame(parts, columns=["subject", "trial", "choice", "outcome", "phase"])


@pytest.mark.parametrize("rates", [{"first": 0.2, "second": 0.6}, {"first": 0.4, "second": 0.4}])
def test_rates_by_phase_are_those_of_the_agents(rates):
    trials = fitrl.read_trials(agents_with_two_rates(rates))
    table = learning_rate_by_phase(trials.frame, trials.original["phase"]).set_index("x")
    for phase, rate in rates.items():
        assert table["mean"][phase] == pytest.approx(rate, abs=0.04)
        assert abs(table["mean"][phase] - rate) < 3 * table["se"][phase]
        assert 0 < table["se"][phase] < 0.03
    assert table["n_subjects"].tolist() == [40, 40]


def test_what_the_rate_by_phase_leaves_out():
    frame = agents_with_two_rates({"first": 0.3, "second": 0.3}, n_agents=2, n_trials=60)
    trials = fitrl.read_trials(frame)
    phase = trials.original["phase"].to_numpy(dtype=object)
    phase[(trials.frame["subject"] == "1") & (phase == "second")] = None
    table = learning_rate_by_phase(trials.frame, phase)
    assert table["x"].tolist() == ["first", "second"]
    assert table["n_subjects"].tolist() == [2, 1]
    assert np.isnan(table["se"][1])
    with pytest.raises(DataError, match="one entry for each of the 120 trials"):
        learning_rate_by_phase(trials.frame, phase[:5])
    with pytest.raises(DataError, match="two options"):
        learning_rate_by_phase(trials.frame.assign(choice=2), phase)
    with pytest.raises(DataError, match="all outcomes are equal"):
        learning_rate_by_phase(trials.frame.assign(outcome=1.0), phase)


def test_latent_by_phase_by_hand():
    frame = fitrl.read_trials(agents_with_two_rates({"first": 0.3, "second": 0.3}, n_agents=2, n_trials=4)).frame
    frame["mask_update"] = [True, True, True, False, True, True, True, True]
    phase = np.array(["a", "a", "b", "b"] * 2)
    table = latent_by_phase(frame, np.array([1, 2, 3, 100, 5, 6, 7, 8]), phase)
    # Subjects' means 1.5 and 5.5 in a; 3 (the masked trial does not count) and 7.5 in b.
    assert table["mean"].tolist() == [3.5, 5.25]
    assert table["se"].tolist() == pytest.approx([2.0, 2.25])


PLAYERS = {
    "dynamic_alpha": {"alpha": 0.4, "a1": 3.0, "beta": 4.0},
    "pearce_hall": {"kappa_ph": 0.9, "eta_ph": 0.1, "beta": 6.0},
    "vkf_binary": {"lam_v": 0.2, "omega": 1.0, "beta": 1.5},
    "ehgf_binary": {"omega2": -2.5, "zeta": 2.0},
    "q_learning": {"alpha": 0.3, "beta": 4.0},
}


def rates_of_agents(name):
    """Learning rate by phase of 300 agents: the model's own, and that of their choices."""
    environment = Volatile(p=(0.9, 0.1), every=10)
    made = fitrl.simulate(
        name, subjects=300, trials=240, environment=environment, parameters=PLAYERS[name], random_seed=3
    )
    frame, phase = made.trials.frame, made.trials.original["phase"]
    values = {k: Located(np.full((1, 300), v), np.arange(300)) for k, v in PLAYERS[name].items()}
    columns = {k: frame[k].to_numpy() for k in frame}
    lr = np.empty(len(frame))
    for rows, places, t in filter_rows(made.model, made.trials.task, values, columns, lay_out(frame["sequence"])):
        lr[rows] = np.broadcast_to(t.latents["lr"], 300)[places]
    tables = (latent_by_phase(frame, lr, phase), learning_rate_by_phase(frame, phase))
    return [table.set_index("x").loc[["stable", "volatile"]] for table in tables]


@pytest.mark.parametrize("name", FAMILY)
def test_agents_learn_faster_in_the_volatile_phase(name):
    own, shown = rates_of_agents(name)
    assert own["mean"]["volatile"] > 1.5 * own["mean"]["stable"]
    for table in (own, shown):
        assert table["mean"]["volatile"] - table["mean"]["stable"] > 4 * table["se"].sum()
    assert shown["mean"]["volatile"] > shown["mean"]["stable"] + 0.1


def test_agents_with_a_constant_rate_do_not():
    """The control: the rate is the same in the model, and choices do not pretend otherwise."""
    own, shown = rates_of_agents("q_learning")
    np.testing.assert_allclose(own["mean"], 0.3, rtol=0, atol=1e-12)
    np.testing.assert_allclose(shown["mean"], 0.3, rtol=0, atol=0.04)
    assert abs(shown["mean"]["volatile"] - shown["mean"]["stable"]) < 2 * shown["se"].sum()
