"""Power by simulation: what is simulated, counted, continued and refused; small quick fits."""

import json
from concurrent.futures import Executor, Future
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from scipy.stats import beta
from test_perturb_phases import OneGain
from typer.testing import CliRunner

import fitrl
from fitrl import Moderator, Perturbation, Target
from fitrl.cli.app import app
from fitrl.errors import ModelError, StudyError, StudyInterrupted
from fitrl.perturb import detection, power
from fitrl.perturb.detection import Detection, Job, corners, simulated
from fitrl.perturb.power import confirmation_table, lay_out, power_table
from fitrl.perturb.power_report import plot_power
from fitrl.study.design import Cell, Design

DRUG = Perturbation("drug", (Target("alpha", -1.0, unit="sd", sd_delta=0.3),))
SMALL = {"subjects": 4, "trials": 12, "replications": 2, "confirm": 0, "random_seed": 7, "progressbar": False}


class Here(Executor):
    """Does each job at once in this process; stops like Ctrl-C after some of them."""

    def __init__(self, stop_after=None):
        self.stop_after, self.done, self.jobs = stop_after, 0, []

    def submit(self, fn, /, *args, **kwargs):
        if self.done == self.stop_after:
            raise KeyboardInterrupt
        self.done += 1
        self.jobs += args
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def detect(out, perturbation=DRUG, **changes):
    arguments = {**SMALL, "executor": Here(), **changes}
    return fitrl.detect(perturbation, arguments.pop("model", "q_learning"), out=out, **arguments)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("detection") / "whole"
    executor = Here()
    return out, detect(out, executor=executor), executor.jobs


# What is counted --------------------------------------------------------------------------------------------


def estimates(*rows, estimator="laplace", status="settled"):
    columns = ["study", "truth", "mean", "lower", "upper"]
    fixed = {"n_subjects": 20, "n_trials": 50, "parameter": "alpha", "effect": "drug", "sd": 0.2}
    return pd.DataFrame(rows, columns=columns).assign(estimator=estimator, status=status, **fixed)


def test_power_and_its_errors_by_hand():
    found = estimates(
        (1, -0.5, -1.0, -1.5, -0.5),  # found
        (2, -0.5, -0.4, -0.9, 0.1),  # not found
        (3, -0.5, 0.6, 0.1, 1.1),  # found on the wrong side
        (4, -0.5, -0.8, -1.2, -0.4),  # found; the truth lies inside
    )
    found.loc[3, "status"] = "not settled"
    (row,) = power_table(found, "laplace").to_dict("records")
    assert (row["n"], row["power"], row["coverage"], row["settled"]) == (4, 0.5, 0.75, 0.75)
    np.testing.assert_allclose([row["power_lower"], row["power_upper"]], [beta.ppf(0.025, 2, 3), beta.ppf(0.975, 3, 2)])
    np.testing.assert_allclose(row["sign_error"], 1 / 3)
    np.testing.assert_allclose(row["exaggeration"], np.mean([2.0, 1.2, 1.6]))
    np.testing.assert_allclose(row["bias"], np.mean([2.0, 0.8, -1.2, 1.6]) - 1)
    np.testing.assert_allclose(row["width"], 1.0)


def test_where_nothing_is_found_nothing_is_exaggerated():
    (row,) = power_table(estimates((1, 0.5, 0.1, -0.2, 0.4)), "laplace").to_dict("records")
    assert row["power"] == 0
    assert np.isnan([row["sign_error"], row["exaggeration"]]).all()
    assert power_table(estimates(), "nuts").empty


def test_laplace_and_nuts_are_compared_on_the_same_data():
    approximate = estimates((1, 0.5, 0.6, 0.2, 1.0), (2, 0.5, 0.3, -0.1, 0.7), (3, 0.5, 0.5, 0.1, 0.9))
    sampled = estimates((1, 0.5, 0.5, 0.0, 1.0), (2, 0.5, 0.3, -0.2, 0.8), estimator="nuts", status="converged")
    sampled.loc[1, "status"] = "not converged"
    sampled["sd"] = 0.25
    (row,) = confirmation_table(pd.concat([approximate, sampled], ignore_index=True)).to_dict("records")
    assert (row["n"], row["same"], row["power_laplace"], row["power_nuts"], row["converged"]) == (2, 1, 0.5, 0.0, 0.5)
    np.testing.assert_allclose([row["difference"], row["width_ratio"]], [0.2, 0.8])
    assert confirmation_table(approximate).empty


