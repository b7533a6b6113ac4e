"""What a study was asked to do: the declaration that is stored with it, its cells and its seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

import fitrl
from fitrl.errors import StudyError
from fitrl.fitting.fit import model_name, source_of
from fitrl.fitting.sample import check_sample_kwargs
from fitrl.fitting.store import staged
from fitrl.fitting.truth import check_one_population, task_settings
from fitrl.hierarchy.priors import preset_options, resolve_priors
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.language.state import unknown
from fitrl.language.traits import TRAITS
from fitrl.models import declare, find, from_source

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

FILE = "study.json"
POOLING = ("partial", "none")
POPULATION = "population of "


class Cell(NamedTuple):
    """One size of a simulated experiment."""

    subjects: int
    trials: int

    @property
    def name(self) -> str:
        """Its folder: subjects x trials."""
        return f"{self.subjects}x{self.trials}"


@dataclass(frozen=True)
class Design:
    """Everything that was declared for a study; two studies with the same design have the same results.

    Attributes
    ----------
    kind : {"recovery", "calibration", "detection"}
        What is asked of every fit.
    model : str
        Name in the zoo, or path as the user gave it.
    source : str or None
        Text of the user's model file; None for a model of the zoo.
    traits : list of [str, dict]
        Traits in order, each with its options.
    options : dict
        Static options of the model.
    priors : dict
        For every parameter its ``link``, ``lower``, ``upper``, ``location`` and ``scale``, as text.
    pooling : {"partial", "none"}
        How the fits relate subjects.
    fixed : dict of str to float
        Parameters held at a value, in simulations and in fits.
    environment : str or None
        How payoffs come about; None for the default of the task.
    n_options : int or None
        Number of options; None for the default of the task.
    outcome_range : list of float
        The two outcomes.
    subjects, trials : list of int
        Sizes; every combination is a cell.
    truth : str
        ``"prior"``, ``"usual"`` (the usual ranges of the parameters), the fingerprint of the fit whose subjects are
        the truth, or ``"population of"`` that fit.
    quick : bool
        Whether the fits are Laplace approximations.
    sampler : dict
        Arguments of `pm.sample`.
    seed : int
        Seed of the study; with the cell and the index of a data set it gives the seed of that data set.
    version : str
        Of fitrl.
    studies : int
        Data sets per cell. The only thing that may change when a study is continued.
    correlated : bool
        Whether the fits let parameters be correlated over subjects.
    asks : dict
        What a study of its kind needs beyond this.
    """

    kind: str
    model: str
    source: str | None
    traits: list[list[Any]]
    options: dict[str, Any]
    priors: dict[str, dict[str, str]]
    pooling: str
    fixed: dict[str, float]
    environment: str | None
    n_options: int | None
    outcome_range: list[float]
    subjects: list[int]
    trials: list[int]
    truth: str
    quick: bool
    sampler: dict[str, Any]
    seed: int
    version: str
    studies: int
    correlated: bool = False
    asks: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """Every combination of subjects and trials."""
        return [Cell(n, t) for n in self.subjects for t in self.trials]

    @property
    def estimated(self) -> dict[str, Parameter]:
        """Parameters that are not fixed, with the links and priors of the fits."""
        return {name: p for name, p in self.parameters().items() if name not in self.fixed}

    def parameters(self) -> dict[str, Parameter]:
        """All parameters with the links and priors of the fits."""
        return _parameters(self.to_json())

    def declared(self) -> Model:
        """Make the model, with its traits."""
        return _model(self.model, self.source, json.dumps(self.traits), json.dumps(self.options))

    def task(self) -> Any:
        """Configure its task."""
        return _task(self.declared(), self)

    def describe(self) -> str:
        """Model with traits, and the priors where they differ from its own."""
        return self.declared().describe()

    def seeds(self, cell: Cell, index: int) -> list[np.random.SeedSequence]:
        """Seeds of one data set: for its truth, for its choices and for its fit.

        They depend on the seed of the study, the size and the index alone, so that neither the order nor the
        number of workers matters, and a longer study begins with the shorter one.
        """
        return np.random.SeedSequence(self.seed, spawn_key=(*cell, index)).spawn(3)

    def who(self) -> str:
        """Say where the true values come from."""
        if self.truth.startswith(POPULATION):
            return f"new people from the {self.truth}"
        known = {"prior": "drawn from the priors", "usual": "the usual ranges of the parameters"}
        return known.get(self.truth, f"the subjects of a fit ({self.truth})")

    def to_json(self) -> str:
        """Write the declaration as text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Design:
        """Read what `to_json` wrote.

        Raises
        ------
        StudyError
            If it is something else.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StudyError(f"this is not the declaration of a study ({error}).") from None


@lru_cache(maxsize=8)
def _model(name: str, source: str | None, traits: str, options: str) -> Model:
    # The same object for every fit of a process, so that what was compiled for it can be used again.
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(options).items()}
    model = find(name, **given) if source is None else from_source(source, name, **given)
    return model.with_(*[TRAITS[trait](**of_trait) for trait, of_trait in json.loads(traits)])


@lru_cache(maxsize=8)
def _parameters(design: str) -> dict[str, Parameter]:
    self = Design.from_json(design)
    return resolve_priors(self.declared(), _task(self.declared(), self), read_bounds(self.priors))


def _task(model: Model, design: Design) -> Any:
    task, _ = model.task.play(
        1,
        1,
        np.random.default_rng(0),
        environment=design.environment,
        n_options=design.n_options,
        outcome_range=tuple(design.outcome_range),
    )
    return task


def read_bounds(priors: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Turn the priors of a declaration into those that `fitrl.fit` takes."""
    return {n: {**p, "lower": float(p["lower"]), "upper": float(p["upper"])} for n, p in priors.items()}


