"""Real data: fits with default priors converge, and simulated subjects behave like the real ones.

Each fitted subject is simulated with draws of its own parameters, learning from its own choices. The interval is of
the mean accuracy over subjects; it does not hold the spread between people, so it is narrow and a misfit shows.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fitrl
from fitrl.fitting.predict import predict
from fitrl.show.report import Behaviour
from fitrl.tasks.signatures import accuracy, choose_avoid, predictive_band

SHARED = Path(__file__).parents[1].parent / "shared"

pytestmark = [
    pytest.mark.study,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared folder beside the clone"),
]

# From the README of the data: share of trials with the better symbol.
TURI = {"N": 0.728, "A": 0.764, "B": 0.798}
FONTANESI = {"1 v 2": 0.743, "1 v 3": 0.889, "2 v 4": 0.883, "3 v 4": 0.744}


def turi(condition):
    """One condition, with the symbols by letter as options on offer, and their payoffs."""
    raw = pd.read_csv(SHARED / "data" / "turi2017_pst.csv")
    raw = raw[raw["condition"] == condition]
    good, bad = (raw["pair"].map(dict(enumerate(letters, start=1))) for letters in ("ACE", "BDF"))
    return pd.DataFrame(
        {
            "subject": raw["subject"],
            "trial": raw["trial"],
            "option_1": good,
            "option_2": bad,
            "choice": good.where(raw["choice"] == 1, bad).where(raw["choice"].notna()),
            "outcome": raw["reward"],
            "payoff_1": raw["p_good"],
            "payoff_2": 1 - raw["p_good"],
        }
    )


def turi_with_transfer(condition):
    """The same, followed by the choices without feedback between all symbols, which are held out of the fit."""
    training = turi(condition)
    raw = pd.read_csv(SHARED / "data" / "turi2017_pst_transfer.csv").query("condition == @condition")
    pays = dict(zip("ABCDEF", (0.8, 0.2, 0.7, 0.3, 0.6, 0.4), strict=True))
    transfer = pd.DataFrame(
        {
            "subject": raw["subject"],
            "trial": training["trial"].max() + raw["trial"],
            "option_1": raw["left"],
            "option_2": raw["right"],
            "choice": raw["choice"],
            "payoff_1": raw["left"].map(pays),
            "payoff_2": raw["right"].map(pays),
        }
    )
    both = [training.assign(mask_choice=1), transfer.assign(mask_choice=0)]  # no outcome: nothing is learned
    return fitrl.read_trials(pd.concat(both, ignore_index=True))


def fontanesi():
    names = {"option_1": "option_correct", "option_2": "option_incorrect", "outcome_forgone": "forgone"}
    file = SHARED / "data" / "fontanesi2019_rlddm.csv"
    return fitrl.read_trials(file, "q_learning", columns=names, outcome_scale=100, reset="block")


def fitted(trials, traits):
    # Some of these people chose nearly without exception: their beta has a long tail, so the default draws fall short.
    kwargs = {"draws": 2000, "tune": 1500, "random_seed": 1, "progressbar": False}
    found = fitrl.fit("q_learning", trials, traits=traits, **kwargs)
    print(found.verdict.text(), {stage: round(seconds, 1) for stage, seconds in found.spec.timings.items()})
    assert found.verdict.converged, found.verdict.text()
    return found


def accuracies(fit):
    """Observed accuracy, and the 95 % interval of the free run; overall and by pair."""
    data = Behaviour(fit, draws=400, random_seed=1)

    def of(frame):
        return accuracy(frame, data.correct(frame), fit.trials.task.labels)

    free = data.free_band(of)["free"]
    table = of(data.frame)[["x", "mean"]].assign(free=free["mean"], lower=free["lower"], upper=free["upper"])
    table["inside"] = (table["lower"] <= table["mean"]) & (table["mean"] <= table["upper"])
    print(table.round(3).to_string(index=False))
    return table.set_index("x")


def transfer(fit):
    """Observed choose-A and avoid-B, and the 95 % intervals of both predictions."""
    frame, predictions = fit.trials.frame, predict(fit, draws=400, random_seed=1)

    def band(choices):
        return predictive_band([choose_avoid(frame, 0, 1, predicted=choice) for choice in choices])

    table = choose_avoid(frame, 0, 1, labels=fit.trials.task.labels)[["x", "mean"]]
    for prefix, choices in (("predicted_", predictions.one_step["choice"]), ("free_", predictions.free["choice"])):
        table = table.join(band(choices)[["mean", "lower", "upper"]].add_prefix(prefix))
    print(table.round(3).to_string(index=False))
    return table.set_index("x")


@pytest.mark.parametrize("condition", TURI)
def test_turi_is_read_as_published(condition):
    frame = turi(condition)
    long = fitrl.read_trials(frame, "q_learning")
    raw = pd.read_csv(SHARED / "data" / "turi2017_pst.csv").query("condition == @condition")
    short = fitrl.read_trials(raw, "q_learning", columns={"stimulus": "pair", "outcome": "reward"})
    assert long.task.labels == tuple("ABCDEF")
    assert long.task.n_options == short.task.n_options == 6
    for trials in (long, short):
        better = trials.frame.loc[trials.frame["mask_choice"], "choice"] % 2 == 0
        assert better.mean() == pytest.approx(TURI[condition], abs=6e-4)
    same = ["choice", "offer_1", "offer_2", "outcome", "mask_choice", "mask_update", "reset"]
    pd.testing.assert_frame_equal(long.frame[same], short.frame[same])


@pytest.mark.parametrize("condition", ["N", "A"])
def test_q_learning_reproduces_the_accuracy_of_turi(condition):
    table = accuracies(fitted(fitrl.read_trials(turi(condition), "q_learning"), ()))
    assert table.loc["all", "inside"]


def test_q_learning_falls_short_in_the_condition_with_the_best_learners():
    """In condition B people soon know the better symbol and stay with it, which an average over outcomes cannot do."""
    table = accuracies(fitted(fitrl.read_trials(turi("B"), "q_learning"), ()))
    assert 0 < table.loc["all", "mean"] - table.loc["all", "free"] < 0.04


def test_two_rates_and_mirrored_outcomes_reproduce_that_condition():
    """Hardly learning from losses, and learning about the other symbol of a pair, gives accuracies of all pairs."""
    mirrored = ("counterfactual", {"feedback": "mirrored"})
    table = accuracies(fitted(fitrl.read_trials(turi("B"), "q_learning"), [mirrored, "dual_alpha"]))
    assert table["inside"].all()


@pytest.mark.parametrize(("model", "traits"), [("q_learning", ["dual_alpha"]), ("opal", ())], ids=["two_rates", "opal"])
def test_training_predicts_transfer(model, traits):
    """Fitted to training alone, both say how often A is chosen and B avoided in new pairs.

    The chains are short: means over people settle long before every person's rates do (in opal, one person's NoGo rate
    has two modes), so that divergences are refused here and nothing is said about single people.
    """
    kwargs = {"draws": 500, "tune": 500, "chains": 2, "random_seed": 1, "progressbar": False}
    fit = fitrl.fit(model, turi_with_transfer("N"), traits=traits, **kwargs)
    print(fit.verdict.text())
    assert fit.spec.attempts[-1]["divergences"] == 0
    assert not fit.trials.frame.loc[fit.trials.frame["mask_choice"], "trial"].gt(360).any()
    table = transfer(fit)
    assert (table["predicted_lower"] <= table["mean"]).all()
    assert (table["mean"] <= table["predicted_upper"]).all()
    assert (table["free_lower"] <= table["mean"]).all()
    assert (table["mean"] <= table["free_upper"]).all()


def test_fontanesi_with_forgone_outcomes_and_lapses():
    trials = fontanesi()
    table = accuracies(fitted(trials, ["counterfactual", "lapse"]))
    for pair, published in FONTANESI.items():
        assert table.loc[pair, "mean"] == pytest.approx(published, abs=1.5e-3)
    assert table["inside"].all()


def test_fontanesi_needs_the_forgone_outcomes():
    """Without them hard pairs are learned too badly, in spite of the best learning rate."""
    free = accuracies(fitted(fontanesi(), ()))
    assert not free.loc["1 v 2", "inside"]
    assert free.loc["1 v 2", "free"] < free.loc["1 v 2", "mean"] - 0.05
    assert np.isfinite(free["free"]).all()


# Labs' own tasks ----------------------------------------------------------------------------------

USER_MODELS = Path(__file__).parent / "user_models"
SHORT = {"draws": 300, "tune": 300, "chains": 2, "random_seed": 1, "progressbar": False}
GAMBLES = [0.30, 0.50, 0.72]  # by deck, from the README of the data


def share_gambled(fit, by):
    """Observed share of gambles, and the 95 % interval of the one-step prediction."""
    frame, predicted = fit.trials.frame, predict(fit, draws=200, random_seed=1).one_step["choice"]
    scored = frame["mask_choice"].to_numpy()
    groups = frame.loc[scored, by]
    table = frame[scored].groupby(by)["choice"].agg(["mean", "size"])
    shares = np.stack([pd.Series(choice[scored]).groupby(groups.to_numpy()).mean() for choice in predicted])
    table["predicted"] = shares.mean(axis=0)
    table["lower"], table["upper"] = np.quantile(shares, [0.025, 0.975], axis=0)
    print(table.round(3).to_string())
    return table


def test_michely_as_a_users_task():
    """Two learning rates and the number on the table reproduce who gambles when, within two percent of trials.

    The chains are short: nothing is said about single people, group quantities are settled. Rates after wins and after
    losses hardly differ over both groups and days (.13 and .10).
    """
    model = str(USER_MODELS / "deck_game.py")
    trials = fitrl.read_trials(SHARED / "data" / "michely2022_ssri.csv", model, columns={"session": "day"})
    fit = fitrl.fit(model, trials, **SHORT)
    print(fit.verdict.text())
    assert fit.spec.attempts[-1]["divergences"] == 0
    by_deck, by_number = share_gambled(fit, "deck"), share_gambled(fit, "number")
    np.testing.assert_allclose(by_deck["mean"], GAMBLES, atol=0.006)
    for table in (by_deck, by_number):
        assert (table["predicted"] - table["mean"]).abs().max() < 0.02
    group = fitrl.summary(fit).set_index(["parameter", "quantity"])
    medians = group.xs("pop_median", level="quantity")["post_mean"]
    assert 0.05 < medians["alpha_loss"] < medians["alpha_win"] < 0.2
    # Deck 3 is worth more than deck 1 once the number is taken into account, and people know it.
    values = fitrl.latents(fit, draws=20)
    late = values["trial"].astype(int) > 90
    assert values.loc[late, "q_2_mean"].mean() > 0.3 > -0.1 > values.loc[late, "q_0_mean"].mean()


def kirschner(drug):
    """One drug; ``fresh`` marks where the probability of a symbol changes, since choices jump there at once."""
    raw = pd.read_csv(SHARED / "data" / "kirschner2024_meth_reversal.csv").sort_values(["subject", "trial"])
    raw = raw[raw["condition"] == drug]
    before = raw.groupby(["subject", "stimulus"])["p_win"].shift()
    return raw.assign(fresh=(raw["p_win"] != before).astype(int))


def test_kirschner_as_a_users_task():
    """Separate fits by drug: less is learned from an outcome under methamphetamine, but far less than published.

    Published is a model whose rate follows surprise, by a parameter eta of .29 (placebo) and .24 (methamphetamine); see
    `user_models/gamble_pass_surprise.py`. Here 29 people are fitted with a rate that stays, and the intervals overlap.
    Without the fresh starts the mean log probability of a choice is lower by .08.
    """
    model, rate = str(USER_MODELS / "gamble_pass.py"), {}
    for drug in ("placebo", "meth"):
        fit = fitrl.fit(model, kirschner(drug), **SHORT)
        print(drug, fit.verdict.text())
        assert fit.spec.attempts[-1]["divergences"] == 0
        fit.trials.frame["p_win"] = fit.trials.original["p_win"].to_numpy(float)
        by_chance = share_gambled(fit, "p_win")
        assert by_chance["mean"].is_monotonic_increasing
        assert (by_chance["predicted"] - by_chance["mean"]).abs().max() < 0.06
        if drug == "placebo":
            stays = fitrl.fit(model, kirschner(drug).assign(fresh=0), quick=True, random_seed=1)
            afresh = fitrl.fit(model, kirschner(drug), quick=True, random_seed=1)
            logs = [np.log(fitrl.latents(one, draws=50)["p_choice_mean"]).mean() for one in (stays, afresh)]
            assert logs[1] - logs[0] > 0.05
        rate[drug] = fitrl.summary(fit).set_index(["quantity", "parameter"]).loc[("pop_mean", "alpha")]
    print(pd.DataFrame(rate).T[["post_mean", "hdi95_lower", "hdi95_upper"]])
    assert rate["placebo"]["post_mean"] < rate["meth"]["hdi95_upper"]


def test_mikus_is_read_and_fitted():
    """Kool's task in points from -4 to 5; a quick fit of all, since 216 people take long to sample."""
    names = {"outcome_scale": 5}
    trials = fitrl.read_trials(SHARED / "data" / "mikus2025_testosterone.csv", "two_step_kool", **names)
    frame = trials.frame
    assert trials.n_subjects == 216
    assert (~frame["choice1_given"]).sum() == 743
    assert frame["outcome"].min() == -0.8
    assert frame["outcome"].max() == 1.0
    fit = fitrl.fit("two_step_kool", trials, quick=True, random_seed=1)
    medians = fitrl.summary(fit).set_index(["quantity", "parameter"]).loc["pop_median"]
    print(medians[["post_mean", "hdi95_lower", "hdi95_upper"]].round(3).to_string())
    assert 0.2 < medians.loc["beta", "post_mean"] < 0.7  # per point
    assert 0.4 < medians.loc["w_mb", "post_mean"] < 0.9