# What is simulated ------------------------------------------------------------------------------------------


def link_difference(made, column, present, absent):
    """Mean over subjects of the true shift of alpha on the logit."""
    alpha = made.truth[made.truth["parameter"] == "alpha"]
    by = alpha.pivot(index="subject", columns=column, values="value")
    return (logit(by[present]) - logit(by[absent])).to_numpy()


def test_the_truth_is_what_was_simulated(done):
    _, found, jobs = done
    exact = json.loads(Perturbation("drug", (Target("alpha", -1.0, unit="sd"),)).to_json())
    for job, truth in zip(jobs, found.estimates["truth"], strict=True):
        same = replace(job, design=replace(job.design, asks={**job.design.asks, "perturbation": exact}))
        np.testing.assert_allclose(link_difference(simulated(same), "drug", "drug", "placebo"), truth, rtol=1e-9)
        np.testing.assert_allclose(truth, -job.truth.scale["alpha"])


def test_a_job_has_one_data_set(done):
    """Both estimators see the same one."""
    _, _, (job, *_) = done
    again = simulated(replace(job, estimator="nuts")).frame
    pd.testing.assert_frame_equal(simulated(job).frame, again, check_exact=True)


def test_the_measure_of_a_moderator_is_a_column(tmp_path):
    p = Perturbation("pills", (Target("alpha", -0.6),), moderator=Moderator("span", 0.5, 0.5))
    executor = Here()
    found = detect(tmp_path, p, replications=1, executor=executor)
    assert found.estimates[["effect", "truth"]].to_numpy().tolist() == [["drug", -0.3], ["drug:span", -0.3]]
    made = simulated(executor.jobs[0])
    span = made.frame.groupby("subject", sort=False)["span"].first().to_numpy()
    shift = link_difference(made, "drug", "pills", "placebo")
    np.testing.assert_allclose(shift, -0.6 * (0.5 + 0.5 * span), rtol=1e-9)


def test_two_groups(tmp_path):
    disorder = replace(DRUG, apply_to="group")
    executor = Here()
    found = detect(tmp_path, disorder, replications=1, executor=executor)
    assert found.design.asks["layout"] == "groups"
    frame = simulated(executor.jobs[0]).frame
    assert frame.groupby("group")["subject"].nunique().to_dict() == {"controls": 2, "drug": 2}
    assert found.estimates["effect"].tolist() == ["group"]
    assert "half of the subjects with, half without" in found.text()


def test_subjects_of_a_fit(tmp_path):
    data = fitrl.simulate("q_learning", subjects=5, trials=20, random_seed=1).trials
    pilot = fitrl.fit("q_learning", data, quick=True, random_seed=1)
    executor = Here()
    found = detect(tmp_path, model=None, fit=pilot, replications=1, executor=executor)
    drawn = pilot.idata["posterior"]["alpha"].to_numpy()
    assert np.isin(executor.jobs[0].truth.values["alpha"], drawn).all()
    assert "the subjects of a fit" in found.text()


# What is on disk ---------------------------------------------------------------------------------------------


def content(path):
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}


def test_a_stopped_study_continues(done, tmp_path):
    out, _, _ = done
    with pytest.raises(StudyInterrupted, match="1 of 2 fits are finished"):
        detect(tmp_path, executor=Here(stop_after=1))
    executor = Here()
    detect(tmp_path, executor=executor)
    assert executor.done == 1
    files = [sorted(folder.glob("fits/*/*.json")) for folder in (out, tmp_path)]
    assert [p.name for p in files[0]] == ["0001_laplace.json", "0002_laplace.json"]
    assert [content(p) for p in files[0]] == [content(p) for p in files[1]]