def declare_study(
    kind: str,
    model: Any,
    *,
    fit: Fit | None = None,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    priors: Any = "default",
    pooling: str | None = None,
    correlated: bool = False,
    fixed: Mapping[str, float] | None = None,
    environment: str | None = None,
    n_options: int | None = None,
    subjects: int | Sequence[int],
    trials: int | Sequence[int],
    studies: int,
    quick: bool = False,
    seed: int | None = None,
    sampler: Mapping[str, Any],
    truth: str = "prior",
    new_people: bool = False,
    asks: Mapping[str, Any] | None = None,
) -> Design:
    """Check the arguments of a study and put them into a declaration.

    Parameters
    ----------
    kind : {"recovery", "calibration", "detection"}
        What is asked of every fit.
    model : str, Model, type or None
        The model; None to take that of `fit`.
    fit : Fit, optional
        The subjects that are the truth, and the model, priors and pooling.
    subjects, trials : int or sequence of int
        Sizes.
    studies : int
        Data sets per cell.
    seed : int, optional
        Drawn if not given.
    sampler : mapping
        Arguments of `pm.sample`.
    truth : {"prior", "usual"}
        Where subjects come from without a fit.
    new_people : bool
        Whether the truth is new subjects from the population of `fit`.
    asks : mapping, optional
        Kept with the declaration.
    traits, options, priors, pooling, correlated, fixed, environment, n_options, quick
        As in `fitrl.fit` and `fitrl.simulate`.

    Raises
    ------
    StudyError, ModelError, FitError
        If something is not known, or does not go together.
    """
    check_sample_kwargs(sampler)
    if quick and sampler:
        raise StudyError(f"a quick fit draws no samples, so {', '.join(sampler)} would change nothing. Leave it out.")
    for given in ("cores", "random_seed", "progressbar"):
        if given in sampler:
            raise StudyError(f"{given} is set by the study for every fit; leave it out of the sampler's arguments.")
    if environment is not None and not isinstance(environment, str):
        raise StudyError("a study is stored with its declaration: give the environment by name.")
    if new_people and fit is None:
        raise StudyError("new people come from the population of a fit, and no fit is given (fit=, --from DIR).")
    outcome_range = (0.0, 1.0)
    if fit is not None:
        if new_people:
            check_one_population(fit)
        truth = f"{POPULATION if new_people else ''}{fingerprint(fit)}"
        found, name, source = _from_fit(fit, model, traits, options), fit.spec.model, fit.spec.source
        if isinstance(priors, str) and priors == "default":
            priors = read_bounds(_as_text(fit.plan.parameters))
        # Simulated outcomes are scaled ones, and so is the unit of everything in a study.
        fixed = fixed or fit.plan.fixed
        pooling = pooling or fit.spec.pooling
        settings = task_settings(fit)
        n_options, outcome_range = n_options or settings.get("n_options"), settings["outcome_range"]
    elif model is None:
        raise StudyError("a study needs a model, by name or file, or a fit to start from.")
    else:
        found = declare(model, traits, {**preset_options(priors), **(options or {})})
        name, source = model_name(model, found), source_of(model, found)
    design = Design(
        kind=kind,
        model=name,
        source=source,
        traits=[[t.label, dict(t.options)] for t in found.traits],
        options=dict(found.options),
        priors={},
        pooling=pooling or "partial",
        fixed={n: float(v) for n, v in (fixed or {}).items()},
        environment=environment,
        n_options=n_options,
        outcome_range=list(outcome_range),
        subjects=_sizes(subjects, "subjects", 2),
        trials=_sizes(trials, "trials", 1),
        truth=truth,
        quick=quick,
        sampler=dict(sampler),
        seed=int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed),
        version=fitrl.__version__,
        studies=int(studies),
        correlated=correlated,
        asks=dict(asks or {}),
    )
    _check(design)
    resolved = resolve_priors(found, _task(found, design), priors)
    _check_names(design, resolved)
    made = _plain({**asdict(design), "priors": _as_text(resolved)})
    if not Design(**made).estimated:
        raise StudyError("every parameter is fixed, or the model has none: there is nothing to study.")
    return Design(**made)


