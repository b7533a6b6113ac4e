"""The columns that a model reads: those of the trial table, and those that it prepares from it."""

from __future__ import annotations

import numpy as np

from fitrl.data import Trials
from fitrl.errors import ModelError
from fitrl.language.blame import author_text
from fitrl.language.model import Model


def trial_columns(model: Model, trials: Trials) -> dict[str, np.ndarray]:
    """Numeric columns of the trial table, with those that the model prepares.

    Parameters
    ----------
    model : Model
        Its `prepare` is run on a copy of the trial table.
    trials : Trials
        The data.

    Returns
    -------
    dict of str to ndarray, shape (row,)

    Raises
    ------
    ModelError
        If `prepare` does not return what ``prepared`` announces, or not one number per row.
    """
    frame = trials.frame
    columns = {str(name): frame[name].to_numpy() for name in frame if frame[name].dtype.kind in "biuf"}
    if not model.prepared:
        return columns
    with author_text(model):
        found = model.prepare(frame.copy())
    if set(found) != set(model.prepared):
        raise ModelError(
            f"{model.label}.prepare() returns {', '.join(found) or 'nothing'}, but the class announces "
            f"prepared = ({', '.join(repr(n) for n in model.prepared)},). They must name the same columns."
        )
    for name, values in found.items():
        column = np.asarray(values)
        if column.shape != (len(frame),) or column.dtype.kind not in "biuf":
            raise ModelError(
                f"{model.label}.prepare(): {name} has shape {column.shape} and type {column.dtype}; "
                f"expected one number for each of the {len(frame)} rows."
            )
        columns[name] = column
    return columns
