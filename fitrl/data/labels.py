"""Turns labels of options and of cues into codes 0, 1, ..."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fitrl.data.findings import Findings, counted, folded, listing, nearest
from fitrl.data.numbers import NUMBER, report_values
from fitrl.data.read import Texts, missing_remedy
from fitrl.errors import DataError

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_MISSING_NUMBERS = (-1, -9, -99, -999, 9, 99, 999, 9999, 88, 0)
# Spellings of "no response" (without spaces and case) that would otherwise count as one more option.
_MISSING_WORDS = frozenset(
    ("miss", "missed", "missing", "noresponse", "noresp", "nochoice", "nr", "null", "nil", "undefined")
) | {"timeout", "tooslow", "slow", "late", "invalid", "omission", "omitted"}


def plain(label: object) -> str:
    """Write a label in one way: "1", "01" and "1.0" are the same whole number."""
    text = str(label).strip()
    return str(int(float(text))) if _WHOLE.fullmatch(text) else text


def codes_remedy(name: str, labels: Iterable[object]) -> str:
    """How to declare the options, in Python and on the command line."""
    options = list(labels)
    quoted = ", ".join(f'"{label}"' for label in options)
    joined = ",".join(str(label) for label in options)
    return f'codes={{"{name}": [{quoted}]}} (on the command line --codes "{name}={joined}")'


def declared_codes(codes: Mapping[str, Sequence[object]] | None, coded: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Check the labels that the user declared.

    Parameters
    ----------
    codes : mapping of str to sequence, optional
        Labels in the order of their codes, per column.
    coded : sequence of str
        Columns of the task that have labels.

    Returns
    -------
    dict of str to tuple of str

    Raises
    ------
    DataError
        If the column has no labels, or a label occurs twice.
    """
    declared = {}
    for name, labels in (codes or {}).items():
        if name not in coded:
            likely = nearest(name, coded)
            hint = f' Did you mean "{likely}"?' if likely else ""
            raise DataError(f'codes: "{name}" has no labels; {listing(coded, quote=True)} has.{hint}')
        if isinstance(labels, str):
            raise DataError(f'codes: the labels of "{name}" must be a list, like ["left", "right"].')
        plains = tuple(plain(label) for label in labels)
        repeated = sorted({label for label in plains if plains.count(label) > 1})
        if repeated:
            raise DataError(f'codes: {listing(repeated, quote=True)} occurs twice in "{name}".')
        declared[name] = plains
    return declared


