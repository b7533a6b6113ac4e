"""Finds out which of the user's columns is which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fitrl.data.findings import Findings, folded, listing, nearest
from fitrl.tasks.task import Column

_SUBJECT_ALIASES = ("subjID", "subj", "ID", "participant", "participant_id", "sub")

COMMON = (
    Column("subject", "key", "who: an id per person or animal", True, _SUBJECT_ALIASES),
    Column("session", "key", "visit or day; the trials of one subject and session are one sequence", False),
    Column("block", "key", "run of trials within a session", False),
    Column("trial", "order", "number of the trial, in the order of time", False),
    Column("forced", "flag", "1 where the choice was instructed: it teaches and is not scored", False),
    Column("mask_choice", "flag", "0 where the choice is not to be scored", False),
    Column("mask_update", "flag", "0 where the trial does not teach", False),
)

# Names under which the columns go in other files: good enough for a suggestion, not for a silent guess.
_USUAL = {
    "subject": ("subjectid", "pp", "ppt", "vp", "proband", "person", "pid", "worker", "user", "animal", "mouse", "rat"),
    "trial": ("trialnumber", "trialno", "trialnr", "trialnum", "trialindex", "trialid", "durchgang", "t"),
    # What was chosen comes before the key that was pressed: sides are often swapped between trials.
    "choice": ("chosen", "selected", "decision", "response", "resp", "action", "answer", "wahl", "key", "button"),
    "outcome": ("points", "win", "won", "payout", "gain", "money", "score", "result", "rew", "fb", "gewinn"),
    "session": ("visit", "day", "sessionid", "sess", "ses", "sitzung"),
    "block": ("run", "blocknumber", "blocknr", "blockno", "blockid"),
    "stimulus": ("pair", "stim", "cue", "state", "context"),
}


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are.

    Attributes
    ----------
    known : tuple of Column
        Every column that was found, in canonical order; numbered ones spelled out (``option_1``).
    names : dict of str to str
        Canonical name to the user's name.
    hbayesdm : bool
        Whether the file has the layout of hBayesDM (a column ``subjID``).
    gain_loss : tuple of str
        The user's columns ``gain`` and ``loss`` that make up the outcome, or empty.
    """

    known: tuple[Column, ...]
    names: dict[str, str]
    hbayesdm: bool
    gain_loss: tuple[str, ...]

    def of_kind(self, *kinds: str) -> list[Column]:
        """Return the columns that were found, of these kinds."""
        return [column for column in self.known if column.kind in kinds]


def column_remedy(canonical: str, user: str) -> str:
    """How to name a column, on the command line and in Python."""
    pair = f"{canonical}={user}"
    shown = pair if re.fullmatch(r"[\w.=-]+", pair) else f'"{pair}"'  # a shell splits at blanks
    return f'Name it with --column {shown} (in Python columns={{"{canonical}": "{user}"}}).'


def known_columns(task_columns: Iterable[Column]) -> tuple[Column, ...]:
    """All columns that mean something for a task: the common ones, the task's own, a mask per choice."""
    own = tuple(task_columns)
    masks = tuple(
        Column(f"mask_{column.name}", "flag", f"0 where {column.name} is not to be scored", False)
        for column in own
        if column.kind in ("choice", "number") and column.name != "choice"
    )
    return (*COMMON, *masks, *own)


def match_columns(
    names: Sequence[str],
    task_columns: Iterable[Column],
    given: Mapping[str, str] | None,
    findings: Findings,
) -> Columns:
    """Match the columns of a file with those that a task knows.

    The user's own word comes first, then the canonical name, then the same in any case, then an alias.

    Parameters
    ----------
    names : sequence of str
        Columns of the file.
    task_columns : iterable of Column
        Columns that the task knows.
    given : mapping of str to str, optional
        Canonical name to the user's name.
    findings : Findings
        Receives an error per column that is missing, unknown or ambiguous.

    Returns
    -------
    Columns
    """
    known = known_columns(task_columns)
    chosen = _user_words(names, known, dict(given or {}), findings)
    free = [name for name in names if name not in chosen.values()]
    hbayesdm = any(name.casefold() == "subjid" for name in names)
    found: dict[str, Column] = {}
    gain_loss: tuple[str, ...] = ()
    missing: list[Column] = []
    for column in known:
        if column.name.endswith("_#"):
            found |= _numbered(column, chosen, free, findings)
        elif column.name in chosen or _match(column, chosen, free, findings):
            found[column.name] = column
        elif column.kind == "outcome" and column.required and hbayesdm and {"gain", "loss"} <= set(free):
            gain_loss = ("gain", "loss")
            chosen[column.name] = "gain - |loss|"
            found[column.name] = column
        elif column.required and column.name not in (given or {}):
            missing.append(column)
    unused = [name for name in free if name not in chosen.values()]
    for i, column in enumerate(missing):
        _missing(column, unused, names if i == 0 else (), findings)
    return Columns(tuple(found.values()), {name: chosen[name] for name in found}, hbayesdm, gain_loss)


