"""Experience-weighted attraction, actor-critic and Kalman filters: by hand, and the interpreters side by side."""

import itertools
import math

import model_checks as checks
import numpy as np
import pytest
from fast_engine import bandit, random_rows, random_values, sizes
from hand_computed import Case, log_p
from interpreters import bandit_columns, compiled_scan, run_filter, run_plain, stack
from scipy.special import log_ndtr

import fitrl
from fitrl.engine.run import plain
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language.traits import lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit

CHOICES, OUTCOMES = (0, 0, 1, 0, 1), (1, 0, 1, 1, 0)
PAIRS = Bandit(4, tuple("ABCD"), (0.0, 1.0), 2)


# By hand ---------------------------------------------------------------------------------------------

EWA = {"phi_e": 0.8, "rho_e": 0.5, "beta": 2.0}
ACTOR_CRITIC = {"alpha_c": 0.4, "alpha_a": 2.0}


def ewa():
    # 1: A, 1: n 1, value 1. 2: A, 0: n 1.5, value .8 * 1 * 1 / 1.5 = 8/15. 3: B, 1: n 1, value 1.
    # 4: A, 1: n .5 * 1.5 + 1 = 1.75, value (.8 * 1.5 * 8/15 + 1) / 1.75 = 1.64 / 1.75.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 2.0, 1.0),
        log_p(1, 16 / 15, 1.0),
        log_p(0, 16 / 15, 2.0),
        log_p(1, 3.28 / 1.75, 2.0),
    ]
    return Case(find("ewa"), EWA, bandit_columns(CHOICES, OUTCOMES), ll)


def ewa_with_experience():
    # n from 2, values from 0. 1: A, 1: n 2, value 1/2. 2: missed. 3: A, without an outcome. 4: A, 1: n 2,
    # value (.8 * 2 * .5 + 1) / 2 = .9.
    ll = [log_p(0, 0, 0), log_p(0, 1.0, 0.0), log_p(0, 1.0, 0.0), log_p(1, 1.8, 0.0)]
    columns = bandit_columns((0, None, 0, 0, 1), (1, None, None, 1, 0))
    return Case(find("ewa", n0=2.0, q0=0.0), EWA, columns, ll)


def actor_critic():
    # 1: error .5: V .7, A +1. 2: error -.7: V .42, A 1 - 1.4 = -.4. 3: error .58: V .652, B +1.16.
    # 4: error .348: A -.4 + .696 = .296.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 1.0, 0.0),
        log_p(1, -0.4, 0.0),
        log_p(0, -0.4, 1.16),
        log_p(1, 0.296, 1.16),
    ]
    return Case(find("actor_critic"), ACTOR_CRITIC, bandit_columns(CHOICES, OUTCOMES), ll)


def actor_critic_gradient():
    # 1: error .5, P(A) = .5: A +.5, B -.5. 2: error -.7, P(A) = sig(1): A - 1.4 (1 - P), B + 1.4 (1 - P).
    away = 1.4 * (1 - 1 / (1 + math.exp(-1)))
    ll = [log_p(0, 0.0, 0.0), log_p(0, 0.5, -0.5), log_p(1, 0.5 - away, -0.5 + away)]
    columns = bandit_columns((0, 0, 1), (1, 0, 1))
    return Case(find("actor_critic", actor="gradient"), ACTOR_CRITIC, columns, ll)


def actor_critic_of_pairs():
    # AB: A pays: V(AB) .7, A +1. CD: D does not: V(CD) .3, D -1. AB: B pays: error .3: B +.6, V(AB) .82.
    # CD: C pays: error .7: C +1.4. AB.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(1, 0.0, 0.0),
        log_p(1, 1.0, 0.0),
        log_p(0, 0.0, -1.0),
        log_p(0, 1.0, 0.6),
    ]
    offers = [(0, 1), (2, 3), (0, 1), (2, 3), (0, 1)]
    columns = bandit_columns((0, 3, 1, 2, 0), (1, 0, 1, 1, 1), offers=offers)
    return Case(find("actor_critic"), ACTOR_CRITIC, columns, ll, PAIRS)


