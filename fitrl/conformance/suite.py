"""Check a model: everything that must hold before its fits can be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fitrl.conformance.compiled import CompiledLikelihood, Scores, scored_rows
from fitrl.conformance.identify import flat_directions, recover, scored_agents, trial_scores
from fitrl.conformance.interpreters import Rows, run_plain
from fitrl.conformance.report import Check, ModelReport
from fitrl.conformance.situation import Situation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows, log_probabilities
from fitrl.engine.run import spread as by_draw
from fitrl.engine.trace import trace
from fitrl.errors import FitrlError, ModelError
from fitrl.hierarchy.build import separate_prior
from fitrl.hierarchy.links import link_of, natural
from fitrl.language.model import Model
from fitrl.language.parameters import Parameter
from fitrl.models import declare

_SAME = 1e-9  # largest difference of log probabilities that rounding explains
_GRADIENT = 1e-6
_Z = 4.5  # beyond it a standard normal number falls once in 150,000
_R = 0.7
_AGENTS_SIMULATED, _TRIALS_SIMULATED = 100, 60
_AGENTS_RECOVERED = 40

_TEXT = "the text of the model"


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
) -> ModelReport:
    """Check a model of the zoo or of a user's file.

    Agents of the model play its task; their data, with missed, forced and hidden trials, blocks and unequal lengths,
    are what the checks look at.

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

    Returns
    -------
    ModelReport
        ``report.passed``, ``print(report)``, ``report.to_frame()``. Whatever is wrong with the model is a line of the
        report, never an error.

    Raises
    ------
    ModelError
        If there is no such model, trait or option.

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
    for outcomes in [outcome_range] if outcome_range else [(0.0, 1.0), (-1.0, 1.0)]:
        settings = {"environment": environment, "n_options": n_options, "outcome_range": outcomes}
        situation = Situation(found, settings, trials, random_seed)
        checks = [_check_text(situation)]
        if checks[0].status == "passed":
            break
    if checks[0].status == "passed":
        checks += [_guarded(check, situation) for check in _NAMES]
    return ModelReport(found.describe(), tuple(checks))


def _chooses(model: Model) -> bool:
    """Whether the model makes a choice; True also if it does not run, which the first check reports."""
    try:
        return bool(trace(model, model.task() if isinstance(model.task, type) else model.task).log_probability)
    except FitrlError:
        return True


def _guarded(check: Callable[[Situation], Check], situation: Situation) -> Check:
    """Run a check; what goes wrong inside the model is a failure of the model."""
    try:
        with np.errstate(all="ignore"):  # a number that is none is what the checks look for
            return check(situation)
    except FitrlError as error:
        return Check(_NAMES[check], "failed", str(error), "Mend this first.")


def _check_text(situation: Situation) -> Check:
    try:
        with np.errstate(all="ignore"):
            program = situation.program
    except FitrlError as error:
        return Check(_TEXT, "failed", str(error), "The other checks need a model that runs.")
    names = ", ".join(program.parameters) or "none"
    low, high = situation.settings["outcome_range"]
    return Check(
        _TEXT, "passed", f"runs, with symbols and with agents (outcomes {low:g} and {high:g}); parameters: {names}"
    )


# Numbers ------------------------------------------------------------------------------------------


def _finite(situation: Situation) -> Check:
    name, played = _NAMES[_finite], situation.gapped
    usual = _where_not_finite(situation, played.eta)
    if usual:
        return Check(
            name,
            "failed",
            f"not finite at usual values: {usual}.",
            "Look for the log of 0, a division by 0, or an exp that overflows.",
        )
    for j, (parameter, declared) in enumerate(situation.parameters.items()):
        for value in near_bounds(declared):
            eta = played.eta.copy()
            eta[j] = link_of(value, declared.link, declared.lower, declared.upper)
            if _where_not_finite(situation, eta):
                return Check(
                    name,
                    "failed",
                    f"not finite at {parameter} = {value:g}, though it is at usual values.",
                    "The sampler will get there: write the expression so that it holds near the bound, or narrow the "
                    "range of the parameter.",
                )
    n = 2 * len(situation.parameters)
    return Check(name, "passed", f"at usual values of {played.eta.shape[1]} agents and at {n} values near bounds")


