"""Design matrices: what formula and covariates make of the linear predictor of a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from fitrl.data import Trials
from fitrl.data.findings import listing
from fitrl.errors import ModelError
from fitrl.hierarchy.covariates import Covariate, read_covariate
from fitrl.hierarchy.formula import Formula, parse_formula


@dataclass(frozen=True)
class Column:
    """One column of a design: a product of columns of covariates.

    Attributes
    ----------
    name : str
        Such as ``"group[patient - control]"``, ``"age"``, ``"Intercept"``.
    parts : tuple of (str, int)
        Covariate and its column; for a location of cell means, covariate and its level. Empty for the intercept.
    is_location : bool
        Whether the coefficient is a location rather than an effect.
    spread : float
        Of the prior of an effect, in units of that of the difference between two levels.
    """

    name: str
    parts: tuple[tuple[str, int], ...]
    is_location: bool = False
    spread: float = 1.0

    @property
    def term(self) -> str:
        """Name of the term that it belongs to, such as ``"drug:session"``."""
        return ":".join(name for name, _ in self.parts)


@dataclass(frozen=True)
class Slopes:
    """Effects that differ between subjects.

    Attributes
    ----------
    terms : tuple of str
        Terms with a standard deviation each.
    columns : tuple of Column
        Of all these terms.
    of_term : tuple of int
        Term of each column.
    matrix : ndarray, shape (cell, column)
    """

    terms: tuple[str, ...]
    columns: tuple[Column, ...]
    of_term: tuple[int, ...]
    matrix: np.ndarray

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of subjects in each column, in units of that of its term."""
        return np.array([column.spread for column in self.columns])


@dataclass(frozen=True)
class Spread:
    """What moves the log of the standard deviation between subjects.

    Attributes
    ----------
    columns : tuple of Column
    matrix : ndarray, shape (subject, column)
    """

    columns: tuple[Column, ...]
    matrix: np.ndarray


@dataclass(frozen=True)
class Design:
    """The linear predictor of one parameter: ``matrix @ coefficients + deviation of the subject``.

    Attributes
    ----------
    columns : tuple of Column
        Locations first: the intercept, or one location per level.
    matrix : ndarray, shape (cell, column)
        One row per value of the parameter.
    subject : ndarray of int, shape (cell,)
        Subject of each cell.
    index : ndarray of int, shape (sequence,) or (row,)
        Cell that each sequence, or each row, uses.
    by_row : bool
        Whether `index` runs over rows.
    slopes : Slopes or None
        Effects that differ between subjects.
    labels : dict of str to ndarray, shape (cell,)
        What distinguishes the cells of a subject, in the user's own values.
    formula : Formula or None
        None for the intercept alone.
    covariates : dict of str to Covariate
        Those of the formula.
    spread : Spread or None
        What moves how much subjects differ; None where nothing does.
    """

    columns: tuple[Column, ...]
    matrix: np.ndarray
    subject: np.ndarray
    index: np.ndarray
    by_row: bool = False
    slopes: Slopes | None = None
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    formula: Formula | None = None
    covariates: dict[str, Covariate] = field(default_factory=dict)
    spread: Spread | None = None

    @property
    def locations(self) -> tuple[str, ...]:
        """Names of the columns that are locations."""
        return tuple(column.name for column in self.columns if column.is_location)

    @property
    def effects(self) -> tuple[Column, ...]:
        """Columns that are effects."""
        return tuple(column for column in self.columns if not column.is_location)

    @property
    def by_subject(self) -> bool:
        """Whether each subject has one value."""
        return not self.labels

    def between(self) -> np.ndarray:
        """Mean row of the design for each subject, shape (subject, column)."""
        counts = np.bincount(self.subject)
        sums = np.zeros((len(counts), self.matrix.shape[1]))
        np.add.at(sums, self.subject, self.matrix)
        return sums / counts[:, None]

    def row(self, at: Mapping[str, Any]) -> np.ndarray:
        """Row of the design where covariates have given values.

        Parameters
        ----------
        at : mapping of str to level or number
            In the user's own unit. Covariates that are left out are at their average: the mean of a number, the
            unweighted mean of the levels of a factor.

        Returns
        -------
        ndarray, shape (column,)

        Raises
        ------
        DataError
            If a level does not exist.
        """
        return _row(self.columns, self.covariates, at)

    def slope_row(self, at: Mapping[str, Any]) -> np.ndarray:
        """Row of the slopes where covariates have given values, shape (slope column,); see `row`."""
        return _row(self.slopes.columns, self.covariates, at) if self.slopes else np.zeros(0)

    def spread_row(self, at: Mapping[str, Any]) -> np.ndarray:
        """Row of the spread where covariates have given values, shape (spread column,); see `row`."""
        return _row(self.spread.columns, self.covariates, at) if self.spread else np.zeros(0)

    def probes(self, column: Column) -> list[tuple[float, dict[str, Any]]]:
        """Return populations whose weighted sum is the effect of a column.

        Returns
        -------
        list of (float, dict)
            Weight, and the values of the covariates. On the link scale the weighted sum is the coefficient: the second
            level of a factor minus the first; half a standard deviation above the mean of a number minus half below.
        """
        parts: list[list[tuple[str, float, Any]]] = []
        for name, k in column.parts:
            covariate = self.covariates[name]
            if covariate.is_factor:
                before = [(-1.0 / (k + 1), level) for level in covariate.levels[: k + 1]]
                parts.append([(name, weight, level) for weight, level in [*before, (1.0, covariate.levels[k + 1])]])
            else:
                half = covariate.sd / 2
                parts.append([(name, -1.0, covariate.mean - half), (name, 1.0, covariate.mean + half)])
        return [
            (float(np.prod([weight for _, weight, _ in chosen])), {name: value for name, _, value in chosen})
            for chosen in product(*parts)
        ]

    def populations(self) -> list[dict[str, str]]:
        """Every combination of the levels of its factors that occurs, in order."""
        factors = {name: c for name, c in self.covariates.items() if c.is_factor}
        if not factors:
            return []
        codes = np.unique(np.column_stack([c.codes for c in factors.values()]), axis=0)
        return [{n: c.levels[k] for (n, c), k in zip(factors.items(), row, strict=True)} for row in codes]


