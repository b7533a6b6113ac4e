"""The commands. Each reads its options, calls the toolkit and prints; heavy imports wait until then."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fitrl.cli import parse
from fitrl.cli.output import FAILED, check_folder, print_out, reported

app = typer.Typer(
    rich_markup_mode=None,  # help without rich appears in a third of the time
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hierarchical Bayesian fitting of reinforcement-learning models to choice data.",
    epilog="Exit status: 0 converged; 2 the input or the call is wrong; 3 the fit did not converge.",
)


Data = Annotated[str, typer.Argument(metavar="DATA", help="CSV or TSV file, one row per trial.")]
ModelName = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME|FILE.py", help="Model: see fitrl models.", show_default=False),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="TRAIT[:option=value,...]", help="Add a trait. Repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="option=value", help="Static option, such as q0=0. Repeatable."),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="name=yours",
        help="Your name of a column: subject=ID. Repeatable.",
    ),
]
Codes = Annotated[
    list[str] | None,
    typer.Option(
        "--codes",
        metavar="choice=left,right",
        help="Labels in the order of their codes; any other is an error.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--outcome-scale",
        metavar="NUMBER|raw",
        help="Divide outcomes by it, so that they lie in 0 to 1 or -1 to 1.",
    ),
]
Reset = Annotated[
    Literal["block", "session", "never"] | None,
    typer.Option("--reset", help="When learned values start afresh."),
]


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE.py]", help="A model, for its card.", show_default=False)
    ] = None,
) -> None:
    """List the models and traits, or show one model's card."""
    from fitrl.cli.cards import print_models

    print_models(name)


@app.command()
def check(
    data: Data,
    model: ModelName = "q_learning",
    column: Column = None,
    codes: Codes = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
) -> None:
    """Only validate a file: what was understood, per subject, or every problem in it."""
    with reported():
        trials = _read(data, model, column, codes, parse.scale(outcome_scale), reset)
        from fitrl.data import describe

        print_out(describe(trials))
        print_out("\nThe file can be fitted.", style="green")


@app.command()
def fit(
    data: Data,
    model: ModelName,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.", show_default=False)
    ],
    with_: With = None,
    set_: Set = None,
    priors: Annotated[
        str,
        typer.Option(metavar="default|hbayesdm|FILE.toml", help="Priors and links."),
    ] = "default",
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="beta=3", help="Hold a parameter at a value. Repeatable."),
    ] = None,
    centered: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Sample a parameter centred. Repeatable."),
    ] = None,
    pooling: Annotated[
        Literal["partial", "none", "complete"],
        typer.Option(help="Subjects share a population, nothing, or one value."),
    ] = "partial",
    column: Column = None,
    codes: Codes = None,
    outcome_scale: Scale = None,
    reset: Reset = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="An approximation in seconds, not to be reported."),
    ] = False,
    draws: Annotated[int | None, typer.Option(metavar="N", min=1, help="Draws per chain [2000].")] = None,
    tune: Annotated[int | None, typer.Option(metavar="N", min=1, help="Tuning steps per chain [1000].")] = None,
    chains: Annotated[int | None, typer.Option(metavar="N", min=1, help="Chains [4].")] = None,
    cores: Annotated[int | None, typer.Option(metavar="N", min=1, help="Chains at the same time.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the fit repeatable.")] = None,
    target_accept: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.5, max=0.999, help="Target acceptance [0.9]."),
    ] = None,
) -> None:
    """Fit a model to a file; write tables, figures and the fit into a folder.

    Exit status: 0 converged (or quick); 2 input or call wrong; 3 did not converge (results are written and marked).
    """
    from fitrl.hierarchy.priors import preset_options
    from fitrl.models import declare

    with reported():
        sampler = {
            "draws": draws, "tune": tune, "chains": chains, "cores": cores, "target_accept": target_accept,
        }  # fmt: skip
        declaration: dict[str, Any] = {
            "traits": parse.traits(with_ or []),
            "options": parse.values(set_ or [], "--set", "--set q0=0"),
            "priors": priors,
            "fixed": parse.numbers(fix or [], "--fix", "--fix beta=3"),
            "centered": tuple(centered or []),
            "pooling": pooling,
            "quick": quick,
            "random_seed": seed,
            **{name: given for name, given in sampler.items() if given is not None},
        }
        scale = parse.scale(outcome_scale)
        if scale is None and preset_options(priors):
            scale = "raw"  # the preset has its own: hBayesDM does not scale outcomes
        replaced = check_folder(out)
        declare(model, declaration["traits"], declaration["options"])  # a slip is found before anything slow
        trials = _read(data, model, column, codes, scale, reset)
        from fitrl.cli.fitting import run_fit

        converged = run_fit(model, trials, out, declaration, replaced=replaced)
    if not converged:
        raise typer.Exit(FAILED)


@app.command()
def simulate(
    model: ModelName,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.csv", help="The data.", show_default=False)],
    with_: With = None,
    set_: Set = None,
    subjects: Annotated[int, typer.Option(metavar="N", min=1, help="Number of agents.")] = 20,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials of each.")] = 100,
    environment: Annotated[
        Literal["fixed", "reversing", "drifting", "pairs"] | None,
        typer.Option(help="How payoffs come about; by default fixed for bandits, drifting for two-step tasks."),
    ] = None,
    options: Annotated[int | None, typer.Option(min=2, metavar="N", help="Number of options.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="One seed gives one data set.")] = None,
    truth: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="The parameters behind the data.")] = None,
) -> None:
    """Let synthetic agents with known parameters play the task of their model."""
    with reported():
        traits = parse.traits(with_ or [])
        settings = parse.values(set_ or [], "--set", "--set q0=0")
        from fitrl.cli.output import write_tables
        from fitrl.fitting.simulate import simulate as play

        made = play(
            model,
            subjects=subjects,
            trials=trials,
            traits=traits,
            options=settings,
            environment=environment,
            n_options=options,
            random_seed=seed,
        )
        write_tables({out: made.frame} | ({truth: made.truth} if truth is not None else {}))
        print_out(f"{out}: {len(made.frame)} trials of {subjects} agents, {made.model.describe()}")
        if truth is not None:
            print_out(f"{truth}: their parameters")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit.")],
) -> None:
    """Reprint the summary and verdict of a finished fit; exit status as after the fit."""
    with reported():
        from fitrl.fitting.store import load
        from fitrl.show.summary import render_summary

        found = load(folder)
        print_out(render_summary(found))
    if found.verdict.status == "not converged":
        raise typer.Exit(FAILED)


def _read(
    data: str, model: str, column: list[str] | None, codes: list[str] | None, scale: Any, reset: str | None
) -> Any:
    """Read the trials; the model is looked up first, since it says which columns are needed."""
    from fitrl.models import find

    columns = parse.pairs(column or [], "--column", "--column subject=ID")
    labels = parse.labels(codes or [])
    found = find(model)
    from fitrl.data import read_trials

    return read_trials(data, found, columns=columns or None, codes=labels or None, outcome_scale=scale, reset=reset)