def test_another_question_is_refused_in_the_same_folder(done):
    out, _, _ = done
    with pytest.raises(StudyError, match=r"declared otherwise:\n  perturbation: .*-1.0.*; now .*-0.5"):
        detect(out, Perturbation("drug", (Target("alpha", -0.5, unit="sd"),)))


def test_everything_is_written(done):
    out, found, _ = done
    for name in ("detection", "confirmation", "fits", "estimates"):
        assert (out / f"{name}.csv").exists()
    pd.testing.assert_frame_equal(pd.read_csv(out / "detection.csv"), found.table)
    text = (out / "report.txt").read_text()
    assert "Laplace approximations: 2 settled" in text
    assert "No number here was confirmed by NUTS" in text
    assert "2 data sets give rough shares" in text
    assert (out / "figures" / "power.png").exists()


def test_data_that_cannot_be_fitted_are_counted(tmp_path, monkeypatch):
    estimate, calls = detection.estimate, []

    def sometimes(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise ModelError("no such luck")
        return estimate(*args, **kwargs)

    monkeypatch.setattr(detection, "estimate", sometimes)
    found = detect(tmp_path)
    assert found.fits["status"].tolist() == ["failed", "settled"]
    assert found.table["n"].tolist() == [1]
    assert "1 fit (Laplace approximations) failed; they are missing from the tables" in found.text()


def test_corners_are_the_ends_of_the_grid(done):
    design = replace(done[1].design, subjects=[10, 20, 40], trials=[50])
    assert corners(design) == [Cell(10, 50), Cell(40, 50)]


def test_corners_are_given_to_nuts(tmp_path, monkeypatch):
    """Which fits are asked for; what they are is another test."""
    asked = []

    def do(job):
        asked.append((job.cell.name, job.index, job.estimator))
        result = {"n_subjects": job.cell.subjects, "n_trials": job.cell.trials, "study": job.index, "message": ""}
        result |= {"estimator": job.estimator, "status": "settled", "divergences": 0, "seconds": 1.0}
        row = {
            "parameter": "alpha",
            "effect": "drug",
            "truth": -0.5,
            "mean": -0.6,
            "sd": 0.2,
            "lower": -1,
            "upper": -0.2,
        }
        detection.write_result(job.file, result | {"estimates": [row]})
        return "settled"

    monkeypatch.setattr(detection, "do", do)
    found = detect(tmp_path, subjects=[4, 6, 8], trials=[10, 20], confirm=1)
    sampled = [(cell, index) for cell, index, estimator in asked if estimator == "nuts"]
    assert sampled == [("4x10", 0), ("4x20", 0), ("8x10", 0), ("8x20", 0)]
    assert len(asked) == 12 + 4
    assert found.confirmation["same"].tolist() == [1] * 4
    assert "NUTS, on 4 effects in the corners of the grid, decides alike in 4" in found.text().replace("\n  ", " ")


@pytest.mark.study
def test_nuts_confirms(tmp_path):
    found = detect(tmp_path, subjects=6, trials=30, replications=1, confirm=1, draws=200, tune=200, chains=2)
    assert found.fits["estimator"].tolist() == ["laplace", "nuts"]
    assert found.confirmation["n"].tolist() == [1]
    assert len(found.table) == 1  # powers are by one estimator


# What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("perturbation", "change", "words"),
    [
        (DRUG, {"design": "parallel"}, "crossover or groups"),
        (DRUG, {"estimator": "map"}, "laplace or nuts"),
        (DRUG, {"confirm": -1}, "0 or more"),
        (DRUG, {"draws": 100}, "nothing is sampled, so draws"),
        (DRUG, {"confirm": 1, "darws": 100}, "darws"),
        (DRUG, {"subjects": 3}, "use 4 or more"),
        (DRUG, {"fixed": {"alpha": 0.3}}, "alpha is fixed"),
        (DRUG, {"priors": {"alpha": {"link": "probit_approx"}}}, "another link"),
        (replace(DRUG, apply_to="group"), {"design": "crossover"}, 'design="groups"'),
        (Perturbation("none", (Target("alpha", 0.0),)), {}, "no size"),
        (Perturbation("lesion", (Target("alpha", mode="freeze"),)), {}, "cannot be a coefficient"),
        (Perturbation("other", (Target("kappa", 0.5),)), {}, "kappa"),
    ],
)
def test_slips_are_found_before_anything_is_done(tmp_path, perturbation, change, words):
    with pytest.raises(fitrl.FitrlError, match=words):
        detect(tmp_path / "out", perturbation, **change)
    assert not (tmp_path / "out").exists()


