"""The zoo: one family of models per file, found by name.

``fitrl.models.q_learning`` is the model with default options; ``fitrl.models.find`` also takes the path of
a model file of your own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.files import model_class, read_model_file
from fitrl.language.model import Model, Trait
from fitrl.language.state import unknown
from fitrl.language.traits import TRAITS

# name -> (module, class); one line per model, so that listing names imports nothing else.
CATALOGUE = {
    "q_learning": ("value", "QLearning"),
    "reward_punishment": ("value", "RewardPunishment"),
    "ewa": ("value", "EWA"),
    "actor_critic": ("actor_critic", "ActorCritic"),
    "opal": ("opponent", "Opal"),
    "opal_star": ("opal_star", "OpalStar"),
    "moeller_bogacz": ("payoff_cost", "MoellerBogacz"),
    "kalman": ("kalman", "Kalman"),
    "rlwm": ("working_memory", "RLWM"),
    "two_step_split": ("two_step", "TwoStepSplit"),
    "two_step_daw": ("two_step", "TwoStepDaw"),
    "two_step_kool": ("two_step", "TwoStepKoolModel"),
    "two_step_kool_split": ("two_step", "TwoStepKoolSplit"),
    "two_step_hbayesdm": ("two_step", "TwoStepHBayesDM"),
    "two_step_mf01": ("two_step_mf01", "TwoStepMF01"),
    "dynamic_alpha": ("volatility", "DynamicAlpha"),
    "pearce_hall": ("volatility", "PearceHall"),
    "vkf_binary": ("volatility", "VKFBinary"),
    "ehgf_binary": ("volatility", "EHGFBinary"),
    "sutton_k1": ("meta_learning", "SuttonK1"),
    "hgf_binary": ("hgf", "HGFBinary"),
    "behrens": ("ideal_observer", "Behrens"),
    "random": ("baselines", "RandomChoice"),
    "biased_coin": ("baselines", "BiasedCoin"),
    "wsls": ("baselines", "WinStayLoseShift"),
}
ALIASES = {"rw": "q_learning", "win_stay_lose_shift": "wsls", "vkf": "vkf_binary"}


def find(model: Any, **options: Any) -> Model:
    """Find a model.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file (``my_model.py`` or ``my_model.py:Class``), or a model.
    **options
        Static options, such as ``q0=0.0``.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If there is no such model or option.

    Examples
    --------
    >>> find("rw").label
    'q_learning'
    """
    if isinstance(model, Model):
        if not options:
            return model
        return type(model)(**{**model.options, **options}).with_(*model.traits)
    if isinstance(model, type) and issubclass(model, Model):
        return model(**options)
    if not isinstance(model, str):
        raise ModelError(f"a model is given by name, file or class, not as {type(model).__name__}.")
    if model.endswith(".py") or ".py:" in model:
        return model_class(*read_model_file(model))(**options)
    name = ALIASES.get(model, model)
    if name not in CATALOGUE:
        raise ModelError(f"{unknown('model', model, [*CATALOGUE, *ALIASES])} A file of your own ends in .py.")
    module, cls = CATALOGUE[name]
    found = getattr(import_module(f"fitrl.models.{module}"), cls)(**options)
    found.name = name
    return found


def declare(
    model: Any,
    traits: Iterable[Trait | str | tuple[str, Mapping]] = (),
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Find a model, set its options and add traits.

    Parameters
    ----------
    model : str, Model or type
        Name, file or model.
    traits : iterable
        Traits as objects, names, or (name, options).
    options : mapping, optional
        Static options of the model.

    Raises
    ------
    ModelError
        If the model, an option or a trait is not known, or does not fit.

    Examples
    --------
    >>> declare("q_learning", ["stickiness", ("dual_alpha", {"by": "outcome"})]).describe()
    'q_learning + dual_alpha:by=outcome + stickiness'
    """
    return find(model, **(options or {})).with_(*[_trait(t) for t in traits])


def _trait(trait: Any) -> Trait:
    if isinstance(trait, Trait):
        return trait
    if isinstance(trait, type) and issubclass(trait, Trait):
        return trait()
    name, options = (trait, {}) if isinstance(trait, str) else trait
    if name not in TRAITS:
        raise ModelError(unknown("trait", name, TRAITS))
    return TRAITS[name](**options)


def from_source(source: str, filename: str, **options: Any) -> Model:
    """Make a model from the stored text of a model file.

    Parameters
    ----------
    source : str
        Text of the file.
    filename : str
        Name under which it was given, with ``:Class`` if it holds several models.
    **options
        Static options.
    """
    name, wanted = filename, ""
    if not filename.endswith(".py") and ".py:" in filename:
        name, wanted = filename.rsplit(":", 1)
    return model_class(source, name, wanted)(**options)


def __getattr__(name: str) -> Model:
    if name in CATALOGUE or name in ALIASES:
        return find(name)
    raise AttributeError(f"module 'fitrl.models' has no attribute {name!r}")
