"""Figures of the posterior: population, subjects, and how well the chains mixed."""

from __future__ import annotations

import arviz_stats as az
import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fitrl.errors import FitError
from fitrl.fitting.tables import by_subject, population_draws
from fitrl.hierarchy.links import link_of
from fitrl.hierarchy.plan import unit_factor
from fitrl.language.parameters import Prior
from fitrl.show import style
from fitrl.show.summary import rounded

# Ids of the subjects are written below the axis up to this number; more would overlap.
_MOST_IDS = 20
_SHRINKAGE = "shrinkage = 1 - var(means) / (var(means) + mean posterior variance)"


def plot_group(fit, *, ax=None, **figure_kwargs) -> tuple[Figure, np.ndarray]:
    """Draw the posterior of each population median beside its prior, on the natural scale.

    Without pooling there is no population; the mean of these subjects is drawn instead, and no prior.

    Parameters
    ----------
    fit : Fit
    ax : Axes or array of Axes, optional
        One per parameter; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (parameter,)

    Raises
    ------
    FitError
        If the model has no fitted parameter, or `ax` does not hold one axes per parameter.

    Examples
    --------
    >>> fig, axes = plot_group(fit)  # doctest: +SKIP
    """
    parameters = fitted_parameters(fit)
    scale = fit.trials.outcome_scale
    draws = population_draws(fit.idata, parameters, scale)
    quantity = "sample_mean" if fit.spec.pooling == "none" else "pop_median"
    with style.style():
        fig, axes, is_new = style.panels(len(parameters), ax, size=(3.3, 2.4), **figure_kwargs)
        for panel, parameter in zip(axes, parameters, strict=True):
            _group_panel(panel, parameter, draws[f"{parameter.name}_{quantity}"], scale, quantity)
        words = "population median" if quantity == "pop_median" else "mean of these subjects"
        handles = [
            Patch(facecolor=style.BLUE, alpha=0.45, label=f"posterior of the {words}"),
            Line2D([], [], color=style.BLACK, lw=3, marker="o", ms=6, label="mean and 95 % HDI"),
        ]
        if quantity == "pop_median":
            handles.append(Patch(facecolor=style.LIGHT_GREY, label="prior"))
        style.legend(fig, axes, is_new, handles, columns=3 if len(axes) > 1 else 1)
        style.finish(fig, axes, is_new, fit)
    return fig, axes


def plot_subjects(fit, *, ax=None, **figure_kwargs) -> tuple[Figure, np.ndarray]:
    """Draw every subject's estimate with its 95 % HDI, sorted, against the population median.

    Colour shows the number of scored trials where it differs. The title of a panel gives the shrinkage, 1 -
    var(posterior means) / (var(posterior means) + mean posterior variance): the share of the spread between
    subjects that the data of single subjects leave open.

    Parameters
    ----------
    fit : Fit
    ax : Axes or array of Axes, optional
        One per parameter; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (parameter,)

    Raises
    ------
    FitError
        If the model has no fitted parameter, all subjects share one value (complete pooling), or `ax`
        does not hold one axes per parameter.

    Examples
    --------
    >>> fig, axes = plot_subjects(fit)  # doctest: +SKIP
    """
    parameters = fitted_parameters(fit)
    scale = fit.trials.outcome_scale
    names = [p.name for p in parameters]
    if fit.spec.pooling == "complete":
        raise FitError(
            "complete pooling gives all subjects one value, so that there are no subjects to compare; "
            "expected partial or no pooling. Use plot_group."
        )
    posterior = fit.idata["posterior"].to_dataset()[names]
    subjects = {p.name: by_subject(posterior[p.name]) * unit_factor(p, scale) for p in parameters}
    population = population_draws(fit.idata, parameters, scale)
    n_scored = _scored_trials(fit.trials.frame)
    with style.style():
        below = 1.0 if len(names) > 1 else 1.5
        fig, axes, is_new = style.panels(len(names), ax, size=(4.2, 3.2), columns=3, below=below, **figure_kwargs)
        colours, mapped = _trial_colours(n_scored)
        for panel, parameter in zip(axes, parameters, strict=True):
            middle = population.get(f"{parameter.name}_pop_median")
            _subject_panel(panel, subjects[parameter.name], colours, middle, fit.spec.pooling)
            panel.set_ylabel(style.parameter_label(parameter, scale, 28))
        if mapped is not None:
            fig.colorbar(mapped, ax=list(axes), label="scored trials", shrink=0.9, aspect=30, pad=0.02)
        _subject_legend(fig, axes, is_new, fit.spec.pooling)
        style.finish(fig, axes, is_new, fit)
    return fig, axes


