"""The likelihood of every subject with its gradient, as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytensor
import pytensor.tensor as pt

from fitrl.data import Trials
from fitrl.engine.trace import trace
from fitrl.fitting.mixed import CellLikelihood
from fitrl.fitting.population import Likelihood
from fitrl.hierarchy.likelihood import plan_likelihood, scored_rows
from fitrl.hierarchy.links import natural, slope
from fitrl.hierarchy.plan import Plan


def subject_likelihood(plan: Plan, trials: Trials) -> Likelihood:
    """Compile the log-likelihood of every subject and its gradient, with one value per subject and parameter.

    Parameters
    ----------
    plan : Plan
        Model, fixed values and links; where its designs have several cells per subject, these share a value.
    trials : Trials
        The data.

    Returns
    -------
    callable
        From link-scale values of the estimated parameters, shape (parameter, subject), to log-likelihoods,
        shape (subject,), and their gradient, shape (parameter, subject).
    """
    of_cells = cell_likelihood(plan, trials)
    owners = {name: plan.designs[name].subject for name in plan.estimated}

    def subjects(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, slopes = of_cells({name: x[owners[name]] for name, x in zip(owners, eta, strict=True)})
        by_subject = [np.bincount(o, weights=slopes[n], minlength=trials.n_subjects) for n, o in owners.items()]
        return total, np.stack(by_subject)

    return subjects


def stacked_likelihood(plan: Plan, trials: Trials) -> CellLikelihood:
    """Compile what `cell_likelihood` does, with the cells of all parameters one after the other in one array.

    Parameters
    ----------
    plan, trials
        As in `subject_likelihood`.

    Returns
    -------
    callable
        From link-scale values, shape (cell,), to log-likelihoods, shape (subject,), and their gradient, shape (cell,).
    """
    of_cells = cell_likelihood(plan, trials)
    names = list(plan.estimated)
    ends = np.cumsum([len(plan.designs[name].subject) for name in names])

    def stacked(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, gradient = of_cells(dict(zip(names, np.split(eta, ends[:-1]), strict=True)))
        return total, np.concatenate([gradient[name] for name in names])

    return stacked


def cell_likelihood(
    plan: Plan, trials: Trials
) -> Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Compile the log-likelihood of every subject and its gradient, in the cells of the designs.

    Parameters
    ----------
    plan, trials
        As in `subject_likelihood`.

    Returns
    -------
    callable
        From link-scale values of the estimated parameters, by name, shape (cell,), to log-likelihoods, shape
        (subject,), and their gradient, by name, shape (cell,).
    """
    program = trace(plan.model, trials.task)
    likelihood = plan_likelihood(plan, program, trials, "fast")
    values = {name: pt.dvector(name) for name in plan.parameters}
    arrays = {name: pytensor.shared(array, name) for name, array in likelihood.arrays.items()}
    scores = list(likelihood.scores(values, arrays, {}).values())
    # Subjects do not depend on each other: the gradient of the sum holds the gradient of each of them.
    gradient = pytensor.grad(pt.add(*[s.sum() for s in scores]), [values[name] for name in plan.estimated])
    function = pytensor.function(list(values.values()), [*scores, *gradient], mode="NUMBA", on_unused_input="ignore")
    owner = trials.frame["subject_idx"].to_numpy()[np.concatenate(list(scored_rows(program, trials).values()))]
    held = {name: np.full(trials.n_subjects, value) for name, value in plan.fixed.items()}

    def of_cells(eta: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        given, slopes = dict(held), {}
        with np.errstate(over="ignore", invalid="ignore"):  # far off the result is infinite or NaN, which callers check
            for name, p in plan.estimated.items():
                given[name] = natural(eta[name], p.link, p.lower, p.upper)
                slopes[name] = slope(eta[name], p.link, p.lower, p.upper)
            found = function(*(given[name] for name in values))
            by_row = np.concatenate(found[: len(scores)])
            total = np.bincount(owner, weights=by_row, minlength=trials.n_subjects)
            return total, {name: slopes[name] * g for name, g in zip(slopes, found[len(scores) :], strict=True)}

    return of_cells
