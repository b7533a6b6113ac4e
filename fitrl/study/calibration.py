"""Simulation-based calibration, which tells whether posteriors are as uncertain as they should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit

from fitrl.errors import StudyError
from fitrl.fitting.truth import Truth, from_prior
from fitrl.study import statistics
from fitrl.study.design import Cell, Design, declare_study, open_folder, write_study
from fitrl.study.run import run

BAND = 0.95
_SIMULATIONS = 5000  # of the bands: the tail probability is then right to about a tenth


@dataclass(frozen=True)
class Calibration:
    """A finished calibration study.

    Attributes
    ----------
    design : Design
        What was done.
    fits : DataFrame
        One row per data set: n_subjects, n_trials, study, status, divergences, seconds, message.
    ranks : DataFrame
        One row per data set and quantity: quantity, study, below, equal, draws, and ``pit``, the rank as a
        number in (0, 1), which is uniform if the posterior is right.
    """

    design: Design
    fits: pd.DataFrame
    ranks: pd.DataFrame

    @cached_property
    def table(self) -> pd.DataFrame:
        """The verdict per quantity; see `judge_ranks`."""
        return judge_ranks(self.ranks)

    @property
    def failures(self) -> list[str]:
        """Quantities that are not calibrated."""
        return self.table.loc[self.table["status"] == "fails", "quantity"].tolist()

    @property
    def passed(self) -> bool:
        """Whether every quantity is calibrated, and every data set could be fitted."""
        return not self.failures and not (self.fits["status"] == "failed").any()

    def __repr__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"Calibration({self.design.describe()}, {len(self.fits)} data sets: {verdict})"

    def text(self) -> str:
        """Write the report: the verdict, what was done, the table."""
        from fitrl.study.report import calibration_text

        return calibration_text(self)

    def write(self, folder: str | Path) -> Path:
        """Write tables, ``report.txt`` and ``figures/`` into a folder, all or none of them."""
        from fitrl.study.figures import write_calibration

        tables = {"calibration": self.table, "ranks": self.ranks, "fits": self.fits}
        return write_study(folder, tables, self.text(), partial(write_calibration, self))


@dataclass(frozen=True)
class Difference:
    """Empirical distribution of ranks minus the uniform one, with its bands.

    Attributes
    ----------
    at : ndarray, shape (point,)
        Where it is evaluated, 0 to 1.
    difference : ndarray, shape (point,)
        Empirical distribution function - `at`.
    band, family_band : tuple of ndarray
        Lower and upper limits that one uniform sample keeps everywhere with 95 % probability, and that all
        quantities of a study keep together.
    """

    at: np.ndarray
    difference: np.ndarray
    band: tuple[np.ndarray, np.ndarray]
    family_band: tuple[np.ndarray, np.ndarray]

    def leaves(self, band: tuple[np.ndarray, np.ndarray]) -> bool:
        """Whether it is outside of a band anywhere."""
        return bool(((self.difference < band[0] - 1e-9) | (self.difference > band[1] + 1e-9)).any())


def difference(pit: np.ndarray, n_quantities: int) -> Difference:
    """Compare ranks with the uniform distribution.

    Parameters
    ----------
    pit : ndarray, shape (simulation,)
        Ranks as numbers in (0, 1).
    n_quantities : int
        How many such comparisons are made in the study.

    Notes
    -----
    Simultaneous bands of Saeilynoja et al. (2022, 10.1007/s11222-022-10090-6), as ArviZ computes them
    (`arviz_stats.ecdf_utils.ecdf_pit`). The wider band keeps the chance of a false alarm at 5 % for all quantities
    together (level 0.95 ** (1 / n), Sidak).
    """
    at, *band = _band(len(pit), BAND)
    _, *family_band = _band(len(pit), BAND ** (1 / n_quantities))
    return Difference(at, compute_ecdf(pit, at) - at, (band[0], band[1]), (family_band[0], family_band[1]))


@lru_cache(maxsize=8)
def _band(n: int, probability: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, lower and upper limit of the difference; they depend on the number of ranks alone."""
    any_ranks = (np.arange(n) + 0.5) / n
    at, _, low, high = ecdf_pit(any_ranks, probability, _SIMULATIONS, rng=np.random.default_rng(1))
    return at, low - at, high - at


def differences(ranks: pd.DataFrame) -> dict[str, Difference]:
    """Compare the ranks of every quantity with the uniform distribution."""
    groups = ranks.groupby("quantity", sort=False)
    return {str(name): difference(found["pit"].to_numpy(), len(groups)) for name, found in groups}


def judge_ranks(ranks: pd.DataFrame) -> pd.DataFrame:
    """Judge every quantity by its ranks.

    Parameters
    ----------
    ranks : DataFrame
        See `Calibration`.

    Returns
    -------
    DataFrame
        ``quantity``, ``n``; ``mean_pit``, below .5 where posteriors lie above the truth; ``sd_pit``, .289 for
        uniform ranks, larger where posteriors are too narrow; ``status``: ``passes``, ``borderline`` (outside of its
        own 95 % band, inside of that for all quantities together) or ``fails``; ``what``, in words.
    """
    rows = []
    for name, found in differences(ranks).items():
        pit = ranks.loc[ranks["quantity"] == name, "pit"].to_numpy()
        status = "passes"
        if found.leaves(found.band):
            status = "fails" if found.leaves(found.family_band) else "borderline"
        what = "" if status == "passes" else _in_words(pit)
        row = {"quantity": name, "n": len(pit), "mean_pit": pit.mean(), "sd_pit": pit.std(), "status": status}
        rows.append(row | {"what": what})
    return pd.DataFrame(rows, columns=["quantity", "n", "mean_pit", "sd_pit", "status", "what"])


