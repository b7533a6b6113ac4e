"""Reads the repeated options of the command line: ``name=value``, traits, labels, scales."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fitrl.errors import FitrlError

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


class UsageError(FitrlError):
    """An option of the command line that cannot be read."""


def value(text: str) -> Any:
    """Read a value: a whole number, a number, true, false, none, else the text itself.

    Examples
    --------
    >>> value("3"), value("0.5"), value("True"), value("q0")
    (3, 0.5, True, 'q0')
    """
    text = text.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Read ``name=value`` options.

    Parameters
    ----------
    texts : iterable of str
        What was given.
    option, example : str
        Name of the option and an example of its use, for the error message.

    Returns
    -------
    dict of str to str

    Raises
    ------
    UsageError
        If a text has no "=", an empty side, or a name comes twice.

    Examples
    --------
    >>> pairs(["subject=ID"], "--column", "--column subject=ID")
    {'subject': 'ID'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, content = (part.strip() for part in text.partition("="))
        if not sign or not name or not content:
            raise UsageError(f'{option} "{text}" cannot be read. Write it like {example}.')
        if name in found:
            raise UsageError(f"{option} {name}=... was given twice. Give it once.")
        found[name] = content
    return found


def values(texts: Iterable[str], option: str, example: str) -> dict[str, Any]:
    """Read ``name=value`` options whose values may be numbers, true, false or none."""
    return {name: value(content) for name, content in pairs(texts, option, example).items()}


def numbers(texts: Iterable[str], option: str, example: str) -> dict[str, float]:
    """Read ``name=number`` options.

    Raises
    ------
    UsageError
        If a value is no number.
    """
    found = {}
    for name, content in pairs(texts, option, example).items():
        try:
            found[name] = float(content)
        except ValueError:
            raise UsageError(f'{option} {name}: "{content}" is not a number. Write it like {example}.') from None
    return found


def traits(texts: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Read ``TRAIT`` or ``TRAIT:option=value,...`` into names with options.

    Raises
    ------
    UsageError
        If an option of a trait cannot be read.

    Examples
    --------
    >>> traits(["stickiness", "dual_alpha:by=outcome"])
    [('stickiness', {}), ('dual_alpha', {'by': 'outcome'})]
    """
    found = []
    for text in texts:
        name, colon, options = text.partition(":")
        parts = options.split(",") if colon else []
        found.append((name.strip(), values(parts, f"--with {name}:", f"--with {name}:option=value")))
    return found


def effect(given: str | None, on: str | None, against: str | None) -> dict[str, Any] | None:
    """Read the perturbation that a fit is to estimate, and the rows that are under it.

    Returns
    -------
    dict or None
        ``perturbation``, ``on`` and ``against``, as `fitrl.estimate` takes them.

    Raises
    ------
    UsageError
        If one of ``--effect`` and ``--on`` is given without the other.
    """
    if given is None and on is None and against is None:
        return None
    if given is None or on is None:
        raise UsageError("--effect and --on go together: --effect FILE.json --on drug=haloperidol.")
    from fitrl.cli.perturb import find_perturbations

    (found,) = find_perturbations([given])
    return {"perturbation": found, "on": pairs([on], "--on", "--on drug=haloperidol"), "against": against}


def sizes(text: str, option: str) -> list[int]:
    """Read whole numbers with commas between them.

    Raises
    ------
    UsageError
        If one of them is none.

    Examples
    --------
    >>> sizes("20,40", "--subjects")
    [20, 40]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f'{option} "{text}" cannot be read. Write whole numbers like {option} 20,40.') from None


def labels(texts: Iterable[str]) -> dict[str, list[str]]:
    """Read ``column=label,label`` options.

    Examples
    --------
    >>> labels(["choice=left,right"])
    {'choice': ['left', 'right']}
    """
    found = pairs(texts, "--codes", "--codes choice=left,right")
    return {name: [label.strip() for label in content.split(",")] for name, content in found.items()}


def missing(texts: Iterable[str]) -> dict[str, list[str]]:
    """Read codes for missing cells: of all columns, or ``column=code`` of one.

    Examples
    --------
    >>> missing(["-1", "choice=NR"])
    {'*': ['-1'], 'choice': ['NR']}
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        column, sign, code = text.partition("=")
        found.setdefault(column.strip() if sign else "*", []).append((code if sign else column).strip())
    return found


def scale(text: str | None) -> float | str | None:
    """Read an outcome scale: a number, or "raw".

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text is None or text == "raw":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f'--outcome-scale "{text}" is neither a number nor raw. Give what outcomes are to be divided by, '
            "such as 100."
        ) from None
