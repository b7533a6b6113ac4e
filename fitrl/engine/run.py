"""Run a model on numbers: many agents at once (filter, simulator), or one with Python numbers (plain)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fitrl.engine.inputs import Located
from fitrl.engine.layout import Layout
from fitrl.language.blame import author_text
from fitrl.language.model import Model
from fitrl.language.state import State
from fitrl.language.trial import Given, Playing, Trial, play_row


def filter_rows(
    model: Model,
    task: Any,
    parameters: Mapping[str, Located],
    columns: Mapping[str, np.ndarray],
    layout: Layout,
    learning: Mapping[str, Located] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray, Trial]]:
    """Run the model over given choices, trial by trial, for all sequences and draws at once.

    Parameters
    ----------
    model, task
        The model and the configured task.
    parameters : mapping of str to Located
        Arrays of values, shape (draw, cell), and where they apply.
    columns : mapping of str to ndarray, shape (row,)
        Columns of the trial table.
    layout : Layout
        Of its rows.
    learning : mapping of str to Located, optional
        Parameters that take another value in learning than in choice; as many draws as `parameters` has.

    Yields
    ------
    rows : ndarray of int
        Rows of the table that this trial covers.
    places : ndarray of int
        Their positions among the sequences.
    trial : Trial
        Its values have shape (draw * sequence,), sequences fastest.
    """
    n_draws = max((np.shape(p.values)[0] for p in parameters.values()), default=1)
    values_at, learning_at = _located(parameters), _located(learning or {})
    state: State | None = None
    with author_text(model):
        for rows, filled in zip(layout.rows, layout.filled, strict=True):
            row = {name: np.tile(column[rows], n_draws) for name, column in columns.items()}
            row["mask_update"] = row["mask_update"] & np.tile(filled, n_draws)
            p = model.bind(values_at(rows), task, learning_at(rows))
            if state is None:
                state = model.start_state(p, task)  # the first row, a reset, starts it again
            t, state = play_row(
                model,
                task,
                p,
                state,
                row["reset"],
                row["mask_update"],
                lambda p, s, start, row=row: Given(model, task, p, s, start, row),
            )
            places = np.flatnonzero(filled)
            yield rows[places], places, t


def _located(parameters: Mapping[str, Located]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return a function from the rows of a trial to the values in them, shape (draw * sequence,)."""
    constant = {name: np.asarray(p.values)[:, p.index].ravel() for name, p in parameters.items() if not p.by_row}
    by_row = {name: p for name, p in parameters.items() if p.by_row}
    return lambda rows: constant | {n: np.asarray(p.values)[:, p.index[rows]].ravel() for n, p in by_row.items()}


def log_probabilities(
    model: Model,
    task: Any,
    parameters: Mapping[str, Located],
    columns: Mapping[str, np.ndarray],
    layout: Layout,
) -> dict[str, np.ndarray]:
    """Log probability of every row's emissions, on numbers.

    Returns
    -------
    dict of str to ndarray, shape (draw, row)
        One per emission; see `filter_rows` for the parameters.
    """
    n_rows, n_sequences = len(layout.place), layout.rows.shape[1]
    found: dict[str, np.ndarray] = {}
    for rows, places, t in filter_rows(model, task, parameters, columns, layout):
        for name, value in t.log_probability.items():
            by_draw = spread(value, n_sequences, parameters)
            out = found.setdefault(name, np.empty((len(by_draw), n_rows)))
            out[:, rows] = by_draw[:, places]
    return found


def spread(value: Any, n_sequences: int, parameters: Mapping[str, Located]) -> np.ndarray:
    """Reshape a value of a filtered trial to (draw, sequence)."""
    n_draws = max((np.shape(p.values)[0] for p in parameters.values()), default=1)
    return np.broadcast_to(value, (n_draws * n_sequences,)).reshape(n_draws, n_sequences)


def play(
    model: Model,
    task: Any,
    world: Any,
    parameters: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    learning: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Let agents play.

    Parameters
    ----------
    model, task
        The model and the configured task.
    world : object
        The played task (see `fitrl.tasks.world.World`).
    parameters : mapping of str to ndarray, shape (agent,)
        Natural-scale values.
    rng : numpy.random.Generator
        Source of randomness for choices.
    learning : mapping of str to ndarray, shape (agent,), optional
        Parameters that take another value in learning than in choice.

    Returns
    -------
    dict of str to ndarray, shape (trial, agent)
        Choices, outcomes, other emissions and the cues that the model asked for.
    """
    emitted: dict[str, list[np.ndarray]] = {}
    for t in play_rows(model, task, world, parameters, rng, learning):
        for name, value in t.emitted.items():
            emitted.setdefault(name, []).append(np.broadcast_to(value, (world.n_agents,)))
    return {name: np.stack(values) for name, values in emitted.items()}


def play_rows(
    model: Model,
    task: Any,
    world: Any,
    parameters: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    learning: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Playing]:
    """Let agents play, trial by trial; as `play`, for those who want the latents of the agents.

    Yields
    ------
    Playing
        Each trial after it was played: ``t.emitted``, ``t.log_probability`` of the choices, ``t.latents``,
        ``t.before`` and ``t.s``. Its values are numbers, or arrays of shape (agent,).
    """
    n_agents = world.n_agents
    values, in_learning = (
        {name: np.broadcast_to(np.asarray(v, float), (n_agents,)) for name, v in given.items()}
        for given in (parameters, learning or {})
    )
    p = model.bind(values, task, in_learning)
    state = model.start_state(p, task)  # the first row, a reset, starts it again
    with author_text(model):
        for trial in range(world.n_trials):
            here = world.at(trial)
            t, state = play_row(
                model,
                task,
                p,
                state,
                here.resets(),
                here.learns(),
                lambda p, s, start, here=here: Playing(model, task, p, s, start, here, rng),
            )
            yield t


def plain(
    model: Model,
    task: Any,
    parameters: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]],
    learning: Mapping[str, float] | None = None,
) -> Iterator[Given]:
    """Run one agent with Python numbers, so that ``print`` and the debugger work in the model's text.

    Parameters
    ----------
    model, task
        The model and the configured task.
    parameters : mapping of str to float
        Natural-scale values.
    rows : sequence of mappings
        Columns of each trial. ``mask_update`` defaults to True, ``reset`` to the first row only.
    learning : mapping of str to float, optional
        Parameters that take another value in learning than in choice.

    Yields
    ------
    Given
        Each trial after it was run: ``t.log_probability``, ``t.latents``, ``t.before``, ``t.s``.
    """
    p = model.bind(parameters, task, learning)
    state = model.start_state(p, task)
    with author_text(model):
        for i, row in enumerate(rows):
            row = {f"{name}_given": True for name in row} | dict(row)
            t, state = play_row(
                model,
                task,
                p,
                state,
                bool(row.get("reset", i == 0)),
                bool(row.get("mask_update", True)),
                lambda p, s, start, row=row: Given(model, task, p, s, start, row),
            )
            yield t
