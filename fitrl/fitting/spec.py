"""What a fit was asked to do: the declaration that is saved with it and reads back the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fitrl.errors import FitError


@dataclass(frozen=True)
class ParameterSpec:
    """One fitted parameter as it entered the model.

    Attributes
    ----------
    name, description : str
        Name in the posterior, and what it is.
    link : {"logit", "log", "identity", "probit_approx"}
        From the real line to the parameter's range.
    lower, upper : float
        Range on the natural scale, in the unit of the scaled outcomes.
    unit : {"", "outcome", "1/outcome"}
        Whether reports must undo the outcome scale.
    location, scale : str
        Priors on the link scale, for example ``"normal(0, 1.5)"``.
    """

    name: str
    description: str
    link: str
    lower: float
    upper: float
    unit: str
    location: str
    scale: str


@dataclass(frozen=True)
class FitSpec:
    """Everything that was declared for a fit, without the data and without the draws.

    Attributes
    ----------
    model : str
        Name in the zoo, or path as the user gave it.
    source : str or None
        Text of the user's model file; None for a model of the zoo.
    traits : tuple of (str, dict)
        Traits in order, each with its options.
    options : dict
        Static options of the model with their values.
    parameters : tuple of ParameterSpec
        The fitted parameters.
    pooling : {"partial", "none", "complete"}
        How subjects are related.
    fixed : dict of str to float
        Parameters held at a value, natural scale, in the unit of the scaled outcomes.
    priors : str
        ``"default"``, ``"hbayesdm"`` or the name of the user's file.
    quick : bool
        Whether this is a Laplace approximation.
    seed : int or None
        Seed of the sampler.
    sample_kwargs : dict
        What went to ``pm.sample``, as far as JSON can hold it.
    attempts : tuple of dict
        Log of the retries, for example ``{"target_accept": 0.9, "divergences": 3}``.
    versions : dict of str to str
        Packages and their versions.
    timings : dict of str to float
        Seconds by stage: build, compile, sample, ...
    formulas : dict of str to str
        Right-hand side by parameter, for those that have one.
    effect_priors : dict of str to dict
        Of these, the priors of their effects, as texts.
    correlated : bool
        Whether the parameters of a subject may be correlated.
    """

    model: str
    source: str | None
    traits: tuple[tuple[str, dict[str, Any]], ...]
    options: dict[str, Any]
    parameters: tuple[ParameterSpec, ...]
    pooling: str
    fixed: dict[str, float]
    priors: str
    quick: bool
    seed: int | None
    sample_kwargs: dict[str, Any]
    attempts: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    timings: dict[str, float]
    formulas: dict[str, str] = field(default_factory=dict)
    effect_priors: dict[str, dict[str, str]] = field(default_factory=dict)
    correlated: bool = False

    def to_json(self) -> str:
        """Write the declaration as one JSON text.

        Returns
        -------
        str
            Valid JSON; infinite bounds are written as ``"inf"`` and ``"-inf"``.

        Raises
        ------
        FitError
            If a field holds something that JSON cannot, naming the field.
        """
        fields = {name: _plain(value, f"spec.{name}") for name, value in asdict(self).items()}
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> FitSpec:
        """Read what `to_json` wrote.

        Sequences inside traits and options come back as tuples, those inside `sample_kwargs` as lists.

        Raises
        ------
        FitError
            If the text is not the declaration of a fit.
        """
        try:
            raw = json.loads(text)
            raw["traits"] = tuple((name, _tuples(options)) for name, options in raw["traits"])
            raw["options"] = _tuples(raw["options"])
            raw["parameters"] = tuple(
                ParameterSpec(**{**p, "lower": float(p["lower"]), "upper": float(p["upper"])})
                for p in raw["parameters"]
            )
            raw["fixed"] = {name: float(value) for name, value in raw["fixed"].items()}
            raw["attempts"] = tuple(raw["attempts"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FitError(
                f"this is not the declaration of a fit ({type(error).__name__}: {error}). Expected the JSON "
                "text that fitrl stores; if another version of fitrl wrote it, load it with that version."
            ) from error


def _plain(value: Any, place: str) -> Any:
    """Turn a value into what JSON holds, or say where it cannot be done."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    raise FitError(
        f"{place} is a {type(value).__name__}, which cannot be stored with the fit. Expected numbers, texts, "
        "lists and dictionaries of them; leave it out of what is kept."
    )


def _tuples(value: Any) -> Any:
    """Turn every list inside `value` into a tuple."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
