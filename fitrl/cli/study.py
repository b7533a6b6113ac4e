"""The commands ``fitrl recover`` and ``fitrl calibrate``: run the study, print its report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitrl.cli.output import print_out

_FILES = {
    "recovery": {
        "report.txt": "what is printed above",
        "recovery.csv": "correlation, bias, error, coverage, shrinkage",
        "correlations.csv": "correlations between parameters",
        "subjects.csv": "truth and estimate of every subject",
        "population.csv": "truth and estimate of every population",
        "fits.csv": "whether each fit converged",
        "figures/": "",
    },
    "calibration": {
        "report.txt": "what is printed above",
        "calibration.csv": "verdict per quantity",
        "ranks.csv": "rank of the truth in every data set",
        "fits.csv": "whether each fit converged",
        "figures/": "",
    },
}


def run_recovery(model: str | None, out: Path, declaration: Mapping[str, Any], sampler: Mapping[str, Any]) -> None:
    """Run a recovery study and print its report.

    Parameters
    ----------
    model : str or None
        Name or file; None with a fit.
    out : Path
        Folder of the study.
    declaration, sampler : mapping
        Keyword arguments of `fitrl.recover`.
    """
    print_out("Loading PyMC ...", style="dim")
    from fitrl.study.recovery import recover

    found = recover(model, out=out, **declaration, **sampler)
    _print(found.text(), out, "recovery")


def run_calibration(model: str, out: Path, declaration: Mapping[str, Any], sampler: Mapping[str, Any]) -> bool:
    """Run a calibration study and print its report.

    Returns
    -------
    bool
        Whether it passed.
    """
    print_out("Loading PyMC ...", style="dim")
    from fitrl.study.calibration import calibrate

    found = calibrate(model, out=out, **declaration, **sampler)
    _print(found.text(), out, "calibration")
    return found.passed


def _print(text: str, out: Path, kind: str) -> None:
    print_out("")
    print_out(text)
    print_out(f"Results in {shlex.quote(str(out))}", style="bold")
    for name, what in _FILES[kind].items():
        if name == "figures/":
            what = ", ".join(sorted(path.stem for path in (out / "figures").glob("*.png")))
        if (out / name).exists():
            print_out(f"  {name:<18}{what}")
