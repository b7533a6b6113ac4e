"""Policies: how values become choice probabilities. All work on log probabilities; nothing is clipped."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from fitrl.errors import ModelError
from fitrl.language.tables import (
    Table,
    filled,
    log,
    log1p,
    log_normal_cdf,
    log_sum_exp,
    logaddexp,
    softplus,
    table,
    total,
    where,
)


class Policy(Protocol):
    """A distribution over options.

    ``log_probs()`` gives the log probability of every option; ``log_prob(at)`` of one, more directly where
    that is more accurate; ``among(offers)`` is the policy over the options on offer; ``shifted(bonus)`` adds
    a table to the logits.
    """

    def log_probs(self) -> Table: ...  # noqa: D102
    def log_prob(self, at: Any) -> Any: ...  # noqa: D102
    def among(self, offers: Table) -> Policy: ...  # noqa: D102
    def shifted(self, bonus: Table) -> Policy: ...  # noqa: D102


class Softmax:
    """Choose with probability proportional to ``exp(logits)``; see `softmax`."""

    def __init__(self, logits: Table):
        self.logits = logits

    def log_probs(self) -> Table:
        """Log probability of every option."""
        if len(self.logits) == 2:
            first, second = self.logits
            return table([-softplus(second - first), -softplus(first - second)])
        return self.logits - log_sum_exp(self.logits)

    def log_prob(self, at: Any) -> Any:
        """Log probability of the option at position `at`."""
        if len(self.logits) == 2:
            first, second = self.logits
            return -softplus(where(at == 0, second - first, first - second))
        return -log_sum_exp(self.logits - self.logits[at])

    def among(self, offers: Table) -> Softmax:
        """Return the policy over the options whose indices are in `offers`."""
        return Softmax(self.logits[offers])

    def shifted(self, bonus: Table) -> Softmax:
        """Return the policy with `bonus` added to the logits."""
        return Softmax(self.logits + bonus)


class _TwoOptions:
    """A policy over two options from one number, the evidence for the second."""

    def __init__(self, x: Any):
        self.x = x

    def log_probs(self) -> Table:
        """Log probability of both options."""
        return table([self._log_cdf(-self.x), self._log_cdf(self.x)])

    def log_prob(self, at: Any) -> Any:
        """Log probability of the option at position `at`."""
        return self._log_cdf(where(at == 1, self.x, -self.x))

    def _log_cdf(self, x: Any) -> Any:
        raise ModelError("a two-option policy needs its distribution function.")

    def among(self, offers: Table) -> Policy:
        """Refuse: one number cannot say which of several options are on offer."""
        raise ModelError(
            "this policy is over two fixed options, but the options on offer differ from trial to trial. Use softmax."
        )

    def shifted(self, bonus: Table) -> Policy:
        """Refuse, unless the policy has logits."""
        raise ModelError("a probit policy has no logits to add to; use softmax or bernoulli_logit.")


class BernoulliLogit(_TwoOptions):
    """Choose option 1 with probability ``sigmoid(x)``; see `bernoulli_logit`."""

    def _log_cdf(self, x: Any) -> Any:
        return -softplus(-x)

    def shifted(self, bonus: Table) -> BernoulliLogit:
        """Return the policy with `bonus` added to the logits."""
        return BernoulliLogit(self.x + (bonus[1] - bonus[0]))


class Probit(_TwoOptions):
    """Choose option 1 with the normal distribution function of x; see `probit`."""

    def _log_cdf(self, x: Any) -> Any:
        return log_normal_cdf(x)


class Probabilities:
    """Choose with given probabilities; see `probabilities`."""

    def __init__(self, weights: Table):
        self.weights = weights

    def log_probs(self) -> Table:
        """Log probability of every option."""
        return log(self.weights) - log(total(self.weights))

    def log_prob(self, at: Any) -> Any:
        """Log probability of the option at position `at`."""
        return log(self.weights[at]) - log(total(self.weights))

    def among(self, offers: Table) -> Probabilities:
        """Return the policy over the options on offer, renormalised."""
        return Probabilities(self.weights[offers])

    def shifted(self, bonus: Table) -> Policy:
        """Refuse: there are no logits."""
        raise ModelError("this policy is made of probabilities, so nothing can be added to its logits.")


class Uniform:
    """Choose every option with the same probability; see `uniform`."""

    def __init__(self, n_options: int):
        self.n_options = n_options

    def log_probs(self) -> Table:
        """Log probability of every option."""
        return filled(self.n_options, -math.log(self.n_options))

    def log_prob(self, at: Any) -> Any:
        """Log probability of the option at position `at`."""
        return where(at >= 0, -math.log(self.n_options), 0.0)

    def among(self, offers: Table) -> Uniform:
        """Return the uniform policy over the options on offer."""
        return Uniform(len(offers))

    def shifted(self, bonus: Table) -> Softmax:
        """Return the policy whose logits are `bonus`."""
        return Softmax(bonus)


class Mix:
    """A mixture of two policies, on the scale of probabilities; see `mix`."""

    def __init__(self, weight: Any, first: Policy, second: Policy):
        self.weight, self.first, self.second = weight, first, second

    def log_probs(self) -> Table:
        """Log probability of every option."""
        return logaddexp(log(self.weight) + self.first.log_probs(), log1p(-self.weight) + self.second.log_probs())

    def log_prob(self, at: Any) -> Any:
        """Log probability of the option at position `at`."""
        return logaddexp(log(self.weight) + self.first.log_prob(at), log1p(-self.weight) + self.second.log_prob(at))

    def among(self, offers: Table) -> Mix:
        """Return the mixture of the two policies over the options on offer."""
        return Mix(self.weight, self.first.among(offers), self.second.among(offers))

    def shifted(self, bonus: Table) -> Policy:
        """Refuse: a mixture has no logits of its own."""
        raise ModelError("a mixture has no logits of its own; add to the policy inside of mix(...).")


def softmax(logits: Table) -> Policy:
    """Choose in proportion to ``exp(logits)``.

    Parameters
    ----------
    logits : Table, shape (option,)
        For example ``p.beta * s.q``.

    Notes
    -----
    With two options this is the logistic of the difference, computed as such.
    """
    if not isinstance(logits, Table):
        raise ModelError("softmax takes a table of logits, one per option; for one number use bernoulli_logit.")
    return Softmax(logits)


def bernoulli_logit(x: Any) -> Policy:
    """Choose option 1 over option 0 with probability ``1 / (1 + exp(-x))``."""
    return BernoulliLogit(x)


def probit(x: Any) -> Policy:
    """Choose option 1 over option 0 with the standard normal distribution function of `x`."""
    return Probit(x)


def probabilities(p: Table) -> Policy:
    """Choose with the probabilities in the table `p`; they are normalised over the options on offer."""
    return Probabilities(p)


def uniform(n_options: int) -> Policy:
    """Choose each of `n_options` with the same probability."""
    return Uniform(n_options)


def mix(weight: Any, first: Policy, second: Policy) -> Policy:
    """Mix two policies: with probability `weight` the first, else the second.

    The mixture acts on probabilities, never on logits: ``mix(p.eps, uniform(2), softmax(...))`` tends to
    ``eps / 2`` for an option that is never chosen on purpose.
    """
    return Mix(weight, first, second)


class Normal:
    """A normal density for an emission such as a rating; see `normal`."""

    typical = 0.0  # a value with a finite density, in place of a missing one

    def __init__(self, mean: Any, sd: Any):
        self.mean, self.sd = mean, sd

    def log_density(self, x: Any) -> Any:
        """Log density at `x`."""
        z = (x - self.mean) / self.sd
        return -0.5 * z * z - log(self.sd) - 0.5 * math.log(2 * math.pi)

    def sample(self, rng: np.random.Generator, n_agents: int) -> np.ndarray:
        """Draw, one value per agent."""
        return rng.normal(self.mean, self.sd, n_agents)


class LogNormal:
    """A log-normal density for an emission such as a response time; see `lognormal`."""

    typical = 1.0

    def __init__(self, log_mean: Any, log_sd: Any):
        self.inner = Normal(log_mean, log_sd)

    def log_density(self, x: Any) -> Any:
        """Log density at `x` > 0."""
        log_x = log(x)
        return self.inner.log_density(log_x) - log_x

    def sample(self, rng: np.random.Generator, n_agents: int) -> np.ndarray:
        """Draw, one value per agent."""
        return np.exp(self.inner.sample(rng, n_agents))


def normal(mean: Any, sd: Any) -> Normal:
    """Density of a rating: normal with `mean` and `sd`, in the unit of the data."""
    return Normal(mean, sd)


def lognormal(log_mean: Any, log_sd: Any) -> LogNormal:
    """Density of a response time: its logarithm is normal with `log_mean` and `log_sd`."""
    return LogNormal(log_mean, log_sd)
