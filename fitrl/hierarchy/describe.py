"""A design in words, and what it cannot tell: printed before anything is sampled."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from fitrl.data import Trials
from fitrl.data.findings import counted, listing
from fitrl.errors import DataError
from fitrl.hierarchy.covariates import Covariate, read_covariate
from fitrl.hierarchy.design import Design
from fitrl.hierarchy.plan import Plan

_SMALL_GROUP = 2  # subjects: a group of so few says nothing of a population
_FEW = 0.2  # of the subjects: a factor that varies in so few is a slip more often than a condition
_UNEVEN = 0.1  # of the subjects: how far orders may differ in number and still count as balanced
_LEARNING = re.compile(r"learning rate")
_NOISE = re.compile(r"inverse temperature|lapse|noise of the choice")


def describe_design(plan: Plan, trials: Trials) -> str:
    """Write what the formulas mean: cells, coding of the covariates, coefficients with their priors.

    Parameters
    ----------
    plan : Plan
    trials : Trials

    Returns
    -------
    str
        Several lines; empty without formulas.
    """
    lines = []
    for name, priors in plan.effects.items():
        design, p = plan.designs[name], plan.parameters[name]
        lines.append(f"{name} ~ {design.formula.text if design.formula else 1} ({p.link} link)")
        cells = counted(len(design.subject), "value")
        why = "one per subject" if design.by_subject else f"one per subject and {', '.join(design.labels)}"
        where = ", changing from trial to trial" if design.by_row else ""
        lines.append(f"  {cells}: {why}{where}")
        lines += [f"  {c.name}: {c.coding()}" for c in design.covariates.values()]
        located = "the average of the design" if len(design.locations) == 1 else listing(design.locations, most=12)
        lines.append(f"  location ~ {p.location}: {located}")
        lines += [f"  {c.name} ~ normal(0, {priors.sd(c.term) * c.spread:.3g})" for c in design.effects]
        if design.slopes is not None and plan.pooling == "partial":
            lines.append(f"  sd between subjects of the effect of {listing(design.slopes.terms)} ~ {priors.slopes}")
        if design.spread is not None:
            sd = priors.spread.args[1]
            lines += [
                f"  log sd between subjects, {c.name} ~ normal(0, {sd * c.spread:.3g})" for c in design.spread.columns
            ]
    return "\n".join(lines)


def notes(plan: Plan, trials: Trials) -> list[str]:
    """Name what the formulas of a plan cannot tell, or had better have.

    Parameters
    ----------
    plan : Plan
    trials : Trials

    Returns
    -------
    list of str
        A learning rate with a covariate that the noise of the choice does not have; an effect within subjects without
        slopes; see also `design_notes`.
    """
    found = []
    for name in plan.effects:
        design = plan.designs[name]
        found += design_notes(design, trials)
        same = [n for n, c in design.covariates.items() if c.varies != "subject"]
        if same and design.slopes is None and plan.pooling == "partial":
            found.append(
                f"{name}: the effect of {listing(same)} is taken to be the same in all subjects. Where it is not, the "
                f"interval is too narrow for a statement about other people: add ({' + '.join(same)} | subject)."
            )
    described = {name: p.description for name, p in plan.estimated.items()}
    learning = [name for name in plan.effects if _LEARNING.search(described[name])]
    noise = [name for name, text in described.items() if _NOISE.search(text)]
    for name in learning:
        design = plan.designs[name]
        own = list(design.covariates)
        if noise and not any(set(own) <= set(plan.designs[other].covariates) for other in noise):
            text = design.formula.text if design.formula else "1"
            found.append(
                f"{name} has {listing(own)} in its formula, but {listing(noise)} has not: differences in noise would "
                f'be taken for differences in learning. Add the formula "{noise[0]} ~ {text}".'
            )
    return list(dict.fromkeys(found))


def design_notes(design: Design, trials: Trials) -> list[str]:
    """Name what a design cannot tell, before anything is sampled.

    Parameters
    ----------
    design : Design
    trials : Trials

    Returns
    -------
    list of str
        A factor that varies in a few subjects only, which is a slip more often than not; groups of one or two subjects;
        a manipulation that is always in the same session, or whose session is not known, or not in the formula.
    """
    found = [note for c in design.covariates.values() if c.is_factor for note in _slips(c, trials)]
    first = np.unique(trials.frame["subject_idx"].to_numpy(), return_index=True)[1]
    factors = {name: c for name, c in design.covariates.items() if c.is_factor}
    for name, c in factors.items():
        if c.varies == "subject":
            sizes = np.bincount(c.codes[first], minlength=len(c.levels))
            found += [
                f"{name} = {level} has {counted(int(size), 'subject')}, from whom little can be learned of "
                "a population."
                for level, size in zip(c.levels, sizes, strict=True)
                if size <= _SMALL_GROUP
            ]
    column = trials.columns.get("session")
    session = read_session(trials)
    for name, c in factors.items():
        if c.varies != "session" or name == "session":
            continue
        if name == column and all(re.search(r"\d", level) for level in c.levels):
            continue  # sessions that are numbered are in that order
        if session is None or name == column:
            found.append(
                f"no column says in which order the levels of {name} were done, so that its effect cannot be told from "
                "practice or carry-over. Where the order is known, name it as the session, or add it to the formula."
            )
        elif _goes_with(c.codes, session.codes):
            found.append(
                f"every level of {name} was always done in the same session, so that its effect cannot be told from "
                "that of the session (practice, carry-over)."
            )
        elif not {"session", column} & set(design.covariates) and not _is_balanced(c.codes, session.codes, trials):
            found.append(
                f"the session is not in the formula with {name}, and the order is not balanced over subjects: "
                f"+ {column} keeps practice out of the effect."
            )
    return found


def _slips(covariate: Covariate, trials: Trials) -> list[str]:
    """Name the subjects in whom a factor varies where it is the same throughout in nearly all others."""
    frame = pd.DataFrame({"subject": trials.frame["subject"].astype(str).to_numpy(), "code": covariate.codes})
    several = frame.groupby("subject", sort=False)["code"].nunique() > 1
    if not 0 < several.sum() <= _FEW * len(several):
        return []
    told = []
    for subject in several.index[several]:
        counts = frame.loc[frame["subject"] == subject, "code"].value_counts()
        rows = ", ".join(f"{covariate.levels[code]} in {n:,}" for code, n in counts.items())
        told.append(f"{subject} ({rows} rows)")
    return [
        f"{covariate.name} is the same in all rows of a subject, except for {listing(told)}. If it tells people apart, "
        "these rows hold a slip, which makes it a condition within subjects: mend them."
    ]


def read_session(trials: Trials) -> Covariate | None:
    """Read the session as a factor; None where there is one session or none is recorded."""
    if "session" not in trials.columns:
        return None
    try:
        return read_covariate(trials, "session", factor=True)
    except DataError:  # one session, or a blank
        return None


def _is_balanced(codes: np.ndarray, session: np.ndarray, trials: Trials) -> bool:
    """Whether every level was done by about as many subjects in each session: practice then cancels out."""
    done = pd.DataFrame({"subject": trials.frame["subject_idx"].to_numpy(), "level": codes, "session": session})
    counts = done.drop_duplicates().groupby(["level", "session"]).size().unstack(fill_value=0).to_numpy()
    return int(counts.max() - counts.min()) <= max(1, _UNEVEN * trials.n_subjects)


def _goes_with(codes: np.ndarray, session: np.ndarray) -> bool:
    """Whether the level follows from the session."""
    return bool((pd.Series(codes).groupby(session).nunique() == 1).all())
