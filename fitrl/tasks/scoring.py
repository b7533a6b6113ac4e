"""What counts as a correct choice, and trials with other choices than the observed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fitrl.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class OptionValues(NamedTuple):
    """How good each option is in each trial, and by which rule.

    Attributes
    ----------
    values : ndarray, shape (row, option)
        Expected payoff, or the mean outcome that stands in for it; NaN where unknown.
    label : str
        The rule in words, for axis labels: "better option (by payoff)" and so on.
    """

    values: np.ndarray
    label: str


def option_values(frame: pd.DataFrame, n_options: int) -> OptionValues:
    """Say how good each option is, by the best information that the data hold.

    In this order: the payoffs of the file (``payoff_1`` ..., one per option, or one per option on offer where
    these are fewer, as with stimuli); the mean of all outcomes shown for an option,
    chosen or forgone, over the whole data (pairs of options only); the mean outcome that the subject
    obtained from it within the sequence. The last depends on the choices themselves and is blind to
    reversals; its label says so ("empirically better option").

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    n_options : int
        Number of options; their codes are 0 to ``n_options - 1``.

    Returns
    -------
    OptionValues

    Raises
    ------
    DataError
        If there are payoff columns, but neither one per option nor one per option on offer.
    """
    offers = offers_of(frame)
    payoffs = numbered(frame, "payoff")
    if payoffs is not None:
        return OptionValues(_by_option(payoffs, offers, n_options), "better option (by payoff)")
    choice, outcome = frame["choice"].to_numpy(), frame["outcome"].to_numpy()
    seen = has_outcome(frame)
    if "outcome_forgone" in frame and offers is not None and offers.shape[1] == 2:
        both = seen & frame["outcome_forgone_given"].to_numpy()
        other = offers.sum(axis=1) - choice
        codes = np.concatenate([choice[both], other[both]])
        shown = np.concatenate([outcome[both], frame["outcome_forgone"].to_numpy()[both]])
        means = mean_by(codes, shown, n_options)
        if np.isfinite(means).any():
            values = np.broadcast_to(means, (len(frame), n_options))
            return OptionValues(values, "better option (mean of all outcomes shown)")
    sequence = frame["sequence"].to_numpy()
    n_cells = (int(sequence.max()) + 1) * n_options if len(frame) else 0
    means = mean_by((sequence * n_options + choice)[seen], outcome[seen], n_cells)
    return OptionValues(means.reshape(-1, n_options)[sequence], "empirically better option")


def correct_choice(frame: pd.DataFrame, n_options: int, values: OptionValues | None = None) -> tuple[np.ndarray, str]:
    """Mark the choices of the best option on offer.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    n_options : int
        Number of options.
    values : OptionValues, optional
        How good the options are; by default `option_values` of `frame`. For simulated choices pass the values
        of the observed data, so that both are judged alike.

    Returns
    -------
    correct : ndarray of float, shape (row,)
        1 where the best option on offer was chosen, 0 where another was; NaN where the trial is not scored
        (missed, forced, masked), where the best two options tie, or where the value of an option is unknown.
    label : str
        The rule in words.
    """
    table, label = option_values(frame, n_options) if values is None else values
    offers = offers_of(frame)
    on_offer: np.ndarray = table if offers is None else np.take_along_axis(table, offers, axis=1)
    best = on_offer.max(axis=1)
    tied = np.sum(on_offer == best[:, None], axis=1) > 1
    defined = scored(frame) & np.isfinite(best) & ~tied
    chosen: np.ndarray = np.take_along_axis(table, frame["choice"].to_numpy()[:, None], axis=1)[:, 0]
    return np.where(defined, (chosen == best).astype(float), np.nan), label


def best_option(values: OptionValues) -> np.ndarray:
    """Return the code of the best of all options in each trial, as float; NaN if tied or unknown."""
    best = values.values.max(axis=1)
    is_best = values.values == best[:, None]
    return np.where(is_best.sum(axis=1) == 1, is_best.argmax(axis=1).astype(float), np.nan)


def extreme_options(values: OptionValues) -> tuple[int, int] | None:
    """Return the codes of the best and of the worst option on average over trials; None if tied or unknown.

    Parameters
    ----------
    values : OptionValues
        See `option_values`; an option counts in the trials in which its value is known.
    """
    table = values.values
    known = np.isfinite(table)
    if not len(table) or not known.any(axis=0).all():
        return None
    means = np.where(known, table, 0.0).sum(axis=0) / known.sum(axis=0)
    order = np.argsort(means)
    if means[order[-1]] <= means[order[-2]] or means[order[0]] >= means[order[1]]:
        return None
    return int(order[-1]), int(order[0])


def with_choices(
    frame: pd.DataFrame,
    choice: np.ndarray,
    outcome: np.ndarray | None = None,
    outcome_forgone: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the trials with other choices, and with the outcomes that followed them.

    Trials that are not scored in `frame` stay unscored, so that people and agents are judged on the same
    trials. Nothing in `frame` is modified.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    choice : ndarray, shape (row,)
        Option codes; NaN for no response.
    outcome, outcome_forgone : ndarray, shape (row,), optional
        Outcomes in the scaled unit of `frame`; NaN where none is shown. Without `outcome` the observed
        ones stay (one-step predictions); with `outcome` but without `outcome_forgone` the forgone ones,
        if there are any, are marked as not shown.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataError
        If an array does not have one entry per row, or a choice is not among the options on offer.
    """
    choice = one_per_row(frame, choice, "choice")
    new = frame.copy(deep=False)
    given = np.isfinite(choice)
    codes = np.where(given, choice, 0).astype(np.int64)
    offers = offers_of(frame)
    if offers is not None:
        is_choice = offers == codes[:, None]
        stray = np.flatnonzero(given & ~is_choice.any(axis=1))
        if stray.size:
            raise DataError(
                f"choice {codes[stray[0]]} in row {stray[0]} is not among the options on offer, "
                f"{offers[stray[0]].tolist()}; expected one of these. Simulate with "
                "the offers of these trials."
            )
        new["choice_at"] = is_choice.argmax(axis=1)
    new["choice"], new["choice_given"] = codes, given
    new["mask_choice"] = scored(frame) & given
    if outcome is None:
        return new
    for name, values in (("outcome", outcome), ("outcome_forgone", outcome_forgone)):
        if values is None and name not in frame:
            continue
        values = np.full(len(frame), np.nan) if values is None else one_per_row(frame, values, name)
        new[name] = np.where(np.isfinite(values), values, 0.0)
        new[f"{name}_given"] = np.isfinite(values)
    if "mask_update" in frame:
        new["mask_update"] = frame["mask_update"].to_numpy() & given & new["outcome_given"].to_numpy()
    return new


