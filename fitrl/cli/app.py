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
SomeModel = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME|FILE.py", help="Model: see fitrl models. Not needed with --from."),
]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="Draw subjects from those of this fit, and take its model."),
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


Environment = Annotated[
    Literal["fixed", "reversing", "volatile", "drifting", "pairs"] | None,
    typer.Option(help="How payoffs come about; by default fixed for bandits, drifting for two-step tasks."),
]
Options = Annotated[int | None, typer.Option(min=2, metavar="N", help="Number of options.")]
Priors = Annotated[str, typer.Option(metavar="default|hbayesdm|FILE.toml", help="Priors and links.")]
Fix = Annotated[
    list[str] | None, typer.Option("--fix", metavar="beta=3", help="Hold a parameter at a value. Repeatable.")
]
Formula = Annotated[
    list[str] | None,
    typer.Option("--formula", metavar='"alpha ~ group"', help="What moves a parameter. Repeatable."),
]
SubjectTable = Annotated[
    str | None, typer.Option("--subjects", metavar="FILE.csv", help="Covariates, one row per subject.")
]
Draws = Annotated[int | None, typer.Option(metavar="N", min=1, help="Draws per chain [1000].")]
Tune = Annotated[int | None, typer.Option(metavar="N", min=1, help="Tuning steps per chain [1000].")]
Chains = Annotated[int | None, typer.Option(metavar="N", min=1, help="Chains [4].")]
Accept = Annotated[float | None, typer.Option(metavar="N", min=0.5, max=0.999, help="Target acceptance [0.9].")]
AtOnce = Annotated[int | None, typer.Option("--cores", metavar="N", min=1, help="Fits at the same time [all cores].")]
StudyFolder = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="DIR", help="Folder of the study; continues there.", show_default=False),
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
    priors: Priors = "default",
    fix: Fix = None,
    formula: Formula = None,
    subjects: SubjectTable = None,
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
    from fitrl.hierarchy.formula import read_formulas
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
            "formulas": read_formulas(formula or []),
            "subjects": subjects,
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


@app.command()
def perturbations(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One of them, or a preset, in full.", show_default=False)
    ] = None,
) -> None:
    """List lesions, drugs and disorders with published evidence, or print one."""
    with reported():
        from fitrl.cli.perturb import print_perturbations

        print_perturbations(name)


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


@app.command()
def recover(
    out: StudyFolder,
    model: SomeModel = None,
    from_: From = None,
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
    quick: Annotated[bool, typer.Option("--quick", help="Approximations instead of sampling; marked as such.")] = False,
    draws: Draws = None,
    tune: Tune = None,
    chains: Chains = None,
    cores: AtOnce = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Makes the study repeatable.")] = None,
    target_accept: Accept = None,
) -> None:
    """Simulate from known parameters, fit and compare, to see whether a design can recover them.

    Truth comes from the priors, or with --from from the subjects of a fit. Several sizes: --subjects 20 --subjects 40.
    Stopped by Ctrl-C or otherwise, the same command continues.
    """
    with reported():
        declaration: dict[str, Any] = {
            "fit": from_,
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
            "quick": quick,
            "random_seed": seed,
            "cores": cores,
        }
        check_folder(out)
        from fitrl.cli.study import run_recovery

        run_recovery(model, out, declaration, _given(draws, tune, chains, target_accept))


@app.command()
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


@app.command(name="check-model")
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
) -> None:
    """Check that a model, or a file of your own, is what it says: gradient, masks, simulator, recovery.

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
        from fitrl.cli.trust import run_model_checks

        passed = run_model_checks(model, settings)
    if not passed:
        raise typer.Exit(FAILED)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of finished fits.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for tables and figure.")
    ] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=100, help="Draws used of each fit.")] = 1000,
) -> None:
    """Compare fits to the same trials by what they predict (trial LOO, conditional on the other trials).

    Exit status: 0 all fits converged; 2 input or call wrong; 3 a fit did not converge (the table is marked).
    """
    with reported():
        if out is not None:
            check_folder(out)
        from fitrl.cli.trust import run_comparison

        converged = run_comparison(folders, out, draws)
    if not converged:
        raise typer.Exit(FAILED)


@app.command()
def contrast(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit with formulas.")],
    what: Annotated[str, typer.Argument(metavar='"drug: one - other"', help="Two levels, or two values of a number.")],
    parameter: Annotated[
        str | None, typer.Option("--parameter", metavar="NAME", help="One parameter or derived quantity [all].")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="The table.")] = None,
) -> None:
    """Compare populations that differ in one covariate: "drug: placebo - levodopa", "age: 60 - 20 @ group=patient".

    Exit status: 0 converged (or quick); 2 input or call wrong; 3 the fit did not converge (the table is printed).
    """
    with reported():
        from fitrl.cli.effects import run_contrast

        converged = run_contrast(folder, what, parameter, out)
    if not converged:
        raise typer.Exit(FAILED)


@app.command()
def latents(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished fit.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="One table of all trials.")
    ] = None,
    bids: Annotated[
        Path | None,
        typer.Option("--bids", metavar="DIR", help="An events file per subject and session, as BIDS has it."),
    ] = None,
    onset: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of the file with the onset of each trial, in seconds.")
    ] = "onset",
    duration: Annotated[
        str, typer.Option(metavar="COLUMN|SECONDS", help="Duration of each trial; 0 is an impulse.")
    ] = "0",
    task: Annotated[str | None, typer.Option(metavar="LABEL", help="Name of the task in file names.")] = None,
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws to average over.")] = 500,
) -> None:
    """Write trial-by-trial values, prediction errors and probabilities of a finished fit, also for imaging.

    Exit status: 0 converged; 2 input or call wrong; 3 the fit did not converge (files are written).
    """
    with reported():
        from fitrl.cli.trust import run_latents

        converged = run_latents(folder, out, bids, {"onset": onset, "duration": duration, "task": task, "draws": draws})
    if not converged:
        raise typer.Exit(FAILED)


def _given(
    draws: int | None, tune: int | None, chains: int | None, target_accept: float | None
) -> dict[str, int | float]:
    """Return the arguments of the sampler that were given."""
    all_ = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}
    return {name: value for name, value in all_.items() if value is not None}


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
