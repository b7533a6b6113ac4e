"""Checks of what rows of data mean: company, missed and forced responses, resets, latents."""

from __future__ import annotations

import numpy as np

from fitrl.conformance.compiled import SAME, Scores, difference, scored_rows
from fitrl.conformance.interpreters import Rows
from fitrl.conformance.report import Check
from fitrl.conformance.situation import Situation
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import filter_rows
from fitrl.engine.run import spread as by_draw


def company(situation: Situation, name: str) -> Check:
    """Check that a subject counts the same alone, among others, and in another order."""
    played, rows = situation.gapped, situation.gapped.rows
    together = _by_row(situation, played.eta, rows)
    order = np.arange(rows.n_sequences)[::-1]
    moved = _by_row(situation, played.eta[:, order], rows.take(list(order)))
    back = {e: np.concatenate([v[rows.take(list(order)).sequence == s] for s in order]) for e, v in moved.items()}
    worst = max(difference(together[e], back[e]) for e in together)
    for s in range(rows.n_sequences):
        alone = _by_row(situation, played.eta[:, [s]], rows.take([s]))
        worst = max(worst, *[difference(v[rows.sequence == s], alone[e]) for e, v in together.items()])
    if not worst <= SAME:
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


def missed(situation: Situation, name: str) -> Check:
    """Check that missed responses are not scored and teach nothing."""
    played, rows = situation.gapped, situation.gapped.rows
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
    worst = max(difference(before[e], after[e]) for e in before)
    if not worst <= SAME:
        return Check(
            name,
            "failed",
            f"what stands in the cells of missed responses and hidden outcomes changes the log probabilities of other "
            f"trials by up to {worst:.3g}: the model learns from them.",
            "In between(), which runs in every row, use t.chosen(...) or where(t.responded(...), ..., ...); learn in "
            "trial().",
        )
    return Check(name, "passed", f"{n_missed} missed responses are not scored and teach nothing")


def forced(situation: Situation, name: str) -> Check:
    """Check that forced choices teach and are not scored."""
    played, rows = situation.gapped, situation.gapped.rows
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
        *[difference(masked[e][others], unmasked[e][others]) for e in masked],
        *[difference(taught[e], taught_free[e]) for e in taught],
    )
    counted = max(np.abs(masked[e][forced]).max() for e in emissions)
    if counted > 0 or not worst <= SAME:
        found = "forced choices are scored" if counted > 0 else f"whether it is scored changes others by {worst:.3g}"
        return Check(name, "failed", f"{found}.", "A forced choice teaches like any other and is not scored.")
    teaches = any(np.abs(effect).max(initial=0.0) > 0 for effect in taught.values())
    learns = "teach like any other" if teaches else "teach nothing, as no outcome does in this model"
    return Check(name, "passed", f"{int(forced.sum())} forced choices are not scored and {learns}")


def resets(situation: Situation, name: str) -> Check:
    """Check that a reset is a fresh start."""
    played, rows = situation.gapped, situation.gapped.rows
    split = np.cumsum(rows.columns["reset"]) - 1
    agent = rows.sequence[np.flatnonzero(rows.columns["reset"])]
    whole = _by_row(situation, played.eta, rows)
    parts = _by_row(situation, played.eta, Rows(rows.columns, split), agent)
    worst = max(difference(whole[e], parts[e]) for e in whole)
    if not worst <= SAME:
        return Check(
            name,
            "failed",
            f"a block after a reset is not the same as the block alone: log probabilities differ by {worst:.3g}.",
            "Everything that changes from trial to trial belongs into the state that start() returns.",
        )
    return Check(name, "passed", f"{int(rows.columns['reset'].sum())} fresh starts are the same as a first trial")


def latents(situation: Situation, name: str) -> Check:
    """Check that every declared latent is recorded, and a number."""
    played, rows = situation.gapped, situation.gapped.rows
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
