"""The loader knows kinds of columns, not tasks: two choices, response times, no choice at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from test_data_read import CSV, lab, notes, write

import fitrl
import fitrl.models
from fitrl.data import describe, read_trials
from fitrl.errors import DataError
from fitrl.tasks.task import Column, Task


@dataclass(frozen=True)
class TwoStep(Task):
    columns: ClassVar[tuple[Column, ...]] = (
        Column("choice1", "choice", "first choice"),
        Column("state2", "cue", "second state"),
        Column("choice2", "choice", "second choice"),
        Column("rt", "number", "response time in seconds", False),
        Column("outcome", "outcome", "what followed", aliases=("reward",)),
    )


@dataclass(frozen=True)
class Conditioning(Task):
    columns: ClassVar[tuple[Column, ...]] = (
        Column("stimulus", "cue", "what was shown"),
        Column("outcome", "outcome", "what followed"),
    )


def two_step() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = lab(2).rename(columns={"choice": "choice1"})
    frame = frame.assign(state2=rng.integers(1, 3, 60), choice2=rng.integers(1, 3, 60), rt=0.5)
    return frame.astype({"choice2": object, "state2": object})


def test_a_second_choice_that_is_missed_stops_the_learning():
    frame = two_step()
    frame.loc[3, "choice2"] = ""
    frame.loc[4, "rt"] = np.nan
    table = read_trials(frame, TwoStep).frame
    assert table["mask_choice1"].all()
    assert table["choice2_given"][3:6].tolist() == [False, True, True]
    assert table["mask_choice2"][3:6].tolist() == [False, True, True]
    assert table["mask_update"][3:6].tolist() == [False, True, True]
    assert table["mask_rt"][3:6].tolist() == [False, False, True]
    assert table["state2"].tolist() == [int(state) - 1 for state in frame["state2"]]


def test_masks_per_emission():
    frame = two_step().assign(mask_choice=1, mask_rt=1)
    frame.loc[3, "mask_choice"] = 0
    frame.loc[4, "mask_rt"] = 0
    table = read_trials(frame, TwoStep).frame
    assert table["mask_choice1"][3:6].tolist() == [False, True, True]
    assert table["mask_choice2"][3:6].tolist() == [False, True, True]
    assert table["mask_rt"][3:6].tolist() == [True, False, True]


def test_conditioning_has_no_choice():
    frame = lab(2).drop(columns="choice").assign(stimulus=np.resize(["b", "a"], 60))
    trials = read_trials(frame, Conditioning)
    assert trials.frame["mask_update"].all()
    assert trials.frame["stimulus"][:2].tolist() == [1, 0]
    assert trials.overview()["n_missed"].tolist() == [0, 0]
    assert notes(trials, "warning") == ""
    describe(trials)


@pytest.mark.parametrize("model", ["q_learning", fitrl.models.find("q_learning"), type(fitrl.models.find("rw"))])
def test_a_model_stands_for_its_task(tmp_path, model):
    assert read_trials(write(tmp_path, CSV), model).task.labels == ("left", "right")


def test_all_columns_that_are_missing_are_named():
    with pytest.raises(DataError) as caught:
        read_trials(pd.DataFrame({"a": [1], "b": [2]}), "q_learning")
    assert len(caught.value.problems) == 3


def two_step_lab(n=400, common=0.7, seed=1):
    """Daw's task: the first choices are balanced, the second ones are not."""
    rng = np.random.default_rng(seed)
    choice1 = rng.integers(1, 3, n)
    state2 = np.where(rng.random(n) < common, choice1, 3 - choice1)
    choice2, reward = 1 + (rng.random(n) < 0.55), rng.integers(0, 2, n)
    rows = {"choice1": choice1, "state2": state2, "choice2": choice2, "reward": reward}
    return pd.DataFrame({"subject": np.repeat(["s1", "s2"], n // 2), **rows})


def shown(trials) -> str:
    console = Console(width=400)
    with console.capture() as capture:
        console.print(describe(trials))
    return capture.get()


def test_a_task_may_say_what_it_sees_and_doubts():
    @dataclass(frozen=True)
    class Telling(Conditioning):
        def facts(self, frame):
            return {"shown": f"{len(frame)} [pictures]"}

        def doubts(self, frame):
            return ("all pictures are alike.",)

    frame = lab(2).drop(columns="choice").assign(stimulus=np.resize(["b", "a"], 60))
    trials = read_trials(frame, Telling)
    assert [str(problem) for problem in trials.problems if problem.level == "warning"] == ["all pictures are alike."]
    text = shown(trials)
    assert "60 [pictures]" in text
    assert "1 warning\n  1. all pictures are alike." in text
    assert "warning" not in shown(read_trials(frame, Conditioning))


def test_transitions_are_told():
    frame = two_step_lab()
    text = shown(read_trials(frame, "two_step_split"))
    for choice in (1, 2):
        own = frame[frame["choice1"] == choice]
        first = (own["state2"] == 1).mean()
        led = f'to state2 "1" in {first:.0%}, to state2 "2" in {1 - first:.0%} of {len(own)} trials'
        assert f'choice1 "{choice}" led {led}' in text
    assert "warning" not in text
    assert "second stage" not in text


@pytest.mark.parametrize("pair", [("state2", "choice2"), ("choice1", "choice2")])
def test_exchanged_columns_have_no_common_transition(pair):
    one, other = pair
    text = shown(read_trials(two_step_lab().rename(columns={one: other, other: one}), "two_step_split"))
    assert "after neither choice1 is one state2 common: none follows in 60% of trials or more" in text
    assert "Columns may be exchanged" in text


def test_first_choices_that_lead_to_one_state_are_doubted():
    frame = two_step_lab()
    frame["state2"] = np.where(np.random.default_rng(2).random(len(frame)) < 0.8, 2, frame["state2"])
    trials = read_trials(frame, "two_step_split")
    assert 'either choice1 leads mostly to state2 "2" (see transitions)' in shown(trials)
    # Too few trials for shares to mean anything.
    few = frame.groupby("choice1").head(15)
    assert "warning" not in shown(read_trials(few, "two_step_split"))


def test_a_state_that_follows_from_the_second_choice_is_told():
    frame = two_step_lab()
    through = frame.assign(choice2=2 * (frame["state2"] - 1) + frame["choice2"])
    both = shown(read_trials(through, "two_step_split"))
    assert 'choice2 names options of both states: 1 and 2 in state2 "1", 3 and 4 in state2 "2"' in both
    derived = shown(read_trials(through.drop(columns="state2"), "two_step_split"))
    assert "there is no state2: it follows from choice2, 1 and 2 in the first state, 3 and 4 in the second" in derived
    assert both.count("led to state2") == derived.count("led to state2") == 2


def test_certain_transitions_are_told_without_doubts():
    made = fitrl.simulate("two_step_kool", subjects=2, trials=60, random_seed=1)
    text = shown(made.trials)
    assert 'choice1 "3" led to state2 "1" in 100%, to state2 "2" in 0% of' in text
    assert "warning" not in text
