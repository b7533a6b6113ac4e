"""Save and load a fit. ``fit.nc`` alone is enough to load it; the tables beside it are for people."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from fitrl.errors import FitError
from fitrl.fitting.codec import frame_from_dataset, frame_to_dataset, pack, unpack
from fitrl.fitting.spec import FitSpec
from fitrl.fitting.verdict import Verdict

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

FIT_FILE = "fit.nc"
FORMAT = 1

_FRAMES = {"trials": "frame", "source_rows": "original"}  # group of the file -> field of Trials
_OBJECTS = "fitrl_objects"  # JSON: variable of objects -> how its cells are stored
_ATTRS = "fitrl_attrs"  # JSON of attributes that netCDF would change or refuse


def save(fit: Fit, folder: str | Path) -> Path:
    """Write a fit into a folder: ``fit.nc``, ``group.csv``, ``subjects.csv``, ``verdict.json``.

    With formulas also ``effects.csv`` and ``cells.csv``, with correlated parameters ``correlations.csv``.
    ``subjects_readme.txt`` says what ``subjects.csv`` is good for, and that it must not feed a t-test.

    Parameters
    ----------
    fit : Fit
        A fit, converged or not; its verdict is stored with it.
    folder : str or Path
        Made if it does not exist. Files of these names are replaced, all or none; other files are left.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FitError
        If the folder cannot be written, or the fit holds something that cannot be stored.

    Examples
    --------
    >>> save(fit, "results")  # doctest: +SKIP
    >>> load("results").verdict.converged  # doctest: +SKIP
    True
    """
    from fitrl.fitting.advice import SUBJECTS_README, about_subjects
    from fitrl.fitting.correlations import correlations
    from fitrl.fitting.effects import cells, effects

    folder = Path(folder)
    tree = _to_tree(fit)
    with staged(folder) as stage:
        tree.to_netcdf(stage / FIT_FILE, engine="h5netcdf")
        fit.group.to_csv(stage / "group.csv", index=False)
        fit.subjects.to_csv(stage / "subjects.csv", index=False)
        (stage / SUBJECTS_README).write_text(about_subjects(fit), encoding="utf-8")
        if fit.spec.formulas:
            effects(fit).to_csv(stage / "effects.csv", index=False)
            cells(fit).to_csv(stage / "cells.csv", index=False)
        if fit.spec.correlated:
            correlations(fit).to_csv(stage / "correlations.csv", index=False)
        verdict = json.dumps(fit.verdict.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (stage / "verdict.json").write_text(verdict + "\n", encoding="utf-8")
    # Those of an earlier fit would be taken for this one's.
    absent = () if fit.spec.formulas else ("effects.csv", "cells.csv")
    for name in (*absent, *(() if fit.spec.correlated else ("correlations.csv",))):
        (folder / name).unlink(missing_ok=True)
    return folder


def load(folder: str | Path) -> Fit:
    """Read a saved fit, as it was.

    A fit of a user's own model file carries the text of that file; where the file defines its own task,
    loading runs that text. Load only fits whose origin you know.

    Parameters
    ----------
    folder : str or Path
        The folder given to `save`, or a ``fit.nc`` that was moved elsewhere.

    Returns
    -------
    Fit
        Everything in memory, no file left open.

    Raises
    ------
    FitError
        If there is no fit, or the file was not written by fitrl or by a newer version.
    """
    from fitrl.data.trials import Trials
    from fitrl.fitting.fit import Fit

    tree = _read_tree(_fit_file(Path(folder)))
    own = {name: tree.attrs.pop(f"fitrl_{name}") for name in ("format", "spec", "trials", "verdict")}
    spec = FitSpec.from_json(own["spec"])
    verdict = Verdict.from_dict(json.loads(own["verdict"]))

    def find_class(module: str, name: str) -> type:
        return _find_class(module, name, spec)

    content = unpack(json.loads(own["trials"]), find_class)
    for group, field in _FRAMES.items():
        content[field] = frame_from_dataset(tree[group].to_dataset())
        del tree[group]
    return Fit(spec=spec, trials=Trials(**content), idata=tree, verdict=verdict)


@contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """Write several files of a folder as one: all of them appear, or none.

    Parameters
    ----------
    folder : str or Path
        The folder to write; made if it does not exist.

    Yields
    ------
    Path
        An empty folder to write into. When the block ends without an error everything in it moves to
        `folder`, replacing files and folders of the same name. After an error or an interruption `folder` is
        as before.

    Raises
    ------
    FitError
        If `folder` is a file, or cannot be written.

    Examples
    --------
    >>> with staged("results") as stage:  # doctest: +SKIP
    ...     table.to_csv(stage / "latents.csv")
    """
    folder = Path(folder)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the folder: the same file system, so that a file moves in one step.
        stage = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    except FileExistsError as error:
        raise FitError(f"{folder} is a file; expected a folder for the results. Name another one.") from error
    except OSError as error:
        raise FitError(f"the results cannot be written to {folder}: {error}. Name a folder that can.") from error
    done = False
    try:
        yield stage
        _swap(stage, folder)
        done = True
    except OSError as error:
        raise FitError(
            f"the results could not be written to {folder}: {error}. What was there before is unchanged; "
            "make room, or close the files, and save again."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if is_new and not done and not any(folder.iterdir()):
            folder.rmdir()


def _swap(stage: Path, folder: Path) -> None:
    """Move everything from `stage` into `folder`; put the old back if one step fails."""
    names = sorted(path.name for path in stage.iterdir())
    aside = Path(tempfile.mkdtemp(prefix=".previous-", dir=stage))
    started: list[str] = []
    try:
        for name in names:
            started.append(name)
            _set_aside(folder / name, aside / name)
            os.replace(stage / name, folder / name)
    except BaseException:
        for name in started:
            moved = not (stage / name).exists()
            if moved and not (aside / name).exists():  # there was nothing of that name before
                os.replace(folder / name, stage / name)
            if (aside / name).exists():
                if moved and (folder / name).is_dir():
                    os.replace(folder / name, stage / name)
                os.replace(aside / name, folder / name)
        raise


def _set_aside(target: Path, aside: Path) -> None:
    """Keep the old file until everything has moved; it stays in place too where links are possible."""
    if not target.exists():
        return
    if target.is_dir():
        os.replace(target, aside)
        return
    try:
        os.link(target, aside)
    except OSError:  # a file system without links
        os.replace(target, aside)


def _to_tree(fit: Fit) -> xr.DataTree:
    """Put everything about a fit into one tree that netCDF can hold; the fit is not changed."""
    taken = [name for name in _FRAMES if name in fit.idata.children]
    if taken:
        raise FitError(
            f'idata has a group "{taken[0]}", a name under which fitrl stores the data. '
            "Give your group another name before saving."
        )
    groups = {}
    for node in fit.idata.subtree:
        groups[node.path] = _storable(node.to_dataset(inherit=False))
    rest = {
        f.name: getattr(fit.trials, f.name) for f in fields(fit.trials) if f.init and f.name not in _FRAMES.values()
    }
    root = groups["/"]
    root.attrs |= {
        "fitrl_format": FORMAT,
        "fitrl_spec": fit.spec.to_json(),
        "fitrl_trials": json.dumps(pack(rest, "trials"), ensure_ascii=False, allow_nan=False),
        "fitrl_verdict": json.dumps(fit.verdict.to_dict(), ensure_ascii=False, allow_nan=False),
    }
    for group, field in _FRAMES.items():
        groups[f"/{group}"] = frame_to_dataset(getattr(fit.trials, field))
    return xr.DataTree.from_dict(groups)


def _storable(data: xr.Dataset) -> xr.Dataset:
    """Rewrite what netCDF would refuse or change: some attributes, and arrays of objects."""
    data = data.drop_encoding()
    objects: dict[str, str] = {}
    for name, variable in list(data.variables.items()):
        if not isinstance(variable.dtype, np.dtype):  # a column of pandas, given as a coordinate
            variable = variable.copy(data=np.asarray(variable.values))
            data[name] = variable
        if variable.dtype == object:
            texts = all(isinstance(cell, str) for cell in variable.values.flat)
            objects[str(name)] = "texts" if texts else "cells"
            if not texts:  # nutpie's divergence messages: None, or a text
                data[name] = variable.copy(data=_each(lambda c: json.dumps(pack(c, "idata")), variable))
    for variable in data.variables.values():
        variable.attrs = _storable_attrs(variable.attrs)
    data.attrs = _storable_attrs(data.attrs)
    if objects:
        data.attrs[_OBJECTS] = json.dumps(objects)
    return data


def _each(change: Callable[[Any], Any], variable: xr.Variable | xr.DataArray) -> np.ndarray:
    """Change every cell of an array of objects."""
    changed = np.empty(variable.shape, dtype=object)
    changed.flat = [change(cell) for cell in variable.values.flat]
    return changed


def _storable_attrs(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Keep texts and finite numbers; anything else goes into one JSON text."""
    plain = {k: v for k, v in attrs.items() if isinstance(v, str | int | float) and not isinstance(v, bool)}
    other = {k: v for k, v in attrs.items() if k not in plain}
    return {**plain, _ATTRS: json.dumps(pack(other, "attrs"))} if other else plain


