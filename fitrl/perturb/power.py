"""What studies of detection say: shares, signs, exaggeration, and whether NUTS agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fitrl.study.statistics import coverage_interval

NOMINAL_POWER = 0.8
KEYS = ["n_subjects", "n_trials", "parameter", "effect"]
GOOD = ("settled", "converged")


def lay_out(results: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay out the results of a study as tables.

    Parameters
    ----------
    results : list of dict
        What the jobs of `fitrl.perturb.detection` wrote.

    Returns
    -------
    fits : DataFrame
        One row per fit: n_subjects, n_trials, study, estimator, status, divergences, seconds, message.
    estimates : DataFrame
        One row per fit and coefficient: n_subjects, n_trials, study, estimator, status, parameter, effect, truth, mean,
        sd, lower, upper (95 % highest density); link scale. Without data sets that could not be fitted.
    """
    fits, estimates = [], []
    for r in results:
        key = {"n_subjects": r["n_subjects"], "n_trials": r["n_trials"], "study": r["study"] + 1}
        key |= {name: r[name] for name in ("estimator", "status")}
        fits.append(key | {name: r[name] for name in ("divergences", "seconds", "message")})
        estimates += [key | row for row in r.get("estimates", [])]
    columns = ["n_subjects", "n_trials", "study", "estimator", "status", "parameter", "effect"]
    return pd.DataFrame(fits), pd.DataFrame(estimates, columns=[*columns, "truth", "mean", "sd", "lower", "upper"])


def power_table(estimates: pd.DataFrame, estimator: str) -> pd.DataFrame:
    """Say how often, how wrongly and how exaggerated an effect is detected.

    Parameters
    ----------
    estimates : DataFrame
        From `lay_out`.
    estimator : {"laplace", "nuts"}
        Whose fits.

    Returns
    -------
    DataFrame
        One row per size and coefficient:

        ``n`` : data sets that could be fitted.
        ``power``, ``power_lower``, ``power_upper`` : share of data sets whose 95 % interval excludes 0 on the side of
        the truth, with its 95 % binomial interval (Clopper-Pearson).
        ``sign_error`` : of the intervals that exclude 0, the share on the wrong side (type S).
        ``exaggeration`` : mean of ``|estimate| / |truth|`` among the intervals that exclude 0 (type M); 1 is none.
        ``bias`` : mean of ``estimate / truth`` among all, minus 1: what priors and approximation cost or add.
        ``width`` : median width of the interval, link scale.
        ``coverage`` : share of intervals that hold the truth.
        ``settled`` : share of fits that settled (Laplace) or converged (NUTS).

    References
    ----------
    Gelman & Carlin 2014, Perspectives on Psychological Science, 10.1177/1745691614551642 (type S and type M errors).
    Differs from the source: an effect counts as found if the 95 % highest-density interval excludes 0, not by p < .05.
    """
    rows = []
    for key, found in estimates[estimates["estimator"] == estimator].groupby(KEYS, sort=False):
        truth, mean = found["truth"].to_numpy(), found["mean"].to_numpy()
        lower, upper = found["lower"].to_numpy(), found["upper"].to_numpy()
        clear = sides(found)
        right = clear == np.sign(truth)
        low, high = coverage_interval(right, np.arange(len(found)))
        some = clear != 0
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {
                "n": len(found),
                "power": right.mean(),
                "power_lower": low,
                "power_upper": high,
                "sign_error": (~right[some]).mean() if some.any() else np.nan,
                "exaggeration": np.abs(mean[some] / truth[some]).mean() if some.any() else np.nan,
                "bias": (mean / truth).mean() - 1,
                "width": np.median(upper - lower),
                "coverage": ((lower <= truth) & (truth <= upper)).mean(),
                "settled": found["status"].isin(GOOD).mean(),
            }
        )
    columns = [*KEYS, "n", "power", "power_lower", "power_upper", "sign_error", "exaggeration", "bias", "width"]
    table = pd.DataFrame(rows, columns=[*columns, "coverage", "settled"])
    return table.sort_values(["parameter", "effect", "n_trials", "n_subjects"], kind="stable", ignore_index=True)


def confirmation_table(estimates: pd.DataFrame) -> pd.DataFrame:
    """Compare Laplace approximations with NUTS on the data sets that both fitted.

    Parameters
    ----------
    estimates : DataFrame
        From `lay_out`.

    Returns
    -------
    DataFrame
        One row per size and coefficient: ``n`` data sets; ``power_laplace`` and ``power_nuts`` on these; ``same``, in
        how many of them both intervals lie on the same side of 0; ``difference``, mean of the Laplace minus the NUTS
        estimate in posterior standard deviations of NUTS; ``width_ratio``, median of the width of the Laplace interval
        over that of NUTS; ``converged``, share of the NUTS fits.
    """
    by = [*KEYS, "study"]
    both = [estimates[estimates["estimator"] == name].assign(side=sides) for name in ("laplace", "nuts")]
    joined = both[0].merge(both[1], on=by, suffixes=("_laplace", "_nuts"))
    rows = []
    for key, found in joined.groupby(KEYS, sort=False):
        wanted = np.sign(found["truth_nuts"])
        widths = {name: found[f"upper_{name}"] - found[f"lower_{name}"] for name in ("laplace", "nuts")}
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {
                "n": len(found),
                "power_laplace": (found["side_laplace"] == wanted).mean(),
                "power_nuts": (found["side_nuts"] == wanted).mean(),
                "same": int((found["side_laplace"] == found["side_nuts"]).sum()),
                "difference": ((found["mean_laplace"] - found["mean_nuts"]) / found["sd_nuts"]).mean(),
                "width_ratio": (widths["laplace"] / widths["nuts"]).median(),
                "converged": (found["status_nuts"] == "converged").mean(),
            }
        )
    columns = ["n", "power_laplace", "power_nuts", "same", "difference", "width_ratio", "converged"]
    return pd.DataFrame(rows, columns=[*KEYS, *columns])


def sides(estimates: pd.DataFrame) -> np.ndarray:
    """Say on which side of 0 each interval lies: -1, 1, or 0 if it holds 0."""
    return (estimates["lower"] > 0).to_numpy().astype(int) - (estimates["upper"] < 0).to_numpy().astype(int)
