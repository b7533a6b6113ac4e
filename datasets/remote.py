"""Data sets on the web: downloaded once, checked against a checksum, read like any other file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fitrl.errors import DataError

if TYPE_CHECKING:
    from fitrl.data import Trials

_REQUIRED = ("url", "sha256", "licence", "citation", "model")
_READING = ("columns", "codes", "missing", "outcome_scale", "reset")


@dataclass(frozen=True)
class Entry:
    """A data set on the web.

    Attributes
    ----------
    name : str
        By which it is fetched.
    url : str
        Address of one file, one row per trial.
    sha256 : str
        Checksum of the file, 64 hexadecimal digits.
    licence, citation : str
        Under which terms it may be used, and whom to cite.
    model : str
        A model of its task, which says what the columns mean.
    reading : mapping
        Arguments of `fitrl.read_trials`: columns, codes, missing, outcome_scale, reset.
    """

    name: str
    url: str
    sha256: str
    licence: str
    citation: str
    model: str
    reading: Mapping[str, Any] = field(default_factory=dict)


def registered(registry: str | PathLike[str] | None = None) -> dict[str, Entry]:
    """Return the data sets that can be fetched.

    Parameters
    ----------
    registry : path, optional
        A TOML file of the form of ``registry.toml`` in this folder, which is the default.

    Returns
    -------
    dict of str to Entry
        By name.

    Raises
    ------
    DataError
        If the file cannot be read, or an entry is incomplete.
    """
    path = Path(str(resources.files(__package__) / "registry.toml") if registry is None else registry)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the registry {path} cannot be read ({error.strerror or error}). Name a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the registry {path} is no TOML: {error}. Write it like fitrl's registry.toml.") from None
    return {name: _entry(name, table, path) for name, table in tables.items()}


def fetch(
    name: str, *, registry: str | PathLike[str] | None = None, folder: str | PathLike[str] | None = None
) -> Trials:
    """Download a data set, check it, and read it.

    A file that was downloaded before and is intact is not downloaded again.

    Parameters
    ----------
    name : str
        One of `registered`.
    registry : path, optional
        A list of data sets of one's own, see ``registry.toml`` in this folder for its form.
    folder : path, optional
        Where the file is kept; by default the cache folder of the user.

    Returns
    -------
    Trials

    Raises
    ------
    DataError
        If there is no such data set, pooch is not installed, the file cannot be downloaded, or it is not the one whose
        checksum was registered.

    Examples
    --------
    >>> trials = fitrl.datasets.fetch("our_study", registry="our_registry.toml")  # doctest: +SKIP
    """
    from fitrl.data import read_trials

    entries = registered(registry)
    if name not in entries:
        known = f"There are: {', '.join(entries)}." if entries else "It is empty."
        raise DataError(
            f'the registry has no data set "{name}". {known} Give a registry of your own with registry=FILE.toml; '
            "data sets that come with fitrl are read with fitrl.datasets.load."
        )
    entry = entries[name]
    return read_trials(_download(entry, folder), entry.model, **entry.reading)


def _download(entry: Entry, folder: str | PathLike[str] | None) -> Path:
    try:
        import pooch
    except ModuleNotFoundError:
        raise DataError(
            "downloading data sets needs the package pooch, which is not installed. Install it with: pip install pooch"
        ) from None
    name = f"{entry.name}{Path(urlsplit(entry.url).path).suffix}"
    path = Path(pooch.os_cache("fitrl") if folder is None else folder)
    try:
        return Path(pooch.retrieve(entry.url, known_hash=f"sha256:{entry.sha256}", fname=name, path=path))
    except OSError as error:  # what requests raises, too
        raise DataError(f"{entry.name} cannot be downloaded from {entry.url} ({error}). Is it reachable?") from None
    except ValueError as error:
        raise DataError(
            f"the file at {entry.url} is not the one that was registered as {entry.name}: {error} Do not use it; the "
            "source has changed, or the download is damaged."
        ) from None


def _entry(name: str, table: Any, path: Path) -> Entry:
    where = f"the data set {name} in {path.name}"
    if not isinstance(table, dict):
        raise DataError(f"{where} is no table; expected [{name}] with {', '.join(_REQUIRED)} below it.")
    missing = [key for key in _REQUIRED if not isinstance(table.get(key), str) or not table[key]]
    if missing:
        raise DataError(f"{where} has no {', '.join(missing)}; expected text for each of {', '.join(_REQUIRED)}.")
    strange = [key for key in table if key not in (*_REQUIRED, *_READING)]
    if strange:
        raise DataError(f"{where} has {', '.join(strange)}, which means nothing; known are {', '.join(_READING)}.")
    if not re.fullmatch("[0-9a-fA-F]{64}", table["sha256"]):
        raise DataError(f"the sha256 of {where} is no checksum of 64 hexadecimal digits. Take it with sha256sum FILE.")
    if urlsplit(table["url"]).scheme not in ("http", "https"):
        raise DataError(f'the url of {where} is "{table["url"]}"; expected an address that starts with https://.')
    return Entry(
        name,
        **{key: table[key] for key in _REQUIRED},
        reading={key: table[key] for key in _READING if key in table},
    )