def code_options(
    name: str,
    columns: Sequence[Texts],
    declared: tuple[str, ...] | None,
    n_payoffs: int,
    findings: Findings,
    fixed: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Code the options of a choice, in the column of the choice and those of the offers alike.

    Parameters
    ----------
    name : str
        Canonical name of the choice.
    columns : sequence of Texts
        The choice and the offers.
    declared : tuple of str or None
        Labels in the order of their codes, if the user declared them.
    n_payoffs : int
        Number of options that the file gives payoffs for; 0 if it gives none.
    findings : Findings
        Receives an error per value that is no option.
    fixed : tuple of str
        Labels that the task expects, in the order of their codes; empty if any will do.

    Returns
    -------
    labels : tuple of str
        Labels in the order of the codes.
    codes : list of ndarray of int, shape (row,)
        Codes per column, -1 where missing or no option.
    """
    used = {plain(value) for column in columns for value in column.values}
    if declared is not None:
        labels = declared
        for column in columns:
            bad = [value for value in column.values if plain(value) not in labels]
            report_values(
                column,
                bad,
                lambda value: f'"{value}" is none of the declared options {listing(labels, quote=True)}',
                f"Correct it, declare it too, or if the response is missing leave it blank{_or_missing(bad)}.",
                findings,
            )
        if unseen := [label for label in labels if label not in used]:
            findings.warn(
                f"{listing(unseen, quote=True)} was declared as an option and never occurs.",
                "Check the spelling if it should.",
                (),
                columns[0].name,
            )
    elif fixed:
        labels = fixed
        for column in columns:
            _refuse_others(name, column, labels, "if the response is missing leave it blank", findings, missing=True)
    elif numerals := {label for label in used if NUMBER.fullmatch(label)}:
        labels = _numeric_options(name, columns, used, numerals, n_payoffs, findings)
    else:
        labels = _word_options(name, columns, used, findings)
    if len(labels) == 1 or (not labels and not findings.failed):
        only = f'only one option, "{labels[0]}",' if labels else "no option"
        findings.error(
            f"{only} occurs in the whole file; two or more were expected.",
            f"If there are more, declare them: {codes_remedy(name, [*(labels or ('1',)), 'other'])}.",
            (),
            columns[0].name,
        )
    elif n_payoffs and labels and len(labels) != n_payoffs and not findings.failed:
        findings.error(
            f"there are {n_payoffs} payoff columns and {len(labels)} options, {listing(labels, quote=True)}.",
            f"Give one payoff per option, or declare all options: {codes_remedy(name, labels)}.",
            (),
            columns[0].name,
        )
    return labels, [_lookup(column, labels) for column in columns]


def _refuse_others(
    name: str, column: Texts, fixed: tuple[str, ...], blank: str, findings: Findings, *, missing: bool = False
) -> None:
    """Add an error for labels that are not those of the task, and say how to declare others in their order."""
    bad = [value for value in column.values if plain(value) not in fixed]
    blank += _or_missing(bad) if missing else ""
    report_values(
        column,
        bad,
        lambda value: f'"{value}" is no label of {name} in this task; they are {listing(fixed, quote=True)}',
        f"Correct it, {blank}, or declare the labels of the file in the order of {listing(fixed)}: "
        f"{codes_remedy(name, ['LABEL'] * len(fixed))}.",
        findings,
    )


def _lookup(column: Texts, labels: Sequence[str]) -> np.ndarray:
    index = {label: code for code, label in enumerate(labels)}
    return np.array([*(index.get(plain(value), -1) for value in column.values), -1], dtype=np.int64)[column.codes]


def _is_regular(numbers: set[int], n_payoffs: int) -> bool:
    """Whether whole numbers are the codes 0..K-1, 1..K or -1, 1."""
    if numbers == {-1, 1}:
        return n_payoffs in (0, 2)
    if n_payoffs:
        return numbers <= set(range(n_payoffs)) or numbers <= set(range(1, n_payoffs + 1))
    low, high = min(numbers), max(numbers)
    return low in (0, 1) and len(numbers) == high - low + 1


def _numeric_options(
    name: str,
    columns: Sequence[Texts],
    used: set[str],
    numerals: set[str],
    n_payoffs: int,
    findings: Findings,
) -> tuple[str, ...]:
    others = used - numerals
    if others:
        for column in columns:
            report_values(
                column,
                [value for value in column.values if plain(value) in others],
                lambda value: f'"{value}" is no option; the others are numbers ({listing(sorted(numerals))})',
                _blank_or_declare(name, sorted(others), sorted(used)),
                findings,
            )
        return tuple(sorted(numerals))
    if all(_WHOLE.fullmatch(label) for label in numerals):
        numbers = {int(label) for label in numerals}
        if _is_regular(numbers, n_payoffs):
            if n_payoffs and numbers != {-1, 1}:
                first = 0 if 0 in numbers else 1
                numbers = set(range(first, first + n_payoffs))
            _rare_zero(columns[0], numbers, findings)
            return tuple(str(number) for number in sorted(numbers))
        return _irregular(name, columns, numbers, n_payoffs, findings)
    ordered = sorted(numerals, key=lambda label: float(label))
    findings.error(
        f"the codes {listing(ordered)} are not whole numbers.",
        f"Code the options 1 to K, or declare them: {codes_remedy(name, ordered)}.",
        (),
        columns[0].name,
    )
    return tuple(ordered)


def _blank_or_declare(name: str, odd: Sequence[object], labels: Sequence[object]) -> str:
    """Say what to do about codes that are probably no options: blank cells first, a declaration second."""
    are = "are options after all" if len(odd) > 1 else "is an option after all"
    return (
        f"Leave those cells blank (or NA){_or_missing(odd)}. Only if {listing(odd, quote=True)} {are}: "
        f"{codes_remedy(name, labels)}."
    )


def _or_missing(odd: Sequence[object], column: str = "") -> str:
    """Say how to declare the first of some codes as missing; nothing if there is none."""
    return f", or say that it means so: {missing_remedy(odd[0], column)}" if odd else ""


def _irregular(
    name: str, columns: Sequence[Texts], numbers: set[int], n_payoffs: int, findings: Findings
) -> tuple[str, ...]:
    """Say which of the codes are odd, and whether one looks like the code of a missing response.

    Returns the labels without that code, so that its rows count as missed in the checks that follow.
    """
    counts = {n: sum(len(rows) for column in columns for rows in _rows_of(column, n)) for n in numbers}
    suspects = [n for n in numbers if len(numbers) > 2 and _is_regular(numbers - {n}, n_payoffs)]
    # Of -1, 0 and 1 either -1 or 0 may stand for a missed response: the rarer one does.
    likely = sorted(suspects, key=lambda n: (n not in _MISSING_NUMBERS, counts[n], n))
    ordered = sorted(numbers)
    expected = "0 to K-1, 1 to K, or -1 and 1"
    if n_payoffs:
        expected = f"0 to {n_payoffs - 1} or 1 to {n_payoffs} (there are {n_payoffs} payoff columns)"
    declare = f"declare the options: {codes_remedy(name, ordered)}"
    if not likely:
        findings.error(
            f"the choice codes are {listing(ordered)}; without a declaration {expected} was expected.",
            f"Use those codes, or {declare}. Leave missing responses blank (or NA), or name their code with --missing.",
            (),
            columns[0].name,
        )
        return tuple(str(number) for number in ordered)
    for column in columns:
        bad = [value for value in column.values if plain(value) == str(likely[0])]
        report_values(
            column,
            bad,
            lambda value: (
                f'unknown code "{value}": the codes are {listing(ordered)}; {expected} was expected, '
                f"and {value} looks like a code for a missing response"
            ),
            _blank_or_declare(name, likely[:1], ordered),
            findings,
        )
    return tuple(str(number) for number in ordered if number != likely[0])


def _rows_of(column: Texts, number: int) -> list[np.ndarray]:
    """Rows of a column with a whole number, one array per spelling."""
    return [column.rows_of(value) for value in column.values if plain(value) == str(number)]


def _rare_zero(choice: Texts, numbers: set[int], findings: Findings) -> None:
    """Warn where 0 may stand for a missing response beside the options 1 to K."""
    zeros = [value for value in choice.values if plain(value) == "0"]
    if len(numbers) < 3 or not zeros:
        return
    rows = choice.rows_of(zeros[0])
    share = len(rows) / max(1, int(choice.given.sum()))
    if share < 0.1:
        findings.warn(
            f'"0" is taken as one of {len(numbers)} options but occurs in {share:.1%} of the rows only.',
            f"If 0 means a missed response, leave those cells blank (or NA){_or_missing([0], choice.name)}.",
            rows,
            choice.name,
        )


def _word_options(name: str, columns: Sequence[Texts], used: set[str], findings: Findings) -> tuple[str, ...]:
    labels = tuple(sorted(used, key=lambda label: (label.casefold(), label)))
    gaps = {label for label in labels if folded(label) in _MISSING_WORDS or not folded(label)}
    for column in columns:
        report_values(
            column,
            [value for value in column.values if value in gaps],
            lambda value: f'"{value}" looks like a missing response and would count as an option',
            _blank_or_declare(name, sorted(gaps), labels),
            findings,
        )
    _look_alikes(columns, labels, findings)
    _slips(name, columns, labels, findings)
    return labels


def _slips(name: str, columns: Sequence[Texts], labels: Sequence[str], findings: Findings) -> None:
    """Refuse a label that is rare and nearly the same as a frequent one: it would count as an option."""
    counts = {
        label: sum(len(column.rows_of(label)) for column in columns if label in column.values) for label in labels
    }
    total = sum(counts.values())
    for label in labels:
        same = "".join(label.casefold().split())  # those are told by _look_alikes
        frequent = [
            other
            for other in labels
            if counts[other] > 20 * counts[label] and "".join(other.casefold().split()) != same
        ]
        near = difflib.get_close_matches(label, frequent, n=1, cutoff=0.75) if len(label) > 3 else []
        if counts[label] < 0.02 * total and near:
            column = next(column for column in columns if label in column.values)
            findings.error(
                f'the label "{label}" ({counted(counts[label], "time")}) looks like a slip of "{near[0]}" '
                f"({counted(counts[near[0]], 'time')}); it would count as an option of its own.",
                f"Correct it, or if it is meant, declare the options: {codes_remedy(name, labels)}.",
                column.rows_of(label),
                column.name,
            )


def _look_alikes(columns: Sequence[Texts], labels: Sequence[str], findings: Findings) -> None:
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups["".join(label.casefold().split())].append(label)
    for alike in groups.values():
        if len(alike) < 2:
            continue
        counts = {
            label: sum(len(column.rows_of(label)) for column in columns if label in column.values) for label in alike
        }
        rare = min(alike, key=lambda label: counts[label])
        column = next(column for column in columns if rare in column.values)
        shown = listing(f'"{label}" ({counts[label]:,})' for label in alike)
        findings.error(
            f"the labels {shown} differ only in case or spaces.",
            "Write them in one way.",
            column.rows_of(rare),
            column.name,
        )


def code_cue(
    name: str,
    column: Texts,
    declared: tuple[str, ...] | None,
    needed: np.ndarray,
    findings: Findings,
    fixed: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], np.ndarray]:
    """Code the levels of a cue: in the order declared, else of the numbers, else of the alphabet.

    Parameters
    ----------
    name : str
        Canonical name of the cue.
    column : Texts
        The cue.
    declared : tuple of str or None
        Levels in the order of their codes.
    needed : ndarray of bool, shape (row,)
        Rows in which a blank is an error (those with a response).
    findings : Findings
        Receives the errors.
    fixed : tuple of str
        Levels that the task expects, in the order of their codes; empty if any will do.

    Returns
    -------
    labels : tuple of str
        Levels in the order of their codes.
    codes : ndarray of int, shape (row,)
        Codes; 0 where blank.
    """
    used = {plain(value) for value in column.values}
    if declared is not None:
        labels = declared
        report_values(
            column,
            [value for value in column.values if plain(value) not in labels],
            lambda value: f'"{value}" is none of the declared levels {listing(labels, quote=True)}',
            "Correct it, or declare it too.",
            findings,
        )
    elif fixed:
        labels = fixed
        _refuse_others(name, column, labels, "if nothing was shown leave it blank", findings)
    elif all(NUMBER.fullmatch(label) for label in used):
        labels = tuple(sorted(used, key=float))
    else:
        labels = tuple(sorted(used, key=lambda label: (label.casefold(), label)))
        _look_alikes([column], labels, findings)
    check_shown(name, column, needed, findings)
    return labels, np.maximum(_lookup(column, labels), 0)


def check_shown(name: str, column: Texts, needed: np.ndarray, findings: Findings) -> None:
    """Refuse blanks in what was shown before the choice, in rows where it is needed.

    Parameters
    ----------
    name : str
        Canonical name of the column.
    column : Texts
        The column.
    needed : ndarray of bool, shape (row,)
        Rows in which a blank is an error (those with a response).
    findings : Findings
        Receives the error.
    """
    blank = np.flatnonzero(~column.given & needed)
    if len(blank):
        findings.error(
            f"{name} is blank in {counted(len(blank), 'row')} with a response.",
            "What was shown must be known in every row with a response.",
            blank,
            column.name,
        )