def scored(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows hold a choice that counts: given, and neither forced nor masked."""
    return frame["mask_choice"].to_numpy() & frame["choice_given"].to_numpy()


def has_outcome(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows hold a choice, free or forced, and its outcome."""
    return frame["choice_given"].to_numpy() & frame["outcome_given"].to_numpy()


def numbered(frame: pd.DataFrame, name: str) -> np.ndarray | None:
    """Return the columns ``<name>_1``, ``<name>_2``, ..., shape (row, number), or None if there are none."""
    names: list[str] = []
    while f"{name}_{len(names) + 1}" in frame:
        names.append(f"{name}_{len(names) + 1}")
    return frame[names].to_numpy() if names else None


def offers_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Return the options on offer, shape (row, offer), or None if every option is always on offer."""
    return numbered(frame, "offer")


def _by_option(payoffs: np.ndarray, offers: np.ndarray | None, n_options: int) -> np.ndarray:
    """Return payoffs per option, shape (row, option), from one column per option or per option on offer."""
    n_payoffs = payoffs.shape[1]
    if n_payoffs == n_options:
        return payoffs.astype(float)
    if offers is None or n_payoffs != offers.shape[1]:
        on_offer = "" if offers is None else f", or one for each of the {offers.shape[1]} on offer"
        raise DataError(
            f"there are {n_payoffs} payoff columns; expected one for each of the {n_options} options"
            f"{on_offer}. Add the missing columns or remove all payoff columns."
        )
    values = np.full((len(payoffs), n_options), np.nan)
    np.put_along_axis(values, offers, payoffs, axis=1)
    return values


def offer_sets(frame: pd.DataFrame) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Return the number of the set of options on offer in each row, whatever their order, and the sets."""
    offers = offers_of(frame)
    if offers is None or not len(frame):
        return np.zeros(len(frame), dtype=np.int64), [()]
    offers = np.sort(offers, axis=1)
    number = np.zeros(len(frame), dtype=np.int64)
    first = np.zeros(1, dtype=np.int64)
    for column in offers.T:
        # Numbering anew after each position keeps the codes small for any number of options.
        _, first, number = np.unique(number * (offers.max() + 1) + column, return_index=True, return_inverse=True)
    return number, [tuple(offers[row].tolist()) for row in first]


def one_per_row(frame: pd.DataFrame, values, name: str) -> np.ndarray:
    """Return `values` as floats; refuse them unless there is one per trial."""
    values = np.asarray(values, dtype=float)
    if values.shape != (len(frame),):
        raise DataError(
            f"{name} has shape {values.shape}; expected one entry for each of the {len(frame)} trials. "
            "Compute it from the same table."
        )
    return values


def mean_by(group: np.ndarray, value: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the mean of `value` in each group, NaN in empty ones."""
    count = np.bincount(group, minlength=n_groups)
    total = np.bincount(group, weights=value, minlength=n_groups)
    return np.divide(total, count, out=np.full(n_groups, np.nan), where=count > 0)
