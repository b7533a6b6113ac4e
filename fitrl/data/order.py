"""Puts the rows in the order of learning: subjects, sequences, trials, and where the state starts afresh."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fitrl.data.columns import Columns, column_remedy
from fitrl.data.findings import Findings, counted, folded, listing
from fitrl.data.numbers import NUMBER, to_numbers
from fitrl.data.read import Texts
from fitrl.errors import DataError

RESETS = ("block", "session", "never")

_RESET_MEANS = (
    '"block": values start afresh in every block; "session": they carry over blocks and start afresh in '
    'every session (or once per subject); "never": they carry over everything'
)


@dataclass(frozen=True)
class Order:
    """The order of learning.

    Attributes
    ----------
    rows : ndarray of int, shape (row,)
        Row of the file that stands at each place; sorting any column with it gives the order below.
    frame : DataFrame
        In that order: subject, session, block (where the file has them), trial, sequence, subject_idx,
        reset, and ``run`` (counts the stretches within which trial numbers count on).
    reset : str
        What starts the state afresh.
    """

    rows: np.ndarray
    frame: pd.DataFrame
    reset: str


def decide_reset(reset: str | None, columns: Columns, findings: Findings) -> str:
    """Find out what starts the state afresh.

    Raises
    ------
    DataError
        If `reset` is none of the three words. Everything else goes to `findings`.
    """
    has_block = "block" in columns.names
    if reset is not None and reset not in RESETS:
        raise DataError(f'reset is "{reset}"; {listing(RESETS, quote=True)} was expected ({_RESET_MEANS}).')
    if reset == "block" and not has_block:
        findings.error('reset is "block" but the file has no block column.', column_remedy("block", "NAME"))
        return "session"
    if reset is not None:
        return reset
    if not has_block:
        return "session"
    if columns.hbayesdm:
        findings.note("the layout is that of hBayesDM with blocks: values start afresh in every block.")
        return "block"
    findings.error(
        "the file has blocks, and what happens to the learned values between them is not said.",
        f"Say --reset block, session or never (in Python reset=...). {_RESET_MEANS}.",
        (),
        columns.names["block"],
    )
    return "session"


def _key(texts: Texts | None, what: str, n: int, findings: Findings) -> np.ndarray:
    """Codes of an id column; blank cells are an error."""
    if texts is None:
        return np.zeros(n, dtype=np.int64)
    blank = np.flatnonzero(~texts.given)
    if len(blank):
        findings.error(
            f"{what} is missing in {counted(len(blank), 'row')}.",
            f"Fill in {what} of every row.",
            blank,
            texts.name,
        )
    return texts.codes


def _numeric(texts: Texts) -> bool:
    """Whether all labels are numbers."""
    return all(NUMBER.fullmatch(value) for value in texts.values)


def _natural(texts: Texts | None, codes: np.ndarray, parents: list[np.ndarray]) -> np.ndarray:
    """Rank labels: by number if all are numbers, else by first appearance in the parent."""
    if texts is None:
        return codes
    if _numeric(texts):
        return np.array([*(float(value) for value in texts.values), np.nan])[codes]
    row = pd.Series(np.arange(len(codes)))
    return row.groupby([*parents, codes], sort=False).transform("min").to_numpy(dtype=float)


def put_in_order(
    texts: Mapping[str, Texts],
    n: int,
    reset: str,
    cells: Callable[[], Mapping[str, np.ndarray]],
    unused: Collection[str],
    findings: Findings,
) -> Order:
    """Sort the rows by subject, session, block and trial, and mark sequences and resets.

    Parameters
    ----------
    texts : mapping of str to Texts
        ``subject``, and ``session``, ``block``, ``trial`` where the file has them.
    n : int
        Number of rows.
    reset : {"block", "session", "never"}
        What starts the state afresh.
    cells : callable
        Returns the codes of all columns of the file, by their names in it: what rows with one number differ in.
    unused : collection of str
        Columns that mean nothing so far: candidates for telling duplicates apart.
    findings : Findings
        Receives missing ids, bad trial numbers, duplicates, interrupted blocks.

    Returns
    -------
    Order

    Notes
    -----
    Where trial numbers are unique within all sequences they alone give the order in time. Where they start
    again in every block (or session), blocks are ordered by number, or as they first appear.
    """
    subject_texts = texts.get("subject")
    session_texts, block_texts, trial_texts = (texts.get(name) for name in ("session", "block", "trial"))
    subject = _key(subject_texts, "the subject id", n, findings)
    session = _key(session_texts, "the session", n, findings)
    block = _key(block_texts, "the block", n, findings)
    file_order = np.arange(n, dtype=np.float64)
    trial = file_order if trial_texts is None else _trials(trial_texts, findings)
    work = pd.DataFrame(
        {
            "subject": subject,
            "session": _natural(session_texts, session, [subject]),
            "block": _natural(block_texts, block, [subject, session]),
            "trial": trial,
        }
    )
    if trial_texts is not None:
        _duplicates(work, texts, cells, unused, findings)
    sequence_keys = ["subject"] if reset == "never" else ["subject", "session"]
    keys = _time_keys(work, sequence_keys)
    for name in keys[:-1]:
        if name in texts and not _numeric(texts[name]):
            findings.note(f"each subject's {name}s are taken in the order in which they first appear in the file.")
    rows = work.sort_values([*sequence_keys, *keys], kind="stable").index.to_numpy()
    work = work.iloc[rows].reset_index(drop=True)
    frame = pd.DataFrame()
    for name, column in (("subject", subject_texts), ("session", session_texts), ("block", block_texts)):
        if column is not None:
            frame[name] = pd.Series(column.to_array()[rows], dtype="str")
    frame["sequence"] = work.groupby(sequence_keys, sort=False, dropna=False).ngroup()
    frame["subject_idx"] = work.groupby("subject", sort=False).ngroup()
    if trial_texts is None:
        frame["trial"] = frame.groupby("sequence").cumcount() + 1
    else:
        whole = bool(np.all(np.mod(work["trial"].fillna(0), 1) == 0)) and not work["trial"].isna().any()
        frame["trial"] = work["trial"].astype(np.int64) if whole else work["trial"]
    first = _changes(frame[["sequence"]])
    new_block = _changes(pd.concat([frame["sequence"], work[["session", "block"]]], axis=1))
    frame["reset"] = new_block if reset == "block" else first
    frame["run"] = np.cumsum(first if len(keys) == 1 else _changes(work[[*sequence_keys, *keys[:-1]]]))
    if reset == "block":
        _interrupted_blocks(frame, work, new_block, rows, texts, findings)
    return Order(rows, frame, reset)


def _changes(frame: pd.DataFrame) -> np.ndarray:
    """Where a row differs from the one before; the first row does."""
    values = frame.to_numpy(dtype=float)
    changed = np.ones(len(values), dtype=bool)
    changed[1:] = (values[1:] != values[:-1]).any(axis=1)
    return changed


def _trials(texts: Texts, findings: Findings) -> np.ndarray:
    values, given = to_numbers(texts, "trial", findings)
    blank = np.flatnonzero(~given)
    if len(blank):
        findings.error(
            f"the trial number is missing in {counted(len(blank), 'row')}.",
            "Number the trials in the order of time.",
            blank,
            texts.name,
        )
    return values


def _time_keys(work: pd.DataFrame, sequence_keys: list[str]) -> list[str]:
    """Columns that give the order in time within a sequence: as few as make its rows unique."""
    choices: list[list[str]] = [["trial"], ["block", "trial"]]
    if "session" not in sequence_keys:
        choices = [["trial"], ["session", "trial"], ["session", "block", "trial"]]
    for keys in choices:
        if not work.duplicated([*sequence_keys, *keys]).any():
            return keys
    return choices[-1]


def _duplicates(
    work: pd.DataFrame,
    texts: Mapping[str, Texts],
    cells: Callable[[], Mapping[str, np.ndarray]],
    unused: Collection[str],
    findings: Findings,
) -> None:
    """Refuse rows with one number: copies, which are the same in every column, and different trials."""
    keys = [name for name in ("subject", "session", "block", "trial") if name in texts]
    valid = (work["subject"] >= 0) & work["trial"].notna()
    doubled = np.flatnonzero(valid & work.duplicated(keys, keep=False))
    if not len(doubled):
        return
    content = pd.DataFrame(dict(cells()))
    copied = content.iloc[doubled].duplicated().to_numpy()
    copies = doubled[copied]
    table = work.loc[doubled[~copied], keys].fillna(-1)  # a blank session is an error of its own, and equals itself
    table = table[table.duplicated(keep=False)]
    splitting = _splitting(table, content[list(unused)])
    if len(copies):
        # Trials of two sessions may well be the same by chance: in doubt nothing is to be removed.
        sure = table.empty or splitting
        findings.error(
            f"{counted(len(copies), 'row is', 'rows are')} the same as another row in every column.",
            "Remove the copies." if sure else "Remove them if they are copies; see first to the rows that differ.",
            copies,
            texts["trial"].name,
        )
    if not table.empty:
        _shared_numbers(table, texts, content, splitting, findings)


def _splitting(table: pd.DataFrame, unused: pd.DataFrame) -> str:
    """Name the column with the fewest levels that tells rows with one number apart; empty if there is none."""
    found = []
    for name in unused:
        n_levels = int(unused[name].max()) + 1
        extended = table.assign(_extra=unused[name])
        if 2 <= n_levels <= 50 and not extended.duplicated().any():
            found.append((n_levels, str(name)))
    return min(found)[1] if found else ""


def _shared_numbers(
    table: pd.DataFrame, texts: Mapping[str, Texts], content: pd.DataFrame, splitting: str, findings: Findings
) -> None:
    """Refuse different trials with one number, and say what tells them apart."""
    keys = list(table.columns)
    group = table.index[(table == table.iloc[0]).all(axis=1)].to_numpy()
    example = ", ".join(f"{name} {texts[name].to_array()[group[0]]}" for name in keys)
    if splitting:
        name = splitting
        level = "block" if any(word in folded(name) for word in ("block", "run")) else "session"
        remedy = (
            f'The column "{name}" tells them apart. Is it the {level}? {column_remedy(level, name)} '
            "Is it a condition? Number the trials through in the order of time, or fit one condition at a time."
        )
    else:
        differing = [name for name in content if content[name].loc[group].nunique() > 1]
        remedy = (
            f"They differ ({listing(differing)}): these are different trials with one number. Number them in the order "
            "of time, or if trial numbers start again in every session or block, name that column: "
            "--column session=NAME or --column block=NAME."
        )
    findings.error(
        f"{counted(len(table), 'row')} share {listing(keys)} with another row; the first are {example} "
        f"({counted(len(group), 'row')}).",
        remedy,
        group,
        texts["trial"].name,
    )


def _interrupted_blocks(
    frame: pd.DataFrame,
    work: pd.DataFrame,
    new_block: np.ndarray,
    rows: np.ndarray,
    texts: Mapping[str, Texts],
    findings: Findings,
) -> None:
    """Refuse blocks that go on after another began: they are a condition, not a block."""
    starts = pd.concat([frame["sequence"], work[["session", "block"]]], axis=1)[new_block]
    again = starts.index[starts.duplicated()]
    if len(again):
        where = frame.loc[again[0]]
        findings.error(
            f"blocks are interrupted by other blocks ({counted(len(again), 'time')}); first: subject "
            f"{where['subject'] if 'subject' in frame else '?'}, trial {where['trial']}, goes back to block "
            f"{where['block']}.",
            "A block is a run of successive trials. Is this column a condition? Then do not name it as the "
            "block; else correct the trial numbers, or say --reset session.",
            rows[again[:5]],
            texts["block"].name,
        )
