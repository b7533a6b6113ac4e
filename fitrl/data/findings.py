"""Collects what is found in a data file, so that everything can be said at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from fitrl.errors import DataError, Problem

MAX_LINES = 5  # places named per problem; the message carries the full count


class Findings:
    """The errors, warnings and notes of one file.

    Parameters
    ----------
    source : str
        Name of the file, for the first line of the error message.
    lines : ndarray of int, shape (row,)
        Line of every data row, in the order of the row numbers given to the methods.
    """

    def __init__(self, source: str, lines: np.ndarray):
        self.source = source
        self.lines = lines
        self.problems: list[Problem] = []

    def _add(self, level: str, message: str, remedy: str, rows: Sequence[int] | np.ndarray, column: str) -> None:
        places = tuple(sorted(int(self.lines[row]) for row in rows)[:MAX_LINES])
        self.problems.append(Problem(level, message, remedy, places, column))

    def error(self, message: str, remedy: str, rows: Sequence[int] | np.ndarray = (), column: str = "") -> None:
        """Add a problem that stops the reading; `rows` are row numbers (0-based), not lines."""
        self._add("error", message, remedy, rows, column)

    def warn(self, message: str, remedy: str, rows: Sequence[int] | np.ndarray = (), column: str = "") -> None:
        """Add a problem that is kept with the trials; `rows` are row numbers (0-based)."""
        self._add("warning", message, remedy, rows, column)

    def note(self, message: str, column: str = "") -> None:
        """Add something that the user should know and need not act on."""
        self._add("note", message, "", (), column)

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(problem.level == "error" for problem in self.problems)

    def raise_errors(self) -> None:
        """Raise everything found as one error, if any of it is an error.

        Raises
        ------
        DataError
            If there is at least one error; carries the warnings and notes too.
        """
        if self.failed:
            raise DataError(self.problems, self.source)


def counted(n: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun, for example ``"1 row"`` and ``"1,200 rows"``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


def listing(items: Iterable[object], most: int = 8, quote: bool = False) -> str:
    """Write a short list in words, for example ``"1, 2, 3 and 14 more"``."""
    texts = [f'"{item}"' if quote else str(item) for item in items]
    shown = ", ".join(texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


def folded(name: str) -> str:
    """Reduce a name to its lower-case letters and digits, so that spellings can be compared."""
    return re.sub(r"[\W_]+", "", name.casefold())


def closed_up(label: str) -> str:
    """Write a label without spaces and in lower case: two that are the same then differ by a slip of typing only."""
    return "".join(label.casefold().split())


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Find the candidate that was probably meant.

    Parameters
    ----------
    name : str
        What was asked for.
    candidates : iterable of str
        What there is.

    Returns
    -------
    str
        The most similar candidate, or an empty string if none is similar.

    Examples
    --------
    >>> nearest("subjet", ["trial", "subject"])
    'subject'
    """
    by_fold = {folded(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(folded(name), list(by_fold), n=1, cutoff=0.7)
    return by_fold[found[0]] if found else ""
