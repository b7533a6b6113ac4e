"""Behavioural signatures: the curves and rates by which simulated choices are compared with observed ones.

Every function takes a canonical trial table (``Trials.frame``) and returns a tidy table. Curves and rates
over subjects have the columns ``x`` (where), ``mean`` and ``se`` (over subjects), ``lower`` and ``upper``
(mean minus and plus one standard error) and ``n_subjects``; a subject counts once, whatever the number of
trials. For simulated choices, replace the observed ones with `with_choices` and call the same functions;
`predictive_band` joins the tables of many simulated data sets into one band.

A *run* is what lies between two resets of the learned values (``frame["reset"]``): a block or a sequence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fitrl.errors import DataError
from fitrl.tasks.scoring import (
    OptionValues,
    best_option,
    correct_choice,
    extreme_options,
    has_outcome,
    mean_by,
    offer_sets,
    offers_of,
    one_per_row,
    option_values,
    scored,
    with_choices,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "OptionValues",
    "accuracy",
    "best_option",
    "choose_avoid",
    "correct_choice",
    "extreme_options",
    "latent_by_phase",
    "learning_curve",
    "learning_rate_by_phase",
    "option_values",
    "post_reversal_curve",
    "predictive_band",
    "stay_by_transition",
    "stay_rates",
    "win_stay_lose_shift",
    "win_threshold",
    "with_choices",
]

# Up to this many trials a learning curve has one point per trial, beyond it about `_BINS` points.
_UNBINNED, _BINS = 30, 20

STAY_AFTER_WIN = "stay after win"
SHIFT_AFTER_LOSS = "shift after loss"
# Learning rates and slopes (per range of outcomes) that are tried where choices are described by a delta rule.
_RATES = np.arange(0.02, 0.99, 0.04)
_SLOPES = np.geomspace(0.25, 32.0, 12)

TRANSITIONS = ("reward, common", "reward, rare", "no reward, common", "no reward, rare")


def learning_curve(frame: pd.DataFrame, correct: np.ndarray, bins: int | None = None) -> pd.DataFrame:
    """Average correct choices over the course of a run.

    Trials are counted from each reset of the values on, missed ones included. The mean of each subject in
    each bin comes first, then the mean over subjects.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    correct : ndarray, shape (row,)
        1, 0, or a probability; NaN where undefined. See `correct_choice`.
    bins : int, optional
        Number of bins of equal width. By default one per trial up to 30 trials, else about 20.

    Returns
    -------
    DataFrame
        Columns x (trial number at the centre of the bin, from 1), mean, se, lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `correct` does not have one entry per row, or `bins` is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"subject_idx": [0, 0, 1, 1], "reset": [True, False, True, False]})
    >>> learning_curve(frame, np.array([0.0, 1.0, 1.0, 1.0]))["mean"].tolist()
    [0.5, 1.0]
    """
    correct = one_per_row(frame, correct, "correct")
    if bins is not None and bins < 1:
        raise DataError(f"a learning curve with {bins} bins; expected at least 1. Choose another number of bins.")
    row = np.arange(len(frame))
    position = row - np.maximum.accumulate(np.where(frame["reset"].to_numpy(), row, 0))
    length = int(position.max()) + 1 if len(frame) else 0
    if bins is None:
        bins = length if length <= _UNBINNED else _BINS
    width = max(1, math.ceil(length / max(bins, 1)))
    first = np.arange(0, length, width)
    centre = (first + 1 + np.minimum(first + width, length)) / 2
    return _over_subjects(frame["subject_idx"].to_numpy(), position // width, correct, centre)


def post_reversal_curve(frame: pd.DataFrame, best: np.ndarray, before: int = 5, after: int = 15) -> pd.DataFrame:
    """Average choices of the currently best option around each change of the best option.

    Lag 0 is the first trial with the new best option. Before it the old one counts as best. Trials that lie
    beyond a neighbouring reversal, or in another run, are left out.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    best : ndarray, shape (row,)
        Code of the best option, NaN where unknown; see `best_option`.
    before, after : int
        Trials shown before and after a reversal.

    Returns
    -------
    DataFrame
        Columns x (lag, from ``-before`` to ``after``), mean, se, lower, upper, n_subjects, n_reversals
        (that reach this lag). Means are NaN if the best option never changes.

    Raises
    ------
    DataError
        If `best` does not have one entry per row.
    """
    best = one_per_row(frame, best, "best")
    reset = frame["reset"].to_numpy()
    changed = np.zeros(len(frame), dtype=bool)
    changed[1:] = (best[1:] != best[:-1]) & np.isfinite(best[1:]) & np.isfinite(best[:-1]) & ~reset[1:]
    # A stretch is a piece of a run with one best option; a lag must stay in the stretch it belongs to.
    stretch = np.cumsum(reset | changed)
    at = np.flatnonzero(changed)[:, None]
    lags = np.arange(-before, after + 1)
    rows = at + lags
    inside = (rows >= 0) & (rows < len(frame))
    rows = np.where(inside, rows, at)
    inside &= stretch[rows] == np.where(lags >= 0, stretch[at], stretch[at] - 1)
    chose_best = np.where(scored(frame) & np.isfinite(best), (frame["choice"].to_numpy() == best).astype(float), np.nan)
    lag_idx = np.broadcast_to(np.arange(len(lags)), rows.shape)[inside]
    rows = rows[inside]
    table = _over_subjects(frame["subject_idx"].to_numpy(), lag_idx, chose_best, lags, rows=rows)
    counted = np.isfinite(chose_best[rows])
    table["n_reversals"] = np.bincount(lag_idx[counted], minlength=len(lags))
    return table


def win_threshold(frame: pd.DataFrame) -> float:
    """Return the outcome above which a trial counts as a win.

    Zero if any outcome is negative, for losses and gains keep their sign; otherwise the midpoint between the
    smallest and the largest outcome in the data (0.5 for outcomes 0 and 1). If all outcomes are equal, half
    of that outcome, so that a task that always pays is all wins and one that never pays all losses.
    """
    outcome = frame["outcome"].to_numpy()[frame["outcome_given"].to_numpy()]
    if not outcome.size:
        return 0.0
    lowest, highest = float(outcome.min()), float(outcome.max())
    if lowest < 0:
        return 0.0
    return (lowest + highest) / 2 if lowest < highest else highest / 2


def win_stay_lose_shift(
    frame: pd.DataFrame, *, predicted: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Compute for each subject how often a win is followed by a stay and a loss by a shift.

    A trial is paired with the previous trial of the same run that had the same options on offer (with fixed
    options: the trial before). Staying is to choose the same option again. Pairs whose first trial was missed
    or showed no outcome, and pairs whose second trial is not scored (missed, forced, masked), do not count.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices, one step ahead: each is compared with the *observed* choice and outcome before it.
        By default the choices of `frame`.
    threshold : float, optional
        Outcomes above it are wins; by default `win_threshold` of `frame`. For simulated data pass the
        threshold of the observed data.

    Returns
    -------
    DataFrame
        One row per subject: subject, p_stay_win, p_shift_loss (NaN without such trials), n_win, n_loss.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.
    """
    import pandas as pd

    choice = frame["choice"].to_numpy()
    now_choice = choice if predicted is None else one_per_row(frame, predicted, "predicted")
    threshold = win_threshold(frame) if threshold is None else threshold
    offer_set = offer_sets(frame)[0]
    run = np.cumsum(frame["reset"].to_numpy())
    key = run * (offer_set.max(initial=0) + 1) + offer_set
    order = np.argsort(key, kind="stable")
    previous, now = order[:-1], order[1:]
    paired = (key[previous] == key[now]) & has_outcome(frame)[previous] & scored(frame)[now]
    previous, now = previous[paired], now[paired]
    stay = now_choice[now] == choice[previous]
    win = frame["outcome"].to_numpy()[previous] > threshold
    subject_idx = frame["subject_idx"].to_numpy()
    who, n_subjects = subject_idx[now], int(subject_idx.max(initial=-1)) + 1
    return pd.DataFrame(
        {
            "subject": _subject_names(frame, n_subjects),
            "p_stay_win": mean_by(who[win], stay[win].astype(float), n_subjects),
            "p_shift_loss": mean_by(who[~win], (~stay[~win]).astype(float), n_subjects),
            "n_win": np.bincount(who[win], minlength=n_subjects),
            "n_loss": np.bincount(who[~win], minlength=n_subjects),
        }
    )


