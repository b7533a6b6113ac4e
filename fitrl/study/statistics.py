"""The statistics of recovery: correlation, bias, error, coverage with its uncertainty, shrinkage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta

from fitrl.hierarchy.links import link_of
from fitrl.language.parameters import Parameter

NOMINAL = 0.95
LEVELS = ("subject", "location", "scale")


def tables(results: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Lay out the results of a study as tables.

    Parameters
    ----------
    results : list of dict
        What `fitrl.study.run.run` returns.

    Returns
    -------
    fits : DataFrame
        One row per data set: n_subjects, n_trials, study, status, divergences, seconds, message.
    subjects : DataFrame
        One row per subject and parameter: n_subjects, n_trials, study, parameter, subject, truth, mean, sd, lower,
        upper; natural scale.
    population : DataFrame
        The same with quantity (location, scale) in place of subject; link scale.
    """
    fits, subjects, population = [], [], []
    for r in results:
        key = {"n_subjects": r["n_subjects"], "n_trials": r["n_trials"], "study": r["study"] + 1}
        fits.append(key | {name: r[name] for name in ("status", "divergences", "seconds", "message")})
        for name, columns in r.get("subjects", {}).items():
            who = {"parameter": name, "subject": np.arange(1, r["n_subjects"] + 1)}
            subjects.append(pd.DataFrame({**key, **who, **columns}))
        for name, quantities in r.get("population", {}).items():
            population += [key | {"parameter": name, "quantity": q} | values for q, values in quantities.items()]
    keys = ["n_subjects", "n_trials", "study", "parameter"]
    values = ["truth", "mean", "sd", "lower", "upper"]
    return (
        pd.DataFrame(fits),
        pd.concat(subjects, ignore_index=True) if subjects else pd.DataFrame(columns=[*keys, "subject", *values]),
        pd.DataFrame(population, columns=[*keys, "quantity", *values]),
    )


def recovery(subjects: pd.DataFrame, population: pd.DataFrame, parameters: Mapping[str, Parameter]) -> pd.DataFrame:
    """Compare estimates with the truth.

    Parameters
    ----------
    subjects, population : DataFrame
        From `tables`.
    parameters : mapping of str to Parameter
        With their links.

    Returns
    -------
    DataFrame
        One row per cell, level (subject, location, scale) and parameter:

        ``n``, ``n_studies`` : values compared, and data sets.
        ``r`` : correlation of truth and posterior mean on the link scale. Of subjects: within data sets (both
        centred at the mean of their data set), which is what one experiment sees; of location and scale: over data
        sets.
        ``r_pooled`` : of subjects of all data sets together; differences between populations inflate it.
        ``bias``, ``rmse`` : mean of estimate - truth, and root of its mean square; subjects on the natural scale,
        location and scale on the link scale.
        ``coverage``, ``coverage_lower``, ``coverage_upper`` : share of 95 % intervals that hold the truth, with
        its 95 % binomial interval (`coverage_interval`).
        ``shrinkage`` : 1 - var(means) / (var(means) + mean posterior variance), within data sets for subjects.
    """
    rows = []
    for cell, level, name, found in _groups(subjects, population):
        p = parameters[name]
        subject_level = level == "subject"
        # Location and scale are on the link scale already.
        true, mean = (_linked(found[c], p) if subject_level else found[c].to_numpy() for c in ("truth", "mean"))
        study = found["study"].to_numpy()
        within = study if subject_level else np.zeros(len(study))  # populations are compared over data sets
        inside = ((found["lower"] <= found["truth"]) & (found["truth"] <= found["upper"])).to_numpy()
        error = (found["mean"] - found["truth"]).to_numpy()
        low, high = coverage_interval(inside, study)
        rows.append(
            {
                "n_subjects": cell[0],
                "n_trials": cell[1],
                "level": level,
                "parameter": name,
                "n": len(found),
                "n_studies": len(np.unique(study)),
                "r": correlation(centred(true, within), centred(mean, within)),
                "r_pooled": correlation(true, mean),
                "bias": error.mean(),
                "rmse": np.sqrt((error**2).mean()),
                "coverage": inside.mean(),
                "coverage_lower": low,
                "coverage_upper": high,
                "shrinkage": shrinkage(found["mean"].to_numpy(), found["sd"].to_numpy(), within),
            }
        )
    return pd.DataFrame(rows)


def _groups(subjects: pd.DataFrame, population: pd.DataFrame) -> Iterator[tuple[Any, str, str, pd.DataFrame]]:
    cells = subjects[["n_subjects", "n_trials"]].drop_duplicates().itertuples(index=False, name=None)
    for cell in sorted(cells):
        for level in LEVELS:
            table = subjects if level == "subject" else population[population["quantity"] == level]
            here = table[(table["n_subjects"] == cell[0]) & (table["n_trials"] == cell[1])]
            for name, found in here.groupby("parameter", sort=False):
                yield cell, level, str(name), found


