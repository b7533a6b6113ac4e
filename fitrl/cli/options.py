"""Options and arguments that several commands share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        metavar="-1|NR|choice=-1",
        help="Code for no response or missing, in choices, outcomes and response times. Repeatable.",
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
    Literal["fixed", "reversing", "volatile", "drifting", "pairs", "decks"] | None,
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
