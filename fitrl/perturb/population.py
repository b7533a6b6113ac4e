"""People with and without a perturbation: simulation, crossover and two-group designs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.errors import ModelError
from fitrl.fitting.simulate import Agents, Simulation, agents
from fitrl.perturb.apply import Perturbed, apply
from fitrl.perturb.perturbation import Perturbation

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

ORDERS = ("counterbalanced", "placebo first", "drug first")


@dataclass(frozen=True)
class Population:
    """Agents, the world that they play in, and what was done to them; see `population`.

    Attributes
    ----------
    agents : Agents
        As they are without a perturbation.
    perturbations : tuple of Perturbation
    measures : mapping of str to ndarray, shape (agent,)
        Baseline measures for moderators.
    """

    agents: Agents
    perturbations: tuple[Perturbation, ...] = ()
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def with_(self, *perturbations: Perturbation) -> Population:
        """Return the same people under further perturbations; their world stays the same.

        Raises
        ------
        ModelError
            If the model does not have what is perturbed, or the perturbations do not combine.

        Examples
        --------
        >>> people = population("q_learning", subjects=2, trials=5, random_seed=1)
        >>> from fitrl.perturb.perturbation import Target
        >>> drug = Perturbation("drug", (Target("beta", 0.5),))
        >>> bool((people.with_(drug).perturbed.agents.values["beta"] > people.agents.values["beta"]).all())
        True
        """
        made = replace(self, perturbations=(*self.perturbations, *perturbations))
        _ = made.perturbed  # what does not apply is refused here
        return made

    @cached_property
    def perturbed(self) -> Perturbed:
        """The agents under the perturbations."""
        return apply(self.agents, self.perturbations, self.measures)

    def simulate(self) -> Simulation:
        """Let them play; without a perturbation the result is that of `fitrl.simulate`, bit for bit."""
        return self.perturbed.agents.play(self.perturbed.learning)

    def elsewhere(self, random_seed: Any) -> Population:
        """Return the same people on another day: a new world of the same kind, new choices."""
        return replace(self, agents=self.agents.elsewhere(np.random.default_rng(random_seed)))


def population(
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
    measures: Mapping[str, Any] | None = None,
    random_seed: Any = None,
) -> Population:
    """Describe people and their task, for simulation under perturbations.

    Parameters
    ----------
    model, subjects, trials, traits, options, environment, n_options, outcome_range, parameters, random_seed
        As in `fitrl.simulate`.
    measures : mapping of str to array, shape (subject,), optional
        Baseline measures that moderate effects (`Moderator`), standardised. Drawn where they are not given.

    Returns
    -------
    Population

    Raises
    ------
    ModelError
        As `fitrl.simulate`.

    Examples
    --------
    >>> people = fitrl.population("q_learning", subjects=40, trials=200, random_seed=1)  # doctest: +SKIP
    >>> people.with_(fitrl.perturbation("pd_on_expression")).simulate().frame  # doctest: +SKIP
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
    return Population(made, measures={name: np.asarray(z, float) for name, z in (measures or {}).items()})


def crossover(
    people: Population,
    perturbation: Perturbation,
    *,
    placebo: str = "placebo",
    drug: str | None = None,
    order: str = "counterbalanced",
    random_seed: Any = None,
) -> Simulation:
    """Simulate a crossover: every subject once with and once without the perturbation, in two sessions.

    Parameters
    ----------
    people : Population
        Perturbations that it already has act in both sessions.
    perturbation : Perturbation
    placebo, drug : str
        Labels of the conditions; the drug is called by its id unless told otherwise.
    order : {"counterbalanced", "placebo first", "drug first"}
        Counterbalanced: every other subject begins with the placebo.
    random_seed : int or Generator, optional
        Of the two sessions; each has a world of its own.

    Returns
    -------
    Simulation
        The frame has the columns ``session`` (1 and 2) and ``drug`` (the condition); the truth likewise. Values start
        afresh in every session.

    Raises
    ------
    ModelError
        If the perturbation tells groups apart, the order is not known, or both labels are the same.
    """
    if perturbation.apply_to == "group":
        raise ModelError(
            f"{perturbation.id} tells groups apart, so that nobody can be with and without it. Use two_groups; or "
            'dataclasses.replace(p, apply_to="session") if it is given and taken away in your design.'
        )
    if order not in ORDERS:
        raise ModelError(f'order is "{order}"; it can be {", ".join(ORDERS)}.')
    labels = (placebo, perturbation.id if drug is None else drug)
    n = len(people.agents.names)
    first = np.arange(n) % 2 if order == "counterbalanced" else np.full(n, int(order == "drug first"))
    parts = []
    for session, rng in enumerate(np.random.default_rng(random_seed).spawn(2)):
        here = people.elsewhere(rng)
        drugged = first == 1 - session
        parts.append(_mixed(here, perturbation, drugged, labels, {"session": session + 1}, "drug"))
    return _joined(people, parts)


def two_groups(
    people: Population,
    perturbation: Perturbation,
    *,
    controls: str = "controls",
    patients: str | None = None,
) -> Simulation:
    """Simulate two groups: the first half of the subjects without, the second half with the perturbation.

    Parameters
    ----------
    people : Population
    perturbation : Perturbation
    controls, patients : str
        Labels of the groups; the second is called by the perturbation's id unless told otherwise.

    Returns
    -------
    Simulation
        The frame and the truth have the column ``group``.

    Raises
    ------
    ModelError
        If there are fewer than two subjects, or both labels are the same.
    """
    n = len(people.agents.names)
    if n < 2:
        raise ModelError("two groups need at least two subjects.")
    labels = (controls, perturbation.id if patients is None else patients)
    return _joined(people, [_mixed(people, perturbation, np.arange(n) >= n - n // 2, labels, {}, "group")])


def _mixed(
    people: Population, perturbation: Perturbation, has: np.ndarray, labels: tuple[str, str], more: Any, column: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return frame and truth in which some subjects have the perturbation and the others do not."""
    if labels[0] == labels[1]:
        raise ModelError(f'both conditions are called "{labels[0]}"; give them different names.')
    frames: list[pd.DataFrame] = []
    truths: list[pd.DataFrame] = []
    for label, with_it, who in zip(labels, (people, people.with_(perturbation)), (~has, has), strict=True):
        made = with_it.simulate()
        names = np.array(people.agents.names)[who]
        for found, table in ((frames, made.frame), (truths, made.truth)):
            part = table[table["subject"].isin(names)].copy()
            for at, (name, value) in enumerate({**more, column: label}.items()):
                part.insert(1 + at, name, value)
            found.append(part)
    return pd.concat(frames), pd.concat(truths)


def _joined(people: Population, parts: list[tuple[pd.DataFrame, pd.DataFrame]]) -> Simulation:
    """Join the parts of a design, each subject's rows together."""
    place = {name: i for i, name in enumerate(people.agents.names)}
    frame, truth = (
        pd.concat(tables).sort_values("subject", key=lambda s: s.map(place), kind="stable", ignore_index=True)
        for tables in zip(*parts, strict=True)
    )
    return Simulation(people.agents.model, frame, truth, people.agents.task)
