"""Which other changes of a single parameter look like a perturbation, and what tells them apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from fitrl.errors import ModelError
from fitrl.perturb.perturbation import Perturbation, Target
from fitrl.perturb.phases import phases
from fitrl.perturb.population import Population
from fitrl.perturb.signatures import aligned, signatures_of, standardised

# How far a parameter may go, in between-subject standard deviations, and the first look along the way.
_FAR, _LOOKS, _STEPS = 4.0, 9, 6


@dataclass(frozen=True)
class Lookalikes:
    """What `lookalikes` found.

    Attributes
    ----------
    perturbation : Perturbation
        What is imitated.
    table : DataFrame
        One row per other parameter (and phase, where it has two), the best imitation first: param, phase, ``delta``
        (the shift that imitates best, on the link scale), ``without`` and ``with_`` (medians on the natural scale),
        ``mimicry`` (share of the effect on behaviour that it reproduces: 1 all of it, 0 none), ``remaining`` (what is
        left, in between-subject standard deviations), ``telling`` (the signature in which it differs most) and
        ``difference`` (there, imitation less perturbation, in between-subject standard deviations).
    signatures : DataFrame
        One row per condition and value of a signature: condition, signature, x, mean, se, n_subjects and ``d`` (from
        the perturbation, in between-subject standard deviations). Conditions: "without", the id of the perturbation,
        and the imitations.
    effect : float
        Size of the perturbation's effect on behaviour, in between-subject standard deviations.
    chance : float
        The same for people who only had other luck in their choices. An effect that is not larger than this cannot be
        compared with anything: simulate more subjects.
    """

    perturbation: Perturbation
    table: pd.DataFrame
    signatures: pd.DataFrame
    effect: float
    chance: float


def lookalikes(people: Population, perturbation: Perturbation, among: Sequence[str] | None = None) -> Lookalikes:
    """Find the changes of one parameter elsewhere that imitate a perturbation in behaviour.

    Every parameter that is not perturbed (and the other phase of one that is, where it acts in both) is shifted, alone,
    until the signatures of simulated people are as close as they get to those under the perturbation. All simulations
    share the world and the luck of `people`.

    Parameters
    ----------
    people : Population
        At least 50 subjects; more make the comparison sharper.
    perturbation : Perturbation
    among : sequence of str, optional
        Parameters to try; by default all.

    Returns
    -------
    Lookalikes

    Raises
    ------
    ModelError
        If the perturbation does not apply, does not change behaviour at all, or there is no other parameter.

    Notes
    -----
    The distance of two tables of signatures is the root of the mean squared difference in between-subject standard
    deviations: over the values of each signature first, then over signatures, so that a curve of many points counts
    once. ``mimicry = 1 - (remaining / effect)^2``, the share of the squared distance that is explained; 0 where nothing
    helps. A good imitation says that this task cannot tell the two apart on average behaviour; it does not say that a
    fit of single trials cannot.

    Examples
    --------
    >>> fitrl.lookalikes(people, drug).table  # doctest: +SKIP
    """
    baseline = signatures_of(people.simulate().trials)
    under = people.with_(perturbation)
    target = aligned(signatures_of(under.simulate().trials), baseline)
    effect = distance(baseline, target)
    if not effect > 0:
        raise ModelError(f"{perturbation.id} does not change any signature of this task, so that nothing imitates it.")
    acts = phases(people.agents.model, people.agents.task)
    changed = {(e.param, phase) for e in under.perturbed.effects for phase in _copies(e.phase, acts[e.param])}
    candidates = [
        (name, phase)
        for name, where in acts.items()
        for phase in _copies("both", where)
        if (name, phase) not in changed and (among is None or name in among)
    ]
    if not candidates:
        raise ModelError(f"there is no other parameter that could imitate {perturbation.id}. Known: {', '.join(acts)}.")
    rows, tables = [], {"without": baseline, perturbation.id: target}
    for name, phase in candidates:
        label = name if acts[name] != "both" else f"{name} ({phase})"
        row, table = _imitate(people, baseline, target, name, phase, label)
        rows.append({"param": name, "phase": phase, **row, "condition": label})
        tables[label] = table
    found = pd.DataFrame(rows)
    found["mimicry"] = np.clip(1 - (found["remaining"] / effect) ** 2, 0.0, 1.0)
    columns = [
        "condition",
        "param",
        "phase",
        "delta",
        "without",
        "with_",
        "mimicry",
        "remaining",
        "telling",
        "difference",
    ]
    found = found[columns].sort_values("remaining", ignore_index=True)
    parts = [
        table.assign(condition=label, d=standardised(table, target))[
            ["condition", "signature", "x", "mean", "se", "n_subjects", "d"]
        ]
        for label, table in tables.items()
    ]
    return Lookalikes(perturbation, found, pd.concat(parts, ignore_index=True), effect, _chance(people, baseline))


def distance(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return how far two tables of signatures with the same rows are apart, in between-subject standard deviations."""
    squares = pd.Series(standardised(first, second) ** 2).groupby(first["signature"].to_numpy()).mean()
    return float(np.sqrt(squares.mean()))


def _chance(people: Population, baseline: pd.DataFrame) -> float:
    """Return the distance between people and themselves with other luck, in the same world."""
    (rng,) = copy.deepcopy(people.agents.rng).spawn(1)
    again = replace(people, agents=replace(people.agents, rng=rng))
    return distance(aligned(signatures_of(again.simulate().trials), baseline), baseline)


def _copies(phase: str, acts: str) -> tuple[str, ...]:
    """Name the copies of a parameter that a change in `phase` touches."""
    if acts != "both":
        return (acts,)
    return ("choose", "learn") if phase == "both" else (phase,)


def _imitate(
    people: Population, baseline: pd.DataFrame, target: pd.DataFrame, name: str, phase: str, label: str
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Find the shift of one parameter that comes closest."""

    def shifted(delta: float) -> Population:
        # In sd units, so that parameters on different links are searched alike.
        return people.with_(Perturbation(label, (Target(name, delta, unit="sd"),), phase=phase))

    def table_at(delta: float) -> pd.DataFrame:
        return aligned(signatures_of(shifted(delta).simulate().trials), baseline)

    best = _minimum(lambda delta: distance(table_at(delta), target))
    made, table = shifted(best), table_at(best)
    d = standardised(table, target)
    where = int(np.nanargmax(np.abs(d)))
    (effect,) = made.perturbed.effects
    return {
        "delta": float(np.mean(effect.shift)) if effect.shift is not None else np.nan,
        "without": float(np.median(people.perturbed.in_phase(phase)[name])),
        "with_": float(np.median(made.perturbed.in_phase(phase)[name])),
        "remaining": distance(table, target),
        "telling": f"{table['signature'][where]}: {table['x'][where]}",
        "difference": float(d[where]),
    }, table


def _minimum(f: Callable[[float], float]) -> float:
    """Search a line: look along it first, since the distance need not have one minimum, then go to the bottom."""
    looks = np.linspace(-_FAR, _FAR, _LOOKS)
    heights = [f(float(x)) for x in looks]
    best = int(np.argmin(heights))
    low, high = looks[max(best - 1, 0)], looks[min(best + 1, _LOOKS - 1)]
    found = minimize_scalar(f, bounds=(low, high), method="bounded", options={"maxiter": _STEPS, "xatol": 0.02})
    return float(found.x) if found.fun < heights[best] else float(looks[best])
