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
from fitrl.tasks.environments import ENVIRONMENTS, BanditWorld, Drifting, play_bandit


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
    environment: Any = "fixed",
    n_options: int | None = None,
    outcome_range: tuple[float, float] = (0.0, 1.0),
    parameters: pd.DataFrame | Mapping[str, Any] | None = None,
    random_seed: Any = None,
) -> Simulation:
    """Let synthetic agents play a bandit.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model.
    subjects, trials : int
        Number of agents, and of trials each.
    traits, options
        As in `fitrl.fit`.
    environment : {"fixed", "reversing", "drifting", "pairs"} or an environment
        How payoffs come about; see `fitrl.tasks.environments`.
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
    task, world = play_bandit(_environment(environment, n_options), trials, subjects, rng, outcome_range)
    names = [str(i + 1) for i in range(subjects)]
    if parameters is None:
        values = draw_population(found.fitted(task), subjects, rng)
    else:
        values, names = _given(parameters, found.fitted(task), subjects, names)
    emitted = play(found, task, world, values, rng)
    truth = pd.DataFrame({"subject": names}).assign(**values).melt("subject", var_name="parameter", value_name="value")
    return Simulation(found, _frame(task, world, emitted, names), truth)


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


def _environment(environment: Any, n_options: int | None) -> Any:
    if not isinstance(environment, str):
        return environment
    if environment not in ENVIRONMENTS:
        raise ModelError(unknown("environment", environment, ENVIRONMENTS))
    kind = ENVIRONMENTS[environment]
    if n_options is None:
        return kind()
    if n_options < 2 or (environment == "pairs" and n_options % 2):
        raise ModelError(f"{environment} with {n_options} options cannot be played; give 2 or more (pairs: even).")
    if kind is Drifting:
        return Drifting(n_options)
    if environment == "pairs":
        best = np.linspace(0.8, 0.6, n_options // 2)
        return kind(tuple(np.round(np.stack([best, 1 - best], axis=1).ravel(), 3).tolist()))
    top = 0.8 if environment == "reversing" else 0.7
    return kind(tuple(np.round(np.linspace(top, 1 - top, n_options), 3).tolist()))


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


def _frame(task: Any, world: BanditWorld, emitted: Mapping[str, np.ndarray], names: list[str]) -> pd.DataFrame:
    """One row per agent and trial, in the columns that a lab would have."""
    n_trials, n_agents = world.n_trials, world.n_agents
    labels = np.array(task.labels, dtype=object)

    def long(values: np.ndarray) -> np.ndarray:
        return np.asarray(values).T.reshape(-1)

    frame = pd.DataFrame(
        {"subject": np.repeat(names, n_trials), "trial": np.tile(np.arange(1, n_trials + 1), n_agents)}
    )
    if world.offered is not None:
        for j in range(world.offered.shape[1]):
            frame[f"option_{j + 1}"] = labels[long(world.offered[:, j])]
    frame["choice"] = labels[long(emitted["choice"])]
    shown = long(world.shown)
    answers = {"outcome": world_outcome(world, emitted["choice"])}
    if "outcome_forgone" in emitted:
        answers["outcome_forgone"] = emitted["outcome_forgone"]
    for name, values in answers.items():
        frame[name] = np.where(shown, long(values), np.nan)
    if world.payoffs is not None:
        for j in range(world.payoffs.shape[1]):
            frame[f"payoff_{j + 1}"] = long(world.payoffs[:, j]).round(6)
    return frame


def world_outcome(world: BanditWorld, choice: np.ndarray) -> np.ndarray:
    """Outcome of the chosen option in every trial, shape (trial, agent), also for models that do not look."""
    return np.stack([world.at(i).answer("outcome", {"choice": choice[i]}) for i in range(world.n_trials)])
