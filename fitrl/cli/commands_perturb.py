"""Commands about perturbations that run many fits: detect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from fitrl.cli import parse
from fitrl.cli.options import (
    AtOnce,
    Chains,
    Draws,
    Environment,
    Fix,
    Formula,
    From,
    Options,
    Priors,
    Set,
    SomeModel,
    StudyFolder,
    Tune,
    With,
)
from fitrl.cli.output import check_folder, reported


def detect(
    perturbation: Annotated[
        str, typer.Argument(metavar="ID|FILE.json", help="A perturbation: see fitrl perturbations.", show_default=False)
    ],
    out: StudyFolder,
    model: SomeModel = None,
    from_: From = None,
    with_: With = None,
    set_: Set = None,
    subjects: Annotated[str, typer.Option(metavar="N,N,...", help="Subjects in all.")] = "20,40",
    trials: Annotated[str, typer.Option(metavar="N,N,...", help="Trials of each, per session.")] = "100,200",
    replications: Annotated[int, typer.Option(metavar="N", min=1, help="Data sets per size.")] = 100,
    design: Annotated[
        Literal["crossover", "groups"] | None,
        typer.Option(help="Everybody in both conditions, or half in each [as the perturbation says]."),
    ] = None,
    estimator: Annotated[
        Literal["laplace", "nuts"], typer.Option(help="Approximations in seconds, or sampling.")
    ] = "laplace",
    confirm: Annotated[
        int, typer.Option(metavar="N", min=0, help="Data sets per corner of the grid that NUTS fits as well.")
    ] = 5,
    formula: Formula = None,
    environment: Environment = None,
    options: Options = None,
    priors: Priors = "default",
    fix: Fix = None,
    draws: Draws = None,
    tune: Tune = None,
    chains: Chains = None,
    cores: AtOnce = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the study repeatable.")] = None,
) -> None:
    """Power by simulation: how likely is a drug, a lesion or a disorder detected, with how many subjects and trials.

    Stopped by Ctrl-C or otherwise, the same command continues.
    """
    with reported():
        from fitrl.cli.perturb import find_perturbations
        from fitrl.hierarchy.formula import read_formulas

        sampler = {"draws": draws, "tune": tune, "chains": chains}
        declaration: dict[str, Any] = {
            "fit": from_,
            "traits": parse.traits(with_ or []),
            "options": parse.values(set_ or [], "--set", "--set q0=0"),
            "subjects": parse.sizes(subjects, "--subjects"),
            "trials": parse.sizes(trials, "--trials"),
            "replications": replications,
            "design": design,
            "estimator": estimator,
            "confirm": confirm,
            "formulas": read_formulas(formula or []),
            "environment": environment,
            "n_options": options,
            "priors": priors,
            "fixed": parse.numbers(fix or [], "--fix", "--fix beta=3"),
            "random_seed": seed,
            "cores": cores,
            **{name: given for name, given in sampler.items() if given is not None},
        }
        (found,) = find_perturbations([perturbation])
        check_folder(out)
        from fitrl.cli.perturb_results import run_detection

        run_detection(found, model, out, declaration)
