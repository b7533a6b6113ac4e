import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pandas.testing import assert_frame_equal

from fitrl.data.trials import Trials
from fitrl.errors import FitError, Problem
from fitrl.fitting import fit as fit_module
from fitrl.fitting import store
from fitrl.fitting.codec import frame_from_dataset, frame_to_dataset, pack, unpack
from fitrl.fitting.fit import Fit
from fitrl.fitting.spec import FitSpec, ParameterSpec
from fitrl.fitting.store import load, save, staged
from fitrl.fitting.verdict import judge
from fitrl.language.files import model_class
from fitrl.tasks.bandit import Bandit

ALPHA = ParameterSpec("alpha", "learning rate", "logit", 0.0, 1.0, "", "normal(0, 1.5)", "halfnormal(1)")
BETA = ParameterSpec("beta", "slope", "log", 0.0, float("inf"), "1/outcome", "normal(1, 0.8)", "halfnormal(0.5)")


def make_trials():
    frame = pd.DataFrame(
        {
            "subject": pd.Series(["07", "07", "é"], dtype="str"),
            "trial": [1.0, 2.0, 1.0],
            "line": np.array([2, 3, 4]),
            "sequence": np.array([0, 0, 1]),
            "subject_idx": np.array([0, 0, 1]),
            "choice": np.array([0, 1, 0], dtype=np.int64),
            "choice_given": [True, True, False],
            "outcome": [0.5, -0.25, 0.0],
            "reset": [True, False, True],
        }
    )
    original = pd.DataFrame(
        {
            "subj ID": [7, 7, 9],
            "site/room": pd.Series(["A", None, "B"], dtype="str"),
            "remark": ["x", 3, None],
            "row": [1.5, np.nan, np.inf],
        }
    )
    return Trials(
        task=Bandit(n_options=2, labels=("left", "right"), outcome_range=(-1.0, 1.0), has_forgone=True),
        frame=frame,
        codings={"choice": ("left", "right")},
        columns={"subject": "subj ID", "choice": "key"},
        outcome_scale=100.0,
        outcome_range=(-np.inf, np.inf),
        reset="session",
        problems=(Problem("warning", "gap", "look", (3, 4), "trial"),),
        source="bandit.csv",
        data_hash="abc",
        original=original,
    )


def make_fit(seed=1, **spec):
    rng = np.random.default_rng(seed)
    posterior = {}
    for p in (ALPHA, BETA):
        posterior[f"{p.name}_mu"] = rng.normal(size=(4, 200))
        posterior[f"{p.name}_sigma"] = np.abs(rng.normal(size=(4, 200)))
        posterior[p.name] = rng.uniform(size=(4, 200, 2))
    stats = {
        "diverging": np.zeros((4, 200), dtype=bool),
        "energy": rng.normal(size=(4, 200)),
        "reached_max_treedepth": np.zeros((4, 200), dtype=bool),
        "n_steps": np.full((4, 200), 7, dtype=np.uint16),
        "divergence_message": np.full((4, 200), None, dtype=object),
    }
    stats["divergence_message"][1, 3] = "energy error"
    idata = az.from_dict(
        {"posterior": posterior, "sample_stats": stats},
        coords={"subject": np.array(["07", "é"])},
        dims={"alpha": ["subject"], "beta": ["subject"]},
    )
    idata["posterior"].attrs |= {"tuning_steps": 1000, "sampling_time": 1.5, "flag": True, "seeds": [1, 2]}
    idata["observed_data"] = xr.DataTree(
        xr.Dataset(
            {"choice": ("obs", np.array([0, 1], dtype=np.int8))},
            coords={
                "subject": ("obs", np.array(["07", "é"], dtype=object)),
                "trial": ("obs", [1.0, np.nan]),
            },
        )
    )
    idata.attrs = {"name": "q_learning", "nothing": None}
    declared = FitSpec(
        model="q_learning",
        source=None,
        traits=(("dual_alpha", {"by": "outcome"}),),
        options={"q0": None},
        parameters=(ALPHA, BETA),
        pooling="partial",
        fixed={},
        priors="default",
        quick=False,
        seed=seed,
        sample_kwargs={"draws": 200},
        attempts=({"target_accept": 0.9, "divergences": 0},),
        versions={"pymc": "6.4.0"},
        timings={"sample": 3.2},
    )
    declared = replace(declared, **spec)
    verdict = judge(idata, declared.parameters, attempts=declared.attempts)
    return Fit(declared, make_trials(), idata, verdict)


