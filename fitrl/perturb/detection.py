"""Power by simulation: how likely a perturbation is detected, with how many subjects and trials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.errors import StudyError
from fitrl.fitting.simulate import Simulation, draw_population, usual_sd
from fitrl.fitting.store import load
from fitrl.fitting.truth import Truth, from_fit
from fitrl.hierarchy.plan import population_start
from fitrl.hierarchy.priors import prior_tables
from fitrl.perturb.inverse import Coefficient, coefficients, estimate
from fitrl.perturb.perturbation import Perturbation
from fitrl.perturb.population import crossover, population, two_groups
from fitrl.perturb.power import confirmation_table, lay_out, power_table
from fitrl.study import measure
from fitrl.study.design import Cell, Design, declare_study, open_folder, read_bounds, write_study
from fitrl.study.run import FAILURES, finish, write_result

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

LAYOUTS = {"crossover": ("drug", "placebo"), "groups": ("group", "controls")}  # column, and level without it
ESTIMATORS = ("laplace", "nuts")


@dataclass(frozen=True)
class Detection:
    """A finished study of detection.

    Attributes
    ----------
    design : Design
        What was done.
    fits, estimates : DataFrame
        See `fitrl.perturb.power.lay_out`.
    """

    design: Design
    fits: pd.DataFrame
    estimates: pd.DataFrame

    @property
    def perturbation(self) -> Perturbation:
        """What was to be detected."""
        return Perturbation.from_dict(self.design.asks["perturbation"])

    @cached_property
    def table(self) -> pd.DataFrame:
        """Power, sign errors, exaggeration; see `fitrl.perturb.power.power_table`."""
        return power_table(self.estimates, self.design.asks["estimator"])

    @cached_property
    def confirmation(self) -> pd.DataFrame:
        """Laplace against NUTS on the same data; see `fitrl.perturb.power.confirmation_table`."""
        return confirmation_table(self.estimates)

    def __repr__(self) -> str:
        return f"Detection({self.perturbation.id}, {self.design.describe()}, {len(self.fits)} fits)"

    def text(self) -> str:
        """Write the report: what was done, what it says, the numbers."""
        from fitrl.perturb.power_report import detection_text

        return detection_text(self)

    def write(self, folder: str | Path) -> Path:
        """Write tables, ``report.txt`` and ``figures/`` into a folder, all or none of them."""
        from fitrl.perturb.power_report import write_power

        tables = {
            "detection": self.table,
            "confirmation": self.confirmation,
            "fits": self.fits,
            "estimates": self.estimates,
        }
        return write_study(folder, tables, self.text(), partial(write_power, self))


@dataclass(frozen=True)
class Job:
    """One data set to simulate, and to fit with one estimator.

    Attributes
    ----------
    design : Design
    cell : Cell
    index : int
        Which data set of the cell, from 0.
    truth : Truth
        Its subjects, without the perturbation.
    estimator : {"laplace", "nuts"}
    file : str
        Where the result goes.
    """

    design: Design
    cell: Cell
    index: int
    truth: Truth
    estimator: str
    file: str


def detect(
    perturbation: Perturbation,
    model: Any = None,
    *,
    out: str | Path,
    subjects: int | Sequence[int] = (20, 40),
    trials: int | Sequence[int] = (100, 200),
    replications: int = 100,
    design: str | None = None,
    estimator: str = "laplace",
    confirm: int = 5,
    fit: Fit | str | Path | None = None,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    priors: str | Mapping[str, Mapping[str, Any]] = "default",
    fixed: Mapping[str, float] | None = None,
    formulas: Mapping[str, str] | None = None,
    environment: str | None = None,
    n_options: int | None = None,
    random_seed: int | None = None,
    cores: int | None = None,
    executor: Executor | None = None,
    progressbar: bool = True,
    **sample_kwargs: Any,
) -> Detection:
    """Simulate experiments with a perturbation of known size, fit each, and count how often it is found.

    Parameters
    ----------
    perturbation : Perturbation
        With a size, of shifts and factors; an illustrative size gives the power for that size, not for the drug.
    model : str, Model or type
        Name in the zoo, path of a model file, or a model. Left out where `fit` is given.
    out : path
        Folder of the study. Every finished fit is kept there; the same call continues a study that was stopped.
    subjects, trials : int or sequence of int
        Sizes: subjects in all, and trials of each in each session. Every combination is simulated.
    replications : int
        Data sets per size. May grow when a study is continued.
    design : {"crossover", "groups"}, optional
        Every subject in two sessions, one of them under the perturbation, in balanced order; or half of the subjects
        under it, in one session. By default groups for what tells groups apart (``apply_to="group"``), else crossover.
    estimator : {"laplace", "nuts"}
        What all data sets are fitted with: approximations, or sampling.
    confirm : int
        With "laplace": data sets in each corner of the grid that NUTS fits as well, to see whether the approximation
        can be relied on. May change when a study is continued.
    fit : Fit or its folder, optional
        Subjects are then drawn from those of this fit (pilot data): the best source of how people differ. By default
        from the usual ranges of the parameters.
    traits, options, priors, fixed
        As in `fitrl.fit`.
    formulas : mapping of str to str, optional
        Further formulas of the fits, as in `fitrl.estimate`, with the columns ``drug`` and ``session`` of a crossover,
        or ``group``: ``{"beta": "drug + (drug | subject)"}``.
    environment, n_options
        As in `fitrl.simulate`.
    random_seed : int, optional
        Seed of the study; drawn and stored if not given.
    cores : int, optional
        Fits at the same time, by default one per core.
    executor : concurrent.futures.Executor, optional
        Who does the fits instead of processes of our own.
    progressbar : bool
        Whether to show the progress.
    **sample_kwargs
        Of the fits by NUTS, passed to `pm.sample`: ``draws``, ``tune``, ``chains``, ...

    Returns
    -------
    Detection

    Raises
    ------
    StudyError, ModelError, FitError
        If the call is wrong, the perturbation cannot be estimated or has no size, or `out` holds another study.
    StudyInterrupted
        After Ctrl-C; the same call continues.

    Notes
    -----
    Fits are those of `fitrl.estimate`. In a crossover values start afresh in each session, and nothing but the
    perturbation tells sessions apart: practice, carry-over and drop-out make real studies harder.
    In a script the call must be below ``if __name__ == "__main__":``, since workers import the script.

    Examples
    --------
    >>> drug = fitrl.Perturbation("drug", (fitrl.Target("alpha", -0.5, unit="sd"),))
    >>> found = fitrl.detect(drug, "q_learning", subjects=[20, 40], trials=100, out="power")  # doctest: +SKIP
    >>> print(found.text())  # doctest: +SKIP
    """
    if isinstance(fit, str | Path):
        fit = load(fit)
    if not isinstance(out, str | Path):
        raise StudyError(f"out is {out!r}; expected the path of a folder for the study.")
    layout = design or ("groups" if perturbation.apply_to == "group" else "crossover")
    _check_choices(perturbation, layout, estimator, confirm, sample_kwargs)
    tables = prior_tables(priors)
    declared = declare_study(
        "detection",
        model,
        fit=fit,
        traits=traits,
        options=options,
        priors=priors,
        pooling="partial",
        fixed=fixed,
        environment=environment,
        n_options=n_options,
        subjects=subjects,
        trials=trials,
        studies=replications,
        seed=random_seed,
        sampler=sample_kwargs,
        truth="usual",
        asks={
            "perturbation": json.loads(perturbation.to_json()),
            "layout": layout,
            "estimator": estimator,
            "formulas": dict(formulas or {}),
            "effects": {name: table["effects"] for name, table in tables.items() if "effects" in table},
        },
    )
    _check_target(perturbation, declared)
    declared = open_folder(out, declared, seed_given=random_seed is not None)
    places = [(cell, i, estimator) for cell in declared.cells for i in range(declared.studies)]
    if estimator == "laplace":
        places += [(cell, i, "nuts") for cell in corners(declared) for i in range(min(confirm, declared.studies))]

    def make(k: int, file: Path) -> Job:
        cell, index, with_ = places[k]
        rng = np.random.default_rng(declared.seeds(cell, index)[0])
        truth = _usual(declared, cell, rng) if fit is None else from_fit(fit, cell.subjects, rng)
        return Job(declared, cell, index, truth, with_, str(file))

    results = finish(
        [Path(out) / "fits" / cell.name / f"{i + 1:04d}_{with_}.json" for cell, i, with_ in places],
        make,
        do,
        out,
        title="Detection",
        executor=executor,
        cores=cores,
        progressbar=progressbar,
    )
    found = Detection(declared, *lay_out(results))
    found.write(out)
    return found


def do(job: Job) -> str:
    """Simulate, fit, and write what was found; runs in a worker.

    Parameters
    ----------
    job : Job

    Returns
    -------
    str
        ``settled``, ``not settled`` (Laplace), ``converged``, ``not converged`` (NUTS) or ``failed``.
    """
    design, asks = job.design, job.design.asks
    p = Perturbation.from_dict(asks["perturbation"])
    column, without = LAYOUTS[asks["layout"]]
    quick = job.estimator == "laplace"
    result: dict[str, Any] = {"n_subjects": job.cell.subjects, "n_trials": job.cell.trials, "study": job.index}
    result["estimator"] = job.estimator
    try:
        found = estimate(
            p,
            design.declared(),
            simulated(job).trials,
            on={column: p.id},
            against=without,
            formulas=asks["formulas"],
            priors={
                name: table | ({"effects": asks["effects"][name]} if name in asks["effects"] else {})
                for name, table in read_bounds(design.priors).items()
            },
            fixed=design.fixed,
            quick=quick,
            random_seed=int(design.seeds(job.cell, job.index)[2].generate_state(1)[0]),
            **({} if quick else {**design.sampler, "cores": 1, "progressbar": False}),
        )
        if any(attempt["interrupted"] for attempt in found.fit.spec.attempts):
            raise KeyboardInterrupt
        result |= measure.verdict(found.fit)
        if quick:
            settled = found.fit.idata["posterior"].attrs["settled"]
            result["status"] = "settled" if settled else "not settled"
        stated = coefficients(p, found.fit.plan.model, found.fit.trials.task)
        result["estimates"] = [
            {"parameter": c.moves, "effect": column if c.measure is None else f"{column}:{c.measure}"}
            | {"truth": _truth(c, job.truth)}
            | {"mean": row["post_mean"], "sd": row["post_sd"]}
            | {"lower": row["hdi95_lower"], "upper": row["hdi95_upper"]}
            for c, row in zip(stated, found.table.to_dict("records"), strict=True)
            if c.size
        ]
    except FAILURES as error:
        result |= {"status": "failed", "message": f"{type(error).__name__}: {error}", "divergences": 0, "seconds": 0.0}
    write_result(job.file, result)
    return result["status"]


def simulated(job: Job) -> Simulation:
    """Simulate the data set of a job; with a moderator its measure is a column."""
    design, cell = job.design, job.cell
    p = Perturbation.from_dict(design.asks["perturbation"])
    rng = np.random.default_rng(design.seeds(cell, job.index)[1])
    measures = {} if p.moderator is None else {p.moderator.measure: rng.normal(size=cell.subjects)}
    people = population(
        design.declared(),
        subjects=cell.subjects,
        trials=cell.trials,
        environment=design.environment,
        n_options=design.n_options,
        outcome_range=(design.outcome_range[0], design.outcome_range[1]),
        parameters=job.truth.values,
        measures=measures,
        random_seed=rng,
    )
    people = replace(people, agents=replace(people.agents, scale=job.truth.scale))
    made = two_groups(people, p) if design.asks["layout"] == "groups" else crossover(people, p, random_seed=rng)
    values = {name: dict(zip(people.agents.names, z, strict=True)) for name, z in measures.items()}
    return replace(made, frame=made.frame.assign(**{n: made.frame["subject"].map(of) for n, of in values.items()}))


def corners(design: Design) -> list[Cell]:
    """Name the smallest and the largest sizes of a grid."""
    ends = [dict.fromkeys((sizes[0], sizes[-1])) for sizes in (design.subjects, design.trials)]
    return [Cell(n, t) for n in ends[0] for t in ends[1]]


def _usual(design: Design, cell: Cell, rng: np.random.Generator) -> Truth:
    """Draw subjects from the usual ranges of the parameters."""
    parameters = design.parameters()
    values = draw_population(parameters, cell.subjects, rng)
    values |= {name: np.full(cell.subjects, value) for name, value in design.fixed.items()}
    free = {name: p for name, p in parameters.items() if name not in design.fixed}
    return Truth(values, {n: population_start(p) for n, p in free.items()}, {n: usual_sd(p) for n, p in free.items()})


def _truth(coefficient: Coefficient, truth: Truth) -> float:
    """Size of a coefficient in a data set, link scale."""
    return coefficient.size * (truth.scale[coefficient.param] if coefficient.target.unit == "sd" else 1.0)


def _check_choices(
    perturbation: Perturbation, layout: str, estimator: str, confirm: int, sampler: Mapping[str, Any]
) -> None:
    if layout not in LAYOUTS:
        raise StudyError(f'design is "{layout}"; it can be {" or ".join(LAYOUTS)}.')
    if estimator not in ESTIMATORS:
        raise StudyError(f'estimator is "{estimator}"; it can be {" or ".join(ESTIMATORS)}.')
    if confirm < 0:
        raise StudyError(f"confirm is {confirm}; expected 0 or more data sets.")
    if layout == "crossover" and perturbation.apply_to == "group":
        raise StudyError(
            f'{perturbation.id} tells groups apart, so that nobody can be with and without it. Use design="groups".'
        )
    if sampler and estimator == "laplace" and not confirm:
        raise StudyError(f"nothing is sampled, so {', '.join(sampler)} would change nothing. Leave it out.")


def _check_target(perturbation: Perturbation, design: Design) -> None:
    """Refuse what could not be estimated in any data set."""
    model, task = design.declared(), design.task()
    own, parameters = model.fitted(task), design.parameters()
    found = coefficients(perturbation, model, task)
    if not any(c.size for c in found):
        raise StudyError(f"{perturbation.id} has no size, so that there is nothing to detect.")
    if design.subjects[0] < 4:
        raise StudyError(f"{design.subjects[0]} subjects tell nothing of a population; use 4 or more.")
    for name in dict.fromkeys(c.param for c in found):
        if name in design.fixed:
            raise StudyError(f"{name} is fixed, so that its change cannot be estimated. Do not fix it.")
        if (parameters[name].link, parameters[name].upper) != (own[name].link, own[name].upper):
            raise StudyError(
                f"the priors put {name} on another link ({parameters[name].link}) than the model ({own[name].link}), "
                "where the size of the perturbation is defined. Keep its link."
            )
