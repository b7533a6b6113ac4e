"""Says in words what was understood of a data set."""

from __future__ import annotations

import math

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fitrl.data.findings import counted
from fitrl.data.trials import Trials

_RESETS = {
    "block": "values start afresh in every block",
    "session": "values start afresh in every session",
    "never": "values start once per subject and carry over everything",
}
_MOST_SHARES = 4


def describe(trials: Trials, max_rows: int | None = None) -> RenderableType:
    """Describe trials: what was understood, per subject, with warnings and notes.

    Parameters
    ----------
    trials : Trials
        What was read.
    max_rows : int, optional
        Rows of the table per subject that are shown, default all.

    Returns
    -------
    rich renderable
        Print it with ``rich.print``.

    Examples
    --------
    >>> import rich
    >>> rich.print(describe(trials))  # doctest: +SKIP
    """
    parts: list[RenderableType] = [_facts(trials), Text(), _subjects(trials, max_rows)]
    warnings = [problem for problem in trials.problems if problem.level == "warning"]
    notes = [problem for problem in trials.problems if problem.level == "note"]
    if warnings:
        parts += [Text(), Text(f"{counted(len(warnings), 'warning')}", style="bold yellow")]
        parts += [Text(f"  {i}. {problem}") for i, problem in enumerate(warnings, 1)]
    if notes:
        parts += [Text(), Text("notes", style="bold")]
        parts += [Text(f"  - {problem}") for problem in notes]
    return Group(*parts)


def _facts(trials: Trials) -> Table:
    """File, size, columns, codes, outcomes, resets and masks."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row("data", escape(trials.source))
    grid.add_row("size", _size(trials))
    columns = [name if name == user else f'{name} = "{user}"' for name, user in trials.columns.items()]
    grid.add_row("columns", escape(", ".join(columns)))
    for name, labels in trials.codings.items():
        codes = ", ".join(f'{code} = "{label}"' for code, label in enumerate(labels))
        grid.add_row(f"{name} codes", escape(codes))
    for name in trials.task.choices():
        offered = trials.task.offered(name)
        if offered is not None:
            grid.add_row("on offer", f"{offered} of {trials.task.size(name)} options in each trial")
    for label, text in (
        ("outcomes", _outcomes(trials)),
        ("resets", _resets(trials)),
        ("masks", _masks(trials)),
    ):
        if text:
            grid.add_row(label, escape(text))
    for label, text in trials.task.facts(trials.frame).items():
        grid.add_row(label, escape(text))
    return grid


def _size(trials: Trials) -> str:
    parts = [counted(len(trials.frame), "row"), counted(trials.n_subjects, "subject")]
    if "session" in trials.frame:
        parts.append(counted(trials.frame["session"].nunique(), "session"))
    if "block" in trials.frame:
        parts.append(counted(trials.frame["block"].nunique(), "block"))
    parts.append(f"{counted(trials.n_sequences, 'sequence')} of learning")
    return ", ".join(parts)


def _outcomes(trials: Trials) -> str:
    names = [column.name for column in trials.task.columns if column.kind == "outcome"]
    if not names or names[0] not in trials.frame:
        return ""
    scale, name = trials.outcome_scale, names[0]
    given = trials.frame.loc[trials.frame[f"{name}_given"], name] * scale
    seen = f"{given.min():g} to {given.max():g} in the file" if len(given) else "none in the file"
    low, high = trials.outcome_range
    if not math.isfinite(low):
        return f"{seen}; left as they are (raw), no range declared: values start at 0"
    start = (low + high) / 2
    unit = f" (= {start * scale:g} in your unit)" if scale != 1 else ""
    divided = f"divided by {scale:g}, so " if scale != 1 else ""
    return f"{seen}; {divided}taken as {low:g} to {high:g}: values start at {start:g}{unit}"


def _resets(trials: Trials) -> str:
    text = _RESETS[trials.reset]
    if trials.reset == "session" and "session" not in trials.frame:
        text = "values start once per subject"
    if trials.reset == "session" and "block" in trials.frame:
        text += ", and carry over blocks"
    return f'{text} (reset = "{trials.reset}", {counted(int(trials.frame["reset"].sum()), "start")})'


def _masks(trials: Trials) -> str:
    frame = trials.frame
    parts = []
    for name in trials.task.choices():
        given, scored = frame[f"{name}_given"], frame[f"mask_{name}"]
        counts = {
            "scored": scored.sum(),
            "missed (neither scored nor learned from)": (~given).sum(),
            "given but not scored (forced or masked)": (given & ~scored).sum(),
            "given without learning (no outcome, or masked)": (given & ~frame["mask_update"]).sum(),
        }
        shown = [f"{count:,} {what}" for what, count in counts.items() if count or what == "scored"]
        parts.append(f"{name}: {', '.join(shown)}")
    return "; ".join(parts)


def _subjects(trials: Trials, max_rows: int | None) -> Table:
    """One line per sequence."""
    overview = trials.overview()
    shares = [name for name in overview.columns.astype(str) if name.startswith("share_")]
    if len(shares) > _MOST_SHARES:
        values = overview[shares].fillna(0.0).to_numpy()
        named = [shares[i].removeprefix("share_") for i in values.argmax(axis=1)]
        overview["most chosen"] = [
            f"{name} ({share:.0%})" for name, share in zip(named, values.max(axis=1), strict=True)
        ]
        overview = overview.drop(columns=shares)
    headings = [str(name) for name in overview.columns]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in headings:
        text = name in ("subject", "session")
        table.add_column(escape(_heading(name)), justify="left" if text else "right", overflow="fold")
    shown = overview if max_rows is None else overview.head(max_rows)
    for row in shown.itertuples(index=False):
        table.add_row(*(escape(_cell(name, value)) for name, value in zip(headings, row, strict=True)))
    if len(shown) < len(overview):
        table.caption = f"and {len(overview) - len(shown):,} more"
    return table


def _heading(name: str) -> str:
    if name.startswith("share_"):
        return f'chose "{name.removeprefix("share_")}"'
    return {
        "n_trials": "trials",
        "n_missed": "missed",
        "n_scored": "scored",
        "mean_outcome": "mean outcome",
    }.get(name, name)


def _cell(name: str, value: object) -> str:
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return "-"
        return f"{value:.0%}" if name.startswith("share_") else f"{value:.3g}"
    return str(value)
