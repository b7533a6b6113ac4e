"""The catalogue of perturbations with published evidence: one file, checked when it is read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.state import unknown
from fitrl.perturb.perturbation import Perturbation

SECTIONS = {
    "parkinson": "Parkinson's disease",
    "dopamine": "Dopamine in the healthy and in animals",
    "other_drugs": "Serotonin, noradrenaline and other drugs",
    "lesions": "Lesions and stimulation",
    "disorders": "Disorders",
}


@dataclass(frozen=True)
class Preset:
    """Rows of the catalogue that belong to one question, the best supported first: alternatives, not one compound.

    Attributes
    ----------
    id, title : str
    rows : tuple of str
        Ids of perturbations.
    caution : str
        What to bear in mind with all of them.
    """

    id: str
    title: str
    rows: tuple[str, ...]
    caution: str


@dataclass(frozen=True)
class Catalogue:
    """Perturbations by section, and presets.

    Attributes
    ----------
    sections : dict of str to dict of str to Perturbation
    presets : dict of str to Preset
    """

    sections: dict[str, dict[str, Perturbation]]
    presets: dict[str, Preset]

    @property
    def rows(self) -> dict[str, Perturbation]:
        """All perturbations by id."""
        return {name: row for section in self.sections.values() for name, row in section.items()}


@cache
def catalogue() -> Catalogue:
    """Read the catalogue that comes with the package."""
    return read_catalogue(resources.files("fitrl.perturb").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def perturbation(name: str) -> Perturbation:
    """Find a perturbation of the catalogue.

    Parameters
    ----------
    name : str
        Its id; see `perturbations` or ``fitrl perturbations``.

    Raises
    ------
    ModelError
        If there is none of that name, or it is a preset.

    Examples
    --------
    >>> perturbation("pd_on_expression").evidence.grade
    'A'
    """
    found = catalogue()
    if name in found.presets:
        rows = ", ".join(found.presets[name].rows)
        raise ModelError(f"{name} is a set of alternatives, not one perturbation. Choose one of {rows}.")
    if name not in found.rows:
        raise ModelError(unknown("perturbation", name, [*found.rows, *found.presets]))
    return found.rows[name]


def perturbations(preset: str | None = None) -> list[Perturbation]:
    """List the perturbations of the catalogue, or those of a preset, the best supported first.

    Parameters
    ----------
    preset : str, optional
        parkinson_off, parkinson_on, addiction, schizophrenia, attention_deficit, depression, ocd or anxiety.

    Raises
    ------
    ModelError
        If there is no such preset.

    Examples
    --------
    >>> [p.id for p in perturbations("ocd")]
    ['compulsivity_mb', 'ocd_prl']
    """
    found = catalogue()
    if preset is None:
        return list(found.rows.values())
    if preset not in found.presets:
        raise ModelError(unknown("preset", preset, found.presets))
    return [found.rows[name] for name in found.presets[preset].rows]


def read_catalogue(text: str) -> Catalogue:
    """Read and check a catalogue.

    Parameters
    ----------
    text : str
        TOML: one array of tables per section, each row as `Perturbation.from_dict` takes it, with evidence;
        ``presets`` with title, rows and caution.

    Raises
    ------
    ModelError
        Names the row and the field that is wrong.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"the catalogue is not TOML: {error}.") from None
    presets = given.pop("presets", {})
    sections: dict[str, dict[str, Perturbation]] = {}
    seen: set[str] = set(presets)
    for section, rows in given.items():
        if section not in SECTIONS:
            raise ModelError(f"catalogue: {unknown('section', section, SECTIONS)}")
        sections[section] = {}
        for row in rows:
            made = Perturbation.from_dict(row, f"catalogue, {section}")
            if made.id in seen:
                raise ModelError(f'catalogue: there are two rows or presets "{made.id}".')
            if made.evidence is None or not made.title:
                raise ModelError(f'catalogue, {section} "{made.id}": a row needs a title and evidence.')
            seen.add(made.id)
            sections[section][made.id] = made
    ids = [name for rows in sections.values() for name in rows]
    return Catalogue(sections, {name: _preset(name, preset, ids) for name, preset in presets.items()})


def _preset(name: str, given: Mapping[str, Any], ids: list[str]) -> Preset:
    wanted = {f.name for f in fields(Preset)} - {"id"}
    if set(given) != wanted:
        raise ModelError(f"catalogue, preset {name}: it has {', '.join(given)}; expected {', '.join(sorted(wanted))}.")
    for row in given["rows"]:
        if row not in ids:
            raise ModelError(f"catalogue, preset {name}: {unknown('perturbation', row, ids)}")
    return Preset(name, given["title"], tuple(given["rows"]), given["caution"])
