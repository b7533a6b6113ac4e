"""exp, log and friends in plain arithmetic, so that LLVM can run them on many subjects at once.

Calls into the C library stop LLVM from vectorising a loop. These are written with multiplications, additions,
selections and bit patterns only: within 2 ulp of the true value (see ``tests/test_engine_vector_math.py``), right at
the ends (overflow, subnormals, -inf, nan), and without conversions that only some processors vectorise.
No fast-math flag that may reorder operations is allowed here: the range reductions depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

FASTMATH = {"contract"}  # fused multiply-add only: it never loses a nan, an infinity or the order

inline: Callable = njit(inline="always", fastmath=FASTMATH, error_model="numpy")

# What an emitted kernel may call.
FUNCTIONS = ("exp", "expm1", "log", "log1p", "log1p_unit", "exp_unit", "tanh", "sqrt", "fabs", "select", "row")

_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest whole number in the low bits
_MAGIC_BITS = 0x4338000000000000
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TINY = 2.2250738585072014e-308


@intrinsic
def bits(typingctx: Any, x: Any) -> tuple:
    """Bit pattern of a float64 as int64."""
    return types.int64(types.float64), lambda c, builder, s, args: builder.bitcast(args[0], ir.IntType(64))


@intrinsic
def from_bits(typingctx: Any, x: Any) -> tuple:
    """float64 with the bit pattern of an int64."""
    return types.float64(types.int64), lambda c, builder, s, args: builder.bitcast(args[0], ir.DoubleType())


@intrinsic
def select(typingctx: Any, condition: Any, x: Any, y: Any) -> tuple:
    """X where the condition holds, else y; both are computed, there is no branch."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    both = types.boolean if x == types.boolean and y == types.boolean else types.float64
    return both(types.boolean, both, both), codegen


@intrinsic
def row(typingctx: Any, array: Any, step: Any) -> tuple:
    """Pointer to a row of a C-ordered array; one with a single axis is a row itself.

    A view of an array costs two changes of its reference count and six numbers to pass: more than the arithmetic of
    a short row.
    """
    if array.layout != "C":
        raise TypingError(f"rows of {array} are not contiguous")

    def codegen(context, builder, signature, args):
        found = context.make_array(array)(context, builder, args[0])
        if array.ndim == 1:
            return found.data
        width = builder.extract_value(found.shape, array.ndim - 1)
        return builder.gep(found.data, [builder.mul(args[1], width)])

    return types.CPointer(array.dtype)(array, types.int64), codegen


def _llvm(name: str) -> Callable:
    @intrinsic
    def call(typingctx, x):
        def codegen(context, builder, signature, args):
            function = builder.module.declare_intrinsic(f"llvm.{name}", [ir.DoubleType()])
            return builder.call(function, args)

        return types.float64(types.float64), codegen

    return call


fabs = _llvm("fabs")
sqrt = _llvm("sqrt")


@inline
def _power_of_two(k_shifted):
    """2**k from k + _MAGIC."""
    return from_bits((bits(k_shifted) - _MAGIC_BITS + 1023) << 52)


@inline
def _reduced(x):
    """Split x = k ln 2 + r; returns k + _MAGIC, k, and exp(r) - 1."""
    shifted = x * _LOG2_E + _MAGIC
    k = shifted - _MAGIC
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 2.511003841271279e-08  # (exp(r) - 1 - r) / r**2 to 1e-16, fitted by Remez's algorithm
    p = p * r + 2.7620078077899605e-07
    p = p * r + 2.755724236714201e-06
    p = p * r + 2.480152131712652e-05
    p = p * r + 0.00019841269886564073
    p = p * r + 0.0013888888917200626
    p = p * r + 0.008333333333322215
    p = p * r + 0.04166666666662415
    p = p * r + 0.16666666666666674
    p = p * r + 0.5000000000000001
    return shifted, k, r + r * r * p


@inline
def exp(x):
    """Exponential; 0 and inf beyond the range, subnormals included, nan for nan."""
    x = select(x > 710.0, 710.0, select(x < -750.0, -750.0, x))
    _, k, m = _reduced(x)
    half = k * 0.5 + _MAGIC  # two factors, since 2**k alone may leave the range of normal numbers
    rest = k - (half - _MAGIC) + _MAGIC
    return (1.0 + m) * _power_of_two(half) * _power_of_two(rest)


@inline
def exp_unit(x):
    """Exponential of x up to 0, such as -|z| or what a softmax takes its largest logit from; below 1e-307 it is 0."""
    shifted, _, m = _reduced(x)
    scale = _power_of_two(shifted)
    return select(x < -707.0, 0.0, scale * m + scale)


@inline
def expm1(x):
    """exp(x) - 1, accurate near 0."""
    y = select(x > 700.0, 700.0, select(x < -60.0, -60.0, x))
    shifted, _, m = _reduced(y)
    scale = _power_of_two(shifted)
    small = scale * m + (scale - 1.0)
    return select(x > 700.0, exp(x), small)


@inline
def _log_polynomial(z):
    """Compute log((1 + s) / (1 - s)) / s - 2 from z = s * s up to 0.03."""
    p = 1.479819860511658591e-01
    p = p * z + 1.531383769920937332e-01
    p = p * z + 1.818357216161805012e-01
    p = p * z + 2.222219843214978396e-01
    p = p * z + 2.857142874366239149e-01
    p = p * z + 3.999999999940941908e-01
    p = p * z + 6.666666666666735130e-01
    return p * z


@inline
def log(x):
    """Natural logarithm; -inf at 0, nan below."""
    is_tiny = x < _TINY
    y = select(is_tiny, x * 18014398509481984.0, x)
    pattern = bits(y)
    k = (pattern - 0x3FE6A09E667F3BCD) >> 52
    m = from_bits(pattern - (k << 52))
    exponent = from_bits(k + _MAGIC_BITS) - _MAGIC - select(is_tiny, 54.0, 0.0)
    f = m - 1.0
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    r = s * (half_square + _log_polynomial(s * s))
    value = exponent * _LN2_HIGH - ((half_square - (r + exponent * _LN2_LOW)) - f)
    value = select(x == 0.0, -float("inf"), value)
    value = select(x == float("inf"), x, value)
    return select(x >= 0.0, value, float("nan"))


@inline
def log1p(x):
    """Logarithm of 1 + x, accurate near 0."""
    u = 1.0 + x
    value = log(u) + (x - (u - 1.0)) / u
    value = select(u == 0.0, -float("inf"), value)
    return select(x == float("inf"), x, value)


@inline
def log1p_unit(x):
    """Logarithm of 1 + x for x between 0 and 1, such as exp(-|z|) of a softplus: one division, no special cases."""
    is_large = x > 0.41421356237309503  # then 1 + x = 2 (1 + f)
    f = select(is_large, 0.5 * x - 0.5, x)
    k = select(is_large, 1.0, 0.0)
    half_square = 0.5 * f * f
    s = f / (2.0 + f)
    r = s * (half_square + _log_polynomial(s * s))
    return k * _LN2_HIGH - ((half_square - (r + k * _LN2_LOW)) - f)


@inline
def tanh(x):
    """Hyperbolic tangent."""
    t = expm1(-2.0 * fabs(x))
    value = -t / (t + 2.0)
    return select(x < 0.0, -value, value)
