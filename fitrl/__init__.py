"""Hierarchical Bayesian fitting of reinforcement-learning models to choice data.

The names below are all there is to remember; they are imported when first used, so that
``import fitrl`` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "read_trials": "fitrl.data",
    "Trials": "fitrl.data",
    "fit": "fitrl.fitting.fit",
    "Fit": "fitrl.fitting.fit",
    "build": "fitrl.fitting.fit",
    "load": "fitrl.fitting.store",
    "save": "fitrl.fitting.store",
    "latents": "fitrl.fitting.predict",
    "write_events": "fitrl.fitting.events",
    "derived": "fitrl.fitting.derived",
    "design": "fitrl.fitting.fit",
    "effects": "fitrl.fitting.effects",
    "cells": "fitrl.fitting.effects",
    "correlations": "fitrl.fitting.correlations",
    "contrast": "fitrl.fitting.effects",
    "reliability": "fitrl.fitting.reliability",
    "effect_prior": "fitrl.fitting.effect_prior",
    "plot_effect_prior": "fitrl.show.effect_prior",
    "plot_effects": "fitrl.show.effects",
    "plot_reliability": "fitrl.show.reliability",
    "simulate": "fitrl.fitting.simulate",
    "Perturbation": "fitrl.perturb.perturbation",
    "Target": "fitrl.perturb.perturbation",
    "Evidence": "fitrl.perturb.perturbation",
    "Moderator": "fitrl.perturb.perturbation",
    "read_perturbation": "fitrl.perturb.perturbation",
    "perturbation": "fitrl.perturb.catalogue",
    "perturbations": "fitrl.perturb.catalogue",
    "population": "fitrl.perturb.population",
    "crossover": "fitrl.perturb.population",
    "two_groups": "fitrl.perturb.population",
    "phases": "fitrl.perturb.phases",
    "compare_signatures": "fitrl.perturb.signatures",
    "dose_response": "fitrl.perturb.signatures",
    "lookalikes": "fitrl.perturb.lookalikes",
    "estimate": "fitrl.perturb.inverse",
    "detect": "fitrl.perturb.detection",
    "plot_signatures": "fitrl.perturb.figures",
    "plot_dose": "fitrl.perturb.figures",
    "plot_lookalikes": "fitrl.perturb.figures",
    "plot_power": "fitrl.perturb.power_report",
    "recover": "fitrl.study.recovery",
    "calibrate": "fitrl.study.calibration",
    "check_model": "fitrl.conformance.suite",
    "compare": "fitrl.comparison.compare",
    "check_predictions": "fitrl.show.predictions",
    "Behaviour": "fitrl.show.predictions",
    "plot_comparison": "fitrl.show.comparison",
    "summary": "fitrl.show.summary",
    "plot_group": "fitrl.show.figures",
    "plot_subjects": "fitrl.show.figures",
    "plot_trace": "fitrl.show.figures",
    "plot_learning": "fitrl.show.report",
    "plot_stay": "fitrl.show.report",
    "plot_accuracy": "fitrl.show.report",
    "plot_reversal": "fitrl.show.report",
    "plot_transfer": "fitrl.show.report",
    "plot_set_size": "fitrl.show.report",
    "plot_shares": "fitrl.show.report",
    "plot_by": "fitrl.show.by",
    "FitrlError": "fitrl.errors",
    "DataError": "fitrl.errors",
    "ModelError": "fitrl.errors",
    "FitError": "fitrl.errors",
    "StudyError": "fitrl.errors",
}

_PACKAGES = ("datasets", "engine", "language", "models", "tasks")

__all__ = sorted([*_WHERE, *_PACKAGES])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name in _PACKAGES:
        return import_module(f"fitrl.{name}")
    raise AttributeError(f"module 'fitrl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