def _in_words(pit: np.ndarray) -> str:
    """Say how ranks differ from uniform ones: by their mean, or by their spread."""
    n = len(pit)
    shift = (pit.mean() - 0.5) * np.sqrt(12 * n)
    spread = (((pit - 0.5) ** 2).mean() - 1 / 12) * np.sqrt(180 * n)  # variance of (u - 1/2)^2 is 1/180
    if max(abs(shift), abs(spread)) < 2:
        return "ranks of another shape"
    if abs(shift) >= abs(spread):
        return "posteriors too high" if shift < 0 else "posteriors too low"
    return "posteriors too narrow" if spread > 0 else "posteriors too wide"


def rank_table(results: list[dict[str, Any]], seed: int) -> pd.DataFrame:
    """Lay out the ranks of a study.

    Parameters
    ----------
    results : list of dict
        What `fitrl.study.run.run` returns.
    seed : int
        For the position within a rank.

    Notes
    -----
    A rank among n draws is one of n + 1 equal slots; a uniform position within the slot, and within ties,
    makes it a uniform number whatever n is, which differs between data sets.
    """
    rng = np.random.default_rng([seed, 1])
    rows = []
    for r in results:
        for name, rank in r.get("ranks", {}).items():
            pit = (rank["below"] + rng.random() * (rank["equal"] + 1)) / (rank["draws"] + 1)
            rows.append({"quantity": name, "study": r["study"] + 1, **rank, "pit": pit})
    return pd.DataFrame(rows, columns=["quantity", "study", "below", "equal", "draws", "pit"])


def calibrate(
    model: Any,
    *,
    out: str | Path,
    simulations: int = 200,
    subjects: int = 8,
    trials: int = 60,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    priors: str | Mapping[str, Mapping[str, Any]] = "default",
    fixed: Mapping[str, float] | None = None,
    environment: str | None = None,
    n_options: int | None = None,
    quick: bool = False,
    random_seed: int | None = None,
    cores: int | None = None,
    executor: Executor | None = None,
    progressbar: bool = True,
    **sample_kwargs: Any,
) -> Calibration:
    """Check by simulation that posteriors are what they claim to be.

    Populations are drawn from the priors, data simulated and fitted. If model, priors and sampler are all right,
    the rank of the true value among posterior draws is uniform, for the location and the scale of every
    parameter and for the log-likelihood.

    Parameters
    ----------
    model : str, Model or type
        Name in the zoo, path of a model file, or a model.
    out : path
        Folder of the study. Every finished fit is kept there; the same call continues a study that was stopped.
    simulations : int
        Data sets: 200 find gross mistakes, 1,000 subtle ones. May grow when a study is continued.
    subjects, trials : int
        Size of the data sets; small ones are enough, and leave the priors something to say.
    traits, options, priors, fixed
        As in `fitrl.fit`.
    environment, n_options
        As in `fitrl.simulate`.
    quick : bool
        Calibrate the Laplace approximation instead of the sampler. It is rough: expect it to fail.
    random_seed, cores, executor, progressbar
        As in `fitrl.recover`.
    **sample_kwargs
        Of every fit, passed to `pm.sample`.

    Returns
    -------
    Calibration
        ``passed``, ``table``, ``text()``.

    Raises
    ------
    StudyError, ModelError, FitError
        If the call is wrong, or `out` holds another study.
    StudyInterrupted
        After Ctrl-C; the same call continues.

    Notes
    -----
    Talts et al. 2018 (arXiv:1804.06788), Modrak et al. 2023 (10.1214/23-BA1404), Saeilynoja et al. 2022
    (10.1007/s11222-022-10090-6). Every fit counts, converged or not: leaving some out would bend the ranks of the rest.

    Examples
    --------
    >>> found = fitrl.calibrate("q_learning", simulations=200, out="calibration")  # doctest: +SKIP
    >>> found.passed  # doctest: +SKIP
    True
    """
    if not isinstance(out, str | Path):
        raise StudyError(f"out is {out!r}; expected the path of a folder for the study.")
    if not (isinstance(subjects, int) and isinstance(trials, int)):
        raise StudyError("a calibration has one size: give subjects and trials as one number each.")
    design = declare_study(
        "calibration",
        model,
        traits=traits,
        options=options,
        priors=priors,
        fixed=fixed,
        environment=environment,
        n_options=n_options,
        subjects=subjects,
        trials=trials,
        studies=simulations,
        quick=quick,
        seed=random_seed,
        sampler=sample_kwargs,
    )
    design = open_folder(out, design, seed_given=random_seed is not None)
    parameters = design.parameters()

    def draw(cell: Cell, rng: np.random.Generator) -> Truth:
        return from_prior(parameters, cell.subjects, rng, design.fixed)

    results = run(design, out, draw, executor=executor, cores=cores, progressbar=progressbar)
    fits, _, _ = statistics.tables(results)
    found = Calibration(design, fits, rank_table(results, design.seed))
    found.write(out)
    return found
