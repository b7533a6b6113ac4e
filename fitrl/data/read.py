"""Reads a file or a data frame into columns of text; finds out what is wrong with the file itself."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from fitrl.data.findings import MAX_LINES, counted, listing
from fitrl.errors import DataError, Problem

MISSING = frozenset({"", "NaN", "NA", "N/A", "nan", "None"})

# Missed trials are few in data that are worth a fit, and people who miss a fifth of them are commonly left out. What
# stands in more rows is rather an option or an outcome: to declare it missing would delete those trials in silence.
_FREQUENT = 0.2

_SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma", " ": "white space"}


@dataclass(frozen=True)
class Texts:
    """One column as text, stored as codes into its distinct values.

    Attributes
    ----------
    name : str
        The user's name of the column.
    codes : ndarray of int, shape (row,)
        Index into `values`; -1 where the cell is missing.
    values : tuple of str
        Distinct texts without surrounding blanks, in order of first appearance.
    """

    name: str
    codes: np.ndarray
    values: tuple[str, ...]

    @property
    def given(self) -> np.ndarray:
        """Where the cell is not missing, bool, shape (row,)."""
        return self.codes >= 0

    def to_array(self) -> np.ndarray:
        """Spell the column out, shape (row,), with an empty text where it is missing."""
        return np.array([*self.values, ""], dtype=object)[self.codes]

    def rows_of(self, value: str) -> np.ndarray:
        """Row numbers that hold `value`."""
        return np.flatnonzero(self.codes == self.values.index(value))


@dataclass(frozen=True)
class Table:
    """A file or a frame before anything is interpreted.

    Attributes
    ----------
    source : str
        File name, or "data frame".
    separator : str
        In words: "comma", "tab", "semicolon", "white space"; empty for a frame.
    lines : ndarray of int, shape (row,)
        Line of every row in the file (header = line 1).
    original : DataFrame
        The user's rows and columns: text for a file, a copy for a frame.
    """

    source: str
    separator: str
    lines: np.ndarray
    original: pd.DataFrame

    @property
    def names(self) -> list[str]:
        """The user's column names."""
        return list(self.original.columns)

    def texts(self, name: str) -> Texts:
        """Column `name` as text, with missing cells recognised."""
        codes, distinct = pd.factorize(self.original[name])
        cleaned = [_as_text(value) for value in distinct]
        values = tuple(dict.fromkeys(text for text in cleaned if text not in MISSING))
        index = {text: code for code, text in enumerate(values)}
        lookup = np.array([*(index.get(text, -1) for text in cleaned), -1], dtype=np.int64)
        return Texts(name, lookup[codes], values)


def missing_remedy(code: object, column: str = "") -> str:
    """How to declare a code for missing cells, of one column or of all, on the command line and in Python."""
    given = f"{column}={code}" if column else str(code)
    shown = given if re.fullmatch(r"[\w.=-]+", given) else f'"{given}"'  # a shell splits at blanks
    said = f'{{"{column}": ["{code}"]}}' if column else f'["{code}"]'
    return f"--missing {shown} (in Python missing={said})"


def seldom(texts: Texts, odd: Iterable[str]) -> frozenset[str]:
    """Those of some odd values of a column that are rare enough to be proposed as codes for missing cells.

    Parameters
    ----------
    texts : Texts
        The column.
    odd : iterable of str
        Some of its distinct values.

    Returns
    -------
    frozenset of str
        A value counts together with those as rare as itself or rarer: six words for outcomes, each in a sixth of the
        rows, are none of them rare. A single cell always is.

    Examples
    --------
    >>> seldom(Texts("outcome", np.array([0] * 50 + [1] * 48 + [2] * 2), ("won", "lost", "NR")), ("won", "lost", "NR"))
    frozenset({'NR'})
    """
    counts = dict(zip(texts.values, np.bincount(texts.codes[texts.given]).tolist(), strict=True))
    values = sorted(odd, key=lambda value: counts[value])
    sizes = np.array([counts[value] for value in values], dtype=np.int64)
    together = np.cumsum(sizes)[np.searchsorted(sizes, sizes, side="right") - 1]
    few = (together <= _FREQUENT * len(texts.codes)) | (sizes == 1)
    return frozenset(value for value, is_few in zip(values, few, strict=True) if is_few)


