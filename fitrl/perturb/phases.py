"""Which phase a parameter belongs to, found from the text of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fitrl.engine.trace import IN_LEARNING, Program, trace
from fitrl.errors import ModelError
from fitrl.language.model import Model
from fitrl.language.state import unknown
from fitrl.language.symbols import walk


def phases(model: Model, task: Any) -> dict[str, str]:
    """Say for each fitted parameter whether it acts in choice, in learning, or in both.

    A parameter acts in choice if what is emitted in a trial depends on it with the state before the trial as given;
    in learning if the next state, or the state at the start, depends on it with the choices as given. An author may
    pin one of the two in the class: ``phases = {"alpha": "learn"}``; it then takes one value everywhere.

    Parameters
    ----------
    model : Model
        With its traits.
    task : Task
        Configured.

    Returns
    -------
    dict of str to {"learn", "choose", "both"}

    Raises
    ------
    ModelError
        If the text cannot be traced, or a pin names no parameter or no phase.

    Notes
    -----
    The model is traced with two copies of every parameter, in the same way in which it is run when the two differ:
    what is found is what happens. Where values change between two choices of one trial, the rate of that change acts
    in choice as well.

    Examples
    --------
    >>> from fitrl.models import q_learning
    >>> from fitrl.tasks import Bandit
    >>> phases(q_learning, Bandit())
    {'alpha': 'learn', 'beta': 'choose'}
    """
    names = list(model.fitted(task))
    program = trace(model, task, split=names)
    in_choice = _parameters(program.log_probability.values())
    in_learning = _parameters(_next_state(program))
    found = {}
    for name in names:
        learns, chooses = IN_LEARNING.format(name) in in_learning, name in in_choice
        found[name] = "both" if learns and chooses else "learn" if learns else "choose"
    for name, phase in model.phases.items():
        if name not in found:
            raise ModelError(f"{model.label}, phases: {unknown('parameter', name, names)}")
        if phase not in ("learn", "choose"):
            raise ModelError(f'{model.label}, phases: {name} is pinned to {phase!r}; it can be "learn" or "choose".')
        found[name] = phase
    return found


def driven(model: Model, task: Any, parameter: str) -> tuple[str, ...]:
    """Name the state fields whose change depends directly on a parameter.

    Parameters
    ----------
    model, task
        The model and the configured task.
    parameter : str
        Fitted parameter.
    """
    program = trace(model, task, split=[parameter])
    wanted = IN_LEARNING.format(parameter)
    found: dict[str, None] = {}
    for (name, _), after in zip(program.cells, program.after, strict=True):
        if wanted in _parameters([after]):
            found[name] = None
    for name, field in program.tables.items():
        if wanted in _parameters(value for _, value in field.writes):
            found[name] = None
    return tuple(found)


def _next_state(program: Program) -> list[Any]:
    written = [value for field in program.tables.values() for _, value in field.writes]
    return [*program.start, *program.after, *written]


def _parameters(roots: Iterable[Any]) -> set[str]:
    return {symbol.args[0] for symbol in walk(roots) if symbol.op == "parameter"}


def example_task(model: Model) -> Any:
    """Configure the task of a model without data, as it is in a simulation.

    Raises
    ------
    ModelError
        If the task can neither be played nor made without arguments.
    """
    rng = np.random.default_rng(0)
    for outcome_range in ((0.0, 1.0), (-1.0, 1.0)):
        try:
            task, _ = model.task.play(2, 1, rng, outcome_range=outcome_range)
            model.start_state(model.bind(dict.fromkeys(model.fitted(task), 0.5), task), task)
        except ModelError:
            continue
        return task
    try:
        return model.task() if isinstance(model.task, type) else model.task
    except TypeError:
        raise ModelError(f"the task of {model.label} is not known without data.") from None
