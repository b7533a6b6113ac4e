"""Symbols to PyTensor: the same expression, on tensors over subjects."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from fitrl.language.symbols import LEAVES, Symbol, walk


def _log_ndtr(x: Any) -> Any:
    # log Phi(x) = log(erfc(-x / sqrt 2) / 2); erfcx keeps the far left tail finite.
    z = x / 2**0.5
    left = pt.log(pt.erfcx(-pt.minimum(z, 0.0)) / 2) - pt.minimum(z, 0.0) ** 2
    right = pt.log1p(-pt.erfc(pt.maximum(z, 0.0)) / 2)
    return pt.switch(x < 0, left, right)


def _logaddexp(x: Any, y: Any) -> Any:
    # The larger one is a constant to derivatives: the result does not depend on what is taken out.
    top = disconnected_grad(pt.maximum(x, y))
    return top + pt.log(pt.exp(x - top) + pt.exp(y - top))


def _constant(x: Any) -> Any:
    # PyTensor refuses the truth values of Python.
    return np.asarray(x) if isinstance(x, bool) else x


def _truth(x: Any) -> Any:
    # A truth value that went through the state is a float, and bits of floats do not combine.
    return pt.neq(x, 0)


OPERATIONS: dict[str, Callable] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": pt.abs,
    "exp": pt.exp,
    "log": pt.log,
    "log1p": pt.log1p,
    "expm1": pt.expm1,
    "sqrt": pt.sqrt,
    "tanh": pt.tanh,
    "sigmoid": pt.sigmoid,
    "softplus": pt.softplus,
    "logaddexp": _logaddexp,
    "log_ndtr": _log_ndtr,
    "maximum": pt.maximum,
    "minimum": pt.minimum,
    "lt": pt.lt,
    "le": pt.le,
    "gt": pt.gt,
    "ge": pt.ge,
    "eq": pt.eq,
    "ne": pt.neq,
    "and": lambda x, y: pt.and_(_truth(x), _truth(y)),
    "or": lambda x, y: pt.or_(_truth(x), _truth(y)),
    "where": pt.switch,
    "held": disconnected_grad,
}


def lower(roots: Iterable[Any], leaves: Mapping[tuple, Any]) -> list[Any]:
    """Translate expressions to PyTensor.

    Parameters
    ----------
    roots : iterable of Symbol or number
        Expressions.
    leaves : mapping
        From ``(op, *args)`` of an input, such as ``("parameter", "alpha")``, to its tensor.

    Returns
    -------
    list
        One tensor (or number, for a constant) per root.
    """
    roots = list(roots)
    done: dict[int, Any] = {}
    for symbol in walk(roots):
        if symbol.op in LEAVES:
            done[id(symbol)] = leaves[(symbol.op, *symbol.args)]
        else:
            args = [done[id(a)] if isinstance(a, Symbol) else _constant(a) for a in symbol.args]
            done[id(symbol)] = OPERATIONS[symbol.op](*args)
    return [done[id(root)] if isinstance(root, Symbol) else root for root in roots]