def near_bounds(parameter: Parameter) -> tuple[float, float]:
    """Return values near the ends of a parameter's range; where there is no end, four prior sds away.

    Examples
    --------
    >>> from fitrl.language import unit
    >>> near_bounds(unit("learning rate"))
    (1e-06, 0.999999)
    """
    if np.isfinite(parameter.upper):
        width = parameter.upper - parameter.lower
        return parameter.lower + 1e-6 * width, parameter.upper - 1e-6 * width
    location, spread = separate_prior(parameter)
    far = location + np.array([-4.0, 4.0]) * spread
    low, high = natural(far, parameter.link, parameter.lower, parameter.upper)
    return float(low), float(high)


def _where_not_finite(situation: Situation, eta: np.ndarray) -> str:
    """Name the first number that is not finite; empty if all are."""
    scores, gradient = situation.fast(eta, situation.gapped.rows)
    for emission, score in scores.items():
        if not np.isfinite(score).all():
            return f"the log probability of {emission}"
    for parameter, row in zip(situation.parameters, gradient, strict=True):
        if not np.isfinite(row).all():
            return f"the gradient in {parameter}"
    return ""


def _gradient(situation: Situation) -> Check:
    name, played = _NAMES[_gradient], situation.gapped
    if not situation.parameters:
        return Check(name, "passed", "there is no parameter")
    exact = situation.fast(played.eta, played.rows)[1]
    errors = []
    for step in (1e-3, 1e-5):  # the small one for cells next to a kink, such as the sign of a prediction error
        numeric = _differences(situation, step)
        errors.append(np.abs(exact - numeric) / (1 + np.abs(numeric)))
    error = np.minimum(*errors).max(axis=1)
    worst = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
    parameter = list(situation.parameters)[worst]
    if not error[worst] <= _GRADIENT:
        return Check(
            name,
            "failed",
            f"differs from finite differences in {parameter} by {error[worst]:.2g} (relative).",
            "A jump or a kink of the likelihood misleads the sampler: write what changes abruptly with a parameter as "
            "something smooth. If there is none, this is a fault of the engine: please report it with the model.",
        )
    return Check(name, "passed", f"equals finite differences, to {error[worst]:.1g} (relative)")


def _differences(situation: Situation, step: float) -> np.ndarray:
    """Central differences of every agent's log-likelihood by the filter, shape (parameter, agent)."""
    played, rows = situation.gapped, situation.gapped.rows
    steps = np.array([1, -1, 2, -2]) * step
    shifted = np.repeat(played.eta[:, None, :], 4 * len(played.eta), axis=1)
    for j in range(len(shifted)):
        shifted[j, 4 * j : 4 * j + 4] += steps[:, None]
    located = {n: Located(v, np.arange(rows.n_sequences)) for n, v in situation.natural(shifted).items()}
    found = log_probabilities(situation.model, played.task, located, rows.columns, lay_out(rows.sequence))
    total = np.zeros((len(shifted[0]), rows.n_sequences))
    for emission, score in found.items():
        at = np.flatnonzero(rows.columns[f"mask_{emission}"])
        np.add.at(total.T, rows.sequence[at], score[:, at].T)
    up, down, far_up, far_down = (total[k::4] for k in range(4))
    return (8 * (up - down) - (far_up - far_down)) / (12 * step)


# Interpreters -------------------------------------------------------------------------------------


def _plain(situation: Situation) -> Check:
    played, name = situation.gapped, _NAMES[_plain]
    by_hand = run_plain(situation.model, played.task, situation.natural(played.eta), played.rows)
    return _compared(
        situation,
        name,
        _at_scored(situation, by_hand, played.rows),
        situation.fast(played.eta, played.rows)[0],
        "compiled code and plain Python numbers agree",
        "The model keeps something outside of its state, or branches on a value: keep it in s, and use where().",
    )


def _reference(situation: Situation) -> Check:
    played, name = situation.gapped, _NAMES[_reference]
    two = played.rows.take([0, 1])
    scan = CompiledLikelihood(situation.program, situation.parameters, two, "reference")
    return _compared(
        situation,
        name,
        scan(played.eta[:, :2], two)[0],
        situation.fast(played.eta[:, :2], two)[0],
        "compiled code and pytensor.scan agree",
        "This is a fault of the engine: please report it with the model.",
    )


def _compared(
    situation: Situation, name: str, expected: Scores, found: Scores, agree: str, advice: str, tolerance: float = _SAME
) -> Check:
    """Compare log probabilities, emission by emission."""
    worst = max((_difference(expected[emission], found[emission]) for emission in expected), default=0.0)
    if not worst <= tolerance:
        return Check(name, "failed", f"log probabilities differ by up to {worst:.3g}.", advice)
    return Check(name, "passed", f"{agree} (largest difference {worst:.1g})")


