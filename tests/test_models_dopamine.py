"""Dopamine at choice: Möller and Bogacz's payoffs and costs, OpAL*. By hand, interpreters that agree, what they say."""

import model_checks as checks
import numpy as np
import pytest
from fast_engine import bandit
from hand_computed import Case, log_p
from interpreters import bandit_columns, run_plain, stack
from scipy.stats import beta as beta_distribution

from fitrl.language.traits import lapse, stickiness
from fitrl.models import find

PATHWAYS = {"alpha": 0.5, "eps_slope": 0.5, "lam_decay": 0.1, "beta": 2.0}
ACTORS = {"alpha_c": 0.5, "alpha_a": 0.4, "beta": 2.0}


# By hand ---------------------------------------------------------------------------------------------


def moeller_bogacz():
    # 1: error 1: G .5, N max(0, -.25) = 0. 2: error -.25: G .5 - .0625 - .05 = .3875, N .125. 3 (B): G .5, N 0.
    # 4: error 1 - .13125 = .86875: G .3875 + .434375 - .03875 = .783125, N max(0, .125 - .2171875 - .0125) = 0.
    ll = [log_p(0, 0, 0), log_p(0, 0.5, 0), log_p(1, 0.2625, 0), log_p(0, 0.2625, 0.5), log_p(1, 0.783125, 0.5)]
    return Case(find("moeller_bogacz"), PATHWAYS, bandit_columns((0, 0, 1, 0, 1), (1, 0, 1, 1, 0)), ll)


def moeller_bogacz_with_dopamine():
    # Pathways as before, Go counts .8 and NoGo .2.
    ll = [log_p(0, 0, 0), log_p(0, 0.8, 0), log_p(1, 0.57, 0), log_p(0, 0.57, 0.8), log_p(1, 1.253, 0.8)]
    columns = bandit_columns((0, 0, 1, 0, 1), (1, 0, 1, 1, 0))
    return Case(find("moeller_bogacz", dopamine="fitted"), PATHWAYS | {"d_da": 0.8}, columns, ll)


def moeller_bogacz_with_a_missed_trial():
    ll = [log_p(0, 0, 0), log_p(0, 0.5, 0), log_p(1, 0.2625, 0)]
    return Case(find("moeller_bogacz"), PATHWAYS, bandit_columns((0, None, 0, 1), (1, None, 0, 1)), ll)


def opal_star():
    # Richness 1/2, 2/3, 3/4, 3/5; its sd .354, .298, .25, .262: at .9 sds only the third opens the gate.
    # A: error .5: G 1.2, N .8; error .25: G 1.32, N .72. Third: rho = .1 + 2 * .25. B: error -.5: G .8, N 1.2.
    ll = [
        log_p(0, 0, 0),
        log_p(0, 2 * (1.1 * 1.2 - 0.9 * 0.8), 2 * (1.1 - 0.9)),
        log_p(1, 2 * (1.6 * 1.32 - 0.4 * 0.72), 2 * (1.6 - 0.4)),
        log_p(0, 2 * (1.1 * 1.32 - 0.9 * 0.72), 2 * (1.1 * 0.8 - 0.9 * 1.2)),
    ]
    columns = bandit_columns((0, 0, 1, 0), (1, 1, 0, 1))
    return Case(find("opal_star", k=2.0, phi=0.9, anneal="none"), ACTORS | {"rho_base": 0.1}, columns, ll)


def opal_star_annealed():
    # Variance 1/8, 4/45, 1/16: rates .4 / (1 + .8) and .4 / (1 + 1.125). The gate: .25 is not above .25.
    g, n = 1 + 0.5 * 0.4 / 1.8, 1 - 0.5 * 0.4 / 1.8
    g2, n2 = g * (1 + 0.25 * 0.4 / 2.125), n * (1 - 0.25 * 0.4 / 2.125)
    ll = [log_p(0, 0, 0), log_p(0, 2 * (g - n), 0), log_p(1, 2 * (g2 - n2), 0)]
    columns = bandit_columns((0, 0, 1), (1, 1, 0))
    return Case(find("opal_star", horizon=1.0, baseline="zero"), ACTORS, columns, ll)


