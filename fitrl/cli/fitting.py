"""Runs a fit for the command line: say what was understood, sample, write everything, sum up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from fitrl.cli.effects import print_design
from fitrl.cli.output import print_out
from fitrl.cli.perturb_results import with_effect, write_estimate
from fitrl.data.describe import describe

if TYPE_CHECKING:
    from fitrl.data import Trials
    from fitrl.fitting.fit import Fit

_SUBJECTS_SHOWN = 5
_DECLARED = ("traits", "options", "priors", "pooling", "fixed", "formulas", "subjects")

FILES = {
    "group.csv": "population: location, scale, median, mean, with diagnostics",
    "subjects.csv": "every subject's parameters, with intervals (not for a t-test, see subjects_readme.txt)",
    "effects.csv": "what the formulas found: effects, intervals, direction, size",
    "cells.csv": "population median and mean for every combination of factors",
    "correlations.csv": "correlations between parameters over subjects, link scale",
    "perturbation.csv": "how large the perturbation is, beside what it states",
    "derived.csv": "what follows from the parameters, such as a weight from two slopes",
    "predictions.csv": "signatures of behaviour, observed and predicted, inside or outside",
    "latents.csv": "trial by trial: values, prediction errors, choice probability",
    "verdict.json": "every convergence check with its limit",
    "figures": "posterior, subjects, traces, behaviour against predictions",
    "fit.nc": "the fit itself: fitrl.load(folder) in Python",
}


def run_fit(
    model: str,
    trials: Trials,
    out: Path,
    declaration: Mapping[str, Any],
    *,
    replaced: bool = False,
    effect: Mapping[str, Any] | None = None,
) -> bool:
    """Fit, write the results and print the summary.

    Parameters
    ----------
    model : str
        Name or file.
    trials : Trials
        The data.
    out : Path
        Folder of the results.
    declaration : mapping
        Keyword arguments of `fitrl.fit`.
    replaced : bool
        Whether the folder holds an older fit.
    effect : mapping, optional
        A perturbation to estimate: arguments ``perturbation``, ``on`` and ``against`` of `fitrl.estimate`.

    Returns
    -------
    bool
        False if the fit did not converge; a quick fit, which has no chains, gives True.
    """
    print_out(describe(trials, max_rows=_SUBJECTS_SHOWN))
    if replaced:
        print_out(f"\n{out} holds an earlier fit; it is replaced when this one is done.", style="yellow")
    print_out("\nLoading PyMC ...", style="dim")
    started = time.perf_counter()
    from fitrl.fitting.fit import fit, prepare
    from fitrl.hierarchy.describe import describe_design

    imported = time.perf_counter() - started
    if effect is not None:
        trials, where, declaration = with_effect(model, trials, declaration, effect)
    if declaration.get("formulas"):
        plan, joined, _ = prepare(model, trials, **{k: declaration[k] for k in _DECLARED if k in declaration})
        print_design(describe_design(plan, joined))  # its notes come with the fit
    found = fit(model, trials, **declaration)
    found.spec.timings["import"] = imported
    started = time.perf_counter()
    predictions = write_results(found, out)
    answer = write_estimate(effect["perturbation"], found, where, out) if effect is not None else None
    written = time.perf_counter() - started

    from fitrl.show.summary import render_summary

    print_out("")
    print_out(render_summary(found))
    if answer is not None:
        print_out(answer)
    if predictions:
        print_out(f"\n{predictions}")
    print_out(_where(out))
    print_out(_timings({**found.spec.timings, "write": written}), style="dim")
    return found.verdict.status != "not converged"


def write_results(fit: Fit, out: Path) -> str:
    """Write the fit, its tables, latents and figures into a folder: all of them, or none.

    Parameters
    ----------
    fit : Fit
    out : Path
        Made if it does not exist.

    Returns
    -------
    str
        Which signatures of behaviour lie outside of their predictions; empty for a task that has none.

    Raises
    ------
    FitError
        If the folder cannot be written.
    """
    from fitrl.fitting.derived import derived
    from fitrl.fitting.predict import latents
    from fitrl.fitting.store import staged
    from fitrl.show.by import factors, write_by
    from fitrl.show.predictions import behaviour_of, check_predictions, outside
    from fitrl.show.report import write_figures

    data, said = behaviour_of(fit), ""
    with staged(out) as stage:
        fit.save(stage)
        if fit.plan.model.derived():
            derived(fit).to_csv(stage / "derived.csv", index=False)
        else:
            (out / "derived.csv").unlink(missing_ok=True)  # of an earlier fit
        latents(fit).to_csv(stage / "latents.csv", index=False)
        write_figures(fit, stage / "figures", data)
        if data is not None:
            table = check_predictions(data)
            table.to_csv(stage / "predictions.csv", index=False)
            said = outside(table)
            for by, ending in factors(fit).items():
                check_predictions(data, by=by).to_csv(stage / f"predictions_by_{ending}.csv", index=False)
                write_by(data, stage / "figures", by, ending)
        else:
            (out / "predictions.csv").unlink(missing_ok=True)  # of an earlier fit
        for old in out.glob("predictions_by_*.csv"):  # likewise
            old.unlink()
        (out / "perturbation.csv").unlink(missing_ok=True)  # likewise; that of this one is written after it
    return said


def _where(out: Path) -> Table:
    """Say what was written."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.title = Text(f"\nResults in {out}{'' if str(out).endswith('/') else '/'}", style="bold")
    grid.title_justify = "left"
    parts = {path.name: FILES["predictions.csv"] for path in sorted(out.glob("predictions_by_*.csv"))}
    for name, what in {**FILES, **parts}.items():
        if name == "figures":
            names = sorted(path.stem for path in (out / "figures").glob("*.png"))
            grid.add_row(Text("  figures/"), Text(", ".join(names) or "none"))
            continue
        if (out / name).exists():
            grid.add_row(Text(f"  {name}"), Text(what))
    return grid


def _timings(seconds: Mapping[str, float]) -> str:
    order = ("import", "build", "pilot", "compile", "sample", "write")
    names = [name for name in order if name in seconds] + [name for name in seconds if name not in order]
    parts = [f"{name} {seconds[name]:.1f}" for name in names]
    return f"\nSeconds: {', '.join(parts)}; {sum(seconds.values()):.0f} in all"