def intercept_only(trials: Trials) -> Design:
    """One location, one value per subject."""
    n = trials.n_subjects
    return Design((_INTERCEPT,), np.ones((n, 1)), np.arange(n), np.asarray(trials.sequence_subject))


_INTERCEPT = Column("Intercept", (), is_location=True)


def deviations(designs: Mapping[str, Design]) -> list[str]:
    """Name what subjects differ in: every parameter, followed by its slopes, such as ``alpha: drug[verum - placebo]``.

    Parameters
    ----------
    designs : mapping of str to Design
        Of the parameters that are estimated.

    Returns
    -------
    list of str
        In the order in which `Subjects` are asked for them.
    """
    names = []
    for name, design in designs.items():
        slopes = () if design.slopes is None else design.slopes.columns
        names += [name, *(f"{name}: {column.name}" for column in slopes)]
    return names


def make_design(parameter: str, formula: str | Formula, trials: Trials) -> Design:
    """Make the design of a parameter.

    Parameters
    ----------
    parameter : str
        Its name, for messages.
    formula : str or Formula
        Right-hand side.
    trials : Trials
        With the covariates among its columns.

    Returns
    -------
    Design

    Raises
    ------
    DataError
        If a covariate is not there or has missing values.
    ModelError
        If the formula cannot be read, or the data cannot tell its coefficients apart.
    """
    found = formula if isinstance(formula, Formula) else parse_formula(parameter, formula)
    covariates = {
        name: read_covariate(trials, name, factor=name in found.references, first=found.references.get(name))
        for name in found.covariates
    }
    if not covariates:
        return intercept_only(trials)
    columns = tuple(_columns(found, covariates, parameter))
    rows, subject, index, by_row = _cells(covariates, trials)
    coded = {name: c.codes[rows] for name, c in covariates.items()}
    labels = {name: _labels(trials, c, coded[name]) for name, c in covariates.items() if c.varies != "subject"}
    matrix = _matrix(columns, covariates, coded)
    slopes = _slopes(found, covariates, coded, parameter)
    spread = _spread(found, covariates, trials, parameter)
    _check_rank(columns, matrix, found, parameter)
    return Design(columns, matrix, subject, index, by_row, slopes, labels, found, covariates, spread)


def _labels(trials: Trials, covariate: Covariate, codes: np.ndarray) -> np.ndarray:
    if covariate.is_factor:
        return np.array(covariate.levels, dtype=object)[codes]
    return covariate.values[codes, 0] * covariate.sd + covariate.mean


def _columns(formula: Formula, covariates: Mapping[str, Covariate], parameter: str) -> Iterator[Column]:
    terms = formula.terms
    if formula.intercept:
        yield _INTERCEPT
    else:
        first, terms = terms[0], terms[1:]
        numbers = [name for name in first if not covariates[name].is_factor]
        if numbers:
            raise ModelError(
                f"{parameter} ~ {formula.text}: without an intercept the first term must be made of factors, and "
                f"{listing(numbers)} is a number. Leave the 0 out, or write 0 + C({numbers[0]})."
            )
        for levels in product(*(range(len(covariates[name].levels)) for name in first)):
            shown = [f"{n}[{covariates[n].levels[k]}]" for n, k in zip(first, levels, strict=True)]
            yield Column(":".join(shown), tuple(zip(first, levels, strict=True)), is_location=True)
    for term in terms:
        yield from _effect_columns(term, covariates)


