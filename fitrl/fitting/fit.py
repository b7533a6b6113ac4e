"""Fit a model to trials."""

from __future__ import annotations

import inspect
import logging
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

import fitrl.models
from fitrl.data import Trials, read_trials
from fitrl.errors import FitError
from fitrl.fitting.diagnostics import diagnostics
from fitrl.fitting.modes import mend
from fitrl.fitting.pilot import look
from fitrl.fitting.sample import check_sample_kwargs, cores_per_chain, sample
from fitrl.fitting.spec import FitSpec, ParameterSpec
from fitrl.fitting.tables import group_table, subject_table
from fitrl.fitting.verdict import Verdict, judge
from fitrl.hierarchy.build import build_model
from fitrl.hierarchy.covariates import with_subjects
from fitrl.hierarchy.describe import describe_design, notes
from fitrl.hierarchy.parametrization import inform
from fitrl.hierarchy.plan import Plan, make_plan, unit_factor
from fitrl.hierarchy.priors import preset_options
from fitrl.language.files import read_model_file
from fitrl.language.model import Model
from fitrl.language.traits import TRAITS

log = logging.getLogger("fitrl")

_VERSIONED = ("fitrl", "pymc", "pytensor", "nutpie", "numba", "arviz", "numpy", "xarray")


@dataclass
class Fit:
    """A fitted model: the declaration, the data, the draws and whether they can be trusted.

    Attributes
    ----------
    spec : FitSpec
        What was fitted: model, traits, options, priors, seed, versions, timings.
    trials : Trials
        The data as they were understood.
    idata : xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data``, ``constant_data``.
    verdict : Verdict
        Whether the chains converged; print it before anything else.
    """

    spec: FitSpec
    trials: Trials
    idata: xr.DataTree
    verdict: Verdict

    @cached_property
    def plan(self) -> Plan:
        """Model with its traits, priors and pooling, ready to build or to simulate."""
        return plan_of(self.spec, self.trials)

    @cached_property
    def model(self) -> pm.Model:
        """The PyMC model, built when first asked for."""
        return build_model(self.plan, self.trials)

    @cached_property
    def group(self) -> pd.DataFrame:
        """The population: see `fitrl.fitting.tables.group_table`."""
        spec = self.spec
        return group_table(self.idata, spec.parameters, self.trials.outcome_scale, spec.pooling, quick=spec.quick)

    @cached_property
    def subjects(self) -> pd.DataFrame:
        """Every subject's parameters: see `fitrl.fitting.tables.subject_table`.

        Not for a t-test or a correlation: means are shrunken, and a test takes them for exact. Put the group or the
        score into the model (``formulas={"alpha": "group"}``) and ask `fitrl.contrast` (Boehm et al. 2018,
        10.3758/s13428-018-1054-3).
        """
        spec, known = self.spec, self.diagnostics
        return subject_table(self.idata, spec.parameters, self.trials.outcome_scale, quick=spec.quick, known=known)

    @cached_property
    def diagnostics(self) -> dict[str, xr.Dataset] | None:
        """Chain diagnostics of the subjects' natural-scale values; None where there are no chains."""
        return None if self.spec.quick else _subject_diagnostics(self.idata, self.spec.parameters)

    def __repr__(self) -> str:
        return f"Fit({self.plan.model.describe()}, {self.trials.n_subjects} subjects: {self.verdict.status})"

    def save(self, folder: str | Path) -> Path:
        """Write ``fit.nc``, ``group.csv``, ``subjects.csv`` and more into a folder: see `fitrl.save`."""
        from fitrl.fitting.store import save

        return save(self, folder)


def build(model: Any, trials: Any, *, engine: str = "fast", **declaration: Any) -> pm.Model:
    """Build the PyMC model without sampling, for those who want to add to it.

    Parameters
    ----------
    model, trials, **declaration
        As in `fit`.
    engine : {"fast", "reference"}
        Compiled likelihood, or `pytensor.scan`, which also runs on JAX and so on a GPU.

    Returns
    -------
    pymc.Model

    Examples
    --------
    >>> import fitrl
    >>> with fitrl.build("q_learning", "bandit.csv"):  # doctest: +SKIP
    ...     idata = pm.sample()
    """
    plan, trials, _ = prepare(model, trials, **declaration)
    return build_model(plan, trials, engine)


