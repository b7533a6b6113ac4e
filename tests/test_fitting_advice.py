"""Subjects' estimates come with a word on what they are good for; data with groups get it in the summary."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit

import fitrl
from fitrl.data import read_trials
from fitrl.fitting.advice import SUBJECTS_README, about_subjects, instead_of_tests, unused_factors


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(2)
    who, session, trial = (x.ravel() for x in np.meshgrid(np.arange(8), [1, 2], np.arange(20), indexing="ij"))
    made = pd.DataFrame({"subject": [f"s{i}" for i in who], "session": session, "trial": trial})
    return made.assign(
        choice=rng.integers(0, 2, len(made)),
        outcome=rng.integers(0, 2, len(made)),
        group=np.where(who % 2, "patient", "control"),
        drug=np.where((who // 2 + session) % 2, "verum", "placebo"),
        age=20 + who,  # a number with a value for everybody
        rare=np.where(who == 0, "yes", "no"),  # one subject is no group
        colour=np.where(trial % 2, "red", "blue"),  # changes from trial to trial
        site="Bern",
    )


def fitted(frame, pooling="partial", formulas=None):
    trials = read_trials(frame, "q_learning")
    rng = np.random.default_rng(1)
    draws = {name: rng.uniform(0.2, 0.8, (2, 20, 8)) for name in ("alpha", "beta")}
    fit = fake_fit("q_learning", trials, draws)
    return dataclasses.replace(fit, spec=dataclasses.replace(fit.spec, pooling=pooling, formulas=formulas or {}))


def test_groups_and_conditions_are_found_and_nothing_else(frame):
    trials = read_trials(frame, "q_learning")
    assert unused_factors(trials, {}) == {"group": ["control", "patient"], "drug": ["placebo", "verum"]}
    assert list(unused_factors(trials, {"alpha": "drug + (drug | subject)"})) == ["group"]
    assert unused_factors(trials, {"alpha": "drug", "beta": "C(group, 'patient')"}) == {}


def test_a_column_that_was_named_as_the_session_is_not_pointed_out(frame):
    trials = read_trials(frame.drop(columns="session"), "q_learning", columns={"session": "drug"})
    assert list(unused_factors(trials, {})) == ["group"]


def test_the_summary_says_what_to_do_instead(frame):
    said = instead_of_tests(fitted(frame))
    assert said.startswith("In the data and in no formula: group, drug.")
    assert '--formula "alpha ~ group"' in said
    assert '"group: patient - control"' in said
    assert SUBJECTS_README in said
    within = instead_of_tests(fitted(frame.drop(columns="group")))
    assert '"alpha ~ drug + (drug | subject)"' in within
    assert instead_of_tests(fitted(frame.drop(columns=["group", "drug"]))) == ""
    assert instead_of_tests(fitted(frame, formulas={"alpha": "drug", "beta": "group"})) == ""
    assert instead_of_tests(fitted(frame, pooling="none")) == ""  # nothing is shrunken


def test_a_name_that_a_shell_would_run_is_not_put_into_a_command(frame):
    said = instead_of_tests(fitted(frame.drop(columns="drug").rename(columns={"group": "my group"})))
    assert "my group" in said.split(".")[0]
    assert "`" not in said
    assert '"alpha ~ group"' in said


@pytest.mark.parametrize(
    ("pooling", "words"),
    [("partial", "biased towards finding a difference"), ("none", "estimated alone"), ("complete", "share one value")],
)
def test_the_note_beside_the_table(frame, pooling, words):
    text = about_subjects(fitted(frame, pooling))
    flat = " ".join(text.split())
    assert flat.startswith("subjects.csv: one row per subject and parameter,")
    assert words in flat
    assert ("10.3758/s13428-018-1054-3" in flat) == (pooling == "partial")
    assert 'fitrl contrast DIR "group: patient - control"' in flat
    assert max(map(len, text.splitlines())) <= 80


def test_it_is_written_beside_the_table(frame, tmp_path):
    fit = fitrl.fit("q_learning", frame, formulas={"alpha": "drug"}, quick=True, random_seed=1)
    fit.save(tmp_path)
    text = " ".join((tmp_path / SUBJECTS_README).read_text(encoding="utf-8").split())
    assert text.startswith("subjects.csv: one row per subject, drug and parameter")
    assert 'fitrl contrast DIR "group: patient - control"' in text