def _user_words(
    names: Sequence[str], known: Sequence[Column], given: dict[str, str], findings: Findings
) -> dict[str, str]:
    """Check what the user said about the columns."""
    canonical = [column.name for column in known]
    stems = [name[:-1] for name in canonical if name.endswith("_#")]
    chosen: dict[str, str] = {}
    for name, user in given.items():
        numbered = any(name.startswith(stem) and name[len(stem) :].isdigit() for stem in stems)
        if name not in canonical and not numbered:
            if name in names and user in canonical:
                remedy = f'The other way round: --column {user}={name} (in Python {{"{user}": "{name}"}}).'
            else:
                likely = nearest(name, canonical)
                remedy = f'Did you mean "{likely}"? ' if likely else ""
                remedy += f"Columns of this task: {listing(canonical, 20)}."
            findings.error(f'"{name}" is no column that this task knows.', remedy)
        elif str(user) not in names:
            likely = nearest(str(user), names)
            hint = f'Did you mean "{likely}"? ' if likely else ""
            findings.error(
                f'the file has no column "{user}", which was named as {name}.',
                f"{hint}Its columns are {listing(names, 20, quote=True)}.",
            )
        else:
            chosen[name] = str(user)
    return chosen


def _match(column: Column, chosen: dict[str, str], free: list[str], findings: Findings) -> bool:
    """Find a column by its name or an alias; remembers it in `chosen` and takes it out of `free`."""
    aliases = {alias.casefold() for alias in column.aliases}
    tiers = (
        [name for name in free if name == column.name],
        [name for name in free if name.casefold() == column.name.casefold()],
        [name for name in free if name.casefold() in aliases],
    )
    hits: list[str] = next((tier for tier in tiers if tier), [])
    if not hits:
        return False
    if len(hits) > 1:
        findings.error(
            f"{listing(hits, quote=True)} could all be the {column.name} ({column.description}).",
            f'Say which with --column {column.name}={hits[0]} (in Python columns={{"{column.name}": "{hits[0]}"}}).',
        )
    passed_over = [name for tier in tiers for name in tier if name not in hits]
    if passed_over and column.kind in ("choice", "outcome"):
        findings.note(f'"{hits[0]}" is taken as the {column.name}; {listing(passed_over, quote=True)} is not used.')
    chosen[column.name] = hits[0]
    free.remove(hits[0])
    return True


def _numbered(column: Column, chosen: dict[str, str], free: list[str], findings: Findings) -> dict[str, Column]:
    """Find ``option_1``, ``option_2``, ...; a number left out is an error."""
    stem = column.name[:-1]
    said = [int(name[len(stem) :]) for name in chosen if name.startswith(stem) and name[len(stem) :].isdigit()]
    in_file = [int(n) for name in free if name.startswith(stem) and (n := name[len(stem) :]).isdigit()]
    found: dict[str, Column] = {}
    for number in range(1, max([0, *said, *in_file]) + 1):
        name = f"{stem}{number}"
        one = Column(name, column.kind, column.description, column.required)
        if name in chosen or _match(one, chosen, free, findings):
            found[name] = one
        else:
            findings.error(
                f"there is no {name}, but a {stem}{max([*said, *in_file])} ({column.description}).",
                f"Number them from 1 without a gap, or name the column with --column {name}=NAME.",
            )
    if len(found) == 1:
        findings.error(
            f"only one {column.name} column was found, {next(iter(found))}; two or more were expected "
            f"({column.description}).",
            f"Name the second with --column {stem}2=NAME.",
        )
    if column.required and not found:
        _missing(Column(f"{stem}1", column.kind, column.description), free, free, findings)
    return found


def _likely(column: Column, unused: Sequence[str], loose: bool = True) -> str:
    """Guess which unused column may well be `column`; `loose`: also one whose name is only similar."""
    by_fold = {folded(name): name for name in unused}
    for spelling in (column.name, *column.aliases, *_USUAL.get(column.name, ())):
        if folded(spelling) in by_fold:
            return by_fold[folded(spelling)]
    if not loose:
        return ""
    for spelling in (column.name, *column.aliases):
        if likely := nearest(spelling, unused):
            return likely
    return next((name for name in unused if folded(column.name) in folded(name)), "")


def _missing(column: Column, unused: Sequence[str], names: Sequence[str], findings: Findings) -> None:
    likely = _likely(column, unused)
    hint = f'Is it "{likely}"? ' if likely else ""
    found = f" The columns found are {listing(names, 20, quote=True)}." if names else ""
    findings.error(
        f"the {column.name} column is missing ({column.description}).{found}",
        hint + column_remedy(column.name, likely or "NAME"),
    )


def warn_unnamed(columns: Columns, unused: Sequence[str], findings: Findings) -> None:
    """Warn about columns that look like the session, the block or the trial number and are not named as such.

    Parameters
    ----------
    columns : Columns
        What was found.
    unused : sequence of str
        The user's other columns, as far as they vary.
    findings : Findings
        Receives one warning per column that is neither found nor ruled out.
    """
    without = {
        "session": ("session", "learned values carry over from one to the next"),
        "block": ("block", "learned values carry over from one to the next"),
        "trial": ("trial number", "the rows are taken to stand in the order of time"),
    }
    for column in COMMON:
        if column.name not in without or column.name in columns.names:
            continue
        if likely := _likely(column, unused, loose=False):
            what, consequence = without[column.name]
            findings.warn(
                f'"{likely}" looks like the {what} and is not used: {consequence}.',
                column_remedy(column.name, likely),
            )
