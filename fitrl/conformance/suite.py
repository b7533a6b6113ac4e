"""Check a model: everything that must hold before its fits can be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fitrl.conformance.agreement import plain, reference, simulator
from fitrl.conformance.estimates import identified, recovered
from fitrl.conformance.numbers import finite, gradient
from fitrl.conformance.recorded import RecordedSituation
from fitrl.conformance.report import Check, ModelReport
from fitrl.conformance.rows import company, forced, latents, missed, resets
from fitrl.conformance.situation import Situation
from fitrl.data import Trials, read_trials
from fitrl.engine.trace import trace
from fitrl.errors import FitrlError, ModelError
from fitrl.language.model import Model
from fitrl.models import declare

_TEXT = "the text of the model"
_CHECKS: dict[str, Callable[[Situation, str], Check]] = {
    "finite": finite,
    "gradient": gradient,
    "plain interpreter": plain,
    "reference engine": reference,
    "simulator": simulator,
    "other subjects": company,
    "missed responses": missed,
    "forced choices": forced,
    "resets": resets,
    "identified": identified,
    "recovery": recovered,
    "latents": latents,
}


def check_model(
    model: Any,
    *,
    traits: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    environment: Any = None,
    n_options: int | None = None,
    outcome_range: tuple[float, float] | None = None,
    trials: int = 150,
    random_seed: int = 1,
    data: Any = None,
) -> ModelReport:
    """Check a model of the zoo or of a user's file.

    Agents of the model play its task; their data, with missed, forced and hidden trials, blocks and unequal lengths,
    are what the checks look at. A task that has no environment is checked on recorded trials, given as `data`.

    Parameters
    ----------
    model, traits, options
        As in `fitrl.fit`.
    environment, n_options
        How the task is played, as in `fitrl.simulate`; an environment given as a `World` has a fixed size and cannot
        be used here.
    outcome_range : (float, float), optional
        The two outcomes; by default (0, 1), or (-1, 1) for a model that refuses these.
    trials : int
        Trials of each agent where parameters are recovered: the answer holds for this number.
    random_seed : int
        The report follows from it.
    data : Trials, DataFrame or path, optional
        Recorded trials of the task. Agents play them again if the task says what other choices would have earned
        (`fitrl.tasks.Task.replay`); else what needs agents is not run, and the report says so.

    Returns
    -------
    ModelReport
        ``report.passed``, ``print(report)``, ``report.to_frame()``. Whatever is wrong with the model is a line of the
        report, never an error.

    Raises
    ------
    ModelError
        If there is no such model, trait or option, or an environment is given with data.
    DataError
        If the data cannot be read.

    Notes
    -----
    What is checked: the text runs, with symbols and with agents; log-likelihood and gradient are finite, also near the
    bounds; the gradient equals central differences; the compiled code agrees with plain Python numbers and with
    `pytensor.scan`; choices of simulated agents have the mean log-likelihood that their entropy foretells and a mean
    slope of 0 at the true parameters; padding, company and order of subjects do not matter; missed responses neither
    count nor teach; forced choices teach and do not count; a reset is a fresh start; every declared latent is there;
    no direction in the parameters is flat (Rothenberg 1971, Econometrica, 10.2307/1913267); known parameters come
    back. Recovery uses the mode of each agent under the population that it was drawn from, so it is the best case: a
    fit has to learn the population, too.

    Examples
    --------
    >>> report = fitrl.check_model("q_learning")  # doctest: +SKIP
    >>> report.passed  # doctest: +SKIP
    True
    """
    found = declare(model, traits, options)
    if not _chooses(found):
        text = Check(_TEXT, "passed", "runs; nothing is chosen, so there is no likelihood")
        rest = Check("all others", "not run", "a model without choices is simulated and filtered, not fitted.")
        return ModelReport(found.describe(), (text, rest))
    if trials < 20:
        raise ModelError(f"recovery with {trials} trials says nothing; give at least 20.")
    if data is not None and (environment, n_options, outcome_range) != (None, None, None):
        raise ModelError("environment, options and outcomes are those of the data. Leave them out, or the data.")
    for situation in _situations(found, environment, n_options, outcome_range, trials, random_seed, data):
        checks = [_check_text(situation)]
        if checks[0].status == "passed":
            break
    if checks[0].status == "passed":
        checks += [_guarded(name, check, situation) for name, check in _CHECKS.items()]
    return ModelReport(found.describe(), tuple(checks))


def _situations(
    model: Model,
    environment: Any,
    n_options: int | None,
    outcome_range: tuple[float, float] | None,
    trials: int,
    seed: int,
    data: Any,
) -> Iterator[Situation]:
    """Return what the model is tried on; the first situation in which it runs is taken."""
    if data is not None:
        recorded = data if isinstance(data, Trials) else read_trials(data, model)
        yield RecordedSituation(model, {"outcome_range": recorded.outcome_range}, trials, seed, recorded)
        return
    for outcomes in [outcome_range] if outcome_range else [(0.0, 1.0), (-1.0, 1.0)]:
        settings = {"environment": environment, "n_options": n_options, "outcome_range": outcomes}
        yield Situation(model, settings, trials, seed)


def _chooses(model: Model) -> bool:
    """Whether the model makes a choice; True also if it does not run, which the first check reports."""
    try:
        return bool(trace(model, model.task() if isinstance(model.task, type) else model.task).log_probability)
    except FitrlError:
        return True


def _guarded(name: str, check: Callable[[Situation, str], Check], situation: Situation) -> Check:
    """Run a check; what goes wrong inside the model is a failure of the model."""
    try:
        with np.errstate(all="ignore"):  # a number that is none is what the checks look for
            return check(situation, name)
    except FitrlError as error:
        return Check(name, "failed", str(error), "Mend this first.")


def _check_text(situation: Situation) -> Check:
    try:
        with np.errstate(all="ignore"):
            program = situation.program
    except FitrlError as error:
        return Check(_TEXT, "failed", str(error), "The other checks need a model that runs.")
    names = ", ".join(program.parameters) or "none"
    low, high = situation.settings["outcome_range"]
    where = "on recorded trials" if isinstance(situation, RecordedSituation) else "with agents"
    return Check(
        _TEXT, "passed", f"runs, with symbols and {where} (outcomes {low:g} and {high:g}); parameters: {names}"
    )
