"""Five-trial examples, computed by hand: every number below is plain arithmetic, trial by trial."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from interpreters import bandit_columns

from fitrl.language.model import Model
from fitrl.language.traits import choice_trace, counterfactual, dual_alpha, forgetting, lapse, stickiness
from fitrl.models import find
from fitrl.tasks import Bandit, Task


@dataclass
class Case:
    """A model, data, and the log probabilities of the scored choices as computed by hand."""

    model: Model
    parameters: dict[str, float]
    columns: dict[str, np.ndarray]
    expected: list[float]
    task: Task = field(default_factory=lambda: Bandit(2, ("A", "B"), (0.0, 1.0)))


CASES: dict[str, Callable[[], Case]] = {}
Q = find("q_learning")
THREE = Bandit(3, ("A", "B", "C"), (0.0, 1.0))
FULL = Bandit(2, ("A", "B"), (0.0, 1.0), has_forgone=True)
GAIN_LOSS = Bandit(2, ("A", "B"), (-1.0, 1.0))

# Most examples: chose A, A, B, A, B and got 1, 0, 1, 1, 0.
CHOICES, OUTCOMES = (0, 0, 1, 0, 1), (1, 0, 1, 1, 0)


def case(function):
    CASES[function.__name__] = function
    return function


def log_p(chosen, *logits):
    """Log of a softmax, written out."""
    return math.log(math.exp(logits[chosen]) / sum(math.exp(x) for x in logits))


@case
def plain_two_arms():
    ll = [
        log_p(0, 2 * 0.5, 2 * 0.5),
        log_p(0, 2 * 0.65, 2 * 0.5),  # A: .5 + .3 (1 - .5) = .65
        log_p(1, 2 * 0.455, 2 * 0.5),  # A: .65 + .3 (0 - .65) = .455
        log_p(0, 2 * 0.455, 2 * 0.65),  # B: .5 + .3 (1 - .5) = .65
        log_p(1, 2 * 0.6185, 2 * 0.65),  # A: .455 + .3 (1 - .455) = .6185
    ]
    return Case(Q, {"alpha": 0.3, "beta": 2.0}, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def plain_other_start():
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 2 * 0.3, 0.0),  # A: 0 + .3
        log_p(1, 2 * 0.21, 0.0),  # A: .3 - .09
        log_p(0, 2 * 0.21, 2 * 0.3),  # B: .3
        log_p(1, 2 * 0.447, 2 * 0.3),  # A: .21 + .3 * .79
    ]
    return Case(find("q_learning", q0=0.0), {"alpha": 0.3, "beta": 2.0}, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def plain_three_arms():
    ll = [
        log_p(2, 1.5, 1.5, 1.5),
        log_p(2, 1.5, 1.5, 3 * 0.75),  # C: .5 + .5 * .5
        log_p(0, 1.5, 1.5, 3 * 0.375),  # C: .75 - .5 * .75
        log_p(1, 3 * 0.75, 1.5, 3 * 0.375),  # A: .5 + .5 * .5
        log_p(0, 3 * 0.75, 3 * 0.25, 3 * 0.375),  # B: .5 - .5 * .5
    ]
    columns = bandit_columns((2, 2, 0, 1, 0), (1, 0, 1, 0, 1), n_options=3)
    return Case(Q, {"alpha": 0.5, "beta": 3.0}, columns, ll, THREE)


@case
def pairs_out_of_four():
    # On offer: AB, CD, AC, DB (D on the left), BA. Chosen: B, D, C, D, A.
    offers = [(0, 1), (2, 3), (0, 2), (3, 1), (1, 0)]
    ll = [
        log_p(1, 1.0, 1.0),
        log_p(1, 1.0, 1.0),  # C, D untouched so far
        log_p(1, 1.0, 1.0),  # A, C untouched; D is now .5 + .4 * .5 = .7, B is .5 - .4 * .5 = .3
        log_p(0, 2 * 0.7, 2 * 0.3),
        log_p(1, 2 * 0.3, 2 * 0.5),  # B against A
    ]
    columns = bandit_columns((1, 3, 2, 3, 0), (0, 1, 1, 1, 0), offers=offers)
    task = Bandit(4, ("A", "B", "C", "D"), (0.0, 1.0), 2)
    return Case(Q, {"alpha": 0.4, "beta": 2.0}, columns, ll, task)


@case
def stimuli_with_actions():
    # Stimuli x, y, x, x, y; chosen left, left, left, right, left. Values per stimulus and action.
    columns = bandit_columns((0, 0, 0, 1, 0), (1, 1, 0, 1, 1)) | {"stimulus": np.array([0, 1, 0, 0, 1])}
    for name in ("offer_1", "offer_2"):
        del columns[name]
    codings = {"choice": ("left", "right"), "stimulus": ("x", "y")}
    task, columns, _ = Bandit.configured(columns, codings, (0.0, 1.0))
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.0, 1.0),  # y is new although left was rewarded at x
        log_p(0, 2 * 0.7, 1.0),  # x-left: .5 + .4 * .5
        log_p(1, 2 * 0.42, 1.0),  # x-left: .7 - .4 * .7
        log_p(0, 2 * 0.7, 1.0),  # y-left: .5 + .4 * .5
    ]
    return Case(Q, {"alpha": 0.4, "beta": 2.0}, columns, ll, task)


# One trait at a time ---------------------------------------------------------------------------------


@case
def with_stickiness():
    ll = [
        log_p(0, 1.0, 1.0),  # nothing to repeat
        log_p(0, 1.3 + 0.4, 1.0),
        log_p(1, 0.91 + 0.4, 1.0),
        log_p(0, 0.91, 1.3 + 0.4),
        log_p(1, 1.237 + 0.4, 1.3),
    ]
    parameters = {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}
    return Case(Q.with_(stickiness()), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


def _missed_second(after_miss, third):
    # Chose B (1), missed, B (0), A (1), A (1). The miss leaves values as they are.
    ll = [
        log_p(1, 1.0, 1.0),
        third,
        log_p(0, 1.0, 0.91 + 0.4),  # B: .65 - .3 * .65 = .455
        log_p(0, 1.3 + 0.4, 0.91),  # A: .65
    ]
    columns = bandit_columns((1, None, 1, 0, 0), (1, None, 0, 1, 1))
    parameters = {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}
    return Case(Q.with_(stickiness(after_miss=after_miss)), parameters, columns, ll)


@case
def stickiness_keeps_over_a_miss():
    return _missed_second("keep", log_p(1, 1.0, 1.3 + 0.4))


@case
def stickiness_resets_at_a_miss():
    return _missed_second("reset", log_p(1, 1.0, 1.3))


@case
def with_choice_trace():
    # Traces (A, B): 0 0; .6 0; .84 0 (.6 + .6 * .4); .336 .6; .7344 .24
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3 + 0.5 * 0.6, 1.0),
        log_p(1, 0.91 + 0.5 * 0.84, 1.0),
        log_p(0, 0.91 + 0.5 * 0.336, 1.3 + 0.5 * 0.6),
        log_p(1, 1.237 + 0.5 * 0.7344, 1.3 + 0.5 * 0.24),
    ]
    parameters = {"alpha": 0.3, "beta": 2.0, "kappa": 0.5, "tau_c": 0.6}
    return Case(Q.with_(choice_trace()), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_forgetting_to_q0():
    # After learning, the option not chosen moves a fifth of its way to .5.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 1.0),
        log_p(1, 0.91, 1.0),
        log_p(0, 2 * 0.464, 1.3),  # A: .455 + .2 * .045
        log_p(1, 2 * 0.6248, 2 * 0.62),  # A: .464 + .3 * .536; B: .65 - .2 * .15
    ]
    parameters = {"alpha": 0.3, "beta": 2.0, "phi": 0.2}
    return Case(Q.with_(forgetting()), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_forgetting_to_zero():
    # B: .5, .4, .32, then .32 + .3 * .68 = .524, then .4192; A: .5, .65, .455, .364, then .364 + .3 * .636 = .5548
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 2 * 0.65, 2 * 0.4),
        log_p(1, 2 * 0.455, 2 * 0.32),
        log_p(0, 2 * 0.364, 2 * 0.524),
        log_p(1, 2 * 0.5548, 2 * 0.4192),
    ]
    parameters = {"alpha": 0.3, "beta": 2.0, "phi": 0.2}
    return Case(Q.with_(forgetting(to="zero")), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_forgetting_at_the_learning_rate():
    # A: .65, .455, then forgotten .455 + .3 * .045 = .4685, then .4685 + .3 * .5315 = .62795
    # B: .5, .5, .65, then forgotten .65 - .3 * .15 = .605
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 1.0),
        log_p(1, 0.91, 1.0),
        log_p(0, 2 * 0.4685, 1.3),
        log_p(1, 2 * 0.62795, 2 * 0.605),
    ]
    parameters = {"alpha": 0.3, "beta": 2.0}
    return Case(Q.with_(forgetting(rate="alpha")), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_lapse():
    def mixed(chosen, *logits):
        return math.log(0.9 * math.exp(log_p(chosen, *logits)) + 0.1 / 2)

    ll = [mixed(0, 1.0, 1.0), mixed(0, 1.3, 1.0), mixed(1, 0.91, 1.0), mixed(0, 0.91, 1.3), mixed(1, 1.237, 1.3)]
    parameters = {"alpha": 0.3, "beta": 2.0, "eps": 0.1}
    return Case(Q.with_(lapse()), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_lapse_three_arms():
    def mixed(chosen, *logits):
        return math.log(0.9 * math.exp(log_p(chosen, *logits)) + 0.1 / 3)

    ll = [mixed(2, 1.5, 1.5, 1.5), mixed(2, 1.5, 1.5, 2.25), mixed(0, 1.5, 1.5, 1.125)]
    columns = bandit_columns((2, 2, 0), (1, 0, 1), n_options=3)
    return Case(Q.with_(lapse()), {"alpha": 0.5, "beta": 3.0, "eps": 0.1}, columns, ll, THREE)


@case
def with_two_rates_by_error():
    # A: .5, then + .3 * .5 = .65, then - .1 * .65 = .585; B: .5, then + .3 * .5; A: + .3 * .415 = .7095
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 1.0),
        log_p(1, 2 * 0.585, 1.0),
        log_p(0, 2 * 0.585, 1.3),
        log_p(1, 2 * 0.7095, 1.3),
    ]
    parameters = {"alpha_pos": 0.3, "alpha_neg": 0.1, "beta": 2.0}
    return Case(Q.with_(dual_alpha()), parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_two_rates_by_outcome():
    # Outcomes -1, 0, -1, 1 on A. By outcome: pun, pun (0 counts as none), pun, rew; the error of the second is > 0.
    # A: 0, then .4 * -1 = -.4, then -.4 + .4 * .4 = -.24, then -.24 + .4 * -.76 = -.544, then -.544 + .1 * 1.544
    ll = [
        log_p(0, 0.0, 0.0),
        log_p(0, 2 * -0.4, 0.0),
        log_p(0, 2 * -0.24, 0.0),
        log_p(0, 2 * -0.544, 0.0),
        log_p(1, 2 * -0.3896, 0.0),
    ]
    columns = bandit_columns((0, 0, 0, 0, 1), (-1, 0, -1, 1, 1))
    parameters = {"alpha_rew": 0.1, "alpha_pun": 0.4, "beta": 2.0}
    return Case(Q.with_(dual_alpha(by="outcome")), parameters, columns, ll, GAIN_LOSS)


@case
def with_shown_forgone_outcomes():
    # The other option paid 0, 0, (not shown), 1, 0.
    # A: .5, .65, .455, .455, .6185; B: .5, .5 - .2 * .5 = .4, .32, then chosen .32 + .3 * .68 = .524,
    # then forgone 1: .524 + .2 * .476 = .6192
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 2 * 0.4),
        log_p(1, 0.91, 2 * 0.32),
        log_p(0, 0.91, 2 * 0.524),
        log_p(1, 1.237, 2 * 0.6192),
    ]
    columns = bandit_columns(CHOICES, OUTCOMES, forgone=(0, 0, None, 1, 0))
    parameters = {"alpha": 0.3, "beta": 2.0, "alpha_cf": 0.2}
    return Case(Q.with_(counterfactual()), parameters, columns, ll, FULL)


@case
def with_mirrored_outcomes():
    # On (0, 1) the other option is taken to have paid 1 - r: 0, 1, 0, 0.
    # B: .5 - .2 * .5 = .4, .4 + .2 * .6 = .52, chosen .52 + .3 * .48 = .664, .664 - .2 * .664 = .5312
    # A: .65, .455, then other: .455 - .2 * .455 = .364, then chosen .364 + .3 * .636 = .5548
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 2 * 0.4),
        log_p(1, 0.91, 2 * 0.52),
        log_p(0, 2 * 0.364, 2 * 0.664),
        log_p(1, 2 * 0.5548, 2 * 0.5312),
    ]
    parameters = {"alpha": 0.3, "beta": 2.0, "alpha_cf": 0.2}
    model = Q.with_(counterfactual(feedback="mirrored"))
    return Case(model, parameters, bandit_columns(CHOICES, OUTCOMES), ll)


@case
def with_mirrored_outcomes_on_gains_and_losses():
    # On (-1, 1) it is taken to have paid -r. A: 0, .3, .3 + .3 * -1.3 = -.09; B: 0, -.2, -.2 + .2 * 1.2 = .04
    ll = [log_p(0, 0.0, 0.0), log_p(0, 2 * 0.3, 2 * -0.2), log_p(1, 2 * -0.09, 2 * 0.04)]
    columns = bandit_columns((0, 0, 1), (1, -1, 1))
    parameters = {"alpha": 0.3, "beta": 2.0, "alpha_cf": 0.2}
    return Case(Q.with_(counterfactual(feedback="mirrored")), parameters, columns, ll, GAIN_LOSS)


@case
def with_forgone_outcomes_at_a_shared_rate():
    # Rate .3 for both. B: .5, .35 (forgone 0), .245, then chosen .245 + .3 * .755 = .4715, forgone 1: .63005
    # A: .65, .455, then forgone 1: .455 + .3 * .545 = .6185, chosen: .6185 + .3 * .3815 = .73295
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3, 2 * 0.35),
        log_p(1, 0.91, 2 * 0.245),
        log_p(0, 2 * 0.6185, 2 * 0.4715),
        log_p(1, 2 * 0.73295, 2 * 0.63005),
    ]
    columns = bandit_columns(CHOICES, OUTCOMES, forgone=(0, 0, 1, 1, 0))
    model = Q.with_(counterfactual(alpha="shared"))
    return Case(model, {"alpha": 0.3, "beta": 2.0}, columns, ll, FULL)


@case
def forgone_outcomes_of_pairs():
    # Offers AB, DC, CB; chosen B, D (a miss in between while CD is on offer, without a code that is on offer), C.
    # Trial 1: B .5 + .4 * .5 = .7; A (forgone 0) .5 - .2 * .5 = .4.
    # Trial 3: D .5 - .4 * .5 = .3; C (forgone 1) .5 + .2 * .5 = .6.
    ll = [log_p(1, 1.0, 1.0), log_p(0, 1.0, 1.0), log_p(0, 2 * 0.6, 2 * 0.7), log_p(0, 2 * 0.4, 2 * 0.3)]
    columns = bandit_columns(
        (1, None, 3, 2, 0),
        (1, None, 0, None, 1),
        offers=[(0, 1), (2, 3), (3, 2), (2, 1), (0, 3)],
        forgone=(0, None, 1, None, 1),
    )
    task = Bandit(4, ("A", "B", "C", "D"), (0.0, 1.0), 2, has_forgone=True)
    return Case(Q.with_(counterfactual()), {"alpha": 0.4, "beta": 2.0, "alpha_cf": 0.2}, columns, ll, task)


# All that go together --------------------------------------------------------------------------------


@case
def all_traits_with_stickiness():
    # Rates + .3, - .1, other .2, forgetting .25 to .5 (of the option not chosen, after it learned), lapse .1.
    # 1: chose A, 1, other 0. A .65; B .5 - .1 = .4, forgets to .425.
    # 2: chose A, 0, other 0. A .65 - .065 = .585; B .425 - .085 = .34, forgets to .38.
    # 3: chose B, 1, other 1. B .38 + .186 = .566; A .585 + .083 = .668, forgets to .626.
    # 4: chose A, 1, other 0. A .626 + .1122 = .7382; B .566 - .1132 = .4528, forgets to .4646.
    def mixed(chosen, *logits):
        return math.log(0.9 * math.exp(log_p(chosen, *logits)) + 0.1 / 2)

    ll = [
        mixed(0, 1.0, 1.0),
        mixed(0, 2 * 0.65 + 0.4, 2 * 0.425),
        mixed(1, 2 * 0.585 + 0.4, 2 * 0.38),
        mixed(0, 2 * 0.626, 2 * 0.566 + 0.4),
        mixed(1, 2 * 0.7382 + 0.4, 2 * 0.4646),
    ]
    model = Q.with_(lapse(), forgetting(), counterfactual(), stickiness(), dual_alpha())
    parameters = {"alpha_pos": 0.3, "alpha_neg": 0.1, "alpha_cf": 0.2, "beta": 2.0}
    parameters |= {"kappa": 0.4, "phi": 0.25, "eps": 0.1}
    return Case(model, parameters, bandit_columns(CHOICES, OUTCOMES, forgone=(0, 0, 1, 0, 0)), ll, FULL)


@case
def all_traits_with_choice_trace():
    # Rates by outcome (.5 after gains, .2 else), shared with the mirrored outcome; forgetting .1 to 0; trace .5.
    # 1: chose A, 1, other -1. A .5; B -.2, forgets to -.18. Traces .5 0.
    # 2: chose B, -1, other 1. B -.18 + .2 * -.82 = -.344; A .5 + .5 * .5 = .75, forgets to .675. Traces .25 .5.
    # 3: chose A, 1, other -1. A .675 + .5 * .325 = .8375; B -.344 + .2 * -.656 = -.4752, to -.42768. Traces .625 .25.
    def mixed(chosen, *logits):
        return math.log(0.95 * math.exp(log_p(chosen, *logits)) + 0.05 / 2)

    ll = [
        mixed(0, 0.0, 0.0),
        mixed(1, 2 * 0.5 + 0.6 * 0.5, 2 * -0.18),
        mixed(0, 2 * 0.675 + 0.6 * 0.25, 2 * -0.344 + 0.6 * 0.5),
        mixed(0, 2 * 0.8375 + 0.6 * 0.625, 2 * -0.42768 + 0.6 * 0.25),
    ]
    model = Q.with_(
        dual_alpha(by="outcome"),
        choice_trace(),
        counterfactual(feedback="mirrored", alpha="shared"),
        forgetting(to="zero"),
        lapse(),
    )
    parameters = {"alpha_rew": 0.5, "alpha_pun": 0.2, "beta": 2.0, "kappa": 0.6, "tau_c": 0.5}
    parameters |= {"phi": 0.1, "eps": 0.05}
    return Case(model, parameters, bandit_columns((0, 1, 0, 0), (1, -1, 1, 1)), ll, GAIN_LOSS)


@case
def traits_three_arms():
    # Stickiness -.3, forgetting .2 to .5, rates + .5, - .25; chose C (1), C (0), A (1), B (0), A.
    # 1: C .75. 2: C .75 - .1875 = .5625. 3: A .75; C to .55. 4: B .375; A to .7; C to .54.
    ll = [
        log_p(2, 1.5, 1.5, 1.5),
        log_p(2, 1.5, 1.5, 3 * 0.75 - 0.3),
        log_p(0, 1.5, 1.5, 3 * 0.5625 - 0.3),
        log_p(1, 3 * 0.75 - 0.3, 1.5, 3 * 0.55),
        log_p(0, 3 * 0.7, 3 * 0.375 - 0.3, 3 * 0.54),
    ]
    columns = bandit_columns((2, 2, 0, 1, 0), (1, 0, 1, 0, 1), n_options=3)
    parameters = {"alpha_pos": 0.5, "alpha_neg": 0.25, "beta": 3.0, "kappa": -0.3, "phi": 0.2}
    return Case(Q.with_(stickiness(), dual_alpha(), forgetting()), parameters, columns, ll, THREE)


# Missed responses, forced choices, resets ------------------------------------------------------------


@case
def a_missed_trial_neither_teaches_nor_counts():
    # As plain_two_arms without its second trial: A stays .65.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(1, 1.3, 1.0),
        log_p(0, 1.3, 1.3),
        log_p(1, 2 * 0.755, 1.3),  # A: .65 + .3 * .35
    ]
    columns = bandit_columns((0, None, 1, 0, 1), (1, None, 1, 1, 0))
    return Case(Q, {"alpha": 0.3, "beta": 2.0}, columns, ll)


@case
def forgetting_runs_through_a_missed_trial():
    # A: .65, then in the miss all options forget: .65 - .2 * .15 = .62; B stays .5. Then B: .65, A: .62 - .2 * .12.
    ll = [log_p(0, 1.0, 1.0), log_p(1, 2 * 0.62, 1.0), log_p(0, 2 * 0.596, 1.3)]
    columns = bandit_columns((0, None, 1, 0), (1, None, 1, 1))
    return Case(Q.with_(forgetting()), {"alpha": 0.3, "beta": 2.0, "phi": 0.2}, columns, ll)


@case
def a_missed_first_trial():
    # Stickiness starts from nothing; values from .5.
    ll = [log_p(0, 1.0, 1.0), log_p(1, 1.3 + 0.4, 1.0)]
    columns = bandit_columns((None, 0, 1), (None, 1, 0))
    return Case(Q.with_(stickiness()), {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}, columns, ll)


@case
def a_forced_choice_teaches_but_does_not_count():
    # Trial 2 is forced to B: it moves B and is what stickiness repeats.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(1, 1.3, 1.3 + 0.4),  # B: .5 + .3 * .5
        log_p(0, 1.3, 2 * 0.455 + 0.4),  # B: .65 - .3 * .65
    ]
    columns = bandit_columns((0, 1, 1, 0), (1, 1, 0, 1), forced=(1,))
    return Case(Q.with_(stickiness()), {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}, columns, ll)


@case
def a_reset_in_the_middle():
    # The third trial starts afresh: values at .5, nothing to repeat.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3 + 0.4, 1.0),
        log_p(1, 1.0, 1.0),
        log_p(0, 1.0, 1.3 + 0.4),
        log_p(1, 1.3 + 0.4, 1.3),
    ]
    columns = bandit_columns(CHOICES, OUTCOMES, resets=(2,))
    return Case(Q.with_(stickiness()), {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}, columns, ll)


@case
def a_missed_reset():
    # The block's first trial was missed: values start afresh all the same.
    ll = [log_p(0, 1.0, 1.0), log_p(1, 1.0, 1.0), log_p(0, 1.0, 1.3 + 0.4)]
    columns = bandit_columns((0, None, 1, 0), (1, None, 1, 1), resets=(1,))
    return Case(Q.with_(stickiness()), {"alpha": 0.3, "beta": 2.0, "kappa": 0.4}, columns, ll)


@case
def a_choice_without_feedback_counts_and_does_not_teach():
    # No outcome on trials 2 and 3. Values stay; the choice is a previous choice all the same; the other forgets.
    # A .65 kept on 2, forgets on 3: .65 - .2 * .15 = .62; B .5.
    ll = [
        log_p(0, 1.0, 1.0),
        log_p(0, 1.3 + 0.4, 1.0),
        log_p(1, 1.3 + 0.4, 1.0),
        log_p(0, 2 * 0.62, 1.0 + 0.4),
    ]
    columns = bandit_columns((0, 0, 1, 0), (1, None, None, 1))
    parameters = {"alpha": 0.3, "beta": 2.0, "kappa": 0.4, "phi": 0.2}
    return Case(Q.with_(stickiness(), forgetting()), parameters, columns, ll)


# Baselines ---------------------------------------------------------------------------------------------


@case
def random_choice():
    columns = bandit_columns((2, None, 0, 1), (1, None, 0, 1), n_options=3)
    return Case(find("random"), {}, columns, [math.log(1 / 3)] * 3, THREE)


@case
def random_choice_between_pairs():
    columns = bandit_columns((1, 3), (1, 0), offers=[(0, 1), (3, 2)])
    return Case(find("random"), {}, columns, [math.log(1 / 2)] * 2, Bandit(4, tuple("ABCD"), (0.0, 1.0), 2))


@case
def biased_coin():
    total = 1 + math.exp(0.7) + math.exp(-0.2)
    ll = [math.log(1 / total), math.log(math.exp(-0.2) / total), math.log(math.exp(0.7) / total)]
    columns = bandit_columns((0, 2, 1), (1, 0, 1), n_options=3)
    return Case(find("biased_coin"), {"b_1": 0.7, "b_2": -0.2}, columns, ll, THREE)


@case
def win_stay_lose_shift():
    # First choice uniform; stays with .9 after a win; shifts with .6 after a loss, half of it to either other.
    ll = [math.log(1 / 3), math.log(0.9), math.log(0.6 / 2), math.log(0.4), math.log((1 - 0.9) / 2)]
    columns = bandit_columns((2, 2, None, 0, 0, 1), (1, 0, None, 0, 1, 1), n_options=3)
    return Case(find("wsls"), {"p_stay_win": 0.9, "p_shift_loss": 0.6}, columns, ll, THREE)


@case
def win_stay_lose_shift_between_pairs():
    # The last choice was B, a win; B is not on offer on trial 2, so that both are as good.
    ll = [math.log(1 / 2), math.log(1 / 2), math.log(1 - 0.6)]
    columns = bandit_columns((1, 3, 3), (1, 0, 1), offers=[(0, 1), (2, 3), (1, 3)])
    task = Bandit(4, tuple("ABCD"), (0.0, 1.0), 2)
    return Case(find("wsls"), {"p_stay_win": 0.9, "p_shift_loss": 0.6}, columns, ll, task)
