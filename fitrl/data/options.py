"""Turns labels of options and of cues into codes 0, 1, ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitrl.data.findings import Findings, counted, listing
from fitrl.data.labels import codes_remedy, plain
from fitrl.data.numbers import NUMBER, report_values
from fitrl.data.read import Texts, or_missing, seldom
from fitrl.data.undeclared import look_alikes, undeclared_options


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
    mixed = False
    if declared is not None:
        labels, used = declared, {plain(value) for column in columns for value in column.values}
        for column in columns:
            _refuse_undeclared(column, labels, findings)
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
    else:
        labels, mixed = undeclared_options(name, columns, n_payoffs, findings)
    # Where numbers stand beside words, that only one option is left follows from what was said of the others.
    if (len(labels) == 1 and not mixed) or (not labels and not findings.failed):
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
        look_alikes([column], labels, findings)
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


def _refuse_undeclared(column: Texts, declared: tuple[str, ...], findings: Findings) -> None:
    """Add an error for labels that are none of those that the user declared."""
    bad = [value for value in column.values if plain(value) not in declared]
    rare = seldom(column, bad)
    report_values(
        column,
        bad,
        lambda value: f'"{value}" is none of the declared options {listing(declared, quote=True)}',
        lambda values: (
            f"Correct it, declare it too, or if the response is missing leave it blank{or_missing(values, rare)}."
        ),
        findings,
    )


def _refuse_others(
    name: str, column: Texts, fixed: tuple[str, ...], blank: str, findings: Findings, *, missing: bool = False
) -> None:
    """Add an error for labels that are not those of the task, and say how to declare others in their order."""
    bad = [value for value in column.values if plain(value) not in fixed]
    rare = seldom(column, bad) if missing else frozenset()
    report_values(
        column,
        bad,
        lambda value: f'"{value}" is no label of {name} in this task; they are {listing(fixed, quote=True)}',
        lambda values: (
            f"Correct it, {blank}{or_missing(values, rare)}, or declare the labels of the file in the order of "
            f"{listing(fixed)}: {codes_remedy(name, ['LABEL'] * len(fixed))}."
        ),
        findings,
    )


def _lookup(column: Texts, labels: Sequence[str]) -> np.ndarray:
    index = {label: code for code, label in enumerate(labels)}
    return np.array([*(index.get(plain(value), -1) for value in column.values), -1], dtype=np.int64)[column.codes]
