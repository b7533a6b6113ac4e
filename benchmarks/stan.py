"""Nanoseconds per trial of Stan for the problems of ``engine.py``: log density and its gradient, one core.

Run with a Python that has httpstan (``pip install httpstan numpy``), which need not be the one of fitrl:
``python benchmarks/stan.py``; ``--only a1 b`` for some. The programs are of the usual form: a loop over subjects and
one over trials, parameters per subject on the unconstrained scale, the log-likelihood summed. Each takes a minute to
compile.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import time
from typing import Any

import httpstan
import httpstan.models
import numpy as np

_RNG = np.random.default_rng(1)

Q_LEARNING = """
data { int N; int T; array[N, T] int choice; array[N, T] real outcome; }
parameters { vector[N] alpha_raw; vector[N] beta_raw; }
model {
  vector[N] alpha = inv_logit(alpha_raw);
  vector[N] beta = exp(beta_raw);
  for (i in 1:N) {
    vector[2] q = rep_vector(0.5, 2);
    for (t in 1:T) {
      choice[i, t] ~ categorical_logit(beta[i] * q);
      q[choice[i, t]] += alpha[i] * (outcome[i, t] - q[choice[i, t]]);
    }
  }
}
"""

FOUR_ARMS = """
data { int N; int T; array[N, T] int choice; array[N, T] real outcome; }
parameters { vector[N] alpha_pos_raw; vector[N] alpha_neg_raw; vector[N] beta_raw; vector[N] kappa; }
model {
  vector[N] alpha_pos = inv_logit(alpha_pos_raw);
  vector[N] alpha_neg = inv_logit(alpha_neg_raw);
  vector[N] beta = exp(beta_raw);
  for (i in 1:N) {
    vector[4] q = rep_vector(0.5, 4);
    vector[4] last = rep_vector(0, 4);
    for (t in 1:T) {
      real rpe;
      choice[i, t] ~ categorical_logit(beta[i] * q + kappa[i] * last);
      rpe = outcome[i, t] - q[choice[i, t]];
      q[choice[i, t]] += (rpe >= 0 ? alpha_pos[i] : alpha_neg[i]) * rpe;
      last = rep_vector(0, 4);
      last[choice[i, t]] = 1;
    }
  }
}
"""

TWO_STEP = """
data {
  int N; int T;
  array[N, T] int choice1; array[N, T] int state2; array[N, T] int choice2; array[N, T] real outcome;
}
parameters {
  vector[N] a1_raw; vector[N] a2_raw; vector[N] b1_raw; vector[N] b2_raw; vector[N] lam_raw; vector[N] w_raw;
  vector[N] stick;
}
model {
  vector[N] a1 = inv_logit(a1_raw);
  vector[N] a2 = inv_logit(a2_raw);
  vector[N] b1 = exp(b1_raw);
  vector[N] b2 = exp(b2_raw);
  vector[N] lam = inv_logit(lam_raw);
  vector[N] w = inv_logit(w_raw);
  for (i in 1:N) {
    vector[2] mf = rep_vector(0.5, 2);
    matrix[2, 2] q2 = rep_matrix(0.5, 2, 2);
    vector[2] last = rep_vector(0, 2);
    for (t in 1:T) {
      vector[2] mb;
      real rpe1;
      real rpe2;
      mb[1] = 0.7 * max(q2[1]) + 0.3 * max(q2[2]);
      mb[2] = 0.3 * max(q2[1]) + 0.7 * max(q2[2]);
      choice1[i, t] ~ categorical_logit(b1[i] * (w[i] * mb + (1 - w[i]) * mf + stick[i] * last));
      choice2[i, t] ~ categorical_logit(b2[i] * q2[state2[i, t]]');
      rpe1 = q2[state2[i, t], choice2[i, t]] - mf[choice1[i, t]];
      rpe2 = outcome[i, t] - q2[state2[i, t], choice2[i, t]];
      mf[choice1[i, t]] += a1[i] * (rpe1 + lam[i] * rpe2);
      q2[state2[i, t], choice2[i, t]] += a2[i] * rpe2;
      last = rep_vector(0, 2);
      last[choice1[i, t]] = 1;
    }
  }
}
"""


EMPTY = "model { }"


def integers(n: int, high: int) -> list:
    """Random codes from 1 to `high`, subject by trial."""
    return _RNG.integers(1, high + 1, (n, 200)).tolist()


def outcomes(n: int) -> list:
    """Random outcomes, 0 or 1."""
    return _RNG.integers(0, 2, (n, 200)).astype(float).tolist()


def two_steps(n: int) -> dict:
    """Data of the two-step task."""
    named = {name: integers(n, 2) for name in ("choice1", "state2", "choice2")}
    return {"N": n, "T": 200, **named, "outcome": outcomes(n)}


PROBLEMS = {
    "a1": ("2-armed Q-learning, 50 x 200", Q_LEARNING, 50, 2),
    "a2": ("2-armed Q-learning, 2,000 x 200", Q_LEARNING, 2000, 2),
    "b": ("4-armed, two rates, stickiness, 50 x 200", FOUR_ARMS, 50, 4),
    "c1": ("two-step hybrid, 50 x 200", TWO_STEP, 50, 0),
    "c2": ("two-step hybrid, 1,400 x 200", TWO_STEP, 1400, 0),
}


def compiled(program: str) -> Any:
    """Compile and load a program."""
    name = httpstan.models.calculate_model_name(program)
    try:
        return httpstan.models.import_services_extension_module(name)
    except KeyError:
        asyncio.run(httpstan.models.build_services_extension_module(program))
        return httpstan.models.import_services_extension_module(name)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="NAME")
    given = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}; Python {platform.python_version()}, httpstan {httpstan.__version__}")
    for name in given.only:
        title, program, n, arms = PROBLEMS[name]
        data = two_steps(n) if not arms else {"N": n, "T": 200, "choice": integers(n, arms), "outcome": outcomes(n)}
        # A call reads the data, too: what the same call takes without a likelihood is subtracted.
        whole, empty = (spent(compiled(text), data) for text in (program, program[: program.index("model {")] + EMPTY))
        print(f"({name}) {title}: {(whole - empty) / (n * 200) * 1e9:.0f} ns/trial", flush=True)


def spent(model: Any, data: dict) -> float:
    """Shortest seconds of a call for the log density and its gradient."""
    n_values = sum(int(np.prod(shape)) for shape in model.get_dims(data))
    point = _RNG.normal(0.0, 0.5, n_values).tolist()
    best = np.inf
    for _ in range(30):
        start = time.perf_counter()
        model.log_prob_grad(data, point, True)
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
