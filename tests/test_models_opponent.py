"""Asymmetry and valence: trials computed by hand, interpreters that agree, signatures, training before transfer."""

import math

import model_checks as checks
import numpy as np
import pytest
from fast_engine import bandit
from hand_computed import FULL, GAIN_LOSS, Case, log_p
from interpreters import bandit_columns, run_filter, run_plain, stack

import fitrl
from fitrl import datasets
from fitrl.engine.run import plain
from fitrl.errors import ModelError
from fitrl.language.traits import confirmation_bias, counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit
from fitrl.tasks.environments import Pairs
from fitrl.tasks.signatures import choose_avoid

OPAL = {"alpha_c": 0.5, "alpha_g": 0.4, "alpha_n": 0.2, "beta": 2.0}


# By hand ---------------------------------------------------------------------------------------------


def opal_learning():
    # 1: error .5: V .75, G 1 * 1.2, N 1 * .9. 2: error -.75: V .375, G 1.2 * .7 = .84, N .9 * 1.15 = 1.035.
    # 3 (B): error .5: G 1.2, N .9. 4 (A): error .625: G .84 * 1.25 = 1.05, N 1.035 * .875 = .905625.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 2 * (1.2 - 0.9), 0.0),
        log_p(1, 2 * (0.84 - 1.035), 0.0),
        log_p(0, 2 * (0.84 - 1.035), 2 * (1.2 - 0.9)),
        log_p(1, 2 * (1.05 - 0.905625), 2 * (1.2 - 0.9)),
    ]
    return Case(find("opal"), OPAL, bandit_columns((0, 0, 1, 0, 1), (1, 0, 1, 1, 0)), ll)


def opal_choice():
    # Both rates .4: A 1.2 and .8, then 1.2 * .7 = .84 and .8 * 1.3 = 1.04. Go counts 1.5, NoGo .5.
    ll = [
        log_p(0, 2 * (1.5 - 0.5), 2 * (1.5 - 0.5)),
        log_p(0, 2 * (1.5 * 1.2 - 0.5 * 0.8), 2.0),
        log_p(1, 2 * (1.5 * 0.84 - 0.5 * 1.04), 2.0),
    ]
    parameters = {"alpha_c": 0.5, "alpha_a": 0.4, "beta": 2.0, "rho_da": 0.5}
    return Case(find("opal", asymmetry="choice"), parameters, bandit_columns((0, 0, 1), (1, 0, 1)), ll)


def opal_both():
    # Actors as in opal_learning; Go counts .5, NoGo 1.5.
    ll = [
        log_p(0, -2.0, -2.0),
        log_p(0, 2 * (0.5 * 1.2 - 1.5 * 0.9), -2.0),
        log_p(1, 2 * (0.5 * 0.84 - 1.5 * 1.035), -2.0),
    ]
    columns = bandit_columns((0, 0, 1), (1, 0, 1))
    return Case(find("opal", asymmetry="both"), OPAL | {"rho_da": -0.5}, columns, ll)


def opal_at_the_floor():
    # Gains and losses, V from 0. 1: error 1: V .8, G 1.9, N .1. 2: error -1.8: 1 - .9 * 1.8 is below 0, so G is 1.9
    # millionths; N .1 * (1 + 1.62) = .262.
    ll = [log_p(0, 0.0, 0.0), log_p(0, 2 * (1.9 - 0.1), 0.0), log_p(1, 2 * (1.9e-6 - 0.262), 0.0)]
    parameters = {"alpha_c": 0.8, "alpha_g": 0.9, "alpha_n": 0.9, "beta": 2.0}
    return Case(find("opal"), parameters, bandit_columns((0, 0, 1), (1, -1, 1)), ll, GAIN_LOSS)


def opal_training_and_transfer():
    # A v B: A pays, so that it stands at 1.2 - .9 = .3. C v D: D does not pay: error -.5, G .8, N 1.1, so -.3.
    # Without outcomes then, nothing moves: A v D, C v A, B v D.
    offers = [(0, 1), (2, 3), (0, 3), (2, 0), (3, 1)]
    ll = [log_p(0, 0, 0), log_p(1, 0, 0), log_p(0, 0.6, -0.6), log_p(1, 0.0, 0.6), log_p(1, -0.6, 0.0)]
    columns = bandit_columns((0, 3, 0, 0, 1), (1, 0, None, None, None), offers=offers)
    return Case(find("opal"), OPAL, columns, ll, Bandit(4, tuple("ABCD"), (0.0, 1.0), 2))


