"""The report of a study of detection: in words, as tables, as a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fitrl.data.findings import counted
from fitrl.fitting.sample import DEFAULTS
from fitrl.perturb.power import GOOD, NOMINAL_POWER
from fitrl.show import style
from fitrl.study.report import WIDTH, bullets, percent, table_text

if TYPE_CHECKING:
    from fitrl.perturb.detection import Detection

_ESTIMATORS = {"laplace": "Laplace approximations", "nuts": "NUTS"}
_BAD = {
    "failed": ("failed", "they are missing from the tables"),
    "not settled": ("did not settle", "they are counted with the rest"),
    "not converged": ("did not converge", "they are counted with the rest"),
}
_SURE = 0.5  # exaggeration above 1 that is worth a line
_FEW = 50  # data sets: shares of fewer are rough
_LEGEND = (
    "power: share of data sets whose 95 % interval excludes 0 on the stated side, with its 95 % binomial interval. "
    "Among the intervals that exclude 0, type S: share on the wrong side; type M: |estimate| / |truth|, the "
    "exaggeration. bias: mean estimate relative to the truth; priors around 0 pull it down. width, coverage: of the "
    "95 % intervals, link scale."
)


def detection_text(study: Detection) -> str:
    """Write the report of a study of detection: what it says first, the numbers below."""
    parts = [*_head(study), _fits(study), "", "What this says", *bullets(_findings(study)), ""]
    for (name, effect), table in study.table.groupby(["parameter", "effect"], sort=False):
        parts += [f"{name}, {effect}: by {_ESTIMATORS[study.design.asks['estimator']]}", _numbers(table), ""]
    if len(study.confirmation):
        parts += ["The same data sets by Laplace approximations and by NUTS", _confirmed(study.confirmation), ""]
    return "\n".join([*parts, *textwrap.wrap(_LEGEND, WIDTH)]) + "\n"


def _head(study: Detection) -> list[str]:
    design = study.design
    sizes = ", ".join(f"{n} x {t}" for n, t in design.cells)
    layout = {
        "crossover": "crossover: everybody with and without, two sessions of so many trials, balanced order",
        "groups": "two groups: half of the subjects with, half without, one session",
    }[design.asks["layout"]]
    lines = [
        f"Detection of {study.perturbation.caption()}: {design.describe()}",
        "Changes " + ", ".join(target.describe() for target in study.perturbation.targets),
        f"Design: {layout}",
        f"{design.studies} data sets of {sizes} (subjects x trials); environment {design.environment or 'default'}; "
        f"seed {design.seed}",
        f"Subjects from {design.who()}",
    ]
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]


def _fits(study: Detection) -> str:
    """Say which fits there are, and how many of them can be trusted."""
    found = []
    for name, fits in study.fits.groupby("estimator", sort=False):
        sampler = {**DEFAULTS, **study.design.sampler}
        how = f" ({sampler['chains']} chains x {sampler['draws']} draws)" if name == "nuts" else ""
        counts = ", ".join(f"{n} {status}" for status, n in fits["status"].value_counts().items())
        found.append(f"{_ESTIMATORS[str(name)]}{how}: {counts}; {fits['seconds'].median():.1f} s each (median)")
    return "\n".join(part for line in found for part in textwrap.wrap(line, WIDTH, subsequent_indent="  "))


def _findings(study: Detection) -> Iterator[str]:
    """Say in words what was found; one text per finding."""
    design, table = study.design, study.table
    bad = study.fits[~study.fits["status"].isin(GOOD)]
    for (name, status), group in bad.groupby(["estimator", "status"]):
        words, what = _BAD[str(status)]
        yield f"{counted(len(group), 'fit')} ({_ESTIMATORS[str(name)]}) {words}; {what}."
    for (name, effect), rows in table.groupby(["parameter", "effect"], sort=False):
        for trials in study.design.trials:
            yield f"{name}, {effect}: {_reached(rows[rows['n_trials'] == trials])} of {trials} trials each."
        high = rows[rows["exaggeration"] > 1 + _SURE]
        if len(high):
            worst = high.iloc[int(high["exaggeration"].argmax())]
            yield (
                f"{name}: where the effect is found at {worst['n_subjects']} x {worst['n_trials']}, it looks "
                f"{worst['exaggeration']:.1f} times as large as it is. A published effect of such a study would be "
                "exaggerated as much."
            )
        wrong = rows[rows["sign_error"] > 0]
        if len(wrong):
            yield f"{name}: the sign is wrong in up to {percent(wrong['sign_error'].max())} of what is found."
    yield from _about_nuts(study)
    if study.perturbation.illustrative:
        yield "The size is an illustration, half a between-subject sd, since none was published: so is this power."
    if design.studies < _FEW:
        yield f"{design.studies} data sets give rough shares: use {_FEW} or more (same folder, which continues)."
    if not any(target.sd_delta for target in study.perturbation.targets):
        yield "Everybody responds alike here (sd_delta 0): where responses differ, more subjects are needed."
    if design.truth == "usual":
        yield "How people differ was assumed (usual ranges): repeat with the subjects of a fit of pilot data."


def _reached(line: pd.DataFrame) -> str:
    """Say from how many subjects on the nominal power is reached, in rows of one number of trials."""
    line = line.sort_values("n_subjects")
    good = [n for n in line["n_subjects"] if (line[line["n_subjects"] >= n]["power"] >= NOMINAL_POWER).all()]
    if good:
        first = line[line["n_subjects"] == good[0]].iloc[0]
        return f"{percent(NOMINAL_POWER)} power is reached, {_power(first)}, from {good[0]} subjects on"
    most = line.iloc[-1]
    return f"{percent(NOMINAL_POWER)} power is not reached: {_power(most)} with {most['n_subjects']} subjects"


def _power(row: Any) -> str:
    """Write a power with its binomial interval."""
    return f"{percent(row['power'])} ({percent(row['power_lower'])} to {percent(row['power_upper'])})"


def _about_nuts(study: Detection) -> Iterator[str]:
    """Say whether the approximation can be relied on."""
    if study.design.asks["estimator"] != "laplace":
        return
    found = study.confirmation
    if not len(found):
        yield "No number here was confirmed by NUTS: they are as good as the approximation (confirm, --confirm)."
        return
    same, n = int(found["same"].sum()), int(found["n"].sum())
    ratios = found["width_ratio"]
    yield (
        f"Powers are by Laplace approximations. NUTS, on {n} effects in the corners of the grid, "
        f"decides alike in {same}; Laplace intervals are {ratios.min():.2f} to {ratios.max():.2f} times as wide."
    )


def _numbers(table: pd.DataFrame) -> str:
    rows = [
        (
            f"{r['n_subjects']} x {r['n_trials']}",
            _power(r),
            "-" if np.isnan(r["sign_error"]) else percent(r["sign_error"]),
            "-" if np.isnan(r["exaggeration"]) else f"{r['exaggeration']:.2f}",
            f"{100 * r['bias']:+.0f} %",
            f"{r['width']:.2f}",
            percent(r["coverage"]),
        )
        for r in table.to_dict("records")
    ]
    headings = ("subjects x trials", "power", "type S", "type M", "bias", "width", "coverage")
    return table_text(headings, rows)


def _confirmed(table: pd.DataFrame) -> str:
    rows = [
        (
            f"{r['n_subjects']} x {r['n_trials']}",
            f"{r['parameter']}, {r['effect']}",
            f"{r['same']} of {r['n']}",
            f"{percent(r['power_laplace'])}, {percent(r['power_nuts'])}",
            f"{r['difference']:+.2f} sd",
            f"{r['width_ratio']:.2f}",
            percent(r["converged"]),
        )
        for r in table.to_dict("records")
    ]
    headings = ("subjects x trials", "effect", "same", "power of both", "difference", "width ratio", "converged")
    return table_text(headings, rows)


def write_power(study: Detection, folder: Path) -> None:
    """Draw the figure of a study of detection into a folder."""
    folder.mkdir(parents=True)
    with style.style():
        figure, _ = plot_power(study)
        figure.savefig(folder / "power.png")
        plt.close(figure)


@style.style()
def plot_power(study: Detection, *, ax=None) -> tuple[Figure, np.ndarray]:
    """Draw power against the number of subjects, one line per number of trials, with the nominal 80 %.

    Parameters
    ----------
    study : Detection
    ax : Axes or array of Axes, optional
        One per coefficient; by default a new figure.

    Returns
    -------
    fig : Figure
    axes : ndarray of Axes

    Examples
    --------
    >>> fig, axes = fitrl.plot_power(fitrl.detect(drug, "q_learning", out="power"))  # doctest: +SKIP
    """
    groups = list(study.table.groupby(["parameter", "effect"], sort=False))
    fig, axes, is_new = style.panels(len(groups), ax, size=(5.4, 3.4), columns=3, below=1.3)
    colours = dict(zip(study.design.trials, style.CHAIN_COLOURS * len(study.design.trials), strict=False))
    apart = 0.012 * (study.design.subjects[-1] - study.design.subjects[0])  # intervals beside, not upon, each other
    for panel, ((name, effect), table) in zip(axes, groups, strict=True):
        panel.axhline(NOMINAL_POWER, color=style.GREY, lw=1, ls="--")
        for i, (trials, colour) in enumerate(colours.items()):
            line = table[table["n_trials"] == trials].sort_values("n_subjects")
            reach = [line["power"] - line["power_lower"], line["power_upper"] - line["power"]]
            x = line["n_subjects"] + apart * (i - (len(colours) - 1) / 2)
            panel.errorbar(x, line["power"], reach, color=colour, marker="o", ms=5, lw=1.6, elinewidth=1)
        panel.set_ylim(-0.02, 1.02)
        panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "20 %", "40 %", "60 %", "80 %", "100 %"])
        panel.set_xticks(study.design.subjects)
        panel.margins(x=0.12)
        panel.set_xlabel("subjects")
        panel.set_ylabel("power")
        known = study.design.parameters().get(str(name))  # that of a change in one of two phases is the fit's alone
        described = str(name) if known is None else f"{known.description} ({name})"
        panel.set_title(style.wrapped(f"{described}: effect of {effect}", 60), fontsize=10)
    words: dict[str, Any] = {"marker": "o", "ms": 5}
    per = "trials per session" if study.design.asks["layout"] == "crossover" else "trials"
    handles = [Line2D([], [], color=c, label=f"{n} {per}", **words) for n, c in colours.items()]
    handles.append(Line2D([], [], color=style.GREY, ls="--", lw=1, label="80 %"))
    style.legend(fig, axes, is_new, handles, columns=min(3, 1 + len(groups)))
    if is_new:
        by = _ESTIMATORS[study.design.asks["estimator"]]
        lines = [
            f"Power to detect {study.perturbation.caption()}",
            f"{study.design.describe()}, {study.design.asks['layout']}",
            f"{study.design.studies} data sets each, {by}; bars: 95 % intervals",
        ]
        fig.suptitle("\n".join(style.wrapped(line, 62 * min(3, len(groups))) for line in lines), fontsize=10.5)
    return fig, axes
