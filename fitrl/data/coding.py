"""Codes the columns of a task by their kind: choices, offers, outcomes, cues, payoffs, numbers, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fitrl.data.columns import Columns
from fitrl.data.findings import Findings, counted
from fitrl.data.numbers import check_start, scale_outcomes, to_flags, to_numbers
from fitrl.data.options import check_shown, code_cue, code_options
from fitrl.data.read import Texts


@dataclass(frozen=True)
class Coded:
    """Coded columns, in the order of the file.

    Attributes
    ----------
    values : dict of str to ndarray, shape (row,)
        Canonical name to values, with the ``_given`` and ``mask_`` columns.
    codings : dict of str to tuple of str
        Labels of the choices and cues in the order of their codes.
    outcome_range : (float, float)
        Range of the scaled outcomes: (0, 1), (-1, 1) or open.
    """

    values: dict[str, np.ndarray]
    codings: dict[str, tuple[str, ...]]
    outcome_range: tuple[float, float]


def code_columns(
    columns: Columns,
    read: Callable[[str], Texts],
    declared: Mapping[str, tuple[str, ...]],
    scale: float,
    raw: bool,
    n: int,
    findings: Findings,
) -> Coded:
    """Code every column of the task.

    Parameters
    ----------
    columns : Columns
        What the columns of the file are.
    read : callable
        Takes a column's name in the file and returns it as Texts.
    declared : mapping of str to tuple of str
        Labels that the user declared.
    scale : float
        Outcomes are divided by it.
    raw : bool
        Whether the range of outcomes is left open.
    n : int
        Number of rows.
    findings : Findings
        Receives every problem.

    Returns
    -------
    Coded
    """
    texts = {column.name: read(columns.names[column.name]) for column in _plain(columns)}
    values: dict[str, np.ndarray] = {}
    codings: dict[str, tuple[str, ...]] = {}
    _code_choices(columns, texts, declared, values, codings, findings)
    responded = np.ones(n, dtype=bool)
    for column in columns.of_kind("choice"):
        responded &= values[f"{column.name}_given"]
    outcome_range = _code_outcomes(columns, texts, read, scale, raw, responded, values, findings)
    for column in columns.of_kind("cue"):
        name = column.name
        codings[name], values[name] = code_cue(
            name, texts[name], declared.get(name), responded, findings, column.labels
        )
    for column in columns.of_kind("quantity"):
        values[column.name] = _code_quantity(column.name, texts[column.name], responded, findings)
    _code_payoffs(columns, texts, scale, values, findings)
    for column in columns.of_kind("number"):
        values[column.name], given = to_numbers(texts[column.name], column.name, findings, may_miss=True)
        values[f"{column.name}_given"] = given
    _code_masks(columns, texts, n, responded, values, findings)
    return Coded(values, codings, outcome_range)


def _plain(columns: Columns) -> list:
    """Columns that stand in the file as they are (an outcome made of gain and loss does not)."""
    kinds = ("choice", "offer", "outcome", "cue", "quantity", "payoff", "number", "flag")
    return [column for column in columns.of_kind(*kinds) if not (column.kind == "outcome" and columns.gain_loss)]


def _code_choices(
    columns: Columns,
    texts: Mapping[str, Texts],
    declared: Mapping[str, tuple[str, ...]],
    values: dict[str, np.ndarray],
    codings: dict[str, tuple[str, ...]],
    findings: Findings,
) -> None:
    """Code the choices; offers share the labels of the first choice."""
    offers = columns.of_kind("offer")
    choices = columns.of_kind("choice")
    # Otherwise a payoff belongs to an option together with what was shown, or with another choice.
    alone = not offers and not columns.of_kind("cue") and len(choices) == 1
    n_payoffs = len(columns.of_kind("payoff")) if alone else 0
    for i, column in enumerate(choices):
        name = column.name
        together = [texts[name], *(texts[offer.name] for offer in offers if i == 0)]
        n_payable = n_payoffs if i == 0 else 0
        labels, codes = code_options(name, together, declared.get(name), n_payable, findings, column.labels)
        codings[name] = labels
        # A response that is no option is an error already; its outcome is not judged as well.
        given = codes[0] >= 0
        values[name] = np.where(given, codes[0], 0)
        values[f"{name}_given"] = given
        if i == 0 and offers:
            _code_offers([texts[offer.name] for offer in offers], codes[1:], texts[name], codes[0], findings)
            for j, code in enumerate(codes[1:]):
                # Nothing depends on the offers of a row without a response; they stay distinct.
                values[f"offer_{j + 1}"] = np.where(code >= 0, code, j)


def _code_offers(
    offers: list[Texts], codes: list[np.ndarray], choice: Texts, chosen: np.ndarray, findings: Findings
) -> None:
    """Check that all offers are there, differ, and contain the choice."""
    given = np.stack([offer.given for offer in offers])
    short = np.flatnonzero(~given.all(axis=0) & (given.any(axis=0) | choice.given))
    if len(short):
        blank = next(offer for offer in offers if not offer.given[short[0]])
        findings.error(
            f"{counted(len(short), 'row has', 'rows have')} fewer than {len(offers)} options on offer.",
            f"The number of options on offer must be the same in all rows: fill in all {len(offers)}.",
            short,
            blank.name,
        )
    for j in range(len(offers)):
        for k in range(j):
            same = np.flatnonzero((codes[j] == codes[k]) & (codes[j] >= 0))
            if len(same):
                value = offers[j].values[offers[j].codes[same[0]]]
                findings.error(
                    f'"{value}" is on offer twice, also in column "{offers[k].name}" ({counted(len(same), "row")}).',
                    "The options on offer in a row must differ.",
                    same,
                    offers[j].name,
                )
    among = np.any([code == chosen for code in codes], axis=0)
    strange = np.flatnonzero(~among & (chosen >= 0) & given.all(axis=0))
    if len(strange):
        row = strange[0]
        shown = " and ".join(f'"{offer.values[offer.codes[row]]}"' for offer in offers)
        findings.error(
            f'the choice "{choice.values[choice.codes[row]]}" is not among the options on offer, {shown} '
            f"({counted(len(strange), 'such row')}).",
            "The choice is the chosen option itself, not its side or key: write it in the same labels as the "
            "offers, or leave it blank if the response is missing.",
            strange,
            choice.name,
        )


def _code_outcomes(
    columns: Columns,
    texts: Mapping[str, Texts],
    read: Callable[[str], Texts],
    scale: float,
    raw: bool,
    responded: np.ndarray,
    values: dict[str, np.ndarray],
    findings: Findings,
) -> tuple[float, float]:
    """Code the outcomes; what stands in a row without a response is not used."""
    lowest, highest = 0.0, -np.inf
    for column in columns.of_kind("outcome"):
        name, user = column.name, columns.names[column.name]
        if name in texts:
            numbers, given = to_numbers(texts[name], name, findings, may_miss=True)
        else:
            numbers, given = _gain_minus_loss(columns.gain_loss, read, findings)
        ignored = given & ~responded
        if ignored.any():
            findings.note(
                f"{counted(int(ignored.sum()), 'outcome')} in rows without a response "
                f"{'is' if ignored.sum() == 1 else 'are'} not used.",
                user,
            )
        given = given & responded
        numbers = np.where(given, numbers, np.nan)
        scaled = scale_outcomes(numbers, user, scale, raw, findings)
        values[name], values[f"{name}_given"] = scaled, given
        lowest = min(lowest, float(scaled.min(initial=0.0)))
        highest = max(highest, float(scaled.max(initial=-np.inf)))
        if not column.required:
            findings.note(f"{name} was found ({column.description}), in {counted(int(given.sum()), 'row')}.", user)
    if raw:
        return (-np.inf, np.inf)
    outcome_range = (-1.0, 1.0) if lowest < 0 else (0.0, 1.0)
    if names := [columns.names[column.name] for column in columns.of_kind("outcome")]:
        check_start(highest, outcome_range, scale, names[0], findings)
    return outcome_range


def _gain_minus_loss(
    names: tuple[str, ...], read: Callable[[str], Texts], findings: Findings
) -> tuple[np.ndarray, np.ndarray]:
    gain, gain_given = to_numbers(read(names[0]), "gain", findings, may_miss=True)
    loss, loss_given = to_numbers(read(names[1]), "loss", findings, may_miss=True)
    findings.note(f'outcome = "{names[0]}" - |"{names[1]}"| (layout of hBayesDM).')
    return gain - np.abs(loss), gain_given & loss_given


def _code_quantity(name: str, column: Texts, needed: np.ndarray, findings: Findings) -> np.ndarray:
    """Read a number that is shown before the choice; 0 where it is blank, which only a missed trial may be."""
    numbers, given = to_numbers(column, name, findings)
    check_shown(name, column, needed, findings)
    return np.where(given, numbers, 0.0)


def _code_payoffs(
    columns: Columns,
    texts: Mapping[str, Texts],
    scale: float,
    values: dict[str, np.ndarray],
    findings: Findings,
) -> None:
    """Read payoffs: probabilities if all lie between 0 and 1, else mean outcomes, which are scaled."""
    payoffs = columns.of_kind("payoff")
    if not payoffs:
        return
    read = {column.name: to_numbers(texts[column.name], "payoff", findings) for column in payoffs}
    for name, (_, given) in read.items():
        blank = np.flatnonzero(~given)
        if len(blank):
            findings.error(
                f"{counted(len(blank), 'payoff is', 'payoffs are')} missing.",
                "Give the payoff of every option in every row, or do not name these columns.",
                blank,
                columns.names[name],
            )
    together = np.concatenate([numbers[given] for numbers, given in read.values()])
    probabilities = bool(np.all((together >= 0) & (together <= 1)))
    meaning = "probabilities" if probabilities else f"mean outcomes, divided by {scale:g}"
    findings.note(f"payoffs of {counted(len(payoffs), 'option')} were found; they are read as {meaning}.")
    for name, (numbers, _) in read.items():
        values[name] = numbers if probabilities else numbers / scale


def _code_masks(
    columns: Columns,
    texts: Mapping[str, Texts],
    n: int,
    responded: np.ndarray,
    values: dict[str, np.ndarray],
    findings: Findings,
) -> None:
    """Say which responses are scored and which trials teach."""
    flags = {column.name: to_flags(texts[column.name], findings) for column in columns.of_kind("flag")}
    yes, no = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    forced = flags.get("forced", no)
    for column in columns.of_kind("choice", "number"):
        asked = flags.get(f"mask_{column.name}", flags.get("mask_choice", yes))
        given = values[f"{column.name}_given"]
        if column.kind == "number":
            given = given & responded
        values[f"mask_{column.name}"] = given & asked & ~forced
    shown = yes.copy()
    for column in columns.of_kind("outcome"):
        if column.required:
            shown &= values[f"{column.name}_given"]
    values["mask_update"] = shown & responded & flags.get("mask_update", yes)
    if forced.any():
        findings.note(f"{counted(int(forced.sum()), 'forced choice')}: they teach and are not scored.")
    hidden = responded & ~shown
    scored = np.any([values[f"mask_{column.name}"] for column in columns.of_kind("choice", "number")], axis=0)
    for rows, what in ((hidden & scored, "is scored"), (hidden & ~scored, "is not scored, but predicted")):
        if rows.any():
            count = counted(int(rows.sum()), "row")
            findings.note(f"{count} with a choice and no outcome: the choice {what}; nothing is learned.")
