"""Commands that run many fits: recover, calibrate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from fitrl.cli import parse
from fitrl.cli.options import (
    Accept,
    AtOnce,
    Chains,
    Draws,
    Environment,
    Fix,
    From,
    ModelName,
    Options,
    Priors,
    Set,
    SomeModel,
    StudyFolder,
    Tune,
    With,
)
from fitrl.cli.output import FAILED, check_folder, reported


def recover(
    out: StudyFolder,
    model: SomeModel = None,
    from_: From = None,
    new_people: Annotated[
        bool, typer.Option("--new-people", help="From the population of --from, instead of its subjects.")
    ] = False,
    with_: With = None,
    set_: Set = None,
    subjects: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Subjects per data set [30]. Repeatable, for a grid.")
    ] = None,
    trials: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Trials of each [150]. Repeatable, for a grid.")
    ] = None,
    studies: Annotated[int, typer.Option(metavar="N", min=1, help="Data sets per size.")] = 20,
    environment: Environment = None,
    options: Options = None,
    priors: Priors = "default",
    fix: Fix = None,
    pooling: Annotated[
        Literal["partial", "none"] | None, typer.Option(help="Of the fits [partial, or that of --from].")
    ] = None,
    correlated: Annotated[
        bool | None,
        typer.Option("--correlated/--no-correlated", help="Correlated parameters in the fits [no, or as in --from]."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Approximations instead of sampling; marked as such.")] = False,
    draws: Draws = None,
    tune: Tune = None,
    chains: Chains = None,
    cores: AtOnce = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the study repeatable.")] = None,
    target_accept: Accept = None,
) -> None:
    """Simulate from known parameters, fit and compare, to see whether a design can recover them.

    Truth comes from the priors, or with --from from the subjects of a fit, or (--new-people) its population. Several
    sizes: --subjects 20 --subjects 40.
    Stopped by Ctrl-C or otherwise, the same command continues.
    """
    with reported():
        declaration: dict[str, Any] = {
            "fit": from_,
            "new_people": new_people,
            "traits": parse.traits(with_ or []),
            "options": parse.values(set_ or [], "--set", "--set q0=0"),
            "subjects": subjects or [30],
            "trials": trials or [150],
            "studies": studies,
            "environment": environment,
            "n_options": options,
            "priors": priors,
            "fixed": parse.numbers(fix or [], "--fix", "--fix beta=3"),
            "pooling": pooling,
            "correlated": correlated,
            "quick": quick,
            "random_seed": seed,
            "cores": cores,
        }
        check_folder(out)
        from fitrl.cli.study import run_recovery

        run_recovery(model, out, declaration, _given(draws, tune, chains, target_accept))


def calibrate(
    model: ModelName,
    out: StudyFolder,
    with_: With = None,
    set_: Set = None,
    simulations: Annotated[int, typer.Option(metavar="N", min=1, help="Data sets.")] = 200,
    subjects: Annotated[int, typer.Option(metavar="N", min=2, help="Subjects per data set.")] = 8,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials of each.")] = 60,
    environment: Environment = None,
    options: Options = None,
    priors: Priors = "default",
    fix: Fix = None,
    quick: Annotated[bool, typer.Option("--quick", help="Judge the approximation instead of the sampler.")] = False,
    draws: Draws = None,
    tune: Tune = None,
    chains: Chains = None,
    cores: AtOnce = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the study repeatable.")] = None,
    target_accept: Accept = None,
) -> None:
    """Check by simulation that posteriors of a model are neither biased nor too sure.

    Stopped by Ctrl-C or otherwise, the same command continues. Exit status: 0 passed; 2 call wrong; 3 failed.
    """
    with reported():
        declaration: dict[str, Any] = {
            "traits": parse.traits(with_ or []),
            "options": parse.values(set_ or [], "--set", "--set q0=0"),
            "simulations": simulations,
            "subjects": subjects,
            "trials": trials,
            "environment": environment,
            "n_options": options,
            "priors": priors,
            "fixed": parse.numbers(fix or [], "--fix", "--fix beta=3"),
            "quick": quick,
            "random_seed": seed,
            "cores": cores,
        }
        check_folder(out)
        from fitrl.cli.study import run_calibration

        passed = run_calibration(model, out, declaration, _given(draws, tune, chains, target_accept))
    if not passed:
        raise typer.Exit(FAILED)


def _given(
    draws: int | None, tune: int | None, chains: int | None, target_accept: float | None
) -> dict[str, int | float]:
    """Return the arguments of the sampler that were given."""
    all_ = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}
    return {name: value for name, value in all_.items() if value is not None}
