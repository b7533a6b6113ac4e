"""Sampling: our defaults, the retry ladder, and one set of names for what samplers report."""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends.arviz import patch_nutpie_idata
from pymc.progress_bar.progress import NutpieProgressBarManager
from pymc.util import get_random_generator

from fitrl.errors import FitError, FitInterrupted
from fitrl.fitting.pilot import Pilot
from fitrl.language.state import unknown

log = logging.getLogger("fitrl")

Starts = Callable[[int | None], dict[str, np.ndarray]]

DEFAULTS: dict[str, Any] = {"draws": 1000, "tune": 1000, "chains": 4, "target_accept": 0.9}
LADDER = (0.95, 0.99)

# Arguments of pm.sample that `_run_nutpie` understands; any other goes to pm.sample itself.
_OURS = {"draws", "tune", "chains", "cores", "random_seed", "progressbar", "quiet", "nuts", "target_accept"} | {
    "discard_tuned_samples",
    "initvals",
    "var_names",
    "compute_convergence_checks",
}

# What PyMC passes on to NUTS; the rest of its **kwargs would be swallowed by its own sampler.
_NUTS = ("nuts", "target_accept", "max_treedepth")

_STATS = {
    "maxdepth_reached": "reached_max_treedepth",
    "depth": "tree_depth",
    "mean_tree_accept": "acceptance_rate",
}


def check_sample_kwargs(kwargs: Mapping[str, Any]) -> None:
    """Refuse what `pm.sample` does not know.

    Raises
    ------
    FitError
        Naming the nearest known argument.
    """
    known = {name for name, p in inspect.signature(pm.sample).parameters.items() if p.kind != p.VAR_KEYWORD}
    known = (known | set(_NUTS)) - {"model", "return_inferencedata"}
    for name in kwargs:
        if name not in known:
            raise FitError(f"pm.sample: {unknown('argument', name, sorted(known))}")


def sample(
    model: pm.Model, kwargs: Mapping[str, Any], pilot: Pilot | None = None
) -> tuple[xr.DataTree, tuple[dict, ...], dict[str, float]]:
    """Sample, and again with a higher target acceptance while there are divergences.

    Parameters
    ----------
    model : pymc.Model
        What `fitrl.build` made.
    kwargs : mapping
        For `pm.sample`; our `DEFAULTS` fill what is not given. The usual ones run nutpie without PyMC in
        between, which saves its compilation; the draws are the same.
    pilot : Pilot, optional
        Where chains start, unless ``initvals`` are among the arguments.

    Returns
    -------
    idata : DataTree
        With harmonised ``sample_stats``.
    attempts : tuple of dict
        Target acceptance and divergences of each attempt.
    timings : dict of str to float
        Seconds to compile and to sample, over all attempts.
    """
    check_sample_kwargs(kwargs)
    arguments = {**DEFAULTS, "cores": min(DEFAULTS["chains"], _n_cores()), **kwargs}
    starts = None
    if pilot is not None and pilot.population and arguments.get("initvals") is None:
        offsets = {name: np.zeros_like(values) for name, values in pilot.start(0).items()}
        arguments["initvals"], starts = {**pilot.population, **offsets}, pilot.start
    nuts = dict(arguments.pop("nuts", None) or {})
    ladder = [nuts.pop("target_accept", arguments.pop("target_accept")), *LADDER]
    if nuts:
        arguments["nuts"] = nuts
    attempts: list[dict[str, Any]] = []
    timings = {"compile": 0.0, "sample": 0.0}
    started = time.perf_counter()
    run = _nutpie(model, arguments, starts) if _is_nutpie(arguments) else partial(_pymc, model)
    for rung, target in enumerate(ladder):
        if rung and target <= ladder[0]:
            continue
        idata = _tidied(run(arguments | _with_target(arguments, target)))
        elapsed = time.perf_counter() - started
        sampling = float(idata["posterior"].attrs.get("sampling_time", np.nan))
        sampling = sampling if 0 <= sampling <= elapsed else elapsed
        timings["compile"] += elapsed - sampling
        timings["sample"] += sampling
        started = time.perf_counter()
        sizes = idata["posterior"].sizes
        interrupted = sizes["draw"] < arguments["draws"] or sizes["chain"] < arguments["chains"]
        divergences = int(idata["sample_stats"]["diverging"].sum())
        attempts.append({"target_accept": target, "divergences": divergences, "interrupted": interrupted})
        if divergences == 0 or interrupted:
            break
        if rung < len(ladder) - 1:
            log.warning("%d divergences at target acceptance %g; sampling again higher.", divergences, target)
    return idata, tuple(attempts), timings


