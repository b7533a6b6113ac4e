"""The inverse of a perturbation: the same change as coefficients of a hierarchical model, its size estimated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitrl.data import Trials
from fitrl.errors import ModelError
from fitrl.fitting.effects import compared, link_draws
from fitrl.fitting.fit import Fit, fit, prepare
from fitrl.hierarchy.covariates import Covariate, read_covariate
from fitrl.hierarchy.formula import parse_formula
from fitrl.hierarchy.plan import unit_factor
from fitrl.language.model import Model
from fitrl.language.state import unknown
from fitrl.language.traits import PhaseShift
from fitrl.perturb.perturbation import Perturbation, Target
from fitrl.perturb.phases import phases
from fitrl.perturb.targets import Place, placed, size_on_link

_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Coefficient:
    """One coefficient that a perturbation is in a hierarchical model.

    Attributes
    ----------
    param : str
        The parameter of the model that changes.
    target : Target
    size : float
        What the perturbation states, on the link scale of the model, in the unit of the target.
    measure : str or None
        Of a moderator: the coefficient then is the change of the effect per standard deviation of this measure.
    phase : {"both", "learn", "choose"}
        Where it changes; "both" wherever the parameter acts.
    """

    param: str
    target: Target
    size: float
    measure: str | None = None
    phase: str = "both"

    @property
    def moves(self) -> str:
        """Parameter of the fit that has the coefficient: that of `PhaseShift` for a change in one of two phases."""
        return self.param if self.phase == "both" else PhaseShift(parameter=self.param, phase=self.phase).shift


@dataclass(frozen=True)
class Manipulation:
    """Which rows of the data are under the perturbation.

    Attributes
    ----------
    column : str
        The user's name of the column.
    present, absent : str
        Level with the perturbation, and the one that it is compared with.
    within : bool
        Whether the same people have both.
    """

    column: str
    present: str
    absent: str
    within: bool

    def label(self) -> str:
        """Name the comparison, as in ``drug[haloperidol - placebo]``."""
        return f"{self.column}[{self.present} - {self.absent}]"

    def formula(self, measure: str | None = None) -> str:
        """Write the right-hand side of a formula in which it moves a parameter."""
        column = _quoted(self.column)
        # The parser knows no quotes within quotes; the comparison is the same whichever level comes first.
        text = f"C({column})" if {"'", '"'} & set(self.absent) else f"C({column}, '{self.absent}')"
        text += f" * {_quoted(measure)}" if measure else ""
        return f"{text} + ({column} | subject)" if self.within else text


@dataclass(frozen=True)
class Estimate:
    """A perturbation whose size was estimated; see `estimate`.

    Attributes
    ----------
    perturbation : Perturbation
    fit : Fit
        Look at ``fit.verdict`` first.
    table : DataFrame
        See `read_off`.
    """

    perturbation: Perturbation
    fit: Fit
    table: pd.DataFrame


def estimate(
    perturbation: Perturbation,
    model: Any,
    trials: Any,
    *,
    on: Mapping[str, Any],
    against: Any = None,
    formulas: Mapping[str, str] | None = None,
    subjects: str | Path | pd.DataFrame | None = None,
    **declaration: Any,
) -> Estimate:
    """Fit the sessions, or the people, with and without a perturbation, and estimate how large it is.

    Parameters
    ----------
    perturbation : Perturbation
        Of shifts, and factors of parameters on the log link; it decides which parameters move. Its sizes are not used:
        priors are those of any effect, around 0.
    model, trials, subjects
        As in `fitrl.fit`.
    on : mapping of one str to level
        The column of the trial table, or of `subjects`, that tells where the perturbation acts, and its level there,
        such as ``{"drug": "haloperidol"}``.
    against : level, optional
        What it is compared with; needed if the column has more than two levels.
    formulas : mapping of str to str, optional
        Formulas of other parameters, such as ``{"beta": "drug + (drug | subject)"}``; or of perturbed ones, instead of
        ours, with the column (and the measure of a moderator) in it.
    **declaration
        As in `fitrl.fit`: traits, options, priors, fixed, pooling, quick, random_seed, and what goes to `pm.sample`.

    Returns
    -------
    Estimate

    Raises
    ------
    ModelError
        If the perturbation cannot be a coefficient: it sets, freezes or drops, or is a single case; or the model does
        not have what it changes.
    DataError
        If there is no such column or level.

    Notes
    -----
    A parameter with the perturbation gets the formula ``drug``, and where the same people have both conditions
    ``drug + (drug | subject)``: people respond differently, and leaving that out makes the interval too narrow for a
    statement about other people. With a moderator it is ``drug * measure + (drug | subject)``. Effects have priors
    normal(0, 0.5) on the logit and normal(0, 0.3) on the log link (`fitrl.hierarchy.priors.effect_priors`), which pull
    large effects towards 0.

    A parameter that acts in learning and in choice, changed in one of them, takes two values in a trial: the fit gets
    the trait `fitrl.language.traits.PhaseShift`, whose parameter (``gain_learn``, what learning adds to ``gain``) has
    the formula. The two phases may differ without the perturbation, too, which the data have to tell apart. The prior
    of this effect is normal(0, 0.5), whatever the link of ``gain``.

    Examples
    --------
    >>> blocker = fitrl.Perturbation("blocker", (fitrl.Target("beta", -0.5, unit="sd"),))
    >>> found = fitrl.estimate(blocker, "q_learning", "drug.csv", on={"drug": "haloperidol"})  # doctest: +SKIP
    >>> print(found.fit.verdict, found.table)  # doctest: +SKIP
    """
    same = {name: declaration[name] for name in ("traits", "options", "priors") if name in declaration}
    trials, where, changed = declare(
        perturbation, model, trials, on=on, against=against, formulas=formulas, subjects=subjects, **same
    )
    found = fit(model, trials, **{**declaration, **changed})
    return Estimate(perturbation, found, read_off(perturbation, found, where))


def declare(
    perturbation: Perturbation,
    model: Any,
    trials: Any,
    *,
    on: Mapping[str, Any],
    against: Any = None,
    formulas: Mapping[str, str] | None = None,
    subjects: str | Path | pd.DataFrame | None = None,
    **declaration: Any,
) -> tuple[Trials, Manipulation, dict[str, Any]]:
    """Find what `estimate` is to fit, before anything is sampled.

    Parameters
    ----------
    perturbation, model, trials, on, against, formulas, subjects
        As in `estimate`.
    **declaration
        Traits, options and priors.

    Returns
    -------
    trials : Trials
        With the columns of `subjects`.
    where : Manipulation
    changed : dict
        Arguments of `fitrl.fit` in place of those that were given: formulas and traits.
    """
    # Priors may be about the parameter of a trait that is still to be added; the fit checks them.
    named = declaration.get("priors", "default")
    known = {**declaration, "priors": named if named == "hbayesdm" else "default"}
    plan, trials, _ = prepare(model, trials, subjects=subjects, **known)
    where = manipulation(trials, on, against)
    found = formulas_of(perturbation, plan.model, trials.task, where, formulas)
    apart = _apart(perturbation, plan.model, trials.task)
    return trials, where, {"formulas": found, "traits": [*declaration.get("traits", ()), *apart]}


def _apart(perturbation: Perturbation, model: Model, task: Any) -> list[PhaseShift]:
    """Traits that a model still needs so that a perturbation can be coefficients of it."""
    changes = {c.param: c.phase for c in coefficients(perturbation, model, task) if c.phase != "both"}
    needed = [PhaseShift(parameter=name, phase=phase) for name, phase in changes.items()]
    own = [trait for trait in model.traits if isinstance(trait, PhaseShift)]
    if needed and own and own[0].options != needed[0].options:
        raise ModelError(
            f"{perturbation.id} needs {needed[0].shift}, but the model has {own[0].shift}, and a fit can take one "
            "parameter apart. Leave that trait out."
        )
    return [] if own else needed


def manipulation(trials: Trials, on: Mapping[str, Any], against: Any = None) -> Manipulation:
    """Find the rows that are under a perturbation.

    Parameters
    ----------
    trials : Trials
    on, against
        As in `estimate`.

    Raises
    ------
    ModelError
        If `on` does not name one column, or with several other levels none is chosen.
    DataError
        If there is no such column, or a value is missing.
    """
    if len(on) != 1:
        raise ModelError(f'on = {dict(on)!r}; expected one column and a level, such as {{"drug": "haloperidol"}}.')
    ((column, level),) = on.items()
    covariate = read_covariate(trials, column, factor=True)
    present = _level(covariate, level)
    others = [other for other in covariate.levels if other != present]
    if against is not None:
        absent = _level(covariate, against)
        if absent == present:
            raise ModelError(
                f"{column}: {present} is compared with itself. Choose another level of {', '.join(others)}."
            )
        return Manipulation(column, present, absent, covariate.varies != "subject")
    if len(others) > 1:
        raise ModelError(
            f"{column} has {len(covariate.levels)} levels. Say which of {', '.join(others)} {present} is compared with "
            f"(against, or --against {others[0]})."
        )
    return Manipulation(column, present, others[0], covariate.varies != "subject")


def _level(covariate: Covariate, level: Any) -> str:
    text = str(level).strip()
    if text not in covariate.levels:
        raise ModelError(unknown(f"level of {covariate.name}", text, covariate.levels))
    return text


def _quoted(name: str) -> str:
    return name if _NAME.fullmatch(name) else f"`{name}`"


def coefficients(perturbation: Perturbation, model: Model, task: Any) -> list[Coefficient]:
    """Say which coefficients of a hierarchical model a perturbation is.

    Parameters
    ----------
    perturbation : Perturbation
    model, task
        The model with its traits, and its configured task.

    Returns
    -------
    list of Coefficient
        One per target; with a moderator a second one for its interaction.

    Raises
    ------
    ModelError
        If it cannot be expressed in this way.
    """
    if perturbation.apply_to == "subject":
        raise ModelError(
            f"{perturbation.id} is a single case, so that there is no population whose change could be estimated. Fit "
            "everybody together and look at where this subject lies (subjects.csv)."
        )
    fitted = model.fitted(task)
    found: list[Coefficient] = []
    for place in placed(model, task, perturbation, phases(model, task)):
        size = size_on_link(place.target, fitted[place.param])
        if size is None:
            raise ModelError(f"{perturbation.id}: {_not_a_shift(place)}")
        if any(place.param == other.param for other in found):
            raise ModelError(
                f"{perturbation.id} changes {place.param} twice; data show the sum. Write it as one target."
            )
        m = perturbation.moderator
        found.append(Coefficient(place.param, place.target, size * (1.0 if m is None else m.m0), None, place.phase))
        if m is not None:
            found.append(Coefficient(place.param, place.target, size * m.m1, m.measure, place.phase))
    if len({c.param for c in found if c.phase != "both"}) > 1:
        raise ModelError(
            f"{perturbation.id} changes several parameters in one of two phases; a fit can take one of them apart."
        )
    return found


def _not_a_shift(place: Place) -> str:
    """Say why a target is no coefficient, and what to do instead."""
    name, mode = place.param, place.target.mode
    why = {
        "set": f"{name} at one value for everybody leaves nothing to estimate",
        "freeze": "learning that stops is no amount on a scale",
        "drop": f"without {name} there is nothing to estimate",
        "scale": f"a factor on the natural scale is not the same shift of {name} on its link in everybody",
    }[mode]
    instead = f"Estimate a shift instead, Target({name!r}, ...) with mode='shift', which shows how far it goes"
    if mode in ("freeze", "drop"):
        instead += ", or compare fits of the model with and without it (fitrl compare)"
    return f"{place.target.describe()} cannot be a coefficient: {why}. {instead}."


def formulas_of(
    perturbation: Perturbation,
    model: Model,
    task: Any,
    where: Manipulation,
    formulas: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write a perturbation as formulas.

    Parameters
    ----------
    perturbation, model, task
        As in `coefficients`.
    where : Manipulation
    formulas : mapping of str to str, optional
        As in `estimate`.

    Returns
    -------
    dict of str to str
        Right-hand side by parameter, as `fitrl.fit` takes it.

    Raises
    ------
    ModelError
        As `coefficients`; or if a formula that was given leaves the manipulation out.
    """
    found = dict(formulas or {})
    for coefficient in coefficients(perturbation, model, task):
        name, needed = coefficient.moves, {where.column, coefficient.measure or where.column}
        if formulas and name in formulas:
            terms = parse_formula(name, formulas[name]).terms
            if needed not in [set(term) for term in terms]:
                raise ModelError(
                    f"{perturbation.id} moves {name}, but its formula, {formulas[name]}, has no "
                    f"{':'.join(sorted(needed))}. Add it, or leave the formula out."
                )
        else:
            found[name] = where.formula(coefficient.measure)
    return found


