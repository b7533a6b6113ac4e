"""Small synthetic data sets with known truth, to try fitrl on. Each has a card, ``<name>.md``.

Data sets on the web are downloaded with `fetch`, and checked; other layouts are brought into shape by `readers`.

Examples
--------
>>> import fitrl.datasets
>>> fitrl.datasets.list()
['bandit', 'pairs', 'selection', 'two_step', 'volatile']
>>> fitrl.datasets.load("bandit").n_subjects
12
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fitrl.datasets.readers import selection
from fitrl.datasets.remote import Entry, fetch, registered
from fitrl.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from fitrl.data import Trials

__all__ = ["Entry", "card", "fetch", "list", "load", "path", "registered", "selection", "truth"]

# Name to a model of its task, which says what the columns mean.
_MODELS = {
    "bandit": "q_learning",
    "pairs": "q_learning",
    "selection": "q_learning",
    "two_step": "two_step_split",
    "volatile": "q_learning",
}


def list() -> list[str]:  # noqa: A001
    """Return the names of the data sets."""
    return [*_MODELS]


def path(name: str) -> Path:
    """Return the path of a data set's CSV file, for the command line or other programs.

    Parameters
    ----------
    name : str
        One of `list`.

    Raises
    ------
    DataError
        If there is no such data set.
    """
    return _file(name, ".csv")


def card(name: str) -> str:
    """Return the text of a data set's card: task, columns, how it was made.

    Parameters
    ----------
    name : str
        One of `list`.

    Raises
    ------
    DataError
        If there is no such data set.
    """
    return _file(name, ".md").read_text(encoding="utf-8")


def load(name: str) -> Trials:
    """Read a data set.

    Parameters
    ----------
    name : str
        One of `list`.

    Returns
    -------
    Trials

    Raises
    ------
    DataError
        If there is no such data set.
    """
    from fitrl.data import read_trials

    file = path(name)
    return read_trials(file, _MODELS[name])


def truth(name: str) -> pd.DataFrame:
    """Return the parameters that a data set was made with.

    Parameters
    ----------
    name : str
        One of `list`.

    Returns
    -------
    DataFrame
        Columns subject (text), parameter, value (natural scale).

    Raises
    ------
    DataError
        If there is no such data set.
    """
    import pandas as pd

    return pd.read_csv(_file(name, "_truth.csv"), dtype={"subject": str})


def _file(name: str, ending: str) -> Path:
    if name not in _MODELS:
        raise DataError(f'there is no data set "{name}". There are: {", ".join(_MODELS)}.')
    return Path(str(resources.files(__name__) / f"{name}{ending}"))