def test_priors_of_effects_reach_the_fits(tmp_path):
    priors = {"alpha": {"effects": "normal(0, 0.001)"}}
    found = detect(tmp_path, priors=priors, replications=1)
    assert found.estimates["sd"].item() < 0.0015


# The figure and the command line -------------------------------------------------------------------------------


def grid():
    """A study whose numbers are made up: power grows with subjects and trials."""
    results = []
    for n, t in ((20, 50), (40, 50), (20, 100), (40, 100)):
        for study in range(60):
            hit = study < 60 * (0.3 + 0.2 * (n > 20) + 0.35 * (t > 50))
            row = {"parameter": "alpha", "effect": "drug", "truth": -0.5, "mean": -0.9, "sd": 0.3}
            row |= {"lower": -1.5, "upper": -0.1 if hit else 0.1}
            result = {"n_subjects": n, "n_trials": t, "study": study, "message": "", "divergences": 0, "seconds": 1.0}
            results.append(result | {"estimator": "laplace", "status": "settled", "estimates": [row]})
    return results


def test_the_figure_and_the_words(done):
    design = Design(**{**done[1].design.__dict__, "subjects": [20, 40], "trials": [50, 100], "studies": 60})
    found = Detection(design, *lay_out(grid()))
    text = found.text().replace("\n  ", " ")
    assert "80 % power is reached, 85 % (73 % to 93 %), from 40 subjects on of 100 trials each." in text
    assert "alpha, drug: 80 % power is not reached: 50 % (37 % to 63 %) with 40 subjects of 50 trials each." in text
    assert "1.8 times as large" in text
    fig, (ax,) = plot_power(found)
    lines = [container.lines[0].get_ydata().tolist() for container in ax.containers]
    np.testing.assert_allclose(lines, [[0.3, 0.5], [0.65, 0.85]], atol=0.02)
    assert power.NOMINAL_POWER in [line.get_ydata()[0] for line in ax.lines]
    plt.close(fig)


def test_the_command_passes_everything_on(tmp_path, monkeypatch):
    given = {}

    def fake(p, model, **arguments):
        given.update(arguments, perturbation=p, model=model)
        raise StudyError("enough")

    monkeypatch.setattr(detection, "detect", fake)
    call = ["detect", "da_block_rat", "--model", "q_learning", "--out", str(tmp_path / "power")]
    result = CliRunner().invoke(app, [*call, "--subjects", "20,40", "--formula", "alpha ~ drug", "--chains", "2"])
    assert (result.exit_code, "enough" in result.output) == (2, True)
    assert given["perturbation"] == fitrl.perturbation("da_block_rat")
    assert (given["subjects"], given["trials"], given["chains"]) == ([20, 40], [100, 200], 2)
    assert given["formulas"] == {"alpha": "drug"}
    assert CliRunner().invoke(app, [*call, "--trials", "many"]).exit_code == 2


def test_a_job_can_be_sent_to_another_process(done):
    import pickle

    _, _, (job, *_) = done
    again = pickle.loads(pickle.dumps(job))
    assert isinstance(again, Job)
    assert again.design == job.design


def test_a_change_in_one_of_two_phases_is_detected_and_drawn(tmp_path):
    p = Perturbation("drug", (Target("gain", -1.0),), phase="learn")
    found = detect(tmp_path / "phase", p, model=OneGain(), subjects=4, trials=20)
    assert set(found.table["parameter"]) == {"gain_learn"}
    fig, axes = plot_power(found)
    assert axes[0].get_title(loc="left") == "gain_learn: effect of drug"
    plt.close(fig)
