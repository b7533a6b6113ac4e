"""Turns text into numbers, flags, outcomes and payoffs, and says which cells are none."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from fitrl.data.findings import Findings, counted, listing
from fitrl.data.read import Texts, or_missing, seldom
from fitrl.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_QUANTITY = re.compile(r"\W*\d")  # "50 cent", "1,250": a number written in another way, and no word for missing
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d+)")
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "-infinity", "+infinity"})


def report_values(
    texts: Texts,
    bad: list[str],
    say: Callable[[str], str],
    remedy: str | Callable[[Sequence[str]], str],
    findings: Findings,
    most: int = 3,
) -> None:
    """Add one error per bad value with its lines, and one for the rest where there are many.

    Parameters
    ----------
    texts : Texts
        The column.
    bad : list of str
        Distinct values of it.
    say : callable
        Takes a bad value and returns what is wrong with it.
    remedy : str or callable
        What to do; a callable takes the values that an error is about.
    findings : Findings
        Receives the errors.
    most : int
        Values that have an error of their own.
    """
    mend = remedy if callable(remedy) else lambda _: remedy
    for value in bad[:most]:
        rows = texts.rows_of(value)
        times = f" ({counted(len(rows), 'row')})" if len(rows) > 1 else ""
        findings.error(say(value) + times + ".", mend([value]), rows, texts.name)
    if rest := bad[most:]:
        rows = np.flatnonzero(np.isin(texts.codes, [texts.values.index(value) for value in rest]))
        findings.error(
            f"the same holds for {counted(len(rest), 'more value')} in {counted(len(rows), 'row')}: "
            f"{listing(rest, quote=True)}.",
            mend(rest),
            rows,
            texts.name,
        )


def to_numbers(texts: Texts, what: str, findings: Findings, *, may_miss: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of numbers.

    Parameters
    ----------
    texts : Texts
        The column.
    what : str
        What it holds, for the message ("outcome").
    findings : Findings
        Receives an error per value that is no finite number.
    may_miss : bool
        Whether codes for missing cells can be declared for this column; the error then says how.

    Returns
    -------
    values : ndarray of float, shape (row,)
        The numbers; NaN where missing or bad.
    given : ndarray of bool, shape (row,)
        Where the cell is not missing.

    Notes
    -----
    A decimal comma is understood when no value of the column has a point and not all of them look like
    thousands ("1,250").
    """
    words = _without_decimal_comma(texts, findings)
    parsed = np.full(len(words) + 1, np.nan)
    strange, infinite = [], []
    for i, (value, word) in enumerate(zip(texts.values, words, strict=True)):
        if NUMBER.fullmatch(word):
            parsed[i] = float(word)
        if value.casefold() in _INFINITE or math.isinf(parsed[i]):
            infinite.append(value)
            parsed[i] = np.nan
        elif math.isnan(parsed[i]):
            strange.append(value)
    rare = seldom(texts, strange)

    def mend(values: Sequence[str]) -> str:
        said = [value for value in values if not _QUANTITY.match(value)]
        if may_miss and not rare.issuperset(said):
            return (
                "If these words are outcomes, replace them by numbers in the file, for example won = 1 and lost = 0; "
                "leave a cell blank (or NA) only if it is missing."
            )
        declare = or_missing(said, rare) if may_miss else ""
        return (
            "Write a number with a decimal point and without a unit (1 and 0 for yes and no), or leave the cell blank "
            f"(or NA) if it is missing{declare}."
        )

    report_values(
        texts,
        strange,
        lambda value: f'{what} "{value}" is not a number',
        mend,
        findings,
    )
    report_values(
        texts,
        infinite,
        lambda value: f'{what} "{value}" is not finite',
        "Write the number that was meant, or leave the cell blank (or NA) if it is missing.",
        findings,
    )
    return parsed[texts.codes], texts.given


def _without_decimal_comma(texts: Texts, findings: Findings) -> list[str]:
    words = list(texts.values)
    decimals = [match[1] for word in words if (match := _DECIMAL_COMMA.fullmatch(word))]
    if not decimals or any("." in word for word in words):
        return words
    if all(len(digits) == 3 for digits in decimals):
        return words  # 1,250 may be a thousand or one and a quarter: reported as no number
    findings.note("decimal commas were read as decimal points.", texts.name)
    return [word.replace(",", ".") if _DECIMAL_COMMA.fullmatch(word) else word for word in words]


