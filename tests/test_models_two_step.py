"""The two-step family: trials computed by hand, interpreters that agree, files as labs have them, agents."""

import math
from pathlib import Path

import matplotlib as mpl
import model_checks as checks
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from example_models import TwoStep as OwnTwoStep
from example_models import TwoStepWorld
from hand_computed import log_p
from interpreters import run_filter, stack

mpl.use("agg")
import matplotlib.pyplot as plt

import fitrl
from fitrl.engine.layout import lay_out
from fitrl.errors import DataError, ModelError
from fitrl.fitting.fit import Fit, _parameter_specs
from fitrl.fitting.predict import predict
from fitrl.fitting.spec import FitSpec
from fitrl.fitting.verdict import Verdict
from fitrl.hierarchy.links import link_of
from fitrl.hierarchy.plan import make_plan
from fitrl.hierarchy.priors import resolve_priors
from fitrl.language.traits import lapse
from fitrl.models import find
from fitrl.show import report
from fitrl.tasks import NotReplayable, TwoStep, TwoStepKool
from fitrl.tasks.signatures import stay_by_transition

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
DAW = TwoStep(2, ("1", "2"), codings=dict.fromkeys(("choice1", "state2", "choice2"), ("1", "2")))
KOOL = TwoStepKool(4, ("1", "2", "3", "4"), has_sides=True)


# Option 0, its own state, second option, 1; option 0, the other state, first option, 0; option 1, its own, first, 1.
TRIALS = ((0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 0, 1))
SPLIT = {"beta_mb": 2.0, "beta_mf": 3.0, "beta_2": 4.0, "alpha": 0.5, "lam": 0.6, "kappa": 0.2}
HYBRID = {"alpha_1": 0.5, "alpha_2": 0.25, "beta_1": 2.0, "beta_2": 4.0, "lam": 0.6, "w_mb": 0.4}


def split():
    first = [
        log_p(0, 0, 0),
        # Q2 = [[.5, .75], [.5, .5]]; Q_mf[0] = .5 + .5 (0 + .6 * .5) = .65; Q_mb = .7 * .75 + .3 * .5 = .675, .575
        log_p(0, 2 * 0.675 + 3 * 0.65 + 0.2, 2 * 0.575 + 3 * 0.5),
        # errors .5 - .65 = -.15 and 0 - .5: Q_mf[0] = .65 + .5 (-.15 - .3) = .425; Q2[1, 0] = .25, the best stays .5
        log_p(1, 2 * 0.675 + 3 * 0.425 + 0.2, 2 * 0.575 + 3 * 0.5),
    ]
    second = [log_p(1, 4 * 0.5, 4 * 0.5), log_p(0, 4 * 0.5, 4 * 0.5), log_p(0, 4 * 0.25, 4 * 0.5)]
    return find("two_step_split"), SPLIT, TRIALS, DAW, first, second


def split_two_rates_counted():
    # Two options, counted: agreement +1 after trial 1, so T = .7; 0 after trial 2, so .5.
    first = [
        log_p(0, 0, 0),
        # Q2[0, 1] = .5 + .25 * .5 = .625; Q_mb = .7 * .625 + .3 * .5 = .5875, .5375; Q_mf[0] = .5 + .5 * .3 = .65
        log_p(0, 2 * 0.5875 + 3 * 0.65 + 0.2, 2 * 0.5375 + 3 * 0.5),
        # T = .5: both Q_mb alike; Q_mf[0] = .65 + .5 (-.15 - .3) = .425
        log_p(1, 3 * 0.425 + 0.2, 3 * 0.5),
    ]
    second = [log_p(1, 2.0, 2.0), log_p(0, 2.0, 2.0), log_p(0, 4 * 0.375, 4 * 0.5)]  # Q2[1, 0] = .5 - .25 * .5
    model = find("two_step_split", rates="two", transitions="counted")
    return model, {**SPLIT, "alpha_2": 0.25}, TRIALS, DAW, first, second


