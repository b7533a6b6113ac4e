"""Traits: parts that compose with any value model.

Fixed order within a trial: rates, then what is added to the logits, then the policy as a whole (lapse);
the model's own learning; learning by traits (counterfactual, confirmation bias); in every row, choice history and
decay (forgetting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fitrl.errors import ModelError
from fitrl.language.model import Model, Trait
from fitrl.language.parameters import Parameter, latent, option, real, unit
from fitrl.language.parameters import lapse as small_probability
from fitrl.language.policies import Mix, Probabilities, Uniform, mix, uniform
from fitrl.language.state import State, unknown
from fitrl.language.tables import exp, filled, onehot, where


class Stickiness(Trait):
    """Repeat, or avoid, the previous choice.

    ``logit_a += kappa * 1[a was chosen on the previous trial]``, 0 on the first trial after a reset.
    kappa is in logits, outside of beta; where a paper has it inside (p), ``kappa = beta * p``.
    A missed response keeps the previous choice (``after_miss="keep"``) or forgets it (``"reset"``); a choice
    without feedback, or a forced one, is a previous choice like any other.

    References
    ----------
    Lau & Glimcher 2005, J Exp Anal Behav, 10.1901/jeab.2005.110-04.
    Differs from the source: one trial back only; for a longer trace see `ChoiceTrace`.
    """

    name = "stickiness"
    stage = 20
    excludes = ("choice_trace",)
    kappa = real("stickiness", usual=(-0.5, 1.5))
    after_miss = option("keep", "what a missed response does to the previous choice", ("keep", "reset"))
    last = latent("1 for the previously chosen option")

    def start(self, p: Any, task: Any, model_start: State) -> dict[str, Any]:  # noqa: D102
        return {"last": filled(task.size(_choice(self, task)), 0.0)}

    def logits(self, s: State, p: Any, t: Any) -> Any:  # noqa: D102
        return p.kappa * s.last

    def between(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        # Not in after(): a choice without feedback teaches nothing, but it is the previous choice all the same.
        choice = _choice(self, t.task)
        kept = s.last if self.options["after_miss"] == "keep" else 0.0 * s.last
        s.last = where(t.responded(choice), onehot(t.choices[choice], len(s.last)), kept)


class ChoiceTrace(Trait):
    """Repeat, or avoid, what was chosen often of late.

    ``logit_a += kappa * C_a``; after the choice ``C += tau_c * (onehot(choice) - C)``, from C = 0. A missed
    response leaves C as it is. ``tau_c = 1`` is stickiness.

    References
    ----------
    Lau & Glimcher 2005, J Exp Anal Behav, 10.1901/jeab.2005.110-04; Wilson & Collins 2019, eLife,
    10.7554/eLife.49547 (choice kernel).
    """

    name = "choice_trace"
    stage = 20
    excludes = ("stickiness",)
    kappa = real("weight of the choice trace", usual=(-0.5, 2.0))
    tau_c = unit("choice-trace rate", usual=(0.1, 0.9))
    trace = latent("recency-weighted own choices")

    def start(self, p: Any, task: Any, model_start: State) -> dict[str, Any]:  # noqa: D102
        return {"trace": filled(task.size(_choice(self, task)), 0.0)}

    def logits(self, s: State, p: Any, t: Any) -> Any:  # noqa: D102
        return p.kappa * s.trace

    def between(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        choice = _choice(self, t.task)
        moved = s.trace + p.tau_c * (onehot(t.choices[choice], len(s.trace)) - s.trace)
        s.trace = where(t.responded(choice), moved, s.trace)


class Forgetting(Trait):
    """Let the values of options that were not chosen decay.

    In every row, after learning: ``Q_u <- (1 - phi) Q_u + phi * target`` for each option that was not chosen
    in it (after a missed response: for all). ``to="q0"`` decays to the initial value, ``"zero"`` to 0;
    ``rate="alpha"`` decays at the learning rate instead of a rate of its own.

    References
    ----------
    Ito & Doya 2009, J Neurosci, 10.1523/JNEUROSCI.6157-08.2009 (decay to 0).
    Differs from the source: the default target is the initial value, since decay to 0 of outcomes in {0, 1} mimics
    stickiness.
    """

    name = "forgetting"
    stage = 40
    phi = unit("forgetting", usual=(0.02, 0.4))
    to = option("q0", "where forgotten values go", ("q0", "zero"))
    rate = option("free", "phi as a parameter of its own, or the learning rate alpha", ("free", "alpha"))
    field = option("q", "state field that is forgotten")

    def parameters(self) -> dict:  # noqa: D102
        return {} if self.options["rate"] == "alpha" else super().parameters()

    def check(self, model: Model) -> None:  # noqa: D102
        if self.options["rate"] == "alpha" and "alpha" not in model.parameters():
            raise ModelError(
                f"forgetting:rate=alpha needs one learning rate `alpha`, which {model.describe()} does not have. Use "
                "rate=free."
            )

    def between(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        field = self.options["field"]
        old = getattr(s, field)
        if old.ndim != 1:
            raise ModelError(f"forgetting acts on a one-axis table of values, but `{field}` has {old.ndim} axes.")
        phi = p.phi if self.options["rate"] == "free" else p.alpha
        target = getattr(t.start, field) if self.options["to"] == "q0" else 0.0
        chosen = t.chosen(_choice(self, t.task))
        setattr(s, field, where(chosen == 1, old, old + phi * (target - old)))


class Lapse(Trait):
    """Choose at random on some trials: ``P = (1 - eps) * policy + eps / K``, K options on offer.

    The mixture is of probabilities, not of logits.

    References
    ----------
    Wilson & Collins 2019, eLife, 10.7554/eLife.49547.
    """

    name = "lapse"
    stage = 50
    eps = small_probability("lapse")

    def wrap(self, policy: Any, p: Any) -> Any:  # noqa: D102
        if isinstance(policy, Uniform | Probabilities | Mix):
            raise ModelError(
                "a lapse cannot be told apart from this policy, which is already free to take any probability."
            )
        return mix(p.eps, uniform(len(policy.log_probs())), policy)


class DualAlpha(Trait):
    """Two learning rates, by the sign of the prediction error or of the outcome.

    ``by="pe"``: alpha_pos where the error is >= 0, else alpha_neg. ``by="outcome"``: alpha_rew where the outcome is
    > 0, else alpha_pun. The two are not equivalent when values leave the range of outcomes or an outcome is 0.
    For a Bernoulli option with probability p on {0, 1} and ``by="pe"``, the value settles at
    ``alpha_pos p / (alpha_pos p + alpha_neg (1 - p))``.

    References
    ----------
    Frank 2007, PNAS, 10.1073/pnas.0706111104; Lefebvre 2017, Nat Hum Behav, 10.1038/s41562-017-0067.
    """

    name = "dual_alpha"
    stage = 10
    alpha_pos = unit("learning rate after positive prediction errors")
    alpha_neg = unit("learning rate after negative prediction errors", usual=(0.02, 0.6))
    alpha_rew = unit("learning rate after rewards")
    alpha_pun = unit("learning rate after punishments or omissions", usual=(0.02, 0.6))
    by = option("pe", "sign of the prediction error, or of the outcome", ("pe", "outcome"))

    @property
    def replaces(self) -> tuple[str, ...]:  # noqa: D102
        return ("alpha",)

    def parameters(self) -> dict:  # noqa: D102
        names = ("alpha_pos", "alpha_neg") if self.options["by"] == "pe" else ("alpha_rew", "alpha_pun")
        return {name: parameter for name, parameter in super().parameters().items() if name in names}

    def supply_rate(self, name: str, rpe: Any, outcome: Any, p: Any) -> Any:  # noqa: D102
        if name != "alpha":
            return None
        if self.options["by"] == "pe":
            return where(rpe >= 0, p.alpha_pos, p.alpha_neg)
        return where(outcome > 0, p.alpha_rew, p.alpha_pun)


class Counterfactual(Trait):
    """Learn about the option that was not chosen.

    ``feedback="full"``: its outcome was shown (column ``outcome_forgone``); ``"mirrored"``: it is taken to be the
    opposite of the outcome within the declared range (``-r`` on (-1, 1), ``1 - r`` on (0, 1)), for tasks in which
    one option's loss is the other's gain. ``Q_u += alpha_cf * (r_u - Q_u)`` with Q_u before the trial;
    ``alpha="shared"`` uses the model's own rate (and with it two rates by sign).
    Needs two options on offer in every trial.

    References
    ----------
    Gläscher 2009, Cereb Cortex, 10.1093/cercor/bhn098.
    """

    name = "counterfactual"
    stage = 30
    alpha_cf = unit("learning rate for the option that was not chosen")
    feedback = option("full", "forgone outcomes shown, or the mirror image of the outcome", ("full", "mirrored"))
    alpha = option("own", "a rate of its own, or shared with the chosen option", ("own", "shared"))
    rpe_forgone = latent("prediction error of the option that was not chosen", "outcome")

    def parameters(self) -> dict:  # noqa: D102
        return super().parameters() if self.options["alpha"] == "own" else {}

    def after(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        other = t.unchosen(_choice(self, t.task))
        if self.options["feedback"] == "full":
            outcome, shown = t.observe("outcome_forgone"), t.given("outcome_forgone")
        else:
            outcome, shown = sum(t.task.outcome_range) - t.observe("outcome"), True
        rpe = outcome - t.before.q[other]
        rate = p.alpha_cf if self.options["alpha"] == "own" else t.rate("alpha", rpe=rpe, outcome=outcome)
        s.q[other] += where(shown, rate * rpe, 0.0)
        t.record(rpe_forgone=rpe)


class ConfirmationBias(Trait):
    """Learn faster from what confirms the choice than from what speaks against it, where both outcomes are shown.

    alpha_conf where the option that was chosen did better than expected (error >= 0), and where the other one did worse
    (error < 0); alpha_disc in the two opposite cases. Both errors come from before the trial; the outcome of the other
    option is the column ``outcome_forgone``; where it was not shown, nothing is learned about that option. Takes the
    place of `DualAlpha` and `Counterfactual`. Needs two options on offer in every trial, and 150 trials or more.

    References
    ----------
    Palminteri et al. 2017, PLoS Comput Biol, 10.1371/journal.pcbi.1005684.
    Checked: abstract and legend of figure 4 (two rates, alpha_CON and alpha_DIS). Without the neutral rate for forced
    choices that later work has: those learn at the same two rates.
    """

    name = "confirmation_bias"
    stage = 30
    excludes = ("dual_alpha", "counterfactual")
    alpha_conf = unit("learning rate for what confirms the choice")
    alpha_disc = unit("learning rate for what speaks against the choice", usual=(0.02, 0.6))
    rpe_forgone = latent("prediction error of the option that was not chosen", "outcome")

    @property
    def replaces(self) -> tuple[str, ...]:  # noqa: D102
        return ("alpha",)

    def supply_rate(self, name: str, rpe: Any, outcome: Any, p: Any) -> Any:  # noqa: D102
        return where(rpe >= 0, p.alpha_conf, p.alpha_disc) if name == "alpha" else None

    def after(self, s: State, p: Any, t: Any) -> None:  # noqa: D102
        other = t.unchosen(_choice(self, t.task))
        rpe = t.observe("outcome_forgone") - t.before.q[other]
        rate = where(rpe < 0, p.alpha_conf, p.alpha_disc)
        s.q[other] += where(t.given("outcome_forgone"), rate * rpe, 0.0)
        t.record(rpe_forgone=rpe)


class PhaseShift(Trait):
    """Let a parameter that acts in learning and in choice have another value in one of the two.

    ``phase_shift:parameter=gain,phase=learn`` adds the parameter gain_learn, what is added to gain on its link scale
    (logit or log, else none) where the next state is computed; in choice gain stays what it is. Of a subject both
    differ, so that a formula such as ``gain_learn ~ drug + (drug | subject)`` says what a drug does to learning alone.

    Identifiability: only where both phases tell of the parameter by themselves; look at its recovery first. A parameter
    that acts in one phase cannot be told apart from its shift (`fitrl models NAME` prints the phases).
    """

    name = "phase_shift"
    stage = 5
    parameter = option("", "the parameter, which needs a value in each phase")
    phase = option("learn", "the phase in which it is shifted", ("learn", "choose"))

    @property
    def shift(self) -> str:
        """Name of the parameter that is added."""
        return f"{self.options['parameter']}_{self.options['phase']}"

    def parameters(self) -> dict:  # noqa: D102
        if not self.options["parameter"]:
            return {}
        what = f"shift of {self.options['parameter']} in phase {self.options['phase']}, on its link scale"
        return {self.shift: replace(real(what, location=(0.0, 0.5), usual=(-0.5, 0.5)), name=self.shift)}

    def check(self, model: Model) -> None:  # noqa: D102
        name, declared = self.options["parameter"], {**model.parameters()}
        declared.pop(self.shift, None)
        if name not in declared:
            which = unknown("parameter", name, declared) if name else f"It can be {', '.join(declared)}."
            raise ModelError(f"phase_shift needs the parameter that is shifted (phase_shift:parameter=NAME). {which}")
        p = declared[name]
        if p.per_option or (p.link == "identity" and p.unit) or p.link == "probit_approx":
            raise ModelError(f"phase_shift cannot shift {name}, which has a value per option, a unit or a probit link.")

    def check_priors(self, parameters: Mapping[str, Parameter], model: Model) -> None:  # noqa: D102
        p, own = (of[self.options["parameter"]] for of in (parameters, model.parameters()))
        if (p.link, p.lower, p.upper) != (own.link, own.lower, own.upper):
            raise ModelError(
                f"priors of {own.name}: with phase_shift its link and range must be those of the model ({own.link}, "
                f"{own.lower:g} to {own.upper:g}), on which it is shifted."
            )

    def in_phase(self, phase: str, values: Mapping[str, Any], model: Model) -> Mapping[str, Any]:  # noqa: D102
        if phase != self.options["phase"]:
            return values
        name = self.options["parameter"]
        return {**values, name: _shifted(model.parameters()[name], values[name], values[self.shift])}


def _shifted(parameter: Parameter, value: Any, shift: Any) -> Any:
    """Move a value on its link scale; one at a bound stays there."""
    if parameter.link == "identity":
        return value + shift
    if parameter.link == "log":
        return parameter.lower + (value - parameter.lower) * exp(shift)
    grown = (value - parameter.lower) * exp(shift)  # the odds of the value, without its logarithm
    return parameter.lower + (parameter.upper - parameter.lower) * grown / (parameter.upper - value + grown)


def _choice(trait: Trait, task: Any) -> str:
    """Name the choice that the trait acts on."""
    return trait.on or task.choices()[0]


stickiness = Stickiness
choice_trace = ChoiceTrace
forgetting = Forgetting
lapse = Lapse
dual_alpha = DualAlpha
counterfactual = Counterfactual
confirmation_bias = ConfirmationBias
phase_shift = PhaseShift

_ALL = (Stickiness, ChoiceTrace, Forgetting, Lapse, DualAlpha, Counterfactual, ConfirmationBias, PhaseShift)
TRAITS: dict[str, type[Trait]] = {cls.name: cls for cls in _ALL}

__all__ = [
    "TRAITS",
    "ChoiceTrace",
    "ConfirmationBias",
    "Counterfactual",
    "DualAlpha",
    "Forgetting",
    "Lapse",
    "PhaseShift",
    "Stickiness",
    "choice_trace",
    "confirmation_bias",
    "counterfactual",
    "dual_alpha",
    "forgetting",
    "lapse",
    "phase_shift",
    "stickiness",
]
