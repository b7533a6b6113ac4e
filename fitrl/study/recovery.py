"""Parameter recovery: simulate with known parameters, fit, and compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.errors import StudyError
from fitrl.fitting.store import load
from fitrl.fitting.truth import Truth, from_fit, from_population, from_prior
from fitrl.study import statistics
from fitrl.study.design import Cell, Design, declare_study, open_folder, write_study
from fitrl.study.run import run

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit


@dataclass(frozen=True)
class Recovery:
    """A finished recovery study.

    Attributes
    ----------
    design : Design
        What was done.
    fits : DataFrame
        One row per data set: n_subjects, n_trials, study, status, divergences, seconds, message.
    subjects, population : DataFrame
        Truth and estimate of every subject (natural scale), and of every population (link scale).
    """

    design: Design
    fits: pd.DataFrame
    subjects: pd.DataFrame
    population: pd.DataFrame

    @cached_property
    def table(self) -> pd.DataFrame:
        """Correlation, bias, error, coverage, shrinkage; see `fitrl.study.statistics.recovery`."""
        return statistics.recovery(self.subjects, self.population, self.design.estimated)

    @cached_property
    def correlations(self) -> pd.DataFrame:
        """Correlations between parameters; see `fitrl.study.statistics.correlations`."""
        return statistics.correlations(self.subjects, self.design.estimated)

    def __repr__(self) -> str:
        return f"Recovery({self.design.describe()}, {len(self.fits)} data sets)"

    def text(self) -> str:
        """Write the report: what was done, the tables, and what they say."""
        from fitrl.study.report import recovery_text

        return recovery_text(self)

    def write(self, folder: str | Path) -> Path:
        """Write tables, ``report.txt`` and ``figures/`` into a folder, all or none of them."""
        from fitrl.study.figures import write_recovery

        tables = {
            "recovery": self.table,
            "correlations": self.correlations,
            "fits": self.fits,
            "subjects": self.subjects,
            "population": self.population,
        }
        return write_study(folder, tables, self.text(), partial(write_recovery, self))


def recover(
    model: Any = None,
    *,
    out: str | Path,
    subjects: int | Sequence[int] = 30,
    trials: int | Sequence[int] = 150,
    studies: int = 20,
    fit: Fit | str | Path | None = None,
    new_people: bool = False,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    priors: str | Mapping[str, Mapping[str, Any]] = "default",
    pooling: str | None = None,
    correlated: bool | None = None,
    fixed: Mapping[str, float] | None = None,
    environment: str | None = None,
    n_options: int | None = None,
    quick: bool = False,
    random_seed: int | None = None,
    cores: int | None = None,
    executor: Executor | None = None,
    progressbar: bool = True,
    **sample_kwargs: Any,
) -> Recovery:
    """Simulate data from known parameters, fit them, and compare.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model. Left out where `fit` is given.
    out : path
        Folder of the study. Every finished fit is kept there; the same call continues a study that was stopped.
    subjects, trials : int or sequence of int
        Size of the simulated experiments; several sizes give a grid ("how many do I need?").
    studies : int
        Data sets per size. May grow when a study is continued.
    fit : Fit or its folder, optional
        Subjects are then drawn from those of this fit (see `fitrl.fitting.truth.from_fit`), and model, priors,
        pooling and number of options are its own. By default populations are drawn from the priors, which are
        broad: that makes recovery look better than it is among real subjects.
    new_people : bool
        Whether to draw new subjects from the population of `fit` instead, which is normal on the link scale. Its own
        subjects may be otherwise, such as a few who do not learn: the difference between the two studies is what
        that costs.
    traits, options, priors, fixed
        As in `fitrl.fit`.
    pooling : {"partial", "none"}, optional
        Of the fits; by default partial, or that of `fit`.
    correlated : bool, optional
        Whether the fits let parameters be correlated over subjects; by default not, or as in `fit`.
    environment, n_options
        As in `fitrl.simulate`.
    quick : bool
        Laplace approximations instead of sampling. What is recovered then is what that approximation recovers.
    random_seed : int, optional
        Seed of the study; drawn and stored if not given.
    cores : int, optional
        Fits at the same time, by default one per core.
    executor : concurrent.futures.Executor, optional
        Who does the fits instead of processes of our own.
    progressbar : bool
        Whether to show the progress.
    **sample_kwargs
        Of every fit, passed to `pm.sample`: ``draws``, ``tune``, ``chains``, ``target_accept``, ...

    Returns
    -------
    Recovery

    Raises
    ------
    StudyError, ModelError, FitError
        If the call is wrong, or `out` holds another study.
    StudyInterrupted
        After Ctrl-C; the same call continues.

    Notes
    -----
    Wilson & Collins 2019, 10.7554/eLife.49547, step 4. Parameters are in the unit of scaled outcomes.
    In a script the call must be below ``if __name__ == "__main__":``, since workers import the script.

    Examples
    --------
    >>> found = fitrl.recover("q_learning", subjects=30, trials=150, out="recovery")  # doctest: +SKIP
    >>> print(found.text())  # doctest: +SKIP
    """
    if isinstance(fit, str | Path):
        fit = load(fit)
    if not isinstance(out, str | Path):
        raise StudyError(f"out is {out!r}; expected the path of a folder for the study.")
    design = declare_study(
        "recovery",
        model,
        fit=fit,
        new_people=new_people,
        traits=traits,
        options=options,
        priors=priors,
        pooling=pooling,
        correlated=(fit is not None and fit.spec.correlated) if correlated is None else correlated,
        fixed=fixed,
        environment=environment,
        n_options=n_options,
        subjects=subjects,
        trials=trials,
        studies=studies,
        quick=quick,
        seed=random_seed,
        sampler=sample_kwargs,
    )
    design = open_folder(out, design, seed_given=random_seed is not None)
    parameters = design.parameters()

    def draw(cell: Cell, rng: np.random.Generator) -> Truth:
        if fit is None:
            return from_prior(parameters, cell.subjects, rng, design.fixed)
        return (from_population if new_people else from_fit)(fit, cell.subjects, rng)

    results = run(design, out, draw, executor=executor, cores=cores, progressbar=progressbar)
    found = Recovery(design, *statistics.tables(results))
    found.write(out)
    return found