def daw():
    first = [
        log_p(0, 0, 0),
        # From 0: Q2[0, 1] = .25; Q_mf[0] = .5 (0 + .6 * 1) = .3; Q_mb = .7 * .25 = .175, .3 * .25 = .075
        log_p(0, 2 * (0.4 * 0.175 + 0.6 * 0.3 + 0.1), 2 * (0.4 * 0.075)),
        # errors 0 - .3 and 0 - 0: Q_mf[0] = .3 + .5 * -.3 = .15; Q2[1, 0] = 0
        log_p(1, 2 * (0.4 * 0.175 + 0.6 * 0.15 + 0.1), 2 * (0.4 * 0.075)),
    ]
    second = [log_p(1, 0, 0), log_p(0, 0, 0), log_p(0, 0, 0)]
    return find("two_step_daw"), {**HYBRID, "persev": 0.1}, TRIALS, DAW, first, second


def daw_back_in_a_state():
    trials = ((0, 0, 1), (0, 0, 1), (1, 1, 0), (1, 0, 1))
    first = [
        log_p(0, 0, 0),
        log_p(0, 2 * (0.4 * 0.175 + 0.6 * 0.3 + 0.1), 2 * (0.4 * 0.075)),
        # errors .25 - .3 = -.05 and 0 - .25: Q_mf[0] = .3 + .5 (-.05 - .15) = .2; Q2[0, 1] = .1875
        log_p(1, 2 * (0.4 * 0.7 * 0.1875 + 0.6 * 0.2 + 0.1), 2 * 0.4 * 0.3 * 0.1875),
    ]
    second = [log_p(1, 0, 0), log_p(1, 0, 4 * 0.25), log_p(0, 0, 4 * 0.1875)]
    trials = ((0, 0, 1), (0, 0, 0), (1, 1, 0), (1, 0, 1))
    return find("two_step_daw"), {**HYBRID, "persev": 0.1}, trials, DAW, first, second


def hbayesdm():
    # As in daw, but the error of the eligibility step is 1 - .25 = .75: Q_mf[0] = 0 + .6 * .5 * .75 = .225.
    first = [
        log_p(0, 0, 0),
        log_p(0, 2 * (0.4 * 0.175 + 0.6 * 0.225) + 0.2, 2 * (0.4 * 0.075)),
        # Q_mf[0] = .225 + .5 (0 - .225) = .1125
        log_p(1, 2 * (0.4 * 0.175 + 0.6 * 0.1125) + 0.2, 2 * (0.4 * 0.075)),
    ]
    second = [log_p(1, 0, 0), log_p(0, 0, 0), log_p(0, 0, 0)]
    return find("two_step_hbayesdm"), {**HYBRID, "kappa": 0.2}, TRIALS, DAW, first, second


def kool():
    # Start 0, option 0 (left key), pays 1; start 1, option 3 (right key), pays 0; start 0, option 0 stands right.
    parameters = {"beta": 2.0, "alpha": 0.5, "lam": 0.6, "w_mb": 0.4, "pi_stim": 0.1, "rho_resp": 0.3}
    first = [
        log_p(0, 0, 0),
        # Q2 = [.75, .5]; Q_mf[0] = .65; options 2 and 3 lead to 0 and 1; option 2 stands left, where the key was
        log_p(1, 2 * (0.4 * 0.75 + 0.6 * 0.5 + 0.3), 2 * (0.4 * 0.5 + 0.6 * 0.5)),
        # Q2 = [.75, .25]; Q_mf[3] = .5 + .5 (0 - .6 * .5) = .35; option 1 stands left, the last key was right
        log_p(0, 2 * (0.4 * 0.75 + 0.6 * 0.65 + 0.3), 2 * (0.4 * 0.25 + 0.6 * 0.5)),
        # errors .75 - .65 = .1 and 1 - .75 = .25: Q_mf[0] = .65 + .5 (.1 + .15) = .775; Q2[0] = .875; option 0 was
        # chosen last, at the right key, and stands there again
        log_p(0, 2 * (0.4 * 0.875 + 0.6 * 0.775 + 0.1 + 0.3), 2 * (0.4 * 0.25 + 0.6 * 0.5)),
    ]
    trials = ((0, 3, 0, 0), (0, 1, 0, 0), (None,) * 4, (1, 0, 1, 1), {"left": (0, 2, 1, 1), "state1": (0, 1, 0, 0)})
    return find("two_step_kool"), parameters, trials, KOOL, first, None


