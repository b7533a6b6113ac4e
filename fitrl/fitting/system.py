"""From designs to the arrays of the quick fit, and back to the names of the posterior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from fitrl.fitting.mixed import System
from fitrl.hierarchy.build import normal_prior, separate_prior
from fitrl.hierarchy.plan import Plan
from fitrl.language.parameters import Prior


@dataclass
class Layout:
    """Which coefficient and which standard deviation is what.

    Attributes
    ----------
    coefficients : list of (str, tuple of str, slice)
        Variable, its dims, and where it stands.
    scales : list of (str, tuple of str, slice)
        The same for standard deviations.
    coords : dict
        Labels of the dims.
    means : dict of str to slice
        Locations that are the mean of several.
    """

    coefficients: list[tuple[str, tuple[str, ...], slice]] = field(default_factory=list)
    scales: list[tuple[str, tuple[str, ...], slice]] = field(default_factory=list)
    coords: dict[str, Any] = field(default_factory=dict)
    means: dict[str, slice] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)

    def cell_dim(self, name: str) -> str:
        """Dim along which the values of a parameter run."""
        return self.cells[name]

    def variables(self, b: np.ndarray, scale: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Dims and draws of every variable of the population, from draws of shape (draw, n)."""
        found = {}
        for values, known in ((b, self.coefficients), (scale, self.scales)):
            for name, dims, at in known:
                found[name] = (dims, values[:, at] if dims else values[:, at.start])
        return found | {name: ((), b[:, at].mean(axis=1)) for name, at in self.means.items()}


def make_system(plan: Plan, n_subjects: int) -> tuple[System, Layout]:
    """Put the designs of all estimated parameters into one linear system.

    Parameters
    ----------
    plan : Plan
        With partial or complete pooling; locations have normal priors, or the normal prior next to them.
    n_subjects : int

    Returns
    -------
    system : System
    layout : Layout
    """
    layout = Layout()
    fixed, random, owner = [], [], []
    prior: list[tuple[float, float]] = []
    group: list[int] = []
    scales: list[Prior] = []
    start: list[float] = []
    for name, p in plan.estimated.items():
        design = plan.designs[name]
        fixed.append(design.matrix)
        owner.append(design.subject)
        layout.cells[name] = "subject" if design.by_subject else f"{name}_cell"
        if not design.by_subject:
            layout.coords[f"{name}_cell"] = np.arange(len(design.subject))
        n, first = len(design.locations), len(prior)
        prior += [normal_prior(p.location)] * n
        if n == 1:
            layout.coefficients.append((f"{name}_mu", (), slice(first, first + 1)))
        else:
            layout.coords[f"{name}_location"] = list(design.locations)
            layout.coefficients.append((f"{name}_level", (f"{name}_location",), slice(first, first + n)))
            layout.means[f"{name}_mu"] = slice(first, first + n)
        if design.effects:
            priors = plan.effects[name]
            layout.coords[f"{name}_term"] = [column.name for column in design.effects]
            layout.coefficients.append(
                (f"{name}_effect", (f"{name}_term",), slice(len(prior), first + len(design.columns)))
            )
            prior += [(0.0, priors.sd(column.term) * column.spread) for column in design.effects]
        if plan.pooling == "complete":
            random.append(np.zeros((len(design.subject), 0)))
            continue
        columns = [np.ones((len(design.subject), 1))]
        layout.scales.append((f"{name}_sigma", (), slice(len(scales), len(scales) + 1)))
        group.append(len(scales))
        scales.append(p.scale)
        start.append(separate_prior(p)[1])
        if design.slopes is not None:
            slopes, n_terms = design.slopes, len(design.slopes.terms)
            columns.append(slopes.matrix * slopes.spread)
            layout.coords[f"{name}_slope"] = list(slopes.terms)
            layout.scales.append((f"{name}_slope_sigma", (f"{name}_slope",), slice(len(scales), len(scales) + n_terms)))
            group += [len(scales) + i for i in slopes.of_term]
            scales += [plan.effects[name].slopes] * n_terms
            start += [
                separate_prior(p.but(location=Prior("normal", (0.0, 1e-9)), scale=plan.effects[name].slopes))[1]
            ] * (n_terms)
        random.append(np.concatenate(columns, axis=1))
    mean, sd = np.array(prior).T
    system = System(
        block_diag(*fixed),
        block_diag(*random),
        np.concatenate(owner),
        n_subjects,
        mean,
        sd,
        np.array(group, dtype=int),
        scales,
        np.array(start),
    )
    return system, layout
