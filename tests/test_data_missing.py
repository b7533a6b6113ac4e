"""Codes for missing cells: where they apply, what is said, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fitrl.cli.app import app
from fitrl.data import read_trials
from fitrl.errors import DataError
from fitrl.tasks.bandit import Bandit
from fitrl.tasks.task import Column


def lab(**columns):
    """Thirty trials of one subject; responses 3 and 8 are missed and coded."""
    choice = np.where(np.arange(30) % 3, 2, 1)
    made = pd.DataFrame({"subject": "a", "trial": range(1, 31), "choice": choice, "outcome": np.arange(30) % 2})
    made = made.astype({"choice": object, "outcome": object}).assign(**columns)
    made.loc[[3, 8], ["choice", "outcome"]] = "-1"
    return made


class Timed(Bandit):
    """A bandit with response times."""

    columns = (*Bandit.columns, Column("rt", "number", "response time in seconds", False))


def blanked(frame, **kwargs):
    frame = frame.copy()
    frame.loc[[3, 8], ["choice", "outcome"]] = None
    return read_trials(frame, Bandit, **kwargs).frame.drop(columns="line")


def test_declared_codes_are_blanks():
    for missing in (["-1"], [-1], [-1.0], {"*": [-1]}, {"choice": ["-1"], "outcome": ["-1"]}):
        found = read_trials(lab(), Bandit, missing=missing)
        pd.testing.assert_frame_equal(found.frame.drop(columns="line"), blanked(lab()))


def test_what_was_set_missing_is_said_by_column():
    found = read_trials(lab(), Bandit, missing=["-1"])
    said = {p.column: p.message for p in found.problems if "set missing" in p.message}
    assert said == {"choice": '2 cells with "-1" set missing.', "outcome": '2 cells with "-1" set missing.'}
    assert list(found.original["choice"])[3] == "-1"  # the user's table is left alone


def test_words_and_several_codes():
    frame = lab()
    frame.loc[3, ["choice", "outcome"]] = "NR"
    frame.loc[8, ["choice", "outcome"]] = ["NR", "999.0"]
    found = read_trials(frame, Bandit, missing=["NR", 999])
    pd.testing.assert_frame_equal(found.frame.drop(columns="line"), blanked(lab()))


def test_other_columns_keep_their_values():
    """A session, a trial number or a payoff of 1 is not missing because a choice of 1 is."""
    frame = lab(session=1, payoff_1=0.5, payoff_2=1)
    frame.loc[[3, 8], "choice"] = "1"
    frame.loc[frame["choice"] != "1", "choice"] = ["b", "c"] * 14
    frame.loc[[3, 8], "outcome"] = None
    found = read_trials(frame, Bandit, missing={"choice": ["1"]})
    assert found.frame["choice_given"].sum() == 28
    assert (found.frame["session"] == "1").all()
    assert (found.frame["payoff_2"] == 1).all()
    assert 1 in set(found.frame["trial"])


def test_response_times_are_blanked():
    frame = lab(rt=0.5)
    frame.loc[[3, 8], "rt"] = -1
    found = read_trials(frame, Timed, missing=["-1"])
    assert list(np.flatnonzero(~found.frame["rt_given"])) == [3, 8]


def test_gains_and_losses_of_hbayesdm_are_outcomes():
    frame = lab().drop(columns="outcome").rename(columns={"subject": "subjID"})
    frame = frame.assign(gain=np.arange(30) % 2, loss=0).astype({"gain": object, "loss": object})
    frame.loc[[3, 8], ["gain", "loss"]] = "-1"
    found = read_trials(frame, Bandit, missing=["-1"])
    assert list(np.flatnonzero(~found.frame["outcome_given"])) == [3, 8]


def test_an_outcome_that_may_be_a_loss_is_not_blanked_without_a_word():
    frame = lab()
    frame.loc[10:14, "outcome"] = -1
    with pytest.raises(DataError) as caught:
        read_trials(frame, Bandit, missing=["-1"])
    (problem,) = [p for p in caught.value.problems if p.level == "error"]
    assert problem.column == "outcome"
    assert problem.rows == (12, 13, 14, 15, 16)
    assert '"-1" stands in 5 rows with a response' in problem.message
    assert '--missing choice=-1 (in Python missing={"choice": ["-1"]})' in problem.remedy
    assert "--missing outcome=-1" in problem.remedy
    losses = read_trials(frame, Bandit, missing={"choice": ["-1"]}).frame
    assert (losses["outcome"][10:15] == -1).all()
    assert losses["choice_given"].sum() == 28
    missing = read_trials(frame, Bandit, missing={"*": ["-1"], "outcome": ["-1"]}).frame
    assert missing["outcome_given"].sum() == 23


def test_every_code_among_the_outcomes_is_told_of_by_itself():
    frame = lab()
    frame.loc[10, "outcome"] = 99
    frame.loc[12, "outcome"] = -1
    with pytest.raises(DataError) as caught:
        read_trials(frame, Bandit, missing=["-1", "99"])
    found = {p.rows: p.remedy for p in caught.value.problems if p.level == "error"}
    assert set(found) == {(12,), (14,)}
    assert "--missing choice=99 " in found[(12,)]
    assert "--missing choice=-1 " in found[(14,)]


def test_a_code_that_never_occurs_is_pointed_out():
    (warning,) = [p for p in read_trials(lab(), Bandit, missing=["-1", "NR"]).problems if "never occurs" in p.message]
    assert warning.level == "warning"
    assert '"NR"' in warning.message


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("-1", r'missing=\["-1"\]'),
        ([""], "blank"),
        ({"subject": ["a"]}, '"subject" is no column of choices, outcomes or response times'),
    ],
)
def test_declarations_that_make_no_sense(missing, words):
    with pytest.raises(DataError, match=words):
        read_trials(lab(), Bandit, missing=missing)


@pytest.mark.parametrize(
    ("code", "words"),
    [("-1", '--missing -1 (in Python missing=["-1"])'), ("miss", "--missing miss"), ("no resp", '--missing "no resp"')],
)
def test_errors_about_codes_say_how_to_declare_them(code, words):
    frame = lab()
    frame.loc[[3, 8], "choice"] = code
    frame.loc[[3, 8], "outcome"] = None
    with pytest.raises(DataError) as caught:
        read_trials(frame, Bandit)
    (problem,) = [p for p in caught.value.problems if p.level == "error"]
    assert words in problem.remedy
    assert read_trials(frame, Bandit, missing=[code]).frame["choice_given"].sum() == 28
    frame.loc[3, "outcome"] = "n.a."
    frame.loc[[3, 8], "choice"] = None
    with pytest.raises(DataError, match=r'"n\.a\." is not a number.*--missing n\.a\.'):
        read_trials(frame, Bandit)


def test_command_line(tmp_path):
    file = tmp_path / "lab.csv"
    lab().to_csv(file, index=False)
    found = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["check", str(file), "--missing", "-1"])
    assert found.exit_code == 0, found.output
    assert found.stdout.count('2 cells with "-1" set missing') == 2
    assert "2 missed" in found.stdout
    found = CliRunner(env={"COLUMNS": "120"}).invoke(
        app, ["check", str(file), "--missing", "choice=-1", "--missing", "outcome=-1"]
    )
    assert found.exit_code == 0, found.output
    found = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["check", str(file)])
    assert found.exit_code == 2
    assert "--missing -1" in found.stderr