def to_flags(texts: Texts, findings: Findings) -> np.ndarray:
    """Read a column of 0 and 1 as bool, shape (row,); anything else, blank included, is an error."""
    truth = {"0": False, "1": True, "0.0": False, "1.0": True, "FALSE": False, "TRUE": True}
    lookup = [truth.get(value.upper()) for value in texts.values]
    bad = [value for value, flag in zip(texts.values, lookup, strict=True) if flag is None]
    report_values(
        texts,
        bad,
        lambda value: f'"{value}" is neither 0 nor 1',
        "This column says yes (1) or no (0) for every row.",
        findings,
    )
    if not texts.given.all():
        rows = np.flatnonzero(~texts.given)
        findings.error(
            f"{counted(len(rows), 'blank cell')}; 0 or 1 was expected in every row.",
            "Fill in 0 or 1.",
            rows,
            texts.name,
        )
    return np.array([*(flag is True for flag in lookup), False])[texts.codes]


def check_scale(outcome_scale: float | str | None) -> tuple[float, bool]:
    """Turn the user's word about the outcome scale into (scale, raw).

    Raises
    ------
    DataError
        If it is neither a number above 0 nor "raw".
    """
    if outcome_scale is None:
        return 1.0, False
    if outcome_scale == "raw":
        return 1.0, True
    try:
        scale = float(outcome_scale)
    except (TypeError, ValueError):
        scale = math.nan
    if isinstance(outcome_scale, bool) or not (math.isfinite(scale) and scale > 0):
        raise DataError(
            f'outcome_scale is "{outcome_scale}"; a number above 0 was expected, the largest outcome of the '
            'task (for example 100), or "raw" for outcomes as they are.'
        )
    return scale, False


def scale_outcomes(values: np.ndarray, name: str, scale: float, raw: bool, findings: Findings) -> np.ndarray:
    """Divide outcomes by the scale and check that they lie between -1 and 1.

    Parameters
    ----------
    values : ndarray of float, shape (row,)
        Outcomes in the user's unit, NaN where missing.
    name : str
        The user's column.
    scale : float
        Constant to divide by.
    raw : bool
        Whether the range is left unchecked.
    findings : Findings
        Receives an error if outcomes lie beyond the scale.

    Returns
    -------
    ndarray of float, shape (row,)
        Scaled outcomes, 0.0 where missing.
    """
    scaled = values / scale
    beyond = np.flatnonzero(np.abs(scaled) > 1 + 1e-9)
    if len(beyond) and not raw:
        largest = float(np.nanmax(np.abs(values)))
        likely = _round_scale(largest)
        findings.error(
            f"{counted(len(beyond), 'outcome lies', 'outcomes lie')} beyond the scale of {scale:g}: "
            f"the values go from {np.nanmin(values):g} to {np.nanmax(values):g}; "
            f"{-scale:g} to {scale:g} was expected.",
            f"Give the largest possible outcome of the task, for example --outcome-scale {likely:g} "
            f"(in Python outcome_scale={likely:g}): outcomes are divided by it. "
            f"If single values stand out, check these rows.",
            beyond,
            name,
        )
    return np.nan_to_num(scaled, nan=0.0)


def check_start(
    highest: float, outcome_range: tuple[float, float], scale: float, name: str, findings: Findings
) -> None:
    """Warn where learning starts at the best outcome or above it: every outcome is then a disappointment.

    Parameters
    ----------
    highest : float
        The largest scaled outcome.
    outcome_range : (float, float)
        Range of the scaled outcomes; values start in its middle.
    scale : float
        Outcomes were divided by it.
    name : str
        The user's column.
    findings : Findings
        Receives the warning.
    """
    low, high = outcome_range
    # Losses alone start at their best outcome, 0, by intent; and where all outcomes are 0 no scale helps.
    if low == 0 and 0 < highest <= high / 2:
        largest = highest * scale
        findings.warn(
            f"the largest outcome is {largest:g}, and values start at {high / 2 * scale:g}, the middle of 0 to "
            f"{scale:g}: no outcome is better than what is expected at first.",
            f"Give the largest possible outcome of the task, for example --outcome-scale {largest:g} (in Python "
            f"outcome_scale={largest:g}). If larger ones are possible, leave it.",
            (),
            name,
        )


def _round_scale(largest: float) -> float:
    """Suggest a scale: the largest outcome where it is round (25, 50, 200), else the next power of ten."""
    power = 10.0 ** math.ceil(math.log10(largest) - 1e-12)
    return largest if any(math.isclose(largest, share * power) for share in (0.2, 0.25, 0.5)) else power
