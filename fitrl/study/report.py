"""What a study found, in plain words."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from fitrl.fitting.sample import DEFAULTS
from fitrl.study.design import POPULATION, Design
from fitrl.study.statistics import NOMINAL

if TYPE_CHECKING:
    from fitrl.study.calibration import Calibration
    from fitrl.study.recovery import Recovery

WIDTH = 96
LEAST_R = 0.7
FEW = 10  # data sets
# Estimates that correlate more than this, though the true values correlate less than that, trade off.
TRADE_OFF, UNRELATED = 0.5, 0.2

_LEGEND = (
    "r: correlation of estimate and truth. bias: mean of estimate - truth. coverage: share of 95 % intervals that hold "
    "the truth, with its 95 % binomial interval. shrinkage: share of the spread that the data of single subjects leave "
    'open. "!": see above.'
)
QUICK = "QUICK APPROXIMATION (Laplace): this says how well the approximation does, not the posterior."


def recovery_text(study: Recovery) -> str:
    """Write the report of a recovery study: what it says first, the numbers below."""
    design = study.design
    parts = [*_head("Parameter recovery", design), _fits(study.fits), ""]
    parts += ["What this says", *bullets(recovery_findings(study)), ""]
    if len(design.cells) > 1:
        parts += [_by_size(study.table, "subject", "r", "r of subjects, by size"), ""]
        if len(study.population):
            title = "RMSE of the population mean (link scale), by size"
            parts += [_by_size(study.table, "location", "rmse", title), ""]
    for cell in design.cells:
        here = study.table.query("n_subjects == @cell.subjects and n_trials == @cell.trials")
        if len(design.cells) > 1:
            parts += [f"{cell.subjects} subjects x {cell.trials} trials", ""]
        parts += [_level(here, "subject", "Subjects (natural scale; r: link scale, within data sets)"), ""]
        for level, words in (("location", "Population mean"), ("scale", "Between-subject standard deviation")):
            if (here["level"] == level).any():
                parts += [_level(here, level, f"{words} (link scale)"), ""]
    if len(design.cells) == 1 and len(study.correlations):
        parts += [_pairs(study.correlations), ""]
    parts += textwrap.wrap(_LEGEND, WIDTH)
    return "\n".join(parts) + "\n"


def recovery_findings(study: Recovery) -> list[str]:
    """Say in words what works, what does not, and what to do; one text per finding."""
    design, several = study.design, len(study.design.cells) > 1
    rough, off = _rough(study.table, several), _off(study.table, several)
    found = _about_convergence(study.fits) + rough
    if rough:
        found.append(
            "Estimates of single subjects that are so rough should not be correlated with anything. More trials help, "
            "more subjects do not."
        )
    found += off + ([_about_coverage(design)] if off else [])
    found += _trade_offs(study.correlations, several)
    if not (rough or off):
        found.append(f"r is at least {LEAST_R:g}, and coverage agrees with 95 %, everywhere.")
    if design.studies < FEW:
        found.append(
            f"{design.studies} data sets say little about populations: use {FEW} or more (--studies, same folder)."
        )
    if several:
        found += _enough(study.table, design)
    if design.truth == "prior":
        found.append(
            "Truth was drawn from the priors, which are broad. Among real subjects, who are more alike, recovery is "
            "harder: repeat with the subjects of a fit (--from DIR)."
        )
    return found


def _about_convergence(fits: pd.DataFrame) -> list[str]:
    """Say first what weakens everything else."""
    counts, found = fits["status"].value_counts(), []
    if n := int(counts.get("not converged", 0)):
        found.append(
            f"{n} of {len(fits)} fits did not converge and are counted with the rest. What is said here holds for fits "
            "like these; sample longer (--tune, --draws) to judge the model."
        )
    if n := int(counts.get("failed", 0)):
        found.append(f"{n} of {len(fits)} data sets could not be fitted at all and are missing from the tables.")
    return found


def _about_coverage(design: Design) -> str:
    """Say what coverage off 95 % means here."""
    if design.quick:
        return "Intervals of the approximation are known to be off; about those of the posterior only sampling tells."
    chance = "One coverage in twenty misses 95 % by chance."
    if design.truth == "prior" and design.pooling == "partial":
        return f"{chance} More than that should not happen when truth comes from the priors: run fitrl calibrate."
    if design.truth.startswith(POPULATION):
        return (
            f"{chance} More than that: priors pull away from this population, as they do from one that they hold for "
            "improbable, or chains failed."
        )
    return f"{chance} More than that: priors and population of the model do not suit these subjects, or chains failed."


def _rough(table: pd.DataFrame, several: bool) -> list[str]:
    """Name the parameters whose subjects cannot be told apart."""
    rows = table[(table["level"] == "subject") & (table["r"] < LEAST_R)]
    return [
        f"{name}: r below {LEAST_R:g}: {_list(rows, name, several, lambda row: format(row['r'], '.2f'))}."
        for name in rows["parameter"].unique()
    ]


def _off(table: pd.DataFrame, several: bool) -> list[str]:
    """Name the intervals that do not hold the truth as often as they say."""
    words = {"subject": "{}", "location": "population mean of {}", "scale": "spread of {}"}
    found = []
    for level, what in words.items():
        missed = (table["coverage_upper"] < NOMINAL) | (table["coverage_lower"] > NOMINAL)
        wrong = table[missed & (table["level"] == level)]
        for name in wrong["parameter"].unique():
            shares = _list(wrong, name, several, _coverage)
            found.append(f"{what.format(name)}: coverage of 95 % intervals is off: {shares}.")
    return found


def _list(rows: pd.DataFrame, name: str, several: bool, write: Callable[[dict[Any, Any]], str]) -> str:
    """Write a number of one parameter for each of the sizes in which it stands out."""
    found = rows[rows["parameter"] == name].to_dict("records")
    return ", ".join(write(r) + _at(r, several) for r in found)


def _coverage(row: dict[Any, Any]) -> str:
    return f"{percent(row['coverage'])} ({percent(row['coverage_lower'])} to {percent(row['coverage_upper'])})"


def _trade_offs(pairs: pd.DataFrame, several: bool) -> list[str]:
    trade = pairs[(pairs["estimate_r"].abs() > TRADE_OFF) & (pairs["true_r"].abs() < UNRELATED)]
    return [
        f"{row['parameter_1']} and {row['parameter_2']} trade off: r of estimates is {row['estimate_r']:.2f}, "
        f"r of true values {row['true_r']:.2f}{_at(row, several)}. Do not read a correlation between them as a finding."
        for row in trade.to_dict("records")
    ]


def _at(row: dict[Any, Any], several: bool) -> str:
    return f" at {row['n_subjects']} x {row['n_trials']}" if several else ""


def _enough(table: pd.DataFrame, design: Design) -> list[str]:
    """For each parameter, the number of trials from which on subjects can be told apart."""
    found = []
    subjects = table[table["level"] == "subject"]
    for name in design.estimated:
        least = subjects[subjects["parameter"] == name].groupby("n_trials")["r"].min()
        good = [n for n in design.trials if (least[least.index >= n] >= LEAST_R).all()]
        if good:
            found.append(f"{name}: r is {LEAST_R:g} or more from {good[0]} trials on.")
        else:
            found.append(f"{name}: r is below {LEAST_R:g} even with {design.trials[-1]} trials.")
    return found


def calibration_text(study: Calibration) -> str:
    """Write the report of a calibration study."""
    table, n_failed = study.table, int((study.fits["status"] == "failed").sum())
    first = "PASSED: no quantity is miscalibrated as far as this many data sets can tell."
    if study.failures:
        first = f"FAILED: {', '.join(study.failures)}."
    elif n_failed:
        first = f"FAILED: {n_failed} data sets could not be fitted at all."
    parts = [first, "", *_head("Simulation-based calibration", study.design), _fits(study.fits), ""]
    rows = [
        (r["quantity"], f"{r['mean_pit']:.3f}", f"{r['sd_pit']:.3f}", r["status"], r["what"])
        for r in table.to_dict("records")
    ]
    parts += [table_text(("quantity", "mean rank", "sd of ranks", "verdict", ""), rows), ""]
    parts.append("Uniform ranks have a mean of .500 and an sd of .289.")
    draws = study.ranks.groupby("study")["draws"].first()
    lines = [
        "Ranks of the true value among posterior draws, as numbers from 0 to 1, are uniform if model, priors and "
        f"sampler are right. Draws were thinned to independent ones: {int(draws.median())} per data set (median), "
        f"at least {int(draws.min())}.",
        "fails: outside of the band that all quantities keep together with 95 % probability. borderline: outside of "
        "its own 95 % band only, which happens to one quantity in twenty by chance.",
    ]
    if study.design.quick and not study.passed:
        lines.append("A Laplace approximation is expected to fail: it is for a first look.")
    if len(study.fits) < 100:
        lines.append(f"{len(study.fits)} data sets find gross mistakes only; 200 are usual, 1,000 find subtle ones.")
    if (study.fits["status"] == "not converged").any():
        lines.append("Fits that did not converge are counted, too: leaving them out would bend the ranks of the rest.")
    return "\n".join([*parts, *bullets(lines)]) + "\n"


# Pieces -------------------------------------------------------------------------------------------------


def _head(title: str, design: Design) -> list[str]:
    sizes = ", ".join(f"{n} x {t}" for n, t in design.cells)
    fixed = "".join(f", {name} = {value:g} fixed" for name, value in design.fixed.items())
    sampler = {**DEFAULTS, **design.sampler}
    how = QUICK if design.quick else f"NUTS, {sampler['chains']} chains x {sampler['draws']} draws"
    lines = [
        f"{title}: {design.describe()}{fixed}",
        f"{design.studies} data sets of {sizes} (subjects x trials); environment {design.environment or 'default'}; "
        f"seed {design.seed}",
        f"Truth: {design.who()}. Pooling {design.pooling}.",
        f"Fits: {how}",
    ]
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]


def _fits(fits: pd.DataFrame) -> str:
    """One line: how many fits can be trusted; then the reasons of those that cannot."""
    n, counts = len(fits), fits["status"].value_counts()
    if counts.get("quick", 0) == n:
        return f"{n} quick fits, {fits['seconds'].median():.1f} s each (median)"
    words = [f"{counts[s]} {s}" for s in ("converged", "not converged", "quick", "failed") if s in counts]
    text = f"Of {n} fits: {', '.join(words)}; {fits['seconds'].median():.1f} s each (median)"
    bad = fits[fits["status"].isin(["not converged", "failed"])]
    lines = [
        f"{r['n_subjects']} x {r['n_trials']}, data set {r['study']}, {r['status']}: {r['message']}"
        for r in bad.to_dict("records")
    ]
    more = [f"  and {len(lines) - 5} more, see fits.csv"] if len(lines) > 5 else []
    return "\n".join([text, *(textwrap.shorten("  " + line, WIDTH, placeholder=" ...") for line in lines[:5]), *more])


def _level(table: pd.DataFrame, level: str, title: str) -> str:
    rows = []
    for r in table[table["level"] == level].to_dict("records"):
        flag = "" if r["coverage_lower"] <= NOMINAL <= r["coverage_upper"] else " !"
        low = " !" if level == "subject" and r["r"] < LEAST_R else ""
        rows.append(
            (
                r["parameter"],
                str(r["n"]),
                _number(r["r"]) + low,
                f"{r['bias']:+.3f}",
                f"{r['rmse']:.3f}",
                _coverage(r) + flag,
                _number(r["shrinkage"]),
            )
        )
    return f"{title}\n" + table_text(("parameter", "n", "r", "bias", "RMSE", "coverage of 95 %", "shrinkage"), rows)


def _by_size(table: pd.DataFrame, level: str, column: str, title: str) -> str:
    """One row per size, one column per parameter."""
    wide = table[table["level"] == level].pivot(index=["n_subjects", "n_trials"], columns="parameter", values=column)
    names = list(dict.fromkeys(table["parameter"]))
    values = wide[names].to_numpy()
    rows = [(f"{n} x {t}", *map(_number, row)) for (n, t), row in zip(wide.index, values, strict=True)]
    return f"{title}\n" + table_text(("subjects x trials", *names), rows)


def _pairs(correlations: pd.DataFrame) -> str:
    rows = [
        (
            f"{r['parameter_1']}, {r['parameter_2']}",
            _number(r["true_r"]),
            _number(r["estimate_r"]),
            _number(r["error_r"]),
        )
        for r in correlations.to_dict("records")
    ]
    headings = ("pair", "true r", "r of estimates", "r of errors")
    return "Correlations between parameters (link scale, within data sets)\n" + table_text(headings, rows)


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def table_text(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table as plain text; the first column and the last words are left-justified."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for i, heading in enumerate(headings):
        left = i == 0 or heading in ("verdict", "")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    plain: dict[str, Any] = {"color_system": None, "markup": False, "highlight": False, "emoji": False}
    # In Jupyter rich would show something, if only an empty line, whatever the file.
    console = Console(file=io.StringIO(), width=WIDTH, force_jupyter=False, **plain)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def bullets(lines: Iterable[str]) -> list[str]:
    """Write texts as the lines of a list."""
    return [part for line in lines for part in textwrap.wrap(f"- {line}", WIDTH, subsequent_indent="  ")]
