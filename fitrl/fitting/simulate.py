"""Synthetic agents: play a task with known parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.data import Trials, read_trials
from fitrl.engine.run import play
from fitrl.engine.trace import IN_LEARNING
from fitrl.errors import ModelError
from fitrl.fitting.truth import from_fit, from_prior, task_settings
from fitrl.hierarchy.links import link_of, natural
from fitrl.hierarchy.plan import population_start
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown
from fitrl.models import declare
from fitrl.tasks.task import Task

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


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
    task : Task
        The task that was played.
    """

    model: Model
    frame: pd.DataFrame
    truth: pd.DataFrame
    task: Task

    @cached_property
    def trials(self) -> Trials:
        """The frame, read and checked; options that nobody chose are known from the task."""
        labels = dict(self.task.codings)
        if self.task.choices():
            labels.setdefault(self.task.choices()[0], self.task.labels)
        codes = {name: list(options) for name, options in labels.items() if name in self.frame}
        return read_trials(self.frame, self.model, codes=codes or None)


def simulate(
    model: Any = None,
    *,
    subjects: int = 20,
    trials: int = 100,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    environment: Any = None,
    n_options: int | None = None,
    outcome_range: tuple[float, float] | None = None,
    parameters: pd.DataFrame | Mapping[str, Any] | str | Fit | None = None,
    random_seed: Any = None,
) -> Simulation:
    """Let synthetic agents play the task of their model.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model. Left out where `parameters` is a fit.
    subjects, trials : int
        Number of agents, and of trials each.
    traits, options
        As in `fitrl.fit`.
    environment : str, environment or World, optional
        How payoffs come about. Bandits: "fixed" (the default), "reversing", "volatile", "drifting", "pairs", "decks"
        or an object of `fitrl.tasks.environments`; two-step tasks: "drifting" (the default) or "fixed". For a task
        of your own, a `fitrl.tasks.World` of this size.
    n_options : int, optional
        Number of options where the environment is given by name: payoffs spread from 0.7 to 0.3 (0.8 to 0.2 for
        reversing and volatile ones); 2 or 4 decks.
    outcome_range : (float, float), optional
        The two outcomes, (0, 1), the default, or (-1, 1).
    parameters : DataFrame, mapping, Fit or "prior", optional
        A truth table (columns subject, parameter, value); or a value or array per parameter; or a fit, from whose
        subjects agents are drawn (`fitrl.fitting.truth.from_fit`), with its model, number of options and range of
        outcomes; or "prior", a population drawn from the priors. By default agents come from a population whose
        central 95 % cover each parameter's usual range.
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
    made = agents(
        model,
        subjects=subjects,
        trials=trials,
        traits=traits,
        options=options,
        environment=environment,
        n_options=n_options,
        outcome_range=outcome_range,
        parameters=parameters,
        random_seed=random_seed,
    )
    return made._played(made.rng, None)  # a generator that was given moves on, as with any function that takes one


@dataclass(frozen=True)
class Agents:
    """Synthetic agents and the world that they are about to play in.

    Attributes
    ----------
    model : Model
        What they are.
    task : Task
        Configured.
    world : World
        Of one place per agent; it stays as it is, so that it can be played more than once.
    names : tuple of str
        Of the agents.
    values : dict of str to ndarray, shape (agent,)
        Their parameters, natural scale.
    scale : dict of str to float
        Standard deviation of the population on the link scale, as far as it is known.
    rng : Generator
        Source of randomness for their choices; a copy of it is used.
    settings : dict
        What the world was made from: arguments of `Task.play`.
    """

    model: Model
    task: Task
    world: Any
    names: tuple[str, ...]
    values: dict[str, np.ndarray]
    scale: dict[str, float]
    rng: np.random.Generator
    settings: dict[str, Any]

    def elsewhere(self, rng: np.random.Generator) -> Agents:
        """Put the same agents into a new world of the same kind, as on another day."""
        task, world = self.model.task.play(self.world.n_trials, self.world.n_agents, rng, **self.settings)
        return replace(self, task=task, world=world, rng=rng)

    def play(self, learning: Mapping[str, np.ndarray] | None = None) -> Simulation:
        """Let them play.

        Parameters
        ----------
        learning : mapping of str to ndarray, shape (agent,), optional
            Parameters that take another value in learning than in choice; the truth has them as ``alpha@learn``.
        """
        return self._played(copy.deepcopy(self.rng), learning)

    def _played(self, rng: np.random.Generator, learning: Mapping[str, np.ndarray] | None) -> Simulation:
        emitted = play(self.model, self.task, self.world, self.values, rng, learning)
        differing = {IN_LEARNING.format(name): values for name, values in (learning or {}).items()}
        truth = pd.DataFrame({"subject": self.names}).assign(**self.values, **differing)
        return Simulation(
            self.model,
            _frame(self.world.table(self.task, emitted), list(self.names)),
            truth.melt("subject", var_name="parameter", value_name="value"),
            self.task,
        )


def agents(
    model: Any = None,
    *,
    subjects: int = 20,
    trials: int = 100,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    environment: Any = None,
    n_options: int | None = None,
    outcome_range: tuple[float, float] | None = None,
    parameters: pd.DataFrame | Mapping[str, Any] | str | Fit | None = None,
    random_seed: Any = None,
) -> Agents:
    """Set up synthetic agents and their world; `simulate` describes the parameters."""
    fit: Any = None if parameters is None or isinstance(parameters, pd.DataFrame | Mapping | str) else parameters
    if fit is not None:
        found = _model_of(fit, model, traits, options)
        like = task_settings(fit)
        n_options, outcome_range = n_options or like.get("n_options"), outcome_range or like["outcome_range"]
    elif model is None:
        raise ModelError("simulate needs a model, by name, file or class; only a fit brings its own.")
    else:
        found = declare(model, traits, options)
    if subjects < 1 or trials < 1:
        raise ModelError(f"a simulation needs at least one subject and one trial, not {subjects} and {trials}.")
    rng = np.random.default_rng(random_seed)
    settings = {"environment": environment, "n_options": n_options, "outcome_range": outcome_range or (0.0, 1.0)}
    task, world = found.task.play(trials, subjects, rng, **settings)
    names = [str(i + 1) for i in range(subjects)]
    scale: Mapping[str, float] = {}
    if parameters is None:
        values = draw_population(found.fitted(task), subjects, rng)
        scale = {name: usual_sd(p) for name, p in found.fitted(task).items()}
    elif isinstance(parameters, str):
        if parameters != "prior":
            raise ModelError(f'parameters="{parameters}" is not known; expected "prior", a fit, a table or a mapping.')
        truth = from_prior(found.fitted(task), subjects, rng)
        values, scale = truth.values, truth.scale
    else:
        given: Any = parameters
        if fit is not None:
            truth = from_fit(fit, subjects, rng)
            given, scale = truth.values, truth.scale
        values, names = _given(given, found.fitted(task), subjects, names)
    return Agents(found, task, world, tuple(names), values, dict(scale), rng, settings)


def _model_of(fit: Fit, model: Any, traits: Iterable[Any], options: Mapping[str, Any] | None) -> Model:
    """Return the model of a fit; one that is named beside it must be the same."""
    own = fit.plan.model
    if model is None and not tuple(traits) and not options:
        return own
    named = own if model is None else declare(model, traits, options)
    if model is None or (named.describe(), named.options) != (own.describe(), own.options):
        raise ModelError(
            f"the subjects of a fit of {own.describe()} cannot play as another model. Leave model, traits and options "
            "out, or give the parameters as a table."
        )
    return own


def draw_population(parameters: Mapping[str, Parameter], n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw subjects whose central 95 % cover the usual range of every parameter.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Natural-scale values.
    """
    drawn = {}
    for name, p in parameters.items():
        eta = population_start(p) + usual_sd(p) * rng.normal(size=n)
        drawn[name] = natural(eta, p.link, p.lower, p.upper)
    return drawn


def usual_sd(p: Parameter) -> float:
    """Return the standard deviation on the link scale at which the usual range holds the central 95 % of subjects."""
    low, high = link_of(np.array(p.usual), p.link, p.lower, p.upper)
    return float((high - low) / (2 * 1.96))


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