def _linked(values: pd.Series, p: Parameter) -> np.ndarray:
    return link_of(values.to_numpy(), p.link, p.lower, p.upper)


def centred(values: np.ndarray, study: np.ndarray) -> np.ndarray:
    """Subtract the mean of each study.

    Examples
    --------
    >>> centred(np.array([1.0, 3.0, 10.0]), np.array([1, 1, 2])).tolist()
    [-1.0, 1.0, 0.0]
    """
    _, place = np.unique(study, return_inverse=True)
    means = np.bincount(place, weights=values) / np.bincount(place)
    return values - means[place]


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Correlate; NaN with fewer than three values, or where one of the two does not vary.

    Examples
    --------
    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))
    1.0
    """
    if len(x) < 3 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    return round(float(np.corrcoef(x, y)[0, 1]), 12)


def shrinkage(mean: np.ndarray, sd: np.ndarray, study: np.ndarray) -> float:
    """Return the share of the spread between subjects that the data of single subjects leave open.

    Parameters
    ----------
    mean, sd : ndarray
        Posterior mean and standard deviation of each.
    study : ndarray
        Data set of each; the spread is taken within data sets.

    Examples
    --------
    >>> round(shrinkage(np.array([-1.0, 1.0]), np.array([1.0, 1.0]), np.zeros(2)), 3)
    0.333
    """
    n_free = len(mean) - len(np.unique(study))
    if n_free < 1:
        return float("nan")
    between, within = (centred(mean, study) ** 2).sum() / n_free, (sd**2).mean()
    return float(1 - between / (between + within))


def coverage_interval(inside: np.ndarray, study: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Binomial interval of a share, for values that may depend on each other within studies.

    Parameters
    ----------
    inside : ndarray of bool
        Whether each interval holds the truth.
    study : ndarray
        The data set of each.
    level : float
        Probability of the interval.

    Returns
    -------
    lower, upper : float

    Notes
    -----
    Exact (Clopper & Pearson 1934, 10.1093/biomet/26.4.404). Subjects of a data set share its population, so that
    they miss together: the number of values is divided by the design effect, the variance of the share
    over data sets relative to that of independent values, where that is above 1.

    Examples
    --------
    >>> low, high = coverage_interval(np.ones(20, bool), np.arange(20))
    >>> round(low, 3), high
    (0.832, 1.0)
    """
    n, share = len(inside), float(np.mean(inside))
    _, place = np.unique(study, return_inverse=True)
    sizes = np.bincount(place)
    effect = 1.0
    if 1 < len(sizes) < n and 0 < share < 1:
        shares = np.bincount(place, weights=inside) / sizes
        effect = max(1.0, float(((shares - share) ** 2 * sizes).sum() / (len(sizes) - 1) / (share * (1 - share))))
    hits, misses = n * share / effect, n * (1 - share) / effect
    tail = (1 - level) / 2
    lower = float(beta.ppf(tail, hits, misses + 1)) if share > 0 else 0.0
    upper = float(beta.ppf(1 - tail, hits + 1, misses)) if share < 1 else 1.0
    return lower, upper


def correlations(subjects: pd.DataFrame, parameters: Mapping[str, Parameter]) -> pd.DataFrame:
    """Correlate parameters with each other, within data sets, on the link scale.

    Parameters
    ----------
    subjects : DataFrame
        From `tables`.
    parameters : mapping of str to Parameter
        With their links.

    Returns
    -------
    DataFrame
        One row per cell and pair: ``true_r`` of the true values, ``estimate_r`` of the estimates, ``error_r`` of
        the errors (estimate - truth): where it is large, one parameter pays for the mistakes of the other.
    """
    rows = []
    for cell, found in subjects.groupby(["n_subjects", "n_trials"]):
        by: dict[str, dict[str, np.ndarray]] = {}
        for name in parameters:
            one = found[found["parameter"] == name].sort_values(["study", "subject"])
            study = one["study"].to_numpy()
            by[name] = {c: centred(_linked(one[c], parameters[name]), study) for c in ("truth", "mean")}
            by[name]["error"] = by[name]["mean"] - by[name]["truth"]
        for a, b in combinations(parameters, 2):
            r = {what: correlation(by[a][of], by[b][of]) for what, of in _WHAT.items()}
            rows.append({"n_subjects": cell[0], "n_trials": cell[1], "parameter_1": a, "parameter_2": b} | r)
    columns = ["n_subjects", "n_trials", "parameter_1", "parameter_2", *_WHAT]
    return pd.DataFrame(rows, columns=columns)


_WHAT = {"true_r": "truth", "estimate_r": "mean", "error_r": "error"}