def _difference(x: np.ndarray, y: np.ndarray) -> float:
    """Largest difference, relative where numbers are above 1."""
    return float((np.abs(x - y) / (1 + np.abs(x))).max(initial=0.0))


def _at_scored(situation: Situation, by_row: Scores, rows: Rows) -> Scores:
    return {emission: by_row[emission][at] for emission, at in scored_rows(situation.program, rows).items()}


def _simulator(situation: Situation) -> Check:
    name = _NAMES[_simulator]
    if situation.model.prepared:
        return Check(name, "not run", "the model prepares columns from data, so it cannot play without data.")
    played = situation.play(_AGENTS_SIMULATED, _TRIALS_SIMULATED, situation.seed + 1)
    agent, n = scored_agents(situation, played), _AGENTS_SIMULATED
    z = {}
    surprise, certain = _surprise(situation, played)
    if certain is None:
        z["log-likelihood"] = float(surprise.sum() / np.sqrt((surprise**2).sum())) if surprise.any() else 0.0
    elif certain:
        return Check(name, "failed", certain, "Use policies of fitrl.language, whose probabilities add up to 1.")
    if situation.parameters:
        slopes = trial_scores(situation, played)
        for parameter, slope in zip(situation.parameters, slopes.T, strict=True):
            by_agent = np.bincount(agent, slope, minlength=n)
            if by_agent.std() > 0:
                z[parameter] = float(by_agent.mean() / by_agent.std(ddof=1) * np.sqrt(n))
    worst = max(z, key=lambda key: abs(z[key]), default="")
    if worst and not abs(z[worst]) <= _Z:
        what = "the mean log-likelihood" if worst == "log-likelihood" else f"the mean slope in {worst}"
        return Check(
            name,
            "failed",
            f"simulated choices do not follow the likelihood: {what} is {abs(z[worst]):.1f} standard errors off.",
            "The trial does something else when it is played than when it is scored: it must not depend on the kind "
            "of t, on random numbers of its own, or on anything outside of s, p and t.",
        )
    size = f"{n} agents x {_TRIALS_SIMULATED} trials"
    largest = f"largest deviation {max(map(abs, z.values()), default=0.0):.1f} standard errors"
    return Check(name, "passed", f"simulated choices follow the likelihood ({size}, {largest})")


def _surprise(situation: Situation, played: Any) -> tuple[np.ndarray, str | None]:
    """Log probability of each scored choice plus the entropy before it: 0 on average if choices follow the model.

    Also says what is wrong with the probabilities: None if nothing is, "" if a response is measured and not chosen.
    """
    rows, lanes = played.rows, np.arange(played.rows.n_sequences)
    located = {n: Located(v[None, :], lanes) for n, v in situation.natural(played.eta).items()}
    found = []
    for at, places, t in filter_rows(
        situation.model, played.task, located, rows.columns, lay_out(played.rows.sequence)
    ):
        for emission, score in t.log_probability.items():
            if emission not in t.probabilities:
                return np.zeros(0), ""
            logs = [by_draw(cell, len(lanes), located)[0, places] for cell in t.probabilities[emission].cells()]
            p = np.exp(logs)
            off = float(np.abs(p.sum(axis=0) - 1).max(initial=0.0))
            if not off <= 1e-8:
                return np.zeros(0), f"the probabilities of {emission} add up to 1 only within {off:.2g}."
            entropy = -np.where(p > 0, p * logs, 0.0).sum(axis=0)
            difference = by_draw(score, len(lanes), located)[0, places] + entropy
            found.append(difference[rows.columns[f"mask_{emission}"][at]])
    return np.concatenate(found), None


# Data ---------------------------------------------------------------------------------------------


def _company(situation: Situation) -> Check:
    played, rows, name = situation.gapped, situation.gapped.rows, _NAMES[_company]
    together = _by_row(situation, played.eta, rows)
    order = np.arange(rows.n_sequences)[::-1]
    moved = _by_row(situation, played.eta[:, order], rows.take(list(order)))
    back = {e: np.concatenate([v[rows.take(list(order)).sequence == s] for s in order]) for e, v in moved.items()}
    worst = max(_difference(together[e], back[e]) for e in together)
    for s in range(rows.n_sequences):
        alone = _by_row(situation, played.eta[:, [s]], rows.take([s]))
        worst = max(worst, *[_difference(v[rows.sequence == s], alone[e]) for e, v in together.items()])
    if not worst <= _SAME:
        return Check(
            name,
            "failed",
            f"the log probabilities of a subject change by up to {worst:.3g} with the other subjects in the data.",
            "Nothing may be computed over subjects inside of a trial, or in prepare().",
        )
    return Check(name, "passed", "a subject alone, among others of other lengths, or in another order: the same")


