"""The behavioural signatures of a task as one table, with and without a perturbation, and over doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.engine.trace import IN_LEARNING
from fitrl.errors import ModelError
from fitrl.perturb.perturbation import Perturbation
from fitrl.perturb.population import Population
from fitrl.tasks import signatures as sg
from fitrl.tasks.families import family, shown
from fitrl.tasks.scoring import offer_sets

if TYPE_CHECKING:
    from fitrl.data import Trials

# Points of a learning curve, and of the trials around a reversal: few, so that none of them is mostly noise.
_BINS, _BEFORE, _AFTER = 6, 2, 8

Per = dict[Any, np.ndarray]


def signatures_of(trials: Trials) -> pd.DataFrame:
    """Compute every signature that a task has, in one table.

    Parameters
    ----------
    trials : Trials
        Checked trials, such as ``simulation.trials``.

    Returns
    -------
    DataFrame
        One row per value: signature, x, mean (over subjects), se, n_subjects. Tasks with one choice and an outcome:
        ``stay`` (win-stay, lose-shift), ``learning`` (choices of the better option over a run), ``accuracy`` (by set
        of options), ``reversal``, ``transfer`` (choose the best, avoid the worst), ``rate by phase``, as far as the
        task has them. Daw's two-step task: ``stay`` by reward and transition, ``second choice`` (of the better
        option); Kool's: ``stay`` by outcome and start state. Stimuli and actions: ``set_size``, learning by the number
        of stimuli. Any other task: ``shares`` of each option, by what is shown. Measured responses, such as response
        times: their means.

    Raises
    ------
    ModelError
        If no signature can be computed.

    Examples
    --------
    >>> import fitrl
    >>> table = signatures_of(fitrl.simulate("q_learning", subjects=4, trials=30, random_seed=1).trials)
    >>> table["signature"].unique().tolist()
    ['stay', 'learning']
    """
    frame, task = trials.frame, trials.task
    found = _OF_FAMILY[family(task, frame)](trials)
    for column in task.columns:
        if column.kind == "number" and column.name in frame:
            value = np.where(frame[f"mask_{column.name}"], frame[column.name], np.nan)
            found[column.name] = _by_subject(frame, {"mean": value})
    parts = [
        pd.DataFrame({"signature": name, "x": t["x"].astype(str)}).assign(
            mean=t["mean"].astype(float), se=t["se"].astype(float), n_subjects=t["n_subjects"]
        )
        for name, t in found.items()
        if t["mean"].notna().any()
    ]
    if not parts:
        raise ModelError("these trials tell nothing about any signature of the task: choices or outcomes are missing.")
    return pd.concat(parts, ignore_index=True)


def compare_signatures(people: Population, *perturbations: Perturbation) -> pd.DataFrame:
    """Simulate people with and without perturbations, and put their signatures side by side.

    Parameters
    ----------
    people : Population
    *perturbations : Perturbation
        Each on its own; all meet the same world and the same luck.

    Returns
    -------
    DataFrame
        One row per condition and value of a signature: condition ("without", then the ids), signature, x, mean, se,
        n_subjects; difference from "without", and the same in between-subject standard deviations (``d``).

    Examples
    --------
    >>> table = fitrl.compare_signatures(people, drug)  # doctest: +SKIP
    """
    baseline = signatures_of(people.simulate().trials)
    parts = [baseline.assign(difference=0.0, d=0.0)]
    names = ["without"]
    for p in perturbations:
        if p.id in names:
            raise ModelError(f'two conditions are called "{p.id}". Give the perturbations different ids.')
        names.append(p.id)
        table = aligned(signatures_of(people.with_(p).simulate().trials), baseline)
        difference = table["mean"] - baseline["mean"]
        parts.append(table.assign(difference=difference, d=standardised(table, baseline)))
    for name, part in zip(names, parts, strict=True):
        part.insert(0, "condition", name)
    return pd.concat(parts, ignore_index=True)


def dose_response(people: Population, perturbation: Perturbation, doses: Sequence[float]) -> pd.DataFrame:
    """Compute the signatures at several doses; a dose is a factor on the effect.

    Parameters
    ----------
    people : Population
    perturbation : Perturbation
        Of shifts and factors.
    doses : sequence of float
        0 is without, 1 the perturbation as it is; negative for the opposite.

    Returns
    -------
    DataFrame
        One row per dose and value of a signature: dose, one column per perturbed parameter with its median on the
        natural scale (``gain@learn`` for the copy of learning of one that is split), signature, x, mean, se,
        n_subjects.
    """
    parts, baseline = [], None
    for dose in doses:
        made = people.with_(perturbation.scaled(dose))
        table = signatures_of(made.simulate().trials)
        baseline = table if baseline is None else baseline
        table = aligned(table, baseline)
        for i, (name, phase) in enumerate(dict.fromkeys((e.param, e.phase) for e in made.perturbed.effects)):
            where, column = ("learn", IN_LEARNING.format(name)) if phase == "learn" else ("choose", name)
            table.insert(i, column, float(np.median(made.perturbed.in_phase(where)[name])))
        table.insert(0, "dose", float(dose))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def aligned(table: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return a table of signatures with the rows of another: NaN where a value is not defined."""
    key = ["signature", "x"]
    return like[key].merge(table, on=key, how="left")


