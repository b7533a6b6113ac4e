"""What ``fitrl fit --effect`` and ``fitrl detect`` do and print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitrl.cli.output import print_out, write_tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from fitrl.data import Trials
    from fitrl.fitting.fit import Fit
    from fitrl.perturb.inverse import Manipulation
    from fitrl.perturb.perturbation import Perturbation

_LEGEND = (
    "estimate: shift on the link scale; P(direction): of the direction that is stated; stated: size that the "
    "perturbation states, on the same scale, which the fit has not used; inside: whether the interval holds it"
)
_FILES = {
    "report.txt": "what is printed above",
    "detection.csv": "power, sign errors, exaggeration by size",
    "confirmation.csv": "Laplace and NUTS on the same data",
    "estimates.csv": "every estimate beside the truth",
    "fits.csv": "whether each fit settled or converged",
    "figures/power.png": "",
}


def with_effect(
    model: str, trials: Trials, declaration: Mapping[str, Any], effect: Mapping[str, Any]
) -> tuple[Trials, Manipulation, dict[str, Any]]:
    """Put a perturbation into the declaration of a fit.

    Parameters
    ----------
    model, trials, declaration
        As in `fitrl.cli.fitting.run_fit`.
    effect : mapping
        As there.

    Returns
    -------
    trials : Trials
        With the columns of the table of subjects.
    where : Manipulation
    declaration : dict
        With the formulas and traits that it needs.
    """
    from fitrl.perturb.inverse import declare

    wanted = ("traits", "options", "priors", "formulas", "subjects")
    trials, where, changed = declare(
        effect["perturbation"],
        model,
        trials,
        on=effect["on"],
        against=effect["against"],
        **{name: declaration[name] for name in wanted},
    )
    return trials, where, {**declaration, **changed, "subjects": None}


def write_estimate(p: Perturbation, fit: Fit, where: Manipulation, out: Path) -> RenderableType:
    """Write ``perturbation.csv``, and what is to be printed of it."""
    from rich.console import Group
    from rich.text import Text

    from fitrl.cli.perturb import against
    from fitrl.perturb.inverse import read_off

    table = read_off(p, fit, where)
    write_tables({out / "perturbation.csv": table})
    head = Text("\nEstimated: ").append(p.caption(), style="bold")
    return Group(head, *against(p), render_estimate(table), Text(_LEGEND, style="dim"))


def render_estimate(found: pd.DataFrame) -> RenderableType:
    """Write a table of `fitrl.perturb.inverse.read_off` for a terminal."""
    from rich.table import Table
    from rich.text import Text

    from fitrl.show.summary import rounded

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("parameter", "effect"):
        table.add_column(heading, overflow="fold")
    for heading in ("estimate", "95 % interval", "P(direction)", "stated", "inside"):
        table.add_column(heading, justify="right")
    for row in found.to_dict("records"):
        low, high, stated = (float(row[name]) for name in ("hdi95_lower", "hdi95_upper", "stated_shift"))
        shown = rounded([float(row["post_mean"]), low, high, stated], high - low)
        known = stated == stated
        cells = [
            *(str(row[name]) for name in ("parameter", "effect")),
            shown[0],
            f"{shown[1]} to {shown[2]}",
            "-" if row["prob_stated"] != row["prob_stated"] else f"{row['prob_stated']:.3f}",
            shown[3] if known else "-",
            ("yes" if row["inside"] else "no") if known else "-",
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def run_detection(p: Perturbation, model: str | None, out: Path, declaration: Mapping[str, Any]) -> None:
    """Run a study of detection and print its report.

    Parameters
    ----------
    p : Perturbation
    model : str or None
        Name or file; None with a fit.
    out : Path
        Folder of the study.
    declaration : mapping
        Keyword arguments of `fitrl.detect`.
    """
    from fitrl.cli.perturb import against

    print_out("Loading PyMC ...", style="dim")
    from fitrl.perturb.detection import detect

    found = detect(p, model, out=out, **declaration)
    print_out("")
    print_out(found.text())
    for line in against(p):
        print_out(line)
    print_out(f"Results in {shlex.quote(str(out))}", style="bold")
    for name, what in _FILES.items():
        print_out(f"  {name:<18}{what}")