def kool_split():
    # As in kool: slopes are 2 * .4 and 2 * (1 - .4); repetition, inside beta there, is twice as large here.
    _, _, trials, task, first, _ = kool()
    parameters = {"beta_mb": 0.8, "beta_mf": 1.2, "alpha": 0.5, "lam": 0.6, "pi_stim": 0.2, "rho_resp": 0.6}
    return find("two_step_kool_split"), parameters, trials, task, first, None


CASES = {f.__name__: f for f in (split, split_two_rates_counted, daw, daw_back_in_a_state, hbayesdm, kool, kool_split)}


def rows_of(trials, task):
    """Canonical columns of a case."""
    if task is not KOOL:
        return stack(checks.two_step_columns(*trials))
    choice1, state2, _, outcome, more = trials
    start = np.array(more["state1"])
    table = checks.two_step_columns(choice1, state2, (0,) * len(choice1), outcome, **more)
    table = {name: column for name, column in table.items() if "choice2" not in name}
    return stack(table | {"offer_1": 2 * start, "offer_2": 2 * start + 1})


@pytest.mark.parametrize("interpreter", checks.INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name, interpreter):
    model, parameters, trials, task, first, second = CASES[name]()
    expected = {"choice1": first} | ({} if second is None else {"choice2": second})
    checks.compare_by_hand(interpreter, model, task, parameters, rows_of(trials, task), **expected)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("name", ["split", "split_two_rates_counted", "daw", "hbayesdm"])
def test_a_missed_response_teaches_nothing(name, stage):
    """The trial after a miss is as if the missed one had not been, but for a first choice, which is remembered."""
    model, parameters, trials, task, first, second = CASES[name]()
    # A row without a response comes between the first and the second.
    missed = checks.insert(1, trials, (None if stage == 1 else 0, 1, None, None))
    rows = rows_of(missed, task)
    found = run_filter(model, task, parameters, rows)
    keep = np.array([0, 2, 3])
    np.testing.assert_allclose(found["choice1"][keep], first, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["choice2"][keep], second, rtol=0, atol=1e-12)
    assert found["choice1"][1] == pytest.approx(first[1])  # same values, same choice: scored where it was made
    assert rows.columns["mask_choice1"][1] == (stage == 2)
    switched = rows_of(((0, 1, 0, 1), missed[1], (1, None, 0, 0), missed[3]), task)
    after = run_filter(model, task, parameters, switched)["choice1"][2]
    assert (after < first[1]) == (parameters.get("kappa", 0.1) > 0)  # the unrewarded switch is the last choice now


EVERY = {
    "split": (find("two_step_split"), DAW),
    "split_counted": (find("two_step_split", transitions="counted"), DAW),
    "split_two_rates": (find("two_step_split", rates="two"), DAW),
    "split_lapse": (find("two_step_split").with_(lapse()), DAW),
    "daw": (find("two_step_daw"), DAW),
    "hbayesdm": (find("two_step_hbayesdm"), DAW),
    "kool": (find("two_step_kool"), KOOL),
    "kool_split": (find("two_step_kool_split"), KOOL),
    "kool_without_sides": (find("two_step_kool"), TwoStepKool(4, ("1", "2", "3", "4"), leads_to=(1, 0, 0, 1))),
}


@checks.KERNELS
@pytest.mark.parametrize("name", EVERY)
def test_kernel_agrees(name, kind, lengths):
    checks.compare_kernel(kind, *checks.random_situation(*EVERY[name], lengths, checks.random_two_step_rows))


def test_sides_decide_about_a_parameter():
    assert "rho_resp" in find("two_step_kool").fitted(KOOL)
    assert "rho_resp" not in find("two_step_kool").fitted(TwoStepKool())


def test_links_of_the_preset():
    found = resolve_priors(find("two_step_hbayesdm"), DAW, "hbayesdm")
    assert {name: (p.link, p.upper) for name, p in found.items()} == {
        **dict.fromkeys(("alpha_1", "alpha_2", "w_mb", "lam"), ("probit_approx", 1.0)),
        **dict.fromkeys(("beta_1", "beta_2"), ("log", math.inf)),
        "kappa": ("probit_approx", 5.0),
    }
    assert {str(p.location) for p in found.values()} == {"normal(0, 1)"}