def actor_critic_of_actions():
    # The critic of A: .5, .7; of B: .5. Third error .5 in place of .58: B +1. A: .7 - .28 = .42; error .58: A +1.16.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 1.0, 0.0),
        log_p(1, -0.4, 0.0),
        log_p(0, -0.4, 1.0),
        log_p(1, -0.4 + 1.16, 1.0),
    ]
    return Case(find("actor_critic", critic="action"), ACTOR_CRITIC, bandit_columns(CHOICES, OUTCOMES), ll)


# sigma_o is .5, so variances start at .25, and every row adds .0625 (sigma_d .5).
# 1: A, 1: k .5, mean .75, variance .125, then .1875; B .3125. 2: missed: A .25, B .375.
# 3: A, 0: k .25 / .5 = .5, mean .375, variance .125, then .1875; B .4375.
KALMAN_COLUMNS = ((0, None, 0, 1), (1, None, 0, 1))
VARIANCES = ((0.25, 0.25), (0.25, 0.375), (0.1875, 0.4375))
MEANS = ((0.5, 0.5), (0.75, 0.5), (0.375, 0.5))


def kalman():
    ll = [log_p(c, 3 * a, 3 * b) for c, (a, b) in zip((0, 0, 1), MEANS, strict=True)]
    return Case(find("kalman"), {"sigma_d": 0.5, "beta": 3.0}, bandit_columns(*KALMAN_COLUMNS), ll)


def kalman_ucb():
    ll = [
        log_p(c, *[3 * m + 2 * math.sqrt(v) for m, v in zip(means, variances, strict=True)])
        for c, means, variances in zip((0, 0, 1), MEANS, VARIANCES, strict=True)
    ]
    parameters = {"sigma_d": 0.5, "beta": 3.0, "beta_ru": 2.0}
    return Case(find("kalman", rule="ucb"), parameters, bandit_columns(*KALMAN_COLUMNS), ll)


def sampled(x, bonus):
    """Log probabilities of A, A, B by sampling, with a bonus for the uncertain one."""
    found = []
    for sign, (a, b), (v, w) in zip((-1, -1, 1), MEANS, VARIANCES, strict=True):
        evidence = x * (b - a) / math.sqrt(v + w) + bonus * (math.sqrt(w) - math.sqrt(v))
        found.append(float(log_ndtr(sign * evidence)))
    return found


def kalman_thompson():
    parameters = {"sigma_d": 0.5, "beta_vtu": 1.5}
    return Case(find("kalman", rule="thompson"), parameters, bandit_columns(*KALMAN_COLUMNS), sampled(1.5, 0.0))


def kalman_hybrid():
    parameters = {"sigma_d": 0.5, "beta_vtu": 1.5, "beta_ru": 2.0}
    return Case(find("kalman", rule="hybrid"), parameters, bandit_columns(*KALMAN_COLUMNS), sampled(1.5, 2.0))


def kalman_decay():
    # sigma_o 2, s0 .5: variances start at 1, each row adds 1; means decay to 0 by half, variances to a quarter.
    # 1: A, 10: k 1/5, mean 2, variance .8; then mean 1, variance 1.2, and B 0, 1.25.
    # 2: B, 5: k 1.25 / 5.25, mean 5 k, variance 4 k; then half the mean, k + 1; A .5, 1.3. 3: A.
    k = 1.25 / 5.25
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(1, 1.0 + math.sqrt(1.2), math.sqrt(1.25)),
        log_p(0, 0.5 + math.sqrt(1.3), 2.5 * k + math.sqrt(k + 1)),
    ]
    parameters = {"sigma_d": 0.5, "lam_k": 0.5, "beta": 1.0, "beta_ru": 1.0}
    task = Bandit(2, ("A", "B"), (-math.inf, math.inf))
    model = find("kalman", rule="ucb", drift="decay", sigma_o=2.0, s0=0.5, q0=0.0)
    return Case(model, parameters, bandit_columns((0, 1, 0), (10, 5, 0)), ll, task)


