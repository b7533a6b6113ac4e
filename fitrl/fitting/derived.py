"""Quantities that a model derives from its parameters, such as the model-based weight from two slopes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fitrl.fitting.fit import Fit
from fitrl.hierarchy.links import natural
from fitrl.hierarchy.plan import unit_factor

_INTERVAL = (0.025, 0.5, 0.975)


def derived(fit: Fit) -> pd.DataFrame:
    """Tabulate what the model derives from its parameters.

    Parameters
    ----------
    fit : Fit
        A fit.

    Returns
    -------
    DataFrame
        Columns subject, quantity, description, median, q2.5, q97.5: quantiles over draws, computed from parameters in
        the user's outcome unit. The rows without a subject are the formula at the population medians (not with
        ``pooling="none"``). Medians and quantiles, since a ratio whose denominator may be 0 has no mean: an interval
        that leaves the sensible range says that the quantity is not known. Empty where a model derives nothing.

    Examples
    --------
    >>> fitrl.derived(result).query("quantity == 'w_mb'")  # doctest: +SKIP
    """
    plan, trials = fit.plan, fit.trials
    formulas = plan.model.derived()
    rows = []
    if formulas:
        for subjects, values in _levels(fit):
            p = plan.model.bind(values, trials.task)
            for name, quantity in formulas.items():
                with np.errstate(divide="ignore", invalid="ignore"):  # a ratio may have draws without a value
                    draws = np.asarray(getattr(p, name))
                low, middle, high = np.nanquantile(draws, _INTERVAL, axis=0)
                rows.append(
                    pd.DataFrame(
                        {
                            "subject": subjects,
                            "quantity": name,
                            "description": quantity.description,
                            "median": middle,
                            "q2.5": low,
                            "q97.5": high,
                        }
                    )
                )
    if rows:
        return pd.concat(rows, ignore_index=True)
    return pd.DataFrame(columns=["subject", "quantity", "description", "median", "q2.5", "q97.5"])


def _levels(fit: Fit) -> list[tuple[list[str], dict[str, np.ndarray]]]:
    """Parameters of the population and of every subject: labels, and values of shape (draw, label)."""
    plan, posterior = fit.plan, fit.idata["posterior"].to_dataset()
    subjects = list(fit.trials.subjects)
    n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    population: dict[str, np.ndarray] = {}
    own: dict[str, np.ndarray] = {}
    for name, p in plan.parameters.items():
        factor = unit_factor(p, fit.trials.outcome_scale)
        if name in plan.fixed:
            population[name] = np.full((n_draws, 1), factor * plan.fixed[name])
            own[name] = np.full((n_draws, len(subjects)), factor * plan.fixed[name])
            continue
        values = posterior[name].transpose("chain", "draw", ...).to_numpy()
        own[name] = factor * values.reshape(n_draws, -1)
        if f"{name}_mu" in posterior:
            mu = posterior[f"{name}_mu"].transpose("chain", "draw").to_numpy().reshape(-1, 1)
            population[name] = factor * natural(mu, p.link, p.lower, p.upper)
    levels = [([""], population)] if len(population) == len(plan.parameters) and plan.pooling != "none" else []
    return [*levels, (subjects, own)]