# Files -----------------------------------------------------------------------------------------------


def lab(n=40, **changes):
    """A file of Daw's task: 1 and 2 for everything."""
    rng = np.random.default_rng(5)
    choice1, common = rng.integers(1, 3, n), rng.random(n) < 0.7
    frame = {
        "subject": 1,
        "choice1": choice1,
        "state2": np.where(common, choice1, 3 - choice1),
        "choice2": rng.integers(1, 3, n),
        "reward": rng.integers(0, 2, n),
    }
    return pd.DataFrame(frame | changes)


def test_options_that_are_numbered_through_name_their_state():
    frame = lab()
    through = frame.assign(choice2=2 * (frame["state2"] - 1) + frame["choice2"])
    plain = fitrl.read_trials(frame, "two_step_split").frame
    names = ["choice1", "state2", "choice2", "outcome"]
    for other in (through, through.drop(columns="state2")):
        pd.testing.assert_frame_equal(fitrl.read_trials(other, "two_step_split").frame[names], plain[names])
    renamed = through.drop(columns="state2").rename(columns={"choice1": "level1_choice", "choice2": "level2_choice"})
    assert fitrl.read_trials(renamed, "two_step_split").task.codings["state2"] == ("1", "2")


def test_letters_take_their_place_within_the_state():
    frame = lab()
    letters = np.array([["x", "b"], ["a", "y"]])[frame["state2"] - 1, frame["choice2"] - 1]
    found = fitrl.read_trials(frame.assign(choice2=letters), "two_step_split").frame
    # Within a state the alphabet decides: b before x, a before y.
    expected = np.where(frame["state2"] == 1, 2 - frame["choice2"], frame["choice2"] - 1)
    assert found["choice2"].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state2": 3 - lab()["state2"]}, "--codes state2=2,1"),
        ({"state2": 1}, "state2 has 1 values"),
        ({"choice2": np.arange(40) % 3 + 1}, "choice2 has 3 values"),
        ({"choice2": np.arange(40) % 4 + 1}, "each should belong to one state2"),
        ({"choice1": np.arange(40) % 3 + 1}, "choice1 has 3 values"),
    ],
)
def test_files_that_are_no_two_step_task(changes, message):
    with pytest.raises(DataError, match=message):
        fitrl.read_trials(lab(**changes), "two_step_split")


def test_a_file_without_states_needs_them():
    with pytest.raises(DataError, match="--column state2=NAME"):
        fitrl.read_trials(lab().drop(columns="state2"), "two_step_split")


def test_turned_states_can_be_turned_round():
    frame = lab()
    turned = frame.assign(state2=3 - frame["state2"])
    found = fitrl.read_trials(turned, "two_step_split", codes={"state2": ["2", "1"]}).frame
    assert (found["state2"] == frame["state2"] - 1).all()


def test_a_miss_at_either_stage_in_a_file():
    frame = lab().astype({"choice1": object, "choice2": object, "state2": object, "reward": object})
    frame.loc[3, ["choice1", "state2", "choice2", "reward"]] = ""
    frame.loc[5, ["choice2", "reward"]] = ""
    found = fitrl.read_trials(frame, "two_step_split").frame
    assert found["mask_choice1"][[3, 5]].tolist() == [False, True]
    assert found["mask_choice2"][[3, 5]].tolist() == [False, False]
    assert found["mask_update"][[3, 4, 5]].tolist() == [False, True, False]


def kool_file(within: bool):
    made = fitrl.simulate("two_step_kool", subjects=2, trials=60, random_seed=2)
    frame = made.frame.astype(dict.fromkeys(("state1", "choice1", "left", "state2"), int))
    if within:
        frame[["choice1", "left"]] = (frame[["choice1", "left"]] - 1) % 2 + 1
    return frame


def test_options_within_a_start_state():
    through, within = (fitrl.read_trials(kool_file(w), "two_step_kool") for w in (False, True))
    assert within.task.labels == ("1:1", "1:2", "2:1", "2:2")
    names = ["state1", "choice1", "left", "state2", "offer_1", "offer_2"]
    pd.testing.assert_frame_equal(within.frame[names], through.frame[names])
    derived = fitrl.read_trials(kool_file(False).drop(columns=["state1", "left"]), "two_step_kool")
    assert (derived.frame["offer_1"] == through.frame["offer_1"]).all()
    assert not derived.task.has_sides


