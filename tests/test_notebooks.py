"""The notebooks run from top to bottom in a fresh kernel, without a warning, and show what the committed ones show."""

import re
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from fast_engine import bandit, random_rows
from nbclient import NotebookClient

from fitrl import models
from fitrl.engine.op import Kernel
from fitrl.engine.packing import column_dtypes
from fitrl.engine.trace import trace

FILES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [file.stem for file in FILES]
LARGEST = 400_000  # bytes


def read(file):
    return nbformat.read(file, as_version=4)


def kinds(cell):
    """What a cell shows: the set of its kinds of output."""
    shown = set()
    for output in cell.outputs:
        shown |= {output.name} if output.output_type == "stream" else set(output.get("data", {"error": ""}))
    return shown


def said(cell, stream):
    """Text of a stream of a cell; it may come in pieces."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == stream)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_four_notebooks():
    assert NAMES == ["drug_study", "fit_your_own_csv", "recovery_for_your_design", "two_step"]


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_committed_notebook_is_whole(file):
    """Run in order, nothing on the error stream, pictures in it, small, and no place of a machine."""
    notebook, text = read(file), file.read_text(encoding="utf-8")
    assert [cell.execution_count for cell in code(notebook)] == [*range(1, len(code(notebook)) + 1)]
    assert not any({"stderr", "error"} & kinds(cell) for cell in code(notebook))
    assert sum("image/png" in kinds(cell) for cell in code(notebook)) >= 3
    assert "Converged:" in text
    assert len(text.encode()) < LARGEST
    places = [str(Path(place).resolve()) for place in (__file__, tempfile.gettempdir(), Path.home())]
    places[0] = str(Path(places[0]).parents[1])  # the clone
    words = re.sub(r'"image/png": "[^"]*"', "", text)  # a picture's letters may spell anything
    assert not any(f"{place}/" in words for place in places)
    assert "Warning" not in text
    assert " at 0x" not in text


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_notebook_runs(file, tmp_path, monkeypatch):
    """Every cell shows the same kinds of things as the committed one, and the fits converge again."""
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a remark of the debugger that ipykernel brings along
    notebook = read(file)
    before = [kinds(cell) for cell in code(notebook)]
    client = NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert "".join(said(cell, "stderr") for cell in code(notebook)) == ""
    assert [kinds(cell) for cell in code(notebook)] == before
    verdicts = [said(cell, "stdout") for cell in code(notebook) if "verdict" in cell.source]
    assert verdicts
    assert all("Converged:" in text and "NOT CONVERGED" not in text for text in verdicts)


def test_compiled_code_does_not_drag_its_globals_along():
    """Numba stores the globals of a function without a module, builtins included, which fails in Jupyter."""
    task = bandit()
    program = trace(models.find("q_learning"), task)
    columns = random_rows(task, [4], np.random.default_rng(1)).columns
    kernel = Kernel(program, column_dtypes({name: columns[name] for name in program.columns}), frozenset())
    for function in ("log_likelihood", "gradient"):
        assert kernel.compiled(function).py_func.__module__ == "fitrl.engine.op"
