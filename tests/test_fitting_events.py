"""Latents as BIDS events: the rules of the format, and numbers that are those of the table."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit
from typer.testing import CliRunner

import fitrl
from fitrl.cli.app import app
from fitrl.errors import FitError

ALPHA, BETA = 0.5, 2.0


def data(**columns):
    """Two subjects with two sessions of three trials; the second trial of the first is missed."""
    frame = pd.DataFrame(
        {
            "subject": np.repeat(["sub-01", "P_2"], 6),
            "session": np.tile(np.repeat(["drug", "placebo"], 3), 2),
            "trial": np.tile([1, 2, 3], 4),
            "choice": ["A", None, "A", "B", "A", "B", "A", "B", "A", "B", "A", "B"],
            "outcome": [1, None, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1],
            "started": np.tile([4.5, 10.0, 17.25], 4),
            "rt": np.tile([0.5, 1.5, 0.75], 4),
        }
    )
    return frame.assign(**columns)


def fit_of(frame, **settings):
    trials = fitrl.read_trials(frame, "q_learning", **settings)
    n = (2, 5, trials.n_subjects)
    return fake_fit("q_learning", trials, {"alpha": np.full(n, ALPHA), "beta": np.full(n, BETA)})


@pytest.fixture(scope="module")
def fit():
    return fit_of(data())


def test_a_file_per_subject_and_session_with_the_names_of_bids(fit, tmp_path):
    written = fitrl.write_events(fit, tmp_path / "bids", onset="started", duration="rt")
    assert [p.as_posix() for p in written] == [
        "sub-01/ses-drug/func/sub-01_ses-drug_task-bandit_events.tsv",
        "sub-01/ses-placebo/func/sub-01_ses-placebo_task-bandit_events.tsv",
        "sub-P2/ses-drug/func/sub-P2_ses-drug_task-bandit_events.tsv",
        "sub-P2/ses-placebo/func/sub-P2_ses-placebo_task-bandit_events.tsv",
    ]
    assert all((tmp_path / "bids" / path).is_file() for path in written)


def test_the_rules_of_events_files_and_numbers_by_hand(fit, tmp_path):
    (path, *_) = fitrl.write_events(fit, tmp_path, onset="started", duration="rt")
    lines = (tmp_path / path).read_text().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header[:4] == ["onset", "duration", "trial_type", "trial"]
    assert {len(row) for row in rows} == {len(header)}
    assert all(cell for row in rows for cell in row)  # nothing is blank
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(float(r["onset"]), float(r["duration"])) for r in table] == [(4.5, 0.5), (10.0, 1.5), (17.25, 0.75)]
    assert [r["trial_type"] for r in table] == ["trial", "missed", "trial"]
    # By hand: q starts at 0.5; A pays 1, so rpe 0.5 and q_A 0.75; nothing is learned from the miss; then A pays 0.
    assert [r["rpe"] for r in table][1] == "n/a"
    assert [float(table[k]["rpe"]) for k in (0, 2)] == pytest.approx([0.5, -0.75])
    assert [float(r["q_A"]) for r in table] == pytest.approx([0.5, 0.75, 0.75])
    third = 1 / (1 + np.exp(-BETA * (0.75 - 0.5)))
    assert [float(table[0]["p_choice"]), float(table[2]["p_choice"])] == pytest.approx([0.5, third])
    assert table[1]["p_choice"] == "n/a"


def test_every_column_is_described(fit, tmp_path):
    (path, *_) = fitrl.write_events(fit, tmp_path, onset="started")
    described = json.loads((tmp_path / "task-bandit_events.json").read_text())
    assert list(described) == (tmp_path / path).read_text().splitlines()[0].split("\t")
    assert "reward prediction error" in described["rpe"]["Description"]
    assert "action values" in described["q_A"]["Description"]
    assert described["onset"]["Units"] == "s"


def test_blocks_are_runs_where_onsets_start_anew(tmp_path):
    frame = data(session="1", block=np.tile(np.repeat([1, 2], 3), 2))
    frame["trial"] = np.tile(np.arange(1, 7), 2)
    fit = fit_of(frame, reset="block")
    written = fitrl.write_events(fit, tmp_path, onset="started", task="two arms")
    assert written[1].name == "sub-01_ses-1_task-twoarms_run-2_events.tsv"
    assert len(written) == 4
    rising = fit_of(frame.assign(started=np.tile(np.arange(6.0), 2)), reset="block")
    assert [p.name for p in fitrl.write_events(rising, tmp_path / "one", onset="started")] == [
        "sub-01_ses-1_task-bandit_events.tsv",
        "sub-P2_ses-1_task-bandit_events.tsv",
    ]


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        ({}, {}, 'no column "onset"'),
        ({"started": ["late", *[1.0] * 11]}, {"onset": "started"}, 'line 2, column "started", is "late"'),
        ({"started": np.tile([4.0, 3.0, 5.0], 4)}, {"onset": "started"}, "goes back in time at line 3"),
        ({}, {"onset": "started", "duration": -1}, "a duration is -1"),
        ({"subject": np.repeat(["P2", "P_2"], 6)}, {"onset": "started"}, 'both get the BIDS label "sub-P2"'),
    ],
)
def test_what_bids_cannot_hold_is_refused_and_nothing_is_written(tmp_path, columns, settings, words):
    fit = fit_of(data(**columns))
    with pytest.raises(FitError) as refused:
        fitrl.write_events(fit, tmp_path / "bids", **settings)
    assert words in str(refused.value)
    assert not (tmp_path / "bids").exists()


def test_what_a_bids_folder_holds_already_is_left_alone(fit, tmp_path):
    image = tmp_path / "sub-01" / "ses-drug" / "func" / "sub-01_ses-drug_task-bandit_bold.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"precious")
    (path, *_) = fitrl.write_events(fit, tmp_path, onset="started")
    assert image.read_bytes() == b"precious"
    (tmp_path / path).write_text("of the scanner")
    with pytest.raises(FitError, match="exists already"):
        fitrl.write_events(fit, tmp_path, onset="started")
    assert (tmp_path / path).read_text() == "of the scanner"


def test_command_line(fit, tmp_path):
    folder = fit.save(tmp_path / "fit")
    run = CliRunner(env={"COLUMNS": "100"}).invoke
    out, bids = tmp_path / "latents.csv", tmp_path / "bids"
    result = run(app, ["latents", str(folder), "--out", str(out), "--bids", str(bids), "--onset", "started"])
    assert result.exit_code == 0, result.output
    pd.testing.assert_frame_equal(
        pd.read_csv(out)[["rpe_mean", "q_A_sd"]], fitrl.latents(fit)[["rpe_mean", "q_A_sd"]], check_dtype=False
    )
    assert len(list(bids.glob("sub-*/ses-*/func/*_events.tsv"))) == 4
    assert run(app, ["latents", str(folder)]).exit_code == 2
    assert run(app, ["latents", str(folder), "--bids", str(bids)]).exit_code == 2  # no column "onset"