def _with_target(arguments: Mapping[str, Any], target: float) -> dict[str, Any]:
    """Put the target acceptance where the other NUTS options are: PyMC refuses it in both places."""
    nuts = arguments.get("nuts")
    return {"nuts": {**nuts, "target_accept": target}} if nuts else {"target_accept": target}


def _n_cores() -> int:
    """Count the cores at our disposal; PyMC halves their number, which leaves one of two idle."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_per_chain(kwargs: Mapping[str, Any]) -> int:
    """Cores that each of the chains that run at a time may use, given the arguments of `sample`."""
    n_cores = kwargs.get("cores") or _n_cores()
    return n_cores // min(kwargs.get("chains") or DEFAULTS["chains"], n_cores)


def _is_nutpie(arguments: Mapping[str, Any]) -> bool:
    """Whether the call is one that nutpie can answer without PyMC in between."""
    others = {name for name, value in arguments.items() if name not in _OURS and value is not None}
    named = others == {"nuts_sampler"} and arguments["nuts_sampler"] == "nutpie"
    return (not others or named) and isinstance(arguments.get("initvals"), dict | None)


def _pymc(model: pm.Model, arguments: Mapping[str, Any]) -> xr.DataTree:
    # PyMC's own checks print for some samplers and not for others; the verdict replaces them.
    return pm.sample(model=model, **{"compute_convergence_checks": False, **arguments})


def _nutpie(
    model: pm.Model, arguments: Mapping[str, Any], starts: Starts | None
) -> Callable[[Mapping[str, Any]], xr.DataTree]:
    """Compile once for all attempts; what is returned samples as `pm.sample` would."""
    from fitrl.fitting.compiled import compile_model

    compiled = compile_model(
        model, initial_points=arguments.get("initvals"), starts=starts, var_names=arguments.get("var_names")
    )
    return partial(_run_nutpie, model, compiled)


def _run_nutpie(model: pm.Model, compiled: Any, arguments: Mapping[str, Any]) -> xr.DataTree:
    import nutpie

    nuts = dict(arguments.get("nuts") or {})
    nuts.setdefault("target_accept", arguments.get("target_accept"))
    if "max_treedepth" in nuts:
        nuts["maxdepth"] = nuts.pop("max_treedepth")
    # The seed that pm.sample would give: the same call gives the same draws through either door.
    seed = get_random_generator(arguments.get("random_seed")).spawn(arguments["chains"])[0].integers(2**30)
    progressbar = arguments.get("progressbar", True) and not arguments.get("quiet")
    progress = NutpieProgressBarManager(arguments["chains"], arguments["draws"], progressbar)
    started = time.perf_counter()
    with progress:
        idata = nutpie.sample(
            compiled,
            draws=arguments["draws"],
            tune=max(arguments["tune"], 1),  # nutpie panics at 0
            chains=arguments["chains"],
            cores=arguments["cores"],
            seed=int(seed),
            save_warmup=not arguments.get("discard_tuned_samples", True),
            progress_bar=False,
            progress_callback=progress.update,
            **nuts,
        )
    patch_nutpie_idata(idata, model, sampling_time=time.perf_counter() - started)
    return idata


def _tidied(idata: xr.DataTree) -> xr.DataTree:
    """Give the statistics one set of names, and keep whole draws only."""
    stats = idata["sample_stats"].to_dataset()
    idata["sample_stats"] = xr.DataTree(
        stats.rename({k: v for k, v in _STATS.items() if k in stats and v not in stats})
    )
    return _whole_draws(idata)


def _whole_draws(idata: xr.DataTree) -> xr.DataTree:
    """After an interruption keep the draws that every started chain has; chains without any draw go."""
    posterior = idata["posterior"].to_dataset()
    finite = xr.ones_like(idata["sample_stats"].to_dataset()["diverging"], dtype=bool)
    for variable in posterior.values():
        extra = [d for d in variable.dims if d not in ("chain", "draw")]
        finite = finite & (variable.notnull().all(extra) if extra else variable.notnull())
    counts = finite.sum("draw")
    if bool((counts == posterior.sizes["draw"]).all()):
        return idata
    kept = counts[counts > 0]
    if kept.size == 0:
        raise FitInterrupted("sampling was interrupted before the first draw; nothing was kept.")
    cut = {"chain": kept["chain"], "draw": posterior["draw"][: int(kept.min())]}
    for group in ("posterior", "sample_stats"):
        idata[group] = xr.DataTree(idata[group].to_dataset().sel(cut))
    return idata
