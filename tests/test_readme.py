"""What the README shows works: its model file, its priors file, its commands, its Python."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fitrl
from fitrl import datasets, models
from fitrl.cli.app import app
from fitrl.hierarchy.priors import resolve_priors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def model_file(tmp_path):
    text = next(block for block in blocks("python") if block.startswith("# surprise.py"))
    assert len(text.splitlines()) <= 30
    file = tmp_path / "surprise.py"
    file.write_text(text)
    return file


def test_the_model_file_shows_its_card_and_plays(model_file, tmp_path):
    result = CliRunner().invoke(app, ["models", str(model_file)])
    assert result.exit_code == 0, result.output
    assert "kappa_ph" in result.stdout
    made = fitrl.simulate(str(model_file), subjects=3, trials=20, traits=["stickiness"], random_seed=1)
    assert set(made.truth["parameter"]) == {"kappa_ph", "eta_ph", "beta", "kappa"}
    assert len(made.trials.frame) == 60


def test_the_priors_file_is_understood(tmp_path):
    (text,) = blocks("toml")
    file = tmp_path / "my_priors.toml"
    file.write_text(text)
    found = resolve_priors(models.find("q_learning"), datasets.load("bandit").task, str(file))
    assert str(found["alpha"].location) == "normal(-1, 1)"
    assert str(found["alpha"].scale) == "halfnormal(0.5)"
    assert str(found["beta"].location) == "normal(1, 0.5)"


def test_every_command_and_option_exists():
    """Each line that starts with fitrl is a command with options that its help knows."""
    lines = re.findall(r"^    (?:.*/)?fitrl (.*(?:\\\n.*)?)", README, flags=re.MULTILINE)
    lines += re.findall(r"`fitrl ([a-z]+ .*?)`", README)
    assert len(lines) >= 8
    for line in lines:
        command = line.split()[0]
        options = re.findall(r"(--[a-z-]+)", line)
        helped = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, "--help"])
        assert helped.exit_code == 0, line
        for option in options:
            assert option in helped.stdout, line


def test_every_name_of_the_package_exists():
    for name in re.findall(r"fitrl\.([a-z_]+)\(", README):
        assert hasattr(fitrl, name), name


def test_no_place_of_a_machine_is_mentioned():
    assert not re.search(r"/(work|tmp|home|root)/", README)


def test_a_folder_called_fitrl_does_not_hide_the_package(tmp_path):
    """Python started beside a clone, as notebooks are, finds the package and not the folder."""
    (tmp_path / "fitrl").mkdir()
    code = "import fitrl, fitrl.models; print(fitrl.read_trials, fitrl.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
