"""Checks that all interpreters of the text agree: plain, compiled, reference, simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from fitrl.conformance.compiled import SAME, CompiledLikelihood, Scores, difference, scored_rows
from fitrl.conformance.identify import scored_agents, trial_scores
from fitrl.conformance.interpreters import Rows, run_plain
from fitrl.conformance.report import Check
from fitrl.conformance.situation import Situation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows
from fitrl.engine.run import spread as by_draw

_Z = 4.5  # beyond it a standard normal number falls once in 150,000
_AGENTS_SIMULATED, _TRIALS_SIMULATED = 100, 60


def plain(situation: Situation, name: str) -> Check:
    """Check that the compiled code gives what plain Python numbers give."""
    played = situation.gapped
    by_hand = run_plain(situation.model, played.task, situation.natural(played.eta), played.rows)
    return _compared(
        situation,
        name,
        _at_scored(situation, by_hand, played.rows),
        situation.fast(played.eta, played.rows)[0],
        "compiled code and plain Python numbers agree",
        "The model keeps something outside of its state, or branches on a value: keep it in s, and use where().",
    )


def reference(situation: Situation, name: str) -> Check:
    """Check that the compiled code gives what `pytensor.scan` gives."""
    played = situation.gapped
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
    situation: Situation, name: str, expected: Scores, found: Scores, agree: str, advice: str, tolerance: float = SAME
) -> Check:
    """Compare log probabilities, emission by emission."""
    worst = max((difference(expected[emission], found[emission]) for emission in expected), default=0.0)
    if not worst <= tolerance:
        return Check(name, "failed", f"log probabilities differ by up to {worst:.3g}.", advice)
    return Check(name, "passed", f"{agree} (largest difference {worst:.1g})")


def _at_scored(situation: Situation, by_row: Scores, rows: Rows) -> Scores:
    return {emission: by_row[emission][at] for emission, at in scored_rows(situation.program, rows).items()}


def simulator(situation: Situation, name: str) -> Check:
    """Check that simulated choices have the entropy and the slopes that the likelihood foretells."""
    if situation.cannot_play:
        return Check(name, "not run", situation.cannot_play)
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