def opal_star_where_one_actor_is_shut_out():
    # Gate open from the second trial on, with k = 20: rho = 10 / 3, then 5 (wins), so that NoGo counts nothing.
    ll = [
        log_p(0, 0, 0),
        log_p(0, 2 * (1 + 10 / 3) * 1.2, 2 * (1 + 10 / 3)),
        log_p(1, 2 * 6 * 1.32, 2 * 6),
    ]
    columns = bandit_columns((0, 0, 1), (1, 1, 0))
    return Case(find("opal_star", phi=0.1, anneal="none", baseline="zero"), ACTORS, columns, ll)


CASES = {
    f.__name__: f
    for f in (
        moeller_bogacz,
        moeller_bogacz_with_dopamine,
        moeller_bogacz_with_a_missed_trial,
        opal_star,
        opal_star_annealed,
        opal_star_where_one_actor_is_shut_out,
    )
}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    case = CASES[name]()
    checks.compare_by_hand(interpreter, *checks.inputs_of(case), choice=case.expected)


def test_latents_by_hand():
    expected = {
        "rich": [1 / 2, 2 / 3, 3 / 4, 3 / 5],
        "rich_sd": np.sqrt([1 / 8, 4 / 45, 1 / 16, 0.24 / 3.5]),
        "gate": [0, 0, 1, 0],
        "rho": [0.1, 0.1, 0.6, 0.1],
        "rpe": [0.5, 0.25, -0.5, 0.125],
    }
    checks.compare_latents(*checks.inputs_of(opal_star()), expected)
    trials = checks.latents_of(*checks.inputs_of(moeller_bogacz()))
    np.testing.assert_allclose([t["value"][0] for t in trials], [0, 0.25, 0.13125, 0.13125, 0.783125 / 2])
    np.testing.assert_allclose([t["spread"][0] for t in trials], [0, 0.5, 0.5125, 0.5125, 0.783125])


def test_opal_star_as_the_authors_compute_it():
    """Written out after their program: moments of a beta distribution of counts divided by the number of options."""
    rng = np.random.default_rng(6)
    choice, outcome = rng.integers(0, 3, 90), rng.choice([-1.0, 1.0], 90, p=[0.3, 0.7])
    g, n, v, wins, losses, expected = np.ones(3), np.ones(3), np.zeros(3), 1, 1, []
    for c, r in zip(choice, outcome, strict=True):
        mean, var = beta_distribution.stats(wins / 3, losses / 3, moments="mv")
        away = mean - np.sqrt(var) > 0.5 or mean + np.sqrt(var) < 0.5
        rho = 0.2 + (20 * (mean - 0.5) if away else 0.0)
        act = 0.5 * (max(0, 1 + rho) * g - max(0, 1 - rho) * n)
        expected.append(act[c] - np.log(np.exp(act).sum()))
        error, rate = r - v[c], 0.3 / (1 + 1 / (var * 100 * 10))
        v[c] += 0.2 * error
        g[c], n[c] = max(0, g[c] + rate * g[c] * error), max(0, n[c] - rate * n[c] * error)
        wins, losses = wins + (r > 0), losses + (r < 0)
    values = {"alpha_c": 0.2, "alpha_a": 0.3, "beta": 0.5, "rho_base": 0.2}
    rows = stack(bandit_columns(list(choice), list(outcome), n_options=3))
    found = run_plain(find("opal_star"), bandit(3, low=-1.0), values, rows)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


# All interpreters, all options -----------------------------------------------------------------------

