"""Commands that do not fit: models, check, simulate, show; and what happens to mistakes."""

import os
import subprocess
import sys
import tempfile

import pandas as pd
import pytest
from typer.testing import CliRunner

import fitrl
from fitrl import datasets
from fitrl.cli.app import app

BANDIT = str(datasets.path("bandit"))


def run(*arguments, width="80"):
    return CliRunner(env={"COLUMNS": width}).invoke(app, [str(a) for a in arguments])


def refused(result) -> str:
    """The message of a refused call: exit status 2, on standard error, no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_models_are_listed_with_parameters_traits_and_references():
    result = run("models")
    assert result.exit_code == 0
    for words in ("q_learning", "alpha", "beta", "wsls", "Bandit", "dual_alpha", "by=pe|outcome", "10.7554"):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", [["models"], ["--help"], ["fit", "--help"]])
def test_help_and_the_list_of_models_import_nothing_heavy(command):
    code = (
        "import sys; from fitrl.cli import main; sys.argv = ['fitrl', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'pandas', 'xarray', 'pymc', 'pytensor', 'arviz', 'matplotlib', 'scipy', 'numba'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\x1b[" not in done.stdout  # no colour codes in a pipe


def test_a_card_says_all_there_is_to_know():
    text = " ".join(run("models", "q_learning").stdout.split())
    for words in (
        "Rescorla-Wagner",
        "learning rate; 0 to 1 (logit link)",
        "location normal(0, 1.5)",
        "about 0.5, with 95 % probability 0.05 to 0.95",
        "initial value in scaled outcomes",
        "reward prediction error",
        "subjID",
        "payoff_#",
        "Two learning rates",
        "fitrl fit my.csv --model q_learning",
    ):
        assert words in text


def test_the_card_of_a_model_without_learning_names_no_learning_trait():
    text = run("models", "biased_coin").stdout
    assert "stickiness" in text
    assert "Not with this model" in text
    assert text.index("dual_alpha") > text.index("Not with this model")


def test_the_card_of_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from fitrl.language import *\nfrom fitrl.tasks import Bandit\n\n"
        "class Mine(Model):\n    '''My own [bold] rule.'''\n    task = Bandit\n    b = real('slope')\n"
        "    def trial(self, s, p, t):\n        t.choose('choice', softmax(p.b * table([0.0, 1.0])))\n"
    )
    result = run("models", file)
    assert result.exit_code == 0
    assert "My own [bold] rule." in result.stdout
    assert "any real number" in result.stdout


def test_an_unknown_model_is_refused_with_a_suggestion():
    assert "q_learning" in refused(run("models", "q_lerning"))
    assert "my.py" in refused(run("models", "my.py"))


def test_check_prints_what_was_understood():
    result = run("check", BANDIT, "--model", "q_learning")
    assert result.exit_code == 0
    assert "12 subjects" in result.stdout
    assert "36 missed" in result.stdout
    assert "s12" in result.stdout


def test_check_says_how_many_options_are_on_offer():
    assert "2 of 6 options in each trial" in run("check", datasets.path("pairs")).stdout


def test_check_takes_columns_codes_scale_and_reset(tmp_path):
    frame = pd.read_csv(BANDIT).rename(columns={"subject": "who", "outcome": "points"})
    frame["points"] *= 50
    frame["block"] = (frame["trial"] > 50).astype(int)
    file = tmp_path / "mine.csv"
    frame.to_csv(file, index=False)
    result = run(
        "check", file, "--column", "subject=who", "--column", "outcome=points", "--codes", "choice=B,A",
        "--outcome-scale", "50", "--reset", "block",
    )  # fmt: skip
    text = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.output
    assert 'subject = "who"' in text
    assert '0 = "B", 1 = "A"' in text
    assert "divided by 50" in text
    assert 'reset = "block", 24 starts' in text


def test_every_problem_of_a_file_at_once(tmp_path):
    frame = pd.read_csv(BANDIT, dtype=object)
    frame.loc[3, "outcome"] = "seven"
    frame.loc[7, "subject"] = None
    file = tmp_path / "bad.csv"
    frame.to_csv(file, index=False)
    message = refused(run("check", file))
    assert "2 problems" in message
    assert "line 5" in message
    assert "seven" in message
    assert "line 9" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere.csv"], "nowhere.csv"),
        (["check", BANDIT, "--model", "nothing"], "nothing"),
        (["check", BANDIT, "--column", "subject"], "--column subject=ID"),
        (["check", BANDIT, "--column", "subject=ID"], "ID"),
        (["check", BANDIT, "--outcome-scale", "lots"], "lots"),
        (["check", BANDIT, "--reset", "weekly"], "weekly"),
        (["check"], "DATA"),
        (["fit", BANDIT, "--model", "q_learning"], "--out"),
        (["fit", BANDIT, "--model", "q_learning", "--out", BANDIT], "is a file"),
        (["fit", "nowhere.csv", "--model", "q_learning", "--out", "x"], "nowhere.csv"),
        (["fit", BANDIT, "--model", "q_learning", "--out", "x", "--fix", "beta"], "--fix beta=3"),
        (["fit", BANDIT, "--model", "q_learning", "--out", "x", "--chains", "0"], "chains"),
        (["show", "nowhere"], "nowhere"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_calls_exit_2_and_say_what_is_wrong(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(run(*arguments, width="300"))
    assert not list(tmp_path.iterdir())


def test_simulated_data_are_read_back_and_repeat(tmp_path):
    def simulated(name):
        return run(
            "simulate", "--model", "q_learning", "--with", "stickiness", "--subjects", 3, "--trials", 20, "--seed", 4,
            "--environment", "drifting", "--options", 3, "--out", tmp_path / f"{name}.csv",
            "--truth", tmp_path / f"{name}_truth.csv",
        )  # fmt: skip

    result = simulated("one")
    assert result.exit_code == 0, result.output
    simulated("two")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    trials = fitrl.read_trials(tmp_path / "one.csv")
    assert (trials.n_subjects, trials.task.n_options, len(trials.frame)) == (3, 3, 60)
    truth = pd.read_csv(tmp_path / "one_truth.csv")
    assert list(truth.columns) == ["subject", "parameter", "value"]
    assert set(truth["parameter"]) == {"alpha", "beta", "kappa"}


def test_simulate_says_what_it_cannot_do(tmp_path):
    out = tmp_path / "sim.csv"
    assert "stickyness" in refused(run("simulate", "--model", "rw", "--with", "stickyness", "--out", out))
    message = refused(run("simulate", "--model", "rw", "--out", tmp_path / "no" / "sim.csv"))
    assert "sim.csv" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_before_the_file_is_read(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)  # root may write anywhere
    message = refused(run("fit", "nowhere.csv", "--model", "rw", "--out", tmp_path / "results"))
    assert "cannot be written (Permission denied)" in message


def test_the_shortcut_past_the_parser_prints_the_same():
    for command in (["models"], ["models", "wsls"]):
        done = subprocess.run(
            [sys.executable, "-c", "from fitrl.cli import main; main()", *command],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "80"},
        )
        assert done.stdout == run(*command).stdout


def test_the_program_exits_2_on_an_unknown_model():
    code = "from fitrl.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "models", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
