"""What labels of options and of cues are, and how they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from fitrl.data.findings import listing, nearest
from fitrl.errors import DataError

WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_RARE = 0.01  # of the responses: an option so seldom chosen may be a slip


def plain(label: object) -> str:
    """Write a label in one way: "1", "01" and "1.0" are the same whole number."""
    text = str(label).strip()
    return str(int(float(text))) if WHOLE.fullmatch(text) else text


def hardly_used(n: int, total: int) -> bool:
    """Whether a label in `n` of `total` responses may be a slip: one response, or fewer than 1 % of them."""
    return total >= 20 and (n == 1 or 0 < n < _RARE * total)


def codes_remedy(name: str, labels: Iterable[object]) -> str:
    """How to declare the options, in Python and on the command line."""
    options = list(labels)
    quoted = ", ".join(f'"{label}"' for label in options)
    joined = ",".join(str(label) for label in options)
    return f'codes={{"{name}": [{quoted}]}} (on the command line --codes "{name}={joined}")'


def declared_codes(codes: Mapping[str, Sequence[object]] | None, coded: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Check the labels that the user declared.

    Parameters
    ----------
    codes : mapping of str to sequence, optional
        Labels in the order of their codes, per column.
    coded : sequence of str
        Columns of the task that have labels.

    Returns
    -------
    dict of str to tuple of str

    Raises
    ------
    DataError
        If the column has no labels, or a label occurs twice.
    """
    declared = {}
    for name, labels in (codes or {}).items():
        if name not in coded:
            likely = nearest(name, coded)
            hint = f' Did you mean "{likely}"?' if likely else ""
            raise DataError(f'codes: "{name}" has no labels; {listing(coded, quote=True)} has.{hint}')
        if isinstance(labels, str):
            raise DataError(f'codes: the labels of "{name}" must be a list, like ["left", "right"].')
        plains = tuple(plain(label) for label in labels)
        repeated = sorted({label for label in plains if plains.count(label) > 1})
        if repeated:
            raise DataError(f'codes: {listing(repeated, quote=True)} occurs twice in "{name}".')
        declared[name] = plains
    return declared
