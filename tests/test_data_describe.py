"""What `fitrl check` says."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from test_data_read import blocks, lab

from fitrl.data import describe, read_trials
from fitrl.tasks.bandit import Bandit


def printed(trials, width: int = 100, **kwargs) -> str:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(describe(trials, **kwargs))
    return capture.get()


def test_everything_is_said():
    frame = blocks().rename(columns={"subject": "ID"})
    frame["choice"] = frame["choice"].astype(object)
    frame.loc[3, "choice"] = None
    text = " ".join(printed(read_trials(frame, Bandit, reset="block", outcome_scale=2)).split())
    for words in (
        "80 rows, 2 subjects, 2 sessions, 2 blocks, 4 sequences",
        'subject = "ID"',
        '0 = "1", 1 = "2"',
        "divided by 2, so taken as 0 to 1: values start at 0.5 (= 1 in your unit)",
        'values start afresh in every block (reset = "block", 8 starts)',
        "79 scored, 1 missed",
        "mean outcome",
    ):
        assert words in text
    assert text.count("s0") == 2


def test_raw_outcomes_notes_warnings_and_markup():
    frame = lab(6, 10, option_1=1, option_2=2, subject=np.repeat([f"[red]{i}" for i in range(6)], 10))
    text = printed(read_trials(frame, Bandit, outcome_scale="raw"), max_rows=2)
    assert "left as they are (raw)" in text
    assert "on offer" not in text  # all options always are
    assert "1 warning" in text
    assert "fewer than 20 trials" in text
    assert "[red]1" in text
    assert "and 4 more" in text


def test_many_options_fit_on_the_screen():
    frame = lab(choice=np.resize(np.arange(1, 11), 90))
    text = printed(read_trials(frame, Bandit), width=80)
    assert "most chosen" in text
    assert max(map(len, text.splitlines())) <= 80
