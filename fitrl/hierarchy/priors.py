"""Priors of a fit: the defaults of the model, a preset, or the user's file; all printed, all open."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.model import Model
from fitrl.language.parameters import LINKS, Parameter, Prior
from fitrl.language.state import unknown

_KEYS = ("location", "scale", "link", "lower", "upper", "effects")

# Of the difference between two groups, or per sd of a number, on the link scale; 0.3 on the log is 35 %.
_EFFECT_SD = {"logit": 0.5, "probit_approx": 0.3, "log": 0.3, "identity": 0.5}
_SLOPE_SD = 0.3
# Of the log of the ratio of two standard deviations, whatever the link: between .37 and 2.7 in 95 % of cases.
_LOG_RATIO_SD = 0.5

# Transforms of hBayesDM by program, for each of our parameters: upper bound of Phi_approx, or another link.
# All have location ~ normal(0, 1) and scale ~ halfnormal(0.2); values start at 0; outcomes are not scaled.
_HBAYESDM: dict[str, dict[str, float | str]] = {
    "q_learning": {"alpha": 1.0, "beta": 5.0},  # bandit2arm_delta, banditNarm_delta
    "q_learning + dual_alpha:by=outcome": {"alpha_rew": 1.0, "alpha_pun": 1.0, "beta": 10.0},  # prl_rp
    "q_learning + dual_alpha": {"alpha_pos": 1.0, "alpha_neg": 1.0, "beta": 10.0},  # pst_gainloss_Q
    "two_step_hbayesdm": {
        "alpha_1": 1.0, "beta_1": "log", "alpha_2": 1.0, "beta_2": "log", "kappa": 5.0, "w_mb": 1.0, "lam": 1.0,
    },  # ts_par7
}  # fmt: skip


def resolve_priors(model: Model, task: Any, priors: str | Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """Fitted parameters with the links and priors that a fit will use.

    Parameters
    ----------
    model : Model
        With its traits.
    task : Task
        Configured.
    priors : {"default", "hbayesdm"}, path of a TOML file, or mapping
        A file or mapping has a table per parameter with any of ``location``, ``scale`` (such as
        ``"normal(0, 1.5)"``, on the link scale), ``link``, ``lower``, ``upper``, ``effects`` (see `effect_priors`);
        what it leaves out keeps its default.

    Returns
    -------
    dict of str to Parameter

    Raises
    ------
    ModelError
        If a parameter, key, link or prior is not known, or the preset does not cover the model.

    Examples
    --------
    >>> from fitrl.models import q_learning
    >>> from fitrl.tasks import Bandit
    >>> found = resolve_priors(q_learning, Bandit(), {"alpha": {"location": "normal(-1, 1)"}})
    >>> str(found["alpha"].location)
    'normal(-1, 1)'
    """
    parameters = model.fitted(task)
    if priors == "hbayesdm":
        return _hbayesdm(model, parameters)
    for name, changes in prior_tables(priors).items():
        if name not in parameters:
            raise ModelError(unknown("parameter", name, parameters))
        parameters[name] = _changed(parameters[name], changes)
    for trait in model.traits:
        trait.check_priors(parameters, model)
    return parameters


@dataclass(frozen=True)
class EffectPriors:
    """Priors of the effects on one parameter, on the link scale.

    Attributes
    ----------
    default : Prior
        Of the difference between two levels of a factor, or of one standard deviation of a number; normal around 0.
    slopes : Prior
        Of the standard deviation between subjects of such a difference.
    spread : Prior
        Of the log of the ratio of two standard deviations between subjects (``sd(group)``); normal around 0.
    terms : dict of str to Prior
        Of terms that have their own, such as ``"drug"`` or ``"drug:session"``.
    """

    default: Prior
    slopes: Prior
    spread: Prior
    terms: dict[str, Prior] = field(default_factory=dict)

    def sd(self, term: str) -> float:
        """Return the standard deviation of the prior of a term."""
        return self.terms.get(term, self.default).args[1]

    def to_dict(self) -> dict[str, str]:
        """Write the priors as a table of texts, which `effect_priors` reads."""
        shared = {"default": str(self.default), "slopes": str(self.slopes), "sd": str(self.spread)}
        return shared | {n: str(p) for n, p in self.terms.items()}


def effect_priors(
    parameter: Parameter, priors: str | Mapping[str, Mapping[str, Any]], terms: Iterable[str]
) -> EffectPriors:
    """Priors of the effects on a parameter that a fit will use.

    Parameters
    ----------
    parameter : Parameter
        Its link decides the defaults: sd 0.5 on the logit, 0.3 on the log and probit, and for the identity, which
        has no scale of its own, half of that of the prior of the between-subject sd.
    priors : str or mapping
        As in `resolve_priors`. The table of the parameter may hold ``effects``, a prior for all effects or a table with
        ``default``, ``slopes``, ``sd`` and names of terms. In a TOML file::

            [alpha.effects]
            default = "normal(0, 0.3)"
            drug = "normal(0, 0.8)"
            slopes = "halfnormal(0.2)"
    terms : iterable of str
        Terms of the formula.

    Raises
    ------
    ModelError
        For an unknown term, or a prior that is not normal around 0 (of slopes: not positive).

    Examples
    --------
    >>> from fitrl.models import q_learning
    >>> alpha = q_learning.parameters()["alpha"]
    >>> effect_priors(alpha, {"alpha": {"effects": {"drug": "normal(0, 1)"}}}, ["drug", "age"]).sd("drug")
    1.0
    """
    own = parameter.scale.args[0] if parameter.link == "identity" and parameter.scale.family == "halfnormal" else 1.0
    standard = {
        "default": f"normal(0, {own * _EFFECT_SD[parameter.link]:g})",
        "slopes": f"halfnormal({own * _SLOPE_SD:g})",
        "sd": f"normal(0, {_LOG_RATIO_SD:g})",
    }
    given = prior_tables(priors).get(parameter.name, {})
    given = given.get("effects", {}) if isinstance(given, Mapping) else {}
    table = standard | ({"default": given} if isinstance(given, str) else dict(given))
    known = [*standard, *terms]
    found = {}
    for name, text in table.items():
        if name not in known:
            raise ModelError(f"priors of the effects on {parameter.name}: {unknown('term', name, known)}")
        prior = found[name] = Prior.parse(str(text))
        if name == "slopes" and (prior.family == "normal" or (prior.family == "uniform" and prior.args[0] < 0)):
            raise ModelError(
                f"priors of the effects on {parameter.name}: the sd of slopes is positive; use halfnormal."
            )
        if name != "slopes" and (prior.family != "normal" or prior.args[0] != 0):
            raise ModelError(
                f"priors of the effects on {parameter.name}: {name} = {prior}; expected normal(0, sd), "
                "centred at no effect."
            )
    return EffectPriors(found.pop("default"), found.pop("slopes"), found.pop("sd"), found)


def prior_tables(priors: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Read priors as tables by parameter: of a file, or as given; none of a preset."""
    if not isinstance(priors, str):
        return priors
    return {} if priors in ("default", "hbayesdm") else _read(priors)