def stay_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Average the table of `win_stay_lose_shift` over subjects.

    Returns
    -------
    DataFrame
        Two rows, x "stay after win" and "shift after loss", with mean, se, lower, upper, n_subjects.
    """
    per_subject = table[["p_stay_win", "p_shift_loss"]].to_numpy(dtype=float)
    return _mean_and_se(per_subject, [STAY_AFTER_WIN, SHIFT_AFTER_LOSS])


def stay_by_transition(
    frame: pd.DataFrame, *, predicted: np.ndarray | None = None, threshold: float | None = None
) -> pd.DataFrame:
    """Average how often the first choice of a two-step task is repeated, by reward and transition before it.

    Model-free control stays after reward, whatever the transition; model-based control stays after reward that
    followed a common transition, and after none that followed a rare one.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials with ``choice1``, ``state2`` and ``outcome``; a transition is common where ``state2``
        equals ``choice1``.
    predicted : ndarray of int, shape (row,), optional
        Predicted first choices, one step ahead: each is compared with the *observed* trial before it.
    threshold : float, optional
        Outcomes above it are rewards; by default `win_threshold` of `frame`.

    Returns
    -------
    DataFrame
        Four rows, x from "reward, common" to "no reward, rare", with mean, se, lower, upper, n_subjects. A trial with a
        missed response, and the one after it, do not count.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.
    """
    choice = frame["choice1"].to_numpy()
    now_choice = choice if predicted is None else one_per_row(frame, predicted, "predicted")
    threshold = win_threshold(frame) if threshold is None else threshold
    whole = (frame["choice1_given"] & frame["choice2_given"] & frame["outcome_given"]).to_numpy()
    now = np.flatnonzero(frame["mask_choice1"].to_numpy() & ~frame["reset"].to_numpy())
    now = now[whole[now - 1]]
    before = now - 1
    no_reward = frame["outcome"].to_numpy()[before] <= threshold
    rare = frame["state2"].to_numpy()[before] != choice[before]
    stay = np.full(len(frame), np.nan)
    stay[now] = now_choice[now] == choice[before]
    cell = np.zeros(len(frame), dtype=int)
    cell[now] = 2 * no_reward + rare
    return _over_subjects(frame["subject_idx"].to_numpy(), cell, stay, list(TRANSITIONS))


def accuracy(frame: pd.DataFrame, correct: np.ndarray, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Average correct choices, over all trials and for each set of options on offer.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    correct : ndarray, shape (row,)
        1, 0 or a probability; NaN where undefined.
    labels : sequence of str, optional
        Names of the options in the order of their codes; by default the codes.

    Returns
    -------
    DataFrame
        First row x "all", then one row per set on offer ("A v B") if there is more than one; mean, se, lower,
        upper, n_subjects, n_trials (with a defined `correct`).

    Raises
    ------
    DataError
        If `correct` does not have one entry per row.
    """
    import pandas as pd

    correct = one_per_row(frame, correct, "correct")
    subject_idx = frame["subject_idx"].to_numpy()
    offer_set, sets = offer_sets(frame)
    defined = np.isfinite(correct)
    overall = _over_subjects(subject_idx, np.zeros(len(frame), dtype=int), correct, ["all"])
    overall["n_trials"] = int(defined.sum())
    if len(sets) < 2:
        return overall
    names = [" v ".join(labels[c] if labels is not None else str(c) for c in codes) for codes in sets]
    by_set = _over_subjects(subject_idx, offer_set, correct, names)
    by_set["n_trials"] = np.bincount(offer_set[defined], minlength=len(sets))
    return pd.concat([overall, by_set], ignore_index=True)


