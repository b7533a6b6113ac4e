"""Commands about finished fits: show, predict, compare, contrast, reliability, latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fitrl.cli.output import FAILED, check_folder, print_out, reported


def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit.")],
) -> None:
    """Reprint the summary and verdict of a finished fit; exit status as after the fit."""
    with reported():
        from fitrl.fitting.store import load
        from fitrl.show.summary import render_summary

        found = load(folder)
        print_out(render_summary(found))
    if found.verdict.status == "not converged":
        raise typer.Exit(FAILED)


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of finished fits.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for tables and figure.")
    ] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=100, help="Draws used of each fit.")] = 1000,
) -> None:
    """Compare fits to the same trials by what they predict (trial LOO, conditional on the other trials).

    Exit status: 0 all fits converged; 2 input or call wrong; 3 a fit did not converge (the table is marked).
    """
    with reported():
        if out is not None:
            check_folder(out)
        from fitrl.cli.trust import run_comparison

        converged = run_comparison(folders, out, draws)
    if not converged:
        raise typer.Exit(FAILED)


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for table and figures.")
    ] = None,
    environment: Annotated[
        Literal["fixed", "reversing", "volatile", "drifting"] | None,
        typer.Option(help="How payoffs come about in the free run where the data do not tell."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="COLUMN", help="Groups or sessions, each looked at on its own.")
    ] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=2, help="Simulated data sets.")] = 100,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="One seed gives one table.")] = 0,
) -> None:
    """Compare behaviour with what a finished fit predicts: one step ahead, and in simulated subjects who run freely.

    A free run needs to know what other options would have paid: outcome_forgone or payoff_1, payoff_2, ... in the data.
    Else payoffs are simulated, and the output says so: two-step ones drift, those of bandits need --environment.

    Exit status: 0 converged (or quick); 2 input or call wrong; 3 the fit did not converge (the table is printed).
    """
    with reported():
        if out is not None:
            check_folder(out)
        from fitrl.cli.predictions import run_predictions

        settings = {"environment": environment, "draws": draws, "random_seed": seed}
        converged = run_predictions(folder, out, settings, by=by)
    if not converged:
        raise typer.Exit(FAILED)


def contrast(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit with formulas.")],
    what: Annotated[str, typer.Argument(metavar='"drug: one - other"', help="Two levels, or two values of a number.")],
    parameter: Annotated[
        str | None, typer.Option("--parameter", metavar="NAME", help="One parameter or derived quantity [all].")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="The table.")] = None,
) -> None:
    """Compare populations that differ in one covariate: "drug: placebo - levodopa", "age: 60 - 20 @ group=patient".

    Exit status: 0 converged (or quick); 2 input or call wrong; 3 the fit did not converge (the table is printed).
    """
    with reported():
        from fitrl.cli.effects import run_contrast

        converged = run_contrast(folder, what, parameter, out)
    if not converged:
        raise typer.Exit(FAILED)


def reliability(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit with formulas.")],
    over: Annotated[str, typer.Option(metavar="FACTOR", help="What to correlate over.")] = "session",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for table and figure.")] = None,
    separate: Annotated[
        bool, typer.Option(help="Estimate every subject and session alone, too, for the classical ICC.")
    ] = True,
) -> None:
    """Say how far subjects keep their place from session to session: a correlation with interval, and the ICC.

    The fit needs a value per subject and session: --formula "alpha ~ session + (session | subject)". Exit status: 0
    converged (or quick); 2 input or call wrong; 3 the fit did not converge (the table is printed).
    """
    with reported():
        if out is not None:
            check_folder(out)
        from fitrl.cli.effects import run_reliability

        converged = run_reliability(folder, over, out, separate)
    if not converged:
        raise typer.Exit(FAILED)


def latents(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="One table of all trials.")
    ] = None,
    bids: Annotated[
        Path | None,
        typer.Option("--bids", metavar="DIR", help="An events file per subject and session, as BIDS has it."),
    ] = None,
    onset: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of the file with the onset of each trial, in seconds.")
    ] = "onset",
    duration: Annotated[
        str, typer.Option(metavar="COLUMN|SECONDS", help="Duration of each trial; 0 is an impulse.")
    ] = "0",
    task: Annotated[str | None, typer.Option(metavar="LABEL", help="Name of the task in file names.")] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws to average over.")] = 500,
) -> None:
    """Write trial-by-trial values, prediction errors and probabilities of a finished fit, also for imaging.

    Exit status: 0 converged; 2 input or call wrong; 3 the fit did not converge (files are written).
    """
    with reported():
        from fitrl.cli.trust import run_latents

        converged = run_latents(folder, out, bids, {"onset": onset, "duration": duration, "task": task, "draws": draws})
    if not converged:
        raise typer.Exit(FAILED)