CASES = {
    f.__name__: f
    for f in (
        ewa,
        ewa_with_experience,
        actor_critic,
        actor_critic_gradient,
        actor_critic_of_pairs,
        actor_critic_of_actions,
        kalman,
        kalman_ucb,
        kalman_thompson,
        kalman_hybrid,
        kalman_decay,
    )
}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    case = CASES[name]()
    checks.compare_by_hand(interpreter, *checks.inputs_of(case), choice=case.expected)


def test_latents_by_hand():
    found = checks.latents_of(*checks.inputs_of(ewa()))
    assert [t["lr"] for t in found] == pytest.approx([1, 1 / 1.5, 1, 1 / 1.75, 1 / 1.5])
    for now, then, c in zip(found, found[1:], CHOICES, strict=False):
        assert now["v"][c] + now["lr"] * now["rpe"] == pytest.approx(then["v"][c])
    found = checks.latents_of(*checks.inputs_of(actor_critic_of_pairs()))
    assert [t["value"] for t in found] == pytest.approx([0.5, 0.5, 0.7, 0.3, 0.82])
    assert [t["rpe"] for t in found] == pytest.approx([0.5, -0.5, 0.3, 0.7, 0.18])
    found = checks.latents_of(*checks.inputs_of(kalman()))
    assert [found[i]["lr"] for i in (0, 2, 3)] == pytest.approx([0.5, 0.5, 0.4375 / 0.6875])
    assert [found[i]["rpe"] for i in (0, 2, 3)] == pytest.approx([0.5, -0.75, 0.5])
    assert [list(found[i]["s"]) for i in (0, 2, 3)] == [pytest.approx(np.sqrt(v)) for v in VARIANCES]


# What they have in common with others -----------------------------------------------------------------


def test_ewa_as_hbayesdm_computes_it():
    """Written out after its description: values and experience of 0, outcomes of -1 and 1."""
    rng = np.random.default_rng(6)
    choice, outcome = rng.integers(0, 2, 80), rng.choice([-1.0, 1.0], 80)
    value, weight, expected = [0.0, 0.0], [0.0, 0.0], []
    for c, r in zip(choice, outcome, strict=True):
        expected.append(log_p(c, *[1.7 * v for v in value]))
        before = weight[c]
        weight[c] = weight[c] * 0.6 + 1
        value[c] = (value[c] * 0.9 * before + r) / weight[c]
    rows = stack(bandit_columns(list(choice), list(outcome)))
    values = {"phi_e": 0.9, "rho_e": 0.6, "beta": 1.7}
    found = run_plain(find("ewa", q0=0.0), bandit(low=-1.0), values, rows)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def random_choices(n=60, low=0.0, seed=7):
    rng = np.random.default_rng(seed)
    return stack(bandit_columns(list(rng.integers(0, 2, n)), list(rng.choice([low, 1.0], n))))


def test_ewa_without_memory_of_experience_is_q_learning():
    rows = random_choices()
    ewa_values = {"phi_e": 0.7, "rho_e": 0.0, "beta": 1.2}
    found = run_plain(find("ewa", q0=0.0, n0=1.0), bandit(), ewa_values, rows)["choice"]
    expected = run_plain(find("q_learning", q0=0.0), bandit(), {"alpha": 0.3, "beta": 1.2 / 0.3}, rows)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_ewa_that_keeps_everything_is_the_running_mean():
    rows = random_choices()
    *_, last = plain(find("ewa"), bandit(), {"phi_e": 1.0, "rho_e": 1.0, "beta": 1.0}, rows.of(0))
    chosen = rows.columns["choice"][:-1]
    for option in (0, 1):
        assert last.before.v[option] == pytest.approx(rows.columns["outcome"][:-1][chosen == option].mean())


def test_a_gradient_actor_moves_the_difference_of_two_as_a_plain_one_does_scaled():
    """With two options: the plain step times twice the probability of the other option."""
    case = actor_critic_gradient()
    trials = list(plain(case.model, case.task, case.parameters, stack(case.columns).of(0)))
    for now, then in itertools.pairwise(trials):
        step = (then.before.m[0] - then.before.m[1]) - (now.before.m[0] - now.before.m[1])
        other = 1 - math.exp(now.log_probability["choice"])
        assert step == pytest.approx(2.0 * now.latents["rpe"] * 2 * other)


