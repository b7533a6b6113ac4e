"""Layouts that are brought into shape: a selection task in two files, coded in two ways."""

from pathlib import Path

import pandas as pd
import pytest

import fitrl
from fitrl.datasets import selection
from fitrl.errors import DataError
from fitrl.tasks.signatures import accuracy, correct_choice

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


def training(**changes):
    rows = {
        "subject": [1, 1, 1, 2, 2],
        "trial": [1, 2, 3, 1, 2],
        "pair": [1, 2, 3, 1, 3],
        "choice": [1, 2, None, 0, 1],
        "reward": [1, 0, None, 0, 1],
    }
    return pd.DataFrame(rows | changes)


def transfer(**changes):
    rows = {"subject": [2, 1], "trial": [1, 1], "left": ["A", "D"], "right": ["C", "F"], "choice": ["C", None]}
    return pd.DataFrame(rows | changes)


NAMES = {"outcome": "reward"}


def test_pairs_become_symbols_and_transfer_counts_on():
    found = selection(training(), transfer(), columns=NAMES)
    assert found["option_1"].tolist() == ["A", "C", "E", "A", "E", "A", "D"]
    assert found["option_2"].tolist() == ["B", "D", "F", "B", "F", "C", "F"]
    assert found["choice"].fillna("-").tolist() == ["A", "D", "-", "B", "E", "C", "-"]
    assert found["payoff_1"].tolist() == [0.8, 0.7, 0.6, 0.8, 0.6, 0.8, 0.3]
    assert found["payoff_2"].tolist() == [0.2, 0.3, 0.4, 0.2, 0.4, 0.7, 0.4]
    assert found["trial"].tolist() == [1, 2, 3, 1, 2, 3, 4]  # after the last trial of each subject
    assert found["mask_choice"].tolist() == [1] * 5 + [0] * 2
    assert found["outcome"].tail(2).isna().all()
    assert selection(training(), transfer(), columns=NAMES, fit_transfer=True)["mask_choice"].tolist() == [1] * 7
    trials = fitrl.read_trials(found, "q_learning")
    assert (trials.task.n_options, trials.task.offered("choice")) == (6, 2)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ((training(pair=[1, 2, 3, 4, 1]), None), '"4" in row 3 is no pair of training; expected 1 to 3'),
        ((training(choice=[1, 2, 3, 1, 1]), None), '"3" in row 2 is no choice'),
        ((training(), transfer(left=["A", "Z"])), '"Z" in row 1 is no symbol; expected A, B, C, D, E, F'),
        ((training(), transfer(subject=[2, 3])), '"3" in row 1 is no subject of the training'),
        ((training().drop(columns="pair"), None), "training has no column pair"),
    ],
)
def test_what_does_not_fit_is_refused(tables, words):
    with pytest.raises(DataError, match=words):
        selection(*tables, columns=NAMES)


def test_symbols_and_payoffs_go_together():
    with pytest.raises(DataError, match="two symbols and one probability per pair"):
        selection(training(), columns=NAMES, payoffs=(0.8, 0.7))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared folder beside the clone")
def test_a_published_selection_task():
    tables = [pd.read_csv(SHARED / name) for name in ("turi2017_pst.csv", "turi2017_pst_transfer.csv")]
    found = selection(*tables, columns={"outcome": "reward", "session": "condition"})
    trials = fitrl.read_trials(found, "q_learning")
    assert (trials.n_subjects, trials.n_sequences) == (29, 87)
    frame = trials.frame[trials.frame["session"] == "N"]
    correct, _ = correct_choice(frame, 6)
    raw = tables[0].dropna(subset="choice").query("condition == 'N'")
    by_hand = (raw["choice"] == 1).groupby(raw["subject"]).mean().mean()
    assert by_hand == pytest.approx(0.728, abs=1e-3)
    assert accuracy(frame, correct).loc[0, "mean"] == pytest.approx(by_hand)
    assert (~trials.frame["mask_choice"]).sum() >= 29 * 3 * 180
