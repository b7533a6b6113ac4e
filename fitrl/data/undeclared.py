"""Options that nobody declared: which of the numbers or words in a column are options, and which may be slips."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fitrl.data.findings import Findings, closed_up, counted, folded, listing
from fitrl.data.labels import WHOLE, codes_remedy, hardly_used, plain
from fitrl.data.numbers import NUMBER, report_values
from fitrl.data.read import Texts, missing_remedy, or_missing, seldom

_MISSING_NUMBERS = (-1, -9, -99, -999, 9, 99, 999, 9999, 88, 0)
# Spellings of "no response" (without spaces and case) that would otherwise count as one more option.
_MISSING_WORDS = frozenset(
    ("miss", "missed", "missing", "noresponse", "noresp", "nochoice", "nr", "null", "nil", "undefined")
) | {"timeout", "tooslow", "slow", "late", "invalid", "omission", "omitted"}


def undeclared_options(
    name: str, columns: Sequence[Texts], n_payoffs: int, findings: Findings
) -> tuple[tuple[str, ...], bool]:
    """Decide which labels are options where nobody said so, and report what may be none.

    Parameters
    ----------
    name : str
        Canonical name of the choice.
    columns : sequence of Texts
        The choice and the offers.
    n_payoffs : int
        Number of options that the file gives payoffs for; 0 if it gives none.
    findings : Findings
        Receives errors for codes of missing responses and for slips, and warnings where that is not certain.

    Returns
    -------
    labels : tuple of str
        Options in the order of their codes: by value, or by the alphabet.
    mixed : bool
        Whether there are numbers as well as words.
    """
    used = {plain(value) for column in columns for value in column.values}
    numerals = {label for label in used if NUMBER.fullmatch(label)}
    if not numerals:
        return _word_options(name, columns, used, findings), False
    if used > numerals:
        return _mixed_options(name, columns, used, numerals, findings), True
    return _numeric_options(name, columns, numerals, n_payoffs, findings), False


def _is_regular(numbers: set[int], n_payoffs: int) -> bool:
    """Whether whole numbers are the codes 0..K-1, 1..K or -1, 1."""
    if numbers == {-1, 1}:
        return n_payoffs in (0, 2)
    if n_payoffs:
        return numbers <= set(range(n_payoffs)) or numbers <= set(range(1, n_payoffs + 1))
    low, high = min(numbers), max(numbers)
    return low in (0, 1) and len(numbers) == high - low + 1


def _mixed_options(
    name: str, columns: Sequence[Texts], used: set[str], numerals: set[str], findings: Findings
) -> tuple[str, ...]:
    """Refuse words among numbers, or numbers among words: what fewer rows have is odd, the rest are the options."""
    words = used - numerals
    real = {word for word in words if not _is_gap(word)}
    by_word = _n_rows(columns, real) > _n_rows(columns, numerals)
    odd, options, kind = (numerals, real, "words") if by_word else (words, numerals, "numbers")
    for column in columns:
        bad = [value for value in column.values if plain(value) in odd]
        report_values(
            column,
            bad,
            lambda value: f'"{value}" is no option; the others are {kind} ({listing(_sorted(options))})',
            _blank_or_declare(name, column, bad, options),
            findings,
        )
    return _word_options(name, columns, words, findings) if by_word else tuple(_sorted(numerals))


def _n_rows(columns: Sequence[Texts], labels: set[str]) -> int:
    """Count the cells with some of the labels."""
    return sum(len(column.rows_of(value)) for column in columns for value in column.values if plain(value) in labels)


def _is_gap(label: str) -> bool:
    """Whether a label says that there was no response."""
    return folded(label) in _MISSING_WORDS or not folded(label)


def _sorted(labels: Iterable[str]) -> list[str]:
    """Numbers by their value, then words by the alphabet."""
    return sorted(
        labels, key=lambda label: (0, float(label), "") if NUMBER.fullmatch(label) else (1, 0.0, label.casefold())
    )


def _numeric_options(
    name: str, columns: Sequence[Texts], numerals: set[str], n_payoffs: int, findings: Findings
) -> tuple[str, ...]:
    if all(WHOLE.fullmatch(label) for label in numerals):
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


def _blank_or_declare(
    name: str, column: Texts, odd: Sequence[str], options: Iterable[str]
) -> Callable[[Sequence[str]], str]:
    """Say what to do about codes that are probably no options: blank cells first, a declaration second.

    The other way round where they stand in many rows: blank cells are trials that are lost.
    """
    rare = seldom(column, odd)

    def mend(values: Sequence[str]) -> str:
        are = "are options" if len(values) > 1 else "is an option"
        declare = codes_remedy(name, _sorted({*options, *map(plain, values)}))
        if rare.issuperset(values):
            return (
                f"Leave those cells blank (or NA){or_missing(values, rare)}. Only if {listing(values, quote=True)} "
                f"{are} after all: {declare}."
            )
        return (
            f"If {listing(values, quote=True)} {are}, declare all of them: {declare}. Leave a cell blank (or NA) only "
            "if the response is missing."
        )

    return mend


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
            _blank_or_declare(name, column, bad, map(str, ordered)),
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
            f"If 0 means a missed response, leave those cells blank (or NA), or say that it means so: "
            f"{missing_remedy(0, choice.name)}.",
            rows,
            choice.name,
        )


def _word_options(name: str, columns: Sequence[Texts], used: set[str], findings: Findings) -> tuple[str, ...]:
    labels = tuple(sorted(used, key=lambda label: (label.casefold(), label)))
    real = [label for label in labels if not _is_gap(label)]
    for column in columns:
        gaps = [value for value in column.values if value in used and _is_gap(value)]
        report_values(
            column,
            gaps,
            lambda value: f'"{value}" looks like a missing response and would count as an option',
            _blank_or_declare(name, column, gaps, real),
            findings,
        )
    look_alikes(columns, labels, findings)
    _slips(name, columns, labels, findings)
    return labels


def _slips(name: str, columns: Sequence[Texts], labels: Sequence[str], findings: Findings) -> None:
    """Refuse a label that is rare and nearly the same as a frequent one: it would count as an option."""
    counts = _counts(columns, labels)
    total = sum(counts.values())
    for label in labels:
        same = closed_up(label)  # those are told by look_alikes
        frequent = [other for other in labels if counts[other] > 20 * counts[label] and closed_up(other) != same]
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


def look_alikes(columns: Sequence[Texts], labels: Sequence[str], findings: Findings) -> None:
    """Refuse labels that differ in case or spaces only.

    Parameters
    ----------
    columns : sequence of Texts
        Where they occur.
    labels : sequence of str
        All labels of these columns.
    findings : Findings
        Receives an error per group of labels that look alike.
    """
    counts = _counts(columns, labels)
    total = sum(counts.values())
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[closed_up(label)].append(label)
    single = [alike[0] for alike in groups.values() if len(alike) == 1 and hardly_used(counts[alike[0]], total)]
    # A file that fails gets no warnings, and a label that may be a slip would be told of in the next round only.
    also = ", ".join(_placed(columns, label, findings) for label in single)
    also = f" {also} may be a slip, too." if single else ""
    for alike in groups.values():
        if len(alike) < 2:
            continue
        rare = min(alike, key=lambda label: counts[label])
        column = next(column for column in columns if rare in column.values)
        shown = listing(f'"{label}" ({counts[label]:,})' for label in alike)
        findings.error(
            f"the labels {shown} differ only in case or spaces.",
            f"Write them in one way.{also}",
            column.rows_of(rare),
            column.name,
        )


def _counts(columns: Sequence[Texts], labels: Sequence[str]) -> dict[str, int]:
    """Count the cells with each label."""
    return {label: sum(len(column.rows_of(label)) for column in columns if label in column.values) for label in labels}


def _placed(columns: Sequence[Texts], label: str, findings: Findings) -> str:
    """Write a label with its rows and the first line."""
    rows = np.concatenate([column.rows_of(label) for column in columns if label in column.values])
    return f'"{label}" ({counted(len(rows), "row")}, line {findings.lines[rows.min()]})'