def test_a_kalman_filter_settles_at_a_learning_rate():
    rows = stack(bandit_columns([0] * 200, [1, 0] * 100))
    for sigma_d, rate in ((0.1, 0.0951), (0.5, 0.3904), (1.0, 0.6180)):
        *_, last = plain(find("kalman"), bandit(), {"sigma_d": sigma_d, "beta": 1.0}, rows.of(0))
        assert last.latents["lr"] == pytest.approx(rate, abs=1e-4)


def test_the_coding_of_outcomes_does_not_matter_to_a_kalman_filter():
    """Losses of 1 in place of nothing: twice the range, twice the noise, so half the slopes per outcome."""
    rows, other = random_choices(), random_choices(low=-1.0)
    for rule, values in {
        "ucb": ({"beta": 4.0, "beta_ru": 2.0}, {"beta": 2.0, "beta_ru": 1.0}),
        "thompson": ({"beta_vtu": 1.3}, {"beta_vtu": 1.3}),
    }.items():
        model = find("kalman", rule=rule)
        found = run_plain(model, bandit(), {"sigma_d": 0.3} | values[0], rows)["choice"]
        doubled = run_plain(model, bandit(low=-1.0), {"sigma_d": 0.3} | values[1], other)["choice"]
        np.testing.assert_allclose(doubled, found, rtol=0, atol=1e-12)


def test_choices_by_means_do_not_see_the_noise():
    rows = random_choices()
    values = {"sigma_d": 0.3, "beta": 4.0}
    found = [run_plain(find("kalman", sigma_o=noise), bandit(), values, rows)["choice"] for noise in (0.2, 3.0)]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-14)


# All interpreters, all options -----------------------------------------------------------------------

EVERY = {
    "ewa": (find("ewa"), bandit()),
    "ewa_pairs": (find("ewa", n0=1.0).with_(stickiness(), lapse()), bandit(6, 2, low=-1.0)),
    "actor_critic": (find("actor_critic"), bandit(3)),
    "actor_critic_gradient": (find("actor_critic", actor="gradient"), bandit(low=-1.0)),
    "actor_critic_pairs": (find("actor_critic", actor="gradient").with_(lapse()), bandit(4, 2)),
    "actor_critic_actions": (find("actor_critic", critic="action").with_(stickiness()), bandit(6, 2)),
    "kalman": (find("kalman"), bandit(3)),
    "kalman_ucb": (find("kalman", rule="ucb", drift="decay").with_(stickiness(), lapse()), bandit(4, 2, low=-1.0)),
    "kalman_thompson": (find("kalman", rule="thompson", s0=2.0), bandit()),
    "kalman_hybrid": (find("kalman", rule="hybrid", drift="decay").with_(lapse()), bandit(low=-1.0)),
}


SAMPLING = ("kalman_thompson", "kalman_hybrid")  # the normal distribution function has no fast code
FAST = [name for name in EVERY if name not in SAMPLING]


def situation(name, lengths):
    """Propensities of an actor grow without bound, so its step is not extreme."""
    model, task, rows, values = checks.random_situation(*EVERY[name], lengths)
    for bounded in {"alpha_a", "sigma_d"} & set(values):
        values[bounded] = np.minimum(values[bounded], 5.0)
    return model, task, rows, values


@checks.KERNELS
@pytest.mark.parametrize("name", FAST)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths))


def by_subject(model, task, values, rows):
    """Log-likelihood of every sequence, from the filter."""
    at = rows.columns["mask_choice"]
    scores = run_filter(model, task, values, rows)["choice"]
    return np.bincount(rows.sequence[at], scores[at], minlength=rows.n_sequences)


