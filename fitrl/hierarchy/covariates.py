"""Covariates: columns of the trial table, or of a table of subjects, read and coded for a formula."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from fitrl.data import Trials
from fitrl.data.findings import closed_up, counted, listing
from fitrl.data.numbers import NUMBER
from fitrl.data.read import Table, Texts, read_table
from fitrl.errors import DataError
from fitrl.hierarchy.formula import SUBJECT
from fitrl.language.state import unknown

_CANONICAL = ("session", "block")


@dataclass(frozen=True)
class Covariate:
    """One covariate with its coding; columns of a design are products of these.

    Attributes
    ----------
    name : str
        The user's name of the column.
    levels : tuple of str
        Of a factor, in order; empty for a number.
    codes : ndarray of int, shape (row,)
        Which distinct value each row has.
    values : ndarray, shape (distinct value, column)
        Coded values: contrasts of a factor, the z-score of a number.
    labels : tuple of str
        What the coefficient of each column means, such as ``"patient - control"``; empty text for a number.
    spread : tuple of float
        Of the prior of each column, in units of that of the difference between two levels.
    varies : {"subject", "session", "row"}
        Whether it is constant within subjects, within sequences of learning, or neither.
    mean, sd : float
        Of a number, over subjects (over sequences or rows where it varies more).
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray
    values: np.ndarray
    labels: tuple[str, ...]
    spread: tuple[float, ...]
    varies: str
    mean: float = 0.0
    sd: float = 1.0

    @property
    def is_factor(self) -> bool:
        """Whether it has levels."""
        return bool(self.levels)

    def at(self, value: Any) -> np.ndarray:
        """Coded value, shape (column,), of a level or, of a number in its own unit, of any number.

        Raises
        ------
        DataError
            If there is no such level, or the value is no number.
        """
        text = str(value).strip()
        if self.is_factor:
            if text not in self.levels:
                raise DataError(unknown(f"level of {self.name}", text, self.levels))
            return self.values[self.levels.index(text)]
        try:
            return np.array([(float(text) - self.mean) / self.sd])
        except ValueError:
            raise DataError(f'{self.name} is a number; "{text}" is none.') from None

    def coding(self) -> str:
        """Say in words how it is coded."""
        if not self.is_factor:
            over = {"subject": "subjects", "session": "sessions", "row": "trials"}[self.varies]
            return f"z-scored over {over}: mean {self.mean:g}, sd {self.sd:g}; a coefficient is the change per sd"
        if len(self.levels) == 2:
            return f"-1/2 = {self.levels[0]}, +1/2 = {self.levels[1]}; the coefficient is {self.labels[0]}"
        return f"{len(self.levels)} levels ({listing(self.levels)}), sum to zero; coefficients {'; '.join(self.labels)}"


def contrasts(levels: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...], tuple[float, ...]]:
    """Code a factor so that columns sum to zero and no level is special.

    Parameters
    ----------
    levels : tuple of str
        At least two.

    Returns
    -------
    values : ndarray, shape (level, level - 1)
        Reverse Helmert contrasts: coefficient k is level k minus the mean of those before it. With two levels the
        column is -1/2, +1/2.
    labels : tuple of str
        What each coefficient is.
    spread : tuple of float
        Prior standard deviation of each coefficient if any two levels differ by 1 (in standard deviations) a priori.

    Notes
    -----
    With levels that are independent a priori, each with variance 1/2, the difference of two levels has variance 1, and
    level k minus the mean of k others ``(1 + 1/k) / 2``. Columns are orthogonal: the prior is the same whatever the
    order of the levels, which it would not be with deviations of all levels but one.

    Examples
    --------
    >>> values, labels, spread = contrasts(("control", "patient"))
    >>> values.ravel().tolist(), labels, spread
    ([-0.5, 0.5], ('patient - control',), (1.0,))
    """
    n = len(levels)
    values = np.zeros((n, n - 1))
    labels, spread = [], []
    for k in range(1, n):
        values[:k, k - 1], values[k, k - 1] = -1 / (k + 1), k / (k + 1)
        before = levels[0] if k == 1 else f"mean({', '.join(levels[:k])})"
        labels.append(f"{levels[k]} - {before}")
        spread.append(float(np.sqrt((1 + 1 / k) / 2)))
    return values, tuple(labels), tuple(spread)


def with_subjects(trials: Trials, subjects: str | PathLike[str] | pd.DataFrame) -> Trials:
    """Add the columns of a table of subjects to the rows of the trial table.

    Parameters
    ----------
    trials : Trials
        The data.
    subjects : path or DataFrame
        One row per subject, with the column ``subject`` or the name that the trial table has for it. Subjects without
        trials are left out.

    Returns
    -------
    Trials
        With more columns in ``original``.

    Raises
    ------
    DataError
        If the table cannot be read, has no column of ids, a subject twice or not at all, or a column that the trial
        table has too.
    """
    table = read_table(subjects)
    own = trials.columns.get(SUBJECT, SUBJECT)
    key = next((name for name in (own, SUBJECT) if name in table.names), None)
    if key is None:
        raise DataError(f"the table of subjects {unknown('column', own, table.names)}", table.source)
    ids = table.texts(key)
    labels = ids.to_array()
    double = sorted({str(v) for v in labels[pd.Series(labels).duplicated().to_numpy()]})
    if double:
        raise DataError(f"subject {listing(double)} has several rows; expected one row per subject.", table.source)
    absent = [s for s in trials.subjects if s not in set(labels)]
    if absent:
        bare = {label.lstrip("0"): label for label in ids.values}
        padded = [f'"{s}" is "{bare[s.lstrip("0")]}" there' for s in absent if s.lstrip("0") in bare]
        zeros = f" The ids of {len(padded)} differ in leading zeros only ({listing(padded, 3)}): write them in one way."
        raise DataError(
            f"{counted(len(absent), 'subject of the trials has', 'subjects of the trials have')} no row: "
            f"{listing(absent)}.{zeros if padded else ''}"
            + (" Add them, with their covariates, or leave them out of the trials." if absent[len(padded) :] else ""),
            table.source,
        )
    both = [name for name in table.names if name != key and name in trials.original.columns]
    if both:
        raise DataError(f"the trial table has the column {listing(both)} too. Rename one of them.", table.source)
    place = {label: i for i, label in enumerate(labels)}
    rows = np.array([place[str(s)] for s in trials.frame["subject"]])
    added = table.original.drop(columns=key).iloc[rows].reset_index(drop=True)
    original = pd.concat([trials.original.reset_index(drop=True), added], axis=1)
    return replace(trials, original=original, added=trials.added | dict.fromkeys(added.columns, table.source))


