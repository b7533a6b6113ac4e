"""A wrong file: every problem at once, with place, value, expectation and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_data_read import CSV, lab, notes, write

from fitrl.data import read_trials
from fitrl.errors import DataError
from fitrl.hierarchy.covariates import with_subjects
from fitrl.tasks.bandit import Bandit


def failure(source, **kwargs) -> DataError:
    with pytest.raises(DataError) as caught:
        read_trials(source, Bandit, **kwargs)
    return caught.value


def changed(column: str, **cells) -> pd.DataFrame:
    """A good frame with some cells replaced: row number (as ``r5``) to value."""
    frame = lab()
    frame[column] = frame[column].astype(object)
    for row, value in cells.items():
        frame.loc[int(row[1:]), column] = value
    return frame


def errors(error: DataError):
    return [problem for problem in error.problems if problem.level == "error"]


def only(error: DataError):
    found = errors(error)
    assert len(found) == 1, str(error)
    return found[0]


def test_a_file_that_is_not_there():
    assert "there is no file" in str(failure("nowhere.csv"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "file is empty"),
        ("\n  \n", "file is empty"),
        ("subject,trial,choice,outcome\n", "header and no rows"),
        (CSV.replace(",", "|"), "only one column"),
        (CSV.replace("\n07", "\n07,x", 1), "1 line has 5 fields, the header has 4"),
        (CSV.replace("07,1,left,1", "07,1,left,0,5"), "decimal comma"),
        (CSV.replace("b,2,left,1", "b,2"), "half-written"),
        (CSV.replace("\n0", "\n1,0").replace("\nb", "\n1,b"), "row.names = FALSE"),
        (CSV.split("\n")[0] + "\n" + CSV.split("\n", 1)[1].replace(",", ";"), "the rows by something else"),
        (CSV.replace("outcome", "choice"), "more than once"),
        (CSV.replace("07,2,right", '07,2,"right'), "quotation mark"),
        ("PK\x03\x04" + CSV, "Excel workbook"),
        (CSV + "\x00", "not a text file"),
    ],
)
def test_the_file_itself(tmp_path, text, words):
    error = failure(write(tmp_path, text))
    assert words in str(error)
    assert str(error).startswith("lab.csv")


def test_places_in_the_file_itself(tmp_path):
    assert only(failure(write(tmp_path, CSV.replace("07,2,right", '07,2,"right')))).rows == (3,)
    assert only(failure(write(tmp_path, CSV.replace("b,2,left,1", "b,2")))).rows == (7,)
    assert only(failure(write(tmp_path, CSV.replace("outcome", "choice")))).rows == (1,)
    ragged = CSV.replace("07,4,", "\n07,4,9,")  # a blank line counts as a line
    assert only(failure(write(tmp_path, ragged))).rows == (6,)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_wrong_encoding(tmp_path, encoding):
    problem = only(failure(write(tmp_path, CSV.replace("b,1", "Jörg,1"), encoding=encoding)))
    assert "UTF-8" in problem.message + problem.remedy
    if encoding == "latin-1":
        assert problem.rows == (6,)
        assert "Jörg" in problem.message


@pytest.mark.parametrize(
    ("wrong", "canonical", "likely"),
    [
        ("person", "subject", "person"),
        ("outcom", "outcome", "outcom"),
        ("points", "outcome", "points"),
        ("key_response", "choice", ""),
        ("response", "choice", "response"),
        ("choice_made", "choice", "choice_made"),
    ],
)
def test_a_missing_column_names_the_likely_one(wrong, canonical, likely):
    problem = only(failure(lab().rename(columns={canonical: wrong})))
    assert f"the {canonical} column is missing" in problem.message
    assert f"--column {canonical}={likely or 'NAME'}" in problem.remedy
    assert f'columns={{"{canonical}": "{likely or "NAME"}"}}' in problem.remedy


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"subject": "subjct"}, 'Did you mean "subject"'),
        ({"subjet": "subject"}, 'Did you mean "subject"'),
        ({"id": "subject"}, "The other way round"),
    ],
)
def test_a_wrong_word_about_columns(columns, words):
    assert words in str(failure(lab(id=1), columns=columns))


def test_two_candidates_for_a_column():
    frame = lab().rename(columns={"subject": "ID"}).assign(participant=1)
    assert "could all be the subject" in str(failure(frame))
    assert read_trials(frame, Bandit, columns={"subject": "ID"}).n_subjects == 3


@pytest.mark.parametrize(
    ("frame", "row", "words"),
    [
        (changed("choice", r4=9), 6, "9 looks like a code for a missing response"),
        (changed("choice", r4=-1), 6, "-1 looks like a code for a missing response"),
        (changed("choice", r4=7), 6, "codes are 1, 2, 7"),
        (changed("choice", r4="x"), 6, '"x" is no option'),
        (changed("choice", r4=1.5), None, "not whole numbers"),
        (changed("outcome", r4="win"), 6, 'outcome "win" is not a number'),
        (changed("outcome", r4="1,250"), 6, "is not a number"),
        (changed("outcome", r4=np.inf), 6, "is not finite"),
        (changed("outcome", r4="1e999"), 6, "is not finite"),
        (changed("outcome", r4=60), 6, "--outcome-scale 100"),
        (changed("outcome", r4=-1.5), 6, "1 outcome lies beyond the scale of 1"),
        (changed("subject", r4=None), 6, "subject id is missing in 1 row"),
        (changed("subject", r4=" "), 6, "subject id is missing in 1 row"),
        (changed("trial", r4="five"), 6, 'trial "five" is not a number'),
        (changed("trial", r4=None), 6, "trial number is missing"),
        (changed("trial", r4=4), 5, "2 rows share subject, trial"),
        (
            lab(forced=0).assign(forced=lambda d: d["forced"].where(d.index != 4, 2)),
            6,
            '"2" is neither 0 nor 1',
        ),
        (
            lab(mask_choice=1).assign(mask_choice=lambda d: d["mask_choice"].where(d.index != 4)),
            6,
            "1 blank cell",
        ),
    ],
)
def test_a_wrong_cell(frame, row, words):
    problem = only(failure(frame))
    assert words in str(problem)
    assert problem.remedy
    if row is not None:
        assert problem.rows[0] == row


def test_negative_codes_never_address_the_last_option():
    frame = lab(choice=np.resize([-1, 1, 2], 90))
    problem = only(failure(frame))
    assert "unknown code" in problem.message
    assert "-1" in problem.message


def test_nothing_else_is_missing():
    for text in ("NaN", "NA", "N/A", "nan", "None", "", "  "):
        assert not read_trials(changed("choice", r4=text), Bandit).frame["choice_given"][4]
    words = lab(choice=np.resize(np.array(["left", "right"], dtype=object), 90))
    for text in ("miss", "null", "-", "no response"):
        words.loc[4, "choice"] = text
        problem = only(failure(words))
        assert "looks like a missing response" in problem.message
        assert problem.rows == (6,)
    declared = read_trials(words, Bandit, codes={"choice": ["left", "right", "no response"]})
    assert declared.task.n_options == 3


def test_labels_that_differ_only_in_case_or_spaces():
    words = lab(choice=np.resize(np.array(["go left", "right"], dtype=object), 90))
    words.loc[4, "choice"] = "Go  left"
    problem = only(failure(words))
    assert "differ only in case or spaces" in problem.message
    assert problem.rows == (6,)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ({"choice": [1]}, '"2" is none of the declared options "1"'),
        ({"choise": [1, 2]}, 'Did you mean "choice"'),
        ({"choice": "12"}, "must be a list"),
        ({"choice": [1, "1"]}, "occurs twice"),
    ],
)
def test_declared_codes(codes, words):
    assert words in str(failure(lab(), codes=codes))


def test_fewer_than_two_options():
    assert 'only one option, "1"' in str(failure(lab(choice=1)))
    assert "no option" in str(failure(lab(choice=np.nan)))
    assert "no choice can be scored" in str(failure(lab(forced=1)))


@pytest.mark.parametrize(("scale", "good"), [(0, False), (-1, False), ("big", False), (True, False), ("2", True)])
def test_the_outcome_scale_itself(scale, good):
    if good:
        assert read_trials(lab(), Bandit, outcome_scale=scale).outcome_scale == 2.0
    else:
        assert "above 0 was expected" in str(failure(lab(), outcome_scale=scale))


def test_blocks_ask_for_a_reset():
    frame = lab(block=np.tile(np.repeat([1, 2], 15), 3))
    problem = only(failure(frame))
    assert problem.column == "block"
    assert "--reset block, session or never" in problem.remedy
    assert "carry over" in problem.remedy
    assert "no block column" in str(failure(lab(), reset="block"))
    assert "was expected" in str(failure(lab(), reset="trial"))
    interrupted = frame.assign(block=np.resize([1, 2], 90))
    assert "interrupted" in str(failure(interrupted, reset="block"))
    assert read_trials(interrupted, Bandit, reset="session").n_sequences == 3


def test_duplicates_name_the_column_that_tells_them_apart():
    frame = pd.concat([lab().assign(day=1), lab(seed=1).assign(day=2)], ignore_index=True)
    problem = only(failure(frame))
    assert problem.rows == (2, 92)
    assert "--column session=day" in problem.remedy
    assert read_trials(frame, Bandit, columns={"session": "day"}).n_sequences == 6


def test_offers():
    frame = lab().assign(option_1=1, option_2=2, option_3=3)
    equal = frame.assign(option_2=frame["option_2"].where(frame.index != 4, 1))
    equal.loc[4, "choice"] = 1
    problem = only(failure(equal))
    assert "on offer twice" in problem.message
    assert problem.rows == (6,)
    unequal = frame.assign(option_3=frame["option_3"].where(frame.index != 4))
    problem = only(failure(unequal))
    assert "fewer than 3 options" in problem.message
    assert problem.rows == (6,)
    strange = frame.assign(option_1=4).assign(choice=frame["choice"].where(frame.index == 4, 2))
    strange.loc[4, "choice"] = 1
    problem = only(failure(strange))
    assert 'the choice "1" is not among the options on offer, "4" and "2" and "3"' in problem.message
    assert problem.rows == (6,)
    assert "only one option_# column" in str(failure(frame.drop(columns=["option_2", "option_3"])))
    assert "there is no option_2" in str(failure(frame.drop(columns="option_2")))


def test_cues():
    frame = lab(stimulus=np.resize(["a", "b"], 90)).astype({"stimulus": object, "choice": object})
    frame.loc[4, "stimulus"] = None
    problem = only(failure(frame))
    assert "stimulus is blank in 1 row with a response" in problem.message
    assert problem.rows == (6,)
    frame.loc[4, "choice"] = None
    assert read_trials(frame, Bandit).task.n_options == 4


def test_payoffs_say_how_many_options_there_are():
    three = {"payoff_1": 0.1, "payoff_2": 0.2, "payoff_3": 0.3}
    assert "there are 3 payoff columns" in str(failure(lab(choice=np.resize([1, 2, 4], 90), **three)))
    words = lab(choice=np.resize(np.array(["a", "b"]), 90), **three)
    assert 'there are 3 payoff columns and 2 options, "a", "b"' in str(failure(words))
    assert read_trials(words, Bandit, codes={"choice": ["a", "b", "c"]}).task.n_options == 3
    blank = lab(payoff_1=0.5, payoff_2=0.5)
    blank.loc[4, "payoff_2"] = np.nan
    assert "1 payoff is missing" in str(failure(blank))


def test_every_problem_at_once():
    frame = changed("choice", r4=9).drop(columns="subject").assign(forced=3, block=1)
    frame["outcome"] = frame["outcome"].astype(object)
    frame.loc[7, "outcome"] = "lots"
    frame.loc[8, "outcome"] = 40
    error = failure(frame)
    text = str(error)
    assert sum(problem.level == "error" for problem in error.problems) == 6
    for words in (
        "subject column is missing",
        '"9"',
        '"lots"',
        "beyond the scale",
        '"3" is neither',
        "--reset",
    ):
        assert words in text


def test_warnings():
    frame = pd.concat(
        [
            lab(2),
            lab(1, 10).assign(subject="few", outcome=np.resize([0, 1], 10)),
            lab(1).assign(subject="sided", choice=1),
            lab(1).assign(subject="flat", outcome=1),
            lab(1).assign(subject="absent", choice=np.nan),
            lab(1, 40).iloc[10:].drop(index=20).assign(subject="gap"),
        ],
        ignore_index=True,
    )
    trials = read_trials(frame, Bandit)
    text = notes(trials, "warning")
    assert "1 subject has fewer than 20 trials: few (10)" in text
    assert "sided (100%)" in text
    assert "2 subjects have no learning signal, all outcomes are the same: flat, absent" in text
    assert "no response at all: absent" in text
    assert "jump in 1 place (1 subject); the first: subject gap from 20 to 22" in text
    assert "1 subject starts later than the others; the first: subject gap at trial 11" in text
    assert len([p for p in trials.problems if p.level == "warning"]) == 5
    assert notes(read_trials(lab(), Bandit), "warning") == ""


def test_one_sided_choices_are_no_surprise_where_offers_differ():
    frame = lab(choice=np.resize(np.array([1] * 29 + [2]), 90), stimulus=np.resize(["a", "b"], 90))
    assert "same option" not in notes(read_trials(frame, Bandit), "warning")
    assert "same option" in notes(read_trials(frame.drop(columns="stimulus"), Bandit), "warning")


def test_no_learning_signal_at_all():
    assert "no subject has any learning signal" in notes(read_trials(lab(outcome=1), Bandit), "warning")
    assert "no trial teaches" in notes(read_trials(lab(outcome=np.nan), Bandit), "warning")


def test_gaps_are_not_reported_where_blocks_restart():
    frame = lab(2, 40, block=np.tile(np.repeat([1, 2], 20), 2))
    frame["trial"] = (frame["trial"] - 1) % 20 + 1
    assert notes(read_trials(frame, Bandit, reset="block"), "warning") == ""
    assert "jump" in notes(read_trials(frame.drop(index=5), Bandit, reset="block"), "warning")


def test_suspicious_zero_ids_and_trial_names():
    rare = lab(choice=np.resize([1, 2], 90))
    rare.loc[4, "choice"] = 0
    assert "If 0 means a missed response" in notes(read_trials(rare, Bandit), "warning")
    ids = lab().replace({"subject": {"s0": "1", "s1": "01"}})
    assert "leading zeros" in notes(read_trials(ids, Bandit), "warning")
    named = lab().rename(columns={"trial": "trial_nr"})
    assert "--column trial=trial_nr" in notes(read_trials(named, Bandit), "warning")


def test_something_that_is_no_model():
    with pytest.raises(DataError, match="neither a model nor a task"):
        read_trials(lab(), 3)


def test_paths_may_be_strings(tmp_path):
    path = write(tmp_path, CSV)
    assert read_trials(str(path), Bandit).source == Path(path).name


def test_a_slip_of_a_label_is_not_an_option():
    choices = ["left", "right"] * 40
    choices[7] = "rigth"
    frame = pd.DataFrame({"subject": 1, "trial": range(1, 81), "choice": choices, "outcome": [1, 0, 0, 1] * 20})
    with pytest.raises(DataError, match=r'line 9, column "choice": the label "rigth" \(1 time\) looks like a slip of'):
        read_trials(frame)
    assert read_trials(frame, codes={"choice": ["left", "right", "rigth"]}).task.n_options == 3


@pytest.mark.parametrize(
    ("codes", "missing", "scale"),
    [((0, 1), "-1", "10"), ((-1, 1), "0", "10"), ((1, 2), "-1", "10"), ((1, 2), "99", "10")],
)
def test_the_rarer_code_stands_for_a_missed_response(codes, missing, scale):
    """Of -1, 0 and 1 two readings are possible; and what stands beside a missed response is no outcome."""
    choice = [str(codes[i % 2]) for i in range(30)]
    choice[7] = choice[20] = missing
    outcome = [99 if c == missing else 10 * (i % 3 == 0) for i, c in enumerate(choice)]
    frame = pd.DataFrame({"subject": "a", "choice": choice, "outcome": outcome})
    (coded,) = [p for p in failure(frame).problems if p.level == "error" and p.column == "choice"]
    assert f'unknown code "{missing}"' in coded.message
    assert coded.rows == (9, 22)
    assert coded.remedy.startswith("Leave those cells blank")
    errors = [p for p in failure(frame).problems if p.level == "error" and p.column == "outcome"]
    assert len(errors) == 1
    assert f"--outcome-scale {scale} " in errors[0].remedy
    assert "99" not in errors[0].message


@pytest.mark.parametrize(
    ("largest", "scale"), [(50, "50"), (25, "25"), (200, "200"), (87, "100"), (7, "10"), (100, "100")]
)
def test_the_scale_that_is_proposed(largest, scale):
    frame = lab().assign(outcome=0)
    frame.loc[0, "outcome"] = largest
    assert f"--outcome-scale {scale} " in only(failure(frame)).remedy


def test_a_name_with_a_blank_is_quoted_for_the_shell():
    problem = only(failure(lab().rename(columns={"subject": "Subject ID"})))
    assert '--column "subject=Subject ID" ' in problem.remedy


def test_the_columns_found_are_listed_once():
    message = str(failure(lab().rename(columns={"choice": "x1", "outcome": "x2"})))
    assert message.count("The columns found are") == 1


def test_what_was_chosen_is_proposed_before_the_key():
    frame = lab().rename(columns={"choice": "chosen"})
    frame.insert(0, "key", "f")
    assert 'Is it "chosen"?' in only(failure(frame)).remedy


@pytest.mark.parametrize(("name", "what"), [("visit", "session"), ("Run", "block")])
def test_sessions_and_blocks_that_are_not_named(name, what):
    frame = lab()
    frame[name] = [1 + i % 2 for i in range(len(frame))]
    (warning,) = [p for p in read_trials(frame, Bandit).problems if name in p.message]
    assert warning.level == "warning"
    assert f"--column {what}={name}" in warning.remedy
    frame[name] = 1  # the same in all rows: nothing to name
    assert not [p for p in read_trials(frame, Bandit).problems if name in p.message]


def test_a_condition_is_not_taken_for_a_session_without_a_word():
    frame = pd.concat([lab().assign(condition=word) for word in ("gain", "loss")], ignore_index=True)
    remedy = only(failure(frame)).remedy
    assert "--column session=condition" in remedy
    assert "one condition at a time" in remedy


def test_a_word_among_numbers_is_blank_first_and_an_option_second():
    remedy = only(failure(lab().assign(choice=["1", "2", "1", "2", "miss", *["1"] * (len(lab()) - 5)]))).remedy
    assert remedy.startswith("Leave those cells blank")
    assert 'Only if "miss" is an option after all' in remedy


def test_a_running_total_is_no_outcome():
    """30 trials of a score that is summed up; the same outcomes one by one raise no suspicion."""
    single = pd.DataFrame({"subject": "a", "choice": [1, 2] * 15, "outcome": [1, 1, 0] * 10})
    total = single.assign(outcome=single["outcome"].cumsum())
    said = [[p.message for p in read_trials(f, Bandit, outcome_scale=20).problems] for f in (single, total)]
    assert [any("running total" in message for message in messages) for messages in said] == [False, True]


def keys(**cells) -> pd.DataFrame:
    """Four subjects who press f and j in turn, with some cells of the choice replaced."""
    frame = lab(4, 40, choice=np.resize(np.array(["f", "j"], dtype=object), 160))
    for row, value in cells.items():
        frame.loc[int(row[1:]), "choice"] = value
    return frame


def test_a_number_among_words_is_the_odd_one():
    problem = only(failure(keys(r3="-1", r9="-1")))
    assert problem.rows == (5, 11)
    assert '"-1" is no option; the others are words (f, j) (2 rows)' in problem.message
    assert "--missing -1 " in problem.remedy
    assert read_trials(keys(r3="-1", r9="-1"), Bandit, missing=[-1]).codings["choice"] == ("f", "j")


def test_what_stands_in_many_rows_is_never_proposed_as_missing():
    mixed = keys().replace({"choice": {"j": "1"}})
    mixed.loc[:2, "choice"] = "1"
    problem = only(failure(mixed))  # that one option is left follows from it
    assert '"f" is no option' in problem.message
    assert "--missing" not in problem.remedy
    assert problem.remedy.startswith('If "f" is an option, declare all of them: codes={"choice": ["1", "f"]}')
    late = keys().replace({"choice": {"f": "early", "j": "late"}})
    assert "--missing" not in only(failure(late)).remedy


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("won", "lost"), ()),
        (("won", "lost", "even", "much", "less", "none"), ()),  # each in a sixth of the rows
        (("1", "0", "50 cent"), ()),
        ((*["1", "0"] * 4, "50 cent"), ()),
        (("won", "lost") * 10 + ("NR",), ("NR",)),
        (("1", "0") * 10 + ("NR",), ("NR",)),
    ],
)
def test_outcomes_in_words_are_to_become_numbers(words, proposed):
    error = failure(lab(4, 40, outcome=np.resize(np.array(words, dtype=object), 160)))
    for problem in errors(error):
        asked = [word for word in words if f"--missing {word} " in problem.remedy]
        assert tuple(dict.fromkeys(asked)) == tuple(word for word in proposed if f'"{word}"' in problem.message)
        if '"won"' in problem.message:
            assert "won = 1 and lost = 0" in problem.remedy


def test_every_remedy_names_its_own_value():
    error = failure(lab(4, 40).astype({"choice": object}).pipe(_with, choice=["x", "y", "z", "p", "q"]))
    remedies = [problem.remedy for problem in errors(error)]
    assert [next(w for w in "xyzpq" if f"--missing {w} " in remedy) for remedy in remedies] == ["x", "y", "z", "p"]
    assert 'Only if "y" is an option after all: codes={"choice": ["1", "2", "y"]}' in remedies[1]
    assert 'Only if "p", "q" are options after all' in remedies[3]
    error = failure(keys(r3="F", r9="g"), codes={"choice": ["f", "j"]})
    assert ["--missing F " in p.remedy for p in errors(error)] == [True, False]
    assert ["--missing g " in p.remedy for p in errors(error)] == [False, True]
    error = failure(lab(4, 40).astype({"outcome": object}).pipe(_with, outcome=["NR", "oops"]))
    assert ["--missing oops " in p.remedy for p in errors(error)] == [False, True]


def _with(frame: pd.DataFrame, **values) -> pd.DataFrame:
    """Put values into the first rows of a column."""
    for column, cells in values.items():
        frame.loc[: len(cells) - 1, column] = cells
    return frame


def test_a_label_that_hardly_occurs_is_pointed_out():
    (warning,) = [p for p in read_trials(keys(r20="g"), Bandit).problems if '"g"' in p.message]
    assert warning.level == "warning"
    assert warning.rows == (22,)
    assert '"g" (1 row, subject s0 only) counts as an option' in warning.message
    assert '--codes "choice=f,j"' in warning.remedy
    codes = {"choice": ["f", "g", "j"]}
    assert '"g"' not in notes(read_trials(keys(r20="g"), Bandit, codes=codes), "warning")
    one_person = keys(**{f"r{row}": "k" for row in range(41, 80, 2)})
    assert '"k" (20 rows, subject s1 only)' in notes(read_trials(one_person, Bandit), "warning")
    two_people = keys(**{f"r{row}": "k" for row in (*range(41, 80, 2), 81)})
    assert "slip" not in notes(read_trials(two_people, Bandit), "warning")


def test_a_rare_label_is_named_beside_one_that_differs_in_case():
    problem = only(failure(keys(r10="F", r20="g")))
    assert 'the labels "F" (1), "f" (' in problem.message
    assert '"g" (1 row, line 22) may be a slip, too.' in problem.remedy


def test_copies_and_different_trials_with_one_number():
    frame = keys()
    twice = pd.concat([frame, frame.iloc[[5]]], ignore_index=True)
    problem = only(failure(twice))
    assert problem.rows == (162,)
    assert problem.remedy == "Remove the copies."
    frame.loc[5, "trial"] = frame.loc[4, "trial"]
    problem = only(failure(frame))
    assert problem.rows == (6, 7)
    assert "2 rows share subject, trial" in problem.message
    assert "different trials with one number" in problem.remedy
    assert "choice" in problem.remedy
    assert "Remove" not in problem.remedy


def test_one_copy_does_not_hide_the_column_that_tells_sessions_apart():
    frame = pd.concat([lab().assign(day=1), lab(seed=1).assign(day=2)], ignore_index=True)
    copies, shared = errors(failure(pd.concat([frame, frame.iloc[[5]]], ignore_index=True)))
    assert copies.rows == (182,)
    assert copies.remedy == "Remove the copies."
    assert shared.rows == (2, 92)
    assert "--column session=day" in shared.remedy


def test_trials_of_two_sessions_that_are_the_same_by_chance_are_not_called_copies():
    frame = pd.concat([lab(), lab(seed=1)], ignore_index=True)
    chance, shared = errors(failure(frame))
    assert "Remove them if they are copies" in chance.remedy
    assert "--column session=NAME" in shared.remedy


@pytest.mark.parametrize(
    ("outcomes", "scale", "warned"),
    [((0, 0.5), None, True), ((0, 0.6), None, False), ((0, 0.5), 0.5, False), ((-0.5, 0), None, False)],
)
def test_outcomes_that_never_exceed_the_start(outcomes, scale, warned):
    text = notes(read_trials(lab(outcome=np.resize(outcomes, 90)), Bandit, outcome_scale=scale), "warning")
    assert ("the largest outcome is 0.5, and values start at 0.5" in text) == warned
    assert ("--outcome-scale 0.5 " in text) == warned


def test_ids_of_the_table_of_subjects_without_their_zeros():
    trials = read_trials(lab(2).replace({"subject": {"s0": "001", "s1": "002"}}), Bandit)
    with pytest.raises(DataError) as caught:
        with_subjects(trials, pd.DataFrame({"subject": ["1", "002"], "age": [3, 4]}))
    assert "1 subject of the trials has no row: 001." in str(caught.value)
    assert '"001" is "1" there' in str(caught.value)
    assert "Add them" not in str(caught.value)
    with pytest.raises(DataError, match=r"2 subjects of the trials have no row: 001, 002\. Add them"):
        with_subjects(trials, pd.DataFrame({"subject": ["a", "b"], "age": [3, 4]}))
