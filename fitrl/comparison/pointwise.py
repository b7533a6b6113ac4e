"""Log-likelihood of every scored trial and draw, subject by subject, so that it never is in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities
from fitrl.engine.trace import trace
from fitrl.errors import FitError
from fitrl.fitting.fit import Fit
from fitrl.fitting.predict import posterior_values
from fitrl.hierarchy.columns import trial_columns

_AGENTS = 20_000  # sequences times draws at a time


def emissions(fit: Fit) -> tuple[str, ...]:
    """Names of what the model of a fit scores, such as ``("choice1", "choice2")``.

    Raises
    ------
    FitError
        If it scores nothing.
    """
    found = tuple(trace(fit.plan.model, fit.trials.task).log_probability)
    if not found:
        raise FitError(f"{fit.plan.model.describe()} chooses nothing, so there is nothing to compare.")
    return found


def scored_trials(fit: Fit) -> pd.DataFrame:
    """Which trials are scored, and what the responses were.

    Returns
    -------
    DataFrame
        One row per trial with at least one scored response, in the order of the subjects' labels, sessions and trials:
        ``row`` (of the trial table), subject, session, position (within the session, from 0), trial (the user's own
        number), and for each emission the response, blank where it is not scored.
    """
    frame = fit.trials.frame
    table = pd.DataFrame({"row": np.arange(len(frame)), "subject": frame["subject"].astype(str).to_numpy()})
    table["session"] = frame["session"].astype(str).to_numpy() if "session" in frame else ""
    table["position"] = table.groupby(["subject", "session"]).cumcount()
    table["trial"] = frame["trial"].to_numpy()
    names = sorted(emissions(fit))
    masks = np.stack([frame[f"mask_{name}"].to_numpy(dtype=bool) for name in names])
    for name, mask in zip(names, masks, strict=True):
        values = frame[name].to_numpy()
        if name in fit.trials.codings:  # codes follow from the labels of a file, which may differ
            values = np.array(fit.trials.codings[name], dtype=object)[values]
        table[name] = np.where(mask, values.astype(str), "")
    table = table[masks.any(axis=0)]
    return table.sort_values(["subject", "session", "position"], kind="stable").reset_index(drop=True)


def log_likelihood_blocks(fit: Fit, draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Log-likelihood of scored trials, a block of subjects at a time.

    Parameters
    ----------
    fit : Fit
        A fit.
    draws : int
        Posterior draws, evenly spaced, at most as many as there are.

    Yields
    ------
    rows : ndarray of int, shape (trial,)
        Rows of the trial table.
    values : ndarray, shape (trial, draw)
        Sum over the scored responses of the trial.

    Raises
    ------
    FitError
        If a value is not finite.
    """
    names, frame = emissions(fit), fit.trials.frame
    columns = trial_columns(fit.plan.model, fit.trials)
    parameters = posterior_values(fit, draws)
    n_draws = max((np.shape(p.values)[0] for p in parameters.values()), default=1)
    sequence = columns["sequence"]
    size = max(1, _AGENTS // n_draws)
    for first in range(0, fit.trials.n_sequences, size):
        inside = np.flatnonzero((sequence >= first) & (sequence < first + size))
        own = {
            name: p._replace(index=np.asarray(p.index)[inside if p.by_row else slice(first, first + size)])
            for name, p in parameters.items()
        }
        block = {name: column[inside] for name, column in columns.items()}
        found = log_probabilities(fit.plan.model, fit.trials.task, own, block, lay_out(sequence[inside] - first))
        masks = {name: frame[f"mask_{name}"].to_numpy(dtype=bool)[inside] for name in names}
        values = np.add.reduce([np.where(masks[name], found[name], 0.0) for name in names])
        scored = np.any(list(masks.values()), axis=0)
        rows, values = inside[scored], np.ascontiguousarray(values[:, scored].T)
        if not np.isfinite(values).all():
            row = frame.iloc[rows[np.flatnonzero(~np.isfinite(values).all(axis=1))[0]]]
            raise FitError(
                f"{fit.plan.model.describe()}: the log-likelihood of subject {row['subject']}, trial {row['trial']:g} "
                "is not finite in some draws, so the fit cannot be compared. Run fitrl check-model on it."
            )
        yield rows, values


def log_chance(fit: Fit) -> pd.Series | None:
    """Log-likelihood of guessing evenly among the options on offer, by row of the trial table.

    Returns
    -------
    Series or None
        None if anything but choices is scored, for which there is no chance level.
    """
    task, frame = fit.trials.task, fit.trials.frame
    names = emissions(fit)
    if not set(names) <= set(task.choices()):
        return None
    total = np.zeros(len(frame))
    for name in names:
        total -= np.where(frame[f"mask_{name}"], np.log(task.offered(name) or task.size(name)), 0.0)
    return pd.Series(total)