def preset_options(priors: str | Mapping) -> dict[str, Any]:
    """Return the model options that a preset implies: hBayesDM starts values at 0."""
    return {"q0": 0.0} if priors == "hbayesdm" else {}


def _hbayesdm(model: Model, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    key = model.describe()
    if key not in _HBAYESDM:
        covered = "; ".join(_HBAYESDM)
        raise ModelError(f"priors=hbayesdm is not defined for {key}. It covers: {covered}.")
    standard = {"location": Prior("normal", (0.0, 1.0)), "scale": Prior("halfnormal", (0.2,))}
    return {
        name: parameters[name].but(link=transform, **standard)
        if isinstance(transform, str)
        else parameters[name].but(link="probit_approx", lower=0.0, upper=transform, **standard)
        for name, transform in _HBAYESDM[key].items()
    }


def _read(path: str) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file():
        raise ModelError(f'priors: "{path}" is no preset (default, hbayesdm) and no file.')
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file.name} is not a valid TOML file: {error}") from None


def _changed(parameter: Parameter, changes: Any) -> Parameter:
    if not isinstance(changes, Mapping):
        raise ModelError(
            f"priors of {parameter.name}: write a table [{parameter.name}] with any of {', '.join(_KEYS)}."
        )
    new: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in _KEYS:
            raise ModelError(f"priors of {parameter.name}: {unknown('setting', key, _KEYS)}")
        if key == "effects":
            continue
        new[key] = Prior.parse(str(value)) if key in ("location", "scale") else value
    link = new.get("link", parameter.link)
    if link not in LINKS:
        raise ModelError(f"priors of {parameter.name}: {unknown('link', link, LINKS)}")
    if new.get("scale") is not None and new["scale"].family in ("normal",):
        raise ModelError(f"priors of {parameter.name}: a scale is positive; use halfnormal, halfcauchy or exponential.")
    return parameter.but(**new)
