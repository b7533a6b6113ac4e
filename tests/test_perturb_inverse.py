"""The inverse of a perturbation: formulas, refusals, tables by hand, recovery, the command line."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_perturb_phases import TWO, Gain, OneGain
from typer.testing import CliRunner

import fitrl
from fitrl import Moderator, Perturbation, Target, crossover, population, two_groups
from fitrl.cli.app import app
from fitrl.errors import DataError, ModelError
from fitrl.language import softmax, unit
from fitrl.language.traits import phase_shift
from fitrl.models import declare
from fitrl.perturb.inverse import Manipulation, coefficients, formulas_of, manipulation
from fitrl.tasks import Bandit

DRUG = Perturbation("drug", (Target("alpha", -0.8), Target("beta", 0.5, unit="sd")))
ON = {"drug": "drug"}


def of(*targets, **settings):
    return Perturbation("p", targets, **settings)


class Twins(Gain):
    """Two parameters that act in both phases."""

    twin = unit("gain of the outcome, in choice and in learning")

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * p.gain * p.twin * s.q))
        s.q[a] += p.gain * (p.twin * t.observe("outcome") - s.q[a])


@pytest.fixture(scope="module")
def made():
    return crossover(population("q_learning", subjects=8, trials=30, random_seed=1), DRUG, random_seed=2)


@pytest.fixture(scope="module")
def found(made):
    return fitrl.estimate(DRUG, "q_learning", made.trials, on=ON, quick=True, random_seed=3)


def draws(fit, name):
    return fit.idata["posterior"][name].to_numpy()[0]


def formulas(perturbation, where, given=None, model="q_learning"):
    return formulas_of(perturbation, declare(model), Bandit(), where, given)


# From targets to formulas -----------------------------------------------------------------------------------

WITHIN = Manipulation("drug", "verum", "placebo", within=True)


def test_within_subjects_people_respond_differently():
    assert formulas(DRUG, WITHIN) == {
        "alpha": "C(drug, 'placebo') + (drug | subject)",
        "beta": "C(drug, 'placebo') + (drug | subject)",
    }


def test_between_subjects_there_is_one_value_each():
    where = Manipulation("arm of study", "verum", "it's", within=False)
    assert formulas(of(Target("alpha", 0.5)), where) == {"alpha": "C(`arm of study`)"}


def test_a_moderator_is_an_interaction():
    p = of(Target("alpha", -0.6), moderator=Moderator("wm_span", 0.5, 0.25))
    assert formulas(p, WITHIN) == {"alpha": "C(drug, 'placebo') * wm_span + (drug | subject)"}
    sizes = [(c.size, c.measure) for c in coefficients(p, declare("q_learning"), Bandit())]
    assert sizes == [(-0.3, None), (-0.15, "wm_span")]


def test_formulas_of_ones_own_are_kept():
    given = {"alpha": "drug + session + (drug | subject)", "beta": "session"}
    assert formulas(of(Target("alpha", 0.5)), WITHIN, given) == given
    with pytest.raises(ModelError, match=r"p moves alpha, but its formula, session, has no drug\. Add it"):
        formulas(of(Target("alpha", 0.5)), WITHIN, {"alpha": "session"})
    p = of(Target("alpha", -0.6), moderator=Moderator("span"))
    with pytest.raises(ModelError, match="has no drug:span"):
        formulas(p, WITHIN, {"alpha": "drug + span"})


def test_a_stand_in_moves_instead():
    p = of(Target("rho_rew", 0.5, stand_ins=("beta",)), phase="learn")
    assert list(formulas(p, WITHIN)) == ["beta"]


def test_a_factor_on_the_log_link_is_a_shift():
    (c,) = coefficients(of(Target("beta", 0.5, mode="scale")), declare("q_learning"), Bandit())
    assert c.size == np.log(0.5)


@pytest.mark.parametrize(
    ("perturbation", "model", "words"),
    [
        (of(Target("beta", 1.0, mode="set")), "q_learning", r"beta = 1.0 cannot be a coefficient.*Estimate a shift"),
        (of(Target("alpha", mode="freeze")), "q_learning", r"alpha frozen cannot.*fitrl compare"),
        (of(Target("beta", mode="drop")), "q_learning", r"beta dropped cannot.*fitrl compare"),
        (of(Target("alpha", 0.5, mode="scale")), "q_learning", "not the same shift of alpha on its link"),
        (of(Target("gain", 0.5), Target("gain", 0.5), phase="learn"), Gain, "changes gain twice"),
        (of(Target("gain", 0.5), Target("twin", 0.5), phase="learn"), Twins, "several parameters in one of two phases"),
        (of(Target("alpha", 0.5), phase="choose"), "q_learning", "acts in phase learn only"),
        (of(Target("alpha", 0.5), Target("alpha", 0.1)), "q_learning", "changes alpha twice"),
        (of(Target("alpha", 0.5), apply_to="subject"), "q_learning", "a single case"),
        (of(Target("kappa", 0.5)), "q_learning", "kappa"),
    ],
)
def test_what_is_no_coefficient_is_refused_kindly(perturbation, model, words):
    with pytest.raises(ModelError, match=words):
        coefficients(perturbation, declare(model), Bandit())


def test_the_rows_are_found_by_column_and_level(made):
    assert manipulation(made.trials, ON) == Manipulation("drug", "drug", "placebo", within=True)
    three = replace(made, frame=made.frame.assign(arm=made.frame["subject"].astype(int) % 3)).trials
    assert manipulation(three, {"arm": 2}, against=0) == Manipulation("arm", "2", "0", within=False)
    with pytest.raises(ModelError, match=r"arm has 3 levels. Say which of 0, 1 2 is compared with"):
        manipulation(three, {"arm": 2})
    with pytest.raises(ModelError, match="compared with itself"):
        manipulation(three, {"arm": 2}, against=2)
    with pytest.raises(ModelError, match="dug"):
        manipulation(made.trials, {"drug": "dug"})
    with pytest.raises(ModelError, match="expected one column"):
        manipulation(made.trials, {})
    with pytest.raises(DataError, match="drg"):
        manipulation(made.trials, {"drg": "drug"})


# From draws to the table ------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_coefficients(found):
    table = found.table.set_index("parameter")
    for name, sign in (("alpha", -1), ("beta", 1)):
        effect = draws(found.fit, f"{name}_effect")[:, 0]
        np.testing.assert_allclose(table.loc[name, "post_mean"], effect.mean(), rtol=1e-12)
        np.testing.assert_allclose(table.loc[name, "prob_stated"], (sign * effect > 0).mean(), rtol=1e-12)
    assert table["effect"].tolist() == ["drug[drug - placebo]"] * 2
    assert table["stated"].tolist() == ["alpha -0.8 link", "beta +0.5 sd"]
    assert table.loc["alpha", "stated_shift"] == -0.8
    sigma = draws(found.fit, "beta_sigma").mean()
    np.testing.assert_allclose(table.loc["beta", "stated_shift"], 0.5 * sigma, rtol=1e-12)
    low, high, stated = (table[name] for name in ("hdi95_lower", "hdi95_upper", "stated_shift"))
    assert table["inside"].tolist() == ((low <= stated) & (stated <= high)).tolist()


def test_what_is_stated_is_not_used(found, made):
    """Another size, even of the other sign: the same posterior, seen from the other side."""
    other = replace(DRUG, targets=(Target("alpha", 3.0), Target("beta", -2.0)))
    again = fitrl.estimate(other, "q_learning", made.trials, on=ON, quick=True, random_seed=3)
    np.testing.assert_array_equal(draws(again.fit, "alpha_effect"), draws(found.fit, "alpha_effect"))
    np.testing.assert_allclose(again.table["prob_stated"] + found.table["prob_stated"], 1.0, rtol=1e-12)
    assert again.table["inside"].tolist() == [False, False]


def test_priors_are_those_of_any_effect(found):
    priors = {name: found.fit.plan.effects[name].sd("drug") for name in ("alpha", "beta")}
    assert priors == {"alpha": 0.5, "beta": 0.3}


def test_one_of_several_levels_is_compared_with_one(made):
    arms = made.frame.assign(arm=np.array(["sham", "left", "right"])[made.frame["subject"].astype(int) % 3])
    p = of(Target("alpha", 0.5))
    found = fitrl.estimate(p, "q_learning", arms, on={"arm": "right"}, against="left", quick=True, random_seed=1)
    expected = fitrl.contrast(found.fit, "arm: right - left")
    columns = ["post_mean", "hdi95_lower", "hdi95_upper", "median_change_mean"]
    pd.testing.assert_frame_equal(found.table[columns], expected[columns])


def test_a_moderated_effect_has_two_rows(made):
    frame = made.frame.assign(span=made.frame["subject"].astype(int) ** 2)
    p = of(Target("alpha", -0.6), moderator=Moderator("span", 0.0, 0.5))
    found = fitrl.estimate(p, "q_learning", frame, on=ON, quick=True, random_seed=1)
    posterior = found.fit.idata["posterior"]["alpha_effect"]
    terms = ["drug[drug - placebo]", "drug[drug - placebo]:span"]
    assert found.table["effect"].tolist() == terms
    np.testing.assert_allclose(found.table["post_mean"], [posterior.sel(alpha_term=t).mean() for t in terms])
    assert found.table["stated_shift"].tolist() == [0.0, -0.3]
    assert np.isnan(found.table["prob_stated"][0])  # no direction is stated
    np.testing.assert_allclose(found.table["prob_stated"][1], (posterior.sel(alpha_term=terms[1]) < 0).mean())


def test_on_another_link_no_size_is_stated(made):
    priors = {"alpha": {"link": "probit_approx"}}
    p = of(Target("alpha", -0.8))
    table = fitrl.estimate(p, "q_learning", made.trials, on=ON, priors=priors, quick=True, random_seed=3).table
    assert np.isnan(table["stated_shift"][0])
    assert pd.isna(table["inside"][0])


def test_covariates_may_come_from_a_table_of_subjects():
    p = of(Target("alpha", -0.8), apply_to="group")
    made = two_groups(population("q_learning", subjects=8, trials=30, random_seed=1), p)
    groups = made.frame[["subject", "group"]].drop_duplicates()
    alone = made.frame.drop(columns="group")
    found = fitrl.estimate(p, "q_learning", alone, on={"group": "p"}, subjects=groups, quick=True, random_seed=1)
    assert found.table["effect"].tolist() == ["group[p - controls]"]


# Recovery ---------------------------------------------------------------------------------------------------


def recovered(subjects, trials, seed):
    people = population("q_learning", subjects=subjects, trials=trials, environment="reversing", random_seed=seed)
    p = of(Target("alpha", -0.7, sd_delta=0.2), Target("beta", 0.4))
    made = crossover(people, p, random_seed=seed)
    return fitrl.estimate(p, "q_learning", made.trials, on={"drug": "p"}, quick=True, random_seed=seed).table


def test_a_shift_is_recovered():
    table = recovered(30, 120, seed=1)
    error = table["post_mean"] - table["stated_shift"]
    assert (table["post_sd"] < 0.15).all()
    assert (error.abs() < 3 * table["post_sd"]).all()
    assert (table["prob_stated"] > 0.99).all()


def test_a_change_in_one_of_two_phases_is_the_effect_on_a_parameter_of_its_own():
    p = of(Target("gain", -1.0), phase="learn")
    assert [(c.moves, c.param, c.size) for c in coefficients(p, declare(OneGain), TWO)] == [
        ("gain_learn", "gain", -1.0)
    ]
    people = population(OneGain(), subjects=40, trials=150, random_seed=1)
    made = crossover(people, p, random_seed=2)
    found = fitrl.estimate(p, OneGain(), made.trials, on={"drug": "p"}, quick=True, random_seed=1)
    (row,) = found.table.to_dict("records")
    assert found.fit.spec.formulas == {"gain_learn": "C(drug, 'placebo') + (drug | subject)"}
    assert (row["parameter"], row["stated_shift"]) == ("gain_learn", -1.0)
    assert abs(row["post_mean"] - -1.0) < 3 * row["post_sd"]
    assert row["prob_stated"] > 0.99
    # Moved in both phases instead, it would be another effect: choice is not what the perturbation changes.
    both = fitrl.estimate(replace(p, phase="both"), OneGain(), made.trials, on={"drug": "p"}, quick=True, random_seed=1)
    assert both.table["parameter"].tolist() == ["gain"]
    assert both.table["post_mean"][0] > row["post_mean"] + 2 * row["post_sd"]


def test_a_change_in_one_phase_meets_priors_and_traits_that_were_given():
    p = of(Target("gain", -1.0), phase="learn")
    made = crossover(population(OneGain(), subjects=4, trials=20, random_seed=1), p, random_seed=2)
    call = {"on": {"drug": "p"}, "quick": True, "random_seed": 1}
    tight = {"gain_learn": {"effects": "normal(0, 0.001)"}}
    found = fitrl.estimate(p, OneGain(), made.trials, priors=tight, **call)
    assert abs(found.table["post_mean"][0]) < 0.01
    given = fitrl.estimate(p, OneGain(), made.trials, traits=[phase_shift(parameter="gain")], **call)
    assert given.table["parameter"].tolist() == ["gain_learn"]
    other = [phase_shift(parameter="gain", phase="choose")]
    with pytest.raises(ModelError, match="p needs gain_learn, but the model has gain_choose"):
        fitrl.estimate(p, OneGain(), made.trials, traits=other, **call)


@pytest.mark.study
def test_a_shift_is_recovered_at_the_size_of_the_specification():
    """perturbations.md, section 1, Tests: N = 200, T = 500."""
    table = recovered(200, 500, seed=1)
    error = table["post_mean"] - table["stated_shift"]
    assert (table["post_sd"] < 0.06).all()
    assert (error.abs() < 3 * table["post_sd"]).all()
    assert (table["prob_stated"] == 1.0).all()


# The command line -------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_fit_with_an_effect_on_the_command_line(made, tmp_path):
    data, file, out = tmp_path / "drug.csv", tmp_path / "p.json", tmp_path / "out"
    made.frame.to_csv(data, index=False)
    file.write_text(DRUG.to_json())
    call = ("fit", data, "--model", "q_learning", "--quick", "--seed", 3, "--out", out)
    result = run(*call, "--effect", file, "--on", "drug=drug")
    assert result.exit_code == 0, result.output
    assert "Estimated: drug" in result.output
    assert "P(direction)" in result.output
    table = pd.read_csv(out / "perturbation.csv")
    assert table["parameter"].tolist() == ["alpha", "beta"]
    assert set(pd.read_csv(out / "predictions_by_drug.csv")["drug"]) == {"placebo", "drug"}
    assert (out / "figures" / "stay_by_drug.png").exists()
    assert "predictions_by_drug.csv" in result.output
    assert run(*call).exit_code == 0  # without an effect, the table of the earlier fit goes
    assert not (out / "perturbation.csv").exists()
    assert not (out / "predictions_by_drug.csv").exists()
    assert "--effect and --on go together" in run(*call, "--effect", file).output
    wrong = run(*call, "--effect", file, "--on", "drug=dug")
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output