def _fit_file(path: Path) -> Path:
    """Find the file of a fit."""
    if path.is_file():
        return path
    file = path / FIT_FILE
    if not file.is_file():
        what = f"has no {FIT_FILE}" if path.is_dir() else "does not exist"
        raise FitError(f"{path} {what}. Expected a folder that fitrl wrote; give the one named when the fit was saved.")
    return file


def _read_tree(file: Path) -> xr.DataTree:
    """Read the whole file into memory and undo what `_storable` did."""
    foreign = f"{file} was not written by fitrl. Expected the {FIT_FILE} of a saved fit."
    try:
        with xr.open_datatree(file, engine="h5netcdf") as opened:
            groups = {node.path: node.to_dataset(inherit=False).load() for node in opened.subtree}
    except OSError as error:
        raise FitError(f"{file} cannot be read: {error}. Expected the {FIT_FILE} of a saved fit.") from error
    attrs = groups["/"].attrs
    if not {"fitrl_format", "fitrl_spec", "fitrl_trials", "fitrl_verdict"} <= set(attrs):
        raise FitError(foreign)
    if int(attrs["fitrl_format"]) > FORMAT:
        raise FitError(f"{file} was written by a newer version of fitrl. Update fitrl to load it.")
    if not all(f"/{group}" in groups for group in _FRAMES):
        raise FitError(foreign)
    return xr.DataTree.from_dict({path: _restored(data) for path, data in groups.items()})


