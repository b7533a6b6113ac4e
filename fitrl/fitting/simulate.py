"""Synthetic agents: play a task with known parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fitrl.data import Trials, read_trials
from fitrl.engine.run import play
from fitrl.errors import ModelError
from fitrl.hierarchy.links import link_of, natural
from fitrl.hierarchy.plan import population_start
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown
from fitrl.models import declare


@dataclass(frozen=True)
class Simulation:
    """Choices of synthetic agents, and the parameters behind them.

    Attributes
    ----------
    model : Model
        What the agents are.
    frame : DataFrame
        One row per trial, as a lab's file has it; `fitrl.read_trials` reads it back.
    truth : DataFrame
        Columns subject, parameter, value (natural scale).
    """

    model: Model
    frame: pd.DataFrame
    truth: pd.DataFrame

    @cached_property
    def trials(self) -> Trials:
        """The frame, read and checked."""
        return read_trials(self.frame, self.model)


def simulate(
    model: Any,
    *,
    subjects: int = 20,
    trials: int = 100,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    environment: Any = None,
    n_options: int | None = None,
    outcome_range: tuple[float, float] = (0.0, 1.0),
    parameters: pd.DataFrame | Mapping[str, Any] | None = None,
    random_seed: Any = None,
) -> Simulation:
    """Let synthetic agents play the task of their model.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model.
    subjects, trials : int
        Number of agents, and of trials each.
    traits, options
        As in `fitrl.fit`.
    environment : str, environment or World, optional
        How payoffs come about. Bandits: "fixed" (the default), "reversing", "drifting", "pairs" or an object of
        `fitrl.tasks.environments`; two-step tasks: "drifting" (the default) or "fixed". For a task of your own, a
        `fitrl.tasks.World` of this size.
    n_options : int, optional
        Number of options where the environment is given by name: payoffs spread from 0.7 to 0.3 (0.8 to 0.2 for
        reversing ones).
    outcome_range : (float, float)
        The two outcomes, (0, 1) or (-1, 1).
    parameters : DataFrame or mapping, optional
        A truth table (columns subject, parameter, value), or a value or array per parameter. By default agents
        come from a population whose central 95 % cover each parameter's usual range.
    random_seed : int or Generator, optional
        One seed gives one data set.

    Returns
    -------
    Simulation

    Raises
    ------
    ModelError
        For an unknown model, environment or parameter, or a value outside of its range.

    Examples
    --------
    >>> import fitrl
    >>> fitrl.simulate("q_learning", subjects=3, trials=5, random_seed=1).frame.shape[0]
    15
    """
    found = declare(model, traits, options)
    if subjects < 1 or trials < 1:
        raise ModelError(f"a simulation needs at least one subject and one trial, not {subjects} and {trials}.")
    rng = np.random.default_rng(random_seed)
    task, world = found.task.play(
        trials, subjects, rng, environment=environment, n_options=n_options, outcome_range=outcome_range
    )
    names = [str(i + 1) for i in range(subjects)]
    if parameters is None:
        values = draw_population(found.fitted(task), subjects, rng)
    else:
        values, names = _given(parameters, found.fitted(task), subjects, names)
    emitted = play(found, task, world, values, rng)
    truth = pd.DataFrame({"subject": names}).assign(**values).melt("subject", var_name="parameter", value_name="value")
    return Simulation(found, _frame(world.table(task, emitted), names), truth)


def draw_population(parameters: Mapping[str, Parameter], n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw subjects whose central 95 % cover the usual range of every parameter.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Natural-scale values.
    """
    drawn = {}
    for name, p in parameters.items():
        low, high = link_of(np.array(p.usual), p.link, p.lower, p.upper)
        eta = population_start(p) + (high - low) / (2 * 1.96) * rng.normal(size=n)
        drawn[name] = natural(eta, p.link, p.lower, p.upper)
    return drawn


def _given(
    given: pd.DataFrame | Mapping[str, Any], parameters: Mapping[str, Parameter], n: int, names: list[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Take parameter values from a truth table or a mapping, checked against the model's ranges."""
    if isinstance(given, pd.DataFrame):
        missing = {"subject", "parameter", "value"} - set(given.columns)
        if missing:
            raise ModelError(f"a truth table has the columns subject, parameter, value; missing: {', '.join(missing)}.")
        wide = given.pivot(index="subject", columns="parameter", values="value").reindex(given["subject"].unique())
        if len(wide) != n:
            raise ModelError(f"the truth table has {len(wide)} subjects, but {n} were asked for.")
        names = [str(s) for s in wide.index]
        given = {str(name): wide[name].to_numpy() for name in wide}
    for name in (*given, *parameters):
        if name not in parameters:
            raise ModelError(unknown("parameter", name, parameters))
        if name not in given:
            raise ModelError(f"no value was given for {name}; the model needs {', '.join(parameters)}.")
    values = {name: np.broadcast_to(np.asarray(given[name], float), (n,)) for name in parameters}
    for name, p in parameters.items():
        outside = ~((values[name] >= p.lower) & (values[name] <= p.upper))
        if outside.any():
            raise ModelError(
                f"{name} = {values[name][outside][0]:g} is outside of its range {p.lower:g} to {p.upper:g}."
            )
    return values, names


def _frame(columns: Mapping[str, np.ndarray], names: list[str]) -> pd.DataFrame:
    """One row per agent and trial; columns have shape (trial, agent)."""
    n_trials = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        {"subject": np.repeat(names, n_trials), "trial": np.tile(np.arange(1, n_trials + 1), len(names))}
    )
    return frame.assign(**{name: values.T.reshape(-1) for name, values in columns.items()})