def fit(
    model: Any,
    trials: Any,
    *,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    priors: str | Mapping[str, Mapping[str, Any]] = "default",
    pooling: str = "partial",
    fixed: Mapping[str, float] | None = None,
    formulas: Mapping[str, str] | None = None,
    subjects: str | Path | pd.DataFrame | None = None,
    correlated: bool = False,
    quick: bool = False,
    random_seed: int | None = None,
    **sample_kwargs: Any,
) -> Fit:
    """Fit a model to trials by NUTS, and judge the chains.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model.
    trials : Trials, path or DataFrame
        Data; anything but `Trials` goes through `read_trials` with its defaults.
    traits : iterable
        Traits as objects, names, or (name, options).
    options : mapping, optional
        Static options of the model, such as ``{"q0": 0.0}``.
    priors : {"default", "hbayesdm"}, path or mapping
        See `fitrl.hierarchy.priors.resolve_priors`.
    pooling : {"partial", "none", "complete"}
        Whether subjects share a population, nothing, or one value.
    fixed : mapping of str to float, optional
        Parameters held at a value, in the unit of the reports.
    formulas : mapping of str to str, optional
        What moves a parameter, such as ``{"alpha": "group + age", "beta": "drug + (drug | subject)"}``. Covariates are
        columns of the trial table, or of `subjects`. Look at `fitrl.design` first: it says how they are coded.
    subjects : path or DataFrame, optional
        Covariates with one row per subject.
    correlated : bool
        Whether parameters, and slopes such as ``(drug | subject)``, may be correlated over subjects, with an LKJ prior;
        see `fitrl.correlations`. Without, a correlation that is there is still seen in the estimates of subjects, but
        weaker, and their intervals are too narrow or too wide where choices leave a ridge between two parameters.
    quick : bool
        A Laplace approximation in seconds instead of sampling; not to be reported.
    random_seed : int, optional
        Makes the fit repeatable; drawn and stored if not given.
    **sample_kwargs
        Passed to `pm.sample`. Ours are the defaults ``draws=1000, tune=1000, chains=4, target_accept=0.9``.

    Returns
    -------
    Fit

    Raises
    ------
    DataError, ModelError, FitError
        If the data, the model or the call is wrong; nothing has been sampled then.

    Notes
    -----
    Divergences lead to another run at target acceptance 0.95, then 0.99, logged in ``spec.attempts``. Single subjects
    on whom chains do not agree, as where two sets of values explain their choices, are drawn anew given the population,
    which the verdict says (`fitrl.fitting.modes`).
    Ctrl-C keeps what was sampled; the verdict then says that the fit was interrupted.

    Examples
    --------
    >>> import fitrl
    >>> result = fitrl.fit("q_learning", "bandit.csv", random_seed=1)  # doctest: +SKIP
    >>> print(result.verdict)  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_sample_kwargs(sample_kwargs)
    plan, trials, source = prepare(
        model,
        trials,
        traits=traits,
        options=options,
        priors=priors,
        pooling=pooling,
        fixed=fixed,
        formulas=formulas,
        subjects=subjects,
        correlated=correlated,
    )
    if quick:
        from fitrl.fitting.laplace import check_quick, laplace

        check_quick(plan)
    if plan.effects:
        log.info("%s", describe_design(plan, trials))
        for note in notes(plan, trials):
            log.warning("%s", note)
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_seed is None else int(random_seed)
    pymc_model = build_model(plan, trials, _engine_for(sample_kwargs), cores_per_chain(sample_kwargs))
    timings = {"build": time.perf_counter() - started}
    attempts: tuple[dict, ...] = ()
    if not plan.estimated:
        idata, spent = _nothing_to_estimate(), dict[str, float]()
    elif quick:
        idata, spent = laplace(plan, trials, random_seed=seed)
    else:
        started = time.perf_counter()
        pilot = look(plan, trials)
        inform(pymc_model, pilot.information)
        timings["pilot"] = time.perf_counter() - started
        idata, attempts, spent = sample(pymc_model, {**sample_kwargs, "random_seed": seed}, pilot)
    spec = FitSpec(
        model=model_name(model, plan.model),
        source=source,
        traits=tuple((t.label, dict(t.options)) for t in plan.model.traits),
        options=dict(plan.model.options),
        parameters=_parameter_specs(plan),
        pooling=pooling,
        fixed={n: v * unit_factor(plan.parameters[n], trials.outcome_scale) for n, v in plan.fixed.items()},
        priors=priors if isinstance(priors, str) else "mapping",
        quick=quick,
        seed=seed,
        sample_kwargs={k: v for k, v in sample_kwargs.items() if isinstance(v, str | int | float | bool | dict)},
        attempts=attempts,
        versions={name: version(name) for name in _VERSIONED},
        timings=timings | spent,
        formulas={name: plan.designs[name].formula.text for name in plan.effects},  # type: ignore[union-attr]
        effect_priors={name: found.to_dict() for name, found in plan.effects.items()},
        correlated=plan.correlated,
    )
    _label_cells(idata, plan, trials)
    _label_observations(idata, trials)
    known = None if quick else _subject_diagnostics(idata, spec.parameters)
    redrawn: tuple[str, ...] = ()
    if known is not None and attempts and not attempts[-1]["interrupted"]:
        started = time.perf_counter()
        try:
            redrawn = mend(pymc_model, plan, trials, idata, known, seed)
        except KeyboardInterrupt:
            attempts[-1]["interrupted"] = True  # in the log of the spec, too
        if redrawn:
            known = _subject_diagnostics(idata, spec.parameters)
            spec.timings["redraw"] = time.perf_counter() - started
    verdict = judge(idata, spec.parameters, quick=quick, attempts=attempts, known=known, redrawn=redrawn)
    result = Fit(spec, trials, idata, verdict)
    # Made already: no need to make them again.
    result.__dict__.update(plan=plan, model=pymc_model, diagnostics=known)
    return result


def design(model: Any, trials: Any, **declaration: Any) -> str:
    """Say what a formula means, before anything is sampled: cells, coding of covariates, priors, warnings.

    Parameters
    ----------
    model, trials, **declaration
        As in `fit`, up to `subjects`.

    Returns
    -------
    str
        Several lines.

    Examples
    --------
    >>> print(fitrl.design("q_learning", "drug.csv", formulas={"alpha": "drug"}))  # doctest: +SKIP
    """
    plan, trials, _ = prepare(model, trials, **declaration)
    return "\n".join([describe_design(plan, trials), *(f"  note: {note}" for note in notes(plan, trials))])


def _engine_for(sample_kwargs: Mapping[str, Any]) -> str:
    """Choose the engine that the sampler can run: only the reference speaks JAX."""
    jax = sample_kwargs.get("nuts_sampler") in ("numpyro", "blackjax") or sample_kwargs.get("backend") == "jax"
    return "reference" if jax else "fast"


def prepare(
    model: Any,
    trials: Any,
    *,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    subjects: str | Path | pd.DataFrame | None = None,
    **plan: Any,
) -> tuple[Plan, Trials, str | None]:
    """Declare the model, read the trials if need be, and make the plan.

    Parameters
    ----------
    model, trials, traits, options, subjects, **plan
        As in `fit`, up to `subjects`.

    Returns
    -------
    plan : Plan
    trials : Trials
        With the columns of `subjects`.
    source : str or None
        Text of a model that is not of the zoo.
    """
    implied = preset_options(plan.get("priors", "default"))
    found = fitrl.models.declare(model, traits, {**implied, **(options or {})})
    if not isinstance(trials, Trials):
        trials = read_trials(trials, found, outcome_scale="raw" if implied else None)
    if subjects is not None:
        trials = with_subjects(trials, subjects)
    return make_plan(found, trials, **plan), trials, source_of(model, found)


def plan_of(spec: FitSpec, trials: Trials) -> Plan:
    """Rebuild the plan of a stored fit, from the stored text of a user's model where there is one.

    Parameters
    ----------
    spec : FitSpec
        The declaration.
    trials : Trials
        The data, for the configured task.
    """
    if spec.source is None:
        model = fitrl.models.find(spec.model, **spec.options)
    else:
        model = fitrl.models.from_source(spec.source, spec.model, **spec.options)
    model = model.with_(*[TRAITS[name](**options) for name, options in spec.traits])
    priors = {
        p.name: {"link": p.link, "lower": p.lower, "upper": p.upper, "location": p.location, "scale": p.scale}
        | ({"effects": spec.effect_priors[p.name]} if p.name in spec.effect_priors else {})
        for p in spec.parameters
    }
    return make_plan(
        model,
        trials,
        priors=priors,
        pooling=spec.pooling,
        fixed=spec.fixed,
        formulas=spec.formulas,
        correlated=spec.correlated,
    )


def _parameter_specs(plan: Plan) -> tuple[ParameterSpec, ...]:
    return tuple(
        ParameterSpec(p.name or n, p.description, p.link, p.lower, p.upper, p.unit, str(p.location), str(p.scale))
        for n, p in plan.estimated.items()
    )


def model_name(given: Any, model: Model) -> str:
    """Name by which a declaration finds its model again: the path that was given, or the label in the zoo."""
    return given if isinstance(given, str) and ".py" in given else model.label


def source_of(given: Any, model: Model) -> str | None:
    """Text that makes the model again: of its file, or of its class if it was written in a session."""
    if isinstance(given, str) and ".py" in given:
        return read_model_file(given)[0]
    if type(model).__module__.startswith("fitrl.models."):
        return None
    try:
        text = inspect.getsource(type(model))
    except (OSError, TypeError):
        raise FitError(
            f"the text of {model.label} cannot be found, so the fit could not be loaded again. Write the class in a "
            "file or a notebook cell, or pass the path of its file."
        ) from None
    return f"from fitrl.language import *\nfrom fitrl.tasks import *\n\n\n{textwrap.dedent(text)}"


def _subject_diagnostics(idata: xr.DataTree, parameters: Sequence[ParameterSpec]) -> dict[str, xr.Dataset]:
    posterior = idata["posterior"].to_dataset()
    return diagnostics(posterior[[p.name for p in parameters]])


def _nothing_to_estimate() -> xr.DataTree:
    """Posterior of a model without free parameters: no variables."""
    posterior = xr.Dataset(coords={"chain": [0], "draw": [0]})
    return xr.DataTree.from_dict({"posterior": posterior})


def _label_cells(idata: xr.DataTree, plan: Plan, trials: Trials) -> None:
    """Give cells the subject and what distinguishes them as coordinates."""
    posterior = idata["posterior"].to_dataset()
    for name, design in plan.designs.items():
        dim = f"{name}_cell"
        if dim in posterior.dims:
            who = np.array(trials.subjects, dtype=object)[design.subject]
            labels = {f"{dim}_{label}": (dim, values) for label, values in {"subject": who, **design.labels}.items()}
            posterior = posterior.assign_coords(labels)
    idata["posterior"] = xr.DataTree(posterior)


def _label_observations(idata: xr.DataTree, trials: Trials) -> None:
    """Give observations the user's own subject, session, block and trial as coordinates."""
    labels = [c for c in ("subject", "session", "block", "trial") if c in trials.frame]
    for group in ("observed_data", "constant_data"):
        if group not in idata.children:
            continue
        data = idata[group].to_dataset()
        for dim in [str(d) for d in data.dims if d in ("obs", "row") or str(d).startswith("obs_")]:
            rows = trials.frame.iloc[np.asarray(data[dim])]
            # With several emissions each has rows of its own, and so labels of its own.
            names = {c if dim == "obs" else f"{dim}_{c}": (dim, _array(rows[c])) for c in labels}
            data = data.assign_coords(names)
        idata[group] = xr.DataTree(data)


def _array(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=object if column.dtype.kind not in "iuf" else None)