def standardised(table: pd.DataFrame, baseline: pd.DataFrame) -> np.ndarray:
    """Return differences of two tables of the same rows in between-subject standard deviations.

    Where nobody differs from anybody, the difference is 0 or NaN.
    """
    n = (table["n_subjects"] + baseline["n_subjects"]).to_numpy(float) / 2
    sd = np.sqrt((table["se"] ** 2 + baseline["se"] ** 2).to_numpy() / 2 * n)
    difference = (table["mean"] - baseline["mean"]).to_numpy()
    out = np.where(difference == 0, 0.0, np.nan)
    return np.divide(difference, sd, out=out, where=sd > 0)


def _transitions(trials: Trials) -> dict[str, pd.DataFrame]:
    return {"stay": sg.stay_by_transition(trials.frame), "second choice": _second_choice(trials.frame)}


def _goals(trials: Trials) -> dict[str, pd.DataFrame]:
    return {"stay": sg.stay_by_start(trials.frame)}


def _associations(trials: Trials) -> dict[str, pd.DataFrame]:
    return {"set_size": sg.learning_by_set_size(trials.frame, trials.task.n_options, most=6)}


def _bandit(trials: Trials) -> dict[str, pd.DataFrame]:
    frame, task = trials.frame, trials.task
    values = sg.option_values(frame, task.n_options)
    correct = sg.correct_choice(frame, task.n_options, values)[0]
    found = {
        "stay": sg.stay_rates(sg.win_stay_lose_shift(frame)),
        "learning": sg.learning_curve(frame, correct, bins=_BINS),
    }
    found["learning"]["x"] = [f"trial {x:.0f}" for x in found["learning"]["x"]]
    if len(offer_sets(frame)[1]) > 1:
        found["accuracy"] = sg.accuracy(frame, correct, task.labels)
    best = sg.best_option(values)
    if task.n_options == 2:
        reversal = sg.post_reversal_curve(frame, best, _BEFORE, _AFTER)
        found["reversal"] = reversal.assign(x=[f"lag {x:+d}" for x in reversal["x"]])
    extremes = sg.extreme_options(values)
    if extremes is not None:
        found["transfer"] = sg.choose_avoid(frame, *extremes, labels=task.labels)
    if "phase" in trials.original and task.n_options == 2:
        found["rate by phase"] = sg.learning_rate_by_phase(frame, trials.original["phase"].to_numpy())
    return found


def _second_choice(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of second choices of the better option, where payoffs are known; and of stays in the same state."""
    rows = np.arange(len(frame))
    given = (frame["mask_choice2"] & frame["choice2_given"]).to_numpy()
    state, choice = frame["state2"].to_numpy(), frame["choice2"].to_numpy()
    found: Per = {}
    if "payoff_4" in frame:
        payoff = frame[[f"payoff_{k}" for k in range(1, 5)]].to_numpy()
        chosen, other = payoff[rows, 2 * state + choice], payoff[rows, 2 * state + 1 - choice]
        found["better option"] = np.where(given & (chosen != other), chosen > other, np.nan)
    return (
        _by_subject(frame, found)
        if found
        else _by_subject(frame, {"first option": np.where(given, choice == 0, np.nan)})
    )


def _other(trials: Trials) -> dict[str, pd.DataFrame]:
    frame, task = trials.frame, trials.task
    cue = shown(task, frame)
    levels = task.codings[cue] if cue is not None else ()
    parts = [
        sg.choice_shares(frame, name, task.codings.get(name, task.labels), cue=cue, levels=levels)
        for name in task.choices()
    ]
    return {"shares": pd.concat(parts, ignore_index=True)} if parts else {}


def _by_subject(frame: pd.DataFrame, values: Per) -> pd.DataFrame:
    """Average values of rows over each subject, then over subjects."""
    means = pd.DataFrame(values).groupby(frame["subject_idx"].to_numpy()).mean()
    n = means.notna().sum()
    return pd.DataFrame(
        {
            "x": list(means),
            "mean": means.mean().to_numpy(),
            "se": (means.std() / np.sqrt(n)).to_numpy(),
            "n_subjects": n,
        }
    ).reset_index(drop=True)


_OF_FAMILY = {
    "transitions": _transitions,
    "goals": _goals,
    "associations": _associations,
    "bandit": _bandit,
    "other": _other,
}
