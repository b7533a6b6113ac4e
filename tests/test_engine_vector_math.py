"""exp, log and friends within a few units in the last place, and right at the ends."""

import math

import mpmath
import numpy as np
import pytest
from numba import njit

from fitrl.engine import vector_math

RNG = np.random.default_rng(0)
SMALL = RNG.normal(size=300) * 1e-8
RANGES = {
    "exp": [RNG.uniform(-708, 709.7, 1500), RNG.normal(size=1500), SMALL],
    "exp_unit": [RNG.uniform(-707, 0, 1500), -np.abs(RNG.normal(size=1500)), -np.abs(SMALL)],
    "expm1": [RNG.uniform(-50, 709, 1500), RNG.normal(size=1500), SMALL],
    "log": [np.exp(RNG.uniform(-740, 709, 1500)), 1 + RNG.normal(size=800) * 1e-3, RNG.random(1000) * 3],
    "log1p": [RNG.random(1500), np.exp(RNG.uniform(-100, 100, 800)), -RNG.random(800), SMALL],
    "log1p_unit": [RNG.random(1500), np.exp(-np.linspace(0, 745, 1500)), np.array([0.0, 1.0])],
    "tanh": [RNG.normal(size=1500), RNG.normal(size=500) * 10, SMALL],
}
ENDS = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, -1.0, 710.0, 709.7, 709.9, -745.0, -744.0, -746.0, -708.5, 1e308]
ENDS += [-1e308, 5e-324, -5e-324, 2.2e-308, -1e-300, 1e-310, 1e-17, -1e-17, 40.0, -40.0, 700.5]
# What a function is not made for; exp_unit gives 0 a little earlier than exp.
BEYOND = {"log1p_unit": lambda v: v < 0 or v > 1, "exp_unit": lambda v: v > 0 or -745.5 < v < -707}


def on_arrays(name):
    """Function of vector_math, compiled as the kernels are."""
    function = getattr(vector_math, name)

    @njit(fastmath=vector_math.FASTMATH, error_model="numpy")
    def loop(x, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i])

    def call(x):
        out = np.empty_like(x)
        loop(x, out)
        return out

    return call


@pytest.fixture(scope="module", params=RANGES)
def compiled(request):
    return request.param, on_arrays(request.param)


def test_within_three_units_in_the_last_place(compiled):
    name, function = compiled
    x = np.concatenate(RANGES[name])
    with mpmath.workprec(200):
        exact = [getattr(mpmath, name.removesuffix("_unit"))(mpmath.mpf(float(v))) for v in x]
        off = [abs(mpmath.mpf(float(y)) - z) / math.ulp(float(z)) for y, z in zip(function(x), exact, strict=True)]
    assert max(off) < 3, f"{float(max(off)):.2f} at {x[np.argmax(off)]!r}"


def test_ends(compiled):
    name, function = compiled
    x = np.array([v for v in ENDS if not BEYOND.get(name, lambda v: False)(v)])  # nan stays
    with np.errstate(all="ignore"):
        expected = getattr(np, name.removesuffix("_unit"))(x)
    # Equal infinities and nan; subnormal results may be off by their own small unit.
    np.testing.assert_allclose(function(x), expected, rtol=1e-15, atol=5e-324)


def test_exponentials_never_step_back():
    x = np.sort(np.concatenate([np.linspace(-1, 1, 4001), np.linspace(-700, 700, 4001)]))
    assert (np.diff(on_arrays("exp")(x)) >= 0).all()


def test_small_exponentials_are_zero_rather_than_subnormal():
    np.testing.assert_array_equal(on_arrays("exp_unit")(np.array([-707.1, -708.5, -744.0])), 0.0)
    assert on_arrays("exp_unit")(np.array([-706.9]))[0] > 0


def test_select_fabs_and_sqrt():
    x = np.array([-2.0, 0.0, 4.0, np.inf, -np.inf, np.nan])

    @njit
    def loop(x, out):
        for i in range(x.shape[0]):
            out[0, i] = vector_math.select(x[i] > 0.0, x[i], -1.0)
            out[1, i] = vector_math.fabs(x[i])
            out[2, i] = vector_math.sqrt(x[i])

    out = np.empty((3, len(x)))
    loop(x, out)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, [np.where(x > 0, x, -1), np.abs(x), np.sqrt(x)])