def _effect_columns(term: tuple[str, ...], covariates: Mapping[str, Covariate]) -> Iterator[Column]:
    for chosen in product(*(range(covariates[name].values.shape[1]) for name in term)):
        parts = tuple(zip(term, chosen, strict=True))
        shown = [f"{n}[{covariates[n].labels[k]}]" if covariates[n].is_factor else n for n, k in parts]
        spread = float(np.prod([covariates[n].spread[k] for n, k in parts]))
        yield Column(":".join(shown), parts, spread=spread)


def _cells(covariates: Mapping[str, Covariate], trials: Trials) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """One row of the trial table per cell, the subject of each cell, the index, and whether it runs over rows."""
    frame = trials.frame
    keys = [frame["subject_idx"].to_numpy(), *(c.codes for c in covariates.values() if c.varies != "subject")]
    _, first, cell = np.unique(np.column_stack(keys), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # cells in the order of the trial table
    cell = np.argsort(order, kind="stable")[cell.ravel()]
    rows = first[order]
    by_row = any(c.varies == "row" for c in covariates.values())
    index = cell if by_row else cell[np.unique(frame["sequence"].to_numpy(), return_index=True)[1]]
    if len(keys) == 1:
        # Subjects in the order of their numbers, whatever the order of their rows.
        subject = np.arange(trials.n_subjects)
        rows = np.unique(keys[0], return_index=True)[1]
        return rows, subject, np.asarray(trials.sequence_subject), False
    return rows, keys[0][rows], index, by_row


def _matrix(
    columns: tuple[Column, ...], covariates: Mapping[str, Covariate], codes: Mapping[str, np.ndarray]
) -> np.ndarray:
    n = len(next(iter(codes.values())))
    found = np.ones((n, len(columns)))
    for j, column in enumerate(columns):
        for name, k in column.parts:
            found[:, j] *= codes[name] == k if column.is_location else covariates[name].values[codes[name], k]
    return found


def _row(columns: tuple[Column, ...], covariates: Mapping[str, Covariate], at: Mapping[str, Any]) -> np.ndarray:
    coded = {name: covariates[name].at(value) for name, value in at.items() if name in covariates}
    found = np.ones(len(columns))
    for j, column in enumerate(columns):
        for name, k in column.parts:
            if not column.is_location:
                found[j] *= coded[name][k] if name in coded else 0.0
            elif name in coded:
                found[j] *= float(covariates[name].levels.index(str(at[name]).strip()) == k)
            else:
                found[j] /= len(covariates[name].levels)
    return found


def _slopes(
    formula: Formula, covariates: Mapping[str, Covariate], codes: Mapping[str, np.ndarray], parameter: str
) -> Slopes | None:
    if not formula.slopes:
        return None
    columns: list[Column] = []
    of_term: list[int] = []
    for i, term in enumerate(formula.slopes):
        if all(covariates[name].varies == "subject" for name in term):
            raise ModelError(
                f"{parameter} ~ {formula.text}: {':'.join(term)} does not vary within subjects, so that its effect "
                "cannot differ between them. Leave it out of the term before |."
            )
        own = list(_effect_columns(term, covariates))
        columns += own
        of_term += [i] * len(own)
    names = tuple(":".join(term) for term in formula.slopes)
    return Slopes(names, tuple(columns), tuple(of_term), _matrix(tuple(columns), covariates, codes))


def _spread(formula: Formula, covariates: Mapping[str, Covariate], trials: Trials, parameter: str) -> Spread | None:
    if not formula.spread:
        return None
    for name in formula.spread:
        if covariates[name].varies != "subject":
            raise ModelError(
                f"{parameter} ~ {formula.text}: sd({name}) is about how much subjects differ, but {name} varies within "
                f"subjects. Subjects who differ in its effect are ({name} | subject)."
            )
    columns = tuple(column for name in formula.spread for column in _effect_columns((name,), covariates))
    first = np.unique(trials.frame["subject_idx"].to_numpy(), return_index=True)[1]
    matrix = _matrix(columns, covariates, {name: covariates[name].codes[first] for name in formula.spread})
    _check_rank((_INTERCEPT, *columns), np.column_stack([np.ones(len(matrix)), matrix]), formula, parameter)
    return Spread(columns, matrix)


def _check_rank(columns: tuple[Column, ...], matrix: np.ndarray, formula: Formula, parameter: str) -> None:
    """Refuse coefficients that no data could tell apart."""
    matrix = np.unique(matrix, axis=0)
    rank = np.linalg.matrix_rank(matrix)
    if rank == matrix.shape[1]:
        return
    free = [j for j in range(matrix.shape[1]) if np.linalg.matrix_rank(np.delete(matrix, j, axis=1)) == rank]
    names = [columns[j].name for j in free]
    raise ModelError(
        f"{parameter} ~ {formula.text}: {listing(names)} cannot be told apart, since each follows from the others in "
        "these data (two covariates that go together, or a combination that never occurs). Leave one of them out."
    )