def prior_density(parameter, x: np.ndarray, outcome_scale: float = 1.0) -> np.ndarray:
    """Return the prior density of the population median on the natural scale.

    Parameters
    ----------
    parameter : ParameterSpec
        Its link, range, unit and prior of the location.
    x : ndarray, shape (point,)
        Increasing values inside the parameter's range, in the user's outcome unit.
    outcome_scale : float
        Outcomes were divided by it.

    Returns
    -------
    ndarray, shape (point,)

    Raises
    ------
    ModelError
        If the prior cannot be read.
    """
    prior = Prior.parse(parameter.location)
    a, *b = prior.args
    families = {
        "normal": lambda: scipy.stats.norm(a, *b),
        "halfnormal": lambda: scipy.stats.halfnorm(scale=a),
        "halfcauchy": lambda: scipy.stats.halfcauchy(scale=a),
        "uniform": lambda: scipy.stats.uniform(a, b[0] - a),
        "exponential": lambda: scipy.stats.expon(scale=1 / a),
    }
    return _natural_density(parameter, families[prior.family]().pdf, x, outcome_scale)


def _natural_density(parameter, density_of_eta, x: np.ndarray, outcome_scale: float) -> np.ndarray:
    """Carry a density on the link scale to the natural scale, in the user's outcome unit."""
    eta = _link(parameter, x, outcome_scale)
    return density_of_eta(eta) * np.gradient(eta, x)


def _link(parameter, x, outcome_scale: float) -> np.ndarray:
    theta = np.asarray(x) / unit_factor(parameter, outcome_scale)
    return link_of(theta, parameter.link, parameter.lower, parameter.upper)


def fitted_parameters(fit):
    """Return the fitted parameters; refuse a model without any."""
    if not fit.spec.parameters:
        raise FitError(
            f"{fit.spec.model} has no fitted parameter, so that there is no posterior to draw; expected at "
            "least one. Choose a model with free parameters or unfix one."
        )
    return fit.spec.parameters


def _hdi(draws: xr.DataArray) -> np.ndarray:
    """Return the 95 % HDI, shape (..., 2), over chains and draws."""
    interval = az.hdi(draws.to_dataset(name="x"), prob=0.95)["x"]
    return interval.transpose(..., "ci_bound").to_numpy()


