"""Reading a lab's file: every layout that must work gives the same trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fitrl.data import Trials, read_trials
from fitrl.errors import DataError
from fitrl.tasks.bandit import Bandit

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

CSV = """subject,trial,choice,outcome
07,1,left,1
07,2,right,0
07,3,,
07,4,right,1
b,1,right,0
b,2,left,1
"""


def write(folder: Path, text: str, name: str = "lab.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def notes(trials: Trials, level: str = "note") -> str:
    return "\n".join(str(problem) for problem in trials.problems if problem.level == level)


def lab(n_subjects: int = 3, n_trials: int = 30, seed: int = 0, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_subjects * n_trials
    frame = pd.DataFrame(
        {
            "subject": np.repeat([f"s{i}" for i in range(n_subjects)], n_trials),
            "trial": np.tile(np.arange(1, n_trials + 1), n_subjects),
            "choice": rng.integers(1, 3, n),
            "outcome": rng.integers(0, 2, n),
        }
    )
    return frame.assign(**columns)


def test_the_canonical_frame_by_hand(tmp_path):
    trials = read_trials(write(tmp_path, CSV), Bandit)
    expected = pd.DataFrame(
        {
            "subject": pd.Series(["07"] * 4 + ["b"] * 2, dtype="str"),
            "trial": [1, 2, 3, 4, 1, 2],
            "line": [2, 3, 4, 5, 6, 7],
            "sequence": [0, 0, 0, 0, 1, 1],
            "subject_idx": [0, 0, 0, 0, 1, 1],
            "choice": [0, 1, 0, 1, 1, 0],
            "choice_given": [True, True, False, True, True, True],
            "outcome": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0],
            "outcome_given": [True, True, False, True, True, True],
            "mask_choice": [True, True, False, True, True, True],
            "offer_1": 0,
            "offer_2": 1,
            "choice_at": [0, 1, 0, 1, 1, 0],
            "mask_update": [True, True, False, True, True, True],
            "reset": [True, False, False, False, True, False],
        }
    )
    pd.testing.assert_frame_equal(trials.frame, expected)
    assert trials.codings == {"choice": ("left", "right")}
    assert trials.subjects == ["07", "b"]
    assert (trials.n_subjects, trials.n_sequences, trials.outcome_range) == (2, 2, (0.0, 1.0))
    assert trials.sequence_subject.tolist() == [0, 1]
    assert trials.task.n_options == 2
    assert trials.original["choice"].tolist() == ["left", "right", "", "right", "right", "left"]


def test_overview_by_hand(tmp_path):
    table = read_trials(write(tmp_path, CSV.replace("b,1,right,0", "b,1,right,1")), Bandit).overview()
    assert table["subject"].tolist() == ["07", "b"]
    assert table["n_trials"].tolist() == [4, 2]
    assert table["n_missed"].tolist() == [1, 0]
    assert table["n_scored"].tolist() == [3, 2]
    assert table["share_left"].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert table["mean_outcome"].tolist() == pytest.approx([2 / 3, 1.0])


@pytest.mark.parametrize("separator", [",", ";", "\t", "  "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_and_line_ends(tmp_path, separator, encoding, end):
    text = CSV.replace("07,3,,", "07,3,NA,NaN").replace(",", separator).replace("\n", end)
    trials = read_trials(write(tmp_path, text, encoding=encoding), Bandit)
    assert trials.data_hash == read_trials(write(tmp_path, CSV, "plain.csv"), Bandit).data_hash
    assert trials.frame["line"].tolist() == [2, 3, 4, 5, 6, 7]


def test_quotes_blank_lines_and_spreadsheet_tails(tmp_path):
    text = '"subject","trial","choice","outcome"\n\n' + CSV.split("\n", 1)[1].replace("left", '"left"')
    text = text.replace("07,2,right,0", "07,2, right ,0,,") + ",,,\n"
    trials = read_trials(write(tmp_path, text), Bandit)
    assert trials.data_hash == read_trials(write(tmp_path, CSV, "plain.csv"), Bandit).data_hash
    assert trials.frame["line"].tolist() == [3, 4, 5, 6, 7, 8]


def test_what_excel_adds_is_no_column(tmp_path):
    plain = read_trials(write(tmp_path, CSV), Bandit)
    tailed = "\n".join(f"{line},,," for line in CSV.splitlines()) + "\n,,,,,,\n"
    assert read_trials(write(tmp_path, tailed), Bandit).original.columns.tolist() == plain.original.columns.tolist()
    named = read_trials(write(tmp_path, "sep=;\n" + CSV.replace(",", ";")), Bandit)
    assert named.data_hash == plain.data_hash
    assert (named.frame["line"] == plain.frame["line"] + 1).all()


def test_decimal_comma_is_understood_and_said(tmp_path):
    text = CSV.replace(",", ";").replace("right;1", "right;0,5")
    trials = read_trials(write(tmp_path, text), Bandit)
    assert trials.frame["outcome"].tolist() == [1, 0, 0, 0.5, 0, 1]
    assert "decimal commas" in notes(trials)


def test_a_frame_gives_what_its_file_gives(tmp_path):
    frame = lab()
    frame["choice"] = frame["choice"].astype(float)
    frame.loc[4, ["choice", "outcome"]] = np.nan
    before = frame.copy(deep=True)
    frame.to_csv(tmp_path / "lab.csv", index=False)
    from_frame, from_file = read_trials(frame, Bandit), read_trials(tmp_path / "lab.csv", Bandit)
    pd.testing.assert_frame_equal(from_frame.frame, from_file.frame)
    pd.testing.assert_frame_equal(frame, before)
    assert from_frame.data_hash == from_file.data_hash
    assert from_frame.source == "data frame"
    filtered = read_trials(frame[frame["subject"] == "s1"], Bandit)
    assert filtered.frame["line"].tolist() == list(range(32, 62))


def test_shuffled_rows_give_the_same_trials():
    frame = lab(4).assign(session=lambda d: np.where(d["trial"] > 15, "drug", "placebo"))
    kwargs = {"reset": "session"}
    trials = read_trials(frame, Bandit, **kwargs)
    shuffled = read_trials(frame.sample(frac=1, random_state=3), Bandit, **kwargs)
    assert shuffled.data_hash == trials.data_hash
    assert "sorted by subject, session, trial" in notes(shuffled)
    assert "sorted" not in notes(trials)
    keys = ["subject", "session", "trial"]
    drop = ["line", "sequence", "subject_idx"]
    pd.testing.assert_frame_equal(
        shuffled.frame.drop(columns=drop).sort_values(keys, ignore_index=True),
        trials.frame.drop(columns=drop).sort_values(keys, ignore_index=True),
    )
    changed = frame.copy()
    changed.loc[3, "outcome"] = 1 - changed.loc[3, "outcome"]
    assert read_trials(changed, Bandit, **kwargs).data_hash != trials.data_hash


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ((0, 1), ("0", "1")),
        ((1, 2), ("1", "2")),
        ((-1, 1), ("-1", "1")),
        ((1, 2, 3, 4), ("1", "2", "3", "4")),
        (("right", "left"), ("left", "right")),
        ((True, False), ("0", "1")),
    ],
)
def test_choice_codes(given, labels):
    frame = lab(choice=np.resize(np.array(given, dtype=object), 90))
    trials = read_trials(frame, Bandit)
    assert trials.codings["choice"] == labels
    texts = [str(int(value)) if isinstance(value, bool) else str(value) for value in frame["choice"]]
    assert trials.frame["choice"].tolist() == [labels.index(text) for text in texts]


def test_declared_codes_decide_the_order():
    frame = lab(choice=np.resize(np.array(["right", "left"]), 90))
    trials = read_trials(frame, Bandit, codes={"choice": ["right", "left", "none of these"]})
    assert trials.frame["choice"][:2].tolist() == [0, 1]
    assert trials.task.n_options == 3
    assert "never occurs" in notes(trials, "warning")


def test_names_of_columns():
    frame = lab().rename(columns={"subject": "SubjID", "choice": "Choice", "outcome": "Reward", "trial": "t"})
    trials = read_trials(frame, Bandit, columns={"trial": "t"})
    assert trials.columns == {"subject": "SubjID", "trial": "t", "choice": "Choice", "outcome": "Reward"}
    both = lab().assign(reward=0)
    assert '"reward" is not used' in notes(read_trials(both, Bandit))
    swapped = read_trials(both.assign(reward=both["outcome"], outcome=0), Bandit, columns={"outcome": "reward"})
    assert swapped.frame["outcome"].tolist() == both["outcome"].tolist()


def test_outcome_scales():
    frame = lab(outcome=np.resize([25, -50, 100], 90))
    trials = read_trials(frame, Bandit, outcome_scale=100)
    assert trials.frame["outcome"][:3].tolist() == [0.25, -0.5, 1.0]
    assert (trials.outcome_scale, trials.outcome_range) == (100.0, (-1.0, 1.0))
    assert trials.overview()["mean_outcome"].tolist() == pytest.approx([25.0] * 3)
    raw = read_trials(frame, Bandit, outcome_scale="raw")
    assert raw.frame["outcome"][:3].tolist() == [25.0, -50.0, 100.0]
    assert (raw.outcome_scale, raw.outcome_range) == (1.0, (-np.inf, np.inf))
    assert raw.task.midpoint == 0.0


def test_an_outcome_beside_a_missed_response_is_not_used():
    frame = lab()
    frame["choice"] = frame["choice"].astype(object)
    frame.loc[5, "choice"] = None
    frame.loc[5, "outcome"] = -1
    trials = read_trials(frame, Bandit)
    assert trials.outcome_range == (0.0, 1.0)
    assert not trials.frame["outcome_given"][5]
    assert "1 outcome in rows without a response is not used" in notes(trials)


def test_masks_of_forced_hidden_and_masked_trials():
    frame = lab(1, 30, forced=0, mask_choice=1, mask_update=1)
    frame["outcome"] = frame["outcome"].astype(object)
    frame.loc[0, "forced"] = 1
    frame.loc[1, "mask_choice"] = 0
    frame.loc[2, "mask_update"] = 0
    frame.loc[3, "outcome"] = ""
    table = read_trials(frame, Bandit).frame
    assert table["mask_choice"][:5].tolist() == [False, False, True, True, True]
    assert table["mask_update"][:5].tolist() == [True, True, False, False, True]
    assert table["choice_given"].all()
    text = notes(read_trials(frame, Bandit))
    assert "1 forced choice" in text
    assert "1 row with a choice and no outcome" in text


def blocks() -> pd.DataFrame:
    frame = lab(2, 40, session=1, block=1)
    frame["session"] = np.tile(np.repeat([1, 2], 20), 2)
    frame["block"] = np.tile(np.repeat([1, 2], 10), 4)
    return frame


@pytest.mark.parametrize(("reset", "n_resets", "n_sequences"), [("block", 8, 4), ("session", 4, 4), ("never", 2, 2)])
@pytest.mark.parametrize("restart", [False, True])
def test_resets(reset, n_resets, n_sequences, restart):
    frame = blocks()
    if restart:
        frame["trial"] = (frame["trial"] - 1) % 10 + 1
    trials = read_trials(frame.sample(frac=1, random_state=1), Bandit, reset=reset)
    assert trials.frame["reset"].sum() == n_resets
    assert trials.n_sequences == n_sequences
    assert trials.reset == reset
    assert trials.frame["session"][:40].tolist() == ["1"] * 20 + ["2"] * 20
    assert trials.frame["block"][:20].tolist() == ["1"] * 10 + ["2"] * 10
    assert not notes(trials, "warning")


def test_blocks_are_ordered_by_number_and_not_as_text():
    frame = lab(1, 120, block=np.repeat(np.arange(12) + 1, 10))
    frame["trial"] = (frame["trial"] - 1) % 10 + 1
    trials = read_trials(frame, Bandit, reset="never")
    assert trials.frame["line"].is_monotonic_increasing


def test_trial_numbers_that_count_on_decide_over_block_labels():
    frame = lab(1, 40, block=np.repeat([2, 1], 20))
    trials = read_trials(frame, Bandit, reset="block")
    assert trials.frame["trial"].tolist() == list(range(1, 41))


def test_blocks_in_words_keep_the_order_of_the_file():
    frame = lab(1, 40, block=np.repeat(["late", "early"], 20))
    frame["trial"] = (frame["trial"] - 1) % 20 + 1
    trials = read_trials(frame, Bandit, reset="never")
    assert trials.frame["block"][0] == "late"
    assert "first appear" in notes(trials)


def test_without_trial_numbers_the_order_of_the_file_counts():
    frame = lab(2, 30).drop(columns="trial").iloc[np.arange(60).reshape(2, 30).T.ravel()]
    trials = read_trials(frame, Bandit)
    assert trials.frame["trial"].tolist() == [*range(1, 31)] * 2
    assert "numbered in the order of the rows" in notes(trials)


def test_offers_and_payoffs():
    frame = lab(2, 30)
    frame["option_1"] = np.resize(["a", "b", "c"], 60)
    frame["option_2"] = np.resize(["b", "c", "a"], 60)
    frame["choice"] = np.where(frame["choice"] == 1, frame["option_1"], frame["option_2"])
    trials = read_trials(frame, Bandit)
    assert trials.codings["choice"] == ("a", "b", "c")
    assert trials.frame["offer_1"][:3].tolist() == [0, 1, 2]
    assert trials.frame["choice_at"].tolist() == (frame["choice"] == frame["option_2"]).astype(int).tolist()
    assert (trials.task.n_options, trials.task.n_offered) == (3, 2)
    paid = read_trials(lab(payoff_1=0.3, payoff_2=0.7, payoff_3=0.1), Bandit)
    assert paid.task.n_options == 3
    assert paid.frame["payoff_3"].eq(0.1).all()
    points = read_trials(lab(payoff_1=30, payoff_2=70), Bandit, outcome_scale=100)
    assert points.frame["payoff_1"].eq(0.3).all()
    assert "divided by 100" in notes(points)


def test_layout_of_hbayesdm():
    frame = lab().rename(columns={"subject": "subjID"}).drop(columns="outcome")
    frame = frame.assign(gain=np.resize([50, 0], 90), loss=np.resize([0, -100, 100], 90))
    trials = read_trials(frame, Bandit, outcome_scale=100)
    assert trials.frame["outcome"][:3].tolist() == [0.5, -1.0, -0.5]
    assert "|" in notes(trials)
    blocked = read_trials(lab(block=1).rename(columns={"subject": "subjID"}), Bandit)
    assert blocked.reset == "block"
    assert "hBayesDM" in notes(blocked)


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip("shared data are not here")
    return path


@pytest.mark.parametrize("name", ["hbayesdm_bandit2arm.txt", "hbayesdm_prl.txt"])
def test_hbayesdm_files(name):
    trials = read_trials(shared(name), Bandit)
    raw = pd.read_csv(shared(name), sep="\t")
    assert (trials.n_subjects, len(trials.frame)) == (20, 2000)
    assert trials.frame["choice"].tolist() == (raw["choice"] - 1).tolist()
    assert trials.frame["outcome"].tolist() == raw["outcome"].tolist()
    assert trials.outcome_range == (-1.0, 1.0)
    assert not notes(trials, "warning")


def test_fontanesi():
    trials = read_trials(
        shared("fontanesi2019_rlddm.csv"),
        Bandit,
        columns={"option_1": "option_correct", "option_2": "option_incorrect"},
        outcome_scale=100,
        reset="block",
    )
    assert (trials.n_subjects, trials.n_sequences, trials.frame["reset"].sum()) == (27, 27, 81)
    assert trials.task == Bandit(4, ("1", "2", "3", "4"), (0.0, 1.0), 2, True)
    correct = trials.original["correct"].astype(float)
    assert ((trials.frame["choice_at"] == 0) == (correct == 1)).all()
    assert trials.frame["outcome_forgone"].mean() == pytest.approx(0.41944307)


def test_turi_one_condition():
    raw = pd.read_csv(shared("turi2017_pst.csv"))
    trials = read_trials(raw[raw["condition"] == "N"], Bandit, columns={"stimulus": "pair"})
    assert trials.n_subjects == 29
    assert trials.task.n_options == 6
    assert (~trials.frame["choice_given"]).sum() == raw.query("condition == 'N'")["choice"].isna().sum()
    scored = trials.frame[trials.frame["mask_choice"]]
    assert (scored["choice_at"] == 0).mean() == pytest.approx(0.728, abs=0.001)
    with pytest.raises(DataError, match="--column session=condition"):
        read_trials(shared("turi2017_pst.csv"), Bandit, columns={"stimulus": "pair"})
