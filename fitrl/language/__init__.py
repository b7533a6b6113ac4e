"""What a model author writes with.

A model is the trial, written once. Everything else (likelihood, simulator, latents) is derived from that
text, so it uses the functions of this module, which work on numbers, arrays and symbols alike.
"""

from fitrl.language.model import Model, Trait
from fitrl.language.parameters import derived, lapse, latent, option, positive, real, unit
from fitrl.language.policies import (
    bernoulli_logit,
    lognormal,
    mix,
    normal,
    probabilities,
    probit,
    softmax,
    uniform,
)
from fitrl.language.state import State
from fitrl.language.tables import (
    Table,
    absolute,
    exp,
    expm1,
    filled,
    largest,
    log,
    log1p,
    log_sum_exp,
    maximum,
    minimum,
    onehot,
    sigmoid,
    softplus,
    sqrt,
    table,
    tanh,
    total,
    where,
)

__all__ = [
    "Model",
    "State",
    "Table",
    "Trait",
    "absolute",
    "bernoulli_logit",
    "derived",
    "exp",
    "expm1",
    "filled",
    "lapse",
    "largest",
    "latent",
    "log",
    "log1p",
    "log_sum_exp",
    "lognormal",
    "maximum",
    "minimum",
    "mix",
    "normal",
    "onehot",
    "option",
    "positive",
    "probabilities",
    "probit",
    "real",
    "sigmoid",
    "softmax",
    "softplus",
    "sqrt",
    "table",
    "tanh",
    "total",
    "uniform",
    "unit",
    "where",
]
