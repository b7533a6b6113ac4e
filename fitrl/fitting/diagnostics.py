"""Chain diagnostics of many quantities at once.

The definitions are ArviZ's, which works through one quantity after the other in Python: with thousands of subjects
that takes longer than sampling. Here blocks of quantities share every sort and every Fourier transform.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xarray as xr
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

SAMPLE_DIMS = ["chain", "draw"]
TAIL = (0.05, 0.95)  # Vehtari et al. (2021)
STATISTICS = ("r_hat", "ess_bulk", "ess_tail", "mcse_mean", "sd")

_BLOCK = 32  # quantities at a time: their draws and transforms fit the cache


def diagnostics(draws: xr.Dataset) -> dict[str, xr.Dataset]:
    """Compute the chain diagnostics of every quantity at once.

    Parameters
    ----------
    draws : Dataset
        Variables with dims chain, draw and any others; at least 4 draws.

    Returns
    -------
    dict of str to Dataset
        ``r_hat`` (rank-normalised, the larger of bulk and folded), ``ess_bulk``, ``ess_tail``, ``mcse_mean``,
        and ``sd`` (posterior standard deviation), without the dims chain and draw. NaN where the draws
        are infinite or do not vary, and for ``r_hat`` of a single chain: there they have no meaning.

    References
    ----------
    Vehtari et al. 2021, Bayesian Analysis, 10.1214/20-BA1221 (rank-normalised R-hat, bulk and tail effective sample
    size); Geyer 1992, Statistical Science, 10.1214/ss/1177011137 (initial monotone sequence).

    Examples
    --------
    >>> draws = xr.Dataset({"x": (("chain", "draw"), np.random.default_rng(1).normal(size=(4, 500)))})
    >>> bool(diagnostics(draws)["r_hat"]["x"] < 1.01)
    True
    """
    found: dict[str, dict] = {name: {} for name in STATISTICS}
    for name, values in draws.data_vars.items():
        values = values.transpose(..., *SAMPLE_DIMS)
        others = values.dims[:-2]
        flat = values.values.reshape(-1, *values.shape[-2:]).astype(float, copy=False)
        for statistic, result in _in_blocks(_block, flat).items():
            template = values.isel(chain=0, draw=0, drop=True)
            found[statistic][name] = template.copy(data=result.reshape([values.sizes[d] for d in others]))
    return {statistic: xr.Dataset(by_name) for statistic, by_name in found.items()}


def highest_density(draws: xr.Dataset, prob: float = 0.95) -> tuple[xr.Dataset, xr.Dataset]:
    """Shortest interval that holds a share of the draws, of every quantity at once.

    Parameters
    ----------
    draws : Dataset
        Variables with dims chain, draw and any others.
    prob : float
        Share of the draws, between 0 and 1.

    Returns
    -------
    lower, upper : Dataset
        Without the dims chain and draw.
    """

    def block(x: np.ndarray) -> dict[str, np.ndarray]:
        x = np.sort(x.reshape(len(x), -1), axis=1)
        inside = int(np.floor(prob * x.shape[1]))
        start = (x[:, inside:] - x[:, : x.shape[1] - inside]).argmin(axis=1)
        rows = np.arange(len(x))
        return {"lower": x[rows, start], "upper": x[rows, start + inside]}

    bounds: dict[str, dict] = {"lower": {}, "upper": {}}
    for name, values in draws.data_vars.items():
        values = values.transpose(..., *SAMPLE_DIMS)
        template = values.isel(chain=0, draw=0, drop=True)
        for side, result in _in_blocks(block, values.values.reshape(-1, *values.shape[-2:])).items():
            bounds[side][name] = template.copy(data=result.reshape(template.shape))
    return xr.Dataset(bounds["lower"]), xr.Dataset(bounds["upper"])


def _in_blocks(compute: Callable[[np.ndarray], dict[str, np.ndarray]], draws: np.ndarray) -> dict[str, np.ndarray]:
    """Apply to blocks of quantities, several at a time: sorts and transforms run outside Python's lock."""
    starts = range(0, len(draws), _BLOCK)
    if len(starts) == 1:
        return compute(draws)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(lambda start: compute(draws[start : start + _BLOCK]), starts))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _block(x: np.ndarray) -> dict[str, np.ndarray]:
    """Every statistic of draws of shape (quantity, chain, draw)."""
    usable = np.isfinite(x).all((1, 2)) & (x.max((1, 2)) > x.min((1, 2)))
    found = {name: np.full(len(x), np.nan) for name in STATISTICS}
    if not usable.any() or x.shape[2] < 4:  # of two draws per half nothing can be said
        return found
    x = x[usable]
    flat = np.sort(x.reshape(len(x), -1), axis=1)
    halves = _split(x)
    found["sd"][usable] = sd = x.std((1, 2), ddof=1)
    found["mcse_mean"][usable] = sd / np.sqrt(_effective(halves))
    normal = _normal_scores(halves)
    found["ess_bulk"][usable] = _effective(normal)
    tails = np.quantile(flat, TAIL, axis=1)
    found["ess_tail"][usable] = np.minimum(*[_effective(_split(x <= q[:, None, None]).astype(float)) for q in tails])
    if x.shape[1] > 1:
        folded = np.abs(halves - np.median(halves, (1, 2), keepdims=True))
        found["r_hat"][usable] = np.maximum(_r_hat(normal), _r_hat(_normal_scores(folded)))
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}


