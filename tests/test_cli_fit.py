"""One real fit from the command line, and everything around it: files, summary, exit status, show."""

import dataclasses
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import fitrl
from fitrl import datasets
from fitrl.cli.app import app

FILES = {
    "fit.nc", "group.csv", "subjects.csv", "subjects_readme.txt", "predictions.csv", "latents.csv", "verdict.json",
    "figures",
}  # fmt: skip
STATISTICS = ["post_mean", "post_sd", "hdi95_lower", "hdi95_upper", "mcse_mean", "ess_bulk", "ess_tail", "r_hat"]


def run(*arguments):
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four subjects of the shipped data set, as a file of their own."""
    file = tmp_path_factory.mktemp("data") / "four.csv"
    frame = pd.read_csv(datasets.path("bandit"))
    frame[frame["subject"].isin(["s01", "s02", "s03", "s04"])].to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """The folder of the fit, and what was printed."""
    folder = tmp_path_factory.mktemp("out") / "deep" / "results"
    result = run(
        "fit", data, "--model", "q_learning", "--fix", "beta=4", "--out", folder,
        "--seed", 1, "--draws", 1500, "--chains", 4,
    )  # fmt: skip
    return folder, result


def test_a_converged_fit_exits_0_and_writes_everything(done):
    folder, result = done
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == FILES
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures == {"group", "subjects", "trace", "learning", "stay", "reversal"}


def test_the_summary_puts_the_verdict_before_the_parameters(done):
    text = done[1].stdout
    places = [
        text.index(words)
        for words in ("4 subjects", "Converged", "median: of the population", "Results in", "Seconds:")
    ]
    assert places == sorted(places)
    assert "Fixed: beta = 4" in text
    for stage in ("import", "build", "compile", "sample", "write"):
        assert f"{stage} " in text[places[-1] :]


def test_the_summary_fits_80_columns(done):
    text = done[1].stdout
    assert max(map(len, text[text.index("Converged") :].splitlines())) <= 80


def test_the_tables_have_the_columns_of_the_contract(done):
    folder, _ = done
    group = pd.read_csv(folder / "group.csv")
    assert list(group.columns) == ["parameter", "quantity", *STATISTICS]
    assert group["quantity"].tolist() == ["location", "scale", "pop_median", "pop_mean", "sample_mean"]
    subjects = pd.read_csv(folder / "subjects.csv")
    assert list(subjects.columns) == ["subject", "parameter", *STATISTICS]
    assert subjects["subject"].tolist() == ["s01", "s02", "s03", "s04"]
    latents = pd.read_csv(folder / "latents.csv")
    assert len(latents) == 400
    assert {"subject", "trial", "p_choice_mean", "rpe_mean", "rpe_sd", "lr_mean", "q_A_mean"} <= set(latents)
    assert latents["p_choice_mean"].isna().sum() == 12  # the missed trials
    assert json.loads((folder / "verdict.json").read_text())["converged"] is True


def test_the_fit_is_loaded_again_with_its_timings(done):
    found = fitrl.load(done[0])
    assert found.spec.seed == 1
    assert found.spec.sample_kwargs == {"draws": 1500, "chains": 4}
    assert {"import", "build", "compile", "sample"} <= set(found.spec.timings)


def test_show_repeats_summary_and_exit_status(done):
    folder, result = done
    shown = run("show", folder)
    assert shown.exit_code == 0
    assert shown.stdout.strip() in result.stdout
    assert "alpha" in shown.stdout


@pytest.fixture
def stand_in(done, monkeypatch):
    """Let the next fit end with another verdict, without sampling."""
    found = fitrl.load(done[0])

    def end_with(status, **spec):
        verdict = dataclasses.replace(found.verdict, status=status)
        other = dataclasses.replace(found, verdict=verdict, spec=dataclasses.replace(found.spec, **spec))
        monkeypatch.setattr("fitrl.fitting.fit.fit", lambda *_, **__: other)

    return end_with


def test_a_fit_that_did_not_converge_exits_3_written_and_marked(data, tmp_path, stand_in):
    stand_in("not converged")
    result = run("fit", data, "--model", "q_learning", "--out", tmp_path)
    assert result.exit_code == 3, result.output
    assert "NOT CONVERGED" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "verdict.json").read_text())["converged"] is False
    shown = run("show", tmp_path)
    assert shown.exit_code == 3
    assert shown.stdout.startswith("NOT CONVERGED")


def test_a_quick_fit_exits_0_but_says_first_that_it_is_not_to_be_reported(data, tmp_path, stand_in):
    stand_in("quick", quick=True)
    result = run("fit", data, "--model", "q_learning", "--out", tmp_path, "--quick")
    assert result.exit_code == 0, result.output
    assert "QUICK APPROXIMATION" in result.stdout
    assert result.stdout.index("QUICK") < result.stdout.index("median: of the population")
    assert not (tmp_path / "figures" / "trace.png").exists()


def test_an_earlier_fit_is_replaced_and_other_files_stay(data, done, tmp_path, stand_in):
    stand_in("converged")
    (tmp_path / "fit.nc").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.png").write_text("old")
    result = run("fit", data, "--model", "q_learning", "--out", tmp_path)
    assert result.exit_code == 0
    assert "holds an earlier fit" in " ".join(result.stdout.split())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "figures" / "old.png").exists()
    assert fitrl.load(tmp_path).verdict.converged


@pytest.mark.parametrize("where", ["fitrl.fitting.fit.fit", "fitrl.show.report.write_figures"])
def test_ctrl_c_exits_130_and_leaves_the_folder_as_it_was(where, data, tmp_path, stand_in, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    stand_in("converged")
    monkeypatch.setattr(where, interrupted)
    result = run("fit", data, "--model", "q_learning", "--out", tmp_path / "results")
    assert result.exit_code == 130
    assert "Stopped" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_mistakes_in_the_declaration_exit_2(data, tmp_path):
    for arguments, words in (
        (["--with", "stickyness"], "stickyness"),
        (["--with", "dual_alpha:by=luck"], "luck"),
        (["--set", "q1=0"], "q1"),
        (["--fix", "gamma=1"], "gamma"),
        (["--priors", "flat"], "flat"),
        (["--with", "stickiness", "--with", "choice_trace"], "told apart"),
    ):
        result = run("fit", data, "--model", "q_learning", "--out", tmp_path / "results", *arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_options_reach_the_fit_and_unset_ones_do_not(data, tmp_path, monkeypatch):
    seen = {}

    def fit(model, trials, **declaration):
        seen.update(declaration, model=model, scale=trials.outcome_scale)
        raise fitrl.FitError("enough")

    monkeypatch.setattr("fitrl.fitting.fit.fit", fit)
    result = run(
        "fit", data, "--model", "rw", "--out", tmp_path, "--with", "lapse", "--with", "dual_alpha:by=outcome",
        "--set", "q0=0.25", "--fix", "eps=0.1", "--pooling", "partial", "--seed", 7,
        "--target-accept", "0.95", "--cores", 2, "--outcome-scale", 2, "--priors", "default",
    )  # fmt: skip
    assert result.exit_code == 2
    assert seen == {
        "model": "rw",
        "scale": 2.0,
        "traits": [("lapse", {}), ("dual_alpha", {"by": "outcome"})],
        "options": {"q0": 0.25},
        "priors": "default",
        "fixed": {"eps": 0.1},
        "formulas": {},
        "subjects": None,
        "pooling": "partial",
        "correlated": False,
        "quick": False,
        "random_seed": 7,
        "target_accept": 0.95,
        "cores": 2,
    }


def test_hbayesdm_priors_leave_outcomes_unscaled(data, tmp_path, monkeypatch):
    seen = {}

    def fit(model, trials, **declaration):
        seen["range"] = trials.outcome_range
        raise fitrl.FitError("enough")

    monkeypatch.setattr("fitrl.fitting.fit.fit", fit)
    run("fit", data, "--model", "q_learning", "--out", tmp_path, "--priors", "hbayesdm")
    assert seen["range"] == (-float("inf"), float("inf"))
