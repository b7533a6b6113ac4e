"""Families of tasks: which signatures of behaviour mean something for a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fitrl.tasks.bandit import Bandit
from fitrl.tasks.stimulus_action import StimulusAction
from fitrl.tasks.twostep import TwoStep, TwoStepKool

if TYPE_CHECKING:
    import pandas as pd

_MOST_LEVELS = 12  # of a cue, beyond which shares at each of them say little


def family(task: Any, frame: pd.DataFrame) -> str:
    """Name the family of a task, which decides on its signatures.

    Parameters
    ----------
    task : Task
        Configured.
    frame : DataFrame
        Canonical trials.

    Returns
    -------
    {"transitions", "goals", "associations", "bandit", "other"}
        Daw's two-step task, Kool's, stimuli and actions, one choice that is followed by its outcome, or any other: a
        task of one's own that shows something before the choice is none of these.
    """
    kinds = {"transitions": TwoStep, "goals": TwoStepKool, "associations": StimulusAction, "bandit": Bandit}
    found = next((name for name, kind in kinds.items() if isinstance(task, kind)), None)
    if found is not None:
        return found
    plain = task.choices() == ("choice",) and "outcome" in frame and not _cues(task, frame)
    return "bandit" if plain else "other"


def shown(task: Any, frame: pd.DataFrame) -> str | None:
    """Name what is shown before the choice, if it has few levels; None if nothing is.

    Parameters
    ----------
    task, frame
        As in `family`.
    """
    return next((name for name in _cues(task, frame) if len(task.codings[name]) <= _MOST_LEVELS), None)


def _cues(task: Any, frame: pd.DataFrame) -> list[str]:
    return [column.name for column in task.columns if column.kind == "cue" and column.name in frame]
