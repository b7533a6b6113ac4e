"""Warnings about trials that can be fitted but may not be what the user believes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fitrl.data.findings import Findings, counted, listing
from fitrl.data.labels import codes_remedy, hardly_used
from fitrl.tasks.task import Task

FEW_TRIALS = 20
ONE_SIDED = 0.95


def check_responses(frame: pd.DataFrame, task: Task, findings: Findings, names: Mapping[str, str]) -> None:
    """Look for subjects who give little to fit: few trials, no responses, one option only.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    task : Task
        Configured for them.
    findings : Findings
        Receives warnings, and an error if nobody has a scored choice.
    names : mapping of str to str
        Canonical name to the user's column.
    """
    choices = task.choices()
    subject = frame["subject_idx"]
    labels = list(frame["subject"].drop_duplicates())
    n_trials = np.bincount(subject)
    few = np.flatnonzero(n_trials < FEW_TRIALS)
    if len(few):
        findings.warn(
            f"{counted(len(few), 'subject has', 'subjects have')} fewer than {FEW_TRIALS} trials: "
            f"{listing(f'{labels[i]} ({n_trials[i]})' for i in few)}.",
            "Their estimates will be close to the group's. Are rows missing?",
        )
    if not choices:
        return
    scored = np.any([frame[f"mask_{name}"] for name in choices], axis=0)
    user = names[choices[0]]
    if not scored.any():
        findings.error(
            "no choice can be scored: all are missing, forced or masked.",
            "Is this the column of the choices?",
            (),
            user,
        )
        return
    given = np.any([frame[f"{name}_given"] for name in choices], axis=0)
    absent = [label for label, n in zip(labels, np.bincount(subject, given), strict=True) if n == 0]
    if len(absent):
        findings.warn(
            f"{counted(len(absent), 'subject has', 'subjects have')} no response at all: {listing(absent)}.",
            "They say nothing about the parameters; consider removing them.",
            (),
            user,
        )
    for name in choices:
        if task.offered(name) is None:
            _one_sided(frame, name, task, labels, findings, names[name])


def check_labels(
    codes: np.ndarray,
    labels: tuple[str, ...],
    subject: pd.Series,
    rows: np.ndarray,
    findings: Findings,
    name: str,
    user: str,
) -> None:
    """Look for options that hardly anybody chose, or one subject of three or more: a slip, or another key.

    Parameters
    ----------
    codes : ndarray of int, shape (row,)
        Codes of the choice; -1 where missing.
    labels : tuple of str
        Labels in the order of their codes.
    subject : Series, shape (row,)
        Ids.
    rows : ndarray of int, shape (row,)
        Row of the file behind each row.
    findings : Findings
        Receives the warning.
    name, user : str
        Canonical name of the choice, and the user's.
    """
    given = codes >= 0
    n_subjects = subject[given].nunique()
    suspect: dict[str, int] = {}  # to its first row
    texts = []
    for code, label in enumerate(labels if len(labels) > 2 else ()):
        where = np.flatnonzero(codes == code)
        who = subject.iloc[where].unique()
        seldom = hardly_used(len(where), int(given.sum()))
        if label == "0" or not (seldom or (len(who) == 1 and n_subjects > 2)):
            continue  # a rare 0 is told of as the code of a missed response
        suspect[label] = rows[where].min()
        whom = f"subject {who[0]} only" if len(who) == 1 else counted(len(who), "subject")
        texts.append(f'"{label}" ({counted(len(where), "row")}, {whom})')
    if suspect:
        others = [label for label in labels if label not in suspect]
        declare = f" To have any other label refused, declare the options: {codes_remedy(name, others)}."
        declare = declare if len(others) > 1 else ""
        findings.warn(
            f"{listing(texts)} {'counts as an option' if len(texts) == 1 else 'count as options'} and may be a slip: "
            f"{len(labels)} options in all.",
            f"If so, correct it or leave the cell blank.{declare}",
            [*suspect.values()],
            user,
        )


def _one_sided(frame: pd.DataFrame, name: str, task: Task, labels: list[str], findings: Findings, user: str) -> None:
    """Find subjects with nearly always the same choice, where all options are always on offer."""
    rows = frame[f"mask_{name}"]
    counts = np.zeros((len(labels), task.size(name)))
    np.add.at(counts, (frame.loc[rows, "subject_idx"].to_numpy(), frame.loc[rows, name].to_numpy()), 1)
    total = counts.sum(axis=1)
    share = counts.max(axis=1) / np.maximum(total, 1)
    sided = np.flatnonzero((share > ONE_SIDED) & (total >= FEW_TRIALS))
    if len(sided):
        shown = listing(f"{labels[i]} ({share[i]:.0%})" for i in sided)
        findings.warn(
            f"{counted(len(sided), 'subject')} chose the same option in more than {ONE_SIDED:.0%} of the "
            f"trials: {shown}.",
            "Learning cannot be seen in them. They are kept; decide by a rule made before the fit.",
            (),
            user,
        )


def check_signal(frame: pd.DataFrame, task: Task, findings: Findings, names: Mapping[str, str]) -> None:
    """Look for subjects whose outcomes are all the same: nothing tells the options apart.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    task : Task
        Configured for them.
    findings : Findings
        Receives the warnings.
    names : mapping of str to str
        Canonical name to the user's column.
    """
    outcomes = [c.name for c in task.columns if c.kind == "outcome" and c.name in frame]
    if not outcomes:
        return
    user = names[outcomes[0]]
    teaching = frame["mask_update"]
    if not teaching.any():
        findings.warn(
            "no trial teaches anything: every outcome is missing or masked.",
            "Is this the column of the outcomes?",
            (),
            user,
        )
        return
    _running_total(frame, teaching, outcomes[0], findings, user)
    labels = frame["subject"].drop_duplicates().reset_index(drop=True)
    varied = pd.Series(False, index=labels.index)
    for name in outcomes:
        rows = teaching & frame[f"{name}_given"]
        spread = frame.loc[rows, name].groupby(frame.loc[rows, "subject_idx"]).agg(["min", "max"])
        varied |= (spread["max"] > spread["min"]).reindex(labels.index, fill_value=False)
    flat = labels[~varied]
    if len(flat) == len(labels):
        findings.warn(
            "no subject has any learning signal: the outcomes of each are all the same.",
            "Learning parameters cannot be estimated from this file. Is this the column of the outcomes?",
            (),
            user,
        )
    elif len(flat):
        findings.warn(
            f"{counted(len(flat), 'subject has', 'subjects have')} no learning signal, all outcomes are the "
            f"same: {listing(flat)}.",
            "Check these subjects' outcomes.",
            (),
            user,
        )


def _running_total(frame: pd.DataFrame, teaching: pd.Series, name: str, findings: Findings, user: str) -> None:
    """Notice a score that is summed up: outcomes that rise and never fall, in every sequence of some length."""
    shown = frame.loc[teaching & frame[f"{name}_given"], ["sequence", name]].groupby("sequence")[name]
    long = shown.size() >= FEW_TRIALS
    if long.any() and (shown.agg(lambda outcome: outcome.is_monotonic_increasing) & (shown.nunique() > 3))[long].all():
        findings.warn(
            "the outcomes rise from trial to trial and never fall: is this a running total?",
            "What followed each single choice is needed: the differences from one trial to the next.",
            (),
            user,
        )


def check_gaps(frame: pd.DataFrame, run: np.ndarray, rows: np.ndarray, findings: Findings, user: str) -> None:
    """Look for trial numbers that are missing: deleted rows shift the learning history.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    run : ndarray of int, shape (row,)
        Counts the stretches within which trial numbers count on (blocks, where they restart).
    rows : ndarray of int, shape (row,)
        Row of the file behind each row of the frame.
    findings : Findings
        Receives the warning.
    user : str
        The user's name of the trial column.
    """
    trial = frame["trial"].to_numpy(dtype=float)
    step = np.diff(trial)
    inside = run[1:] == run[:-1]
    if not inside.any():
        return
    usual = float(np.median(step[inside]))
    jumps = np.flatnonzero(inside & (step > max(usual, 1.0) + 1e-9)) + 1
    missing_start = _late_starts(frame, trial)
    if not len(jumps) and not len(missing_start):
        return
    parts = []
    if len(jumps):
        first = int(jumps[0])
        n_subjects = frame["subject_idx"].iloc[jumps].nunique()
        parts.append(
            f"trial numbers jump in {counted(len(jumps), 'place')} "
            f"({counted(n_subjects, 'subject')}); the first: subject {frame['subject'][first]} "
            f"from {trial[first - 1]:g} to {trial[first]:g}"
        )
    if len(missing_start):
        first = int(missing_start[0])
        parts.append(
            f"{counted(len(missing_start), 'subject starts', 'subjects start')} later than the others; the "
            f"first: subject {frame['subject'][first]} at trial {trial[first]:g}"
        )
    findings.warn(
        f"{'; '.join(parts)}.",
        "If rows of missed trials were deleted, put them back with a blank choice: a deleted row shifts the "
        "learning history.",
        rows[jumps if len(jumps) else missing_start][:5],
        user,
    )


def _late_starts(frame: pd.DataFrame, trial: np.ndarray) -> np.ndarray:
    """First rows of subjects who start later than most do."""
    first = np.flatnonzero(np.diff(frame["subject_idx"].to_numpy(), prepend=-1) != 0)
    return first[trial[first] > np.median(trial[first])]
