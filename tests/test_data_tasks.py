"""The loader knows kinds of columns, not tasks: two choices, response times, no choice at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from test_data_read import CSV, lab, notes, write

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