def _from_fit(fit: Fit, model: Any, traits: Iterable[Any], options: Mapping[str, Any] | None) -> Model:
    own = fit.plan.model
    if fit.spec.pooling == "complete":
        raise StudyError("this fit gives all subjects one value; a study needs subjects that differ.")
    if model is None and not tuple(traits) and not options:
        return own
    named = None if model is None else declare(model, traits, options)
    if named is None or named.describe() != own.describe():
        raise StudyError(
            f"the fit is one of {own.describe()}, and the study takes its model from it. Leave model, traits and "
            "options out, or start from the priors."
        )
    return own


def _check(design: Design) -> None:
    if design.studies < 1:
        raise StudyError(f"a study has at least one data set, not {design.studies}.")
    if design.pooling not in POOLING:
        raise StudyError(f'pooling "{design.pooling}" cannot be studied; expected one of {", ".join(POOLING)}.')
    if design.correlated and (design.quick or design.pooling != "partial"):
        raise StudyError(
            "correlated parameters are sampled, around a population: not with quick fits, nor without pooling. Say "
            "correlated=False (--no-correlated), or sample."
        )


def _check_names(design: Design, parameters: Mapping[str, Parameter]) -> None:
    for name in design.fixed:
        if name not in parameters:
            raise StudyError(unknown("parameter", name, parameters))
    for name, value in design.fixed.items():
        low, high = parameters[name].lower, parameters[name].upper
        if not low <= value <= high:
            raise StudyError(f"{name} is fixed at {value:g}, outside of its range {low:g} to {high:g}.")


def _sizes(given: int | Sequence[int], what: str, least: int) -> list[int]:
    sizes = sorted({int(n) for n in ([given] if isinstance(given, int | np.integer) else given)})
    if not sizes or sizes[0] < least:
        raise StudyError(f"{what} = {given}: a study needs {least} or more.")
    return sizes


def _as_text(parameters: Mapping[str, Parameter]) -> dict[str, dict[str, str]]:
    names = ("link", "lower", "upper", "location", "scale")
    return {name: {key: str(getattr(p, key)) for key in names} for name, p in parameters.items()}


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """Bring tuples to lists, as they come back from the file, and refuse what the file cannot hold."""
    try:
        return json.loads(json.dumps(content))
    except TypeError as error:
        raise StudyError(f"a study is stored with its declaration, which failed: {error}.") from None


def fingerprint(fit: Fit) -> str:
    """Return a text that tells fits apart: declaration, data and seed."""
    text = f"{fit.spec.to_json()} {fit.trials.data_hash}"
    return f"fit {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def open_folder(folder: str | Path, design: Design, *, seed_given: bool) -> Design:
    """Start a study in a folder, or continue the one that is there.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    design : Design
        What is asked for now.
    seed_given : bool
        Whether its seed was chosen by the user; else an older study keeps its own.

    Returns
    -------
    Design
        The same, with the seed of the study in the folder.

    Raises
    ------
    StudyError
        If the folder holds a study of something else; nothing is changed then.
    """
    file = Path(folder) / FILE
    if file.exists():
        there = Design.from_json(file.read_text(encoding="utf-8"))
        keep = {"studies"} | (set() if seed_given else {"seed"})
        old, new = (_flat(made) for made in (there, design))
        differ = [name for name in new if old.get(name) != new[name] and name not in keep]
        if differ:
            lines = "\n".join(f"  {name}: {_short(old.get(name))}; now {_short(new[name])}" for name in differ)
            raise StudyError(
                f"{folder} holds a study that was declared otherwise:\n{lines}\n"
                "Repeat its declaration to continue it, or name another folder."
            )
        design = Design(**{**asdict(design), "seed": there.seed})
    with staged(folder) as stage:
        (stage / FILE).write_text(design.to_json() + "\n", encoding="utf-8")
    return design


def _flat(design: Design) -> dict[str, Any]:
    """Everything declared by name, what only this kind of study needs among it."""
    found = asdict(design)
    return found | found.pop("asks")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 70 else f"{text[:67]}..."


def write_study(folder: str | Path, tables: Mapping[str, pd.DataFrame], text: str, draw: Callable[[Path], Any]) -> Path:
    """Write what a finished study says into its folder, all of it or nothing.

    Parameters
    ----------
    folder : str or Path
        Of the study.
    tables : mapping of str to DataFrame
        By the name of the CSV file.
    text : str
        Of ``report.txt``.
    draw : callable
        Writes the figures into the folder that it is given.

    Returns
    -------
    Path
        `folder`.
    """
    with staged(folder) as stage:
        for name, table in tables.items():
            table.to_csv(stage / f"{name}.csv", index=False, lineterminator="\n")
        (stage / "report.txt").write_text(text, encoding="utf-8")
        draw(stage / "figures")
    return Path(folder)
