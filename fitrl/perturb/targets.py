"""Where a perturbation meets a model: which parameter each target changes, in which phase, by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown
from fitrl.perturb.perturbation import Perturbation, Target


@dataclass(frozen=True)
class Place:
    """One target in a model.

    Attributes
    ----------
    target : Target
    param : str
        The parameter of the model: that of the target, or its stand-in.
    phase : {"learn", "choose", "both"}
        "both" wherever the parameter acts.
    """

    target: Target
    param: str
    phase: str


def placed(model: Model, task: Any, perturbation: Perturbation, acts: Mapping[str, str]) -> list[Place]:
    """Find every target of a perturbation in a model.

    Parameters
    ----------
    model, task
        The model with its traits, and its configured task.
    perturbation : Perturbation
    acts : mapping of str to {"learn", "choose", "both"}
        Phase of each parameter: `fitrl.perturb.phases.phases`.

    Returns
    -------
    list of Place
        In the order of the targets.

    Raises
    ------
    ModelError
        For a parameter that the model does not fit, or a phase that it does not have.
    """
    found = []
    for target in perturbation.targets:
        name, stands_in = _found(model, task, target, perturbation)
        phase = _phase(target.phase or perturbation.phase, acts[name], name, perturbation, stands_in)
        found.append(Place(target, name, phase))
    return found


def size_on_link(target: Target, parameter: Parameter) -> float | None:
    """Return what a target adds on the link scale, in its unit; None for what is not a shift there.

    A factor of a parameter above 0 on the log link is one: its logarithm.
    """
    if target.mode == "shift":
        return target.delta or 0.0
    if target.mode == "scale" and parameter.link == "log" and parameter.lower == 0:
        return target.log_factor
    return None


def _found(model: Model, task: Any, target: Target, perturbation: Perturbation) -> tuple[str, bool]:
    """Find the parameter of the model that a target changes, and whether it stands in for another."""
    fitted, derived = model.fitted(task), model.derived()
    if target.param in fitted:
        return target.param, False
    stand_in = next((name for name in target.stand_ins if name in fitted), None)
    if stand_in is not None:
        return stand_in, True
    label = model.describe()
    if target.param in derived:
        sources = " and ".join(derived[target.param].sources)
        raise ModelError(
            f"{perturbation.id}: {target.param} is derived in {label}, from {sources}; perturb a fitted parameter: "
            f"{', '.join(fitted)}."
        )
    if target.stand_ins:
        raise ModelError(
            f"{perturbation.id}: {label} has neither {target.param} nor what could stand in for it "
            f"({', '.join(target.stand_ins)}). It has {', '.join(fitted) or 'no parameters'}."
        )
    raise ModelError(f"{perturbation.id}, {label}: {unknown('parameter', target.param, fitted)}")


def _phase(asked: str, acts: str, name: str, perturbation: Perturbation, stands_in: bool) -> str:
    """Return where a parameter changes: "both" means wherever it acts."""
    if asked in (acts, "both") or stands_in:
        return "both"
    if acts == "both":
        return asked
    raise ModelError(
        f"{perturbation.id}: {name} acts in phase {acts} only, so that it cannot change in phase {asked}. "
        f'Use phase="{acts}" or "both".'
    )