def _by_row(situation: Situation, eta: np.ndarray, rows: Rows, cell: np.ndarray | None = None) -> Scores:
    """Log probabilities by row, 0 where it is not scored."""
    found = {}
    scores, _ = situation.fast(eta, rows, cell)
    for emission, at in scored_rows(situation.program, rows).items():
        found[emission] = np.zeros(len(rows.sequence))
        found[emission][at] = scores[emission]
    return found


def _missed(situation: Situation) -> Check:
    played, rows, name = situation.gapped, situation.gapped.rows, _NAMES[_missed]
    changed: dict[str, np.ndarray] = {}
    n_missed = 0
    for column in played.task.columns:
        given = rows.columns.get(f"{column.name}_given")
        if given is None or column.name not in rows.columns:
            continue
        values = rows.columns[column.name]
        if column.kind == "choice":
            changed[column.name] = np.where(given, values, played.task.size(column.name) - 1 - values)
            n_missed = max(n_missed, int((~given).sum()))
        elif column.kind == "outcome":
            changed[column.name] = np.where(given & rows.columns["mask_update"], values, 0.77)
        elif column.kind == "number":
            changed[column.name] = np.where(given, values, 0.77)
    for emission in situation.program.log_probability:
        scored = rows.columns[f"mask_{emission}"] & ~rows.columns[f"{emission}_given"]
        if scored.any():
            return Check(name, "failed", f"missed responses of {emission} are scored.", "")
    before, after = situation.fast(played.eta, rows)[0], situation.fast(played.eta, rows.but(**changed))[0]
    worst = max(_difference(before[e], after[e]) for e in before)
    if not worst <= _SAME:
        return Check(
            name,
            "failed",
            f"what stands in the cells of missed responses and hidden outcomes changes the log probabilities of other "
            f"trials by up to {worst:.3g}: the model learns from them.",
            "In between(), which runs in every row, use t.chosen(...) or where(t.responded(...), ..., ...); learn in "
            "trial().",
        )
    return Check(name, "passed", f"{n_missed} missed responses are not scored and teach nothing")


def _forced(situation: Situation) -> Check:
    played, rows, name = situation.gapped, situation.gapped.rows, _NAMES[_forced]
    emissions = [e for e in situation.program.log_probability if e in played.task.choices()]
    forced = np.zeros(len(rows.sequence), bool)
    for emission in emissions:
        forced |= rows.columns[f"{emission}_given"] & ~rows.columns[f"mask_{emission}"]
    if not forced.any():
        return Check(name, "not run", "no trial could be made a forced choice.")
    free = rows.but(**{f"mask_{e}": rows.columns[f"{e}_given"] for e in emissions})
    outcomes = [c.name for c in played.task.columns if c.kind == "outcome" and c.name in rows.columns]
    low, high = played.task.outcome_range
    other = {o: np.where(forced, low + high - rows.columns[o], rows.columns[o]) for o in outcomes}
    others = ~forced
    effects = []
    for data in (rows, free):
        before, after = (_by_row(situation, played.eta, d) for d in (data, data.but(**other)))
        effects.append((before, {e: (after[e] - before[e])[others] for e in before}))
    (masked, taught), (unmasked, taught_free) = effects
    worst = max(
        *[_difference(masked[e][others], unmasked[e][others]) for e in masked],
        *[_difference(taught[e], taught_free[e]) for e in taught],
    )
    counted = max(np.abs(masked[e][forced]).max() for e in emissions)
    if counted > 0 or not worst <= _SAME:
        found = "forced choices are scored" if counted > 0 else f"whether it is scored changes others by {worst:.3g}"
        return Check(name, "failed", f"{found}.", "A forced choice teaches like any other and is not scored.")
    teaches = any(np.abs(effect).max(initial=0.0) > 0 for effect in taught.values())
    learns = "teach like any other" if teaches else "teach nothing, as no outcome does in this model"
    return Check(name, "passed", f"{int(forced.sum())} forced choices are not scored and {learns}")


