"""Reads a lab's file or data frame into validated trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitrl.data.checks import check_gaps, check_labels, check_responses, check_signal
from fitrl.data.coding import Coded, code_columns
from fitrl.data.columns import COMMON, Columns, match_columns, warn_unnamed
from fitrl.data.findings import Findings, closed_up
from fitrl.data.labels import declared_codes
from fitrl.data.missing import declared_missing, with_missing
from fitrl.data.numbers import check_scale
from fitrl.data.order import Order, decide_reset, put_in_order
from fitrl.data.read import Table, Texts, read_table
from fitrl.errors import DataError, Problem
from fitrl.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Trials:
    """Validated trials of a data set.

    Attributes
    ----------
    task : Task
        The task, configured for these data.
    frame : DataFrame
        One row per trial, in the order of learning: ``subject``, ``session`` and ``block`` (where the file
        has them), ``trial`` (the user's own number), ``line`` (of the file), ``sequence``, ``subject_idx``,
        then the coded columns of the task with their ``_given`` and ``mask_`` columns, ``mask_update``
        (the trial teaches) and ``reset`` (the state starts afresh).
    codings : dict of str to tuple of str
        Column to its labels, in the order of their codes 0, 1, ...
    columns : dict of str to str
        Canonical name to the user's column.
    outcome_scale : float
        Outcomes were divided by it.
    outcome_range : (float, float)
        Range of the scaled outcomes: (0, 1), (-1, 1), or (-inf, inf) for raw outcomes.
    reset : {"block", "session", "never"}
        When the state starts afresh.
    problems : tuple of Problem
        Warnings and notes.
    source : str
        File name, or "data frame".
    data_hash : str
        SHA-256 of the trials; the order of the rows and of the subjects in the file does not matter.
    original : DataFrame
        The user's rows with all their columns, in the order of `frame`: text for a file, the user's own
        types for a frame.
    added : dict of str to str
        Columns of `original` that come from another table, with its name.
    """

    task: Task
    frame: pd.DataFrame
    codings: dict[str, tuple[str, ...]]
    columns: dict[str, str]
    outcome_scale: float
    outcome_range: tuple[float, float]
    reset: str
    problems: tuple[Problem, ...]
    source: str
    data_hash: str
    original: pd.DataFrame
    added: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Trials {self.source}: {len(self.frame)} trials, {self.n_subjects} subjects, "
            f"{self.n_sequences} sequences>"
        )

    def source_of(self, column: str) -> str:
        """Return the name of the table that a column is from, for messages."""
        return self.added.get(column, self.source)

    @cached_property
    def subjects(self) -> list[str]:
        """Ids of the subjects, in order of first appearance in the file."""
        return [str(label) for label in self.frame["subject"].drop_duplicates()]

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(self.subjects)

    @property
    def n_sequences(self) -> int:
        """Number of sequences (subject x session, or subject if nothing ever resets)."""
        return len(self.sequence_subject)

    @cached_property
    def sequence_subject(self) -> np.ndarray:
        """Index into `subjects` of each sequence, int, shape (sequence,)."""
        first = ~self.frame["sequence"].duplicated().to_numpy()
        return self.frame["subject_idx"].to_numpy()[first]

    def overview(self) -> pd.DataFrame:
        """Summarise each sequence.

        Returns
        -------
        DataFrame
            One row per sequence: subject, session (if there are any), n_trials, n_missed, n_scored, the share
            of each option among the responses given (``share_<label>``), and mean_outcome in the user's unit.

        Examples
        --------
        >>> trials.overview().query("n_missed > 10")  # doctest: +SKIP
        """
        frame, group = self.frame, self.frame["sequence"]
        choices = self.task.choices()
        table = pd.DataFrame({"subject": frame["subject"].groupby(group).first()})
        if "session" in frame:
            table["session"] = frame["session"].groupby(group).first()
        table["n_trials"] = group.groupby(group).size()
        given = np.all([frame[f"{name}_given"] for name in choices], axis=0) if choices else True
        scored = np.any([frame[f"mask_{name}"] for name in choices], axis=0) if choices else False
        table["n_missed"] = pd.Series(~np.broadcast_to(given, len(frame))).groupby(group).sum()
        table["n_scored"] = pd.Series(np.broadcast_to(scored, len(frame))).groupby(group).sum()
        for name in choices:
            rows = frame[f"{name}_given"]
            shares = pd.crosstab(group[rows], frame.loc[rows, name], normalize="index")
            for code, label in enumerate(self.codings[name]):
                column = f"share_{label}" if len(choices) == 1 else f"share_{name}_{label}"
                share = shares[code] if code in shares else pd.Series(0.0, index=shares.index)
                table[column] = share.reindex(table.index)
        if outcomes := [c.name for c in self.task.columns if c.kind == "outcome" and c.name in frame]:
            rows = frame[f"{outcomes[0]}_given"]
            mean = frame.loc[rows, outcomes[0]].groupby(group[rows]).mean() * self.outcome_scale
            table["mean_outcome"] = mean.reindex(table.index)
        return table.reset_index(drop=True)


def read_trials(
    source: str | PathLike[str] | pd.DataFrame,
    model: Any = "q_learning",
    *,
    columns: Mapping[str, str] | None = None,
    codes: Mapping[str, Sequence[object]] | None = None,
    outcome_scale: float | str | None = None,
    reset: str | None = None,
    missing: Sequence[object] | Mapping[str, Sequence[object]] | None = None,
) -> Trials:
    """Read and validate a data set: one row per trial.

    Parameters
    ----------
    source : path or DataFrame
        A UTF-8 text file with a header, separated by commas, tabs, semicolons or white space; or a frame,
        which is not modified.
    model : str, path, Model or Task
        Decides which columns are needed. A name of the zoo, a model file, or an object with a ``task``.
    columns : mapping of str to str, optional
        Canonical name to the user's name: ``{"subject": "ID"}``. Columns with canonical names, or with names
        that are in common use, are recognised.
    codes : mapping of str to sequence, optional
        Labels of a choice or a cue in the order of their codes: ``{"choice": ["left", "right"]}``.
        Any other label is then an error.
    outcome_scale : number or "raw", optional
        Outcomes are divided by it, so that they lie in [0, 1] or [-1, 1]; default 1. "raw" leaves them as
        they are and checks no range.
    reset : {"block", "session", "never"}, optional
        When learned values start afresh. Must be said where the file has blocks.
    missing : sequence, or mapping of str to sequence, optional
        What the file has for "no response" or "missing", such as ``[-1]`` or ``["NR", 999]``; those cells are blank
        from then on, in the columns of choices, outcomes and response times only. ``{"choice": [-1]}`` for one column,
        which is needed where -1 is an outcome, too.

    Returns
    -------
    Trials

    Raises
    ------
    DataError
        If the file cannot be used; it carries every problem with line, column, value and remedy.

    Notes
    -----
    Training and a transfer phase without feedback belong into one table, transfer below training, with trial numbers
    that count on and blank outcomes: nothing is learned there, and the choices are scored with the rest. To fit
    training alone and predict transfer, add a column ``mask_choice``, 1 in training and 0 in transfer::

        both = pd.concat([training.assign(mask_choice=1), transfer.assign(mask_choice=0)])
        fit = fitrl.fit("opal", fitrl.read_trials(both, "opal"))
        fitrl.plot_transfer(fit)

    Examples
    --------
    >>> import pandas as pd
    >>> from fitrl.tasks.bandit import Bandit
    >>> rows = {"ID": ["a"] * 4, "choice": [1, 2, 2, None], "reward": [0, 1, 1, None]}
    >>> trials = read_trials(pd.DataFrame(rows), Bandit)
    >>> trials.frame["mask_choice"].tolist()
    [True, True, True, False]
    """
    task = _task_of(model)
    scale, raw = check_scale(outcome_scale)
    table = read_table(source)
    # A line of a frame is the line of the file that it was read from, if its index was left alone.
    place = table.source if table.separator else f"{table.source} (line = index + 2)"
    findings = Findings(place, table.lines)
    found = match_columns(table.names, task.columns, columns, findings)
    coded_names = [column.name for column in task.columns if column.kind in ("choice", "cue")]
    declared = declared_codes(codes, coded_names)
    rule = decide_reset(reset, found, findings)
    n = len(table.lines)
    read = with_missing(table.texts, declared_missing(missing), found, findings)
    coded = code_columns(found, read, declared, scale, raw, n, findings)
    order = _order(table, found, rule, n, findings)
    if order is None or findings.failed:
        raise DataError(findings.problems, place)
    configured, values, codings = task.configured(
        {name: column[order.rows] for name, column in coded.values.items()},
        coded.codings,
        coded.outcome_range,
    )
    frame = _assemble(order, table.lines[order.rows], values)
    _check_labels(coded, order, found, declared, findings)
    _check(frame, configured, order, found, findings)
    findings.raise_errors()
    return Trials(
        task=configured,
        frame=frame,
        codings=dict(codings),
        columns=dict(found.names),
        outcome_scale=scale,
        outcome_range=coded.outcome_range,
        reset=rule,
        problems=tuple(sorted(findings.problems, key=lambda problem: problem.level != "warning")),
        source=table.source,
        data_hash=_hash(frame),
        original=table.original.iloc[order.rows].reset_index(drop=True),
    )


def _task_of(model: Any) -> Any:
    """Return the task of a model, or the task itself."""
    if isinstance(model, (str, Path, PathLike)):
        from fitrl.models import find  # the zoo needs neither pandas nor pymc; models are found on demand

        model = find(model)
    task = getattr(model, "task", model)
    if not hasattr(task, "columns") or not hasattr(task, "configured"):
        raise DataError(f"{model!r} is neither a model nor a task. Give the name of a model, a model file, or a Model.")
    return task


def _order(table: Table, found: Columns, rule: str, n: int, findings: Findings) -> Order | None:
    """Put the rows in order, if the columns for it are there."""
    keys = [column.name for column in COMMON if column.kind in ("key", "order")]
    texts = {name: table.texts(found.names[name]) for name in keys if name in found.names}
    if "subject" not in texts:
        return None
    _check_ids(texts["subject"], findings)

    free = [name for name in table.names if name not in found.names.values()]
    varying = [name for name in free if np.ptp(table.texts(name).codes) > 0]
    warn_unnamed(found, varying, findings)
    order = put_in_order(
        texts, n, rule, lambda: {name: table.texts(name).codes for name in table.names}, free, findings
    )
    if not np.array_equal(order.rows, np.arange(n)):
        keys = [name for name in keys if name in texts]
        findings.note(f"the rows were sorted by {', '.join(keys)}.")
    if "trial" not in texts:
        findings.note("no trial column: trials were numbered in the order of the rows.")
    return order


def _check_ids(subject: Texts, findings: Findings) -> None:
    """Warn about ids that may be one subject written in two ways."""
    groups: dict[str, list[str]] = {}
    for label in subject.values:
        groups.setdefault(closed_up(label).lstrip("0"), []).append(label)
    for alike in (group for group in groups.values() if len(group) > 1):
        findings.warn(
            f"the ids {', '.join(alike)} are taken as {len(alike)} subjects; they differ only in leading "
            "zeros, case or spaces.",
            "Write the ids in one way if they are one subject.",
            subject.rows_of(alike[-1])[:1],
            subject.name,
        )


def _assemble(order: Order, lines: np.ndarray, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Put the canonical columns side by side."""
    ids = [name for name in ("subject", "session", "block", "trial") if name in order.frame]
    frame = order.frame[ids].copy()
    frame["line"] = lines
    frame["sequence"] = order.frame["sequence"].astype(np.int64)
    frame["subject_idx"] = order.frame["subject_idx"].astype(np.int64)
    last = {"mask_update": values["mask_update"], "reset": order.frame["reset"].to_numpy()}
    rest = {name: column for name, column in values.items() if name not in last}
    return pd.concat([frame, pd.DataFrame(rest | last)], axis=1)


def _check_labels(
    coded: Coded, order: Order, found: Columns, declared: Mapping[str, tuple[str, ...]], findings: Findings
) -> None:
    """Look for labels that may be slips, where nothing but the column of the choices says what the options are."""
    if found.of_kind("offer", "payoff"):
        return
    for column in found.of_kind("choice"):
        if column.name in declared or column.labels:
            continue
        codes = np.where(coded.values[f"{column.name}_given"], coded.values[column.name], -1)[order.rows]
        labels, user = coded.codings[column.name], found.names[column.name]
        check_labels(codes, labels, order.frame["subject"], order.rows, findings, column.name, user)


def _check(frame: pd.DataFrame, task: Task, order: Order, found: Columns, findings: Findings) -> None:
    """Look for what can be fitted but may not be what the user believes."""
    if "trial" in found.names:
        check_gaps(frame, order.frame["run"].to_numpy(), order.rows, findings, found.names["trial"])
    check_responses(frame, task, findings, found.names)
    check_signal(frame, task, findings, found.names)
    for doubt in task.doubts(frame):
        findings.warn(doubt, "")


def _hash(frame: pd.DataFrame) -> str:
    """Hash the trials, whatever the order of the rows and subjects in the file was."""
    position = frame.groupby("sequence").cumcount()
    ids = [name for name in ("subject", "session", "block") if name in frame]
    keys = pd.concat([frame[[name for name in ids if name != "block"]], position.rename("position")], axis=1)
    frame = frame.loc[keys.sort_values(list(keys.columns), kind="stable").index]
    digest = hashlib.sha256()
    for name in frame.columns.difference(["line", "sequence", "subject_idx"]):
        digest.update(f"{name}\n".encode())
        if name in ids:
            digest.update("\n".join(frame[name]).encode())
        else:
            digest.update((frame[name].to_numpy().astype("<f8") + 0.0).tobytes())
    return digest.hexdigest()


__all__ = ["Trials", "read_trials"]
