"""Every error that fitrl raises on purpose, on one page.

A message says what is wrong and where, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class FitrlError(Exception):
    """Something that the user can mend; the message says how."""


class ModelError(FitrlError):
    """A model, a trait or an option that cannot be used as declared."""


class NoProbabilities(ModelError):
    """Agents whose parameters lie where the model gives no choice probabilities."""


class FitError(FitrlError):
    """A fit that cannot be started, continued, saved or loaded."""


class FitInterrupted(FitError):
    """A fit that was stopped before its first draw, so that there is nothing to keep."""


class StudyError(FitrlError):
    """A study of many fits that cannot be started or continued."""


class StudyInterrupted(StudyError):
    """A study that was stopped; the fits that were finished are on disk."""


@dataclass(frozen=True)
class Problem:
    """One thing found in a data file.

    Attributes
    ----------
    level : {"error", "warning", "note"}
        Errors stop the reading; warnings and notes are kept with the trials.
    message : str
        What is wrong, with the value, and what was expected.
    remedy : str
        What to do about it; empty for notes.
    rows : tuple of int
        Lines of the file (the header is line 1), or index labels + 1 of a frame, at most a few.
    column : str
        Column in the user's own spelling; empty if it concerns no single column.
    """

    level: str
    message: str
    remedy: str = ""
    rows: tuple[int, ...] = ()
    column: str = ""

    def __str__(self) -> str:
        place = f"line {self.rows[0]}" if len(self.rows) == 1 else ""
        if len(self.rows) > 1:
            shown = ", ".join(str(row) for row in self.rows[:5])
            more = f" and {len(self.rows) - 5} more" if len(self.rows) > 5 else ""
            place = f"lines {shown}{more}"
        if self.column:
            place = f'{place}, column "{self.column}"' if place else f'column "{self.column}"'
        head = f"{place}: " if place else ""
        tail = f" {self.remedy}" if self.remedy else ""
        return f"{head}{self.message}{tail}"


class DataError(FitrlError):
    """A data file that cannot be used; carries every problem found in it.

    Parameters
    ----------
    problems : iterable of Problem or str
        What was found. A plain string becomes an error without a place.
    source : str, optional
        Name of the file, for the first line of the message.
    """

    def __init__(self, problems: Iterable[Problem | str] | str, source: str = ""):
        found = [problems] if isinstance(problems, str) else list(problems)
        self.problems = [p if isinstance(p, Problem) else Problem("error", p) for p in found]
        self.source = source
        errors = [p for p in self.problems if p.level == "error"]
        head = f"{source}: " if source else ""
        if len(errors) == 1:
            text = f"{head}{errors[0]}"
        else:
            lines = "\n".join(f"  {i}. {p}" for i, p in enumerate(errors, 1))
            text = f"{head}{len(errors)} problems\n{lines}"
        super().__init__(text)