EVERY = {
    "moeller_bogacz": (find("moeller_bogacz"), bandit()),
    "moeller_bogacz_fitted": (find("moeller_bogacz", dopamine="fitted"), bandit(3, low=-1.0)),
    "moeller_bogacz_traits": (find("moeller_bogacz").with_(stickiness(), lapse()), bandit(4, 2, low=-1.0)),
    "opal_star": (find("opal_star"), bandit()),
    "opal_star_losses": (find("opal_star", k=8.0, phi=3.0, anneal="none"), bandit(3, low=-1.0)),
    "opal_star_zero": (find("opal_star", baseline="zero").with_(stickiness(), lapse()), bandit(4, 2)),
}


def situation(name, lengths):
    """Dopamine at choice on both sides of 0, and not so near to -1, where slopes change, that differences cross it."""
    model, task, rows, values = checks.random_situation(*EVERY[name], lengths)
    if "rho_base" in values:
        values["rho_base"] = 1.9 * values["rho_base"] - 0.95
    return model, task, rows, values


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths), rtol=1e-12)


@pytest.mark.study
@pytest.mark.parametrize("name", ["moeller_bogacz_fitted", "opal_star"])
def test_the_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4)))


@pytest.mark.parametrize("name", EVERY)
def test_agents_play_what_the_filter_scores(name):
    checks.compare_bandit_agents(*EVERY[name])


# What the models say -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.45, 0.5, 0.55])
def test_pathways_settle_where_the_card_says_so(p):
    """Half the difference at c_mean of the mean outcome, half the sum at c_spread of the mean unsigned error."""
    model, task = find("moeller_bogacz"), bandit(low=-1.0)
    values = {"alpha": 0.1, "eps_slope": 0.7, "lam_decay": 0.02, "beta": 1.0}
    outcomes = np.where(np.random.default_rng(2).random((500, 120)) < p, 1.0, -1.0)
    shares = {name: derived.formula(model.bind(values, task)) for name, derived in model.derived().items()}
    assert shares == pytest.approx({"c_mean": 0.17 / 0.21, "c_spread": 0.03 / 0.04})
    late = slice(250, None)
    value, spread, error = (
        checks.follow(model, task, values, outcomes, read)[late].mean()
        for read in (
            lambda t: t.latents["value"][0],
            lambda t: t.latents["spread"][0],
            lambda t: np.abs(t.latents["rpe"]),
        )
    )
    assert value == pytest.approx(shares["c_mean"] * outcomes[late].mean(), abs=0.01)
    assert spread / 2 == pytest.approx(shares["c_spread"] * error, rel=0.02)


def test_dopamine_follows_richness():
    """Also that the two arguments of the beta distribution are not swapped: wins raise it."""
    values = ACTORS | {"rho_base": 0.0}
    outcomes = np.column_stack([np.ones(20), np.zeros(20)])
    rho = checks.follow(find("opal_star"), bandit(), values, outcomes, lambda t: t.latents["rho"])
    assert rho[0].tolist() == [0.0, 0.0]
    assert rho[-1, 0] > 5
    assert rho[-1, 1] == pytest.approx(-rho[-1, 0])
    assert (np.diff(rho[5:, 0]) > 0).all()


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_actors_and_pathways_stay_finite_and_not_negative(low):
    rng = np.random.default_rng(4)
    for name in ("moeller_bogacz", "opal_star"):
        for t in checks.run_long(find(name), bandit(low=low), 5, rng):
            cells = np.array([float(x) for field in (t.s.g, t.s.n) for x in field.cells()])
            assert np.isfinite(cells).all()
            assert (cells >= 0).all()
            assert np.isfinite(t.log_probability["choice"])


def test_options_decide_what_is_estimated():
    assert list(find("moeller_bogacz").parameters()) == ["alpha", "eps_slope", "lam_decay", "beta"]
    assert "d_da" in find("moeller_bogacz", dopamine="fitted").parameters()
    assert list(find("opal_star").parameters()) == ["alpha_c", "alpha_a", "beta", "rho_base"]
    assert "rho_base" not in find("opal_star", baseline="zero").parameters()
