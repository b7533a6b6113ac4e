"""Leave one trial out, by Pareto-smoothed importance sampling of the draws that a fit already has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from fitrl.comparison.pointwise import log_likelihood_blocks
from fitrl.errors import FitError
from fitrl.fitting.diagnostics import diagnostics
from fitrl.fitting.fit import Fit

DRAWS = 1000
_FEWEST = 100
_CONSTANT = 1e-12


@dataclass(frozen=True)
class TrialLoo:
    """What one fit predicts for every trial when that trial is left out.

    Attributes
    ----------
    elpd : ndarray, shape (row,)
        Expected log predictive density of each trial, in nats; NaN in rows that are not scored.
    pareto_k : ndarray, shape (row,)
        Shape of the tail of the importance weights, as `psis` gives it; NaN where nothing was smoothed.
    p_loo : float
        Effective number of parameters.
    n_constant : int
        Trials whose log-likelihood is the same in all draws: scored with it, and left out of the smoothing.
    n_draws : int
        Draws used.
    """

    elpd: np.ndarray
    pareto_k: np.ndarray
    p_loo: float
    n_constant: int
    n_draws: int

    @property
    def good_k(self) -> float:
        """Largest reliable Pareto k for this number of draws: ``min(1 - 1 / log10(S), 0.7)``."""
        return good_k(self.n_draws)

    @property
    def is_bad(self) -> np.ndarray:
        """Rows whose Pareto k is above the limit, bool."""
        return self.pareto_k > self.good_k


def good_k(n_draws: int) -> float:
    """Return the largest Pareto k at which the estimate from so many draws is reliable.

    References
    ----------
    Vehtari et al. 2024, J Mach Learn Res 25(72) (Pareto smoothed importance sampling).

    Examples
    --------
    >>> round(good_k(1000), 3), round(good_k(4000), 3)
    (0.667, 0.7)
    """
    return min(1 - 1 / float(np.log10(n_draws)), 0.7) if n_draws > 1 else 0.7


def trial_loo(fit: Fit, draws: int = DRAWS, done: Callable[[int], object] = lambda n: None) -> TrialLoo:
    """Score every trial of a fit, left out.

    Parameters
    ----------
    fit : Fit
        A sampled fit, or one of a model without free parameters.
    draws : int
        Posterior draws, evenly spaced over the chains.
    done : callable
        Told how many more trials are scored, now and then.

    Returns
    -------
    TrialLoo

    Raises
    ------
    FitError
        If there are fewer than 100 draws, or a log-likelihood is not finite.

    Notes
    -----
    The smoothing is ArviZ's (``arviz_stats``). The tail is as long as for the relative effective sample size of the
    draws that are used, averaged over the parameters of subjects.
    """
    n_rows = len(fit.trials.frame)
    elpd, k = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    p_loo, n_constant, n_draws = 0.0, 0, 1
    efficiency: float | None = None
    for rows, values in log_likelihood_blocks(fit, draws):
        n_draws = values.shape[1]
        done(len(rows))
        moves = np.ptp(values, axis=1) > _CONSTANT
        elpd[rows[~moves]] = values[~moves].mean(axis=1)
        n_constant += int((~moves).sum())
        if not moves.any():
            continue
        if n_draws < _FEWEST:
            raise FitError(
                f"{fit.plan.model.describe()} has {n_draws} draws to compare with; at least {_FEWEST} are needed. "
                "Sample more."
            )
        if efficiency is None:
            efficiency = _efficiency(fit, n_draws)
        elpd[rows[moves]], k[rows[moves]] = psis(values[moves], efficiency)
        p_loo += float((logsumexp(values[moves], axis=1) - np.log(n_draws) - elpd[rows[moves]]).sum())
    return TrialLoo(elpd, k, p_loo, n_constant, n_draws)


def psis(values: np.ndarray, efficiency: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Leave each observation out of the draws, by smoothed importance sampling.

    Parameters
    ----------
    values : ndarray, shape (observation, draw)
        Log-likelihoods that vary over draws.
    efficiency : float
        Effective sample size of the draws over their number.

    Returns
    -------
    elpd, pareto_k : ndarray, shape (observation,)
        k is -inf where the largest weights are all equal (there is no tail, and nothing is smoothed), and inf where the
        tail is too heavy to be fitted.
    """
    n_draws = values.shape[1]
    n_tail = int(np.floor(3 * np.sqrt(n_draws / efficiency)) if n_draws * efficiency > 225 else n_draws // 5)
    # The largest weights belong to the smallest likelihoods.
    tail = np.partition(values, n_tail - 1, axis=1)[:, :n_tail]
    has_tail = np.ptp(tail, axis=1) > _CONSTANT
    elpd = np.log(n_draws) - logsumexp(-values, axis=1)
    k = np.full(len(values), -np.inf)
    if has_tail.any():
        elpd[has_tail], k[has_tail], _ = array_stats.loo(
            values[has_tail], chain_axis=None, draw_axis=-1, r_eff=efficiency
        )
    return elpd, np.where(np.isnan(k), np.inf, k)


def _efficiency(fit: Fit, n_draws: int) -> float:
    """Effective sample size of the draws that are used, over their number, on average over subjects' parameters."""
    posterior = fit.idata["posterior"].to_dataset()
    found = diagnostics(posterior[[p.name for p in fit.spec.parameters]])["ess_bulk"]
    effective = float(np.nanmean(np.concatenate([np.ravel(v.values) for v in found.data_vars.values()])))
    return float(np.clip(effective / n_draws, 1 / n_draws, 1.0)) if np.isfinite(effective) else 1.0