@pytest.mark.parametrize("name", SAMPLING)
def test_the_reference_agrees_where_it_is_all_there_is(name):
    model, task = EVERY[name]
    rng = np.random.default_rng(3)
    rows = random_rows(task, (9, 4), rng)
    values = random_values(model, task, sizes(trace(model, task), rows, {}), rng, near=0.0)
    scores, gradients = compiled_scan(trace(model, task), rows, quick=True)(values)
    np.testing.assert_allclose(scores["choice"], run_filter(model, task, values, rows)["choice"], rtol=0, atol=1e-11)
    for parameter, x in values.items():
        up, down, far_up, far_down = (
            by_subject(model, task, values | {parameter: x + step}, rows) for step in (1e-3, -1e-3, 2e-3, -2e-3)
        )
        slope = (8 * (up - down) - (far_up - far_down)) / 12e-3
        np.testing.assert_allclose(gradients[parameter], slope, rtol=1e-6, atol=1e-8, err_msg=parameter)


@pytest.mark.study
@pytest.mark.parametrize("name", ["ewa_pairs", "actor_critic_pairs", "kalman_ucb"])
def test_the_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4)))


@pytest.mark.parametrize("name", EVERY)
def test_agents_play_what_the_filter_scores(name):
    checks.compare_bandit_agents(*EVERY[name])


@pytest.mark.parametrize("name", EVERY)
def test_what_stands_in_cells_that_teach_nothing_changes_no_score(name):
    checks.change_hidden_cells(*situation(name, (12, 3, 25, 1, 7)))


# What parameters exist, and what is refused ---------------------------------------------------------------


def test_the_rule_decides_which_slopes_are_estimated():
    names = {rule: list(find("kalman", rule=rule).parameters()) for rule in ("softmax", "ucb", "thompson", "hybrid")}
    assert names == {
        "softmax": ["sigma_d", "beta"],
        "ucb": ["sigma_d", "beta", "beta_ru"],
        "thompson": ["sigma_d", "beta_vtu"],
        "hybrid": ["sigma_d", "beta_ru", "beta_vtu"],
    }
    assert list(find("kalman", drift="decay").parameters()) == ["sigma_d", "lam_k", "beta"]


@pytest.mark.parametrize("rule", ["thompson", "hybrid"])
@pytest.mark.parametrize("task", [bandit(3), PAIRS])
def test_sampling_is_for_two_options(rule, task):
    with pytest.raises(ModelError, match=r"for two options that are always on offer.*rule=ucb"):
        find("kalman", rule=rule).fitted(task)


def test_raw_outcomes_need_a_noise():
    raw = Bandit(2, ("A", "B"), (-math.inf, math.inf))
    with pytest.raises(ModelError, match=r"needs the noise of outcomes.*sigma_o"):
        find("kalman").fitted(raw)
    assert list(find("kalman", sigma_o=4.0).fitted(raw)) == ["sigma_d", "beta"]


def test_nothing_can_be_added_to_a_choice_by_sampling():
    with pytest.raises(ModelError, match="no logits"):
        trace(find("kalman", rule="thompson").with_(stickiness()), bandit())


# What the models say about behaviour ---------------------------------------------------------------------


def test_experience_slows_down_learning():
    """Chosen for the k-th time, an option has gathered experience of 1 + rho + ... + rho^(k - 1)."""
    rows = stack(bandit_columns([0] * 40, [1, 0] * 20))
    found = list(plain(find("ewa"), bandit(), {"phi_e": 0.9, "rho_e": 0.8, "beta": 1.0}, rows.of(0)))
    rates = [0.2 / (1 - 0.8**k) for k in range(1, 41)]
    np.testing.assert_allclose([t.latents["lr"] for t in found], rates, rtol=1e-12)


def test_a_bonus_seeks_what_was_left_alone():
    rest = {"sigma_d": 0.3, "beta": 5.0}
    settings = {"trials": 100, "environment": "fixed"}
    made = {
        bonus: fitrl.simulate(
            "kalman",
            options={"rule": "ucb"},
            subjects=100,
            parameters=rest | {"beta_ru": bonus},
            random_seed=3,
            **settings,
        ).frame
        for bonus in (-3.0, 6.0)
    }
    switches = {
        b: (f["choice"] != f.groupby("subject")["choice"].shift())[f["trial"] > 1].mean() for b, f in made.items()
    }
    assert switches[6.0] > switches[-3.0] + 0.1
