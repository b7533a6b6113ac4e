"""The likelihood of every subject with its gradient, as a function of arrays."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt

from fitrl.data import Trials
from fitrl.engine.trace import trace
from fitrl.fitting.population import Likelihood
from fitrl.hierarchy.likelihood import plan_likelihood, scored_rows
from fitrl.hierarchy.links import natural, slope
from fitrl.hierarchy.plan import Plan


def subject_likelihood(plan: Plan, trials: Trials) -> Likelihood:
    """Compile the log-likelihood of every subject and its gradient.

    Parameters
    ----------
    plan : Plan
        Model, fixed values and links.
    trials : Trials
        The data.

    Returns
    -------
    callable
        From link-scale values of the estimated parameters, shape (parameter, subject), to log-likelihoods,
        shape (subject,), and their gradient, shape (parameter, subject).
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

    def subjects(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parameters = list(plan.estimated.values())
        with np.errstate(over="ignore", invalid="ignore"):  # far off the result is infinite or NaN, which callers check
            natural_values = [natural(x, p.link, p.lower, p.upper) for p, x in zip(parameters, eta, strict=True)]
            slopes = np.stack([slope(x, p.link, p.lower, p.upper) for p, x in zip(parameters, eta, strict=True)])
            given = dict(zip(plan.estimated, natural_values, strict=True)) | held
            found = function(*(given[name] for name in values))
            by_row = np.concatenate(found[: len(scores)])
            total = np.bincount(owner, weights=by_row, minlength=trials.n_subjects)
            return total, slopes * np.stack(found[len(scores) :])

    return subjects
