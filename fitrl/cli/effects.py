"""What ``fitrl contrast`` does and prints."""

from __future__ import annotations

from pathlib import Path

from fitrl.cli.output import print_out, write_tables


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
