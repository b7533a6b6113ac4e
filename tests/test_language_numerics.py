"""Policies and functions at the ends of their ranges, on numbers and compiled."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_ndtr

from fitrl.language import (
    bernoulli_logit,
    log_sum_exp,
    lognormal,
    mix,
    normal,
    probabilities,
    probit,
    sigmoid,
    softmax,
    softplus,
    table,
    uniform,
)
from fitrl.language.symbols import Symbol
from fitrl.language.tables import log_normal_cdf, logaddexp

GAPS = np.array([-1e4, -745.0, -37.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 37.0, 745.0, 1e4])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_softmax_is_finite_and_ordered_at_extreme_logits(n):
    for gap in GAPS:
        policy = softmax(table([gap, *[0.0] * (n - 1)]))
        every = np.array([float(x) for x in policy.log_probs()])
        assert np.isfinite(every).all()
        assert math.isclose(np.exp(every).sum(), 1.0, rel_tol=1e-12)
        exact = -np.logaddexp(0.0, math.log(n - 1) - gap)
        assert math.isclose(policy.log_prob(0), exact, rel_tol=1e-12, abs_tol=0.0 if n == 2 else 1e-15)
        assert math.isclose(every[0], exact, rel_tol=1e-12, abs_tol=1e-11)


def test_two_options_are_the_logistic_of_the_difference():
    for x, y in [(1.3, 0.2), (-2.0, 5.0), (300.0, -300.0)]:
        policy = softmax(table([x, y]))
        for at, gap in ((0, x - y), (1, y - x)):
            assert policy.log_prob(at) == -np.logaddexp(0.0, -gap)
            assert math.isclose(policy.log_prob(at), bernoulli_logit(-gap).log_prob(0), rel_tol=1e-15)
    tiny = softmax(table([0.0, 40.0])).log_prob(1)  # 1 - 4e-18: a difference of logs would give 0
    assert tiny < 0
    assert math.isclose(tiny, -math.exp(-40.0), rel_tol=1e-12)


def test_lapse_tends_to_its_share():
    for n in (2, 4):
        policy = mix(0.04, uniform(n), softmax(table([-1e4, *[0.0] * (n - 1)])))
        assert math.isclose(policy.log_prob(0), math.log(0.04 / n), rel_tol=1e-12)
        assert math.isclose(float(policy.log_probs()[0]), math.log(0.04 / n), rel_tol=1e-12)


def test_mixture_of_two_policies():
    first, second = softmax(table([1.0, 0.0, -1.0])), probabilities(table([0.2, 0.5, 0.3]))
    policy = mix(0.3, first, second)
    for at, p in enumerate((0.2, 0.5, 0.3)):
        expected = 0.3 * math.exp(first.log_prob(at)) + 0.7 * p
        assert math.isclose(policy.log_prob(at), math.log(expected), rel_tol=1e-12)


TAILS = np.array([-1e6, -300.0, -40.0, -38.0, -20.0, -8.0, -1.0, -1e-8, 0.0, 1e-8, 1.0, 5.0, 8.0, 20.0, 37.0, 40.0])


def test_log_normal_cdf_in_the_tails_on_numbers():
    np.testing.assert_allclose(log_normal_cdf(TAILS), log_ndtr(TAILS), rtol=1e-14)
    assert math.isclose(probit(-3.0).log_prob(1), stats.norm.logcdf(-3.0), rel_tol=1e-13)
    assert math.isclose(probit(-3.0).log_prob(0), stats.norm.logsf(-3.0), rel_tol=1e-13)


def test_densities():
    assert math.isclose(normal(1.0, 2.0).log_density(4.0), stats.norm.logpdf(4.0, 1.0, 2.0), rel_tol=1e-13)
    expected = stats.lognorm.logpdf(0.7, 0.4, scale=math.exp(-0.3))
    assert math.isclose(lognormal(-0.3, 0.4).log_density(0.7), expected, rel_tol=1e-13)
    draws = lognormal(-0.3, 0.4).sample(np.random.default_rng(1), 200_000)
    assert math.isclose(np.log(draws).mean(), -0.3, abs_tol=0.005)
    assert math.isclose(np.log(draws).std(), 0.4, abs_tol=0.005)


def test_nothing_warns_at_the_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (np.array([-1e4, 0.0, 1e4]), 1e4, -1e4):
            assert np.isfinite(softplus(x)).all()
            assert ((sigmoid(x) >= 0) & (sigmoid(x) <= 1)).all()
            assert np.isfinite(logaddexp(x, 0.0)).all()
            assert np.isfinite(log_sum_exp(table([x, 0.0, -x]))).all()


def test_compiled_ends():
    """One graph for all: values against numbers, derivatives against their closed forms."""
    points = np.concatenate([GAPS, TAILS])
    parts = {
        "two": lambda x: softmax(table([x, 0.0])).log_prob(0),
        "three": lambda x: softmax(table([x, 0.0, 0.0])).log_prob(0),
        "lapse": lambda x: mix(0.04, uniform(2), softmax(table([x, 0.0]))).log_prob(0),
        "lapse three": lambda x: mix(0.04, uniform(3), softmax(table([x, 0.0, 0.0]))).log_prob(0),
        "mixed": lambda x: mix(0.5, softmax(table([x, 0.0])), softmax(table([2 * x, 0.0]))).log_prob(0),
        "probit": lambda x: probit(x).log_prob(1),
        "sigmoid": sigmoid,
    }
    import pytensor
    import pytensor.tensor as pt

    from fitrl.engine.lower import lower

    x = pt.dvector("x")
    roots = [build(Symbol("column", "x")) for build in parts.values()]
    outs = lower(roots, {("column", "x"): x})
    function = pytensor.function([x], [*outs, *[pytensor.grad(out.sum(), x) for out in outs]])
    results = function(points)
    values = dict(zip(parts, results[: len(parts)], strict=True))
    slopes = dict(zip(parts, results[len(parts) :], strict=True))
    for name, build in parts.items():
        np.testing.assert_allclose(values[name], build(points), rtol=1e-12, atol=1e-14, err_msg=name)
        assert np.isfinite(values[name]).all(), name
        assert np.isfinite(slopes[name]).all(), name
    q = np.exp(-np.logaddexp(0.0, points))  # probability of the other option
    np.testing.assert_allclose(slopes["two"], q, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(slopes["three"], 2 / (2 + np.exp(np.minimum(points, 700))), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(values["probit"], log_ndtr(points), rtol=1e-12, atol=1e-300)
    hazard = np.exp(stats.norm.logpdf(points) - log_ndtr(points))
    near = np.abs(points) < 1e3
    np.testing.assert_allclose(slopes["probit"][near], hazard[near], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(slopes["mixed"][points == 0], 0.5 * 0.5 + 0.5 * 2 * 0.5, rtol=1e-12)  # a tie
    share = np.exp(parts["two"](points)) * 0.96
    np.testing.assert_allclose(slopes["lapse"], share * q / (share + 0.02), rtol=1e-10, atol=1e-300)
    rare = np.log(1e-12)  # an option of probability 1e-12 still has a slope
    at = function(np.array([rare]))
    assert at[len(parts)][0] == pytest.approx(1.0)


def test_options_that_are_known_while_tracing_leave_one_branch():
    from fitrl.language import where

    x, y = Symbol("column", "x"), Symbol("column", "y")
    assert where(True, x, y) is x
    assert where(np.False_, x, y) is y
    assert where(x > 0, True, y).op == "where"
