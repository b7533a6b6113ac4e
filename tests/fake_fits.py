"""Fits whose draws are given, so that nothing is compiled or sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from fitrl.fitting.fit import Fit
from fitrl.fitting.spec import FitSpec, ParameterSpec
from fitrl.fitting.verdict import Verdict
from fitrl.models import find


def fake_fit(
    model: str, trials: Any, draws: dict[str, np.ndarray], *, status: str = "converged", **options: Any
) -> Fit:
    """Make a fit from subjects' natural-scale draws, shape (chain, draw, subject); there is no population."""
    declared = find(model, **options)
    parameters = tuple(
        ParameterSpec(n, p.description, p.link, p.lower, p.upper, p.unit, str(p.location), str(p.scale))
        for n, p in declared.fitted(trials.task).items()
    )
    n_chains, n_draws = next(iter(draws.values())).shape[:2] if draws else (1, 1)
    coords = {"chain": np.arange(n_chains), "draw": np.arange(n_draws), "subject": trials.subjects}
    posterior = xr.Dataset({n: (("chain", "draw", "subject"), v) for n, v in draws.items()}, coords=coords)
    spec = FitSpec(
        model,
        None,
        (),
        dict(declared.options),
        parameters,
        "none",
        {},
        "default",
        status == "quick",
        1,
        {},
        (),
        {},
        {},
    )
    return Fit(spec, trials, xr.DataTree.from_dict({"posterior": posterior}), Verdict(status, (), n_chains, n_draws))