def _group_panel(ax: Axes, parameter, draws: xr.DataArray, scale: float, quantity: str) -> None:
    values = draws.to_numpy().ravel()
    low, high = _hdi(draws)
    x = _window(parameter, values, scale)
    eta = _link(parameter, values, scale)
    if np.ptp(eta) > 0:
        posterior = _natural_density(parameter, scipy.stats.gaussian_kde(eta), x, scale)
    else:
        posterior = np.zeros_like(x)
        ax.axvline(values[0], color=style.BLUE)
    peak = posterior.max() or 1.0
    if quantity == "pop_median":
        prior = prior_density(parameter, x, scale)
        ax.fill_between(x, prior, color=style.LIGHT_GREY, lw=0, zorder=1)
        # A prior that piles up at a bound may be cut off rather than flatten the posterior.
        peak = max(peak, min(prior.max(), 1.3 * peak))
    ax.fill_between(x, posterior, color=style.BLUE, alpha=0.45, lw=0, zorder=2)
    ax.plot(x, posterior, color=style.BLUE, lw=1.5, zorder=3)
    ax.plot([low, high], [-0.09 * peak] * 2, color=style.BLACK, lw=3, solid_capstyle="butt")
    ax.plot([values.mean()], [-0.09 * peak], "o", color=style.BLACK, ms=6)
    ax.set(xlim=(x[0], x[-1]), ylim=(-0.2 * peak, 1.08 * peak), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_title(_interval_text(values.mean(), low, high), fontsize=10, loc="center")
    ax.set_xlabel(style.parameter_label(parameter, scale))


def _window(parameter, values: np.ndarray, scale: float) -> np.ndarray:
    """Return the x of a density: the posterior with room for the prior beside it, inside the range."""
    low, high = np.quantile(values, [0.001, 0.999])
    room = (high - low) or max(abs(low), 1.0) * 0.5
    ends = np.array([parameter.lower, parameter.upper]) * unit_factor(parameter, scale)
    bounded = {"logit": (True, True), "probit_approx": (True, True), "log": (True, False)}
    at_low, at_high = bounded.get(parameter.link, (False, False))
    first, last = low - 0.8 * room, high + 0.8 * room
    first = max(first, ends[0]) if at_low else first
    last = min(last, ends[1]) if at_high else last
    # The ends of the range themselves have no finite value on the link scale.
    inset = 1e-3 * (last - first)
    return np.linspace(first + inset, last - inset, 500)


def _interval_text(mean: float, low: float, high: float) -> str:
    """Return "0.31 [0.25, 0.38]" with two significant digits of the interval's width."""
    middle, lower, upper = rounded([mean, low, high], high - low)
    return f"{middle}  [{lower}, {upper}]"


def _scored_trials(frame: pd.DataFrame) -> np.ndarray:
    """Return the number of rows of each subject in which some emission is scored."""
    masks = [c for c in frame.columns if c.startswith("mask_") and c != "mask_update"]
    scored = frame[masks].to_numpy(dtype=bool).any(axis=1)
    return np.bincount(frame["subject_idx"].to_numpy(), weights=scored).astype(int)


def _trial_colours(n_scored: np.ndarray):
    """Return a colour per subject, and what a colour bar needs, or None if all counts are equal."""
    if np.ptp(n_scored) == 0:
        return np.tile(mpl.colors.to_rgba(style.BLUE), (len(n_scored), 1)), None
    # Light is few trials; the palest end would vanish on white.
    colour_map = ListedColormap(mpl.colormaps["cividis_r"](np.linspace(0.12, 1, 256)))
    mapped = mpl.cm.ScalarMappable(Normalize(n_scored.min(), n_scored.max()), colour_map)
    return mapped.to_rgba(n_scored), mapped


def _subject_panel(ax: Axes, draws: xr.DataArray, colours, middle: xr.DataArray | None, pooling: str) -> None:
    mean = draws.mean(["chain", "draw"]).to_numpy()
    interval = _hdi(draws)
    order = np.argsort(mean, kind="stable")
    n = len(order)
    x = np.arange(1, n + 1)
    if middle is not None:
        ax.axhspan(*_hdi(middle), color=style.VERMILION, alpha=0.22, lw=0, zorder=1)
        ax.axhline(float(middle.mean()), color=style.VERMILION, lw=1.5, zorder=2)
    weight = float(np.clip(60 / n, 0.5, 1.8))
    low, high = interval[order].T
    ax.vlines(x, low, high, colors=colours[order], lw=weight, alpha=0.9 if n < 100 else 0.6, zorder=3)
    size = float(np.clip(900 / n, 3, 32))
    # Among many subjects the means must stand out from their intervals.
    fill, edge = (colours[order], 0.4) if n < 100 else (style.BLACK, 0)
    ax.scatter(x, mean[order], s=size, c=fill, edgecolors="white", lw=edge, zorder=4)
    ax.set_xlim(0, n + 1)
    if n <= _MOST_IDS:
        ids = [str(i) for i in draws["subject"].to_numpy()[order]]
        ax.set_xticks(x, ids, rotation=90 if n * (1 + max(map(len, ids))) > 36 else 0)
        ax.set_xlabel("subject, sorted by estimate")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel(f"rank of the subject (of {n})")
    ax.set_title(_shrinkage_text(mean, draws, pooling), fontsize=10)


def _subject_legend(fig: Figure, axes: np.ndarray, is_new: bool, pooling: str) -> None:
    words = "subject: posterior mean, 95 % HDI"
    handles: list[Artist] = [Line2D([], [], color=style.BLUE, marker="o", ms=5, lw=1.5, label=words)]
    if pooling != "none":
        handles += [
            Line2D([], [], color=style.VERMILION, label="population median"),
            Patch(facecolor=style.VERMILION, alpha=0.22, label="its 95 % HDI"),
        ]
    several = len(axes) > 1
    title = style.wrapped(_SHRINKAGE, 80 if several else 44) if pooling == "partial" else ""
    style.legend(fig, axes, is_new, handles, columns=3 if several else 1, title=title)


def _shrinkage_text(mean: np.ndarray, draws: xr.DataArray, pooling: str) -> str:
    if pooling == "none":
        return "no pooling: each subject alone"
    if len(mean) < 2:
        return "one subject"
    between = mean.var(ddof=1)
    within = float(draws.var(["chain", "draw"], ddof=1).mean())
    return f"shrinkage {1 - between / (between + within):.2f}"