def test_transitions_of_kool_are_learned_from_the_file_and_certain():
    frame = kool_file(False)
    second = frame["choice1"] > 2
    turned = frame.assign(state2=np.where(second, 3 - frame["state2"], frame["state2"]))
    assert fitrl.read_trials(turned, "two_step_kool").task.leads_to == (0, 1, 1, 0)
    frame.loc[0, "state2"] = 3 - frame.loc[0, "state2"]
    with pytest.raises(DataError, match="leads to both goal states"):
        fitrl.read_trials(frame, "two_step_kool")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared folder beside the clone")
def test_shared_files():
    daw = fitrl.read_trials(SHARED / "hbayesdm_ts.txt", "two_step_hbayesdm").frame
    assert (daw["state2"] == daw["choice1"]).mean() == pytest.approx(0.7068, abs=1e-4)
    kool = fitrl.read_trials(SHARED / "mikus2025_testosterone.csv", "two_step_kool", outcome_scale=5)
    assert kool.task.has_sides
    assert kool.task.leads_to == (0, 1, 0, 1)


# Agents ----------------------------------------------------------------------------------------------

NEUTRAL = {"beta_2": 4.0, "alpha": 0.5, "lam": 0.8, "kappa": 0.0}


def interactions(beta_mb, beta_mf):
    """Effect of reward, and of reward by transition, on staying."""
    made = fitrl.simulate(
        "two_step_split",
        subjects=100,
        trials=200,
        parameters=NEUTRAL | {"beta_mb": beta_mb, "beta_mf": beta_mf},
        random_seed=4,
    )
    p = stay_by_transition(made.trials.frame).set_index("x")["mean"]
    common, rare = (p[f"reward, {t}"] - p[f"no reward, {t}"] for t in ("common", "rare"))
    return common + rare, common - rare


def test_model_free_agents_stay_after_reward_and_model_based_ones_by_transition():
    reward, interaction = interactions(0.0, 4.0)
    assert reward > 0.3
    assert abs(interaction) < 0.05
    reward, interaction = interactions(4.0, 0.0)
    assert interaction > 0.3
    assert abs(reward) < 0.15  # payoffs drift, so that a good state stays good


def test_transitions_and_payoffs_of_the_world():
    frame = fitrl.simulate("two_step_daw", subjects=50, trials=200, random_seed=1).frame
    assert (frame["state2"] == frame["choice1"]).mean() == pytest.approx(0.7, abs=0.015)
    payoffs = frame[[f"payoff_{k}" for k in range(1, 5)]].to_numpy()
    assert payoffs.min() >= 0.25
    assert payoffs.max() <= 0.75
    option = 2 * (frame["state2"].astype(int) - 1) + frame["choice2"].astype(int) - 1
    paid = payoffs[np.arange(len(frame)), option]
    assert (frame["outcome"] - paid).mean() == pytest.approx(0.0, abs=0.015)


def test_an_environment_without_four_payoffs_is_refused():
    with pytest.raises(ModelError, match="needs 4"):
        fitrl.simulate("two_step_daw", subjects=2, trials=5, environment=fitrl_pairs())
    with pytest.raises(ModelError, match="reversing"):
        fitrl.simulate("two_step_daw", subjects=2, trials=5, environment="reversing")


def fitrl_pairs():
    from fitrl.tasks.environments import Drifting

    return Drifting(2)


def test_stay_by_transition_by_hand():
    choices, states, outcomes = (0, 0, 1, 1, None, 0), (0, 1, 1, 1, 0, 0), (1, 0, 1, 0, None, 1)
    frame = pd.DataFrame(checks.two_step_columns(choices, states, (0,) * 6, outcomes))
    frame = frame.assign(subject_idx=0, outcome_given=[True] * 4 + [False, True])
    table = stay_by_transition(frame).set_index("x")["mean"]
    # Trial 1 (reward, common): stayed. Trial 2 (no reward, rare): left. Trial 3 (reward, common): stayed.
    assert table["reward, common"] == 1.0
    assert table["no reward, rare"] == 0.0
    assert np.isnan(table["reward, rare"])
    assert np.isnan(table["no reward, common"])  # the miss after trial 4 does not count
    predicted = stay_by_transition(frame, predicted=np.array([0, 1, 1, 1, 0, 0])).set_index("x")["mean"]
    assert predicted["reward, common"] == 0.5


