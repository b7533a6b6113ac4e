"""A perturbation: which parameters change, by how much, in which phase, and what speaks for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.state import unknown

MODES = ("shift", "scale", "set", "freeze", "drop")
UNITS = ("link", "sd")
PHASES = ("learn", "choose", "both")
APPLY_TO = ("group", "session", "subject")
GRADES = {
    "A": "two or more independent sources, or a meta-analysis",
    "B": "one solid study",
    "C": "mixed, contradicted or model-free evidence",
    "T": "theory",
}
READ = ("abstract", "full")


@dataclass(frozen=True)
class Moderator:
    """A baseline measure z that decides how strong an effect is: ``delta_i = delta * (m0 + m1 * z_i)``.

    Attributes
    ----------
    measure : str
        Name of the measure, such as ``"wm_span"``; standardised.
    m0, m1 : float
        Effect at z = 0, and its change per standard deviation of z, as shares of delta.
    """

    measure: str
    m0: float = 1.0
    m1: float = 0.0


@dataclass(frozen=True)
class Target:
    """The change of one parameter.

    Attributes
    ----------
    param : str
        Name of a fitted parameter.
    delta : float
        By `mode`. ``"shift"``: what is added on the parameter's link scale, in `unit` (on a log link ln of a ratio:
        -0.46 is -37 %). ``"scale"``: the factor on the natural scale. ``"set"``: the value. ``"freeze"`` (the state
        that the parameter drives stops) and ``"drop"`` (the trait that brings the parameter is taken away) have none.
    unit : {"link", "sd"}
        Of a shift: link units, or between-subject standard deviations on the link scale.
    mode : {"shift", "scale", "set", "freeze", "drop"}
    sd_delta : float
        Standard deviation over subjects of a shift (in `unit`) or of the logarithm of a factor: responders and others.
    phase : {"learn", "choose", "both"} or None
        None for that of the perturbation.
    stand_ins : tuple of str
        Parameters that are changed instead, the first that there is, in a model without `param`.
    """

    param: str
    delta: float | None = None
    unit: str = "link"
    mode: str = "shift"
    sd_delta: float = 0.0
    phase: str | None = None
    stand_ins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of("unit", self.unit, UNITS)
        _one_of("mode", self.mode, MODES)
        if self.phase is not None:
            _one_of("phase", self.phase, PHASES)
        object.__setattr__(self, "stand_ins", tuple(self.stand_ins))
        has_delta = self.mode in ("shift", "scale", "set")
        if has_delta and (self.delta is None or not math.isfinite(self.delta)):
            raise ModelError(f"{self.param}: {self.mode} needs a finite delta, not {self.delta}.")
        if not has_delta and self.delta is not None:
            raise ModelError(f"{self.param}: {self.mode} takes no delta.")
        if self.mode == "scale" and not (self.delta or 0.0) > 0:
            raise ModelError(f"{self.param}: a factor is above 0, not {self.delta}. For a full loss use mode='set'.")
        if self.unit == "sd" and self.mode != "shift":
            raise ModelError(f"{self.param}: unit='sd' is for shifts, not for {self.mode}.")
        if not self.sd_delta >= 0 or (self.sd_delta and self.mode not in ("shift", "scale")):
            raise ModelError(f"{self.param}: sd_delta is 0 or more, and for shifts and factors only.")
        if self.mode == "freeze" and self.phase == "choose":
            raise ModelError(f"{self.param}: freeze stops learning; it has no phase choose.")

    @property
    def log_factor(self) -> float:
        """The logarithm of a factor."""
        return math.log(self.delta or 1.0)

    def describe(self) -> str:
        """Say what changes, as in ``beta_mb -0.5 sd``."""
        if self.mode == "shift":
            spread = f" (sd {self.sd_delta:g})" if self.sd_delta else ""
            return f"{self.param} {self.delta:+g} {self.unit}{spread}"
        words = {"scale": f"x {self.delta}", "set": f"= {self.delta}", "freeze": "frozen", "drop": "dropped"}
        return f"{self.param} {words[self.mode]}"


@dataclass(frozen=True)
class Evidence:
    """What a perturbation rests on.

    Attributes
    ----------
    grade : {"A", "B", "C", "T"}
        See `GRADES`.
    read : {"abstract", "full"}
        What was read of the source: its abstract, or the figure, caption or text that matters.
    sources : tuple of str
        Author, year and identifier of each.
    contra : tuple of str
        What speaks against it: null and opposite results, other explanations. May be empty, explicitly.
    design : str
        Manipulation, sample and task.
    note : str
        What else a user must know.
    illustrative : bool
        Whether the size is ours, since none was published.
    """

    grade: str
    read: str
    sources: tuple[str, ...]
    contra: tuple[str, ...]
    design: str
    note: str = ""
    illustrative: bool = False

    def __post_init__(self) -> None:
        _one_of("grade", self.grade, tuple(GRADES))
        _one_of("read", self.read, READ)
        for name in ("sources", "contra"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.sources:
            raise ModelError("evidence without a source.")


@dataclass(frozen=True)
class Perturbation:
    """A lesion, a drug or a disorder as a change of parameters.

    Attributes
    ----------
    id : str
        Name, for labels and files.
    targets : tuple of Target
        What changes.
    phase : {"both", "learn", "choose"}
        Where: in learning (the start, updates), in choice (whatever is emitted), or in both.
    apply_to : {"session", "group", "subject"}
        What it tells apart: sessions of the same people (a drug), groups (a disorder), or it is a single case.
    corr : tuple of tuple of float, optional
        Correlation of the subjects' deviations (`Target.sd_delta`) between targets.
    moderator : Moderator, optional
    title : str
        One line.
    evidence : Evidence, optional
        Of rows of the catalogue; your own need none.

    Notes
    -----
    ``theta' = g(eta + delta)``: eta is the subject's value on the link scale, g the inverse link. Shifts on one
    parameter add up, in any order; bounds come from the link. A simulation, not a claim about any person; nothing here
    is clinical advice.

    Examples
    --------
    >>> p = Perturbation("less_noise", (Target("beta", 0.5),), phase="choose")
    >>> Perturbation.from_json(p.to_json()) == p
    True
    """

    id: str
    targets: tuple[Target, ...]
    phase: str = "both"
    apply_to: str = "session"
    corr: tuple[tuple[float, ...], ...] | None = None
    moderator: Moderator | None = None
    title: str = ""
    evidence: Evidence | None = field(default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        if not self.id or not self.targets:
            raise ModelError("a perturbation needs an id and at least one target.")
        _one_of("phase", self.phase, PHASES)
        _one_of("apply_to", self.apply_to, APPLY_TO)
        if self.apply_to == "subject" and any(target.sd_delta for target in self.targets):
            raise ModelError(f"{self.id}: a single case does not vary over subjects; leave sd_delta out.")
        if self.corr is not None:
            object.__setattr__(self, "corr", tuple(tuple(float(c) for c in row) for row in self.corr))
            _check_correlation(self.id, np.array(self.corr), len(self.targets))

    @property
    def illustrative(self) -> bool:
        """Whether the size is an illustration."""
        return self.evidence is not None and self.evidence.illustrative

    def scaled(self, dose: float) -> Perturbation:
        """Return the perturbation at another dose: a factor on every delta, 0 for none.

        Parameters
        ----------
        dose : float
            Multiplies shifts, and the logarithm of factors.

        Raises
        ------
        ModelError
            If it sets, freezes or drops: that has no half.
        """
        targets = []
        for target in self.targets:
            if target.mode == "shift":
                changed = dose * (target.delta or 0.0)
            elif target.mode == "scale":
                changed = math.exp(dose * target.log_factor)
            else:
                raise ModelError(
                    f"{self.id}: {target.describe()} has no dose; a dose scales shifts and factors. Use a shift on "
                    f"{target.param}."
                )
            targets.append(replace(target, delta=changed, sd_delta=abs(dose) * target.sd_delta))
        return replace(self, targets=tuple(targets))

    def caption(self) -> str:
        """One line for figures and tables: id, grade, and whether the size is an illustration."""
        if self.evidence is None:
            return self.id
        against = ", with counter-evidence" if self.evidence.contra else ""
        size = ", illustrative size" if self.illustrative else ""
        return f"{self.id} (grade {self.evidence.grade}{against}{size})"

    def to_json(self) -> str:
        """Write it as JSON, for a file."""
        return json.dumps(_without_defaults(self), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Perturbation:
        """Read it from JSON; see `to_json`.

        Raises
        ------
        ModelError
            If it is not JSON, or not a perturbation.
        """
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise ModelError(f"this is not JSON: {error}.") from None

    @classmethod
    def from_dict(cls, given: Any, where: str = "") -> Perturbation:
        """Make it from a dictionary, as JSON and TOML give it; `where` begins the messages."""
        where = where or "a perturbation"
        made = dict(_known(cls, given, where, required=("id", "targets")))
        where = f'{where} "{made["id"]}"'
        if not isinstance(made["targets"], list):
            raise ModelError(f"{where}: targets is {made['targets']!r}; expected a list.")
        made["targets"] = tuple(_make(Target, t, f"{where}, target {i + 1}") for i, t in enumerate(made["targets"]))
        for name, kind in (("moderator", Moderator), ("evidence", Evidence)):
            if made.get(name) is not None:
                made[name] = _make(kind, made[name], f"{where}, {name}")
        return _made(cls, made, where)


def read_perturbation(file: str | Path) -> Perturbation:
    """Read a perturbation from a JSON file.

    Raises
    ------
    ModelError
        If there is no such file, or it does not hold a perturbation.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ModelError(f"{file} cannot be read ({reason}).") from None
    try:
        return Perturbation.from_json(text)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _one_of(what: str, given: Any, allowed: Iterable[str]) -> None:
    if given not in allowed:
        raise ModelError(f"{what} is {given!r}; it can be {', '.join(allowed)}.")