def read_off(perturbation: Perturbation, found: Fit, where: Manipulation) -> pd.DataFrame:
    """Tabulate how large a perturbation is in a fit, beside what it states.

    Parameters
    ----------
    perturbation : Perturbation
    found : Fit
        With the formulas of `formulas_of`.
    where : Manipulation

    Returns
    -------
    DataFrame
        One row per coefficient: parameter, effect, ``stated`` (the target in words), then as `fitrl.effects` has it the
        shift on the link scale with its 95 % highest-density interval and what follows from it;
        ``prob_stated``, the probability of the direction that the perturbation states, NaN where it states none;
        ``stated_shift``, its size on the link scale (a size in sd times the posterior mean of the between-subject sd),
        NaN where the fit has another link than the model, or no population; ``inside``, whether the interval holds it.
    """
    rows = []
    for coefficient in coefficients(perturbation, found.plan.model, found.trials.task):
        name = coefficient.moves
        weighted: list[tuple[float, dict[str, Any]]]
        weighted = [(1.0, {where.column: where.present}), (-1.0, {where.column: where.absent})]
        label = where.label()
        if coefficient.measure is not None:
            c = found.plan.designs[name].covariates[coefficient.measure]
            ends = [(sign, c.mean + sign * c.sd / 2) for sign in (1.0, -1.0)]
            weighted = [(w * sign, at | {c.name: value}) for w, at in weighted for sign, value in ends]
            label += f":{c.name}"
        row: dict[str, Any] = compared(found, name, weighted)
        shift = _stated_shift(coefficient, found)
        toward = np.sign(coefficient.size) * link_draws(found, name, weighted)
        known = not np.isnan(shift)
        rows.append(
            {"parameter": name, "effect": label, "stated": coefficient.target.describe()}
            | row
            | {
                "prob_stated": float((toward > 0).mean()) if coefficient.size else np.nan,
                "stated_shift": shift,
                "inside": bool(row["hdi95_lower"] <= shift <= row["hdi95_upper"]) if known else pd.NA,
            }
        )
    return pd.DataFrame(rows).astype({"inside": "boolean"})


def _stated_shift(coefficient: Coefficient, found: Fit) -> float:
    """Size that a perturbation states, as a coefficient of the fit has it."""
    name = coefficient.param
    p, own = found.plan.parameters[name], found.plan.model.fitted(found.trials.task)[name]
    if coefficient.phase == "both" and (p.link, p.lower, p.upper) != (own.link, own.lower, own.upper):
        return float("nan")
    unit = unit_factor(p, found.trials.outcome_scale) if p.link == "identity" else 1.0
    if coefficient.target.unit == "sd":
        posterior = found.idata["posterior"]
        if f"{name}_sigma" not in posterior:
            return float("nan")
        unit *= float(posterior[f"{name}_sigma"].mean())
    return unit * coefficient.size
