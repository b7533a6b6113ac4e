"""What ``fitrl models`` prints: the list of models and traits, and the card of one model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fitrl.cli.output import print_out, reported
from fitrl.engine.trace import trace
from fitrl.errors import ModelError
from fitrl.language.model import Model, Trait
from fitrl.language.parameters import Option, Parameter
from fitrl.language.traits import TRAITS
from fitrl.models import ALIASES, CATALOGUE, find


def print_models(name: str | None = None) -> None:
    """Print the list of models and traits, or the card of one model; exit with status 2 if there is no such."""
    with reported():
        print_out(list_models() if name is None else card(name))


def list_models() -> RenderableType:
    """List the models and traits.

    Returns
    -------
    rich renderable
    """
    models = _table("model", "task", "parameters", "what it is, and whose")
    for name in CATALOGUE:
        model = find(name)
        others = [alias for alias, target in ALIASES.items() if target == name]
        label = Text(name, style="bold")
        if others:
            label.append("\nor " + ", ".join(others), style="dim not bold")
        what = Text(_first_line(model)).append(f"\n{model.reference}", style="dim")
        models.add_row(label, _task_name(model), "\n".join(model.parameters()) or "none", what)
    traits = _table("trait", "parameters", "options", "what it does")
    for name, cls in TRAITS.items():
        traits.add_row(
            Text(name, style="bold"), "\n".join(_trait_parameters(cls)), _trait_options(cls), _first_line(cls)
        )
    closing = (
        "One model in full:        fitrl models q_learning\n"
        "A fit:                    fitrl fit my.csv --model q_learning --out results\n"
        "The same with traits:     ... --with stickiness --with dual_alpha:by=outcome\n"
        "A model of your own:      ... --model my_model.py"
    )
    heading = Text("Traits, added to a model with --with NAME[:option=value,...]", style="bold underline")
    return Group(Text("Models", style="bold underline"), models, Text(), heading, traits, Text(), Text(closing))


def card(given: str) -> RenderableType:
    """Describe one model: equations, parameters, options, latents, columns, traits.

    Parameters
    ----------
    given : str
        Name in the zoo, or path of a model file.

    Returns
    -------
    rich renderable

    Raises
    ------
    ModelError
        If there is no such model.
    """
    model = find(given)
    parts: list[RenderableType] = [Text(model.label, style="bold underline"), Text(_paragraphs(model))]
    if model.reference:
        parts.append(Text(f"\nReference: {model.reference}"))
    parts += [_head("Parameters"), _parameters(model)]
    for heading, rows in (
        ("Options (--set name=value)", _options(type(model).option_declarations())),
        ("Latents, per trial (latents.csv)", [(n, e.description) for n, e in model.latents().items()]),
        (f"Columns of the data (task {_task_name(model)}; any names, see --column)", _columns(model.task)),
    ):
        if rows:
            parts += [_head(heading), _rows(rows)]
    fitting, others = _compatible(model)
    if fitting:
        parts += [_head("Traits that can be added (--with NAME)"), _rows(fitting)]
    if others:
        parts.append(Padding(Text(f"Not with this model: {', '.join(others)}.", style="dim"), (0, 0, 0, 2)))
    parts += [_head("Fit it"), Text(f"  fitrl fit my.csv --model {given} --out results")]
    return Group(*parts)


def _head(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _rows(rows: Iterable[tuple[str, str]]) -> Padding:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return Padding(grid, (0, 0, 0, 2))


def _first_line(documented: Any) -> str:
    cls = documented if isinstance(documented, type) else type(documented)
    return inspect.cleandoc(cls.__doc__ or "").split("\n")[0].replace("`", "")


def _paragraphs(model: Model) -> str:
    """Return the docstring with the lines of each paragraph joined, so that they fit any width."""
    doc = inspect.cleandoc(type(model).__doc__ or "no description").replace("`", "")
    parts = []
    for part in doc.split("\n\n"):
        is_section = "\n--" in part or part.startswith((" ", ">>>"))
        parts.append(part if is_section else " ".join(part.split()))
    return "\n\n".join(parts)


def _task_name(model: Model) -> str:
    task = model.task
    return (task if isinstance(task, type) else type(task)).__name__


def _trait_parameters(cls: type[Trait]) -> list[str]:
    """Names of the parameters under any setting of the options."""
    found: dict[str, None] = dict.fromkeys(cls().parameters())
    for name, option in cls.option_declarations().items():
        for choice in option.choices:
            found |= dict.fromkeys(cls(**{name: choice}).parameters())
    return list(found)


def _trait_options(cls: type[Trait]) -> str:
    return "\n".join(f"{n}={_settings(o)}" for n, o in cls.option_declarations().items()) or "-"


def _settings(option: Option) -> str:
    """Write what an option can be, the default first."""
    rest = [choice for choice in option.choices if choice != option.default]
    return "|".join(str(choice) for choice in [option.default, *rest]).lower()


def _options(declared: dict[str, Option]) -> list[tuple[str, str]]:
    rows = []
    for name, option in declared.items():
        default = "" if option.default is None else f" (default {option.default})"
        choices = f"; one of {', '.join(map(str, option.choices))}" if option.choices else ""
        rows.append((name, f"{option.description}{choices}{default}"))
    return rows


def _columns(task: Any) -> list[tuple[str, str]]:
    rows = [("subject", "who; recognised: subjID, ID, participant, ...")]
    for column in task.columns:
        also = f"; recognised: {', '.join(column.aliases)}" if column.aliases else ""
        optional = "" if column.required else "; optional"
        rows.append((column.name, f"{column.description}{also}{optional}"))
    rows.append(("session, block, trial", "where in the course of learning; optional"))
    rows.append(("forced", "1 where the choice was imposed: learned from, not scored; optional"))
    return rows


def _parameters(model: Model) -> RenderableType:
    declared = model.parameters()
    if not declared:
        return Text("  none: there is nothing to estimate")
    acts = _phases(model)
    rows = []
    for name, parameter in declared.items():
        several = ", one per option after the first" if parameter.per_option else ""
        text = (
            f"{parameter.description}{several}; {_range(parameter)} ({parameter.link} link)\n"
            f"prior on the link scale: location {parameter.location}, sd of subjects {parameter.scale}\n"
            f"so that the population median is {_prior(parameter)}"
        )
        acting = acts.get(f"{name}_1" if parameter.per_option else name)
        if acting is not None:
            text += f"\n{_PHASES[acting]}"
        rows.append((f"{name}_1, ..." if parameter.per_option else name, text))
    return _rows(rows)


_PHASES = {
    "learn": "acts in learning",
    "choose": "acts in choice",
    "both": "acts in learning and in choice",
}


def _phases(model: Model) -> dict[str, str]:
    """Return the phase of every parameter, for perturbations; empty for a task that is not known without data."""
    from fitrl.perturb.phases import example_task, phases  # imports NumPy, which the list of models need not wait for

    try:
        return phases(model, example_task(model))
    except ModelError:
        return {}


def _range(parameter: Parameter) -> str:
    if parameter.link == "identity":
        return "any real number"
    if math.isinf(parameter.upper):
        return f"above {parameter.lower:g}"
    return f"{parameter.lower:g} to {parameter.upper:g}"


def _prior(parameter: Parameter) -> str:
    """Say in words where the prior puts the population median, on the natural scale."""
    from fitrl.hierarchy.links import natural  # imports SciPy, which the list of models need not wait for

    prior = parameter.location
    if prior.family != "normal":
        return f"the link of {prior}"
    mean, sd = prior.args
    eta = [mean, mean - 1.96 * sd, mean + 1.96 * sd]
    middle, low, high = (f"{float(end):.2g}" for end in natural(eta, parameter.link, parameter.lower, parameter.upper))
    return f"about {middle}, with 95 % probability {low} to {high}"


def _compatible(model: Model) -> tuple[list[tuple[str, str]], list[str]]:
    """Try every trait on the model: those that can be traced, and the names of the others."""
    fitting, others = [], []
    for name, cls in TRAITS.items():
        if any(o.default == "" for o in cls.option_declarations().values()):
            continue  # it needs to be told of which parameter
        try:
            trace(model.with_(cls()), _some_task(model))
        except ModelError:
            others.append(name)
            continue
        fitting.append((name, _first_line(cls)))
    return fitting, others


def _some_task(model: Model) -> Any:
    """Make a task of two options to try the model on."""
    if not isinstance(model.task, type):
        return model.task
    task: Any = model.task
    try:
        return task(has_forgone=True)
    except TypeError:  # another task: as it is played, since only then it knows how many cues there are
        try:
            return task.play(2, 1, np.random.default_rng(0))[0]
        except ModelError:
            return task()
