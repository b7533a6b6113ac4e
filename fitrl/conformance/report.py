"""What the checks of a model found: one line per check."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

STATUSES = ("passed", "warning", "failed", "not run")


@dataclass(frozen=True)
class Check:
    """One check of a model.

    Attributes
    ----------
    name : str
        What was checked, in a few words.
    status : {"passed", "warning", "failed", "not run"}
        A warning leaves the model usable; a failure does not.
    finding : str
        What was found, with numbers.
    advice : str
        What to do about it; empty if there is nothing to do.
    """

    name: str
    status: str
    finding: str
    advice: str = ""

    def __str__(self) -> str:
        tail = f" {self.advice}" if self.advice else ""
        return f"{self.status}: {self.name}: {self.finding}{tail}"


@dataclass(frozen=True)
class ModelReport:
    """The checks of one model.

    Attributes
    ----------
    model : str
        Name with traits.
    checks : tuple of Check
        In the order in which they were made.
    """

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return not self.of("failed")

    def of(self, status: str) -> tuple[Check, ...]:
        """Return the checks with this status."""
        return tuple(check for check in self.checks if check.status == status)

    def first_line(self) -> str:
        """Sum the checks up in one sentence."""
        counts = [f"{len(self.of(status))} {status}" for status in STATUSES if self.of(status)]
        verdict = "can be used" if self.passed else "MUST NOT BE USED as it is"
        return f"{self.model} {verdict}: {', '.join(counts)}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per check: name, status, finding, advice."""
        return pd.DataFrame([asdict(check) for check in self.checks], columns=["name", "status", "finding", "advice"])

    def __str__(self) -> str:
        return "\n".join([self.first_line(), *map(str, self.checks)])
