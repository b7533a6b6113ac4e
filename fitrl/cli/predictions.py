"""What ``fitrl predict`` does and prints: behaviour beside its posterior predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fitrl.cli.output import print_out, write_tables

if TYPE_CHECKING:
    import pandas as pd


def run_predictions(folder: Path, out: Path | None, settings: Mapping[str, Any], *, by: str | None = None) -> bool:
    """Simulate from a fit, print the table of signatures, and write it with its figures if there is a folder for it.

    Parameters
    ----------
    folder : Path
        Of the fit.
    out : Path or None
        Gets ``predictions.csv`` and a figure per signature.
    settings : mapping
        Keyword arguments of `fitrl.show.predictions.Behaviour`.
    by : str, optional
        Column of groups or sessions that are looked at on their own.

    Returns
    -------
    bool
        False if the fit did not converge.
    """
    print_out("Loading PyMC ...", style="dim")
    from fitrl.fitting.store import load
    from fitrl.show.by import write_by
    from fitrl.show.predictions import Behaviour, check_predictions, outside
    from fitrl.show.report import write_behaviour

    fit = load(folder)
    if fit.verdict.status != "converged":
        print_out(fit.verdict.text(), style="bold red")
    data = Behaviour(fit, **settings)
    table = check_predictions(data, by=by)
    for level in [""] if by is None else data.split(by):
        here = table if by is None else table[table[by] == level]
        if by is not None:
            print_out(f"\n{by}: {level}", style="bold")
        print_out(render_predictions(here))
        print_out(f"\n{outside(here)}")
    if data.predictions.why_not:
        print_out(f"No free run: {data.predictions.why_not}.")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_tables({out / "predictions.csv": table})
        written = write_behaviour(data, out) if by is None else write_by(data, out, by)
        print_out(f"\nWritten to {out}: predictions.csv, {', '.join(path.name for path in written)}")
    return fit.verdict.status != "not converged"


def render_predictions(table: pd.DataFrame) -> RenderableType:
    """Write observed and predicted values side by side, one line per value of a signature.

    Parameters
    ----------
    table : DataFrame
        What `fitrl.check_predictions` returned.
    """
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("signature")
    grid.add_column("at")
    grid.add_column("observed", justify="right")
    kinds = {"one_step": "one-step"}
    if table["free_inside"].notna().any():
        simulated = table["free_simulated"].iloc[0]
        kinds["free"] = f"free-running ({simulated})" if simulated else "free-running"
    for heading in kinds.values():
        grid.add_column(heading)
    for row in table.to_dict("records"):
        cells = [Text(_cell(row, kind)) for kind in kinds]
        for kind, cell in zip(kinds, cells, strict=True):
            if row[f"{kind}_inside"] is False:
                cell.append(" outside", style="bold red")
        grid.add_row(row["signature"], row["x"], _number(row["observed"]), *cells)
    return Group(Text("Mean of simulated data sets, and the central 95 % of their means", style="dim"), grid)


def _cell(row: Mapping[Any, Any], kind: str) -> str:
    if row[kind] != row[kind]:
        return "-"
    return f"{row[kind]:.3f} ({row[f'{kind}_lower']:.3f} to {row[f'{kind}_upper']:.3f})"


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
