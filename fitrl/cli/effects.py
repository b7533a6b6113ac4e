"""What ``fitrl design``, ``fitrl contrast`` and ``fitrl reliability`` do and print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitrl.cli.output import print_out, write_tables
from fitrl.errors import FitError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from fitrl.data import Trials
    from fitrl.fitting.fit import Fit


def run_design(model: str, trials: Trials, declaration: Mapping[str, Any], plot: Path | None) -> None:
    """Print what formulas mean and what their priors imply, and draw it if there is a file for the figure.

    Parameters
    ----------
    model : str
        Name or file.
    trials : Trials
        The data.
    declaration : mapping
        Keyword arguments of `fitrl.design`.
    plot : Path or None
        File of the figure.

    Raises
    ------
    FitError
        If the figure cannot be written.
    """
    print_out("Loading PyMC ...", style="dim")
    from fitrl.fitting.effect_prior import describe_effect_prior
    from fitrl.fitting.fit import design, prepare

    plan, trials, _ = prepare(model, trials, **declaration)
    implied = describe_effect_prior(plan, trials.outcome_scale)
    print_design(design(model, trials, **{**declaration, "subjects": None}))
    print_out("On the natural scale, for the median subject, before any data:")
    for line in implied:
        print_out(f"  {line}")
    if plot is None:
        return
    import matplotlib.pyplot as plt

    from fitrl.show.effect_prior import plot_effect_prior

    figure, _ = plot_effect_prior(model, trials, **{**declaration, "subjects": None})
    try:
        plot.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(plot)
    except (OSError, ValueError) as error:  # not to be written there, or no such format
        raise FitError(f"--plot {plot} cannot be written: {error}. Name a .png or .pdf in a folder.") from None
    finally:
        plt.close(figure)
    print_out(f"\nWritten to {plot}")


def print_design(text: str) -> None:
    """Print what the formulas mean, notes in yellow."""
    for line in text.split("\n"):
        print_out(line, style="yellow" if line.strip().startswith("note:") else None)
    print_out("")


def run_contrast(folder: Path, what: str, parameter: str | None, out: Path | None) -> bool:
    """Print a contrast of a finished fit, and write it if there is a file for it.

    Parameters
    ----------
    folder : Path
        Of the fit.
    what, parameter
        Arguments of `fitrl.contrast`.
    out : Path or None
        File of the table.

    Returns
    -------
    bool
        False if the fit did not converge.
    """
    from fitrl.fitting.effects import contrast
    from fitrl.fitting.store import load
    from fitrl.show.summary import EFFECTS_LEGEND, render_effects

    fit = load(folder)
    table = contrast(fit, what, parameter)
    if not fit.verdict.converged:
        print_out(fit.verdict.text(), style="bold red")
    print_out(render_effects(table))
    print_out(EFFECTS_LEGEND, style="dim")
    if out is not None:
        write_tables({out: table})
        print_out(f"\nWritten to {out}")
    return fit.verdict.status != "not converged"


def run_reliability(folder: Path, over: str, out: Path | None, separate: bool) -> bool:
    """Print the test-retest reliability of every parameter, and write table and figure if there is a folder for them.

    Parameters
    ----------
    folder : Path
        Of the fit.
    over, separate
        Arguments of `fitrl.reliability`.
    out : Path or None
        Folder for ``reliability.csv`` and ``reliability.png``.

    Returns
    -------
    bool
        False if the fit did not converge.
    """
    from fitrl.fitting.reliability import EXPLANATION, reliability, remarks
    from fitrl.fitting.store import load

    fit = load(folder)
    table = reliability(fit, over, separate=separate)
    if not fit.verdict.converged:
        print_out(fit.verdict.text(), style="bold red")
    print_out(f"Test-retest reliability over {table['over'].iloc[0]}")
    print_out(render_reliability(table))
    print_out("ICC: (2,1), agreement / (3,1), consistency, which a shift of everybody does not lower", style="dim")
    print_out(f"\n{EXPLANATION}\n")
    for remark in remarks(fit, table, over):
        print_out(f"note: {remark}", style="yellow")
    if out is not None:
        _write(fit, over, table, out)
        print_out(f"\nWritten to {out}: reliability.csv, reliability.png")
    return fit.verdict.status != "not converged"


def render_reliability(found: pd.DataFrame) -> Table:
    """Write a table of `fitrl.reliability` for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("parameter", overflow="fold")
    for heading in ("correlation", "95 % interval", "prior, 95 %", "ICC separate", "ICC of means", "subjects"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        pairs = [[row[f"icc{k}_{kind}"] for k in (2, 3)] for kind in ("separate", "means")]
        cells = [
            str(row["parameter"]),
            f"{row['post_mean']:.2f}",
            f"{row['hdi95_lower']:.2f} to {row['hdi95_upper']:.2f}",
            f"{row['prior95_lower']:.2f} to {row['prior95_upper']:.2f}",
            *(" / ".join("-" if value != value else f"{value:.2f}" for value in pair) for pair in pairs),
            str(row["n_subjects"]),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _write(fit: Fit, over: str, table: pd.DataFrame, out: Path) -> None:
    """Write table and figure, both or none."""
    import matplotlib.pyplot as plt

    from fitrl.fitting.store import staged
    from fitrl.show.reliability import plot_reliability

    figure, _ = plot_reliability(fit, over, table=table)
    with staged(out) as stage:
        table.to_csv(stage / "reliability.csv", index=False)
        figure.savefig(stage / "reliability.png")
    plt.close(figure)
