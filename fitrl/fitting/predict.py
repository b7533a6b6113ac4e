"""What a fitted model says about every trial: latents, and predictions of choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fitrl.engine.inputs import Located
from fitrl.engine.layout import Layout, lay_out
from fitrl.engine.run import filter_rows, spread
from fitrl.errors import FitError, NoProbabilities
from fitrl.fitting.fit import Fit
from fitrl.fitting.freerun import free_run
from fitrl.hierarchy.columns import trial_columns
from fitrl.language.tables import Table, exp
from fitrl.tasks.replay import NotReplayable

_AGENTS = 5_000  # agents at a time: arrays stay in the cache, memory stays small


def posterior_values(fit: Fit, draws: int) -> dict[str, Located]:
    """Parameter values of evenly spaced posterior draws.

    Parameters
    ----------
    fit : Fit
        A fit.
    draws : int
        Number of draws, at most as many as there are.

    Returns
    -------
    dict of str to Located
        Values of shape (draw, subject), natural scale, scaled outcomes.
    """
    plan, posterior = fit.plan, fit.idata["posterior"].to_dataset()
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    take = np.unique(np.linspace(0, total - 1, min(draws, total)).astype(int))
    values = {}
    for name in plan.parameters:
        design = plan.designs[name]
        if name in plan.fixed:
            cells = np.full((len(take), len(design.matrix)), plan.fixed[name])
        else:
            cells = posterior[name].transpose("chain", "draw", ...).to_numpy().reshape(total, -1)[take]
        values[name] = Located(cells, design.index, design.by_row)
    return values


def latents(fit: Fit, draws: int = 500) -> pd.DataFrame:
    """Trial-wise values, prediction errors, learning rates and choice probabilities.

    Parameters
    ----------
    fit : Fit
        A fit.
    draws : int
        Posterior draws to average over, evenly spaced.

    Returns
    -------
    DataFrame
        One row per trial, in the order of the trial table, with the user's ids and trial numbers; for each quantity
        its posterior mean and sd (``rpe_mean``, ``rpe_sd``). State fields are those before the trial; tables get
        one column per option. ``p_choice`` is the probability of the choice that was made. Quantities of outcomes are
        in the user's own unit. Blank: what a row cannot tell (the prediction error of a missed trial).

    Examples
    --------
    >>> fitrl.latents(result)[["subject", "trial", "rpe_mean"]]  # doctest: +SKIP
    """
    plan, trials = fit.plan, fit.trials
    columns = trial_columns(plan.model, trials)
    layout = lay_out(columns["sequence"])
    found: dict[str, np.ndarray] = {}
    recorded: set[str] = set()
    parameters = posterior_values(fit, draws)
    blocks = _blocks(parameters, layout)
    n_draws = sum(_n_draws(block) for block in blocks)
    for block in blocks:
        for rows, places, t in filter_rows(plan.model, trials.task, block, columns, layout):
            recorded |= set(t.latents)
            for name, value in _quantities(t, trials.task).items():
                by_draw = spread(value, layout.rows.shape[1], block)[:, places]
                sums = found.setdefault(name, np.zeros((2, len(trials.frame))))
                sums[0, rows] += by_draw.sum(axis=0)
                sums[1, rows] += (by_draw**2).sum(axis=0)
    labels = [c for c in ("subject", "session", "block", "trial") if c in trials.frame]
    table: dict[str, Any] = {c: trials.frame[c].to_numpy() for c in labels}
    units = {name: documented.unit for name, documented in plan.model.latents().items()}
    for name, (total, squares) in found.items():
        known = _known(name, trials, recorded)
        factor = trials.outcome_scale if units.get(name.split("[")[0]) == "outcome" else 1.0
        mean = total / n_draws
        sd = np.sqrt(np.maximum(squares / n_draws - mean**2, 0.0) * n_draws / max(n_draws - 1, 1))
        table[f"{_flat(name)}_mean"] = np.where(known, mean * factor, np.nan)
        table[f"{_flat(name)}_sd"] = np.where(known, sd * factor, np.nan)
    return pd.DataFrame(table)


def _quantities(t: Any, task: Any) -> dict[str, Any]:
    """Everything a trial has to tell, by name; cells of tables as ``q[label]``."""
    found: dict[str, Any] = {f"p_{name}": np.exp(value) for name, value in t.log_probability.items()}
    for name, value in {**t.before.fields(), **t.latents}.items():
        if not isinstance(value, Table):
            found[name] = value
            continue
        for index, cell in zip(np.ndindex(value.shape), value.cells(), strict=True):
            label = task.labels[index[0]] if value.shape == (len(task.labels),) else ",".join(map(str, index))
            found[f"{name}[{label}]"] = cell
    return found


def _known(name: str, trials: Any, recorded: set[str]) -> np.ndarray:
    """Rows in which a quantity has a meaning: a response was given, something was learned."""
    frame = trials.frame
    if name.startswith("p_") and f"{name[2:]}_given" in frame:
        return frame[f"{name[2:]}_given"].to_numpy()
    if name.split("[")[0] in recorded:
        return frame["mask_update"].to_numpy()
    return np.ones(len(frame), bool)


def _flat(name: str) -> str:
    return name.replace("[", "_").replace("]", "")


@dataclass(frozen=True)
class Predictions:
    """Predicted choices.

    Attributes
    ----------
    one_step : dict of str to ndarray of int, shape (draw, row)
        Each choice that the model makes, drawn given everything that was observed before it.
    free : dict of str to ndarray, shape (draw, row), or None
        Agents who play the recorded trials by themselves and learn from their own choices, see
        `fitrl.fitting.freerun.free_run`.
    why_not : str
        Why there is no free run; empty if there is one.
    simulated : str
        What of the free run is made up because the data do not record it, such as "schedule simulated"; empty if
        nothing is.
    """

    one_step: dict[str, np.ndarray]
    free: dict[str, np.ndarray] | None
    why_not: str
    simulated: str = ""

    def of(self, rows: np.ndarray) -> Predictions:
        """Return those of some rows alone."""
        one_step = {name: values[:, rows] for name, values in self.one_step.items()}
        free = None if self.free is None else {name: values[:, rows] for name, values in self.free.items()}
        return Predictions(one_step, free, self.why_not, self.simulated)


def predict(fit: Fit, draws: int = 100, random_seed: Any = 0, *, environment: Any = None) -> Predictions:
    """Predict choices one step ahead, and free-running where payoffs are known.

    Parameters
    ----------
    fit : Fit
        A fit.
    draws : int
        Posterior draws, each giving one data set.
    random_seed : int or Generator
        Seed.
    environment : str or environment, optional
        How payoffs come about in the free run where the data do not record them, as in `fitrl.simulate`. By default
        they drift in two-step tasks as in Daw et al. 2011; for bandits nothing is made up.

    Returns
    -------
    Predictions

    Raises
    ------
    FitError
        If the task has no choices.
    ModelError
        If the environment does not suit the task, or its method `replay` goes wrong.

    Notes
    -----
    What other choices would have earned: recorded outcomes of the other option, else recorded probabilities of payoff,
    else a schedule that is simulated for every agent anew, which `Predictions.simulated` says. Trials, missed responses
    and the common and rare transitions of two-step tasks are those of the data. For a task of your own see
    `fitrl.tasks.Task.replay`.

    One-step predictions borrow the subject's own history and can look good for a model that could never produce
    the behaviour; the free run is the test (Palminteri, Wyart & Koechlin 2017, 10.1016/j.tics.2017.03.011).
    """
    rng = np.random.default_rng(random_seed)
    columns = trial_columns(fit.plan.model, fit.trials)
    layout = lay_out(columns["sequence"])
    if not fit.trials.task.choices():
        raise FitError(f"the task {type(fit.trials.task).__name__} has no choices to predict.")
    blocks = _blocks(posterior_values(fit, draws), layout)
    drawn = [_one_step(fit, block, columns, layout, rng) for block in blocks]
    one_step = {name: np.concatenate([d[name] for d in drawn]) for name in drawn[0]}
    if any(p.by_row for p in blocks[0].values()):
        reason = "parameters change from trial to trial, which the free run does not follow yet"
        return Predictions(one_step, None, reason)
    played, simulated = [], ""
    for block in blocks:
        values = {name: np.asarray(p.values)[:, p.index].ravel() for name, p in block.items()}
        try:
            found, simulated = free_run(
                fit.plan.model, fit.trials.task, columns, layout, values, _n_draws(block), rng, environment
            )
        except (NotReplayable, NoProbabilities) as reason:
            return Predictions(one_step, None, str(reason))
        played.append(found)
    free = {name: np.concatenate([p[name] for p in played]) for name in played[0]}
    return Predictions(one_step, free, "", simulated)


def _one_step(
    fit: Fit, block: dict[str, Located], columns: dict[str, np.ndarray], layout: Layout, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    n_draws, n_sequences = _n_draws(block), layout.rows.shape[1]
    result: dict[str, np.ndarray] = {}  # a model may leave some of the choices of its task alone
    for rows, places, t in filter_rows(fit.plan.model, fit.trials.task, block, columns, layout):
        for name, log_probabilities in t.probabilities.items():
            cells = [spread(c, n_sequences, block)[:, places] for c in exp(log_probabilities).cells()]
            cumulative = np.cumsum(cells, axis=0)
            at = (rng.random((n_draws, len(places))) * cumulative[-1] >= cumulative).sum(axis=0)
            offers = t.offers[name]
            if offers is not None:
                on_offer = np.stack([spread(c, n_sequences, block)[:, places] for c in offers.cells()])
                at = np.take_along_axis(on_offer, at[None], axis=0)[0]
            result.setdefault(name, np.zeros((n_draws, len(layout.place)), dtype=np.int64))[:, rows] = at
    return result


def _n_draws(block: dict[str, Located]) -> int:
    return max((np.shape(p.values)[0] for p in block.values()), default=1)


def _blocks(parameters: dict[str, Located], layout: Layout) -> list[dict[str, Located]]:
    """Cut the draws so that a block times the sequences is a manageable number of agents."""
    n_draws = _n_draws(parameters)
    size = max(1, _AGENTS // max(layout.rows.shape[1], 1))
    return [
        {name: p._replace(values=p.values[first : first + size]) for name, p in parameters.items()}
        for first in range(0, n_draws, size)
    ]
