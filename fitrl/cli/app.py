"""The program: its commands, in the order of the help. They import what is heavy when they run."""

from __future__ import annotations

import typer

from fitrl.cli.commands_data import check, design, fit
from fitrl.cli.commands_models import check_model, models, perturbations, simulate
from fitrl.cli.commands_perturb import detect
from fitrl.cli.commands_results import compare, contrast, latents, predict, reliability, show
from fitrl.cli.commands_studies import calibrate, recover

app = typer.Typer(
    rich_markup_mode=None,  # help without rich appears in a third of the time
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hierarchical Bayesian fitting of reinforcement-learning models to choice data.",
    epilog="Exit status: 0 converged; 2 the input or the call is wrong; 3 the fit did not converge.",
)

app.command()(models)
app.command()(check)
app.command()(fit)
app.command()(design)
app.command()(simulate)
app.command()(perturbations)
app.command()(show)
app.command()(predict)
app.command()(detect)
app.command()(recover)
app.command()(calibrate)
app.command()(check_model)
app.command()(compare)
app.command()(contrast)
app.command()(reliability)
app.command()(latents)
