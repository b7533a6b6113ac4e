"""Signatures of behaviour beside what a fit predicts for them: computed once, for figures and for one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.engine.trace import trace
from fitrl.errors import FitError
from fitrl.fitting.predict import Predictions, predict
from fitrl.hierarchy.covariates import read_covariate
from fitrl.show import families
from fitrl.tasks import signatures

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

Tables = dict[str, Any]

DRAWS = 100

_BAND = ("", "_lower", "_upper", "_inside")
TABLE = (
    "signature",
    "x",
    "observed",
    *[f"{kind}{end}" for kind in ("one_step", "free") for end in _BAND],
    "free_simulated",
)

# What a mean outcome over all trials that share their values cannot show.
BLIND_TO_REVERSALS = (
    "Where payoffs reverse, this is not a learning curve: one option counts as the better one throughout."
)
_SPANS = {"block": "the block", "session": "the session", "never": "all trials"}


@dataclass
class Behaviour:
    """Data and predictions of a fit, computed once for all figures of behaviour.

    Attributes
    ----------
    fit : Fit
    draws : int
        Simulated data sets per prediction.
    random_seed : int
        Seed of the simulations.
    environment : str or environment, optional
        How payoffs come about in the free run where the data do not record them; see `fitrl.fitting.predict.predict`.
    rows : ndarray of int, optional
        Trials that are looked at; all by default. See `split`.
    """

    fit: Fit
    draws: int = DRAWS
    random_seed: int = 0
    environment: Any = None
    rows: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._tables: dict[str, Tables] = {}
        self._parts: dict[str, dict[str, Behaviour]] = {}
        choices = self.fit.trials.task.choices()
        if not choices:
            raise FitError(
                f"the task {type(self.fit.trials.task).__name__} has no choices, and figures of behaviour are drawn of "
                "choices. Draw your own from fitrl.latents(fit)."
            )
        if not set(trace(self.fit.plan.model, self.fit.trials.task).log_probability) & set(choices):
            raise FitError(f"{self.fit.plan.model.describe()} makes no choices, so there are none to predict.")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The trials."""
        frame = self.fit.trials.frame
        if self.rows is None:
            return frame
        part = frame.iloc[self.rows].reset_index(drop=True)
        return part.assign(
            **{name: np.unique(part[name], return_inverse=True)[1] for name in ("subject_idx", "sequence")}
        )

    def split(self, by: str) -> dict[str, Behaviour]:
        """Look at groups or sessions on their own, without simulating again.

        Parameters
        ----------
        by : str
            A column of the data that is constant within people, or within sessions.

        Returns
        -------
        dict of str to Behaviour
            By the levels of the column.

        Raises
        ------
        DataError
            If there is no such column, or a value is missing.
        FitError
            If it changes within a session.

        Examples
        --------
        >>> drug = fitrl.Behaviour(result).split("drug")  # doctest: +SKIP
        >>> fitrl.plot_stay(drug["verum"])  # doctest: +SKIP
        """
        if by in self._parts:
            return self._parts[by]
        covariate = read_covariate(self.fit.trials, by, factor=True)
        if covariate.varies == "row":
            carried = 'Here values carry over from session to session (reset="never"). '
            raise FitError(
                f"{by} changes within a sequence of learning, and signatures are of whole ones. "
                f"{carried if self.fit.trials.reset == 'never' else ''}Name a column that is constant within them."
            )
        own = np.arange(len(covariate.codes)) if self.rows is None else self.rows
        found = {}
        for code, level in enumerate(covariate.levels):
            inside = np.flatnonzero(covariate.codes[own] == code)
            if inside.size:
                found[level] = replace(self, rows=own[inside])
                found[level].__dict__["predictions"] = self.predictions.of(inside)
        self._parts[by] = found
        return found

    @cached_property
    def predictions(self) -> Predictions:
        """Predicted choices."""
        found = predict(self.fit, draws=self.draws, random_seed=self.random_seed, environment=self.environment)
        return found if self.rows is None else found.of(self.rows)

    @cached_property
    def values(self) -> signatures.OptionValues:
        """How good each option is; simulated choices are judged by the same values."""
        return signatures.option_values(self.frame, self.fit.trials.task.n_options)

    @cached_property
    def has_payoffs(self) -> bool:
        """Whether the data say trial by trial how good each option is."""
        return any(str(name).startswith("payoff_") for name in self.frame)

    @property
    def label(self) -> str:
        """What counts as correct, for axis labels."""
        if self.has_payoffs or not self.values.label.startswith("empirically"):
            return self.values.label
        which = "higher" if self.chance == 0.5 else "highest"
        return f"option with the {which} mean outcome over {_SPANS[self.fit.trials.reset]}"

    @property
    def chance(self) -> float:
        """Share of correct choices by guessing."""
        task = self.fit.trials.task
        return 1.0 / (task.offered("choice") or task.n_options)

    @cached_property
    def transfer(self) -> tuple[int, int] | None:
        """The best and the worst option, where new pairs without outcomes tell how they were learned; else None."""
        extremes = signatures.extreme_options(self.values)
        if extremes is None or signatures.choose_avoid(self.frame, *extremes)["mean"].isna().any():
            return None
        return extremes

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Signatures that these data have, by the names of their figures."""
        return families.names(self)

    def tables(self, name: str) -> Tables:
        """Signature `name` of data and predictions, computed once.

        Returns
        -------
        dict
            ``observed``, ``one_step`` and ``free`` (tables with x, mean, lower, upper), or ``no_free_run``, the reason.

        Raises
        ------
        FitError
            If the task has no signature of this name.
        """
        if name not in self._tables:
            self._tables[name] = families.tables(self, name)
        return self._tables[name]

    def correct(self, frame: pd.DataFrame) -> np.ndarray:
        """Whether the best option on offer was chosen."""
        return signatures.correct_choice(frame, self.fit.trials.task.n_options, self.values)[0]

    def bands(self, of: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        """Compute a signature of every simulated data set: ``one_step``, ``free``, ``no_free_run``."""
        one_step = [of(signatures.with_choices(self.frame, choice)) for choice in self.predictions.one_step["choice"]]
        return {"one_step": signatures.predictive_band(one_step), **self.free_band(of)}

    def beside(self, name: str, of: Callable[..., pd.DataFrame]) -> Tables:
        """Compute a signature of the data and of simulated data sets, one step ahead with ``predicted`` choices.

        Parameters
        ----------
        name : str
            The choice that is predicted.
        of : callable
            From trials, and optionally predicted choices, to a table; one step ahead a predicted choice is looked at
            beside what was *observed* before it.
        """
        one_step = [of(self.frame, choice) for choice in self.predictions.one_step[name]]
        return {"observed": of(self.frame), "one_step": signatures.predictive_band(one_step), **self.free_band(of)}

    def free_band(self, of: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        """Compute a signature of every free-running data set, or say why there is none.

        Returns
        -------
        dict
            ``free``, a table with the column ``simulated``: what of the free run is made up; or ``no_free_run``.
        """
        free = self.predictions.free
        if free is None:
            return {"no_free_run": self.predictions.why_not}
        n_draws = len(next(iter(free.values())))
        tables = [of(self.played({name: values[i] for name, values in free.items()})) for i in range(n_draws)]
        return {"free": signatures.predictive_band(tables).assign(simulated=self.predictions.simulated)}

    def played(self, columns: dict[str, np.ndarray]) -> pd.DataFrame:
        """Return the trials with the choices of agents, and with the answers that followed them."""
        if self.fit.trials.task.choices() != ("choice",) or "outcome" not in columns:
            answered = dict(columns)
            for column in self.fit.trials.task.columns:
                if column.kind == "outcome" and column.name in columns:
                    shown = np.isfinite(columns[column.name])
                    answered[column.name] = np.where(shown, columns[column.name], 0.0)
                    answered[f"{column.name}_given"] = shown
            return self.frame.assign(**answered)
        forgone = columns.get("outcome_forgone")
        return signatures.with_choices(self.frame, columns["choice"], columns["outcome"], forgone)


def behaviour_of(fit: Fit) -> Behaviour | None:
    """Return the behaviour in a fit; None for a task without choices."""
    try:
        return Behaviour(fit)
    except FitError:
        return None


def check_predictions(fit: Fit | Behaviour, *, by: str | None = None, environment: Any = None) -> pd.DataFrame:
    """Tabulate every signature of the data beside its posterior predictions, and say which lie outside.

    Parameters
    ----------
    fit : Fit or Behaviour
        A fit, or the behaviour that figures were drawn from: then nothing is simulated twice.
    by : str, optional
        A column of groups or sessions, each of which is looked at on its own: does the model know what the drug does?
    environment : str or environment, optional
        How payoffs come about in the free run where the data do not record them; see `fitrl.fitting.predict.predict`.

    Returns
    -------
    DataFrame
        One row per value of a signature (and level of `by`, in a first column of that name): ``signature`` (as the
        figures are named), ``x`` (where), ``observed`` (mean over subjects), ``one_step`` and ``free`` (means over
        simulated data sets) with ``_lower`` and ``_upper`` limits of the central 95 % of simulated means, and
        ``_inside``: whether the observed value lies within. NaN where there is no free run, or no such trial.
        ``free_simulated`` says what of the free run is made up because the data do not record it ("schedule
        simulated"); empty if nothing is.

    Raises
    ------
    FitError
        If the task has no signatures, or `by` changes within a session.
    DataError
        If there is no column `by`.

    Notes
    -----
    A model that fits can still be unable to produce the behaviour: the free run, in which simulated subjects learn from
    their own choices, is the test (Palminteri, Wyart & Koechlin 2017, 10.1016/j.tics.2017.03.011). Of values that are
    predicted well, one in twenty lies outside. Where the schedule of payoffs is simulated, the free run meets other
    payoffs than the people did: look at order and size of its values, and judge the interval one step ahead.

    Examples
    --------
    >>> fitrl.check_predictions(result).query("free_inside == False")  # doctest: +SKIP
    """
    data = fit if isinstance(fit, Behaviour) else Behaviour(fit, environment=environment)
    if by is not None:
        tables_by = {level: check_predictions(part) for level, part in data.split(by).items()}
        if by in TABLE:
            raise FitError(f'the table of predictions has a column "{by}" of its own. Rename that of the data.')
        for level, table in tables_by.items():
            table.insert(0, by, level)
        return pd.concat(tables_by.values(), ignore_index=True)
    parts = []
    for name in data.names:
        tables = data.tables(name)
        part = pd.DataFrame({"signature": name, "x": tables["observed"]["x"].astype(str)})
        part["observed"] = tables["observed"]["mean"].to_numpy(dtype=float)
        for kind in ("one_step", "free"):
            band = tables.get(kind)
            columns = ["mean", "lower", "upper"]
            values = np.full((len(part), 3), np.nan) if band is None else band[columns].to_numpy(dtype=float)
            part[[kind, f"{kind}_lower", f"{kind}_upper"]] = values
            inside = (part["observed"] >= values[:, 1]) & (part["observed"] <= values[:, 2])
            known = part["observed"].notna() & np.isfinite(values).all(axis=1)
            part[f"{kind}_inside"] = inside.astype(object).where(known, np.nan)
        part["free_simulated"] = data.predictions.simulated
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def outside(table: pd.DataFrame, most: int = 6) -> str:
    """Say in words which observed values lie outside of their predictions.

    Parameters
    ----------
    table : DataFrame
        What `check_predictions` returned.
    most : int
        Values that are named.

    Returns
    -------
    str
        By the free run where there is one, else one step ahead; by both where payoffs of the free run are simulated.
    """
    has_free = table["free_inside"].notna().any()
    simulated = "".join(table["free_simulated"].unique()) if has_free else ""
    said = []
    if not has_free or simulated:
        said.append(_outside(table, "one_step", "one-step", most))
    if has_free:
        said.append(_outside(table, "free", f"free-running, {simulated}" if simulated else "free-running", most))
    return "\n".join(said)


def _apart(observed: float, lower: float, upper: float) -> str:
    """Write a value outside of an interval with as many digits as show that it is."""
    for digits in range(2, 7):
        seen, low, high = (round(x, digits) for x in (observed, lower, upper))
        if not low <= seen <= high:
            break
    return f"{observed:.{digits}f}, predicted {lower:.{digits}f} to {upper:.{digits}f}"


def _outside(table: pd.DataFrame, kind: str, what: str, most: int) -> str:
    known = table[table[f"{kind}_inside"].notna()]
    wrong = known[~known[f"{kind}_inside"].astype(bool)]
    head = f"Predictions ({what}, 95 %): {len(known) - len(wrong)} of {len(known)} observed values inside"
    if not len(wrong):
        return f"{head}."
    shown = [
        f"{row['signature']} at {row['x']} is {_apart(row['observed'], row[f'{kind}_lower'], row[f'{kind}_upper'])}"
        for row in wrong.head(most).to_dict("records")
    ]
    more = [f"and {len(wrong) - most} more"] if len(wrong) > most else []
    return f"{head}. Outside: {'; '.join([*shown, *more])}."
