"""What ``fitrl check-model``, ``fitrl compare`` and ``fitrl latents`` do and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fitrl.cli.output import print_out, write_tables
from fitrl.cli.parse import UsageError

if TYPE_CHECKING:
    from fitrl.comparison.compare import Comparison
    from fitrl.conformance.report import ModelReport

_COLOURS = {"passed": "green", "warning": "yellow", "failed": "bold red", "not run": "dim"}


def run_model_checks(model: str, settings: Mapping[str, Any]) -> bool:
    """Check a model and print the report.

    Parameters
    ----------
    model : str
        Name or file.
    settings : mapping
        Keyword arguments of `fitrl.check_model`.

    Returns
    -------
    bool
        Whether no check failed.
    """
    from fitrl.models import declare

    declare(model, settings["traits"], settings["options"])  # a slip is found before anything slow
    print_out("Loading PyMC ...", style="dim")
    from fitrl.conformance.suite import check_model

    report = check_model(model, **settings)
    print_out(render_model_report(report))
    return report.passed


def render_model_report(report: ModelReport) -> RenderableType:
    """Write the checks of a model as a table, one line per check."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("check", "", "what was found, and what to do"):
        table.add_column(heading, overflow="fold")
    for check in report.checks:
        found = Text(check.finding)
        if check.advice:
            found.append(f" {check.advice}", style="italic")
        table.add_row(Text(check.name), Text(check.status, style=_COLOURS[check.status]), found)
    return Group(Text(report.first_line(), style="bold green" if report.passed else "bold red"), Text(), table)


def run_comparison(folders: Sequence[Path], out: Path | None, draws: int) -> bool:
    """Compare the fits of some folders, print the table and write it if there is a folder for it.

    Returns
    -------
    bool
        Whether all fits converged.
    """
    print_out("Loading PyMC ...", style="dim")
    from fitrl.comparison.compare import compare
    from fitrl.fitting.store import load

    found = compare({_label(folder, folders): load(folder) for folder in dict.fromkeys(folders)}, draws=draws)
    print_out(render_comparison(found))
    if out is not None:
        found.save(out)
        print_out(f"\nWritten to {out}: comparison.csv, comparison_subjects.csv, comparison.png")
    return bool(found.table["converged"].all())


def _label(folder: Path, folders: Sequence[Path]) -> str:
    """Name a fit by its folder; by the whole path where two folders have the same name."""
    alone = sum(other.resolve().name == folder.resolve().name for other in dict.fromkeys(folders)) == 1
    return folder.resolve().name if alone else str(folder)


def render_comparison(found: Comparison) -> RenderableType:
    """Write a comparison for a terminal: warnings, what was predicted, table, what follows."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", overflow="fold")
    for heading in ("elpd", "difference", "dse", "dse (trials)", "k high"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("against the best", overflow="fold")
    for row in found.table.to_dict("records"):
        is_best = row["decision"] == "best"
        numbers = [
            f"{row['elpd']:.1f}",
            *(["-"] * 3 if is_best else [f"{row[c]:.1f}" for c in ("elpd_diff", "dse", "dse_trials")]),
        ]
        style = "" if row["converged"] else "red"
        cells = [row["model"], *numbers, str(row["n_high_k"]), row["decision"]]
        table.add_row(*[Text(cell, style=style) for cell in cells])
    warnings = [Text(f"WARNING: {warning}", style="bold red") for warning in found.warnings]
    head = f"{_sentence(found.label)}; {found.n_trials:,} trials of {found.n_subjects} subjects"
    notes = Text("\n".join(found.notes()), style="dim")
    return Group(*warnings, Text(head, style="bold"), Text(), table, Text(), notes)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def run_latents(folder: Path, out: Path | None, bids: Path | None, settings: Mapping[str, Any]) -> bool:
    """Write the latents of a fit as one table, as BIDS events, or both.

    Parameters
    ----------
    folder : Path
        Of the fit.
    out, bids : Path or None
        File of the table, folder of the events.
    settings : mapping
        Keyword arguments of `fitrl.write_events`; ``draws`` serves the table, too.

    Returns
    -------
    bool
        False if the fit did not converge.
    """
    if out is None and bids is None:
        raise UsageError("nothing to write: give --out FILE.csv, --bids DIR, or both.")
    from fitrl.fitting.events import write_events
    from fitrl.fitting.predict import latents
    from fitrl.fitting.store import load

    fit = load(folder)
    if fit.verdict.status != "converged":
        print_out(fit.verdict.text(), style="bold red")
    if out is not None:
        table = latents(fit, settings["draws"])
        write_tables({out: table})
        print_out(f"{out}: {len(table)} trials of {fit.trials.n_subjects} subjects")
    if bids is not None:
        written = write_events(fit, bids, **settings)
        print_out(f"{bids}: {len(written)} events files of {fit.trials.n_subjects} subjects, such as {written[0]}")
    return fit.verdict.status != "not converged"
