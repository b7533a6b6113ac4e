"""Figure of how well the chains mixed."""

from __future__ import annotations

import numpy as np
import scipy.stats
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fitrl.errors import FitError
from fitrl.fitting.diagnostics import diagnostics
from fitrl.fitting.verdict import R_HAT
from fitrl.show import style
from fitrl.show.posterior import fitted_parameters

_RANK_BINS = 20


def plot_trace(fit, *, ax=None, **figure_kwargs) -> tuple[Figure, np.ndarray]:
    """Draw traces and rank histograms of the group parameters, one row per parameter, one colour per chain.

    Chains that mix visit all ranks equally often: their lines stay near the dashed one. Without pooling there
    are no group parameters; the subject with the largest R-hat is drawn instead.

    Parameters
    ----------
    fit : Fit
    ax : array of Axes, optional
        A trace and a rank panel per quantity, row by row; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes, shape (panel,)

    Raises
    ------
    FitError
        If the fit is a quick approximation, which has no chains, the model has no fitted parameter, or `ax`
        does not hold the number of panels.

    Examples
    --------
    >>> fig, axes = plot_trace(fit)  # doctest: +SKIP
    """
    parameters = fitted_parameters(fit)
    if fit.verdict.status == "quick":
        raise FitError("a quick approximation has no chains to look at; run the fit without quick.")
    rows = [_traced(fit, parameter) for parameter in parameters]
    width = 2 * len(rows[0])
    with style.style():
        fig, axes, is_new = style.panels(
            len(rows) * width, ax, size=(3.3, 2.0), columns=width, **{"sharex": "col", **figure_kwargs}
        )
        grid = axes.reshape(len(rows), width)
        for panels, parameter, quantities in zip(grid, parameters, rows, strict=True):
            panels[0].set_ylabel(style.parameter_label(parameter, width=20))
            for i, (title, draws, r_hat) in enumerate(quantities):
                _trace_panel(panels[2 * i], title, draws, r_hat)
                _rank_panel(panels[2 * i + 1], draws)
        if is_new:
            fig.align_ylabels(grid[:, 0])
        for i in range(0, width, 2):
            grid[-1, i].set_xlabel("draw")
            grid[-1, i + 1].set_xlabel("rank among all draws")
        n_chains = rows[0][0][1].shape[0]
        handles = [Line2D([], [], color=_chain_colour(c), label=f"chain {c + 1}") for c in range(n_chains)]
        handles.append(Line2D([], [], color=style.GREY, ls="--", lw=1, label="equal ranks"))
        style.legend(fig, axes, is_new, handles, columns=min(8, len(handles)))
        style.finish(fig, axes, is_new, fit)
    return fig, axes


def _traced(fit, parameter) -> list[tuple[str, np.ndarray, float]]:
    """Return title, draws (chain, draw) and R-hat of what a row of the trace figure shows."""
    posterior = fit.idata["posterior"].to_dataset()
    if fit.spec.pooling == "none":
        draws = posterior[parameter.name]
        r_hat = _r_hat(draws)
        worst = int(np.argmax(np.where(np.isfinite(r_hat), r_hat, np.inf)))
        subject = draws["subject"].to_numpy()[worst]
        one = draws.isel(subject=worst).transpose("chain", "draw").to_numpy()
        return [(f"subject {subject} (worst)", one, float(r_hat[worst]))]
    scale = "" if parameter.link == "identity" else f" ({parameter.link.split('_')[0]})"
    words = {"mu": f"location{scale}", "sigma": f"sd of subjects{scale}"}
    found = [(suffix, f"{parameter.name}_{suffix}") for suffix in words if f"{parameter.name}_{suffix}" in posterior]
    return [
        (words[suffix], posterior[name].transpose("chain", "draw").to_numpy(), float(_r_hat(posterior[name])))
        for suffix, name in found
    ]


def _r_hat(draws: xr.DataArray) -> np.ndarray:
    """Return rank R-hat; NaN where it does not exist (one chain, or draws that never move)."""
    return diagnostics(draws.to_dataset(name="x"))["r_hat"]["x"].to_numpy()


def _chain_colour(chain: int):
    return style.CHAIN_COLOURS[chain % len(style.CHAIN_COLOURS)]


def _trace_panel(ax: Axes, title: str, draws: np.ndarray, r_hat: float) -> None:
    for chain, values in enumerate(draws):
        ax.plot(values, color=_chain_colour(chain), lw=0.5, alpha=0.75)
    ax.margins(x=0)
    ax.yaxis.set_major_locator(MaxNLocator(3))
    mixed = r_hat <= R_HAT
    text = f"R-hat {r_hat:.3f}" if np.isfinite(r_hat) else "R-hat unknown"
    ax.set_title(f"{title}: {text}", fontsize=10, color=style.BLACK if mixed else style.ALARM)


def _rank_panel(ax: Axes, draws: np.ndarray) -> None:
    ranks = scipy.stats.rankdata(draws).reshape(draws.shape)
    edges = np.linspace(0.5, draws.size + 0.5, _RANK_BINS + 1)
    tallest = 0.0
    for chain, values in enumerate(ranks):
        share = np.histogram(values, edges)[0] * _RANK_BINS / draws.shape[1]
        tallest = max(tallest, share.max())
        ax.stairs(share, edges, color=_chain_colour(chain), lw=1.2)
    ax.axhline(1, color=style.GREY, ls="--", lw=1)
    ax.set(ylim=(0, max(2.0, 1.1 * tallest)), yticks=[], xlim=(edges[0], edges[-1]))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.spines["left"].set_visible(False)
