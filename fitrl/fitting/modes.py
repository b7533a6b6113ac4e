"""Subjects whose chains stayed in different modes: their values are drawn anew, by jumps, given the population.

Of many people one or two have choices that two sets of values explain about equally well, such as a high learning rate
with a low inverse temperature and the reverse. Chains hardly ever pass from one to the other, so that this subject does
not converge, however long they run, although hundreds of others and the population did long ago.

Given the population, a subject's values depend on this subject's choices alone. A Metropolis step that leaves that
conditional distribution as it is, applied to every draw, leaves the joint posterior as it is, too (one more step of a
Gibbs sampler); its proposals come from what all chains found together, and jump. What it cannot mend is a population
that has not converged: that is still judged by its own draws.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.replace import clone_replace
from scipy import stats

from fitrl.engine.trace import trace
from fitrl.fitting.verdict import R_HAT, R_HAT_SUBJECT, SHARE_SUBJECT
from fitrl.hierarchy.likelihood import part_of_likelihood

if TYPE_CHECKING:
    from fitrl.data import Trials
    from fitrl.hierarchy.plan import Plan

log = logging.getLogger("fitrl")

_MOST = 0.05  # share of the subjects; if more of them have not converged, it is no matter of single ones
_STEPS = 30
# Of the proposals: their number, and how much wider and heavier in the tails they are than what they are to find.
_PARTS, _WIDER, _DF = 16, 1.2, 5


def mend(
    model: pm.Model, plan: Plan, trials: Trials, idata: xr.DataTree, known: Mapping[str, xr.Dataset], random_seed: int
) -> tuple[str, ...]:
    """Draw single subjects anew on whom the chains of a fit do not agree, if there are any.

    Parameters
    ----------
    model, plan, trials, idata, random_seed
        As for `redraw`.
    known : mapping of str to Dataset
        Diagnostics of the values of all subjects, or of their cells.

    Returns
    -------
    tuple of str
        Who was redrawn.
    """
    who = stuck(known, model, plan, idata)
    if not who:
        return ()
    names = tuple(str(trials.subjects[i]) for i in who)
    log.info("Chains do not agree on subject %s; drawing anew, with jumps.", ", ".join(names))
    try:
        redraw(model, plan, trials, idata, who, random_seed)
    except (np.linalg.LinAlgError, ValueError) as error:  # draws that suggest no proposals
        log.warning("Subject %s stays as sampled: %s.", ", ".join(names), error)
        return ()
    return names


def stuck(known: Mapping[str, xr.Dataset], model: pm.Model, plan: Plan, idata: xr.DataTree) -> list[int]:
    """Find single subjects whose chains do not agree, where those of all others do.

    Parameters
    ----------
    known, model, plan, idata
        As for `mend`.

    Returns
    -------
    list of int
        Positions of subjects of whom a value has an R-hat above `R_HAT_SUBJECT`. Empty if they are more than one, or
        five per cent, if others have not converged either, or if the draws lack what it takes to redraw them.
    """
    kept = all(rv.name in idata["posterior"] for rv in model.free_RVs)
    # What was computed from the draws while sampling would not follow.
    if not kept or not _own(model) or idata["posterior"].sizes["chain"] < 2 or "log_likelihood" in idata.children:
        return []
    owner = np.concatenate([plan.designs[name].subject for name in plan.estimated])
    r_hat = np.concatenate([known["r_hat"][name].to_numpy() for name in plan.estimated])
    found = np.unique(owner[r_hat > R_HAT_SUBJECT])
    others = r_hat[~np.isin(owner, found)]
    settled = others.size > 0 and float(np.mean(~(others <= R_HAT))) <= SHARE_SUBJECT
    few = len(found) <= max(1.0, _MOST * len(model.coords["subject"]))
    return found.tolist() if settled and few else []


def redraw(
    model: pm.Model, plan: Plan, trials: Trials, idata: xr.DataTree, subjects: list[int], random_seed: int
) -> None:
    """Draw the values of some subjects anew, given the population in each draw, and put them into the posterior.

    Parameters
    ----------
    model : pymc.Model
        What was sampled.
    plan, trials
        What it was built from.
    idata : DataTree
        Its posterior, with every free variable, gets other draws of these subjects: of the free variables and of the
        values made of them.
    subjects : list of int
        Positions of the subjects.
    random_seed : int

    Notes
    -----
    Independence Metropolis steps (Tierney 1994, Annals of Statistics, 10.1214/aos/1176325750), 30 per draw, with
    proposals from a mixture of t distributions that together look like what all chains found of the subject. Proposals
    that are made from the draws which they are to replace bias these by the order of one over their number.
    """
    posterior, own = idata["posterior"].to_dataset(), _own(model)
    evaluate = _compiled(model, plan, trials, own, subjects)
    draws = {rv.name: posterior[rv.name].transpose("chain", "draw", ...).to_numpy() for rv in model.free_RVs}
    sizes = posterior.sizes["chain"], posterior.sizes["draw"]
    flat = {name: values.reshape(-1, *values.shape[2:]).copy() for name, values in draws.items()}
    rng = np.random.default_rng([random_seed, 136])  # a stream apart from that of the sampler
    # Shapes: (draw, step, subject, variable).
    shape = (sizes[0] * sizes[1], _STEPS)
    found = np.stack([draws[rv.name][..., subjects] for rv in own], axis=-1)
    proposed, current = np.empty((*shape, len(subjects), len(own))), np.empty((shape[0], len(subjects)))
    of_proposed = np.empty((*shape, len(subjects)))
    for i in range(len(subjects)):
        mixture = _mixture(found[:, :, i], rng)
        which = rng.integers(len(mixture), size=shape)
        for k, component in enumerate(mixture):
            proposed[which == k, i] = component.rvs((which == k).sum(), random_state=rng).reshape(-1, len(own))
        of_proposed[..., i] = _log_density(mixture, proposed[..., i, :])
        current[:, i] = _log_density(mixture, found[:, :, i].reshape(shape[0], -1))
    uniform = np.log(rng.random((*shape, len(subjects))))
    accepted = np.zeros(len(subjects))
    values: dict[str, list[np.ndarray]] = {name: [] for name in plan.estimated}
    for d in range(shape[0]):
        point = {name: array[d] for name, array in flat.items()}
        target, density = evaluate(point)[0], current[d]
        for step in range(_STEPS):
            before = {rv.name: point[rv.name][subjects] for rv in own}
            for k, rv in enumerate(own):
                point[rv.name][subjects] = proposed[d, step, :, k]
            there = evaluate(point)[0]
            yes = uniform[d, step] < (there - of_proposed[d, step]) - (target - density)
            for rv in own:
                point[rv.name][subjects] = np.where(yes, point[rv.name][subjects], before[rv.name])
            target, density = np.where(yes, there, target), np.where(yes, of_proposed[d, step], density)
            accepted += yes
        for name, at in zip(values, evaluate(point)[1], strict=True):
            values[name].append(at)
    log.info("accepted jumps: %s", ", ".join(f"{share:.0%}" for share in accepted / (shape[0] * _STEPS)))
    new = {rv.name: flat[rv.name].reshape(draws[rv.name].shape) for rv in own}
    for name, at in values.items():
        new[name] = posterior[name].transpose("chain", "draw", ...).to_numpy().copy()
        new[name][..., _cells(plan, name, subjects)] = np.stack(at).reshape(*sizes, -1)
    changed = {name: posterior[name].transpose("chain", "draw", ...).copy(data=v) for name, v in new.items()}
    idata["posterior"] = xr.DataTree(posterior.assign(changed))


def _own(model: pm.Model) -> list[Any]:
    """Free variables of which every subject has one."""
    return [rv for rv in model.free_RVs if model.named_vars_to_dims.get(rv.name) == ("subject",)]


def _cells(plan: Plan, name: str, subjects: list[int]) -> np.ndarray:
    """Cells of a parameter that belong to some subjects."""
    return np.flatnonzero(np.isin(plan.designs[name].subject, subjects))


def _compiled(model: pm.Model, plan: Plan, trials: Trials, own: list[Any], subjects: list[int]) -> Any:
    """Compile what a draw says of some subjects: from all free variables to their log densities, and their values."""
    inputs = {rv: rv.type() for rv in model.free_RVs}
    values = {name: model[name] for name in plan.estimated}
    likelihood, rows = part_of_likelihood(plan, trace(plan.model, trials.task), trials, subjects)
    fixed = {name: np.full(trials.n_subjects, value) for name, value in plan.fixed.items()}
    scores = likelihood.scores(values | fixed, {k: pt.as_tensor(v) for k, v in likelihood.arrays.items()}, {})
    natural = [value[_cells(plan, name, subjects)] for name, value in values.items()]
    outputs = [*[pm.logp(rv, inputs[rv])[subjects] for rv in own], *scores.values(), *natural]
    function = pytensor.function(
        list(inputs.values()), clone_replace(outputs, inputs, rebuild_strict=False), on_unused_input="ignore"
    )
    owners = [np.searchsorted(subjects, trials.frame["subject_idx"].to_numpy()[rows[name]]) for name in scores]

    def evaluate(point: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        found = function(*[point[rv.name] for rv in inputs])
        density = np.sum(found[: len(own)], axis=0)
        for owner, score in zip(owners, found[len(own) : len(own) + len(scores)], strict=True):
            density = density + np.bincount(owner, score, minlength=len(subjects))
        return np.where(np.isnan(density), -np.inf, density), found[len(own) + len(scores) :]

    return evaluate


def _mixture(draws: np.ndarray, rng: np.random.Generator) -> list[Any]:
    """Distributions that together look like a subject's draws, shape (chain, draw, variable), modes and all.

    Draws are parted by the nearest of some of them, equally many from every chain, on the scale of the whole.
    """
    n_chains, n_draws, n = draws.shape
    everything = draws.reshape(-1, n)
    scaled = everything / everything.std(axis=0)
    each = rng.integers(n_draws, size=(n_chains, max(_PARTS // n_chains, 1)))
    centres = scaled.reshape(draws.shape)[np.arange(n_chains)[:, None], each].reshape(-1, n)
    nearest = ((scaled[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    parts = [everything[nearest == k] for k in range(len(centres))]
    ridge = 1e-6 * np.eye(n)
    return [
        stats.multivariate_t(x.mean(axis=0), _WIDER * np.atleast_2d(np.cov(x.T)) + ridge, df=_DF)
        for x in [everything, *[part for part in parts if len(part) > 5 * n]]
    ]


def _log_density(mixture: list[Any], at: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce([component.logpdf(at) for component in mixture])