def _restored(data: xr.Dataset) -> xr.Dataset:
    """Undo `_storable`."""
    data = data.drop_encoding()
    for name, kind in json.loads(data.attrs.pop(_OBJECTS, "{}")).items():
        variable = data[name].variable
        cells = variable.values.astype(object)
        if kind == "cells":
            cells = _each(lambda text: unpack(json.loads(text), _no_class), variable)
        data[name] = variable.copy(data=cells)
    for variable in data.variables.values():
        variable.attrs = _restored_attrs(variable.attrs)
    data.attrs = _restored_attrs(data.attrs)
    return data


def _restored_attrs(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Undo `_storable_attrs`."""
    found = {k: v.item() if isinstance(v, np.generic) else v for k, v in attrs.items()}
    other = unpack(json.loads(found.pop(_ATTRS, '{"dict": []}')), _no_class)
    return found | other


def _no_class(module: str, name: str) -> type:
    raise FitError(f"an attribute of the stored fit is a {module}.{name}, which fitrl does not write.")


def _find_class(module: str, name: str, spec: FitSpec) -> type:
    """Find the class of a stored record: one of fitrl, or the task in the user's own model file."""
    if module.split(".")[0] == "fitrl":
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            return found
        raise FitError(f"this version of fitrl has no {module}.{name}. Load the fit with the version that wrote it.")
    if spec.source is None:
        raise FitError(
            f"the task {name} comes from the module {module}, which was not stored with the fit. "
            "Expected a task of fitrl, or one defined in the model's own file."
        )
    task = importlib.import_module("fitrl.models").from_source(spec.source, spec.model).task
    kind = task if isinstance(task, type) else type(task)
    if kind.__qualname__ != name:
        raise FitError(
            f"the stored text of {spec.model} has the task {kind.__qualname__}, but the fit was made with "
            f"{name}. The file is damaged; fit again."
        )
    return kind
