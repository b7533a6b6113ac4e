"""Behavioural signatures: the curves and rates by which simulated choices are compared with observed ones.

Every function takes a canonical trial table (``Trials.frame``) and returns a tidy table. Curves and rates
over subjects have the columns ``x`` (where), ``mean`` and ``se`` (over subjects), ``lower`` and ``upper``
(mean minus and plus one standard error) and ``n_subjects``; a subject counts once, whatever the number of
trials. For simulated choices, replace the observed ones with `with_choices` and call the same functions;
`predictive_band` joins the tables of many simulated data sets into one band.

A *run* is what lies between two resets of the learned values (``frame["reset"]``): a block or a sequence.

The signatures of each family of tasks are written in a module of their own, and all are taken from here.
"""

from fitrl.tasks.scoring import (
    OptionValues,
    best_option,
    correct_choice,
    extreme_options,
    option_values,
    with_choices,
)
from fitrl.tasks.signatures_bandit import learning_curve, post_reversal_curve, stay_rates, win_stay_lose_shift
from fitrl.tasks.signatures_choices import choice_shares, learning_by_set_size, right_actions
from fitrl.tasks.signatures_common import predictive_band, win_threshold
from fitrl.tasks.signatures_pairs import accuracy, choose_avoid
from fitrl.tasks.signatures_phases import latent_by_phase, learning_rate_by_phase
from fitrl.tasks.signatures_twostep import STARTS, TRANSITIONS, median_outcome, stay_by_start, stay_by_transition

__all__ = [
    "STARTS",
    "TRANSITIONS",
    "OptionValues",
    "accuracy",
    "best_option",
    "choice_shares",
    "choose_avoid",
    "correct_choice",
    "extreme_options",
    "latent_by_phase",
    "learning_by_set_size",
    "learning_curve",
    "learning_rate_by_phase",
    "median_outcome",
    "option_values",
    "post_reversal_curve",
    "predictive_band",
    "right_actions",
    "stay_by_start",
    "stay_by_transition",
    "stay_rates",
    "win_stay_lose_shift",
    "win_threshold",
    "with_choices",
]
