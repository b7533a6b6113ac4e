"""Studies: what is on disk after any end, what is continued, what is refused; small quick fits."""

import dataclasses
import json
import logging
import subprocess
import sys
import time
from concurrent.futures import Executor, Future

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import logit
from typer.testing import CliRunner

import fitrl
from fitrl.cli.app import app
from fitrl.errors import FitError, StudyError, StudyInterrupted
from fitrl.fitting.laplace import subject_likelihood
from fitrl.fitting.truth import Truth, check_one_population, from_fit, from_population, from_prior
from fitrl.hierarchy.links import link_of
from fitrl.models import declare, q_learning
from fitrl.study import measure
from fitrl.study import run as study_run
from fitrl.study.design import Cell, Design

SMALL = {"subjects": 4, "trials": 20, "quick": True, "random_seed": 7, "progressbar": False}


class Here(Executor):
    """Does each job at once in this process; stops like Ctrl-C after some of them."""

    def __init__(self, stop_after=None):
        self.stop_after, self.done = stop_after, 0

    def submit(self, fn, /, *args, **kwargs):
        if self.done == self.stop_after:
            raise KeyboardInterrupt
        self.done += 1
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def recover(out, **changes):
    arguments = {**SMALL, "studies": 2, "executor": Here(), **changes}
    return fitrl.recover(arguments.pop("model", "q_learning"), out=out, **arguments)


def files(out):
    return {path.name: path for path in sorted(out.glob("fits/*/*.json"))}


