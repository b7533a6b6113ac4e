"""What ``fitrl perturbations`` and ``fitrl simulate --perturb`` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fitrl.cli.output import print_out
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language.model import Model, Trait
from fitrl.language.state import unknown
from fitrl.language.traits import TRAITS
from fitrl.models import CATALOGUE, find
from fitrl.perturb.catalogue import SECTIONS, Preset, catalogue, perturbation
from fitrl.perturb.perturbation import GRADES, Perturbation, read_perturbation
from fitrl.perturb.phases import example_task

if TYPE_CHECKING:
    from fitrl.perturb.population import Population

_CAUTION = (
    "A row is a group average on one task under one model: a hypothesis to simulate, not a constant of nature. Nothing "
    "here is clinical advice."
)


def find_perturbations(given: Iterable[str]) -> list[Perturbation]:
    """Find perturbations by id, or read them from JSON files."""
    return [read_perturbation(name) if name.endswith(".json") else perturbation(name) for name in given]


def print_perturbations(name: str | None = None) -> None:
    """Print the catalogue, a row of it, or a preset.

    Raises
    ------
    ModelError
        If there is no such row.
    """
    if name is None:
        print_out(_list())
        return
    found = catalogue()
    if name in found.presets:
        print_out(_preset(found.presets[name]))
    elif name in found.rows:
        print_out(_card(found.rows[name]))
    else:
        raise ModelError(unknown("perturbation", name, [*found.rows, *found.presets]))


def print_used(people: Population) -> None:
    """Say what was done to the agents of a simulation, with grade, contradictions and where the size comes from."""
    for p in people.perturbations:
        head = Text("\nPerturbed: ").append(p.caption(), style="bold")
        print_out(Group(head, *against(p)))
    lines = Table.grid(padding=(0, 2))
    before = people.agents.values
    for effect in people.perturbed.effects:
        after = people.perturbed.in_phase("learn" if effect.phase == "learn" else "choose").get(effect.param)
        where = {"both": "", "learn": "in learning", "choose": "in choice"}[effect.phase]
        median = f"median {np.median(before[effect.param]):.3g}"
        median += " -> gone" if after is None else f" -> {np.median(after):.3g}"
        lead = "" if effect.param == effect.target.param else f"{effect.param} in the place of "
        lines.add_row(f"  {lead}{effect.target.describe()}", where, median)
    if people.perturbed.effects:
        print_out(lines)


def _list() -> RenderableType:
    parts: list[RenderableType] = []
    found = catalogue()
    for section, rows in found.sections.items():
        parts += [Text(f"\n{SECTIONS[section]}", style="bold underline"), _rows(rows.values())]
    presets = Table.grid(padding=(0, 2))
    for preset in found.presets.values():
        presets.add_row(Text(preset.id, style="bold"), preset.title, Text(", ".join(preset.rows), style="dim"))
    closing = (
        "\nGrades: " + "; ".join(f"{grade} {meaning}" for grade, meaning in GRADES.items()) + ". A * marks an "
        "illustrative size: none was published, so that it is half a standard deviation.\n" + _CAUTION + "\n\n"
        "One in full:     fitrl perturbations pd_on_expression\n"
        "A simulation:    fitrl simulate --model opal --set asymmetry=both --perturb pd_on_expression --out sim.csv"
    )
    return Group(*parts, Text("\nPresets: alternatives for a question", style="bold underline"), presets, Text(closing))


def _rows(rows: Iterable[Perturbation]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("id", "grade", "against", "changes", "what it is"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for p in rows:
        if p.evidence is None:
            continue
        star = "*" if p.illustrative else ""
        against = str(len(p.evidence.contra)) if p.evidence.contra else "-"
        changes = "\n".join(target.describe() + star for target in p.targets)
        table.add_row(Text(p.id, style="bold"), p.evidence.grade, against, changes, p.title)
    return table


def _preset(preset: Preset) -> RenderableType:
    rows = catalogue().rows
    return Group(
        Text(preset.title, style="bold underline"),
        Text(f"{preset.caution} The rows are alternatives, not one compound.\n"),
        _rows(rows[name] for name in preset.rows),
        Text(f"\nA * marks an illustrative size. {_CAUTION}"),
    )


def _card(p: Perturbation) -> RenderableType:
    evidence = p.evidence
    if evidence is None:
        raise ModelError(f"{p.id} has no evidence.")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    where = {"learn": "in learning", "choose": "in choice", "both": "wherever the parameter acts"}
    for i, target in enumerate(p.targets):
        instead = f"; else {' or '.join(target.stand_ins)}" if target.stand_ins else ""
        text = f"{target.describe()}, {where[target.phase or p.phase]}{instead}"
        grid.add_row("changes" if i == 0 else "", text)
    if p.moderator is not None:
        m = p.moderator
        grid.add_row("moderator", f"{m.measure} (standardised): the shift times {m.m0:g} {m.m1:+g} z")
    size = "illustrative: half a between-subject sd, for none was published" if p.illustrative else "as published"
    if any(target.mode not in ("shift", "scale") for target in p.targets):
        size = "complete" + (", as an illustration" if p.illustrative else "")
    grid.add_row("size", size)
    grid.add_row("grade", f"{evidence.grade}: {GRADES[evidence.grade]}")
    grid.add_row("design", evidence.design)
    grid.add_row("sources", "\n".join(evidence.sources))
    grid.add_row("read", "the abstract" if evidence.read == "abstract" else "the figure, caption or text")
    grid.add_row("against", "\n".join(evidence.contra) or "nothing found")
    if evidence.note:
        grid.add_row("note", evidence.note)
    grid.add_row("models", _takers(p))
    title = Text(p.id, style="bold underline").append(f"  {p.title}", style="not underline")
    return Group(title, Padding(grid, (1, 0, 1, 2)), Text(_CAUTION, style="dim"))


def against(p: Perturbation) -> list[Text]:
    """Say what speaks against a perturbation, one line each."""
    if p.evidence is None:
        return []
    return [Text(f"  against: {text}", style="yellow") for text in p.evidence.contra]


def _takers(p: Perturbation) -> str:
    """Name the models of the zoo that have every parameter: as they are, with another option, or with traits."""
    found = []
    for name in CATALOGUE:
        settings = [{option: choice} for option, choice in _choices(type(find(name)))]
        fitting = [told for options in ({}, *settings) if (told := _with_traits(p, name, options)) is not None]
        if fitting:
            stand_ins, text = min(fitting, key=lambda told: told[0])
            found.append(f"{text} (with a stand-in)" if stand_ins else text)
    return "\n".join(found) or "none of the zoo yet; a model file of your own with these parameters"


def _choices(declared: type[Model | Trait]) -> list[tuple[str, Any]]:
    """List the values of options other than the default, where there is a choice."""
    options = declared.option_declarations().items()
    return [(name, choice) for name, option in options for choice in option.choices if choice != option.default]


def _with_traits(p: Perturbation, name: str, options: dict[str, Any]) -> tuple[int, str] | None:
    """Say how a model is told to have every parameter of a perturbation, after the number of stand-ins among them.

    None if it cannot have them.
    """
    model = find(name, **options)
    traits: dict[str, Trait] = {}
    for target in p.targets:
        names = (target.param, *target.stand_ins)
        if not any(n in model.parameters() for n in names):
            bringing = next((found for n in names if (found := _bringing(n)) is not None), None)
            if bringing is None:
                return None
            traits[bringing[0]] = bringing[1]
    try:
        made = model.with_(*traits.values())
        trace(made, example_task(made))
    except ModelError:
        return None
    told = [f"--set {option}={value}" for option, value in options.items()]
    stand_ins = sum(target.param not in made.parameters() for target in p.targets)
    return stand_ins, " ".join([name, *told, *[f"--with {trait}" for trait in traits]])


def _bringing(parameter: str) -> tuple[str, Trait] | None:
    """Find the trait that brings a parameter, and how it is written."""
    for name, cls in TRAITS.items():
        for options in ({}, *[{option: choice} for option, choice in _choices(cls)]):
            trait = cls(**options)
            if parameter in trait.parameters():
                return ":".join([name, *[f"{option}={value}" for option, value in options.items()]]), trait
    return None