def opal_with_a_missed_trial():
    # The second trial of opal_learning comes after a miss, a masked one follows it: only what teaches moves anything.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 2 * (1.2 - 0.9), 0.0),
        log_p(1, 2 * (0.84 - 1.035), 2 * (1.2 - 0.9)),  # B was forced, and taught
    ]
    columns = bandit_columns((0, None, 0, 1, 1), (1, None, 0, 1, 1), forced=(3,))
    return Case(find("opal"), OPAL, columns, ll)


VALENCE = {"alpha_rew": 0.5, "alpha_pun": 0.25, "rho_rew": 2.0, "rho_pun": 4.0}


def reward_punishment():
    # 1: A, 1: Qr 1. 2: A, -1: Qr 1 + .5 * -1 = .5, Qp .25 * -4 = -1.
    # 3: B, -.5: B Qp .25 * -2 = -.5; A forgets: Qr .25, Qp -.75.
    # 4: B, .5: B Qr .5 * 1 = .5, Qp -.5 + .25 * .5 = -.375; A: Qr .125, Qp -.5625.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 1.0, 0.0),
        log_p(1, 0.5 - 1.0, 0.0),
        log_p(1, 0.25 - 0.75, -0.5),
        log_p(0, 0.125 - 0.5625, 0.5 - 0.375),
    ]
    columns = bandit_columns((0, 0, 1, 1, 0), (1, -1, -0.5, 0.5, 0))
    return Case(find("reward_punishment"), VALENCE, columns, ll, GAIN_LOSS)


def reward_punishment_one_rate_own_forgetting():
    # A: Qr 1; then .5 and Qp -2; then forgets a tenth: .45, -1.8. B: Qp .5 * -2 = -1.
    # 4: missed, nothing moves. 5: A, 1: Qr .45 + .5 * 1.55 = 1.225, Qp -1.8 + .9 = -.9; B: Qp -.9.
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 1.0, 0.0),
        log_p(1, 0.5 - 2.0, 0.0),
        log_p(0, 0.45 - 1.8, -1.0),
        log_p(1, 1.225 - 0.9, -0.9),
    ]
    columns = bandit_columns((0, 0, 1, None, 0, 1), (1, -1, -0.5, None, 1, 0))
    parameters = {"alpha": 0.5, "rho_rew": 2.0, "rho_pun": 4.0, "phi": 0.1}
    return Case(find("reward_punishment", rates="one", forgetting="own"), parameters, columns, ll, GAIN_LOSS)


def with_confirmation_bias():
    # Rates .4 and .1. 1: A .5 + .4 * .5 = .7; B (0) .5 - .4 * .5 = .3.
    # 2: A .7 - .1 * .7 = .63; B (1) .3 + .1 * .7 = .37.
    # 3: B .37 + .4 * .63 = .622; A's outcome was not shown. 4: A .63 + .4 * .37 = .778; B (0) .622 * .6 = .3732.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.4, 0.6),
        log_p(1, 1.26, 0.74),
        log_p(0, 1.26, 2 * 0.622),
        log_p(1, 2 * 0.778, 2 * 0.3732),
    ]
    columns = bandit_columns((0, 0, 1, 0, 1), (1, 0, 1, 1, 0), forgone=(0, 1, None, 0, 1))
    parameters = {"alpha_conf": 0.4, "alpha_disc": 0.1, "beta": 2.0}
    return Case(find("q_learning").with_(confirmation_bias()), parameters, columns, ll, FULL)


CASES = {
    f.__name__: f
    for f in (
        opal_learning,
        opal_choice,
        opal_both,
        opal_at_the_floor,
        opal_training_and_transfer,
        opal_with_a_missed_trial,
        reward_punishment,
        reward_punishment_one_rate_own_forgetting,
        with_confirmation_bias,
    )
}


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    case = CASES[name]()
    checks.compare_by_hand(interpreter, *checks.inputs_of(case), choice=case.expected)


