"""Quantities that a model derives from its parameters, such as the model-based weight from two slopes."""

from __future__ import annotations

from typing import Any

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
        Columns subject (then what distinguishes the values of a subject, where there are several), quantity,
        description, median, q2.5, q97.5: quantiles over draws, computed from parameters in the user's outcome unit.
        The rows without a subject are the formula at the population medians (not with ``pooling="none"``). Medians and
        quantiles, since a ratio whose denominator may be 0 has no mean: an interval that leaves the sensible range
        says that the quantity is not known. Empty where a model derives nothing.

    Examples
    --------
    >>> fitrl.derived(result).query("quantity == 'w_mb'")  # doctest: +SKIP
    """
    plan, trials = fit.plan, fit.trials
    formulas = plan.model.derived()
    rows = []
    if formulas:
        for labels, values in _levels(fit):
            p = plan.model.bind(values, trials.task)
            for name, quantity in formulas.items():
                with np.errstate(divide="ignore", invalid="ignore"):  # a ratio may have draws without a value
                    draws = np.asarray(getattr(p, name))
                low, middle, high = np.nanquantile(draws, _INTERVAL, axis=0)
                rows.append(
                    pd.DataFrame(
                        {
                            **labels,
                            "quantity": name,
                            "description": quantity.description,
                            "median": middle,
                            "q2.5": low,
                            "q97.5": high,
                        }
                    )
                )
    if rows:
        table = pd.concat(rows, ignore_index=True)
        last = ["quantity", "description", "median", "q2.5", "q97.5"]
        return table[[c for c in table if c not in last] + last]
    return pd.DataFrame(columns=["subject", "quantity", "description", "median", "q2.5", "q97.5"])


def _levels(fit: Fit) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Parameters of the population and of every subject: labels, and values of shape (draw, label)."""
    plan, posterior = fit.plan, fit.idata["posterior"].to_dataset()
    n_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    labels, at = _joint_cells(fit)
    population: dict[str, np.ndarray] = {}
    own: dict[str, np.ndarray] = {}
    for name, p in plan.parameters.items():
        factor = unit_factor(p, fit.trials.outcome_scale)
        if name in plan.fixed:
            population[name] = np.full((n_draws, 1), factor * plan.fixed[name])
            own[name] = np.full((n_draws, len(at[name])), factor * plan.fixed[name])
            continue
        values = posterior[name].transpose("chain", "draw", ...).to_numpy()
        own[name] = factor * values.reshape(n_draws, -1)[:, at[name]]
        if f"{name}_mu" in posterior:
            mu = posterior[f"{name}_mu"].transpose("chain", "draw").to_numpy().reshape(-1, 1)
            population[name] = factor * natural(mu, p.link, p.lower, p.upper)
    whole = len(population) == len(plan.parameters) and plan.pooling != "none"
    return [*([({"subject": [""]}, population)] if whole else []), (labels, own)]


def _joint_cells(fit: Fit) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Where all parameters of a subject are constant: labels, and the cell of each parameter, shape (label,)."""
    plan, trials = fit.plan, fit.trials
    sequence, owner = (trials.frame[name].to_numpy() for name in ("sequence", "subject_idx"))
    by_row = {n: d.index if d.by_row else np.asarray(d.index)[sequence] for n, d in plan.designs.items()}
    _, first = np.unique(np.column_stack([owner, *by_row.values()]), axis=0, return_index=True)
    first = first[np.lexsort((first, owner[first]))]
    labels: dict[str, Any] = {"subject": np.array(trials.subjects, dtype=object)[owner[first]]}
    for name, design in plan.designs.items():
        labels |= {label: values[by_row[name][first]] for label, values in design.labels.items()}
    return labels, {name: cell[first] for name, cell in by_row.items()}
