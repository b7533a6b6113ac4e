"""How the command line speaks: exit statuses, printing, and where it may write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitrl.errors import FitError, FitInterrupted, FitrlError, StudyInterrupted

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

WRONG = 2  # the input or the call
FAILED = 3  # the fit ran but did not pass the convergence gate
STOPPED = 130  # by Ctrl-C, as shells have it

_PIPED_WIDTH = 100


def console(stderr: bool = False) -> Console:
    """Return a console that is as wide as the terminal, and prints no colours into a pipe."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _PIPED_WIDTH
    return made


def print_out(what: Any, style: str | None = None) -> None:
    """Print a text or a renderable to standard output."""
    console().print(what, style=style)


def print_error(message: str, heading: str = "Error: ") -> None:
    """Print a message to standard error, its lines unbroken if they go to a file."""
    from rich.text import Text

    to = console(stderr=True)
    to.print(Text.assemble((heading, "bold red"), message), soft_wrap=not to.is_terminal)


@contextmanager
def reported() -> Iterator[None]:
    """Turn what the user can mend into a message and exit status 2, and Ctrl-C into 130."""
    try:
        yield
    except (FitInterrupted, KeyboardInterrupt):
        print_error("Stopped before there was anything to keep; nothing was written.", heading="")
        raise SystemExit(STOPPED) from None
    except StudyInterrupted as stopped:
        print_error(str(stopped), heading="")
        raise SystemExit(STOPPED) from None
    except FitrlError as error:
        print_error(str(error))
        raise SystemExit(WRONG) from None


def check_folder(folder: Path) -> bool:
    """Make sure that results can be written, before hours of sampling.

    Parameters
    ----------
    folder : Path
        Where the results will go; it, and the folders above it, need not exist.

    Returns
    -------
    bool
        Whether it holds a fit, which will be replaced.

    Raises
    ------
    FitError
        If it is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise FitError(f"--out {folder} is a file; expected a folder for the results. Name another one.")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".fitrl-", dir=nearest):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise FitError(f"--out {folder} cannot be written ({reason}). Name a folder that can.") from None
    return (folder / "fit.nc").exists()


def write_tables(tables: Mapping[Path, pd.DataFrame]) -> None:
    """Write CSV files, each of them whole or not at all.

    Raises
    ------
    FitError
        If a file cannot be written.
    """
    for path, table in tables.items():
        partial = path.with_name(f".{path.name}.part")
        try:
            table.to_csv(partial, index=False, lineterminator="\n")
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            reason = error.strerror or error
            raise FitError(f"{path} cannot be written ({reason}). Name a file in a folder that exists.") from None