def choose_avoid(
    frame: pd.DataFrame,
    best: int,
    worst: int,
    *,
    predicted: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Average how often the best option is chosen and the worst avoided in the new pairs of a transfer phase.

    In the probabilistic selection task: choose A, avoid B. New pairs are those that were never shown with an outcome.
    They count where one of the two options, and not both, is on offer, in trials with a response and without an
    outcome. A choice that is held out of the fit (``mask_choice`` 0) counts as well.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials; training and transfer of a person in one sequence.
    best, worst : int
        Codes of the two options; see `extreme_options`.
    predicted : ndarray of int, shape (row,), optional
        Predicted choices; by default the choices of `frame`. Which trials count is decided by `frame`.
    labels : sequence of str, optional
        Names of the options in the order of their codes; by default the codes.

    Returns
    -------
    DataFrame
        Two rows, x "choose A" and "avoid B" (with the labels in the place of A and B), with mean, se, lower, upper,
        n_subjects. Means are NaN without new pairs.

    Raises
    ------
    DataError
        If `predicted` does not have one entry per row.

    References
    ----------
    Frank et al. 2004, Science, 10.1126/science.1102941.
    """
    names = [str(code) if labels is None else labels[code] for code in (best, worst)]
    x = [f"choose {names[0]}", f"avoid {names[1]}"]
    subject_idx, offers = frame["subject_idx"].to_numpy(), offers_of(frame)
    choice = frame["choice"].to_numpy() if predicted is None else one_per_row(frame, predicted, "predicted")
    if offers is None or offers.shape[1] != 2:
        return _over_subjects(subject_idx, np.zeros(len(frame), dtype=int), np.full(len(frame), np.nan), x)
    offer_set, sets = offer_sets(frame)
    shown = frame["outcome_given"].to_numpy()
    trained = np.zeros(len(sets), dtype=bool)
    trained[offer_set[shown]] = True
    has_best, has_worst = (offers == best).any(axis=1), (offers == worst).any(axis=1)
    counts = ~trained[offer_set] & (has_best != has_worst) & frame["choice_given"].to_numpy() & ~shown
    success = np.where(has_best, choice == best, choice != worst)
    return _over_subjects(subject_idx, has_worst.astype(int), np.where(counts, success, np.nan), x)


def learning_rate_by_phase(frame: pd.DataFrame, phase: np.ndarray) -> pd.DataFrame:
    """Describe the choices of each phase by the learning rate of a delta rule.

    The rate of a phase is the one at which values that follow the rule (of the chosen option alone, from the middle of
    the outcomes, over the whole run) predict the choices of that phase best, each subject with a slope of its own.
    That it differs between phases needs no model of why. Rates of switching after a loss differ even if the learning
    rate does not, since values are closer to each other where payoffs reverse.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials of a task with two options.
    phase : ndarray of str, shape (row,)
        Phase of each trial, such as ``trials.original["phase"]``; missing values leave a trial out.

    Returns
    -------
    DataFrame
        One row per phase, in order of first appearance: x (phase), mean (learning rate), se (leaving out one
        subject at a time; NaN below two subjects), lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `phase` does not have one entry per row, there are not two options, or all outcomes are equal.

    References
    ----------
    Behrens et al. 2007, Nat Neurosci, 10.1038/nn1954 (a rate per phase and subject). Differs from the source: one rate
    for all subjects of a phase, which does not lean on a prior where a subject has few trials.
    """
    import pandas as pd

    code, names = _phases(frame, phase)
    choice, outcome = frame["choice"].to_numpy(), frame["outcome"].to_numpy()
    shown = has_outcome(frame)
    if choice.max(initial=0) > 1:
        raise DataError("the learning rate by phase is for two options, but more were chosen. Leave the others out.")
    low, high = (outcome[shown].min(), outcome[shown].max()) if shown.any() else (0.0, 0.0)
    if not low < high:
        raise DataError("all outcomes are equal, so that there is no learning rate to tell. Give trials with outcomes.")
    won, reset = (outcome - low) / (high - low), frame["reset"].to_numpy()
    ahead = np.empty((len(frame), len(_RATES)))  # value of the chosen option less that of the other
    values = np.full((2, len(_RATES)), 0.5)
    for row, c in enumerate(choice):
        if reset[row]:
            values = np.full((2, len(_RATES)), 0.5)
        ahead[row] = values[c] - values[1 - c]
        if shown[row]:
            values[c] += _RATES * (won[row] - values[c])
    rows, subject_idx = scored(frame), frame["subject_idx"].to_numpy()
    n_subjects = int(subject_idx.max(initial=-1)) + 1
    found = []
    for k in range(len(names)):
        here = rows & (code == k)
        fits = np.full((n_subjects, len(_RATES)), -np.inf)
        for slope, r in itertools.product(_SLOPES, range(len(_RATES))):
            log_p = -np.logaddexp(0.0, -slope * ahead[here, r])
            fits[:, r] = np.maximum(fits[:, r], np.bincount(subject_idx[here], log_p, n_subjects))
        fits = fits[np.bincount(subject_idx[here], minlength=n_subjects) > 0]
        found.append((_peak(fits.sum(axis=0)), _jackknife(fits), len(fits)))
    mean, se, n = np.array(found).T
    return pd.DataFrame(
        {"x": names, "mean": mean, "se": se, "lower": mean - se, "upper": mean + se, "n_subjects": n.astype(int)}
    )


def latent_by_phase(frame: pd.DataFrame, value: np.ndarray, phase: np.ndarray) -> pd.DataFrame:
    """Average a latent, such as the learning rate of a model, in each phase.

    Parameters
    ----------
    frame : DataFrame
        Canonical trials.
    value : ndarray, shape (row,)
        For example ``fitrl.latents(fit)["lr_mean"]``. Trials that teach nothing do not count.
    phase : ndarray of str, shape (row,)
        Phase of each trial; missing values leave a trial out.

    Returns
    -------
    DataFrame
        One row per phase, in order of first appearance: x, mean, se, lower, upper, n_subjects.

    Raises
    ------
    DataError
        If `value` or `phase` does not have one entry per row.
    """
    code, names = _phases(frame, phase)
    value = one_per_row(frame, value, "value")
    rows = np.flatnonzero(frame["mask_update"].to_numpy() & (code >= 0))
    return _over_subjects(frame["subject_idx"].to_numpy(), code[rows], value, names, rows=rows)


def predictive_band(tables: Sequence[pd.DataFrame], prob: float = 0.95) -> pd.DataFrame:
    """Join the same signature of many simulated data sets into one line and one band.

    Parameters
    ----------
    tables : sequence of DataFrame
        Tables with the columns x and mean, one per simulated data set, with equal x.
    prob : float
        Share of the simulated means that the band covers, between its equal-tailed limits.

    Returns
    -------
    DataFrame
        Columns x, mean (over data sets), lower, upper. NaN where no data set has a mean.

    Raises
    ------
    DataError
        If there are no tables, or their x differ.
    """
    import pandas as pd

    if not tables:
        raise DataError("no simulated data sets to summarise; expected at least one. Simulate some first.")
    x = tables[0]["x"]
    if any(not table["x"].equals(x) for table in tables):
        raise DataError(
            "the tables to summarise differ in x; expected the same signature of the same trials. "
            "Compute all of them with the same settings."
        )
    means = np.stack([table["mean"].to_numpy(dtype=float) for table in tables])
    band = np.full((3, means.shape[1]), np.nan)
    known = np.isfinite(means).any(axis=0)
    band[0, known] = np.nanmean(means[:, known], axis=0)
    band[1:, known] = np.nanquantile(means[:, known], [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    return pd.DataFrame({"x": x, "mean": band[0], "lower": band[1], "upper": band[2]})


def _phases(frame: pd.DataFrame, phase: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the number of the phase of each row, -1 where missing, and the names in order of first appearance."""
    import pandas as pd

    phase = np.asarray(phase, dtype=object)
    if phase.shape != (len(frame),):
        raise DataError(
            f"phase has shape {phase.shape}; expected one entry for each of the {len(frame)} trials. "
            "Take it from trials.original."
        )
    code, names = pd.factorize(phase)
    return code, [str(name) for name in names]


def _peak(curve: np.ndarray) -> float:
    """Return the rate at which a curve over `_RATES` is highest: the vertex of a parabola through the top points."""
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(_RATES[top])
    left, middle, right = curve[top - 1 : top + 2]
    return float(_RATES[top] + (_RATES[1] - _RATES[0]) * 0.5 * (left - right) / (left - 2 * middle + right))


def _jackknife(fits: np.ndarray) -> float:
    """Return the standard error of the peak of summed curves, shape (subject, rate); NaN below two subjects."""
    if len(fits) < 2:
        return math.nan
    without = np.array([_peak(curve) for curve in fits.sum(axis=0) - fits])
    return float(np.sqrt((len(fits) - 1) * without.var()))


def _subject_names(frame: pd.DataFrame, n_subjects: int) -> np.ndarray:
    """Return the subjects' ids in the order of `subject_idx`."""
    names = np.empty(n_subjects, dtype=object)
    subject_idx, first = np.unique(frame["subject_idx"].to_numpy(), return_index=True)
    names[subject_idx] = frame["subject"].to_numpy()[first]
    return names


def _over_subjects(subject_idx, x_idx, value, x, rows=None) -> pd.DataFrame:
    """Average `value` per subject and x, then over subjects.

    `rows` are the rows to take, aligned with `x_idx` (a row may come more than once); by default all.
    """
    subject, taken = (subject_idx, value) if rows is None else (subject_idx[rows], value[rows])
    n_subjects = int(subject_idx.max(initial=-1)) + 1
    use = np.isfinite(taken)
    cell = (subject * len(x) + x_idx)[use]
    means = mean_by(cell, taken[use], n_subjects * len(x)).reshape(n_subjects, len(x))
    return _mean_and_se(means, x)


def _mean_and_se(per_subject: np.ndarray, x) -> pd.DataFrame:
    """Average over subjects, shape (subject, x), leaving out NaN; the error is NaN below two subjects."""
    import pandas as pd

    known = np.isfinite(per_subject)
    n = known.sum(axis=0)
    unknown = np.full(len(n), np.nan)
    filled = np.where(known, per_subject, 0.0)
    mean = np.divide(filled.sum(axis=0), n, out=unknown.copy(), where=n > 0)
    squares = (np.where(known, per_subject - mean, 0.0) ** 2).sum(axis=0)
    se = np.sqrt(np.divide(squares, n * (n - 1), out=unknown.copy(), where=n > 1))
    return pd.DataFrame({"x": x, "mean": mean, "se": se, "lower": mean - se, "upper": mean + se, "n_subjects": n})