def _check_correlation(name: str, corr: np.ndarray, n: int) -> None:
    if corr.shape != (n, n) or not np.array_equal(corr, corr.T) or not np.all(np.diag(corr) == 1):
        raise ModelError(f"{name}: corr is a symmetric table of {n} by {n} with 1 on its diagonal.")
    if np.linalg.eigvalsh(corr).min() < -1e-12:
        raise ModelError(f"{name}: no {n} quantities can be correlated like corr (it is not positive semi-definite).")


def _without_defaults(made: Any) -> dict[str, Any]:
    """Return a dataclass as a dictionary without what is not given."""
    found = {}
    for f in fields(made):
        value = getattr(made, f.name)
        if value is None or value == f.default:
            continue
        if isinstance(value, tuple) and value and isinstance(value[0], Target):
            value = [_without_defaults(part) for part in value]
        elif isinstance(value, Moderator | Evidence):
            value = asdict(value)
        found[f.name] = value
    return found


def _known(cls: type, given: Any, where: str, required: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ModelError(f"{where} is {given!r}; expected names and values.")
    names = [f.name for f in fields(cls)]
    for name in given:
        if name not in names:
            raise ModelError(f"{where}: {unknown('field', name, names)}")
    for name in required:
        if name not in given:
            raise ModelError(f"{where}: {name} is missing.")
    return given


_REQUIRED = {Target: ("param",), Moderator: ("measure",), Evidence: ("grade", "read", "sources", "contra", "design")}


def _make(cls: Any, given: Any, where: str) -> Any:
    return _made(cls, _known(cls, given, where, _REQUIRED[cls]), where)


def _made(cls: Any, given: Mapping[str, Any], where: str) -> Any:
    kinds: dict[str, tuple[type, ...]] = {
        "delta": (int, float), "sd_delta": (int, float), "m0": (int, float), "m1": (int, float),
        "sources": (list, tuple), "contra": (list, tuple), "stand_ins": (list, tuple), "illustrative": (bool,),
        "targets": (tuple,), "moderator": (Moderator,), "evidence": (Evidence,), "corr": (list, tuple),
    }  # fmt: skip
    for name, value in given.items():
        kind = kinds.get(name, (str,))
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind)):
            raise ModelError(f"{where}: {name} is {value!r}; expected {kind[0].__name__}.")
    try:
        return cls(**given)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