def read_covariate(trials: Trials, name: str, *, factor: bool = False, first: str | None = None) -> Covariate:
    """Read a column and decide on its coding.

    Parameters
    ----------
    trials : Trials
        The data; the name is that of the user's column, or session or block.
    name : str
        Which column.
    factor : bool
        Take numbers as levels. Numbers with two distinct values are levels anyway.
    first : str, optional
        The level that comes first; by default the lowest number, or the first in the alphabet.

    Raises
    ------
    DataError
        If there is no such column, a value is missing, levels differ in case or spaces only, or it does not vary.
    """
    texts = _texts(trials, name)
    missing = trials.frame["subject"].to_numpy()[~texts.given]
    if missing.size:
        who = list(dict.fromkeys(missing.astype(str)))
        raise DataError(
            f"{name} is missing for subject {listing(who)} ({counted(missing.size, 'row')}). Rows are never dropped in "
            "silence: fill the value in, or leave these subjects out.",
            trials.source_of(name),
        )
    if len(texts.values) < 2:
        why = f'{name} is "{texts.values[0]}" everywhere: it cannot explain anything.'
        raise DataError(why, trials.source_of(name))
    _check_look_alikes(texts, trials)
    numeric = all(NUMBER.fullmatch(value) for value in texts.values)
    varies = _varies(trials, texts.codes)
    if numeric and not factor and len(texts.values) > 2:
        return _number(trials, texts, varies)
    levels = tuple(sorted(texts.values, key=(lambda v: (float(v), v)) if numeric else None))
    if first is not None:
        if first not in levels:
            raise DataError(unknown(f"level of {name}", first, levels), trials.source_of(name))
        levels = (first, *(level for level in levels if level != first))
    codes = np.array([levels.index(value) for value in texts.values])[texts.codes]
    values, labels, spread = contrasts(levels)
    return Covariate(name, levels, codes, values, labels, spread, varies)


def _check_look_alikes(texts: Texts, trials: Trials) -> None:
    """Refuse levels that differ in case or spaces only: they would count as groups of their own."""
    alike: dict[str, list[int]] = {}
    for code, value in enumerate(texts.values):
        alike.setdefault(closed_up(value), []).append(code)
    subjects = pd.DataFrame({"code": texts.codes, "subject": trials.frame["subject"].astype(str).to_numpy()})
    for codes in alike.values():
        if len(codes) > 1:
            who = {code: list(dict.fromkeys(subjects.loc[subjects["code"] == code, "subject"])) for code in codes}
            rare = min(codes, key=lambda code: len(who[code]))
            raise DataError(
                f"the levels {listing(f'"{texts.values[code]}"' for code in codes)} of {texts.name} differ in case or "
                f"spaces only, and would be groups of their own. Write them in one way: "
                f'"{texts.values[rare]}" has {listing(who[rare])}.',
                trials.source_of(texts.name),
            )


def _texts(trials: Trials, name: str) -> Texts:
    """Read a column of the user's table, or one that the trials have under our name."""
    own = trials.columns.get(name, name)
    source = trials.original if name in trials.original.columns or own in trials.original.columns else trials.frame
    column = name if name in source.columns else own
    if column not in source.columns or (source is trials.frame and column not in _CANONICAL):
        known = [*map(str, trials.original.columns), *(c for c in _CANONICAL if c in trials.columns)]
        raise DataError(unknown("column", name, dict.fromkeys(known)), trials.source)
    return replace(Table(trials.source, "", np.arange(len(source)), source).texts(column), name=name)


def _varies(trials: Trials, codes: np.ndarray) -> str:
    for what, group in (("subject", "subject_idx"), ("session", "sequence")):
        if (pd.Series(codes).groupby(trials.frame[group].to_numpy()).nunique() == 1).all():
            return what
    return "row"


def _number(trials: Trials, texts: Texts, varies: str) -> Covariate:
    numbers = np.array([float(value) for value in texts.values])
    by_row = numbers[texts.codes]
    if varies != "row":  # everybody counts once, however many trials they have
        group = trials.frame["subject_idx" if varies == "subject" else "sequence"].to_numpy()
        by_row = by_row[np.unique(group, return_index=True)[1]]
    mean, sd = float(by_row.mean()), float(by_row.std(ddof=1))
    return Covariate(
        texts.name, (), texts.codes, ((numbers - mean) / sd)[:, None], ("",), (1.0,), varies, mean=mean, sd=sd
    )
