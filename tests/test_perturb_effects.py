"""What a perturbation does to parameters, by hand; designs; signatures and look-alikes on small simulations."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_perturb_phases import Gain, Pinned

import fitrl
from fitrl import Moderator, Perturbation, Target, population
from fitrl.errors import ModelError
from fitrl.language import Model, State, positive, softmax, unit
from fitrl.perturb.lookalikes import lookalikes
from fitrl.perturb.signatures import compare_signatures, dose_response, signatures_of
from fitrl.tasks import Bandit

USER_MODELS = Path(__file__).parent / "user_models"

SMALL = {"subjects": 4, "trials": 12, "random_seed": 1}


def drug(*targets, **settings):
    return Perturbation("drug", targets, **settings)


def changed(people, *perturbations):
    return people.with_(*perturbations).perturbed


def by_hand(theta, delta, link="logit"):
    if link == "log":
        return theta * math.exp(delta)
    return 1 / (1 + math.exp(-(math.log(theta / (1 - theta)) + delta)))


def test_shifts_are_added_on_the_link():
    people = population("q_learning", parameters={"alpha": 0.3, "beta": 2.0}, **SMALL)
    found = changed(people, drug(Target("alpha", 0.5), Target("beta", -0.46)))
    np.testing.assert_allclose(found.agents.values["alpha"], by_hand(0.3, 0.5), rtol=1e-14)
    np.testing.assert_allclose(found.agents.values["beta"], 2 * math.exp(-0.46), rtol=1e-14)
    assert found.learning == {}


def test_sd_units_are_those_of_the_population():
    people = population("q_learning", **SMALL)
    # alpha is usual from .05 to .6: its central 95 % on the logit scale.
    sd = (math.log(0.6 / 0.4) - math.log(0.05 / 0.95)) / (2 * 1.96)
    found = changed(people, drug(Target("alpha", -2.0, unit="sd")))
    expected = [by_hand(a, -2 * sd) for a in people.agents.values["alpha"]]
    np.testing.assert_allclose(found.agents.values["alpha"], expected, rtol=1e-12)


def test_sd_units_of_given_subjects_are_those_of_the_subjects():
    beta = np.array([1.0, 2.0, 4.0, 8.0])
    people = population("q_learning", parameters={"alpha": 0.3, "beta": beta}, **SMALL)
    sd = np.std(np.log(beta), ddof=1)
    found = changed(people, drug(Target("beta", 1.0, unit="sd")))
    np.testing.assert_allclose(found.agents.values["beta"], beta * math.exp(sd), rtol=1e-14)
    with pytest.raises(ModelError, match="does not vary"):
        people.with_(drug(Target("alpha", 1.0, unit="sd")))


def test_factors_act_on_the_natural_scale():
    people = population("q_learning", parameters={"alpha": 0.3, "beta": 2.0}, **SMALL)
    found = changed(people, drug(Target("alpha", 0.5, mode="scale"), Target("beta", 1.5, mode="scale")))
    np.testing.assert_allclose(found.agents.values["alpha"], 0.15, rtol=1e-14)
    np.testing.assert_allclose(found.agents.values["beta"], 3.0, rtol=1e-14)
    with pytest.raises(ModelError, match="outside of its range 0 to 1"):
        people.with_(drug(Target("alpha", 4.0, mode="scale")))


def test_a_full_lesion_sets_a_value():
    people = population("two_step_split", **SMALL)
    found = changed(people, drug(Target("beta_mb", 0.0, mode="set")))
    np.testing.assert_array_equal(found.agents.values["beta_mb"], 0.0)
    assert people.with_(drug(Target("beta_mb", 0.0, mode="set"))).simulate().frame.shape[0] == 48
    with pytest.raises(ModelError, match="outside of its range 0 to 1"):
        people.with_(drug(Target("alpha", 1.5, mode="set")))


def test_no_change_is_bit_for_bit_no_change():
    people = population("q_learning", traits=["stickiness"], environment="reversing", **SMALL)
    nothing = fitrl.simulate("q_learning", traits=["stickiness"], environment="reversing", **SMALL)
    for none in (
        people,
        people.with_(drug(Target("alpha", 0.0), Target("beta", 0.0, unit="sd"))),
        people.with_(drug(Target("beta", 1.0, mode="scale"))),
        people.with_(drug(Target("alpha", 0.7), phase="learn").scaled(0.0)),
    ):
        made = none.simulate()
        pd.testing.assert_frame_equal(made.frame, nothing.frame, check_exact=True)
        pd.testing.assert_frame_equal(made.truth, nothing.truth, check_exact=True)


def test_no_change_of_one_phase_is_bit_for_bit_no_change():
    values = {"gain": 0.4, "beta": 5.0, "first": 0.5}
    people = population(Gain, parameters=values, **SMALL)
    made = people.with_(drug(Target("gain", 0.0), phase="learn")).simulate()
    pd.testing.assert_frame_equal(made.frame, fitrl.simulate(Gain, parameters=values, **SMALL).frame, check_exact=True)


def test_shifts_commute_and_add_up():
    people = population("q_learning", **SMALL)
    one = Perturbation("one", (Target("alpha", 0.3, sd_delta=0.2),))
    two = Perturbation("two", (Target("alpha", -1.1), Target("beta", 1.25, mode="scale", sd_delta=0.1)))
    there, back = people.with_(one).with_(two).simulate(), people.with_(two, one).simulate()
    pd.testing.assert_frame_equal(there.frame, back.frame, check_exact=True)
    pd.testing.assert_frame_equal(there.truth, back.truth, check_exact=True)
    sum_of_both = changed(people, drug(Target("alpha", 0.3), Target("alpha", -1.1)))
    expected = [by_hand(a, -0.8) for a in people.agents.values["alpha"]]
    np.testing.assert_allclose(sum_of_both.agents.values["alpha"], expected, rtol=1e-12)


def test_a_phase_of_a_quantity_in_both_is_split():
    people = population(Gain, parameters={"gain": 0.4, "beta": 5.0, "first": 0.5}, **SMALL)
    learns = changed(people, drug(Target("gain", 1.0), phase="learn"))
    np.testing.assert_array_equal(learns.agents.values["gain"], 0.4)
    np.testing.assert_allclose(learns.learning["gain"], by_hand(0.4, 1.0), rtol=1e-14)
    apart = changed(people, drug(Target("gain", 1.0, phase="learn"), Target("gain", 0.9, mode="set", phase="choose")))
    np.testing.assert_array_equal(apart.agents.values["gain"], 0.9)
    np.testing.assert_allclose(apart.learning["gain"], by_hand(0.4, 1.0), rtol=1e-14)
    truth = people.with_(drug(Target("gain", 1.0), phase="learn")).simulate().truth
    assert set(truth["parameter"]) == {"gain", "gain@learn", "beta", "first"}


def test_a_pinned_parameter_takes_one_value_everywhere():
    people = population(Pinned, parameters={"gain": 0.4, "beta": 5.0, "first": 0.5}, **SMALL)
    found = changed(people, drug(Target("gain", 1.0), phase="learn"))
    np.testing.assert_allclose(found.agents.values["gain"], by_hand(0.4, 1.0), rtol=1e-14)
    assert found.learning == {}
    with pytest.raises(ModelError, match="phase learn only"):
        people.with_(drug(Target("gain", 1.0), phase="choose"))


def test_subjects_respond_differently_and_together():
    people = population("q_learning", **(SMALL | {"subjects": 4000, "trials": 1}))
    p = drug(Target("alpha", 0.5, sd_delta=0.4), Target("beta", 0.0, sd_delta=0.2), corr=((1, -0.8), (-0.8, 1)))
    alpha, beta = (effect.shift for effect in changed(people, p).effects)
    # Standard errors of mean, sd and correlation of 4,000: .006, .0045 and .006.
    np.testing.assert_allclose([alpha.mean(), alpha.std(), beta.std()], [0.5, 0.4, 0.2], atol=0.025)
    np.testing.assert_allclose(np.corrcoef(alpha, beta)[0, 1], -0.8, atol=0.025)


def test_a_moderator_scales_the_shift():
    span = np.array([-1.0, 0.0, 1.0, 2.0])
    people = population("q_learning", measures={"span": span}, **SMALL)
    p = drug(Target("alpha", -0.6), moderator=Moderator("span", 0.5, 0.5))
    (effect,) = changed(people, p).effects
    np.testing.assert_allclose(effect.shift, -0.6 * np.array([0.0, 0.5, 1.0, 1.5]), rtol=1e-15)


def test_freezing_stops_the_state_and_nothing_else():
    people = population("q_learning", traits=["stickiness"], subjects=300, trials=40, random_seed=2)
    frozen = people.with_(drug(Target("alpha", mode="freeze")))
    trials = frozen.simulate().trials
    correct = signatures_of(trials).query("signature == 'learning'")["mean"]
    # Values stay at q0, so that choices are symmetric; 1/2 within 4 standard errors of 12,000 sticky choices.
    assert abs(correct.mean() - 0.5) < 4 * 0.5 / math.sqrt(12_000 / 4)
    assert frozen.perturbed.agents.values["kappa"].tolist() == people.agents.values["kappa"].tolist()
    with pytest.raises(ModelError, match="beta drives no state"):
        people.with_(drug(Target("beta", mode="freeze")))


def test_dropping_takes_the_trait_away():
    people = population("q_learning", traits=["stickiness", "lapse"], **SMALL)
    without = people.with_(drug(Target("kappa", mode="drop")))
    assert without.perturbed.agents.model.describe() == "q_learning + lapse"
    assert "kappa" not in without.simulate().truth["parameter"].to_numpy()
    with pytest.raises(ModelError, match="belongs to the model itself"):
        people.with_(drug(Target("alpha", mode="drop")))
    dual = population("q_learning", traits=["dual_alpha"], **SMALL)
    with pytest.raises(ModelError, match="takes the place of another"):
        dual.with_(drug(Target("alpha_pos", mode="drop")))


@pytest.mark.parametrize(
    "other", [Target("alpha", 0.5), Target("alpha", 0.4, mode="set"), Target("alpha", mode="freeze")]
)
def test_what_overrides_does_not_combine(other):
    people = population("q_learning", **SMALL)
    with pytest.raises(ModelError, match="changed twice"):
        people.with_(drug(Target("alpha", 0.2, mode="set"), other))


def test_names_are_checked_against_the_model():
    split = population("two_step_split", **SMALL)
    with pytest.raises(ModelError, match="w_mb is derived in two_step_split, from beta_mb and beta_mf"):
        split.with_(drug(Target("w_mb", 0.5)))
    with pytest.raises(ModelError, match='Did you mean "beta_mb"'):
        split.with_(drug(Target("beta_mbb", 0.5)))
    with pytest.raises(ModelError, match=r"neither rho_rew nor what could stand in for it \(rho\)"):
        split.with_(drug(Target("rho_rew", 0.5, stand_ins=("rho",))))
    with pytest.raises(ModelError, match="lam acts in phase learn only"):
        split.with_(drug(Target("lam", 0.5), phase="choose"))
    (effect,) = changed(split, drug(Target("rho_rew", 0.5, stand_ins=("rho", "beta_2")), phase="learn")).effects
    assert (effect.param, effect.phase) == ("beta_2", "both")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"delta": None}, "needs a finite delta"),
        ({"delta": 0.5, "mode": "freeze"}, "takes no delta"),
        ({"delta": -1.0, "mode": "scale"}, "above 0"),
        ({"delta": 1.0, "mode": "set", "unit": "sd"}, "for shifts"),
        ({"delta": 1.0, "unit": "log"}, "link, sd"),
        ({"delta": 1.0, "phase": "train"}, "learn, choose, both"),
        ({"delta": 1.0, "mode": "set", "sd_delta": 0.1}, "sd_delta"),
        ({"mode": "freeze", "phase": "choose"}, "no phase choose"),
    ],
)
def test_targets_that_mean_nothing_are_refused(bad, message):
    with pytest.raises(ModelError, match=message):
        Target("alpha", **bad)


@pytest.mark.parametrize("corr", [((1, 0.5),), ((1, 0.5), (0.4, 1)), ((1, 1.5), (1.5, 1))])
def test_correlations_that_cannot_be_are_refused(corr):
    with pytest.raises(ModelError, match="corr"):
        drug(Target("alpha", 0.5), Target("beta", 0.5), corr=corr)


def test_a_perturbation_goes_through_json():
    p = Perturbation(
        "all of it",
        (Target("alpha", 0.5, unit="sd", sd_delta=0.1, stand_ins=("alpha_pos",)), Target("kappa", mode="drop")),
        phase="learn",
        corr=((1, 0.5), (0.5, 1)),
        moderator=Moderator("span", 0.2, 0.8),
        title="a title",
    )
    assert Perturbation.from_json(p.to_json()) == p
    people = population("q_learning", **SMALL)
    shift = drug(Target("alpha", 1 / 3), Target("beta", 0.1, mode="scale"))
    again = Perturbation.from_json(shift.to_json())
    pd.testing.assert_frame_equal(people.with_(shift).simulate().frame, people.with_(again).simulate().frame)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected names and values"),
        ('{"id": "x"}', "targets is missing"),
        ('{"id": "x", "targets": [{"param": "a", "dleta": 1}]}', 'Did you mean "delta"'),
        ('{"id": "x", "targets": [{"param": "a", "delta": "much"}]}', "delta is 'much'"),
        ('{"id": "x", "targets": [{"param": "a", "delta": true}]}', "delta is True"),
        ('{"id": "x", "targets": [{"delta": 1}]}', "target 1: param is missing"),
        ('{"id": "x", "targets": "alpha"}', "expected a list"),
    ],
)
def test_json_that_is_no_perturbation_is_refused(text, message):
    with pytest.raises(ModelError, match=message):
        Perturbation.from_json(text)


def test_a_dose_scales_the_effect():
    p = drug(Target("alpha", 0.5, sd_delta=0.2), Target("beta", 4.0, mode="scale"))
    half = p.scaled(0.5)
    assert [t.delta for t in half.targets] == [0.25, 2.0]
    assert half.targets[0].sd_delta == 0.1
    with pytest.raises(ModelError, match="has no dose"):
        drug(Target("alpha", 0.1, mode="set")).scaled(0.5)


def test_dose_response_runs_from_nothing_to_the_effect():
    people = population("q_learning", subjects=20, trials=40, random_seed=3)
    p = drug(Target("beta", -1.0, unit="sd"))
    table = dose_response(people, p, (0.0, 1.0))
    ends = compare_signatures(people, p)
    for dose, condition in ((0.0, "without"), (1.0, "drug")):
        found = table[table["dose"] == dose]["mean"].to_numpy()
        np.testing.assert_array_equal(found, ends[ends["condition"] == condition]["mean"])
    medians = table.groupby("dose")["beta"].first()
    assert medians[0.0] == np.median(people.agents.values["beta"]) > medians[1.0]


def test_dose_response_names_both_copies_of_a_split_parameter():
    people = population(Gain, parameters={"gain": 0.4, "beta": 5.0, "first": 0.5}, **SMALL)
    p = drug(Target("gain", 1.0, phase="learn"), Target("gain", -1.0, phase="choose"))
    table = dose_response(people, p, (0.0, 2.0)).groupby("dose")[["gain@learn", "gain"]].first()
    np.testing.assert_allclose(table.loc[2.0], [by_hand(0.4, 2.0), by_hand(0.4, -2.0)], rtol=1e-12)
    np.testing.assert_array_equal(table.loc[0.0], 0.4)


def test_crossover_gives_everybody_both_in_counterbalanced_order():
    people = population("q_learning", traits=["stickiness"], **(SMALL | {"subjects": 5}))
    p = drug(Target("alpha", 1.0), Target("kappa", mode="drop"))
    made = fitrl.crossover(people, p, random_seed=4)
    conditions = made.frame.groupby(["subject", "session"])["drug"].agg(set).map(lambda found: ",".join(found))
    first, second = (conditions.xs(session, level="session") for session in (1, 2))
    assert first.tolist() == ["placebo", "drug", "placebo", "drug", "placebo"]
    assert second.tolist() == ["drug", "placebo", "drug", "placebo", "drug"]
    assert len(made.frame) == 5 * 2 * 12
    assert made.trials.frame.groupby("subject")["sequence"].nunique().tolist() == [2] * 5
    assert made.trials.frame["reset"].sum() == 10
    alpha = made.truth[made.truth["parameter"] == "alpha"].set_index(["subject", "drug"])["value"]
    for i, name in enumerate(people.agents.names):
        assert alpha[name, "placebo"] == people.agents.values["alpha"][i]
        np.testing.assert_allclose(alpha[name, "drug"], by_hand(alpha[name, "placebo"], 1.0), rtol=1e-12)
    kappa = made.truth[made.truth["parameter"] == "kappa"]
    assert set(kappa["drug"]) == {"placebo"}
    again = fitrl.crossover(people, p, random_seed=4)
    pd.testing.assert_frame_equal(made.frame, again.frame)


def test_crossover_in_one_order_and_its_refusals():
    people = population("q_learning", **SMALL)
    p = drug(Target("alpha", 1.0))
    made = fitrl.crossover(people, p, order="drug first", drug="active", random_seed=1)
    assert made.frame.groupby("session")["drug"].unique().map(list).tolist() == [["active"], ["placebo"]]
    with pytest.raises(ModelError, match="tells groups apart"):
        fitrl.crossover(people, replace(p, apply_to="group"))
    with pytest.raises(ModelError, match="counterbalanced"):
        fitrl.crossover(people, p, order="latin")
    with pytest.raises(ModelError, match="both conditions"):
        fitrl.crossover(people, p, drug="placebo")


def test_two_groups_split_the_subjects():
    people = population("q_learning", **(SMALL | {"subjects": 5}))
    made = fitrl.two_groups(people, drug(Target("beta", 1.0)), patients="patients")
    assert made.frame.groupby("subject")["group"].first().tolist() == ["controls"] * 3 + ["patients"] * 2
    plain_frame = people.simulate().frame
    controls = made.frame[made.frame["group"] == "controls"].drop(columns="group")
    pd.testing.assert_frame_equal(controls, plain_frame[: len(controls)])


def test_all_conditions_meet_the_same_world():
    people = population("q_learning", environment="reversing", **SMALL)
    with_it = people.with_(drug(Target("beta", -3.0))).simulate().frame
    pd.testing.assert_series_equal(with_it["payoff_1"], people.simulate().frame["payoff_1"])


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("q_learning", {"environment": "reversing", "trials": 80}, {"stay", "learning", "reversal"}),
        (
            "opal",
            {"environment": fitrl.tasks.environments.Pairs(transfer=15)},
            {"stay", "learning", "accuracy", "transfer"},
        ),
        ("two_step_split", {}, {"stay", "second choice"}),
        ("two_step_kool", {}, {"stay"}),
        ("rlwm", {}, {"set_size"}),
        (str(USER_MODELS / "gamble_pass.py"), {}, {"shares"}),
    ],
)
def test_every_task_has_signatures(model, settings, expected):
    made = fitrl.simulate(model, **({"subjects": 6, "trials": 60, "random_seed": 1} | settings))
    table = signatures_of(made.trials)
    assert set(table["signature"]) == expected
    assert table["mean"].between(0, 1).all()


def test_signatures_of_ones_own_task_are_those_of_its_predictions():
    made = fitrl.simulate(str(USER_MODELS / "gamble_pass.py"), subjects=6, trials=60, random_seed=1)
    shares = signatures_of(made.trials).set_index("x")["mean"]
    frame = made.frame
    assert shares.index.tolist() == ["choice 1", *(f"choice 1, stimulus {k}" for k in (1, 2, 3))]
    by_subject = frame.assign(took=frame["choice"].astype(int)).groupby("subject")["took"].mean()
    np.testing.assert_allclose(shares["choice 1"], by_subject.mean(), rtol=1e-12)


def test_signatures_of_kools_task_by_hand():
    frame = pd.DataFrame(
        {
            "subject": "a", "trial": range(1, 6),
            "state1": ["1", "1", "2", "2", "1"], "choice1": ["1", "1", "3", "4", "1"],
            "state2": ["1", "1", "1", "2", "1"], "outcome": [1.0, 0.0, 1.0, 0.0, 0.0],
        }
    )  # fmt: skip
    trials = fitrl.read_trials(frame, "two_step_kool", codes={"choice1": ["1", "2", "3", "4"]})
    # After 1 (more): same start, returned. After 0 (less): other start, returned. After 1: same start, left. After 0:
    # other start, left.
    found = signatures_of(trials).set_index("x")["mean"]
    assert found.dropna().to_dict() == {"high outcome, same start": 0.5, "low outcome, other start": 0.5}


class Redundant(Model):
    """Sensitivity and inverse temperature that are one in choices."""

    task = Bandit
    alpha = unit("learning rate")
    beta = positive("inverse temperature", usual=(1.0, 8.0))
    rho = positive("sensitivity", median=1.0, usual=(0.5, 2.0))

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * p.rho * s.q))
        s.q[a] += p.alpha * (t.observe("outcome") - s.q[a])


def test_what_cannot_be_told_apart_looks_alike():
    people = population(Redundant, subjects=60, trials=40, random_seed=5)
    found = lookalikes(people, drug(Target("beta", math.log(0.5))))
    best = found.table.iloc[0]
    assert best["param"] == "rho"
    assert best["mimicry"] > 0.98
    np.testing.assert_allclose(best["delta"], math.log(0.5), atol=0.15)
    assert found.table.iloc[1]["param"] == "alpha"
    assert found.table.iloc[1]["mimicry"] < best["mimicry"]
    assert set(found.signatures["condition"]) == {"without", "drug", "alpha", "rho"}
    assert 0 < found.chance < found.effect


def test_the_other_phase_of_a_split_quantity_is_a_candidate():
    people = population(Gain, subjects=30, trials=20, random_seed=5)
    p = drug(Target("gain", 1.5), phase="learn")
    found = lookalikes(people, p, among=["gain"])
    assert found.table[["condition", "param", "phase"]].to_numpy().tolist() == [["gain (choose)", "gain", "choose"]]
    with pytest.raises(ModelError, match="no other parameter"):
        lookalikes(people, drug(Target("gain", 1.5)), among=["gain"])
    with pytest.raises(ModelError, match="does not change any signature"):
        lookalikes(people, drug(Target("gain", 0.0)))


def test_a_file_with_a_perturbation_is_read(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"id": "mine", "targets": [{"param": "alpha", "delta": 0.5}]}))
    assert fitrl.read_perturbation(file) == Perturbation("mine", (Target("alpha", 0.5),))
    with pytest.raises(ModelError, match="cannot be read"):
        fitrl.read_perturbation(tmp_path / "none.json")