def test_four_arms_with_gains_and_losses_as_hbayesdm_computes_them():
    """Written out after its description: each value learns, then the options not chosen decay at the same rate."""
    rng = np.random.default_rng(6)
    choice, outcome = rng.integers(0, 4, 80), rng.choice([-1.0, 0.0, 1.0], 80)
    q_rew, q_pun, expected = [0.0] * 4, [0.0] * 4, []
    for c, r in zip(choice, outcome, strict=True):
        logits = [a + b for a, b in zip(q_rew, q_pun, strict=True)]
        expected.append(logits[c] - math.log(sum(math.exp(x) for x in logits)))
        for k in range(4):
            gain, loss = (max(r, 0.0), max(-r, 0.0)) if k == c else (0.0, 0.0)
            q_rew[k] += 0.3 * (2.5 * gain - q_rew[k])
            q_pun[k] += 0.6 * (-1.5 * loss - q_pun[k])
    values = {"alpha_rew": 0.3, "alpha_pun": 0.6, "rho_rew": 2.5, "rho_pun": 1.5}
    rows = stack(bandit_columns(list(choice), list(outcome), n_options=4))
    found = run_plain(find("reward_punishment"), bandit(4, low=-1.0), values, rows)["choice"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# All interpreters, all options -----------------------------------------------------------------------

EVERY = {
    "opal": (find("opal"), bandit()),
    "opal_choice": (find("opal", asymmetry="choice"), bandit(3)),
    "opal_both": (find("opal", asymmetry="both", q0=0.2), bandit(4, 2)),
    "opal_losses": (find("opal"), bandit(low=-1.0)),
    "opal_traits": (find("opal").with_(stickiness(), lapse()), bandit(6, 2)),
    "reward_punishment": (find("reward_punishment"), bandit(3, low=-1.0)),
    "reward_punishment_one": (find("reward_punishment", rates="one"), bandit(4, 2, low=-1.0)),
    "reward_punishment_own": (find("reward_punishment", forgetting="own").with_(lapse()), bandit(low=-1.0)),
    "confirmation_bias": (find("q_learning").with_(confirmation_bias(), stickiness(), forgetting()), bandit()),
    "confirmation_bias_pairs": (find("q_learning").with_(confirmation_bias()), bandit(4, 2, low=-1.0)),
}


def situation(name, lengths):
    """Dopamine at choice on both sides of 0."""
    model, task, rows, values = checks.random_situation(*EVERY[name], lengths)
    if "rho_da" in values:
        values["rho_da"] = 2 * values["rho_da"] - 1
    return model, task, rows, values


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *situation(name, lengths))


@pytest.mark.study
@pytest.mark.parametrize("name", ["opal_both", "reward_punishment", "confirmation_bias_pairs"])
def test_the_reference_agrees(name):
    checks.compare_reference(*situation(name, (9, 4)))


@pytest.mark.parametrize("name", EVERY)
def test_agents_play_what_the_filter_scores(name):
    checks.compare_bandit_agents(*EVERY[name])


@pytest.mark.parametrize("name", EVERY)
def test_what_stands_in_cells_that_teach_nothing_changes_no_score(name):
    checks.change_hidden_cells(*situation(name, (12, 3, 25, 1, 7)))


@pytest.mark.parametrize("asymmetry", ["learning", "choice", "both"])
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_actors_stay_above_zero_and_finite(asymmetry, low):
    for t in checks.run_long(find("opal", asymmetry=asymmetry), bandit(low=low), 10, np.random.default_rng(4)):
        actors = np.array([float(x) for field in (t.s.g, t.s.n) for x in field.cells()])
        assert (actors > 0).all()
        assert np.isfinite(actors).all()
        assert np.isfinite(t.log_probability["choice"])


# What parameters exist, and what is refused ---------------------------------------------------------------


def test_the_option_decides_which_asymmetry_is_estimated():
    names = {a: list(find("opal", asymmetry=a).parameters()) for a in ("learning", "choice", "both")}
    assert names == {
        "learning": ["alpha_c", "alpha_g", "alpha_n", "beta"],
        "choice": ["alpha_c", "alpha_a", "beta", "rho_da"],
        "both": ["alpha_c", "alpha_g", "alpha_n", "beta", "rho_da"],
    }
    rho = find("opal", asymmetry="both").parameters()["rho_da"]
    assert (rho.lower, rho.upper) == (-1.0, 1.0)


def test_without_losses_there_is_nothing_to_learn_about_punishments():
    with pytest.raises(ModelError, match=r"none is below 0.*q_learning"):
        fitrl.simulate("reward_punishment", subjects=1, trials=5, random_seed=1)
    made = fitrl.simulate("reward_punishment", subjects=1, trials=5, outcome_range=(-1, 1), random_seed=1)
    assert set(made.frame["outcome"]) <= {-1.0, 1.0}


@pytest.mark.parametrize("other", [dual_alpha, counterfactual])
def test_confirmation_bias_takes_the_place_of_other_traits(other):
    with pytest.raises(ModelError, match="cannot be told apart"):
        find("q_learning").with_(confirmation_bias(), other())


def test_opponent_actors_have_no_single_rate_to_split():
    with pytest.raises(ModelError, match="replaces the parameter `alpha`"):
        find("opal").with_(dual_alpha())


# What the models say about behaviour ---------------------------------------------------------------------