def assert_same_tree(found, expected):
    assert [n.path for n in found.subtree] == [n.path for n in expected.subtree]
    for node in expected.subtree:
        old, new = node.to_dataset(), found[node.path].to_dataset()
        xr.testing.assert_identical(new, old)
        for name, variable in old.variables.items():
            assert new[name].dtype == variable.dtype, (node.path, name)
            assert new[name].dims == variable.dims
            if variable.dtype == object:  # to xarray None and NaN are the same
                assert [type(c) for c in new[name].values.flat] == [type(c) for c in variable.values.flat]
            assert list(map(type, new[name].attrs.values())) == list(map(type, variable.attrs.values()))
        assert {k: type(v) for k, v in new.attrs.items()} == {k: type(v) for k, v in old.attrs.items()}


def test_a_saved_fit_reloads_identically(tmp_path):
    fit = make_fit()
    before = fit.idata.copy(deep=True)
    assert save(fit, tmp_path / "new" / "results") == tmp_path / "new" / "results"
    assert_same_tree(fit.idata, before)  # saving changes nothing
    back = load(tmp_path / "new" / "results")
    assert_same_tree(back.idata, fit.idata)
    assert back.spec == fit.spec
    assert back.verdict == fit.verdict
    assert_frame_equal(back.trials.frame, fit.trials.frame)
    assert_frame_equal(back.trials.original, fit.trials.original)
    for field in ("task", "codings", "columns", "outcome_scale", "outcome_range", "reset", "problems"):
        assert getattr(back.trials, field) == getattr(fit.trials, field)
    assert type(back) is Fit
    assert type(back.trials.task) is Bandit
    assert back.trials.data_hash == "abc"


def test_a_reloaded_fit_can_be_saved_again_over_itself(tmp_path):
    fit = make_fit()
    save(fit, tmp_path)
    save(load(tmp_path), tmp_path)
    assert_same_tree(load(tmp_path).idata, fit.idata)


def test_the_file_alone_is_enough_and_stays_closed(tmp_path):
    save(make_fit(), tmp_path / "results")
    moved = tmp_path / "elsewhere.nc"
    (tmp_path / "results" / "fit.nc").rename(moved)
    back = load(moved)
    moved.unlink()
    assert float(back.idata["posterior"]["alpha"].mean()) > 0


def test_the_tables_and_the_verdict_lie_beside_it(tmp_path):
    fit = make_fit()
    save(fit, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "fit.nc",
        "group.csv",
        "subjects.csv",
        "subjects_readme.txt",
        "verdict.json",
    ]
    group = pd.read_csv(tmp_path / "group.csv")
    mean = group.query("parameter == 'beta' and quantity == 'sample_mean'")["post_mean"].item()
    assert mean == pytest.approx(float(fit.idata["posterior"]["beta"].mean()) / 100)
    subjects = pd.read_csv(tmp_path / "subjects.csv", dtype={"subject": str})
    assert list(subjects["subject"].unique()) == ["07", "é"]
    verdict = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    assert verdict == fit.verdict.to_dict()