# What a fit says ---------------------------------------------------------------------------------------


def known_fit(name, scale=1.0, n_draws=30, **options):
    """A fit whose draws all stand at the truth; nothing is compiled or sampled."""
    made = fitrl.simulate(name, subjects=6, trials=150, options=options, random_seed=8)
    frame = made.frame.assign(outcome=made.frame["outcome"] * scale)
    trials = fitrl.read_trials(frame, made.model, outcome_scale=scale)
    plan = make_plan(made.model, trials)
    draws = {}
    for parameter, p in plan.parameters.items():
        values = made.truth.query("parameter == @parameter").set_index("subject")["value"][trials.subjects].to_numpy()
        draws[parameter] = (("chain", "draw", "subject"), np.broadcast_to(values, (2, n_draws, len(values))).copy())
        mu = float(link_of(np.median(values), p.link, p.lower, p.upper))
        draws[f"{parameter}_mu"] = (("chain", "draw"), np.full((2, n_draws), mu))
        draws[f"{parameter}_sigma"] = (("chain", "draw"), np.full((2, n_draws), 0.5))
    posterior = xr.Dataset(draws, coords={"chain": [0, 1], "draw": range(n_draws), "subject": trials.subjects})
    spec = FitSpec(
        name, None, (), dict(made.model.options), _parameter_specs(plan), "partial", {}, "default", False, 1, {},
        (), {}, {},
    )  # fmt: skip
    verdict = Verdict("converged", (), 2, n_draws)
    return made, Fit(spec, trials, xr.DataTree.from_dict({"posterior": posterior}), verdict)


def test_predictions_of_both_choices():
    _, fit = known_fit("two_step_split")
    found = predict(fit, draws=40)
    assert found.free is not None
    table = fitrl.latents(fit)
    for name in ("choice1", "choice2"):
        assert found.one_step[name].shape == (40, len(fit.trials.frame))
        agreed = (found.one_step[name] == fit.trials.frame[name].to_numpy()).mean(axis=0)
        # A choice is predicted as often as it is probable; all draws stand at the same values.
        assert agreed.mean() == pytest.approx(table[f"p_{name}_mean"].mean(), abs=0.015)
        assert np.corrcoef(agreed, table[f"p_{name}_mean"])[0, 1] > 0.8
    kool = known_fit("two_step_kool")[1]
    offers = kool.trials.frame[["offer_1", "offer_2"]].to_numpy()
    predicted = predict(kool, draws=5)
    for drawn in (predicted.one_step["choice1"], predicted.free["choice1"]):
        assert ((drawn == offers[:, 0]) | (drawn == offers[:, 1])).all()


def test_latents_of_both_stages():
    _, fit = known_fit("two_step_split", scale=10.0)
    table = fitrl.latents(fit)
    frame = fit.trials.frame
    rpe_2 = frame["outcome"] - _cell(table, "q2", frame["state2"], frame["choice2"]) / 10
    np.testing.assert_allclose(table["rpe_2_mean"] / 10, rpe_2, atol=1e-9)  # in the user's unit
    assert {"q_mb_1_mean", "q_mf_2_mean", "p_choice1_mean", "p_choice2_mean"} <= set(table.columns)


def _cell(table, name, first, second):
    cells = np.array([[table[f"{name}_{i},{j}_mean"] for j in (0, 1)] for i in (0, 1)])
    return cells[first, second, np.arange(len(table))]


