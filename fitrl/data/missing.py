"""Texts that a file has for "no response" or "missing": declared by the user, blank from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fitrl.data.columns import Columns
from fitrl.data.findings import Findings, counted, listing
from fitrl.data.numbers import NUMBER
from fitrl.data.read import Texts, missing_remedy
from fitrl.errors import DataError

ALL = "*"
_KINDS = ("choice", "outcome", "number")  # what a missed trial lacks; nothing that was shown, and no order of trials

Codes = dict[str, tuple[str, ...]]


def declared_missing(missing: Mapping[str, Sequence[object]] | Sequence[object] | None) -> Codes:
    """Read what the user said about missing cells.

    Parameters
    ----------
    missing : sequence, or mapping of str to sequence, optional
        Texts or numbers; or those of a column, by its name, where ``"*"`` is every column.

    Returns
    -------
    dict of str to tuple of str
        By column.

    Raises
    ------
    DataError
        If it is a text instead of a list, or a code is blank.
    """
    if missing is None:
        return {}
    by_column = missing if isinstance(missing, Mapping) else {ALL: missing}
    found = {}
    for column, codes in by_column.items():
        if isinstance(codes, str):
            raise DataError(f'missing is the text "{codes}"; a list was expected: missing=["{codes}"].')
        found[str(column)] = tuple(str(code).strip() for code in codes)
        if not all(found[str(column)]):
            raise DataError("a blank cell is missing as it is. Leave it out of missing.")
    return found


def with_missing(
    read: Callable[[str], Texts], missing: Codes, columns: Columns, findings: Findings
) -> Callable[[str], Texts]:
    """Blank the declared codes in the columns of choices, outcomes and response times.

    Parameters
    ----------
    read : callable
        Takes a column's name in the file and returns it as Texts.
    missing : dict of str to tuple of str
        Of `declared_missing`.
    columns : Columns
        What the columns of the file are.
    findings : Findings
        Receives a note per column with the number of cells that were blanked; a warning per code that never occurs; an
        error where a code for all columns hits outcomes of rows with a response, since it may be an outcome.

    Returns
    -------
    callable
        Like `read`.
    """
    if not missing:
        return read
    made = columns.names.get("outcome") if columns.gain_loss else None  # of gain and loss, which stand in the file
    own = {c.name: columns.names[c.name] for c in columns.of_kind(*_KINDS) if columns.names[c.name] != made}
    own |= {name: name for name in columns.gain_loss}
    for name in missing.keys() - {ALL, *own, *own.values()}:
        findings.error(
            f'"{name}" is no column of choices, outcomes or response times, and so has no codes for missing cells.',
            f"Those are {listing(own)}.",
        )
    cleaned: dict[str, Texts] = {}
    unsure: dict[str, list[str]] = {}
    never = {(name, code) for name, codes in missing.items() for code in codes}
    for name, user in own.items():
        texts = read(user)
        here = {code for key in (name, user) for code in missing.get(key, ())}
        blank = [value for value in texts.values if _among(value, here) or _among(value, missing.get(ALL, ()))]
        never -= {(key, code) for key, code in never if key in (ALL, name, user) and _among(code, blank)}
        cleaned[user] = _without(texts, blank)
        unsure[name] = [value for value in blank if not _among(value, here)]
        if blank:
            n = int((texts.given & ~cleaned[user].given).sum())
            findings.note(f"{counted(n, 'cell')} with {listing(blank, quote=True)} set missing.", user)
    for name, code in sorted(never):
        where = "" if name == ALL else f" in {name}"
        findings.warn(f'"{code}" was declared as missing{where} and never occurs.', "Check the spelling if it should.")
    choices = [column.name for column in columns.of_kind("choice")]
    if choices:
        responded = np.all([cleaned[own[name]].given for name in choices], axis=0)
        for name in [*(column.name for column in columns.of_kind("outcome")), *columns.gain_loss]:
            if unsure.get(name):
                _check_outcomes(name, read(own[name]), unsure[name], responded, choices[0], findings)
    return lambda user: cleaned[user] if user in cleaned else read(user)


def _check_outcomes(
    name: str, texts: Texts, unsure: Sequence[str], responded: np.ndarray, choice: str, findings: Findings
) -> None:
    """Refuse to blank outcomes of rows with a response unless the code was declared for that column."""
    for value in unsure:
        rows = np.flatnonzero(responded & (texts.codes == texts.values.index(value)))
        if not len(rows):
            continue
        findings.error(
            f'"{value}" stands in {counted(len(rows), "row")} with a response: is it an outcome, '
            "or is the outcome missing?",
            f"If it is an outcome, declare it for the choice only: {missing_remedy(value, choice)}. If the outcome "
            f"is missing, say so as well: {missing_remedy(value, name)}.",
            rows,
            texts.name,
        )


def _among(value: str, codes: Iterable[str]) -> bool:
    """Whether a cell holds one of some codes; numbers by their value."""
    return any(_same(value, code) for code in codes)


def _same(value: str, code: str) -> bool:
    if NUMBER.fullmatch(value) and NUMBER.fullmatch(code):
        return float(value) == float(code)
    return value == code


def _without(texts: Texts, blank: Sequence[str]) -> Texts:
    """Blank the cells with some of the distinct values."""
    kept = tuple(value for value in texts.values if value not in blank)
    place = {value: i for i, value in enumerate(kept)}
    lookup = np.array([*(place.get(value, -1) for value in texts.values), -1], dtype=np.int64)
    return Texts(texts.name, lookup[texts.codes], kept)
