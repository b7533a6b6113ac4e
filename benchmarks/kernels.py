"""What one would write by hand: two-armed Q-learning, value and gradient, vectorised across subjects.

The measure of the fast engine. Same exp and log1p, the same pointers to rows, the same blocks of lanes, pointwise
results in the order of the rows; but only for this model, with complete data: no masks, and a reset at the first
trial only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fitrl.engine.op import _NoAlias
from fitrl.engine.vector_math import FASTMATH, exp_unit, fabs, log1p_unit, row, select

_FLAGS = {"fastmath": FASTMATH, "error_model": "numpy"}


@njit(pipeline_class=_NoAlias, **_FLAGS)
def _forward(width, alpha, beta, q0, q1, choice, outcome, next0, next1, score, tape):
    for i in range(width):
        first = choice[i] == 0
        gap = beta[i] * (q1[i] - q0[i])
        z = select(first, gap, -gap)
        e = exp_unit(-fabs(z))
        score[i] = -(select(z > 0.0, z, 0.0) + log1p_unit(e))
        tape[i] = e
        step = alpha[i] * (outcome[i] - select(first, q0[i], q1[i]))
        next0[i] = q0[i] + select(first, step, 0.0)
        next1[i] = q1[i] + select(first, 0.0, step)


@njit(pipeline_class=_NoAlias, **_FLAGS)
def _reverse(width, alpha, beta, q0, q1, choice, outcome, tape, d_score, d_q0, d_q1, d_alpha, d_beta):
    for i in range(width):
        first = choice[i] == 0
        difference = q1[i] - q0[i]
        z = select(first, difference, -difference) * beta[i]
        e = tape[i]
        p_other = select(z > 0.0, 1.0, e) / (1.0 + e)
        d_gap = d_score[i] * select(first, -p_other, p_other)
        d_beta[i] += d_gap * difference
        adjoint = select(first, d_q0[i], d_q1[i])
        d_alpha[i] += adjoint * (outcome[i] - select(first, q0[i], q1[i]))
        leak = adjoint * alpha[i]
        d_q0[i] = d_q0[i] - select(first, leak, 0.0) - d_gap * beta[i]
        d_q1[i] = d_q1[i] - select(first, 0.0, leak) + d_gap * beta[i]


@njit(**_FLAGS)
def q_learning(alpha, beta, lanes, choice, outcome, place, blocks, weight):
    """Log probability of every row, and the gradient of their weighted sum.

    Parameters
    ----------
    alpha, beta : ndarray, shape (subject,)
        Parameters.
    lanes, choice, outcome, place, blocks : ndarray
        As packed by `fitrl.engine.packing`.
    weight : ndarray, shape (row,)
        Cotangents.
    """
    width, longest = choice.shape[1], np.diff(blocks).max()
    q0, q1 = np.empty((longest + 1, width)), np.empty((longest + 1, width))
    tape, score = np.empty((longest, width)), np.empty(width)
    scores, d_alpha, d_beta = np.empty(len(weight)), np.zeros(len(alpha)), np.zeros(len(beta))
    a, b = np.empty(width), np.empty(width)
    d_score, d_q0, d_q1 = np.empty(width), np.empty(width), np.empty(width)
    d_a, d_b = np.empty(width), np.empty(width)
    for block in range(len(blocks) - 1):
        first, last = blocks[block], blocks[block + 1]
        for i in range(width):
            a[i], b[i] = alpha[lanes[block, i]], beta[lanes[block, i]]
        q0[0, :] = 0.5
        q1[0, :] = 0.5
        for s in range(first, last):
            t = s - first
            c, r, e = row(choice, s), row(outcome, s), row(tape, t)
            next0, next1 = row(q0, t + 1), row(q1, t + 1)
            _forward(width, row(a, 0), row(b, 0), row(q0, t), row(q1, t), c, r, next0, next1, row(score, 0), e)
            for i in range(width):
                if place[s, i] >= 0:
                    scores[place[s, i]] = score[i]
        d_q0[:], d_q1[:], d_a[:], d_b[:] = 0.0, 0.0, 0.0, 0.0
        for s in range(last - 1, first - 1, -1):
            t = s - first
            for i in range(width):
                d_score[i] = weight[place[s, i]] if place[s, i] >= 0 else 0.0
            c, r, e = row(choice, s), row(outcome, s), row(tape, t)
            adjoints = row(d_score, 0), row(d_q0, 0), row(d_q1, 0), row(d_a, 0), row(d_b, 0)
            _reverse(width, row(a, 0), row(b, 0), row(q0, t), row(q1, t), c, r, e, *adjoints)
        for i in range(width):
            d_alpha[lanes[block, i]] += d_a[i]
            d_beta[lanes[block, i]] += d_b[i]
    return scores, d_alpha, d_beta
