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
    precision : ndarray, shape (subject,) or (subject, column)
        One over the variance of that likelihood; 0 where choices say nothing.
    weighted : ndarray, of the same shape
        Its mean times its precision.
    """

    precision: np.ndarray
    weighted: np.ndarray


def subject_values(name: str, location: Any, scale: Any, dims: tuple[str, ...] = ("subject",)) -> Any:
    """Add the subjects of a population ``Normal(location, scale)`` to the model on the stack.

    Parameters
    ----------
    name : str
        The parameter, or ``<parameter>_slope``.
    location, scale : tensor or float
        Of the population, on the link scale; as many as there are values, or such that they broadcast.
    dims : tuple of str
        Of the values.

    Returns
    -------
    tensor
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
    shape = tuple(len(pm.modelcontext(None).coords[dim]) for dim in dims)
    precision = pm.Data(f"{name}_precision", np.zeros(shape), dims=dims)
    weighted = pm.Data(f"{name}_weighted", np.zeros(shape), dims=dims)
    informed = 1 + precision * scale**2
    sd = scale / pt.sqrt(informed)
    offset = pm.Normal(f"{name}_offset", sd * (precision * location - weighted), pt.sqrt(informed), dims=dims)
    return (location + weighted * scale**2) / informed + sd * offset


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
