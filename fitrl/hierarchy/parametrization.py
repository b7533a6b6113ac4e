"""How subjects are sampled: as far from the population as their own choices place them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt


@dataclass(frozen=True)
class Information:
    """What subjects' own choices say of one parameter, as a normal likelihood on the link scale.

    Attributes
    ----------
    precision : ndarray, shape (subject,)
        One over the variance of that likelihood; 0 where choices say nothing.
    weighted : ndarray, shape (subject,)
        Its mean times its precision.
    """

    precision: np.ndarray
    weighted: np.ndarray


def subject_values(name: str, location: Any, scale: Any) -> Any:
    """Add the subjects of a population ``Normal(location, scale)`` to the model on the stack.

    Parameters
    ----------
    name : str
        The parameter, or that of a slope (`slope_name`).
    location, scale : tensor or float
        Of the population, on the link scale; one for all or one for each subject.

    Returns
    -------
    tensor, shape (subject,)
        Values on the link scale, non-centred until `inform` says what choices tell.

    Notes
    -----
    Were the likelihood of a subject's value normal, with precision p and mean m, its posterior given the population
    would have the mean ``(p m + location / scale^2) / (p + 1 / scale^2)`` and the variance ``1 / (p + 1 / scale^2)``.
    The free variable ``<name>_offset`` is the distance from that mean in that standard deviation: in that case
    it is standard normal and tells nothing of the population, which is easy to sample. With p = 0 this is the
    non-centred form; with a large p, the centred one. The posterior is the same for any p and m, since
    the prior of the offset follows from them: only the work to sample it differs.

    References
    ----------
    Papaspiliopoulos, Roberts & Sköld 2007, Statistical Science, 10.1214/088342307000000014 (partial
    non-centring). Differs from the source: the weight is not fixed, it follows `scale`.
    """
    n_subjects = len(pm.modelcontext(None).coords["subject"])
    precision = pm.Data(f"{name}_precision", np.zeros(n_subjects), dims="subject")
    weighted = pm.Data(f"{name}_weighted", np.zeros(n_subjects), dims="subject")
    informed = 1 + precision * scale**2
    sd = scale / pt.sqrt(informed)
    offset = pm.Normal(f"{name}_offset", sd * (precision * location - weighted), pt.sqrt(informed), dims="subject")
    return (location + weighted * scale**2) / informed + sd * offset


def slope_name(parameter: str, k: int) -> str:
    """Name the k-th slope of a parameter (from 0), as `subject_values` and `Information` go by it."""
    return f"{parameter}_slope_{k + 1}"


def inform(model: pm.Model, information: Mapping[str, Information]) -> None:
    """Tell a model what choices say of its subjects: it is sampled with less work, the posterior stays.

    Parameters
    ----------
    model : pymc.Model
        What `fitrl.build` made.
    information : mapping of str to Information
        By the `name` of `subject_values`.
    """
    for name, found in information.items():
        pm.set_data({f"{name}_precision": found.precision, f"{name}_weighted": found.weighted}, model=model)