def _resets(situation: Situation) -> Check:
    played, rows, name = situation.gapped, situation.gapped.rows, _NAMES[_resets]
    split = np.cumsum(rows.columns["reset"]) - 1
    agent = rows.sequence[np.flatnonzero(rows.columns["reset"])]
    whole = _by_row(situation, played.eta, rows)
    parts = _by_row(situation, played.eta, Rows(rows.columns, split), agent)
    worst = max(_difference(whole[e], parts[e]) for e in whole)
    if not worst <= _SAME:
        return Check(
            name,
            "failed",
            f"a block after a reset is not the same as the block alone: log probabilities differ by {worst:.3g}.",
            "Everything that changes from trial to trial belongs into the state that start() returns.",
        )
    return Check(name, "passed", f"{int(rows.columns['reset'].sum())} fresh starts are the same as a first trial")


def _latents(situation: Situation) -> Check:
    played, rows, name = situation.gapped, situation.gapped.rows, _NAMES[_latents]
    lanes = np.arange(rows.n_sequences)
    located = {n: Located(v[None, :], lanes) for n, v in situation.natural(played.eta).items()}
    recorded: set[str] = set()
    broken: set[str] = set()
    for at, places, t in filter_rows(situation.model, played.task, located, rows.columns, lay_out(rows.sequence)):
        recorded |= {*t.latents, *t.before.fields()}
        teaches = rows.columns["mask_update"][at]
        for latent, value in t.latents.items():
            cells = value.cells() if hasattr(value, "cells") else [value]
            shown = np.array([by_draw(cell, len(lanes), located)[0, places][teaches] for cell in cells])
            if not np.isfinite(shown).all():
                broken.add(latent)
    declared = situation.model.latents()
    missing = [latent for latent in declared if latent not in recorded]
    if missing:
        return Check(
            name,
            "failed",
            f"declared but never recorded: {', '.join(missing)}.",
            f"Write t.record({missing[0]}=...) in trial(), keep it in the state, or remove the declaration.",
        )
    if broken:
        return Check(
            name,
            "failed",
            f"not a number on trials that teach: {', '.join(sorted(broken))}.",
            "Look for a division by 0 or the log of 0 in what is recorded.",
        )
    return Check(name, "passed", f"all {len(declared)} declared latents are there")


# Parameters ---------------------------------------------------------------------------------------


def _identified(situation: Situation) -> Check:
    name = _NAMES[_identified]
    if not situation.parameters:
        return Check(name, "passed", "there is no parameter")
    played = situation.play(_AGENTS_RECOVERED, situation.trials, situation.seed + 2)
    slopes = trial_scores(situation, played)
    directions = flat_directions(slopes, scored_agents(situation, played), list(situation.parameters))
    if not directions:
        return Check(name, "passed", "no direction in the parameters leaves every choice as probable as it was")
    parts = []
    for direction in directions:
        if len(direction) == 1:
            parts.append(f"{next(iter(direction))} changes nothing")
            continue
        weights = ", ".join(f"{parameter} {weight:+.2f}" for parameter, weight in direction.items())
        parts.append(f"these parameters cannot be told apart: {', '.join(direction)} (direction {weights})")
    return Check(
        name,
        "failed",
        f"{'; '.join(parts)}.",
        "Fix one of them (or remove it). If it only shows with other outcomes or another environment, say so to the "
        "check.",
    )


def _recovered(situation: Situation) -> Check:
    name = _NAMES[_recovered]
    if not situation.parameters:
        return Check(name, "passed", "there is no parameter")
    if situation.model.prepared:
        return Check(name, "not run", "the model prepares columns from data, so it cannot play without data.")
    found = recover(situation, situation.play(_AGENTS_RECOVERED, situation.trials, situation.seed + 2))
    size = f"{found.n_agents} agents x {found.n_trials} trials"
    listed = ", ".join(f"{parameter} {r:.2f}" for parameter, r in found.r.items())
    weak = [parameter for parameter, r in found.r.items() if not r >= _R]
    if not weak:
        return Check(name, "passed", f"correlation of truth and estimate, {size}: {listed}")
    learned = ", ".join(f"{parameter} {max(found.learned[parameter], 0.0):.0%}" for parameter in weak)
    return Check(
        name,
        "warning",
        f"correlation of truth and estimate, {size}: {listed}. Hardly known for single subjects: {', '.join(weak)} "
        f"(share of the population's variance that choices explain: {learned}).",
        "More trials, a richer task, or no conclusions about single subjects from these.",
    )


_NAMES: dict[Callable[[Situation], Check], str] = {
    _finite: "finite",
    _gradient: "gradient",
    _plain: "plain interpreter",
    _reference: "reference engine",
    _simulator: "simulator",
    _company: "other subjects",
    _missed: "missed responses",
    _forced: "forced choices",
    _resets: "resets",
    _identified: "identified",
    _recovered: "recovery",
    _latents: "latents",
}