def _split(x: np.ndarray) -> np.ndarray:
    """Halve every chain, which shows a drift as a difference between chains."""
    half = x.shape[2] // 2
    return np.concatenate([x[:, :, :half], x[:, :, -half:]], axis=1)


def _normal_scores(x: np.ndarray) -> np.ndarray:
    """Replace draws by the normal quantiles of their ranks (mean rank for ties), over all chains together."""
    flat = x.reshape(len(x), -1)
    n = flat.shape[1]
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    new = np.ones(flat.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at = np.arange(n)
    first = np.maximum.accumulate(np.where(new, at, 0), axis=1)
    ends = np.ones(flat.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, at, n)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, 1 + (first + last) / 2, axis=1)
    return ndtri((ranks - 3 / 8) / (n + 1 / 4)).reshape(x.shape)  # Blom's offset


def _r_hat(x: np.ndarray) -> np.ndarray:
    """Potential scale reduction of each quantity; infinite where chains are constant and differ."""
    n = x.shape[2]
    between = n * x.mean(2).var(1, ddof=1)
    within = x.var(2, ddof=1).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + n - 1) / n)


def _effective(x: np.ndarray) -> np.ndarray:
    """Effective sample size of each quantity, by Geyer's initial monotone sequence."""
    n_chains, n = x.shape[1:]
    centred = x - x.mean(2, keepdims=True)
    size = next_fast_len(2 * n, real=True)
    spectrum = (np.abs(rfft(centred, size, axis=2)) ** 2).mean(1)
    covariance = irfft(spectrum, size, axis=1)[:, :n] / n
    within = covariance[:, :1] * n / (n - 1)
    total = within * (n - 1) / n + (x.mean(2).var(1, ddof=1)[:, None] if n_chains > 1 else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1 - (within - covariance) / total
    correlation[:, 0] = 1.0
    n_pairs = max((n - 3) // 2, 0) + 1  # how far the sequence of pairs is followed
    pairs = correlation[:, : 2 * n_pairs : 2] + correlation[:, 1 : 2 * n_pairs : 2]
    stops = pairs <= 0
    stops[:, -1] = True
    stop = stops.argmax(axis=1)
    rows = np.arange(len(x))
    kept = np.arange(n_pairs)[None, :] < stop[:, None]
    summed = np.where(kept, np.minimum.accumulate(pairs, axis=1), 0.0).sum(1)
    even = correlation[rows, 2 * stop]
    last = np.where((pairs[rows, stop] >= 0) | (even > 0), even, 0.0)
    size = n_chains * n
    effective = size / np.maximum(-1 + 2 * summed + last, 1 / np.log10(size))
    constant = x.max((1, 2)) == x.min((1, 2))  # an indicator of the tail, where many draws are equal
    return np.where(constant, size, effective)
