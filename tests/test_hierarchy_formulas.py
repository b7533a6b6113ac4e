"""Formulas: coding and designs by hand, what is refused, and the likelihood cell by cell."""

from __future__ import annotations

import logging
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_expit

import fitrl.models
from fitrl.data import read_trials
from fitrl.errors import DataError, FitError, ModelError
from fitrl.fitting.fit import build, design, fit
from fitrl.hierarchy.build import build_model
from fitrl.hierarchy.covariates import contrasts, read_covariate, with_subjects
from fitrl.hierarchy.design import make_design
from fitrl.hierarchy.formula import parse_formula, read_formulas
from fitrl.hierarchy.plan import make_plan
from fitrl.hierarchy.priors import effect_priors

MODEL = fitrl.models.find("q_learning")


def table(n_subjects=4, sessions=("d1", "d2"), n_trials=6, seed=1):
    """Subjects s0, s1, ...: group p for odd ones, ages 20, 30, ...; drug in one of two sessions, order balanced."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_subjects):
        for k, session in enumerate(sessions):
            for trial in range(n_trials + i):  # unequal numbers of trials
                rows.append(
                    {
                        "subject": f"s{i}",
                        "session": session,
                        "trial": trial + 1,
                        "choice": rng.integers(2),
                        "outcome": rng.integers(2),
                        "group": "patient" if i % 2 else "control",
                        "age": 20 + 10 * i,
                        "drug": "levodopa" if (i // 2 + k) % 2 else "placebo",
                        "volatile": "yes" if trial % 4 >= 2 else "no",
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def trials():
    return read_trials(table(), "q_learning")


# Parsing ------------------------------------------------------------------------------------------------


def test_terms_and_slopes():
    found = parse_formula("alpha", "alpha ~ drug * age + (drug | subject)")
    assert found.intercept
    assert found.terms == (("drug",), ("age",), ("drug", "age"))
    assert found.slopes == (("drug",),)
    assert found.covariates == ("drug", "age")
    assert parse_formula("alpha", "C(day, '2') + `my age`").references == {"day": "2"}
    assert not parse_formula("alpha", "0 + drug").intercept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("drug +", "cannot be read"),
        ("drug age", "age is lost"),
        ("drug | age", "age is lost"),
        ("np.log(age)", "np.log"),
        ("age + I(age + drug)", "column to be computed"),
        ("5 * age", "5, which is not the name"),
        ("drug:age", "drug:age without"),
        ("drug / age", "drug:age without age"),
        ("drug + (1 | site)", "differ by subject only"),
        ("(drug | subject)", "which has no effect"),
        ("drug + (0 + drug | subject)", "value of their own"),
        ("subject + drug", "value of its own already"),
        ("0", "has no location"),
        ("beta ~ drug", "left-hand side"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(ModelError, match=message):
        parse_formula("alpha", text)


def test_left_hand_sides():
    assert read_formulas(["alpha, beta ~ group", "kappa~0 + drug"]) == {
        "alpha": "group",
        "beta": "group",
        "kappa": "0 + drug",
    }
    with pytest.raises(ModelError, match="Write it like"):
        read_formulas(["group"])
    with pytest.raises(ModelError, match="alpha has two formulas"):
        read_formulas(["alpha ~ group", "alpha ~ age"])


# Coding -------------------------------------------------------------------------------------------------


def test_contrasts_by_hand():
    values, labels, spread = contrasts(("A", "B", "C"))
    np.testing.assert_allclose(values, [[-1 / 2, -1 / 3], [1 / 2, -1 / 3], [0, 2 / 3]])
    assert labels == ("B - A", "C - mean(A, B)")
    levels = values @ [0.4, 0.9]
    assert levels[1] - levels[0] == pytest.approx(0.4)
    assert levels[2] - (levels[0] + levels[1]) / 2 == pytest.approx(0.9)
    assert levels.sum() == pytest.approx(0.0)
    np.testing.assert_allclose(spread, [1.0, np.sqrt(3) / 2])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_any_two_levels_differ_alike_a_priori(n):
    values, _, spread = contrasts(tuple("ABCDE"[:n]))
    covariance = values @ np.diag(np.square(spread)) @ values.T
    for i in range(n):
        for j in range(i):
            assert covariance[i, i] + covariance[j, j] - 2 * covariance[i, j] == pytest.approx(1.0)


def test_numbers_are_standardised_over_subjects_not_rows(trials):
    found = read_covariate(trials, "age")
    ages = np.array([20.0, 30.0, 40.0, 50.0])  # subjects have different numbers of trials
    assert (found.mean, found.sd) == (35.0, pytest.approx(ages.std(ddof=1)))
    np.testing.assert_allclose(found.values[:, 0], (ages - 35) / ages.std(ddof=1))
    assert found.varies == "subject"
    assert "mean 35" in found.coding()


def test_order_of_levels():
    frame = table().assign(dose=lambda f: np.where(f["drug"] == "levodopa", 100, 20), day=lambda f: f["trial"] % 3)
    trials = read_trials(frame, "q_learning")
    assert read_covariate(trials, "dose").levels == ("20", "100")  # two numbers are two levels, in their order
    assert not read_covariate(trials, "day").is_factor
    assert read_covariate(trials, "day", factor=True).levels == ("0", "1", "2")
    assert read_covariate(trials, "drug").levels == ("levodopa", "placebo")
    turned = make_design("alpha", "C(drug, 'placebo')", trials)
    assert turned.columns[1].name == "drug[levodopa - placebo]"
    with pytest.raises(DataError, match='"placbo"'):
        make_design("alpha", "C(drug, 'placbo')", trials)


# Designs ------------------------------------------------------------------------------------------------


def test_between_subjects(trials):
    found = make_design("alpha", "group * age", trials)
    z = (np.array([20, 30, 40, 50]) - 35) / np.std([20, 30, 40, 50], ddof=1)
    g = np.array([-0.5, 0.5, -0.5, 0.5])
    np.testing.assert_allclose(found.matrix, np.column_stack([np.ones(4), g, z, g * z]))
    assert [c.name for c in found.columns] == [
        "Intercept",
        "group[patient - control]",
        "age",
        "group[patient - control]:age",
    ]
    assert found.by_subject
    np.testing.assert_array_equal(found.index, trials.sequence_subject)


def test_within_subjects_by_session(trials):
    found = make_design("alpha", "C(drug, 'placebo') * session + (drug | subject)", trials)
    assert not found.by_row
    drug = np.array(
        [-0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5, -0.5]
    )  # s0 and s1 begin with placebo, s2 and s3 with levodopa
    session = np.tile([-0.5, 0.5], 4)
    np.testing.assert_allclose(found.matrix, np.column_stack([np.ones(8), drug, session, drug * session]))
    np.testing.assert_array_equal(found.subject, np.repeat(np.arange(4), 2))
    np.testing.assert_array_equal(found.index, np.arange(8))
    assert found.labels["drug"].tolist()[:2] == ["placebo", "levodopa"]
    assert found.labels["session"].tolist()[:2] == ["d1", "d2"]
    np.testing.assert_allclose(found.slopes.matrix[:, 0], drug)
    np.testing.assert_allclose(found.between()[:, 1:3], 0.0)


def test_within_sequences_by_row(trials):
    found = make_design("alpha", "volatile + group", trials)
    assert found.by_row
    frame = trials.frame
    volatile = (frame["trial"].to_numpy() - 1) % 4 >= 2
    np.testing.assert_allclose(found.matrix[found.index, 1], np.where(volatile, 0.5, -0.5))
    np.testing.assert_array_equal(found.subject[found.index], frame["subject_idx"])
    assert len(found.subject) == 8
    assert "group" not in found.labels


def test_cell_means(trials):
    found = make_design("alpha", "0 + drug + age", trials)
    assert found.locations == ("drug[levodopa]", "drug[placebo]")
    levodopa = found.labels["drug"] == "levodopa"
    np.testing.assert_allclose(found.matrix[:, 0], levodopa)
    np.testing.assert_allclose(found.matrix[:, 1], ~levodopa)
    with pytest.raises(ModelError, match="age is a number"):
        make_design("alpha", "0 + age", trials)
    both = make_design("alpha", "0 + drug:volatile", trials)
    assert len(both.locations) == 4
    np.testing.assert_allclose(both.matrix.sum(axis=1), 1.0)


def test_rows_elsewhere(trials):
    found = make_design("alpha", "group * age", trials)
    sd = np.std([20, 30, 40, 50], ddof=1)
    np.testing.assert_allclose(found.row({}), [1, 0, 0, 0])
    np.testing.assert_allclose(found.row({"group": "patient", "age": 45}), [1, 0.5, 10 / sd, 5 / sd])
    means = make_design("alpha", "0 + drug", trials)
    np.testing.assert_allclose(means.row({}), [0.5, 0.5])
    np.testing.assert_allclose(means.row({"drug": "placebo"}), [0, 1])


@pytest.mark.parametrize("text", ["group * age", "drug * session", "volatile"])
def test_effects_are_weighted_sums_of_populations(trials, text):
    found = make_design("alpha", text, trials)
    for j, column in enumerate(found.columns):
        if not column.is_location:
            summed = sum(weight * found.row(at) for weight, at in found.probes(column))
            np.testing.assert_allclose(summed, np.eye(len(found.columns))[j], atol=1e-12)


def test_three_levels_are_weighted_sums_of_populations():
    frame = table(6).assign(site=lambda f: f["subject"].map({f"s{i}": "ABC"[i % 3] for i in range(6)}))
    found = make_design("alpha", "site", read_trials(frame, "q_learning"))
    for j in (1, 2):
        summed = sum(weight * found.row(at) for weight, at in found.probes(found.columns[j]))
        np.testing.assert_allclose(summed, np.eye(3)[j], atol=1e-12)


# What is named before sampling ---------------------------------------------------------------------------


def test_missing_covariates_name_subject_and_column():
    frame = table()
    frame.loc[frame["subject"] == "s2", "age"] = np.nan
    with pytest.raises(DataError, match=r"age is missing for subject s2 \(16 rows\)"):
        make_design("alpha", "age", read_trials(frame, "q_learning"))


def test_missing_covariates_name_the_table_of_subjects(trials, tmp_path):
    people = pd.DataFrame({"subject": trials.subjects, "iq": [100.0] * (trials.n_subjects - 1) + [np.nan]})
    people.to_csv(tmp_path / "people.csv", index=False)
    both = with_subjects(trials, tmp_path / "people.csv")
    with pytest.raises(DataError, match=r"people\.csv") as found:
        make_design("alpha", "iq", both)
    assert f"iq is missing for subject {trials.subjects[-1]}" in str(found.value)
    assert both.source_of("group") == trials.source != both.source_of("iq")


def test_unknown_columns_name_the_nearest(trials):
    with pytest.raises(DataError, match='Did you mean "group"'):
        make_design("alpha", "gruop", trials)


def test_what_does_not_vary_is_refused(trials):
    frame = table().assign(site="A")
    with pytest.raises(DataError, match='site is "A" everywhere'):
        make_design("alpha", "site", read_trials(frame, "q_learning"))
    with pytest.raises(ModelError, match="group does not vary within subjects"):
        make_design("alpha", "group + (group | subject)", trials)


def test_rank_deficient_designs_name_their_terms():
    frame = table().assign(site=lambda f: np.where(f["group"] == "patient", "B", "A"))
    with pytest.raises(ModelError, match=r"group\[patient - control\], site\[B - A\] cannot be told apart"):
        make_design("alpha", "group + site", read_trials(frame, "q_learning"))


@pytest.mark.parametrize(
    ("formulas", "message"),
    [
        ({"alpah": "group"}, 'Did you mean "alpha"'),
        ({"alpha": "group"}, None),
    ],
)
def test_formulas_of_a_model(trials, formulas, message):
    if message is None:
        assert make_plan(MODEL, trials, formulas=formulas).effects["alpha"].default.args == (0.0, 0.5)
        return
    with pytest.raises(ModelError, match=message):
        make_plan(MODEL, trials, formulas=formulas)


def test_formulas_need_a_population(trials):
    with pytest.raises(ModelError, match="without a population"):
        make_plan(MODEL, trials, formulas={"alpha": "group"}, pooling="none")
    with pytest.raises(ModelError, match="alpha is fixed"):
        make_plan(MODEL, trials, formulas={"alpha": "group"}, fixed={"alpha": 0.3})


def test_derived_quantities_name_what_is_fitted():
    simulated = fitrl.simulate("two_step_split", subjects=4, trials=5, random_seed=1)
    with pytest.raises(ModelError, match="w_mb is computed from beta_mb, beta_mf"):
        make_plan(simulated.model, simulated.trials, formulas={"w_mb": "group"})


def said(frame, formulas, **columns):
    return design("q_learning", read_trials(frame, "q_learning", columns=columns or None), formulas=formulas)


def test_the_design_says_how_it_is_coded():
    text = said(table(6), {"alpha": "group + age", "beta": "group + age"})
    assert "-1/2 = control, +1/2 = patient" in text
    assert "z-scored over subjects: mean 45" in text
    assert "group[patient - control] ~ normal(0, 0.3)" in text
    assert "note" not in text


def test_notes():
    both = {
        "alpha": "drug * session + (drug * session | subject)",
        "beta": "drug * session + (drug * session | subject)",
    }
    assert "note" not in said(table(), both)
    assert "but beta has not" in said(table(), {"alpha": "group"})
    assert "but beta has not" not in said(table(), {"beta": "group"})
    few = table(3)
    assert "group = patient has 1 subject," in said(few, {"beta": "group"})
    always = table().assign(drug=lambda f: np.where(f["session"] == "d1", "off", "on"))
    assert "always done in the same session" in said(always, {"beta": "drug"})
    assert "the session is not in the formula" not in said(table(8), {"beta": "drug"})  # balanced
    mostly = table(8).assign(drug=lambda f: np.where((f["session"] == "d1") == (f["subject"] != "s0"), "off", "on"))
    assert "the session is not in the formula" in said(mostly, {"beta": "drug"})
    assert "taken to be the same in all subjects" in said(table(), {"beta": "drug"})
    unordered = table().drop(columns="session")
    unordered = unordered.assign(trial=unordered.groupby(["subject", "drug"]).cumcount() + 1)
    assert "no column says in which order" in said(unordered, {"beta": "drug"}, session="drug")
    numbered = unordered.assign(visit=unordered["drug"].map({"placebo": "T1", "levodopa": "T2"}))
    assert "in which order" not in said(numbered, {"beta": "visit"}, session="visit")


def test_a_factor_that_varies_in_one_subject_is_pointed_out():
    frame = table(6)
    frame.loc[frame.index[3], "group"] = "control" if frame["group"].iloc[3] == "patient" else "patient"
    note = said(frame, {"alpha": "group", "beta": "group"})
    first = frame["subject"].iloc[3]
    assert f"except for {first} (" in note
    assert "1 rows" in note
    assert "hold a slip" in note
    assert "slip" not in said(table(6), {"beta": "drug"})


def test_levels_that_differ_in_case_or_spaces_are_refused():
    frame = table(6)
    frame.loc[frame["subject"] == frame["subject"].iloc[0], "group"] = frame["group"].iloc[0].upper()
    with pytest.raises(DataError, match=r"differ in case or spaces only.*has " + str(frame["subject"].iloc[0])):
        said(frame, {"alpha": "group"})


def test_notes_reach_the_log(trials, caplog):
    with caplog.at_level(logging.WARNING, logger="fitrl"):
        fitrl.fit("q_learning", trials, formulas={"alpha": "group"}, quick=True, random_seed=1)
    assert "but beta has not" in caplog.text


# Tables of subjects ---------------------------------------------------------------------------------------


def test_covariates_from_a_table_of_subjects(trials, tmp_path):
    scores = pd.DataFrame({"subject": ["s3", "s1", "s0", "s2", "s9"], "anhedonia": [9, 5, 1, 3, 99]})
    scores.to_csv(tmp_path / "scores.csv", index=False)
    for given in (scores, tmp_path / "scores.csv"):
        joined = with_subjects(trials, given)
        found = make_design("alpha", "anhedonia", joined)
        z = (np.array([1, 5, 3, 9]) - 4.5) / np.std([1, 5, 3, 9], ddof=1)
        np.testing.assert_allclose(found.matrix[:, 1], z)
    assert "anhedonia" not in trials.original


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["subject"] != "s2"], "1 subject of the trials has no row: s2"),
        (lambda t: pd.concat([t, t[:1]]), "subject s0 has several rows"),
        (lambda t: t.rename(columns={"subject": "who"}), 'no column "subject"'),
        (lambda t: t.rename(columns={"score": "age"}), "the column age too"),
    ],
)
def test_tables_of_subjects_that_do_not_fit(trials, change, message):
    scores = pd.DataFrame({"subject": [f"s{i}" for i in range(4)], "score": [1, 2, 3, 5]})
    with pytest.raises(DataError, match=message):
        with_subjects(trials, change(scores))


# Priors ---------------------------------------------------------------------------------------------------


def test_priors_of_effects(tmp_path):
    alpha = MODEL.parameters()["alpha"]
    file = tmp_path / "priors.toml"
    file.write_text('[alpha.effects]\ndefault = "normal(0, 0.2)"\ndrug = "normal(0, 0.8)"\nslopes = "exponential(5)"\n')
    found = effect_priors(alpha, str(file), ["drug", "age"])
    assert (found.sd("drug"), found.sd("age"), str(found.slopes)) == (0.8, 0.2, "exponential(5)")
    assert effect_priors(alpha, {"alpha": {"effects": "normal(0, 1)"}}, ["age"]).sd("age") == 1.0
    for effects, message in [
        ({"drgu": "normal(0, 1)"}, 'Did you mean "drug"'),
        ({"drug": "normal(1, 1)"}, "centred at no effect"),
        ({"slopes": "normal(0, 1)"}, "is positive"),
    ]:
        with pytest.raises(ModelError, match=message):
            effect_priors(alpha, {"alpha": {"effects": effects}}, ["drug"])


def test_three_levels_share_the_prior_of_a_difference():
    frame = table(6).assign(site=lambda f: f["subject"].map({f"s{i}": "ABC"[i % 3] for i in range(6)}))
    text = said(frame, {"beta": "site"})
    assert "site[B - A] ~ normal(0, 0.3)" in text
    assert "site[C - mean(A, B)] ~ normal(0, 0.26)" in text  # 0.3 sqrt(3) / 2


# The likelihood, cell by cell -------------------------------------------------------------------------------


def by_hand(frame, alpha, beta):
    """Log-likelihood of Q-learners whose parameters are given row by row."""
    total = 0.0
    for _, rows in frame.groupby(["subject", "session"], sort=False):
        q = np.array([0.5, 0.5])
        for row, choice, outcome in zip(rows.index, rows["choice"], rows["outcome"], strict=True):
            total += log_expit(beta[row] * (q[choice] - q[1 - choice]))
            q[choice] += alpha[row] * (outcome - q[choice])
    return total


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_likelihood_equals_that_of_parameters_assigned_by_hand(engine):
    frame = table(4, n_trials=8)
    trials = read_trials(frame, "q_learning")
    formulas = {"alpha": "C(drug, 'placebo') * group + (drug | subject)", "beta": "0 + volatile"}
    model = build("q_learning", trials, formulas=formulas, engine=engine)
    rng = np.random.default_rng(3)
    point = {
        "alpha_mu": -0.3,
        "alpha_effect": np.array([0.9, -0.4, 0.7]),
        "alpha_sigma_log__": np.log(0.6),
        "alpha_offset": rng.normal(size=4),
        "alpha_slope_sigma_log__": np.log([0.5]),
        "alpha_slope_1_offset": rng.normal(size=4),
        "beta_level": np.array([0.5, 1.4]),
        "beta_sigma_log__": np.log(0.3),
        "beta_offset": rng.normal(size=4),
    }
    found = float(model.compile_logp(vars=model.observed_RVs)({k: np.asarray(v) for k, v in point.items()}))
    who = frame["subject"].str[1:].astype(int).to_numpy()
    drug = np.where(frame["drug"] == "levodopa", 0.5, -0.5)
    group = np.where(frame["group"] == "patient", 0.5, -0.5)
    eta = -0.3 + 0.9 * drug - 0.4 * group + 0.7 * drug * group
    eta += 0.6 * point["alpha_offset"][who] + 0.5 * point["alpha_slope_1_offset"][who] * drug
    log_beta = np.where(frame["volatile"] == "yes", 1.4, 0.5) + 0.3 * point["beta_offset"][who]
    assert found == pytest.approx(by_hand(frame, expit(eta), np.exp(log_beta)), rel=1e-9)


def test_spread_by_group_equals_the_same_by_hand():
    frame = table(4, n_trials=8)
    trials = read_trials(frame, "q_learning")
    model = build("q_learning", trials, formulas={"alpha": "group + sd(group)"}, fixed={"beta": 3.0})
    rng = np.random.default_rng(3)
    point = {
        "alpha_mu": -0.3,
        "alpha_effect": np.array([0.8]),
        "alpha_sigma_log__": np.log(0.6),
        "alpha_sigma_effect": np.array([0.7]),
        "alpha_offset": rng.normal(size=4),
    }
    found = float(model.compile_logp(vars=model.observed_RVs)({k: np.asarray(v) for k, v in point.items()}))
    who = frame["subject"].str[1:].astype(int).to_numpy()
    group = np.where(frame["group"] == "patient", 0.5, -0.5)
    eta = -0.3 + 0.8 * group + 0.6 * np.exp(0.7 * group) * point["alpha_offset"][who]
    assert found == pytest.approx(by_hand(frame, expit(eta), np.full(len(frame), 3.0)), rel=1e-9)
    prior = float(model.compile_logp(vars=[model["alpha_sigma_effect"]])({k: np.asarray(v) for k, v in point.items()}))
    assert prior == pytest.approx(-0.5 * np.log(2 * np.pi * 0.25) - 0.5 * (0.7 / 0.5) ** 2)


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("sd(drug)", {}, "varies within subjects"),
        ("group + sd(group)", {"pooling": "complete"}, "no spread"),
        ("group + sd(group, age)", {}, "sd(covariate)"),
        ("group + sd(group) + sd(twin)", {}, "cannot be told apart"),
    ],
)
def test_spreads_that_cannot_be(formula, options, message):
    frame = table(4, n_trials=8).assign(twin=lambda f: f["group"])
    with pytest.raises(ModelError, match=re.escape(message)):
        build("q_learning", frame, formulas={"alpha": formula}, **options)


def test_quick_fits_refuse_spreads(trials):
    with pytest.raises(FitError, match="without quick"):
        fit("q_learning", trials, formulas={"alpha": "group + sd(group)"}, quick=True)


def test_complete_pooling_keeps_effects():
    frame = table(4, n_trials=8)
    model = build("q_learning", frame, formulas={"alpha": "group"}, pooling="complete", fixed={"beta": 3.0})
    assert {v.name for v in model.free_RVs} == {"alpha_mu", "alpha_effect"}
    point = {"alpha_mu": np.array(0.2), "alpha_effect": np.array([0.8])}
    found = float(model.compile_logp(vars=model.observed_RVs)(point))
    alpha = expit(np.where(frame["group"] == "patient", 0.6, -0.2))
    assert found == pytest.approx(by_hand(frame, alpha, np.full(len(frame), 3.0)), rel=1e-9)


def test_a_formula_of_nothing_is_the_model_without(trials):
    plain, named = (build_model(make_plan(MODEL, trials, formulas=f), trials) for f in ({}, {"alpha": "1"}))
    assert [v.name for v in plain.free_RVs] == [v.name for v in named.free_RVs]
    assert [v.name for v in plain.deterministics] == [v.name for v in named.deterministics]
