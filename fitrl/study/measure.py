"""What is kept of one fit to simulated data: the truth beside the estimates, ranks, verdict and timings."""

from __future__ import annotations

from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities
from fitrl.fitting.diagnostics import SAMPLE_DIMS, diagnostics
from fitrl.fitting.fit import Fit
from fitrl.fitting.predict import posterior_values
from fitrl.fitting.truth import Truth
from fitrl.hierarchy.columns import trial_columns

LOG_LIKELIHOOD = "log-likelihood"


def verdict(fit: Fit) -> dict[str, Any]:
    """Keep whether a fit converged, what failed, and how long it took."""
    divergences = fit.spec.attempts[-1]["divergences"] if fit.spec.attempts else 0
    return {
        "status": fit.verdict.status,
        "message": "; ".join(f"{c.name}[{c.where}]" if c.where else c.name for c in fit.verdict.failures),
        "divergences": int(divergences),
        "seconds": round(sum(fit.spec.timings.values()), 3),
    }


def estimates(fit: Fit, truth: Truth) -> dict[str, Any]:
    """Put truth and posterior side by side, of every subject and of the population.

    Parameters
    ----------
    fit : Fit
        Of data that subjects with `truth` made, in their order.
    truth : Truth

    Returns
    -------
    dict
        ``subjects``: per parameter the lists ``truth``, ``mean``, ``sd``, ``lower``, ``upper`` (95 % highest
        density), natural scale. ``population``: per parameter ``location`` and ``scale`` with the same
        entries, link scale; empty where the fit has no population.
    """
    posterior = fit.idata["posterior"].to_dataset()
    names = list(truth.location)
    found = _summaries(posterior[names])
    subjects = {}
    for name in names:
        of_fit = {what: values[name].to_numpy().tolist() for what, values in found}
        subjects[name] = {"truth": truth.values[name].tolist()} | of_fit
    if fit.spec.pooling != "partial":
        return {"subjects": subjects, "population": {}}
    found = _summaries(posterior[[f"{name}_{suffix}" for name in names for suffix in ("mu", "sigma")]])
    known = {"location": ("mu", truth.location), "scale": ("sigma", truth.scale)}
    population = {
        name: {
            quantity: {"truth": true[name]} | {what: float(values[f"{name}_{suffix}"]) for what, values in found}
            for quantity, (suffix, true) in known.items()
        }
        for name in names
    }
    return {"subjects": subjects, "population": population}


def _summaries(draws: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    interval = az.hdi(draws, prob=0.95, dim=SAMPLE_DIMS)
    return [
        ("mean", draws.mean(SAMPLE_DIMS)),
        ("sd", draws.std(SAMPLE_DIMS, ddof=1)),
        ("lower", interval.sel(ci_bound="lower", drop=True)),
        ("upper", interval.sel(ci_bound="upper", drop=True)),
    ]


def ranks(fit: Fit, truth: Truth) -> dict[str, dict[str, int]]:
    """Rank the truth among independent draws, for the population and for the joint log-likelihood.

    Parameters
    ----------
    fit : Fit
        With partial pooling, of data that subjects with `truth` made, in their order.
    truth : Truth

    Returns
    -------
    dict of str to dict
        For ``<p>_mu``, ``<p>_sigma`` of every parameter and for the log-likelihood of all choices: the number of
        draws ``below`` the truth and ``equal`` to it, and of ``draws`` in all.

    Notes
    -----
    Ranks of autocorrelated draws are not uniform even for an exact sampler, so that draws are thinned to the
    smallest effective sample size (bulk or tail) among these quantities (Talts et al. 2018, arXiv:1804.06788,
    algorithm 2). The log-likelihood depends on data and parameters: such a test quantity finds mistakes to
    which the ranks of parameters are blind (Modrak et al. 2023, 10.1214/23-BA1404).
    """
    posterior = fit.idata["posterior"].to_dataset()
    known = {f"{name}_mu": value for name, value in truth.location.items()}
    known |= {f"{name}_sigma": value for name, value in truth.scale.items()}
    known[LOG_LIKELIHOOD] = float(log_likelihood(fit, {n: v[None, :] for n, v in truth.values.items()})[0])
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    of_draws = log_likelihood(fit, {n: np.asarray(v.values) for n, v in posterior_values(fit, total).items()})
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    draws = posterior[[name for name in known if name in posterior]].assign(
        {LOG_LIKELIHOOD: (("chain", "draw"), of_draws.reshape(shape))}
    )
    take = np.linspace(0, total - 1, independent(draws, quick=fit.spec.quick)).round().astype(int)
    found = {}
    for name, value in known.items():
        kept = draws[name].transpose("chain", "draw").to_numpy().ravel()[take]
        found[name] = {"below": int((kept < value).sum()), "equal": int((kept == value).sum()), "draws": len(take)}
    return found


def independent(draws: xr.Dataset, *, quick: bool) -> int:
    """Count the independent draws that these are worth: the smallest effective size of all variables."""
    total = draws.sizes["chain"] * draws.sizes["draw"]
    if quick:  # draws of a normal distribution, independent as they are
        return total
    found = diagnostics(draws)
    sizes = [float(found[kind][name]) for kind in ("ess_bulk", "ess_tail") for name in draws]
    return int(np.clip(np.nan_to_num(min(sizes), nan=1.0), 1, total))


def log_likelihood(fit: Fit, values: dict[str, np.ndarray]) -> np.ndarray:
    """Sum the log probability of all scored choices.

    Parameters
    ----------
    fit : Fit
        Its model and data.
    values : dict of str to ndarray, shape (draw, subject)
        Natural scale.

    Returns
    -------
    ndarray, shape (draw,)
    """
    plan, trials = fit.plan, fit.trials
    columns = trial_columns(plan.model, trials)
    located = {name: Located(v, plan.designs[name].index, plan.designs[name].by_row) for name, v in values.items()}
    found = log_probabilities(plan.model, trials.task, located, columns, lay_out(columns["sequence"]))
    scored = [v[:, columns[f"mask_{name}"].astype(bool)].sum(axis=1) for name, v in found.items()]
    return np.sum(scored, axis=0)