def test_pandas_texts_as_coordinates_can_be_saved(tmp_path):
    fit = make_fit()
    labels = pd.Series(["07", "é"], dtype="str")
    observed = fit.idata["observed_data"].to_dataset().assign_coords(subject=("obs", labels))
    fit.idata["observed_data"] = xr.DataTree(observed)
    save(fit, tmp_path)
    assert list(load(tmp_path).idata["observed_data"]["subject"].values) == ["07", "é"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("moment", ["subject_table", "_swap", "replace"])
def test_an_interrupted_save_leaves_the_previous_result(tmp_path, monkeypatch, error, moment):
    save(make_fit(1), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def interrupted(*args, **kwargs):
        raise error

    if moment == "replace":
        calls, replace_file = [], store.os.replace

        def third_time(source, target):
            calls.append(target)
            if len(calls) == 3:
                raise error
            replace_file(source, target)

        monkeypatch.setattr(store.os, "replace", third_time)
    else:
        monkeypatch.setattr(fit_module if moment == "subject_table" else store, moment, interrupted)
    with pytest.raises(error):
        save(make_fit(2), tmp_path)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_interrupted_first_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "group_table", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(make_fit(), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_save_killed_while_writing_leaves_the_previous_result(tmp_path):
    (tmp_path / "group.csv").write_text("old")
    code = (
        "import os, signal, sys\nfrom fitrl.fitting.store import staged\n"
        "with staged(sys.argv[1]) as stage:\n"
        "    (stage / 'group.csv').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode != 0
    assert (tmp_path / "group.csv").read_text() == "old"


def test_staged_replaces_folders_and_leaves_other_files(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.png").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with staged(tmp_path) as stage:
        (stage / "figures").mkdir()
        (stage / "figures" / "new.png").write_text("new")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "figures",
        "figures/new.png",
        "notes.txt",
    ]


def test_without_links_the_old_files_still_come_back(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")

    def no_link(*args):
        raise OSError("links are not supported")

    monkeypatch.setattr(store.os, "link", no_link)
    calls, replace_file = [], store.os.replace

    def full(source, target):
        calls.append(target)
        if len(calls) == 4:
            raise PermissionError("b is open")
        replace_file(source, target)

    monkeypatch.setattr(store.os, "replace", full)

    def write():
        with staged(tmp_path) as stage:
            for name in ("a", "b", "c"):
                (stage / name).write_text("new")

    with pytest.raises(FitError, match="b is open"):
        write()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def test_missing_and_foreign_results_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(FitError, match=r"does not exist\. Expected a folder that fitrl wrote"):
        load(tmp_path / "nowhere")
    with pytest.raises(FitError, match=r"has no fit\.nc"):
        load(tmp_path)
    (tmp_path / "fit.nc").write_text("no netCDF")
    with pytest.raises(FitError, match="cannot be read"):
        load(tmp_path)
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with pytest.raises(FitError, match="was not written by fitrl"):
        load(tmp_path)


def test_a_file_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(store, "FORMAT", 2)
        save(make_fit(), tmp_path)
    with pytest.raises(FitError, match="newer version"):
        load(tmp_path)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(FitError, match="is a file; expected a folder"):
        save(make_fit(), tmp_path / "results")
    assert (tmp_path / "results").read_text() == "mine"


def test_a_group_of_the_user_with_our_name_is_refused(tmp_path):
    fit = make_fit()
    fit.idata["trials"] = xr.DataTree(xr.Dataset({"x": 1}))
    with pytest.raises(FitError, match='group "trials"'):
        save(fit, tmp_path)


# A file as a lab would write it, with a task of its own.
LAB_FILE = """
from dataclasses import dataclass

from fitrl.language import Model, State, softmax, unit
from fitrl.tasks.bandit import Bandit


@dataclass(frozen=True)
class Maze(Bandit):
    n_arms: int = 8


class Wander(Model):
    '''Stay or go.'''

    task = Maze
    alpha = unit("learning rate")

    def start(self, p, task):
        return State(q=task.values(0.0))

    def trial(self, s, p, t):
        t.choose("choice", softmax(s.q))
"""


def lab_fit(**spec):
    task = model_class(LAB_FILE, "lab/maze.py").task
    fit = make_fit(**spec)
    fit.trials = replace(fit.trials, task=task(n_arms=4))
    return fit


def test_a_task_of_a_model_file_comes_back_through_the_stored_text(tmp_path):
    save(lab_fit(source=LAB_FILE, model="lab/maze.py"), tmp_path)
    task = load(tmp_path).trials.task
    assert type(task).__name__ == "Maze"
    assert isinstance(task, Bandit)
    assert task.n_arms == 4


def test_a_stored_text_with_another_task_is_refused(tmp_path):
    text = LAB_FILE.replace("Maze", "Alley")
    save(lab_fit(source=text, model="lab/maze.py"), tmp_path)
    with pytest.raises(FitError, match="has the task Alley, but the fit was made with Maze"):
        load(tmp_path)


def test_a_task_without_stored_text_is_refused(tmp_path):
    save(lab_fit(), tmp_path)
    with pytest.raises(FitError, match="not stored with the fit"):
        load(tmp_path)


# Codec ------------------------------------------------------------------------------------------------


def awkward_frame():
    day = pd.to_datetime(["2020-01-01 10:00", None, "2020-07-01 12:30"])
    frame = pd.DataFrame(
        {
            "plain": np.array([1, 2, 3], dtype=np.int16),
            "switch": [True, False, True],
            "number": [1.5, np.nan, -np.inf],
            "text": pd.Series(["", "b", None], dtype="str"),
            "nullable text": pd.Series(["a", pd.NA, "c"], dtype="string"),
            "mixed": [1, "one", None],
            "mixed missing": [np.nan, pd.NA, 2.5],
            "day": day,
            "zoned": day.tz_localize("UTC").tz_convert("Europe/Berlin"),
            "length": pd.to_timedelta([1, 2, None], unit="s"),
            "level": pd.Categorical(["lo", "hi", None], categories=["lo", "hi"], ordered=True),
            "grade": pd.Categorical([3, 1, 3]),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "share": pd.array([0.5, None, 1.0], dtype="Float64"),
            "yes": pd.array([True, None, False], dtype="boolean"),
            "": [1, 2, 3],
            "plain__missing": [4, 5, 6],
            "row": [1, 2, 3],
            "ü/b": ["x", "y", "z"],
        }
    )
    return frame


@pytest.mark.parametrize("index", [None, [5, 3, 9], ["x", "y", "z"]])
def test_any_frame_survives_the_file(tmp_path, index):
    frame = awkward_frame()
    if index is not None:
        frame.index = pd.Index(index, name="key")
    before = frame.copy(deep=True)
    frame_to_dataset(frame).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    back = frame_from_dataset(xr.load_dataset(tmp_path / "x.nc", engine="h5netcdf"))
    assert_frame_equal(back, frame)
    assert [type(v) for v in back["mixed"]] == [int, str, type(None)]
    assert back["mixed missing"].iloc[1] is pd.NA
    assert_frame_equal(frame, before)


def test_column_names_may_be_numbers_or_repeat(tmp_path):
    for names in ([0, 1], ["a", "a"], ["a", 2]):
        frame = pd.DataFrame([[1, "x"], [2, "y"]])
        frame.columns = pd.Index(names)
        frame_to_dataset(frame).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
        assert_frame_equal(frame_from_dataset(xr.load_dataset(tmp_path / "x.nc", engine="h5netcdf")), frame)


def test_objects_without_a_place_are_kept_as_text_with_a_warning():
    frame = pd.DataFrame({"where": [Path("a"), Path("b")]})
    with pytest.warns(UserWarning, match='column "where" holds a PosixPath|WindowsPath'):
        stored = frame_to_dataset(frame)
    assert list(frame_from_dataset(stored)["where"]) == ["a", "b"]


def test_records_survive_json():
    record = {
        "a": (1, [2.5, None, True], {"x": -np.inf}),
        3: np.array([[1, 2]], dtype=np.int8),
        "p": Problem("note", "é", rows=(1, 2)),
    }
    text = json.dumps(pack(record, "record"), allow_nan=False)
    back = unpack(json.loads(text), lambda module, name: Problem)
    assert back["a"] == record["a"]
    assert back["p"] == record["p"]
    assert back[3].dtype == np.int8
    np.testing.assert_array_equal(back[3], record[3])
    with pytest.raises(FitError, match=r"record\['f'\] is a function"):
        pack({"f": lambda: 1}, "record")
