"""Checks of what choices say about parameters: identified, and recovered."""

from __future__ import annotations

from fitrl.conformance.identify import flat_directions, recover, scored_agents, trial_scores
from fitrl.conformance.report import Check
from fitrl.conformance.situation import Situation

_R = 0.7
_AGENTS_RECOVERED = 40


def identified(situation: Situation, name: str) -> Check:
    """Check that no direction in the parameters leaves all choices as probable as they were."""
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


def recovered(situation: Situation, name: str) -> Check:
    """Check that known parameters come back."""
    if not situation.parameters:
        return Check(name, "passed", "there is no parameter")
    if situation.cannot_play:
        return Check(name, "not run", situation.cannot_play)
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
