"""Signatures of behaviour beside what a fit predicts for them: computed once, for figures and for one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fitrl.errors import FitError
from fitrl.fitting.predict import Predictions, predict
from fitrl.tasks import signatures
from fitrl.tasks.scoring import offer_sets
from fitrl.tasks.twostep import TwoStep

if TYPE_CHECKING:
    from fitrl.fitting.fit import Fit

Tables = dict[str, Any]

DRAWS = 100

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
    """

    fit: Fit
    draws: int = DRAWS
    random_seed: int = 0
    environment: Any = None

    def __post_init__(self) -> None:
        self._tables: dict[str, Tables] = {}
        if isinstance(self.fit.trials.task, TwoStep):
            return
        if "outcome" not in self.frame or self.fit.trials.task.choices() != ("choice",):
            raise FitError(
                f"figures of behaviour are drawn for tasks with one choice and one outcome per trial, not for "
                f"{type(self.fit.trials.task).__name__}. Draw your own from fitrl.latents(fit)."
            )

    @property
    def frame(self) -> pd.DataFrame:
        """The trials."""
        return self.fit.trials.frame

    @cached_property
    def predictions(self) -> Predictions:
        """Predicted choices."""
        return predict(self.fit, draws=self.draws, random_seed=self.random_seed, environment=self.environment)

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
        if isinstance(self.fit.trials.task, TwoStep):
            return ("stay",)
        found = ["stay"]
        if np.isfinite(self.correct(self.frame)).any():
            found.append("learning")
            if len(offer_sets(self.frame)[1]) > 1:
                found.append("accuracy")
        if self.transfer is not None:
            found.append("transfer")
        best = signatures.best_option(self.values)
        if signatures.post_reversal_curve(self.frame, best)["mean"].notna().any():
            found.append("reversal")
        return tuple(found)

    def tables(self, name: str) -> Tables:
        """Signature `name` of data and predictions, computed once.

        Returns
        -------
        dict
            ``observed``, ``one_step`` and ``free`` (tables with x, mean, lower, upper), or ``no_free_run``, the reason.
        """
        if name not in self._tables:
            if isinstance(self.fit.trials.task, TwoStep):
                self._tables[name] = _stay_by_transition(self)
            else:
                self._tables[name] = _TABLES[name](self)
        return self._tables[name]

    def correct(self, frame: pd.DataFrame) -> np.ndarray:
        """Whether the best option on offer was chosen."""
        return signatures.correct_choice(frame, self.fit.trials.task.n_options, self.values)[0]

    def bands(self, of: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        """Compute a signature of every simulated data set: ``one_step``, ``free``, ``no_free_run``."""
        one_step = [of(signatures.with_choices(self.frame, choice)) for choice in self.predictions.one_step["choice"]]
        return {"one_step": signatures.predictive_band(one_step), **self.free_band(of)}

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
        if isinstance(self.fit.trials.task, TwoStep):
            shown = np.isfinite(columns["outcome"])
            outcome = np.where(shown, columns["outcome"], 0.0)
            return self.frame.assign(**{**columns, "outcome": outcome, "outcome_given": shown})
        forgone = columns.get("outcome_forgone")
        return signatures.with_choices(self.frame, columns["choice"], columns["outcome"], forgone)


def _learning(data: Behaviour) -> Tables:
    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.learning_curve(frame, data.correct(frame))

    return {"observed": curve(data.frame), **data.bands(curve)}


def _accuracy(data: Behaviour) -> Tables:
    labels = data.fit.trials.task.labels

    def shares(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.accuracy(frame, data.correct(frame), labels)

    return {"observed": shares(data.frame), **data.bands(shares)}


def _reversal(data: Behaviour) -> Tables:
    best = signatures.best_option(data.values)

    def curve(frame: pd.DataFrame) -> pd.DataFrame:
        return signatures.post_reversal_curve(frame, best)

    observed = curve(data.frame)
    return {"observed": observed, **(data.bands(curve) if observed["mean"].notna().any() else {})}


def _stay(data: Behaviour) -> Tables:
    threshold = signatures.win_threshold(data.frame)

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        table = signatures.win_stay_lose_shift(frame, predicted=predicted, threshold=threshold)
        return signatures.stay_rates(table)

    # One step ahead a predicted choice is compared with the *observed* choice before it.
    one_step = [rates(data.frame, choice) for choice in data.predictions.one_step["choice"]]
    return {"observed": rates(data.frame), "one_step": signatures.predictive_band(one_step), **data.free_band(rates)}


def _stay_by_transition(data: Behaviour) -> Tables:
    threshold = signatures.win_threshold(data.frame)

    def rates(frame: pd.DataFrame, predicted: np.ndarray | None = None) -> pd.DataFrame:
        return signatures.stay_by_transition(frame, predicted=predicted, threshold=threshold)

    one_step = [rates(data.frame, choice) for choice in data.predictions.one_step["choice1"]]
    return {"observed": rates(data.frame), "one_step": signatures.predictive_band(one_step), **data.free_band(rates)}


def _transfer(data: Behaviour) -> Tables:
    extremes = data.transfer
    if extremes is None:
        raise FitError(
            "there is no transfer phase in these data: pairs of options that were not trained together, chosen from "
            "without outcomes, with one option that is better than all others and one that is worse. Use plot_accuracy."
        )

    def rates(choice: np.ndarray | None = None) -> pd.DataFrame:
        labels = data.fit.trials.task.labels
        return signatures.choose_avoid(data.frame, *extremes, predicted=choice, labels=labels)

    def free_rates(frame: pd.DataFrame) -> pd.DataFrame:
        return rates(frame["choice"].to_numpy())

    one_step = signatures.predictive_band([rates(choice) for choice in data.predictions.one_step["choice"]])
    return {"observed": rates(), "one_step": one_step, **data.free_band(free_rates)}


_TABLES: dict[str, Callable[[Behaviour], Tables]] = {
    "stay": _stay,
    "learning": _learning,
    "accuracy": _accuracy,
    "transfer": _transfer,
    "reversal": _reversal,
}


def behaviour_of(fit: Fit) -> Behaviour | None:
    """Return the behaviour in a fit; None for a task of another kind, whose signatures are its own."""
    try:
        return Behaviour(fit)
    except FitError:
        return None


def check_predictions(fit: Fit | Behaviour, *, environment: Any = None) -> pd.DataFrame:
    """Tabulate every signature of the data beside its posterior predictions, and say which lie outside.

    Parameters
    ----------
    fit : Fit or Behaviour
        A fit, or the behaviour that figures were drawn from: then nothing is simulated twice.
    environment : str or environment, optional
        How payoffs come about in the free run where the data do not record them; see `fitrl.fitting.predict.predict`.

    Returns
    -------
    DataFrame
        One row per value of a signature: ``signature`` (as the figures are named), ``x`` (where), ``observed`` (mean
        over subjects), ``one_step`` and ``free`` (means over simulated data sets) with ``_lower`` and ``_upper``
        limits of the central 95 % of simulated means, and ``_inside``: whether the observed value lies within. NaN
        where there is no free run, or no such trial. ``free_simulated`` says what of the free run is made up because
        the data do not record it ("schedule simulated"); empty if nothing is.

    Raises
    ------
    FitError
        If the task has no signatures.

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


def _outside(table: pd.DataFrame, kind: str, what: str, most: int) -> str:
    known = table[table[f"{kind}_inside"].notna()]
    wrong = known[~known[f"{kind}_inside"].astype(bool)]
    head = f"Predictions ({what}, 95 %): {len(known) - len(wrong)} of {len(known)} observed values inside"
    if not len(wrong):
        return f"{head}."
    shown = [
        f"{row['signature']} at {row['x']} is {row['observed']:.2f}, predicted {row[f'{kind}_lower']:.2f} to "
        f"{row[f'{kind}_upper']:.2f}"
        for row in wrong.head(most).to_dict("records")
    ]
    more = [f"and {len(wrong) - most} more"] if len(wrong) > most else []
    return f"{head}. Outside: {'; '.join([*shown, *more])}."
