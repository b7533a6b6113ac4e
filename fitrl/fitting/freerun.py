"""Agents who play recorded trials by themselves, and learn from their own choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fitrl.engine.layout import Layout
from fitrl.engine.run import play
from fitrl.errors import ModelError
from fitrl.language.blame import author_text
from fitrl.language.model import Model
from fitrl.tasks.replay import NotReplayable
from fitrl.tasks.world import World


def free_run(
    model: Model,
    task: Any,
    columns: Mapping[str, np.ndarray],
    layout: Layout,
    values: Mapping[str, np.ndarray],
    copies: int,
    rng: np.random.Generator,
    environment: Any = None,
) -> tuple[dict[str, np.ndarray], str]:
    """Let agents play recorded trials.

    Parameters
    ----------
    model, task
        The model and the task, configured for the data.
    columns : mapping of str to ndarray, shape (row,)
        Columns of the trial table.
    layout : Layout
        Of its rows.
    values : mapping of str to ndarray, shape (agent,)
        Natural-scale parameters; among agents, copies come slowest and sequences fastest.
    copies : int
        Agents per sequence.
    rng : numpy.random.Generator
        Source of randomness.
    environment : str or environment, optional
        How payoffs come about where the data do not tell.

    Returns
    -------
    played : dict of str to ndarray, shape (copy, row)
        Codes of choices, other responses, cues that the model asked for, answers (``outcome`` in scaled outcomes,
        ``state2``), NaN where nothing is shown, and ``mask_update``: whether the trial taught the agent.
    simulated : str
        What of it is made up because the data do not record it; empty if nothing is.

    Raises
    ------
    NotReplayable
        If what other choices would have earned is not known, or the model makes only some of the choices.
    ModelError
        If the method `replay` of the task goes wrong, or the environment does not suit it.
    """
    world = _replayed(model, task, columns, layout, copies, rng, environment)
    played = play(model, task, world, values, rng)
    required = [c.name for c in task.columns if c.kind == "outcome" and c.required]
    missing = [name for name in task.choices() if name not in played]
    if missing and (world.answers or required):
        raise NotReplayable(f"the model does not make {' and '.join(missing)}, on which what follows may depend")
    others = [c.name for c in task.columns if c.kind == "outcome" and not c.required and c.name in played]
    for name in (*world.answers, *required, *others):
        played[name] = np.stack([_answer(world.at(i), name, played, task.choices()) for i in range(world.n_trials)])
    learns = np.stack([np.broadcast_to(world.at(i).learns(), (world.n_agents,)) for i in range(world.n_trials)])
    played["mask_update"] = learns & np.all([np.isfinite(played[name]) for name in required], axis=0)
    shape = (world.n_trials, copies, layout.rows.shape[1])
    return {
        name: values.reshape(shape).transpose(1, 0, 2).reshape(copies, -1)[:, layout.place]
        for name, values in played.items()
    }, world.simulated


def _replayed(
    model: Model,
    task: Any,
    columns: Mapping[str, np.ndarray],
    layout: Layout,
    copies: int,
    rng: np.random.Generator,
    environment: Any,
) -> World:
    """Return the recorded trials as a world."""
    laid_out = {name: column[layout.rows] for name, column in columns.items()}
    laid_out["mask_update"] = laid_out["mask_update"] & layout.filled
    settings = {} if environment is None else {"environment": environment}
    world: World | NotReplayable
    with author_text(model):
        try:
            world = task.replay(laid_out, copies, rng, **settings)
        except NotReplayable as reason:  # no mistake in the author's text
            world = reason
    if isinstance(world, NotReplayable):
        raise world
    n_agents = layout.rows.shape[1] * copies
    if (world.n_trials, world.n_agents) != (len(layout.rows), n_agents):
        raise ModelError(
            f"{type(task).__name__}.replay() returns a world of {world.n_trials} trials and {world.n_agents} agents; "
            f"expected {len(layout.rows)} and {n_agents} (copies times the sequences)."
        )
    return world


def _answer(world: World, name: str, played: Mapping[str, np.ndarray], choices: tuple[str, ...]) -> np.ndarray:
    """Return an answer in one trial, shape (agent,), the one that was given if there was one; NaN if not shown."""
    if name in played:
        answer = played[name][world.trial]
    else:
        answer = world.answer(name, {choice: played[choice][world.trial] for choice in choices})
    shown = np.broadcast_to(world.shows(name), (world.n_agents,))
    return answer if shown.all() else np.where(shown, answer, np.nan)