def or_missing(values: Iterable[str], rare: Container[str], column: str = "") -> str:
    """Continue a remedy with how to declare odd values as missing; empty if none of them is rare (see `seldom`)."""
    codes = [value for value in values if value in rare]
    if not codes:
        return ""
    if len(codes) > 1:
        return f", or say that they mean so: {missing_remedy(codes[0], column)}, and so on"
    return f", or say that it means so: {missing_remedy(codes[0], column)}"


def _as_text(value: object) -> str:
    """Write a cell as it would stand in a file: 1 for True and 1.0, the shortest exact number otherwise."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value).strip()


def read_table(source: str | PathLike[str] | pd.DataFrame) -> Table:
    """Read a text file with a header, or take a data frame.

    Parameters
    ----------
    source : path or DataFrame
        A UTF-8 text file separated by commas, tabs, semicolons or white space; or a frame, which is
        copied. A frame with a default index gets the lines that it would have in a file.

    Returns
    -------
    Table

    Raises
    ------
    DataError
        If the file is absent, empty, not UTF-8 text, has one column, two columns of one name, or lines
        with another number of fields than the header.
    """
    if isinstance(source, pd.DataFrame):
        return _from_frame(source)
    path = Path(source)
    text = _decode(path)
    separator, rows, lines = _split(text, path.name)
    header = _header(_named(rows), path.name)
    body, body_lines = _body(rows[1:], lines[1:], header, separator, path.name)
    columns = [np.array(cells, dtype=object) for cells in zip(*body, strict=True)]
    original = pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=object)
    return Table(path.name, _SEPARATORS[separator], np.array(body_lines, dtype=np.int64), original)


def _from_frame(frame: pd.DataFrame) -> Table:
    names = [str(name) for name in frame.columns]
    original = frame.copy()
    original.columns = pd.Index(_header(names, "data frame"), dtype=object)
    whole = pd.api.types.is_integer_dtype(frame.index.dtype) and frame.index.is_unique
    if whole and len(frame) and frame.index.min() >= 0:
        # A filtered frame still points to the lines of the file that it was read from.
        lines = frame.index.to_numpy(dtype=np.int64) + 2
    else:
        lines = np.arange(len(frame), dtype=np.int64) + 2
    if frame.empty:
        raise DataError("the frame has no rows. One row per trial was expected.", "data frame")
    return Table("data frame", "", lines, original.reset_index(drop=True))


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}. Check the spelling and the folder you are in.") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}.", str(path)) from None
    if raw.startswith(b"PK\x03\x04"):
        raise DataError(
            "this is an Excel workbook (or another zip file), not text. Save the sheet as CSV UTF-8.",
            path.name,
        )
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError('the file is encoded as UTF-16; UTF-8 was expected. Save it as "CSV UTF-8".', path.name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig").splitlines() or [""]
        # What a Western Windows would make of it: readable in most cases, and never a control character.
        after = raw[error.start : error.start + 10].decode("cp1252", "replace").splitlines()
        problem = Problem(
            "error",
            f'the file is not encoded as UTF-8: byte {raw[error.start]:#04x} in "{before[-1][-15:]}{after[0]}".',
            'Save it as "CSV UTF-8" (a type of file in Excel\'s "Save as").',
            (len(before),),
        )
        raise DataError([problem], path.name) from None
    if "\x00" in text:
        raise DataError("this is not a text file. Save the data as CSV UTF-8.", path.name)
    # Excel names the separator in a line of its own, "sep=;"; left blank, it keeps the lines counted right.
    text = re.sub(r"\Asep=.(?=[\r\n])", "", text)
    if not text.strip():
        raise DataError("the file is empty. A header and one row per trial were expected.", path.name)
    return text


def _split(text: str, source: str) -> tuple[str, list[list[str]], list[int]]:
    """Split into rows of fields by the separator that gives the header most fields."""
    first = next(line for line in text.splitlines() if line.strip())
    fields = {mark: len(next(csv.reader([first], delimiter=mark))) for mark in "\t;,"}
    separator = max(fields, key=lambda mark: fields[mark])
    if fields[separator] == 1:
        if len(first.split()) == 1:
            raise DataError(
                f'only one column found: "{first.strip()[:60]}". '
                "Columns separated by comma, tab, semicolon or white space were expected. "
                "Save the file as CSV.",
                source,
            )
        separator = " "
    rows, lines = [], []
    if separator == " ":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=" ", skipinitialspace=True)
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    before = 0
    try:
        for row in reader:
            if separator == " ":
                row = [field for cell in row for field in cell.split("\t") if field]
            if row and any(field and not field.isspace() for field in row):
                rows.append(row)
                lines.append(before + 1)
            if reader.line_num > before + 1:
                raise csv.Error("a field goes on in the next line")
            before = reader.line_num
    except csv.Error:
        message = "a quotation mark is opened and not closed in this line."
        raise DataError([Problem("error", message, "Close or remove it.", (before + 1,))], source) from None
    return separator, rows, lines


def _named(rows: list[list[str]]) -> list[str]:
    """Return the header without the nameless, empty columns that spreadsheets leave at the end."""
    names = rows[0]
    n = len(names)
    while n and not names[n - 1].strip() and not any(cell.strip() for row in rows[1:] for cell in row[n - 1 :]):
        n -= 1
    return names[:n]


def _header(names: list[str], source: str) -> list[str]:
    """Names without blanks around them; unnamed columns are numbered, repeated names refused."""
    cleaned = [name.strip() or f"unnamed column {i}" for i, name in enumerate(names, 1)]
    repeated = [name for name, count in Counter(cleaned).items() if count > 1]
    if repeated:
        problem = Problem(
            "error",
            f"{'these columns occur' if len(repeated) > 1 else 'this column occurs'} more than once: "
            f"{listing(repeated, quote=True)}.",
            "Rename or remove the copies.",
            (1,),
        )
        raise DataError([problem], source)
    return cleaned


def _body(
    rows: list[list[str]], lines: list[int], header: list[str], separator: str, source: str
) -> tuple[list[list[str]], list[int]]:
    """Check that all rows are as long as the header, and return them with their lines."""
    if not rows:
        raise DataError("the file has a header and no rows. One row per trial was expected.", source)
    n = len(header)
    row_names = all(len(row) == n + 1 for row in rows)
    body, ragged = [], []
    for row, line in zip(rows, lines, strict=True):
        if len(row) > n and not any(field.strip() for field in row[n:]):
            row = row[:n]  # separators at the end of a line, as spreadsheets leave them
        if len(row) != n:
            ragged.append((line, len(row)))
        body.append(row)
    if not ragged:
        return body, lines
    raise DataError([_ragged_problem(ragged, len(rows), n, separator, row_names)], source)


def _ragged_problem(ragged: list[tuple[int, int]], n_rows: int, n: int, separator: str, row_names: bool) -> Problem:
    """Say which lines have too many or too few fields, and why that may be."""
    places = tuple(line for line, _ in ragged[:MAX_LINES])
    counts = {count for _, count in ragged}
    found = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    everywhere = len(ragged) == n_rows
    where = "every line has" if everywhere else f"{counted(len(ragged), 'line has', 'lines have')}"
    message = f"{where} {found} field{'s' if found != '1' else ''}, the header has {n}."
    if everywhere and counts == {1}:
        remedy = f"The header is separated by {_SEPARATORS[separator]}, the rows by something else: use one."
    elif row_names:
        remedy = (
            "This is what R writes with row names: use write.csv(..., row.names = FALSE), "
            "or give the first column a name."
        )
    elif min(counts) > n and separator == ",":
        remedy = (
            "A decimal comma, or a comma inside a text without quotation marks? Use a decimal point, "
            'or save with semicolons ("CSV, semicolon separated").'
        )
    elif separator == " ":
        remedy = "Blank cells cannot be seen in a file separated by white space: write NA, or save as CSV."
    else:
        remedy = "Add or remove the separators in these lines; a half-written file ends like this."
    return Problem("error", message, remedy, places)