def test_the_figure_of_stay_probabilities(tmp_path, monkeypatch):
    _, fit = known_fit("two_step_daw")
    seen = {}
    draw = report.behaviour.plot_stay
    monkeypatch.setattr(report.behaviour, "plot_stay", lambda **kw: (seen.update(kw), draw(**kw))[1])
    fitrl.plot_stay(fit)
    expected = stay_by_transition(fit.trials.frame)
    pd.testing.assert_frame_equal(seen["observed"], expected)
    band = seen["one_step"]
    inside = (band["lower"] - 0.03 <= expected["mean"]) & (expected["mean"] <= band["upper"] + 0.03)
    assert inside.all()
    assert "stay" in report._figures(fit)
    assert "stay" in report._figures(known_fit("two_step_kool")[1])
    plt.close("all")


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_derived_quantities(scale):
    made, fit = known_fit("two_step_split", scale=scale)
    table = fitrl.derived(fit)
    truth = made.truth.pivot(index="subject", columns="parameter", values="value").loc[fit.trials.subjects]
    w = (truth["beta_mb"] / (truth["beta_mb"] + truth["beta_mf"])).to_numpy()
    own = table[table["subject"] != ""]
    np.testing.assert_allclose(own["median"], w)
    medians = truth[["beta_mb", "beta_mf"]].median()
    population = table[table["subject"] == ""]["median"].item()
    assert population == pytest.approx(medians["beta_mb"] / medians.sum())


def test_derived_quantities_are_in_the_users_unit():
    made, fit = known_fit("two_step_kool", scale=10.0)
    table = fitrl.derived(fit).query("quantity == 'beta_mb' and subject != ''")
    truth = made.truth.pivot(index="subject", columns="parameter", values="value").loc[fit.trials.subjects]
    np.testing.assert_allclose(table["median"], truth["beta"] * truth["w_mb"] / 10)
    daw = known_fit("two_step_daw", scale=10.0)
    kappa = fitrl.derived(daw[1]).query("subject != ''")["median"]
    truth = daw[0].truth.pivot(index="subject", columns="parameter", values="value").loc[daw[1].trials.subjects]
    np.testing.assert_allclose(kappa, truth["beta_1"] * truth["persev"])  # logits have no unit of outcomes


def test_a_task_of_ones_own_is_simulated_in_a_world_of_ones_own():
    with pytest.raises(ModelError, match="no environment of its own"):
        fitrl.simulate(OwnTwoStep, subjects=4, trials=20)
    world = TwoStepWorld(20, 4, np.random.default_rng(1))
    made = fitrl.simulate(OwnTwoStep, subjects=4, trials=20, environment=world, random_seed=1)
    assert list(made.frame) == ["subject", "trial", "choice1", "state2", "choice2", "outcome"]
    assert made.trials.n_subjects == 4


def test_payoffs_of_goal_states_are_met_again():
    made = fitrl.simulate("two_step_kool", subjects=4, trials=50, random_seed=1)
    frame = made.trials.frame
    layout = lay_out(frame["sequence"].to_numpy())
    columns = {name: frame[name].to_numpy()[layout.rows] for name in frame if name != "subject"}
    columns["mask_update"] = columns["mask_update"] & layout.filled
    task, choices = made.trials.task, {"choice1": np.tile(columns["choice1"], 3)}

    def answers(world, name):
        return np.stack([world.at(i).answer(name, {k: v[i] for k, v in choices.items()}) for i in range(50)])

    bare = {name: values for name, values in columns.items() if not name.startswith("payoff")}
    for given in (columns, bare):
        world = task.replay(given, 3, np.random.default_rng(1))
        np.testing.assert_array_equal(answers(world, "state2"), np.tile(columns["state2"], 3))
        np.testing.assert_allclose(answers(world, "outcome"), np.tile(columns["outcome"], 3))
    assert world.points.min() == columns["outcome"].min()
    assert world.points.max() == columns["outcome"].max()
    assert len(np.unique(world.points)) > 500  # drawn in between, for each agent
    other = {**columns, "payoff_1": 1 - columns["payoff_1"]}
    with pytest.raises(NotReplayable, match="not the outcomes"):
        task.replay(other, 3, np.random.default_rng(1))
    never = {**bare, "state2": np.zeros_like(bare["state2"])}
    with pytest.raises(NotReplayable, match='never went to goal state "2"'):
        task.replay(never, 3, np.random.default_rng(1))
    made_up = task.replay(never, 3, np.random.default_rng(1), environment="fixed")
    assert made_up.simulated == "schedule simulated"
