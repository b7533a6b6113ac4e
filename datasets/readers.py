"""Layouts that `fitrl.read_trials` does not take as they are, brought into shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fitrl.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_TRAINING = ("subject", "trial", "pair", "choice", "outcome")
_TRANSFER = ("subject", "trial", "left", "right", "choice")


def selection(
    training: pd.DataFrame,
    transfer: pd.DataFrame | None = None,
    *,
    symbols: Sequence[str] = ("AB", "CD", "EF"),
    payoffs: Sequence[float] = (0.8, 0.7, 0.6),
    columns: Mapping[str, str] | None = None,
    fit_transfer: bool = False,
) -> pd.DataFrame:
    """Bring a probabilistic selection task into one table: training by pair, transfer by symbol.

    Parameters
    ----------
    training : DataFrame
        One row per trial: subject, trial, pair (1 for the first of `symbols`), choice (1 for the better symbol of the
        pair; 0 or 2 for the other; blank if missed), outcome. A column ``session`` is kept.
    transfer : DataFrame, optional
        Trials without feedback: subject, trial, left, right and choice as symbols; choice is blank if missed.
    symbols : sequence of str
        The two symbols of each pair, the better one first.
    payoffs : sequence of float
        Probability that the better symbol of each pair pays; the other one pays otherwise.
    columns : mapping of str to str, optional
        Names above to the names in the tables: ``{"outcome": "reward"}``.
    fit_transfer : bool
        Whether choices of the transfer phase are scored; by default they are held out of the fit, to be predicted.

    Returns
    -------
    DataFrame
        For `fitrl.read_trials`: subject, trial, option_1, option_2, choice (all symbols), outcome, payoff_1, payoff_2,
        mask_choice; transfer below training, with trial numbers that count on.

    Raises
    ------
    DataError
        If a column is missing, or a pair, a choice or a symbol is none.

    References
    ----------
    Frank et al. 2004, Science, 10.1126/science.1102941 (task).

    Examples
    --------
    >>> import pandas as pd
    >>> trained = {"subject": 1, "trial": [1, 2], "pair": [1, 3], "choice": [1, 2], "outcome": [1, 0]}
    >>> selection(pd.DataFrame(trained))[["option_1", "option_2", "choice", "payoff_2"]].values.tolist()
    [['A', 'B', 'A', 0.2], ['E', 'F', 'F', 0.4]]
    """
    import pandas as pd

    if len(symbols) != len(payoffs) or any(len(pair) != 2 for pair in symbols):
        raise DataError(
            f"symbols are {', '.join(symbols)} and payoffs {', '.join(map(str, payoffs))}; expected two symbols and "
            "one probability per pair."
        )
    pays: dict[str, float] = {}
    for (good, bad), high in zip(symbols, payoffs, strict=True):
        pays |= {good: high, bad: round(1 - high, 6)}
    parts = [_trained(_renamed(training, _TRAINING, columns, "training"), symbols)]
    if transfer is not None:
        rows = _renamed(transfer, _TRANSFER, columns, "transfer")
        parts.append(_transferred(rows, parts[0], list(pays), fit_transfer))
    both = pd.concat(parts, ignore_index=True)
    return both.assign(payoff_1=both["option_1"].map(pays), payoff_2=both["option_2"].map(pays))


def _renamed(frame: pd.DataFrame, needed: Sequence[str], columns: Mapping[str, str] | None, phase: str) -> pd.DataFrame:
    """Take the columns that are needed, and the session, under their names here."""
    names = {name: (columns or {}).get(name, name) for name in (*needed, "session")}
    missing = [name for name in needed if names[name] not in frame]
    if missing:
        raise DataError(
            f"the table of {phase} has no column {', '.join(names[name] for name in missing)}; its columns are "
            f'{", ".join(map(str, frame))}. Name yours with columns={{"{missing[0]}": ...}}.'
        )
    return frame[[names[n] for n in names if names[n] in frame]].rename(columns={v: k for k, v in names.items()})


def _trained(rows: pd.DataFrame, symbols: Sequence[str]) -> pd.DataFrame:
    good, bad = (rows["pair"].map({i + 1: pair[k] for i, pair in enumerate(symbols)}) for k in (0, 1))
    _refuse(rows["pair"][good.isna()], f"pair of training; expected 1 to {len(symbols)}")
    strange = ~rows["choice"].isin([0, 1, 2]) & rows["choice"].notna()
    _refuse(rows["choice"][strange], "choice of training; expected 1 for the better symbol, 0 or 2 for the other")
    choice = good.where(rows["choice"] == 1, bad).where(rows["choice"].notna())
    return rows.drop(columns="pair").assign(option_1=good, option_2=bad, choice=choice, mask_choice=1)


def _transferred(rows: pd.DataFrame, training: pd.DataFrame, known: list[str], scored: bool) -> pd.DataFrame:
    for name in ("left", "right", "choice"):
        _refuse(rows[name][~rows[name].isin(known) & rows[name].notna()], f"symbol; expected {', '.join(known)}")
    keys = [name for name in ("subject", "session") if name in rows and name in training]
    last = training.groupby(keys)["trial"].max().rename("last").reset_index()
    before = rows[keys].merge(last, how="left", on=keys)["last"].set_axis(rows.index)
    _refuse(rows["subject"][before.isna()], "subject of the training")
    return rows.rename(columns={"left": "option_1", "right": "option_2"}).assign(
        trial=before.astype(int) + rows["trial"], mask_choice=int(scored)
    )


def _refuse(values: pd.Series, what: str) -> None:
    """Refuse the first of some values, if there are any."""
    if len(values):
        raise DataError(f'"{values.iloc[0]}" in row {values.index[0]} is no {what}.')
