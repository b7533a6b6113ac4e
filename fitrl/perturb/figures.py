"""Figures of perturbations: signatures side by side, over doses, and look-alikes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fitrl.perturb.lookalikes import Lookalikes
from fitrl.perturb.perturbation import Perturbation
from fitrl.perturb.population import Population
from fitrl.perturb.signatures import compare_signatures, dose_response
from fitrl.show import style

_COLOURS = (style.BLACK, style.VERMILION, style.BLUE, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_TITLES = {
    "stay": "staying and shifting",
    "learning": "choices of the better option",
    "accuracy": "better option, by pair",
    "reversal": "currently best option, around reversals",
    "transfer": "new pairs without feedback",
    "rate by phase": "learning rate by phase",
    "second choice": "second choice",
}
_NARROWEST = 0.15  # range of a vertical axis
_CURVES = {"learning": ("trial ", "trial"), "reversal": ("lag ", "trials since the reversal")}


def plot_signatures(
    people: Population, *perturbations: Perturbation, ax=None, **figure_kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """Draw the signatures of the task with and without perturbations, side by side.

    Parameters
    ----------
    people, *perturbations
        As in `compare_signatures`.
    ax : array of Axes, optional
        One per signature; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes

    Examples
    --------
    >>> fig, axes = fitrl.plot_signatures(people, drug)  # doctest: +SKIP
    """
    table = compare_signatures(people, *perturbations)
    conditions = ["without", *[p.id for p in perturbations]]
    captions = ["without", *[p.caption() for p in perturbations]]
    names = list(dict.fromkeys(table["signature"]))
    with style.style():
        fig, axes, is_new = style.panels(
            len(names), ax, size=(4.4, 3.1), columns=3, below=0.5 + 0.22 * len(captions), **figure_kwargs
        )
        for panel, name in zip(axes, names, strict=True):
            for i, condition in enumerate(conditions):
                here = table[(table["condition"] == condition) & (table["signature"] == name)]
                _draw(panel, name, here, i, len(conditions))
            panel.set_title(_TITLES.get(name, name))
            _widen(panel)
        handles = [
            Line2D([], [], color=_colour(i), marker=_marker(i), ls="", ms=6, label=caption)
            for i, caption in enumerate(captions)
        ]
        style.legend(fig, axes, is_new, handles, columns=1, title="mean over simulated subjects ± 1 SE")
    return fig, axes


def plot_dose(
    people: Population,
    perturbation: Perturbation,
    doses: Sequence[float] = (0, 0.5, 1, 1.5, 2),
    ax=None,
    **figure_kwargs: Any,
) -> tuple[Figure, np.ndarray]:
    """Draw the signatures of the task against the dose, a factor on the effect.

    Parameters
    ----------
    people, perturbation, doses
        As in `dose_response`; below the doses stand the medians of the first perturbed parameter.
    ax : array of Axes, optional
        One per signature; by default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes

    Examples
    --------
    >>> fig, axes = fitrl.plot_dose(people, drug)  # doctest: +SKIP
    """
    table = dose_response(people, perturbation, doses)
    param = table.columns[1]
    medians = table.groupby("dose")[param].first()
    ticks = [f"{dose:g}\n{value:.2g}" for dose, value in medians.items()]
    names = list(dict.fromkeys(table["signature"]))
    with style.style():
        fig, axes, is_new = style.panels(len(names), ax, size=(4.4, 3.6), columns=3, below=0.5, **figure_kwargs)
        for panel, name in zip(axes, names, strict=True):
            here = table[table["signature"] == name]
            for i, x in enumerate(_few(name, list(dict.fromkeys(here["x"])))):
                line = here[here["x"] == x]
                look = {"color": _colour(i), "marker": _marker(i), "ms": 5.5, "lw": 1.4, "capsize": 0}
                panel.errorbar(line["dose"], line["mean"], line["se"].fillna(0.0), label=x, **look)
            panel.set_xticks(list(medians.index), ticks)
            panel.set_xlabel(f"dose; median {param}")
            panel.set_title(_TITLES.get(name, name))
            panel.legend(loc="best", fontsize=8.5, framealpha=0.85, frameon=True, edgecolor="none")
            _widen(panel)
        _caption(fig, axes, is_new, perturbation.caption())
    return fig, axes


def plot_lookalikes(found: Lookalikes, ax=None, **figure_kwargs: Any) -> tuple[Figure, np.ndarray]:
    """Draw how well other parameters imitate a perturbation, and in which signatures they differ from it.

    Parameters
    ----------
    found : Lookalikes
    ax : array of two Axes, optional
        By default a new figure.
    **figure_kwargs
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes
        Mimicry, and the map of differences.

    Examples
    --------
    >>> fig, axes = fitrl.plot_lookalikes(fitrl.lookalikes(people, drug))  # doctest: +SKIP
    """
    table = found.table
    conditions = [*table["condition"], "without"]
    labels = [
        *[f"{row.condition}  {row.without:.2g} → {row.with_:.2g}" for row in table.itertuples()],
        "nothing changed",
    ]
    values = found.signatures
    columns = values[values["condition"] == "without"][["signature", "x"]]
    d = np.array([values[values["condition"] == name]["d"].to_numpy(float) for name in conditions])
    with style.style():
        n, m = d.shape
        settings = {"width_ratios": [1, 0.13 * m], "figsize": (4.6 + 0.34 * m + 1.2, 2.6 + 0.42 * n), **figure_kwargs}
        fig, axes, is_new = style.panels(2, ax, size=(5.0, 3.0), columns=2, **(settings if ax is None else {}))
        left, right = axes
        left.barh(range(n), [*table["mimicry"], 0.0], color=style.BLUE, height=0.62)
        for i, share in enumerate([*table["mimicry"], 0.0]):
            left.text(share + 0.02, i, f"{share:.0%}", va="center", fontsize=9)
        left.set(xlim=(0, 1.18), xticks=[0, 0.5, 1], xlabel="share of the effect imitated", ylim=(n - 0.5, -0.5))
        left.set_yticks(range(n), labels)
        limit = max(0.2, float(np.nanmax(np.abs(d))))
        image = right.imshow(
            d, cmap="PuOr", norm=TwoSlopeNorm(0.0, -limit, limit), aspect="auto", interpolation="nearest"
        )
        right.set_yticks(range(n), [""] * n)
        right.set_xticks(range(m), columns["x"], rotation=55, ha="right", rotation_mode="anchor", fontsize=8.5)
        right.set_xlabel("difference from the perturbation, in between-subject sd")
        right.spines[:].set_visible(False)
        right.tick_params(length=0)
        start = 0
        for name, size in columns.groupby("signature", sort=False).size().items():
            right.text(start + (size - 1) / 2, -0.62, name, ha="center", va="bottom", fontsize=9)
            if start:
                right.axvline(start - 0.5, color="white", lw=3)
            start += size
        fig.colorbar(image, ax=right, fraction=0.04, pad=0.02)
        weak = ": no more than chance, so that more subjects are needed" if found.effect < found.chance else ""
        strength = f"effect {found.effect:.2f} sd; other luck alone {found.chance:.2f} sd{weak}"
        _caption(fig, axes, is_new, f"look-alikes of {found.perturbation.caption()}\n{strength}")
    return fig, axes


def _caption(fig: Figure, axes: np.ndarray, is_new: bool, text: str) -> None:
    """Say what was done, and how sure that is, on every figure."""
    if is_new:
        fig.suptitle(text, x=0.01, ha="left", fontsize=11)
    else:
        axes[0].annotate(text, (0, 1), xycoords="axes fraction", xytext=(0, 22), textcoords="offset points", fontsize=9)


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _marker(i: int) -> str:
    return _MARKERS[i % len(_MARKERS)]


def _few(name: str, points: list[str]) -> list[str]:
    """Name the points of a curve that are followed over doses: first, middle and last; all of anything else."""
    if name not in _CURVES or len(points) <= 3:
        return points
    return [points[0], points[len(points) // 2], points[-1]]


def _widen(ax: Axes) -> None:
    """Leave room above and below, and never let a hundredth fill a panel."""
    low, high = ax.get_ylim()
    more = max(0.05 * (high - low), (_NARROWEST - (high - low)) / 2)
    ax.set_ylim(low - more, high + more)


def _draw(ax: Axes, name: str, table: pd.DataFrame, i: int, n: int) -> None:
    look: dict[str, Any] = {"color": _colour(i), "marker": _marker(i), "ms": 5, "lw": 1.4}
    error = table["se"].fillna(0.0)
    if name in _CURVES:
        prefix, label = _CURVES[name]
        x = [float(text.removeprefix(prefix)) for text in table["x"]]
        ax.errorbar(x, table["mean"], error, **look)
        ax.set_xlabel(label)
    else:
        at = np.arange(len(table)) + 0.22 * (i - (n - 1) / 2)
        ax.errorbar(at, table["mean"], error, **(look | {"ls": ""}))
        crowded = len(table) > 4
        names = list(table["x"]) if crowded else [style.wrapped(text, 18) for text in table["x"]]
        rotate: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        ax.set_xticks(range(len(table)), names, **rotate)
        ax.set_xlim(-0.6, len(table) - 0.4)
    if i == 0:
        ax.set_ylabel("share of trials" if name != "rate by phase" else "learning rate")
