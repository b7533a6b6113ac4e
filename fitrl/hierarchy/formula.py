"""Formulas: which covariates move a parameter, and how subjects may differ in that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from formulae import model_description
from formulae.parser import ParseError
from formulae.scanner import ScanError
from formulae.terms.call import Call
from formulae.terms.terms import Intercept, Model, Term
from formulae.terms.variable import Variable as Named

from fitrl.errors import ModelError

SUBJECT = "subject"
_NAME = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|[^\W\d][\w.]*")


@dataclass(frozen=True)
class Formula:
    """The right-hand side of a formula, with nothing decided about the coding.

    Attributes
    ----------
    text : str
        Right-hand side as the user wrote it.
    intercept : bool
        False after ``0 +``: the first term then gives one location per level.
    terms : tuple of tuple of str
        Covariates of each term; more than one for an interaction.
    slopes : tuple of tuple of str
        Terms whose effect differs between subjects.
    references : dict of str to str or None
        Covariates that were wrapped in ``C()``: factors whatever their values, with the level that comes first.
    spread : tuple of str
        Covariates that were wrapped in ``sd()``: they move how much subjects differ.
    """

    text: str
    intercept: bool
    terms: tuple[tuple[str, ...], ...]
    slopes: tuple[tuple[str, ...], ...]
    references: dict[str, str | None]
    spread: tuple[str, ...] = ()

    @property
    def covariates(self) -> tuple[str, ...]:
        """Every covariate, in order of appearance."""
        return tuple(dict.fromkeys(name for term in (*self.terms, *self.slopes, self.spread) for name in term))


def read_formulas(texts: Iterable[str]) -> dict[str, str]:
    """Read formulas with their left-hand sides.

    Parameters
    ----------
    texts : iterable of str
        ``"alpha ~ group + age"``, or ``"alpha, beta ~ group"`` for several parameters.

    Returns
    -------
    dict of str to str
        Parameter to the right-hand side.

    Raises
    ------
    ModelError
        If there is no "~", no parameter, or a parameter comes twice.

    Examples
    --------
    >>> read_formulas(["alpha, beta ~ group"])
    {'alpha': 'group', 'beta': 'group'}
    """
    found: dict[str, str] = {}
    for text in texts:
        left, tilde, right = text.partition("~")
        names = [name.strip() for name in left.split(",")]
        if not tilde or not all(names):
            raise ModelError(f'the formula "{text}" cannot be read. Write it like "alpha ~ group + age".')
        for name in names:
            if name in found:
                raise ModelError(f"{name} has two formulas. Write one, with all terms in it.")
            found[name] = right.strip()
    return found


def parse_formula(parameter: str, text: str) -> Formula:
    """Parse the formula of one parameter; what covariates mean is decided elsewhere.

    Parameters
    ----------
    parameter : str
        The parameter, for messages.
    text : str
        ``"group + age"``, or with the parameter on the left, ``"alpha ~ group + age"``.

    Returns
    -------
    Formula

    Raises
    ------
    ModelError
        If it cannot be read, or asks for what there is not: functions other than ``C()`` and ``sd()``, groups of rows
        other than subjects, an interaction without its main effects.

    Notes
    -----
    The grammar is that of ``formulae``, of which only the parser is used: what it would do with data (dropping rows
    with missing values, treatment contrasts) is done in `fitrl.hierarchy.covariates`.

    Examples
    --------
    >>> parse_formula("alpha", "drug * age + (drug | subject)").terms
    (('drug',), ('age',), ('drug', 'age'))
    """
    left, tilde, right = text.partition("~")
    if tilde and left.strip() not in ("", parameter):
        raise ModelError(f'the formula of {parameter} is "{text}", whose left-hand side is another one.')
    right = (right if tilde else text).strip()
    place = f'the formula "{parameter} ~ {right}"'
    try:
        parsed: Model = model_description(f"{parameter} ~ {right}")
    except (ParseError, ScanError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is not complete"
        raise ModelError(f'{place} cannot be read ({reason}). Write it like "{parameter} ~ group + age".') from None
    references: dict[str, str | None] = {}
    named = [(term, _spread(term)) for term in parsed.common_terms if isinstance(term, Term)]
    spread = tuple(name for _, name in named if name is not None)
    common = [_covariates(term, place, references) for term, name in named if name is None]
    intercept = any(isinstance(term, Intercept) for term in parsed.common_terms)
    slopes = _slopes(parsed, place, references)
    formula = Formula(right, intercept, tuple(common), slopes, references, spread)
    _check(formula, place)
    return formula


def _spread(term: Term) -> str | None:
    """Name of the covariate in ``sd(covariate)``; None for any other term."""
    if len(term.components) != 1 or not isinstance(term.components[0], Call):
        return None
    call = term.components[0].call
    names = [getattr(argument, "name", None) for argument in call.args]
    return names[0] if call.callee == "sd" and len(names) == 1 and not call.kwargs else None


def _covariates(term: Term, place: str, references: dict[str, str | None]) -> tuple[str, ...]:
    return tuple(_covariate(component, place, references) for component in term.components)


def _covariate(component: Any, place: str, references: dict[str, str | None]) -> str:
    if isinstance(component, Call):
        call = component.call
        names = [getattr(argument, "name", None) for argument in call.args]
        reference = [v for v in (getattr(a, "value", None) for a in call.args[1:]) if isinstance(v, str)]
        if call.callee != "C" or not names or names[0] is None or call.kwargs or len(call.args) != 1 + len(reference):
            raise ModelError(
                f"{place} has {component.name}, which is not known. Only C(factor), C(factor, 'first level') and, as "
                "a term of its own, sd(covariate) are; "
                "anything else is a column to be computed in the table. Covariates are z-scored as they are."
            )
        references[names[0]] = reference[0] if reference else None
        return names[0]
    if not isinstance(component, Named) or not isinstance(component.name, str) or component.reference is not None:
        raise ModelError(f"{place} has {component.name}, which is not the name of a column.")
    return component.name


def _slopes(parsed: Model, place: str, references: dict[str, str | None]) -> tuple[tuple[str, ...], ...]:
    found, own = [], False
    for term in parsed.group_terms:
        factor = _covariates(term.factor, place, references)
        if factor != (SUBJECT,):
            raise ModelError(f"{place} has a term by {':'.join(factor)}; terms after | differ by {SUBJECT} only.")
        if isinstance(term.expr, Intercept):
            own = True
        else:
            found.append(_covariates(term.expr, place, references))
    if found and not own:
        raise ModelError(f"{place}: subjects always have a value of their own. Leave the 0 out of the term before |.")
    return tuple(found)


def _check(formula: Formula, place: str) -> None:
    """Refuse what the parser swallows, and what would not mean what it seems to."""
    text = formula.text
    written = {name.strip("`") for name in _NAME.findall(text) if name[0] not in "'\""}
    written -= {"C", SUBJECT, *(["sd"] if formula.spread else [])}
    lost = sorted(written - set(formula.covariates))
    if lost and "-" not in text:
        raise ModelError(f"{place} cannot be read: {', '.join(lost)} is lost. Put + between terms.")
    if SUBJECT in formula.covariates:
        raise ModelError(f"{place}: every subject has a value of its own already; leave {SUBJECT} out.")
    if not formula.intercept and not formula.terms:
        raise ModelError(f"{place} has no location. Leave the 0 out, or name a factor: 0 + condition.")
    standing = [set(term) for term in formula.terms]
    first = 0 if formula.intercept else 1
    for term in formula.terms[first:]:
        for name in term:
            smaller = set(term) - {name}
            if smaller and smaller not in standing:
                raise ModelError(
                    f"{place} has {':'.join(term)} without {':'.join(n for n in term if n != name)}. Write "
                    f"{'*'.join(term)}, or 0 + {':'.join(term)} for one location per combination."
                )
    for slope in formula.slopes:
        if set(slope) not in standing:
            raise ModelError(
                f"{place}: subjects differ in the effect of {':'.join(slope)}, which has no effect. "
                f"Add {':'.join(slope)}."
            )


def check_names(formulas: Mapping[str, str], fitted: Iterable[str], derived: Mapping[str, Any]) -> None:
    """Refuse formulas of what is not fitted.

    Raises
    ------
    ModelError
        Naming the fitted parameters that a derived quantity comes from, or the nearest name.
    """
    from fitrl.language.state import unknown

    fitted = list(fitted)
    for name in formulas:
        if name in derived:
            sources = ", ".join(derived[name].sources)
            raise ModelError(
                f"{name} is computed from {sources}, not fitted. Give those a formula; effects on {name} follow from "
                f'them (fitrl contrast ... --parameter {name}, or fitrl.contrast(..., parameter="{name}")).'
            )
        if name not in fitted:
            raise ModelError(unknown("parameter", name, fitted))
