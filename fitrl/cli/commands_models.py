"""Commands about models and agents: models, simulate, perturbations, check-model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fitrl.cli import parse
from fitrl.cli.options import (
    Codes,
    Column,
    Environment,
    From,
    Missing,
    Options,
    Reset,
    Scale,
    Set,
    SomeModel,
    With,
)
from fitrl.cli.output import FAILED, print_out, reported


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE.py]", help="A model, for its card.", show_default=False)
    ] = None,
) -> None:
    """List the models and traits, or show one model's card."""
    from fitrl.cli.cards import print_models

    print_models(name)


def simulate(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.csv", help="The data.", show_default=False)],
    model: SomeModel = None,
    from_: From = None,
    with_: With = None,
    set_: Set = None,
    subjects: Annotated[int, typer.Option(metavar="N", min=1, help="Number of agents.")] = 20,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials of each.")] = 100,
    environment: Environment = None,
    options: Options = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="One seed gives one data set.")] = None,
    truth: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="The parameters behind the data.")] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|FILE.json", help="A lesion or a drug: see fitrl perturbations. Repeatable."),
    ] = None,
) -> None:
    """Let synthetic agents with known parameters play the task of their model."""
    with reported():
        traits = parse.traits(with_ or [])
        settings = parse.values(set_ or [], "--set", "--set q0=0")
        from fitrl.cli.output import write_tables
        from fitrl.cli.perturb import find_perturbations, print_used
        from fitrl.perturb.population import population

        effects = find_perturbations(perturb or [])
        whose: dict[str, Any] = {}
        if from_ is not None:
            from fitrl.fitting.store import load

            whose["parameters"] = load(from_)
        people = population(
            model,
            subjects=subjects,
            trials=trials,
            traits=traits,
            options=settings,
            environment=environment,
            n_options=options,
            random_seed=seed,
            **whose,
        ).with_(*effects)
        made = people.simulate()
        write_tables({out: made.frame} | ({truth: made.truth} if truth is not None else {}))
        print_out(f"{out}: {len(made.frame)} trials of {subjects} agents, {made.model.describe()}")
        if truth is not None:
            print_out(f"{truth}: their parameters")
        print_used(people)


def perturbations(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One of them, or a preset, in full.", show_default=False)
    ] = None,
) -> None:
    """List lesions, drugs and disorders with published evidence, or print one."""
    with reported():
        from fitrl.cli.perturb import print_perturbations

        print_perturbations(name)


def check_model(
    model: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="Model: see fitrl models.")],
    with_: With = None,
    set_: Set = None,
    environment: Environment = None,
    options: Options = None,
    outcomes: Annotated[
        Literal["0,1", "-1,1"] | None, typer.Option(help="The two outcomes [0,1 unless the model refuses them].")
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", min=20, help="Trials for recovery.")] = 150,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="One seed gives one report.")] = 1,
    data: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="Recorded trials; for a task without an environment.")
    ] = None,
    column: Column = None,
    codes: Codes = None,
    missing: Missing = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
) -> None:
    """Check that a model, or a file of your own, is what it says: gradient, masks, simulator, recovery.

    Agents play its task, or with --data the recorded trials, which are read as for fitrl fit.

    Exit status: 0 passed, with or without warnings; 2 call wrong; 3 failed.
    """
    with reported():
        low, high = (outcomes or "0,1").split(",")
        settings: dict[str, Any] = {
            "traits": parse.traits(with_ or []),
            "options": parse.values(set_ or [], "--set", "--set q0=0"),
            "environment": environment,
            "n_options": options,
            "outcome_range": (float(low), float(high)) if outcomes else None,
            "trials": trials,
            "random_seed": seed,
        }
        if data is not None:
            from fitrl.cli.commands_data import read

            settings["data"] = read(data, model, column, codes, missing, parse.scale(outcome_scale), reset)
        from fitrl.cli.trust import run_model_checks

        passed = run_model_checks(model, settings)
    if not passed:
        raise typer.Exit(FAILED)