def content(path):
    """A result without its timing."""
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of three data sets, from start to end."""
    out = tmp_path_factory.mktemp("study") / "whole"
    return out, recover(out, studies=3)


@pytest.fixture(scope="module")
def quick_fit():
    """Six subjects, one parameter of whom is fixed, fitted quickly."""
    played = fitrl.simulate("q_learning", subjects=6, trials=40, random_seed=3)
    return fitrl.fit("q_learning", played.trials, quick=True, random_seed=1)


def test_a_study_writes_tables_report_and_figures(done):
    out, found = done
    assert {path.name for path in out.iterdir()} == {
        "study.json", "fits", "recovery.csv", "correlations.csv", "subjects.csv", "population.csv", "fits.csv",
        "report.txt", "figures",
    }  # fmt: skip
    assert {path.stem for path in (out / "figures").iterdir()} == {"subjects", "population", "correlations"}
    assert len(found.subjects) == 3 * 4 * 2
    assert len(found.population) == 3 * 2 * 2
    assert found.fits["status"].tolist() == ["quick"] * 3
    text = (out / "report.txt").read_text()
    assert "QUICK APPROXIMATION" in text
    assert "drawn from the priors" in text
    assert max(map(len, text.splitlines())) <= 96


def test_the_truth_of_the_tables_is_what_was_simulated(done):
    _, found = done
    subjects = found.subjects.query("study == 1 and parameter == 'alpha'")
    seeds = found.design.seeds(Cell(4, 20), 0)
    truth = from_prior(q_learning.parameters(), 4, np.random.default_rng(seeds[0]))
    assert subjects["truth"].to_numpy() == pytest.approx(truth.values["alpha"])
    assert ((subjects["lower"] < subjects["mean"]) & (subjects["mean"] < subjects["upper"])).all()


def test_a_stopped_study_says_how_to_go_on_goes_on_and_grows(done, tmp_path):
    whole, _ = done
    with pytest.raises(StudyInterrupted, match="1 of 3 fits are finished"):
        recover(tmp_path, studies=3, executor=Here(stop_after=1))
    (first,) = files(tmp_path).values()
    written = first.stat().st_mtime_ns
    assert not (tmp_path / "report.txt").exists()
    first.with_name(".0002.json.part").write_text('{"status": "conv')  # of a worker that was killed
    for studies in (2, 3):
        executor = Here()
        found = recover(tmp_path, studies=studies, random_seed=None, executor=executor)
        assert executor.done == 1
        assert len(found.fits) == studies
    assert found.design.seed == 7
    assert first.stat().st_mtime_ns == written
    assert [content(p) for p in files(tmp_path).values()] == [content(p) for p in files(whole).values()]


def test_seeds_belong_to_size_and_index():
    design = Design.from_json(json.dumps(dict.fromkeys(Design.__dataclass_fields__) | {"seed": 1}))
    states = [
        tuple(seed.generate_state(4))
        for cell in (Cell(10, 20), Cell(20, 10), Cell(10, 30))
        for index in range(20)
        for seed in design.seeds(cell, index)
    ]
    assert len(set(states)) == len(states) == 180
    assert tuple(design.seeds(Cell(20, 10), 5)[2].generate_state(4)) == states[3 * 25 + 2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trials": 30}, "trials"),
        ({"random_seed": 8}, "seed: 7; now 8"),
        ({"traits": ["stickiness"]}, "traits"),
        ({"quick": False, "draws": 100}, "sampler"),
        ({"priors": {"alpha": {"location": "normal(-1, 1)"}}}, "priors"),
        ({"model": "two_step_daw"}, "model"),
    ],
)
def test_another_declaration_in_the_same_folder_is_refused(done, change, named):
    whole, _ = done
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    with pytest.raises(StudyError, match="declared otherwise") as error:
        recover(whole, studies=3, **change)
    assert named in str(error.value)
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subjects": 1}, "subjects = 1"),
        ({"studies": 0}, "at least one"),
        ({"draws": 100}, "draws would change nothing"),
        ({"quick": False, "drawz": 100}, "drawz"),
        ({"pooling": "complete"}, "complete"),
        ({"fixed": {"gamma": 1.0}}, "gamma"),
        ({"fixed": {"alpha": 1.5}}, "outside of its range 0 to 1"),
        ({"model": "random"}, "nothing to study"),
        ({"model": None}, "needs a model"),
        ({"quick": False, "random_seed": 1, "return_inferencedata": True}, "return_inferencedata"),
    ],
)
def test_slips_are_found_before_anything_is_done(tmp_path, change, words):
    with pytest.raises(fitrl.FitrlError, match=words):
        recover(tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_data_that_cannot_be_fitted_are_counted(tmp_path, monkeypatch):
    calls = []

    def sometimes(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise FitError("no such luck")
        return fitrl.fit(*args, **kwargs)

    monkeypatch.setattr(study_run, "fit", sometimes)
    found = recover(tmp_path / "a")
    assert found.fits["status"].tolist() == ["failed", "quick"]
    assert "1 of 2 data sets could not be fitted" in found.text()
    assert "no such luck" in found.text()
    monkeypatch.setattr(study_run, "fit", lambda *a, **k: (_ for _ in ()).throw(FitError("never")))
    with pytest.raises(StudyError, match=r"no data set of this study could be fitted.*never"):
        recover(tmp_path / "b")


def test_a_grid_answers_how_many(tmp_path):
    found = recover(tmp_path, subjects=4, trials=[20, 10], studies=1)
    assert found.table[["n_subjects", "n_trials"]].drop_duplicates().to_numpy().tolist() == [[4, 10], [4, 20]]
    assert {p.stem for p in (tmp_path / "figures").iterdir()} >= {"sizes", "subjects_4x10", "population_4x20"}
    assert "r of subjects, by size" in found.text()
    assert "alpha: r is " in found.text()


def test_an_own_model_file_a_trait_and_a_fixed_parameter(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from fitrl.language import *\nfrom fitrl.tasks import Bandit\n\n\nclass Mine(Model):\n"
        "    '''Values follow the last outcome.'''\n\n    task = Bandit\n    slope = positive('slope')\n\n"
        "    def start(self, p, task):\n        return State(q=task.values())\n\n"
        "    def trial(self, s, p, t):\n        a = t.choose('choice', softmax(p.slope * s.q))\n"
        "        s.q[a] = t.observe('outcome')\n"
    )
    found = recover(tmp_path / "out", model=str(file), traits=["lapse"], fixed={"eps": 0.1}, studies=1)
    assert set(found.subjects["parameter"]) == {"slope"}
    assert "eps = 0.1 fixed" in found.text()
    file.unlink()  # the study has its text
    stored = Design.from_json((tmp_path / "out" / "study.json").read_text())
    assert stored.declared().describe().startswith("Mine") or "lapse" in stored.declared().describe()


# Truth --------------------------------------------------------------------------------------------------


def test_populations_from_the_prior_have_its_moments():
    rng = np.random.default_rng(1)
    drawn = [from_prior(q_learning.parameters(), 50, rng) for _ in range(2000)]
    location = np.array([t.location["alpha"] for t in drawn])
    assert location.mean() == pytest.approx(0.0, abs=0.11)  # normal(0, 1.5)
    assert location.std() == pytest.approx(1.5, rel=0.06)
    scale = np.array([t.scale["beta"] for t in drawn])
    assert scale.mean() == pytest.approx(0.75 * np.sqrt(2 / np.pi), rel=0.06)  # halfnormal(0.75)
    z = [(np.log(t.values["beta"]) - t.location["beta"]) / t.scale["beta"] for t in drawn]
    assert np.std(z) == pytest.approx(1.0, rel=0.02)


def test_subjects_of_a_fit_keep_their_parameters_together(quick_fit):
    truth = from_fit(quick_fit, 40, np.random.default_rng(2))
    posterior = quick_fit.idata["posterior"].to_dataset()
    pairs = {
        (float(a), float(b))
        for a, b in zip(posterior["alpha"].to_numpy().ravel(), posterior["beta"].to_numpy().ravel(), strict=True)
    }
    drawn = set(zip(truth.values["alpha"].tolist(), truth.values["beta"].tolist(), strict=True))
    assert drawn <= pairs
    assert 1 < len(drawn) <= 6  # with replacement, and all from one draw
    one = posterior["alpha"].to_numpy().reshape(-1, 6)
    (row,) = np.flatnonzero(np.isin(one, truth.values["alpha"]).any(axis=1))
    eta = link_of(one[row], "logit", 0.0, 1.0)
    assert truth.location["alpha"] == pytest.approx(eta.mean())
    assert truth.scale["alpha"] == pytest.approx(eta.std())


def test_new_people_follow_the_population_of_a_fit(quick_fit):
    rng = np.random.default_rng(3)
    posterior = quick_fit.idata["posterior"].to_dataset()
    drawn = [from_population(quick_fit, 50, rng) for _ in range(400)]
    for name in ("alpha", "beta"):
        assert {t.location[name] for t in drawn} <= set(posterior[f"{name}_mu"].to_numpy().ravel().tolist())
        link = {"alpha": "logit", "beta": "log"}[name]
        low, high = {"alpha": (0.0, 1.0), "beta": (0.0, np.inf)}[name]
        z = [(link_of(t.values[name], link, low, high) - t.location[name]) / t.scale[name] for t in drawn]
        assert np.mean(z) == pytest.approx(0.0, abs=0.03)
        assert np.std(z) == pytest.approx(1.0, rel=0.02)


def test_new_people_are_as_correlated_as_the_fit_says(quick_fit):
    posterior = quick_fit.idata["posterior"].to_dataset()
    known = posterior["alpha_mu"].expand_dims(deviation_pair=["alpha, beta"], axis=-1) * 0 - 0.8
    idata = xr.DataTree.from_dict({"posterior": posterior.assign(correlation=known)})
    fit = dataclasses.replace(quick_fit, idata=idata, spec=dataclasses.replace(quick_fit.spec, correlated=True))
    truth = from_population(fit, 20_000, np.random.default_rng(4))
    eta = [logit(truth.values["alpha"]), np.log(truth.values["beta"])]
    assert np.corrcoef(eta)[0, 1] == pytest.approx(-0.8, abs=0.01)


def test_new_people_need_one_population(quick_fit, tmp_path):
    spec = dataclasses.replace(quick_fit.spec, formulas={"alpha": "group"})
    with pytest.raises(FitError, match="has formulas"):
        recover(tmp_path / "none", model=None, fit=dataclasses.replace(quick_fit, spec=spec), new_people=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(FitError, match="all parameters are fixed"):
        check_one_population(dataclasses.replace(quick_fit, spec=dataclasses.replace(quick_fit.spec, parameters=())))
    with pytest.raises(StudyError, match="no fit is given"):
        recover(tmp_path / "study", new_people=True)
    found = recover(tmp_path / "new", model=None, fit=quick_fit, studies=1, new_people=True)
    assert "new people from the population of fit" in found.text()
    true = set(found.subjects.query("parameter == 'alpha'")["truth"])
    assert not true & set(quick_fit.idata["posterior"]["alpha"].to_numpy().ravel().tolist())
    with pytest.raises(StudyError, match="truth"):
        recover(tmp_path / "new", model=None, fit=quick_fit, studies=1)  # the people themselves


def test_a_study_from_a_fit(quick_fit, tmp_path):
    quick_fit.save(tmp_path / "fit")
    found = recover(tmp_path / "study", model=None, fit=tmp_path / "fit", studies=1)
    assert "the subjects of a fit" in found.text()
    assert "Truth was drawn from the priors" not in found.text()
    true = set(found.subjects.query("parameter == 'alpha'")["truth"])
    assert true <= set(quick_fit.idata["posterior"]["alpha"].to_numpy().ravel().tolist())
    with pytest.raises(StudyError, match="takes its model from it"):
        recover(tmp_path / "other", model="q_learning", traits=["lapse"], fit=quick_fit)
    with pytest.raises(StudyError, match="truth"):
        recover(tmp_path / "study", studies=1)  # from the priors, in the folder of a study from a fit


def test_fits_of_a_study_may_have_correlated_parameters(quick_fit, tmp_path, monkeypatch):
    asked = []

    def quickly(*args, correlated, quick, random_seed, **kwargs):
        asked.append(correlated)
        return fitrl.fit(*args, quick=True, random_seed=random_seed, priors=kwargs["priors"])

    monkeypatch.setattr(study_run, "fit", quickly)
    sampled = {"studies": 1, "quick": False, "draws": 10, "tune": 10}
    recover(tmp_path / "correlated", correlated=True, **sampled)
    recover(tmp_path / "plain", **sampled)
    of_correlated = dataclasses.replace(quick_fit, spec=dataclasses.replace(quick_fit.spec, correlated=True))
    recover(tmp_path / "as_the_fit", model=None, fit=of_correlated, **sampled)
    recover(tmp_path / "not_as_the_fit", model=None, fit=of_correlated, correlated=False, **sampled)
    assert asked == [True, False, True, False]
    with pytest.raises(StudyError, match="no-correlated"):
        recover(tmp_path / "quick", correlated=True)


def test_simulate_takes_a_fit_the_prior_or_neither(quick_fit):
    made = fitrl.simulate(parameters=quick_fit, subjects=9, trials=5, random_seed=1)
    assert made.model.describe() == "q_learning"
    assert set(made.truth.query("parameter == 'beta'")["value"]) <= set(
        quick_fit.idata["posterior"]["beta"].to_numpy().ravel()
    )
    assert fitrl.simulate("q_learning", parameters="prior", subjects=3, trials=5, random_seed=1).truth.shape == (6, 3)
    with pytest.raises(fitrl.ModelError, match="cannot play as another model"):
        fitrl.simulate("two_step_daw", parameters=quick_fit)
    with pytest.raises(fitrl.ModelError, match='"posterior" is not known'):
        fitrl.simulate("q_learning", parameters="posterior")
    with pytest.raises(fitrl.ModelError, match="needs a model"):
        fitrl.simulate()


def test_options_that_nobody_chose_do_not_stop_a_simulation():
    made = fitrl.simulate("q_learning", subjects=2, trials=2, n_options=4, random_seed=0)
    assert made.frame["choice"].nunique() < 4
    assert made.trials.task.n_options == 4


# Ranks --------------------------------------------------------------------------------------------------


def test_the_log_likelihood_is_that_of_the_compiled_kernel(quick_fit):
    rng = np.random.default_rng(5)
    values = {"alpha": rng.uniform(0.1, 0.9, (3, 6)), "beta": rng.uniform(0.5, 5.0, (3, 6))}
    kernel = subject_likelihood(quick_fit.plan, quick_fit.trials)
    eta = np.stack([link_of(values["alpha"], "logit", 0, 1), link_of(values["beta"], "log", 0, np.inf)])
    expected = [kernel(eta[:, i])[0].sum() for i in range(3)]
    assert measure.log_likelihood(quick_fit, values) == pytest.approx(expected, rel=1e-9)


def test_ranks_count_the_draws_below_the_truth(quick_fit):
    posterior = quick_fit.idata["posterior"].to_dataset()
    subjects = {name: posterior[name].isel(chain=0, draw=0).to_numpy() for name in ("alpha", "beta")}
    truth = Truth(
        subjects,
        {"alpha": 99.0, "beta": float(posterior["beta_mu"].median())},
        {"alpha": 0.0, "beta": float(posterior["beta_sigma"].isel(chain=0, draw=0))},
    )
    found = measure.ranks(quick_fit, truth)
    assert found["alpha_mu"] == {"below": 1000, "equal": 0, "draws": 1000}
    assert found["alpha_sigma"]["below"] == 0
    assert found["beta_mu"]["below"] == 500
    assert found["beta_sigma"]["equal"] == 1
    values = {name: posterior[name].isel(chain=0).to_numpy() for name in subjects}
    of_draws = measure.log_likelihood(quick_fit, values)
    below = int((of_draws < of_draws[0] - 1e-9).sum())  # the truth is the first of the draws, but for rounding
    assert found[measure.LOG_LIKELIHOOD]["below"] in (below, below + 1)
    assert 0 < below < 999


def test_draws_that_depend_on_each_other_are_thinned():
    import xarray as xr

    rng = np.random.default_rng(6)
    noise = rng.normal(size=(4, 2000))
    slow = np.zeros_like(noise)
    for i in range(1, 2000):
        slow[:, i] = 0.9 * slow[:, i - 1] + noise[:, i]  # worth (1 - .9) / (1 + .9) of its length
    draws = xr.Dataset({"fast": (("chain", "draw"), noise), "slow": (("chain", "draw"), slow)})
    assert measure.independent(draws, quick=False) == pytest.approx(8000 / 19, rel=0.35)
    assert measure.independent(draws, quick=True) == 8000


# Calibration and the command line -----------------------------------------------------------------------


def test_a_calibration_is_judged_and_written(tmp_path):
    found = fitrl.calibrate(
        "q_learning", out=tmp_path, simulations=5, quick=True, random_seed=1, executor=Here(), progressbar=False
    )
    assert found.table["quantity"].tolist() == ["alpha_mu", "beta_mu", "alpha_sigma", "beta_sigma", "log-likelihood"]
    assert len(found.ranks) == 25
    assert found.ranks["pit"].between(0, 1).all()
    assert (tmp_path / "figures" / "ranks.png").exists()
    assert found.text().split(":")[0] == ("PASSED" if found.passed else "FAILED")
    with pytest.raises(StudyError, match="kind"):
        recover(tmp_path, subjects=8, trials=60, random_seed=1, studies=5)


def run(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(a) for a in arguments])


def test_recovery_from_the_command_line(done, tmp_path):
    """By a process of its own, with the results of this one; the same command again has nothing left to do."""
    command = (
        "recover", "--model", "q_learning", "--subjects", 4, "--trials", 20, "--studies", 2, "--quick",
        "--seed", 7, "--cores", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "Parameter recovery: q_learning" in result.stdout
    assert "recovery.csv" in result.stdout
    assert len(pd.read_csv(tmp_path / "out" / "recovery.csv")) == 6
    here = [content(path) for path in files(done[0]).values()][:2]
    assert [content(path) for path in files(tmp_path / "out").values()] == here
    times = [path.stat().st_mtime_ns for path in files(tmp_path / "out").values()]
    assert run(*command).exit_code == 0
    assert [path.stat().st_mtime_ns for path in files(tmp_path / "out").values()] == times
    other = run(*command[:4], 6, *command[5:])
    assert other.exit_code == 2
    assert "declared otherwise" in other.stderr
    assert "Traceback" not in other.output


def test_simulate_from_a_fit_on_the_command_line(quick_fit, tmp_path):
    quick_fit.save(tmp_path / "fit")
    result = run("simulate", "--from", tmp_path / "fit", "--subjects", 3, "--trials", 5, "--out", tmp_path / "sim.csv")
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(tmp_path / "sim.csv")) == 15
    assert run("simulate", "--out", tmp_path / "none.csv").exit_code == 2


def test_messages_of_workers_do_not_break_the_bar():
    from fitrl.study.run import _begin

    level = logging.getLogger("fitrl").level
    try:
        _begin()
        assert logging.getLogger("fitrl").level == logging.ERROR
    finally:
        logging.getLogger("fitrl").setLevel(level)
        logging.getLogger("pymc").setLevel(logging.NOTSET)


def test_the_design_reads_back(done):
    out, found = done
    again = Design.from_json((out / "study.json").read_text())
    assert again == found.design
    assert again.estimated["alpha"] == declare("q_learning").parameters()["alpha"]


@pytest.mark.study
def test_a_killed_study_leaves_no_process_and_continues(tmp_path):
    """The command is killed in the middle, without a chance to tidy up."""
    command = [
        sys.executable, "-c", "from fitrl.cli import main; main()", "recover", "--model", "q_learning",
        "--subjects", "4", "--trials", "20", "--studies", "12", "--quick", "--seed", "7", "--out", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(files(tmp_path)) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(3)
    kept = {path: path.stat().st_mtime_ns for path in files(tmp_path).values()}
    assert 2 <= len(kept) < 12
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(files(tmp_path)) == 12