@pytest.mark.parametrize(("pos", "neg", "p"), [(0.3, 0.1, 0.8), (0.05, 0.4, 0.3), (0.2, 0.2, 0.6)])
def test_values_of_two_rates_settle_where_the_mean_change_is_zero(pos, neg, p):
    settled = pos * p / (pos * p + neg * (1 - p))
    model = find("q_learning", q0=settled).with_(dual_alpha())
    values = {"alpha_pos": pos, "alpha_neg": neg, "beta": 1.0}
    change = []
    for outcome in (1, 0):
        rows = stack(bandit_columns((0, 0), (outcome, outcome)))
        *_, last = plain(model, Bandit(), values, rows.of(0))
        change.append(float(last.before.q[0]) - settled)
    assert p * change[0] + (1 - p) * change[1] == pytest.approx(0, abs=1e-15)
    # Wherever it starts, the mean over many sequences is there after 400 trials.
    outcomes = np.random.default_rng(7).random((400, 401)) < p
    rows = stack(*[bandit_columns([0] * 401, list(r.astype(float))) for r in outcomes])
    far = find("q_learning", q0=0.0).with_(dual_alpha())
    log_odds = run_filter(far, Bandit(), values, rows)["choice"][400::401]
    q = np.log(1 / np.expm1(-log_odds))  # beta is 1 and the other value 0
    assert q.mean() == pytest.approx(settled, abs=4 * q.std() / 20)


def transfer(model, parameters, **options):
    """Choose-A and avoid-B of many agents who trained on three pairs."""
    made = fitrl.simulate(
        model,
        subjects=150,
        trials=260,
        options=options,
        parameters=parameters,
        environment=Pairs(transfer=60),
        random_seed=2,
    )
    return choose_avoid(made.trials.frame, 0, 1)["mean"].to_numpy()


def test_go_learners_choose_a_and_nogo_learners_avoid_b():
    rest = {"alpha_c": 0.1, "beta": 1.5}
    go, nogo = (transfer("opal", rest | {"alpha_g": g, "alpha_n": n}) for g, n in ((0.3, 0.05), (0.05, 0.3)))
    assert go[0] - go[1] > 0.05
    assert nogo[1] - nogo[0] > 0.03


def test_two_rates_turn_the_difference_round():
    """Fast learning from gains lifts all values towards 1, where good options differ less than bad ones."""
    model = find("q_learning").with_(dual_alpha())
    go, nogo = (transfer(model, {"beta": 4.0, "alpha_pos": p, "alpha_neg": n}) for p, n in ((0.4, 0.05), (0.05, 0.4)))
    assert go[1] - go[0] > 0.05
    assert nogo[0] - nogo[1] > 0.03
    # As the settled values say: A stands .97, C .95 and E .92, but D .77 and B .67.
    settled = {p: 0.4 * p / (0.4 * p + 0.05 * (1 - p)) for p in (0.8, 0.7, 0.3, 0.2)}
    assert settled[0.8] - settled[0.7] < (settled[0.3] - settled[0.2]) / 3


def test_dopamine_at_choice_favours_a_over_avoiding_b():
    rest = {"alpha_c": 0.1, "alpha_a": 0.15, "beta": 1.5}
    low, high = (transfer("opal", rest | {"rho_da": rho}, asymmetry="choice") for rho in (-0.6, 0.6))
    assert (high[0] - high[1]) - (low[0] - low[1]) > 0.05


# Training, then transfer ---------------------------------------------------------------------------------


def held_out():
    """The shipped data, its transfer choices not scored."""
    frame = datasets.load("selection").original.copy()
    return frame.assign(mask_choice=(frame["outcome"] != "").astype(int))


def test_transfer_choices_can_be_held_out_of_the_fit():
    frame = held_out()
    trials, alone = fitrl.read_trials(frame), fitrl.read_trials(frame[frame["mask_choice"] == 1])
    assert any("the choice is not scored, but predicted" in problem.message for problem in trials.problems)
    assert trials.frame["mask_choice"].sum() == alone.frame["mask_choice"].sum() == len(alone.frame)
    fits = [fitrl.fit("opal", t, quick=True, pooling="complete", random_seed=1) for t in (trials, alone)]
    estimates = [fit.idata["posterior"]["alpha_g"].mean().item() for fit in fits]
    assert estimates[0] == pytest.approx(estimates[1], abs=1e-6)
    table = fitrl.latents(fits[0])
    transfer = trials.frame["mask_choice"] == 0
    assert table.loc[transfer, ["g_A_mean", "n_B_mean", "p_choice_mean"]].notna().all().all()
    still = table[transfer].groupby("subject", sort=False)["g_A_mean"].agg(np.ptp)
    assert still.max() == pytest.approx(0, abs=1e-12)  # nothing is learned in transfer
