"""Latents as BIDS events: one file per subject, session and run, for the analysis of imaging data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fitrl.errors import FitError
from fitrl.fitting.fit import Fit
from fitrl.fitting.predict import latents

_MISSING = "n/a"


def write_events(
    fit: Fit,
    folder: str | Path,
    *,
    onset: str = "onset",
    duration: str | float = 0.0,
    task: str | None = None,
    draws: int = 500,
) -> list[Path]:
    """Write trial-by-trial latents as BIDS events files.

    Parameters
    ----------
    fit : Fit
        A fit to a file, or frame, with a column of onsets.
    folder : str or Path
        Made if it does not exist. Gets ``sub-01/[ses-1/]func/sub-01[_ses-1]_task-bandit[_run-1]_events.tsv`` for every
        subject and session, and ``task-bandit_events.json``, which describes the columns.
    onset : str
        Column of the user's file: seconds from the first volume to the event that the latents are tied to.
    duration : str or float
        Column of the user's file, or seconds; 0 for impulses.
    task : str, optional
        Label of the task in the file names; by default the name of the task.
    draws : int
        Posterior draws to average over.

    Returns
    -------
    list of Path
        The events files, relative to `folder`.

    Raises
    ------
    FitError
        If there is no such column, an onset is not a number or goes back in time, a duration is negative, two
        subjects would get the same label, or a file exists already: nothing is overwritten.

    Notes
    -----
    Columns: ``onset`` and ``duration`` first, as BIDS demands; ``trial_type`` ("trial", or "missed" without a
    response), ``trial`` (the user's number), then the posterior mean of every latent, ``n/a`` where it has none. Labels
    keep letters and digits only. Where onsets start anew with a block, each block is a run. Standard deviations are in
    the table of `fitrl.latents`: the latents of a subject are as uncertain as its parameters.

    References
    ----------
    Brain Imaging Data Structure, section "Task events"; Gorgolewski et al. 2016, Sci Data, 10.1038/sdata.2016.44.

    Examples
    --------
    >>> fitrl.write_events(result, "bids", onset="choice_onset", duration="rt")  # doctest: +SKIP
    """
    frame = fit.trials.frame
    events = pd.DataFrame({"onset": _column(fit, onset, "onset"), "duration": _durations(fit, duration)})
    responded = [frame[f"{name}_given"].to_numpy(dtype=bool) for name in fit.trials.task.choices()]
    missed = ~np.all(responded, axis=0) if responded else np.zeros(len(frame), bool)
    events["trial_type"] = np.where(missed, "missed", "trial")
    events["trial"] = frame["trial"].to_numpy()
    found = latents(fit, draws)
    means = [str(name) for name in found if str(name).endswith("_mean")]
    for name in means:
        column = name.removesuffix("_mean")
        events[f"latent_{column}" if column in events else column] = found[name].to_numpy()
    label = _label(task or type(fit.trials.task).__name__.lower())
    files = {
        path: events.iloc[rows].to_csv(sep="\t", index=False, na_rep=_MISSING, lineterminator="\n")
        for path, rows in _files(fit, events["onset"].to_numpy(), label).items()
    }
    described = json.dumps(_descriptions(fit, [str(name) for name in events]), indent=2, ensure_ascii=False)
    _write(Path(folder), {**files, Path(f"task-{label}_events.json"): f"{described}\n"})
    return list(files)


def _write(folder: Path, texts: dict[Path, str]) -> None:
    """Write files that do not exist yet: a BIDS folder may hold the events, and the images, of others."""
    present = [path for path in texts if (folder / path).exists()]
    if present:
        raise FitError(
            f"{folder / present[0]} exists already ({len(present)} of {len(texts)} files do), and nothing in a BIDS "
            "folder is overwritten. Name another folder, or remove these files."
        )
    for path, text in texts.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            reason = error.strerror or error
            raise FitError(f"{folder / path} cannot be written ({reason}). Name a folder that can.") from None


def _column(fit: Fit, name: str, what: str) -> np.ndarray:
    """Numbers of a column of the user's file, one per trial."""
    original = fit.trials.original
    if name not in original:
        listed = ", ".join(map(str, original.columns))
        raise FitError(
            f'the data of this fit have no column "{name}" for the {what} of events. They have: {listed}. '
            f"Name one with --{what} COLUMN (in Python {what}=...)."
        )
    values = pd.to_numeric(original[name], errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        line, found = fit.trials.frame["line"].iloc[wrong[0]], original[name].iloc[wrong[0]]
        raise FitError(
            f'the {what} in line {line}, column "{name}", is "{found}" ({len(wrong)} such rows); expected seconds. '
            f"BIDS needs a number for every event, also for missed trials."
        )
    return values


def _durations(fit: Fit, duration: str | float) -> np.ndarray:
    try:
        values = np.full(len(fit.trials.frame), float(duration))
    except ValueError:
        values = _column(fit, str(duration), "duration")
    if not (values >= 0).all():
        raise FitError(f"a duration is {values[~(values >= 0)][0]:g}; expected 0 (an impulse) or more seconds.")
    return values


def _files(fit: Fit, onset: np.ndarray, task: str) -> dict[Path, np.ndarray]:
    """Rows of each file; blocks are runs where onsets start anew with them."""
    frame = fit.trials.frame
    _check_labels(frame)
    keys = ["subject", *(["session"] if "session" in frame else [])]
    files: dict[Path, np.ndarray] = {}
    for _, rows in frame.reset_index(drop=True).groupby(keys, sort=False):
        at = rows.index.to_numpy()
        parts = [f"sub-{_label(str(rows['subject'].iloc[0]), 'sub')}"]
        if "session" in frame:
            parts.append(f"ses-{_label(str(rows['session'].iloc[0]), 'ses')}")
        runs = [at]
        if (np.diff(onset[at]) < 0).any() and "block" in frame:
            runs = [block.index.to_numpy() for _, block in rows.groupby("block", sort=False)]
        for number, run in enumerate(runs, 1):
            back = np.flatnonzero(np.diff(onset[run]) < 0)
            if len(back):
                row = frame.iloc[run[back[0] + 1]]
                raise FitError(
                    f"the onset goes back in time at line {row['line']} (subject {row['subject']}, trial "
                    f"{row['trial']:g}). Expected onsets that rise within a session, or within each block of it."
                )
            name = "_".join([*parts, f"task-{task}", *([f"run-{number}"] if len(runs) > 1 else []), "events.tsv"])
            files[Path(*parts, "func", name)] = run
    return files


def _check_labels(frame: pd.DataFrame) -> None:
    """Refuse ids that differ only in what a label cannot hold."""
    for column, prefix in (("subject", "sub"), ("session", "ses")):
        seen: dict[str, str] = {}
        for given in frame[column].astype(str).unique() if column in frame else []:
            label = _label(given, prefix)
            if label in seen:
                raise FitError(
                    f'the {column}s "{seen[label]}" and "{given}" both get the BIDS label "{prefix}-{label}", since a '
                    "label holds letters and digits only. Rename one of them."
                )
            seen[label] = given


def _label(text: str, prefix: str = "") -> str:
    """Letters and digits of a text, without a prefix that it has already."""
    found = re.sub(r"[^a-zA-Z0-9]", "", text.removeprefix(f"{prefix}-"))
    if not found:
        raise FitError(f'"{text}" holds no letter or digit, of which a BIDS label consists. Give it another name.')
    return found


def _descriptions(fit: Fit, columns: list[str]) -> dict[str, Any]:
    """Describe every column, as the JSON beside the events does."""
    declared = fit.plan.model.latents()
    known = {
        "onset": {"Description": "Onset of the trial", "Units": "s"},
        "duration": {"Description": "Duration of the trial", "Units": "s"},
        "trial_type": {
            "Description": "Whether there was a response",
            "Levels": {"trial": "all responses given", "missed": "a response is missing"},
        },
        "trial": {"Description": "Number of the trial"},
    }
    for column in columns:
        if column in known:
            continue
        field = next(
            (n for n in sorted(declared, key=len, reverse=True) if re.match(rf"(latent_)?{n}(_|$)", column)), None
        )
        text = declared[field].description if field else "probability of the response that was given"
        if not field and not column.startswith("p_"):
            text = "state of the model before the trial"
        known[column] = {"Description": f"{fit.plan.model.describe()}, posterior mean: {text} ({column})"}
    return known
