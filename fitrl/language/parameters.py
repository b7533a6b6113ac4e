"""Parameters of a model: their meaning, range, link and default priors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

from fitrl.errors import ModelError

LINKS = ("logit", "log", "identity", "probit_approx")

_FAMILIES = {"normal": 2, "halfnormal": 1, "halfcauchy": 1, "uniform": 2, "exponential": 1}


@dataclass(frozen=True)
class Prior:
    """A prior distribution by name, for example ``Prior("normal", (0, 1.5))``.

    Families: normal(mean, sd), halfnormal(sd), halfcauchy(scale), uniform(lower, upper),
    exponential(rate).
    """

    family: str
    args: tuple[float, ...]

    def __post_init__(self):
        if self.family not in _FAMILIES:
            known = ", ".join(_FAMILIES)
            raise ModelError(f'"{self.family}" is not a prior family. Known families: {known}.')
        if len(self.args) != _FAMILIES[self.family]:
            raise ModelError(f"{self.family} takes {_FAMILIES[self.family]} number(s), got {len(self.args)}: {self}.")
        positive = self.args if self.family in ("halfnormal", "halfcauchy", "exponential") else self.args[1:]
        if self.family != "uniform" and any(not a > 0 for a in positive):
            raise ModelError(f"the scale of {self} must be above 0.")
        if self.family == "uniform" and not self.args[0] < self.args[1]:
            raise ModelError(f"the bounds of {self} must be in increasing order.")

    def __str__(self) -> str:
        return f"{self.family}({', '.join(f'{a:g}' for a in self.args)})"

    @classmethod
    def parse(cls, text: str) -> Prior:
        """Read ``"normal(0, 1.5)"``.

        Examples
        --------
        >>> Prior.parse("halfnormal(0.5)")
        Prior(family='halfnormal', args=(0.5,))
        """
        match = re.fullmatch(r"\s*([a-z]+)\s*\(([^()]*)\)\s*", text)
        try:
            if match is None:
                raise ValueError
            args = tuple(float(part) for part in match[2].split(","))
        except ValueError:
            raise ModelError(f'"{text}" is not a prior. Write it like "normal(0, 1.5)".') from None
        return cls(match[1], args)


@dataclass(frozen=True)
class Parameter:
    """One fitted parameter of a model.

    The subject's value is ``link(location + scale * z)``, where location and scale have the priors
    given here, on the link scale.

    Attributes
    ----------
    description : str
        What it is, in the field's words.
    link : {"logit", "log", "identity", "probit_approx"}
        From the real line to the parameter's range.
    lower, upper : float
        Range on the natural scale. The log link uses ``lower`` only, identity neither.
    location, scale : Prior
        Group location and between-subject standard deviation, on the link scale.
    unit : {"", "outcome", "1/outcome"}
        Whether the value scales with the outcomes (an initial value, an inverse temperature).
    usual : tuple of float
        Usual range on the natural scale, for simulations and warnings, not for priors.
    per_option : bool
        Whether there is one value per option after the first (relative to the first, which is 0).
    name : str
        Set by the model class.
    """

    description: str
    link: str
    lower: float = -math.inf
    upper: float = math.inf
    location: Prior = field(default=Prior("normal", (0.0, 1.0)))
    scale: Prior = field(default=Prior("halfnormal", (1.0,)))
    unit: str = ""
    usual: tuple[float, float] = (0.0, 1.0)
    per_option: bool = False
    name: str = ""

    def __post_init__(self):
        if self.link not in LINKS:
            raise ModelError(f'"{self.link}" is not a link. Known links: {", ".join(LINKS)}.')
        if self.link in ("logit", "probit_approx") and not (
            math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper
        ):
            raise ModelError(f"{self.name or 'a parameter'}: the {self.link} link needs finite bounds.")

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    def but(self, **changes) -> Parameter:
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)


def unit(
    description: str,
    *,
    location: tuple[float, float] = (0.0, 1.5),
    scale: float = 1.5,
    usual: tuple[float, float] = (0.05, 0.6),
) -> Parameter:
    """Declare a parameter in (0, 1) with a logit link, such as a learning rate.

    Parameters
    ----------
    description : str
        What it is.
    location : (float, float)
        Mean and sd of the normal prior on the group location, in logits.
    scale : float
        Scale of the half-normal prior on the between-subject sd, in logits. People of public data sets differ by .7 to
        4 (learning rates, model-based weights), half of them by more than 1.6.
    usual : (float, float)
        Usual range, for simulations.
    """
    return Parameter(
        description,
        "logit",
        0.0,
        1.0,
        Prior("normal", location),
        Prior("halfnormal", (scale,)),
        usual=usual,
    )


def lapse(description: str, *, usual: tuple[float, float] = (0.005, 0.15)) -> Parameter:
    """Declare a probability that is usually small, such as a lapse rate (logit link)."""
    return unit(description, location=(-3.5, 1.0), scale=0.5, usual=usual)


def positive(
    description: str,
    *,
    median: float = 3.0,
    spread: float = 0.8,
    scale: float = 0.75,
    unit: str = "",
    usual: tuple[float, float] = (1.0, 15.0),
) -> Parameter:
    """Declare a parameter above 0 with a log link, such as an inverse temperature.

    Parameters
    ----------
    description : str
        What it is.
    median : float
        Prior median of the group median, on the natural scale.
    spread : float
        Prior sd of the group location, on the log scale.
    scale : float
        Scale of the half-normal prior on the between-subject sd, on the log scale. People of public data sets differ by
        .4 to 1.1 in inverse temperatures.
    unit : {"", "outcome", "1/outcome"}
        ``"1/outcome"`` for a slope on outcomes, so that reports undo the outcome scale.
    usual : (float, float)
        Usual range, for simulations.
    """
    return Parameter(
        description,
        "log",
        0.0,
        math.inf,
        Prior("normal", (math.log(median), spread)),
        Prior("halfnormal", (scale,)),
        unit=unit,
        usual=usual,
    )


def real(
    description: str,
    *,
    location: tuple[float, float] = (0.0, 1.0),
    scale: float = 1.0,
    unit: str = "",
    usual: tuple[float, float] = (-0.5, 1.5),
    per_option: bool = False,
) -> Parameter:
    """Declare a parameter on the real line, such as stickiness (identity link).

    Parameters
    ----------
    description : str
        What it is.
    location : (float, float)
        Mean and sd of the normal prior on the group location.
    scale : float
        Scale of the half-normal prior on the between-subject sd.
    unit : {"", "outcome", "1/outcome"}
        ``"outcome"`` for a value on the outcome scale.
    usual : (float, float)
        Usual range, for simulations.
    per_option : bool
        One value per option after the first; ``p.<name>`` is then a table whose first cell is 0.
    """
    return Parameter(
        description,
        "identity",
        location=Prior("normal", location),
        scale=Prior("halfnormal", (scale,)),
        unit=unit,
        usual=usual,
        per_option=per_option,
    )


@dataclass(frozen=True)
class Derived:
    """A quantity computed from fitted parameters, such as ``w_mb`` from ``beta_mb`` and ``beta_mf``.

    Attributes
    ----------
    description : str
        What it is.
    formula : callable
        From the namespace of fitted parameters to the value.
    sources : tuple of str
        Fitted parameters it is computed from.
    """

    description: str
    formula: object
    sources: tuple[str, ...]
    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)


def derived(description: str, formula, sources: tuple[str, ...]) -> Derived:
    """Declare a quantity computed from fitted parameters; it is reported, not fitted.

    Examples
    --------
    >>> w_mb = derived("model-based weight", lambda p: p.beta_mb / (p.beta_mb + p.beta_mf), ("beta_mb", "beta_mf"))
    """
    return Derived(description, formula, tuple(sources))


@dataclass(frozen=True)
class Option:
    """A static setting of a model, such as the initial value: declared, stored, printed, never fitted."""

    default: object
    description: str
    choices: tuple = ()
    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)


def option(default, description: str, choices: tuple = ()) -> Option:
    """Declare a static setting; ``self.<name>`` gives its value inside the model."""
    return Option(default, description, tuple(choices))


@dataclass(frozen=True)
class Latent:
    """A trial-wise quantity that the model records, documented for its card and for exports."""

    description: str
    unit: str = ""
    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)


def latent(description: str, unit: str = "") -> Latent:
    """Document a state field or a recorded quantity; ``unit="outcome"`` if it scales with outcomes."""
    return Latent(description, unit)
