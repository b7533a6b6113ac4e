"""Makes the data sets of this folder: ``python datasets/make.py [FOLDER]``. The same bytes every time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitrl.fitting.simulate import Simulation, simulate
from fitrl.tasks.environments import Pairs


def make() -> dict[str, pd.DataFrame]:
    """Simulate every data set.

    Returns
    -------
    dict of str to DataFrame
        File name to table.
    """
    rng = np.random.default_rng(20)
    bandit = simulate("q_learning", subjects=12, trials=97, environment="reversing", random_seed=rng)
    pairs = simulate("q_learning", subjects=10, trials=150, environment=Pairs(transfer=30), random_seed=rng)
    tables = {**_tables("bandit", bandit, missed=3, rng=rng), **_tables("pairs", pairs, missed=0, rng=rng)}
    # Generators of their own: a data set that is added leaves the bytes of the others alone.
    rng = np.random.default_rng(21)
    selection = simulate("opal", subjects=12, trials=240, environment=Pairs(transfer=60), random_seed=rng)
    tables |= _tables("selection", selection, missed=0, rng=rng)
    rng = np.random.default_rng(22)
    volatile = simulate("dynamic_alpha", subjects=12, trials=156, environment="volatile", random_seed=rng)
    tables |= _tables("volatile", volatile, missed=4, rng=rng)
    rng = np.random.default_rng(23)
    two_step = simulate("two_step_split", subjects=12, trials=200, random_seed=rng)
    return {**tables, **_tables("two_step", two_step, missed=3, rng=rng)}


def write(folder: Path) -> None:
    """Write every data set into a folder as CSV."""
    for name, table in make().items():
        table.to_csv(folder / name, index=False, lineterminator="\n")


def _tables(name: str, made: Simulation, missed: int, rng: Any) -> dict[str, pd.DataFrame]:
    frame = made.frame.copy()
    frame["subject"] = _ids(frame["subject"])
    for column in frame.columns[frame.columns.str.startswith("outcome")]:
        frame[column] = frame[column].astype("Int64")
    for column in frame.columns[frame.columns.str.startswith("payoff")]:
        frame[column] = frame[column].round(4)
    truth = made.truth.assign(subject=_ids(made.truth["subject"]), value=made.truth["value"].round(4))
    return {f"{name}.csv": _with_missed(frame, missed, rng), f"{name}_truth.csv": truth}


def _ids(subject: pd.Series) -> pd.Series:
    return "s" + subject.str.zfill(2)


def _with_missed(frame: pd.DataFrame, n: int, rng: Any) -> pd.DataFrame:
    """Insert missed responses into each subject's trials.

    They are inserted, not blanked: a trial that was blanked afterwards would have taught the agent something
    that the file does not show.
    """
    parts = []
    for _, rows in frame.groupby("subject", sort=False):
        copied = rows.iloc[np.sort(rng.choice(len(rows), n, replace=False))].copy()
        blank = [column for column in rows if column.startswith(("choice", "state", "outcome"))]
        copied[blank] = pd.NA
        both = pd.concat([rows, copied]).sort_index(kind="stable")
        parts.append(both.assign(trial=range(1, len(both) + 1)))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
