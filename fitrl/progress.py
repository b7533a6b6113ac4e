"""Where the progress of long work is drawn."""

from __future__ import annotations

from importlib.util import find_spec

from rich.console import Console


def progress_console() -> Console:
    """Return a console on standard error, so that output can be redirected.

    In a notebook rich draws with ipywidgets; where they are not installed it would warn in every cell, and a bar of
    plain characters takes their place.

    Examples
    --------
    >>> progress_console().stderr
    True
    """
    return Console(stderr=True, force_jupyter=None if find_spec("ipywidgets") else False)
