"""What must not matter does not: row order, ids, order of subjects, missed trials."""

import numpy as np
import pandas as pd
import pytest

import fitrl
from fitrl.fitting.laplace import laplace, subject_likelihood
from fitrl.fitting.tables import group_table, subject_table
from fitrl.hierarchy.plan import make_plan
from fitrl.models import declare

# Stickiness and two rates make the order of trials matter as much as it can.
MODEL = declare("q_learning", ["stickiness", "dual_alpha"])
LENGTHS = (40, 25, 33, 12, 40)
IDS = ("7", "03", "12", "1", "21")


def lab():
    """Five subjects with unequal numbers of trials, two of them missed, as a lab's table."""
    rng = np.random.default_rng(8)
    frames = []
    for subject, n in zip(IDS, LENGTHS, strict=True):
        choice = rng.integers(1, 3, n).astype(float)
        outcome = (rng.random(n) < np.where(choice == 1, 0.7, 0.3)).astype(float)
        frames.append(
            pd.DataFrame({"subject": subject, "trial": np.arange(1, n + 1), "choice": choice, "outcome": outcome})
        )
    frame = pd.concat(frames, ignore_index=True)
    frame.loc[[3, 50], ["choice", "outcome"]] = np.nan
    return frame


def scores(frame, model=MODEL):
    """Log-likelihood by subject, at values that belong to the subject's label."""
    trials = fitrl.read_trials(frame, model)
    plan = make_plan(model, trials)
    first = np.random.default_rng(0).normal(size=(len(IDS), len(plan.parameters)))
    eta = np.stack([first[IDS.index(s.removeprefix("patient "))] for s in trials.subjects], axis=1)
    total, gradient = subject_likelihood(plan, trials)(eta)
    return trials, {s: np.array([t, *g]) for s, t, g in zip(trials.subjects, total, gradient.T, strict=True)}


@pytest.fixture(scope="module")
def straight():
    return scores(lab())


def assert_same(found, expected, rename=""):
    assert {rename + s for s in expected} == set(found)
    for subject, values in expected.items():
        np.testing.assert_allclose(found[rename + subject], values, rtol=1e-10, atol=1e-10)


def test_shuffled_rows_and_another_order_of_subjects(straight):
    trials, expected = straight
    shuffled, found = scores(lab().sample(frac=1, random_state=2))
    assert shuffled.subjects != trials.subjects
    assert shuffled.data_hash == trials.data_hash
    assert_same(found, expected)
    totals = np.array([v[0] for v in expected.values()])
    assert np.diff(np.sort(totals)).min() > 0.1  # so that a mix-up of subjects would show


def test_other_ids(straight):
    trials, expected = straight
    frame = lab().assign(subject=lambda d: "patient " + d["subject"])
    renamed, found = scores(frame)
    assert renamed.subjects == ["patient " + s for s in trials.subjects]
    assert_same(found, expected, "patient ")


def test_numbers_as_ids_are_their_text():
    as_text = lab().replace({"subject": {"03": "3"}})
    as_number = as_text.assign(subject=as_text["subject"].astype(int))
    texts, numbers = (fitrl.read_trials(frame, MODEL) for frame in (as_text, as_number))
    assert numbers.subjects == texts.subjects == ["7", "3", "12", "1", "21"]
    assert numbers.data_hash == texts.data_hash


def test_missed_trials_neither_count_nor_shift_the_history(straight):
    """Without its missed trials a data set has the same likelihood, if nothing happens in between."""
    trials, expected = straight
    frame = lab()
    without, found = scores(frame[frame["choice"].notna()])
    assert trials.frame["mask_choice"].sum() == len(without.frame) == sum(LENGTHS) - 2
    assert_same(found, expected)
    # More of them, in the middle and at both ends, and with an outcome beside the missing response.
    more = pd.DataFrame({"subject": "7", "trial": [0.0, 0.5, 7.5, 7.6, 99.0], "outcome": [1.0, np.nan, 1, 0, np.nan]})
    padded, found = scores(pd.concat([frame, more], ignore_index=True))
    assert (~padded.frame["choice_given"]).sum() == 7
    assert_same(found, expected)


def test_a_missed_trial_is_a_trial_for_what_happens_between_trials(straight):
    """Values are forgotten during a missed trial, so that leaving it out of a file would be wrong."""
    frame = lab()
    model = declare("q_learning", ["forgetting"])
    _, with_missed = scores(frame, model)
    _, without = scores(frame[frame["choice"].notna()], model)
    for subject in IDS:
        same = np.allclose(with_missed[subject], without[subject], rtol=1e-10)
        assert same == (subject not in ("7", "03"))


def test_a_fit_is_the_same_for_other_ids_and_rows():
    """The quick fit, with the same seed: the same draws for the same subjects."""
    shuffled = lab().sample(frac=1, random_state=5)
    shuffled["subject"] = pd.Categorical(shuffled["subject"], IDS)
    shuffled = shuffled.sort_values("subject", kind="stable")
    shuffled["subject"] = "patient " + shuffled["subject"].astype(str)
    found = []
    for frame in (lab(), shuffled):
        trials = fitrl.read_trials(frame, "q_learning")
        found.append(laplace(make_plan(declare("q_learning"), trials), trials, random_seed=3)[0]["posterior"])
    for name in found[0].data_vars:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-9)


@pytest.mark.study
def test_a_posterior_is_the_same_for_shuffled_and_renamed_subjects():
    """Other order and other ids change the random numbers that a subject gets, so only up to Monte-Carlo error."""
    frame = fitrl.simulate("q_learning", subjects=12, trials=100, random_seed=1).frame
    other = frame.assign(subject=lambda d: "patient " + d["subject"]).sample(frac=1, random_state=1)
    tables = []
    for rows in (frame, other):
        found = fitrl.fit("q_learning", rows, random_seed=4, progressbar=False)
        assert found.verdict.converged, found.verdict.text()
        group = group_table(found.idata, found.spec.parameters, 1.0, "partial").rename(columns={"quantity": "subject"})
        subjects = subject_table(found.idata, found.spec.parameters, 1.0)
        subjects["subject"] = subjects["subject"].str.removeprefix("patient ")
        tables.append(pd.concat([group, subjects]).set_index(["parameter", "subject"]))
    one, two = tables[0], tables[1].loc[tables[0].index]
    z = (one["post_mean"] - two["post_mean"]) / np.hypot(one["mcse_mean"], two["mcse_mean"])
    print(f"{len(z)} quantities, largest |z| {z.abs().max():.2f}, {(z.abs() > 3).mean():.1%} beyond 3")
    assert z.abs().max() < 4
    assert (z.abs() > 3).mean() < 0.05
