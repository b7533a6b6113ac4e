"""Commands that read a file of trials: check, design, fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fitrl.cli import parse
from fitrl.cli.options import (
    Accept,
    Chains,
    Codes,
    Column,
    Data,
    Draws,
    Fix,
    Formula,
    Missing,
    ModelName,
    Priors,
    Reset,
    Scale,
    Set,
    SubjectTable,
    Tune,
    With,
)
from fitrl.cli.output import FAILED, check_folder, print_out, reported


def check(
    data: Data,
    model: ModelName = "q_learning",
    column: Column = None,
    codes: Codes = None,
    missing: Missing = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
) -> None:
    """Only validate a file: what was understood, per subject, or every problem in it."""
    with reported():
        trials = read(data, model, column, codes, missing, parse.scale(outcome_scale), reset)
        from fitrl.data import describe

        print_out(describe(trials))
        warned = any(problem.level == "warning" for problem in trials.problems)
        last = "The file can be fitted, but see the warnings first." if warned else "The file can be fitted."
        print_out(f"\n{last}", style="yellow" if warned else "green")


def design(
    data: Data,
    model: ModelName,
    formula: Formula = None,
    subjects: SubjectTable = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw what the priors of the effects imply.")
    ] = None,
    with_: With = None,
    set_: Set = None,
    priors: Priors = "default",
    fix: Fix = None,
    column: Column = None,
    codes: Codes = None,
    missing: Missing = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
) -> None:
    """Say what formulas mean, and what their priors imply on the natural scale; nothing is sampled."""
    from fitrl.models import declare

    with reported():
        declaration = _declaration(with_, set_, priors, fix, formula, subjects)
        declare(model, declaration["traits"], declaration["options"])  # a slip is found before anything slow
        trials = read(data, model, column, codes, missing, _scale(outcome_scale, priors), reset)
        from fitrl.cli.effects import run_design

        run_design(model, trials, declaration, plot)


def fit(
    data: Data,
    model: ModelName,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.", show_default=False)
    ],
    with_: With = None,
    set_: Set = None,
    priors: Priors = "default",
    fix: Fix = None,
    formula: Formula = None,
    subjects: SubjectTable = None,
    effect: Annotated[
        str | None,
        typer.Option(metavar="ID|FILE.json", help="A perturbation to estimate: see fitrl perturbations. With --on."),
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="drug=haloperidol", help="Column and level under the perturbation.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="What that is compared with, if there are several levels.")
    ] = None,
    pooling: Annotated[
        Literal["partial", "none", "complete"],
        typer.Option(help="Subjects share a population, nothing, or one value."),
    ] = "partial",
    correlated: Annotated[
        bool, typer.Option("--correlated", help="Parameters may be correlated over subjects (LKJ prior).")
    ] = False,
    column: Column = None,
    codes: Codes = None,
    missing: Missing = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="An approximation in seconds, not to be reported."),
    ] = False,
    draws: Draws = None,
    tune: Tune = None,
    chains: Chains = None,
    cores: Annotated[int | None, typer.Option(metavar="N", min=1, help="Chains at the same time.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the fit repeatable.")] = None,
    target_accept: Accept = None,
) -> None:
    """Fit a model to a file; write tables, figures and the fit into a folder.

    Exit status: 0 converged (or quick); 2 input or call wrong; 3 did not converge (results are written and marked).
    """
    from fitrl.models import declare

    with reported():
        sampler = {
            "draws": draws, "tune": tune, "chains": chains, "cores": cores, "target_accept": target_accept,
        }  # fmt: skip
        declaration = _declaration(with_, set_, priors, fix, formula, subjects) | {
            "pooling": pooling,
            "correlated": correlated,
            "quick": quick,
            "random_seed": seed,
            **{name: given for name, given in sampler.items() if given is not None},
        }
        scale = _scale(outcome_scale, priors)
        perturbed = parse.effect(effect, on, against)
        replaced = check_folder(out)
        declare(model, declaration["traits"], declaration["options"])  # a slip is found before anything slow
        trials = read(data, model, column, codes, missing, scale, reset)
        from fitrl.cli.fitting import run_fit

        converged = run_fit(model, trials, out, declaration, replaced=replaced, effect=perturbed)
    if not converged:
        raise typer.Exit(FAILED)


def _declaration(
    with_: list[str] | None,
    set_: list[str] | None,
    priors: str,
    fix: list[str] | None,
    formula: list[str] | None,
    subjects: str | None,
) -> dict[str, Any]:
    """Read what a fit and its design have in common into keyword arguments of both."""
    from fitrl.hierarchy.formula import read_formulas

    return {
        "traits": parse.traits(with_ or []),
        "options": parse.values(set_ or [], "--set", "--set q0=0"),
        "priors": priors,
        "fixed": parse.numbers(fix or [], "--fix", "--fix beta=3"),
        "formulas": read_formulas(formula or []),
        "subjects": subjects,
    }


def _scale(outcome_scale: str | None, priors: str) -> float | str | None:
    """Read the outcome scale; the preset of hBayesDM, which does not scale outcomes, implies its own."""
    from fitrl.hierarchy.priors import preset_options

    scale = parse.scale(outcome_scale)
    return "raw" if scale is None and preset_options(priors) else scale


def read(
    data: str,
    model: str,
    column: list[str] | None,
    codes: list[str] | None,
    missing: list[str] | None,
    scale: Any,
    reset: str | None,
) -> Any:
    """Read the trials; the model is looked up first, since it says which columns are needed."""
    from fitrl.models import find

    columns = parse.pairs(column or [], "--column", "--column subject=ID")
    given = {"codes": parse.labels(codes or []), "missing": parse.missing(missing or [])}
    found = find(model)
    from fitrl.data import read_trials

    return read_trials(data, found, columns=columns or None, outcome_scale=scale, reset=reset, **given)
