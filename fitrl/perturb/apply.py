"""Apply perturbations to the parameters of agents."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.fitting.simulate import Agents
from fitrl.hierarchy.links import link_of, natural
from fitrl.language.model import Model, Trait
from fitrl.language.parameters import Parameter, option
from fitrl.language.state import State
from fitrl.perturb.perturbation import Perturbation
from fitrl.perturb.phases import driven, phases
from fitrl.perturb.targets import Place, placed, size_on_link


class Frozen(Trait):
    """Keep state fields as they were at the start of every row: what `freeze` does."""

    name = "frozen"
    stage = 90  # after everything else
    keep = option((), "state fields that stop")

    def between(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        for name in self.options["keep"]:
            setattr(s, name, getattr(t.before, name))


@dataclass(frozen=True)
class Effect(Place):
    """One target, resolved for a model: which parameter, in which phase, and by how much for each agent.

    Attributes
    ----------
    shift : ndarray, shape (agent,), or None
        On the link scale; None for what is not a shift there.
    """

    shift: np.ndarray | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Perturbed:
    """Agents under perturbations.

    Attributes
    ----------
    agents : Agents
        With the values of choice, and with the model as it is then (frozen, or without a trait).
    learning : dict of str to ndarray, shape (agent,)
        Parameters that have another value in learning.
    effects : tuple of Effect
        What was done.
    """

    agents: Agents
    learning: dict[str, np.ndarray]
    effects: tuple[Effect, ...]

    def in_phase(self, phase: str) -> dict[str, np.ndarray]:
        """Return the parameters as they are in "learn" or in "choose"."""
        return self.agents.values | (self.learning if phase == "learn" else {})


def apply(
    agents: Agents, perturbations: Sequence[Perturbation], measures: Mapping[str, np.ndarray] | None = None
) -> Perturbed:
    """Apply perturbations to agents.

    Parameters
    ----------
    agents : Agents
    perturbations : sequence of Perturbation
        Together; the order does not matter.
    measures : mapping of str to ndarray, shape (agent,), optional
        Baseline measures for moderators, standardised; drawn as standard normal where they are not given.

    Returns
    -------
    Perturbed

    Raises
    ------
    ModelError
        For a parameter that the model does not fit, a phase it does not have, values outside of its range, or
        targets that cannot be combined.
    """
    model, task = agents.model, agents.task
    acts = phases(model, task)
    effects = [
        effect for p in perturbations for effect in _resolved(agents, p, acts, measures or {}) if effect is not None
    ]
    _check_combination(effects)
    declared = model.fitted(task)
    values = {copy: dict(agents.values) for copy in ("choose", "learn")}
    for name in dict.fromkeys(effect.param for effect in effects):
        for copy, held in values.items():
            here = [e for e in effects if e.param == name and e.phase in (copy, "both")]
            held[name] = _changed(declared[name], held[name], here)
    stopped = dict.fromkeys(
        state for e in effects if e.target.mode == "freeze" for state in _stopped(model, task, e.param)
    )
    gone = [_trait_of(model, e.param) for e in effects if e.target.mode == "drop"]
    if gone:
        model = _without(model, gone)
    if stopped:
        model = model.with_(Frozen(keep=tuple(stopped)))
    kept = model.fitted(task)
    chosen = {name: value for name, value in values["choose"].items() if name in kept}
    learning = {name: values["learn"][name] for name in kept if not np.array_equal(values["learn"][name], chosen[name])}
    return Perturbed(replace(agents, model=model, values=chosen), learning, tuple(effects))


def _resolved(
    agents: Agents, perturbation: Perturbation, acts: Mapping[str, str], measures: Mapping[str, np.ndarray]
) -> Iterator[Effect]:
    """Resolve the targets of one perturbation."""
    n = len(agents.names)
    # A stream of its own for each perturbation: neither their order nor another one changes who responds how.
    rng = np.random.default_rng([zlib.crc32(perturbation.id.encode()), _fingerprint(agents)])
    spread = rng.normal(size=(len(perturbation.targets), n))
    if perturbation.corr is not None:
        values, vectors = np.linalg.eigh(np.array(perturbation.corr))
        spread = vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * spread)
    strength = None
    if perturbation.moderator is not None:
        m = perturbation.moderator
        z = measures[m.measure] if m.measure in measures else rng.normal(size=n)
        strength = m.m0 + m.m1 * np.broadcast_to(np.asarray(z, float), (n,))
    for place, deviation in zip(placed(agents.model, agents.task, perturbation, acts), spread, strict=True):
        yield Effect(place.target, place.param, place.phase, _shift(agents, place, strength, deviation))


def _fingerprint(agents: Agents) -> int:
    """Return a number that is the same for the same people."""
    return zlib.crc32(b"".join(np.asarray(v, float).tobytes() for v in agents.values.values()))


def _shift(agents: Agents, place: Place, strength: Any, deviation: np.ndarray) -> np.ndarray | None:
    """Return a shift on the link scale for each agent, or None for what is not a shift there."""
    target = place.target
    size = size_on_link(target, agents.model.fitted(agents.task)[place.param])
    if size is not None:
        unit = _spread(agents, place.param) if target.unit == "sd" else 1.0
    elif strength is not None or target.sd_delta:
        raise ModelError(f"{target.describe()}: only shifts, and factors of a parameter above 0, vary over subjects.")
    else:
        return None
    return unit * (size * (1.0 if strength is None else strength) + target.sd_delta * deviation)


def _spread(agents: Agents, name: str) -> float:
    """Return the between-subject standard deviation on the link scale: of the population, else of these agents."""
    if name in agents.scale:
        return agents.scale[name]
    p = agents.model.fitted(agents.task)[name]
    values = agents.values[name]
    if len(values) < 2 or np.ptp(values) == 0:
        raise ModelError(
            f"{name} does not vary over these agents, so that a shift in sd has no meaning. Give it in link units "
            '(unit="link"), or agents that differ.'
        )
    return float(np.std(link_of(values, p.link, p.lower, p.upper), ddof=1))


def _changed(parameter: Parameter, values: np.ndarray, effects: Iterable[Effect]) -> np.ndarray:
    """Return the values of a parameter in one phase under all its effects."""
    total = np.zeros(len(values))
    for effect in effects:
        if effect.shift is not None:
            total = total + effect.shift
        elif effect.target.mode in ("set", "scale"):
            delta = effect.target.delta or 0.0
            new = np.full(len(values), delta) if effect.target.mode == "set" else delta * values
            outside = (new < parameter.lower) | (new > parameter.upper)
            if outside.any():
                raise ModelError(
                    f"{effect.target.describe()}: {new[outside][0]:g} is outside of its range {parameter.lower:g} to "
                    f"{parameter.upper:g}. A shift on the link scale stays inside."
                )
            return new
    # A value at a bound stays there, and one that nothing moves stays bit for bit.
    moved = (total != 0) & (values > parameter.lower) & (values < parameter.upper)
    out = np.array(values, dtype=float)
    eta = link_of(out[moved], parameter.link, parameter.lower, parameter.upper) + total[moved]
    out[moved] = natural(eta, parameter.link, parameter.lower, parameter.upper)
    return out


def _check_combination(effects: Sequence[Effect]) -> None:
    """Refuse to combine what overrides with anything else on the same parameter and phase."""
    for i, effect in enumerate(effects):
        for other in effects[i + 1 :]:
            apart = effect.phase != other.phase and "both" not in (effect.phase, other.phase)
            if effect.param != other.param or apart:
                continue
            alone = [e.target for e in (effect, other) if e.shift is None]
            if alone:
                raise ModelError(
                    f"{effect.param} is changed twice ({effect.target.describe()}; {other.target.describe()}), and "
                    f"{alone[0].mode} does not combine with another change. Keep one of them; shifts add up."
                )


def _stopped(model: Model, task: Any, name: str) -> tuple[str, ...]:
    found = driven(model, task, name)
    if not found:
        raise ModelError(f"{name} drives no state of {model.describe()}, so that there is nothing to freeze.")
    return found


def _trait_of(model: Model, name: str) -> Trait:
    """Find the trait that brings a parameter, and that the model can do without."""
    trait = next((t for t in model.traits if name in t.parameters()), None)
    if trait is None or trait.replaces:
        why = "belongs to the model itself" if trait is None else f"of {trait.label} takes the place of another"
        raise ModelError(
            f"{name} cannot be dropped: it {why}. Use mode='set' with the value at which it does nothing, such as 0."
        )
    return trait


def _without(model: Model, gone: Sequence[Trait]) -> Model:
    kept = [trait for trait in model.traits if trait not in gone]
    bare = type(model)(**model.options)
    bare.name = model.name
    return bare.with_(*kept)
