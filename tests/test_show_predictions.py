"""The table of predictive checks: the numbers of the figures, and the right words about them."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fake_fits import fake_fit

import fitrl
from fitrl import datasets
from fitrl.errors import DataError, FitError, ModelError
from fitrl.language import Model, State, bernoulli_logit, real
from fitrl.show.by import factors, write_by
from fitrl.show.predictions import TABLE, Behaviour, behaviour_of, check_predictions, outside
from fitrl.tasks import Column, Recorded, Task, TwoStep, signatures
from fitrl.tasks.environments import Fixed


@pytest.fixture(scope="module")
def trials():
    return fitrl.read_trials(datasets.path("bandit"))


@pytest.fixture(scope="module")
def right(trials):
    """Draws at the true parameters."""
    truth = datasets.truth("bandit").pivot(index="subject", columns="parameter", values="value").loc[trials.subjects]
    n = (2, 60, len(truth))
    return fake_fit("q_learning", trials, {name: np.broadcast_to(truth[name].to_numpy(), n) for name in truth})


def test_the_table_holds_what_the_figures_draw(right, trials):
    data = Behaviour(right)
    table = check_predictions(data)
    assert set(table["signature"]) == set(data.names) == {"stay", "learning", "reversal"}
    stay = table[table["signature"] == "stay"].reset_index(drop=True)
    observed = signatures.stay_rates(signatures.win_stay_lose_shift(trials.frame))
    assert stay["x"].tolist() == ["stay after win", "shift after loss"]
    np.testing.assert_allclose(stay["observed"], observed["mean"])
    # The band by hand: rates of each simulated data set, then their mean and central 95 %.
    rates = []
    free = data.predictions.free
    for choice, outcome in zip(free["choice"], free["outcome"], strict=True):
        played = signatures.with_choices(trials.frame, choice, outcome)
        rates.append(signatures.stay_rates(signatures.win_stay_lose_shift(played))["mean"].to_numpy())
    np.testing.assert_allclose(stay["free"], np.mean(rates, axis=0))
    np.testing.assert_allclose(stay["free_lower"], np.quantile(rates, 0.025, axis=0))
    np.testing.assert_allclose(stay["free_upper"], np.quantile(rates, 0.975, axis=0))
    inside = (stay["observed"] >= stay["free_lower"]) & (stay["observed"] <= stay["free_upper"])
    assert stay["free_inside"].astype(bool).tolist() == inside.tolist()


def test_the_true_model_predicts_its_data_and_guessing_does_not(right, trials):
    true = check_predictions(right)
    assert true["free_inside"].mean() > 0.8  # 95 % in the long run; values of one data set depend on each other
    guess = check_predictions(fake_fit("random", trials, {}))
    learning = guess[guess["signature"] == "learning"]
    assert learning["free_inside"].mean() < 0.3
    assert "learning at" in outside(guess)


def test_nothing_is_simulated_twice(right, monkeypatch):
    data = Behaviour(right)
    data.tables("stay")
    monkeypatch.setattr("fitrl.show.predictions.predict", None)
    assert len(check_predictions(data)) > 10


def test_without_a_free_run_one_step_predictions_are_judged(trials):
    frame = trials.original.drop(columns=[c for c in trials.original if c.startswith("payoff")])
    table = check_predictions(fake_fit("random", fitrl.read_trials(frame), {}))
    assert table["free_inside"].isna().all()
    assert table["one_step_inside"].notna().any()
    assert outside(table).startswith("Predictions (one-step, 95 %)")


def test_words():
    table = pd.DataFrame(
        {
            "signature": ["stay", "learning", "learning"],
            "x": ["stay after win", "1.5", "2.5"],
            "observed": [0.9, 0.5, np.nan],
            "free_lower": [0.6, 0.4, 0.4],
            "free_upper": [0.8, 0.6, 0.6],
            "free_inside": [False, True, np.nan],
            "free_simulated": "",
        }
    )
    assert outside(table) == (
        "Predictions (free-running, 95 %): 1 of 2 observed values inside. Outside: stay at stay after win is 0.90, "
        "predicted 0.60 to 0.80."
    )
    assert outside(table[1:]) == "Predictions (free-running, 95 %): 1 of 1 observed values inside."


def test_two_step_tasks_have_stay_by_transition():
    simulated = fitrl.simulate("two_step_split", subjects=4, trials=60, random_seed=1)
    truth = simulated.truth.pivot(index="subject", columns="parameter", values="value").loc[simulated.trials.subjects]
    draws = {name: np.broadcast_to(truth[name].to_numpy(), (2, 30, 4)) for name in truth}
    table = check_predictions(fake_fit("two_step_split", simulated.trials, draws))
    assert table["x"].tolist() == list(signatures.TRANSITIONS)
    np.testing.assert_allclose(table["observed"], signatures.stay_by_transition(simulated.trials.frame)["mean"])
    assert table["one_step_inside"].notna().all()
    assert table["free_inside"].notna().all()
    assert set(table["free_simulated"]) == {""}  # the payoffs are in the file


@pytest.fixture(scope="module")
def two_step():
    """A fit at the truth, of two-step trials whose payoffs are not recorded."""
    simulated = fitrl.simulate("two_step_split", subjects=20, trials=200, random_seed=2)
    payoffs = [f"payoff_{k}" for k in (1, 2, 3, 4)]
    trials = fitrl.read_trials(simulated.frame.drop(columns=payoffs), "two_step_split")
    truth = simulated.truth.pivot(index="subject", columns="parameter", values="value").loc[trials.subjects]
    draws = {name: np.broadcast_to(truth[name].to_numpy(), (2, 30, 20)) for name in truth}
    return fake_fit("two_step_split", trials, draws)


def test_the_true_model_predicts_stay_probabilities_under_a_simulated_schedule(two_step):
    """The observed values come from one schedule per agent; bands of 60 free runs under new ones hold them."""
    table = check_predictions(two_step)
    assert set(table["free_simulated"]) == {"schedule simulated"}
    assert table["one_step_inside"].sum() >= 3  # one in twenty lies outside
    assert table["free_inside"].sum() >= 3
    assert (table["free_upper"] - table["free_lower"]).max() < 0.15
    words = outside(table).split("\n")
    assert [line.split(":")[0] for line in words] == [
        "Predictions (one-step, 95 %)",
        "Predictions (free-running, schedule simulated, 95 %)",
    ]


def test_a_model_that_cannot_produce_the_behaviour_lies_outside(two_step):
    n = (2, 30, 20)
    names = ("beta_mb", "beta_mf", "beta_2", "alpha", "lam", "kappa")
    draws = {name: np.broadcast_to(0.5 if name in ("alpha", "lam") else 0.0, n) for name in names}
    table = check_predictions(fake_fit("two_step_split", two_step.trials, draws)).set_index("x")
    assert table.loc["reward, common", "free"] == pytest.approx(0.5, abs=0.01)  # chance
    assert not table.loc["reward, common", "free_inside"]
    assert "Outside: stay at reward, common" in outside(table.reset_index())


def test_another_schedule_may_be_named(two_step):
    always = Behaviour(two_step, draws=3, environment=Fixed((1.0, 1.0, 1.0, 1.0))).predictions
    assert (always.free["outcome"] == 1.0).all()
    assert always.simulated == "schedule simulated"
    with pytest.raises(ModelError, match="volatile"):
        check_predictions(two_step, environment="volatile")


def test_the_figure_says_what_is_simulated(two_step):
    figure, _ = fitrl.plot_stay(two_step)
    words = " ".join(" ".join(text.get_text().split()) for text in figure.legends[0].get_texts())
    assert "free-running (schedule simulated): simulated subjects learn from their own choices" in words


def at_the_truth(model, n_draws=30, drop=(), **settings):
    """Simulated trials, and a fit to them whose draws are the true values."""
    simulated = fitrl.simulate(model, random_seed=2, **settings)
    trials = fitrl.read_trials(simulated.frame.drop(columns=list(drop)), model)
    truth = simulated.truth.pivot(index="subject", columns="parameter", values="value").loc[trials.subjects]
    draws = {name: np.broadcast_to(truth[name].to_numpy(), (2, n_draws, len(truth))) for name in truth}
    return simulated, fake_fit(model, trials, draws)


def test_the_true_model_returns_to_the_goal_states_of_kools_task():
    recorded = at_the_truth("two_step_kool_split", subjects=60, trials=120)[1]
    known = check_predictions(recorded)
    assert set(known["free_simulated"]) == {""}
    assert known["free_inside"].sum() >= 3
    payoffs = ("payoff_1", "payoff_2")
    simulated, fit = at_the_truth("two_step_kool_split", drop=payoffs, subjects=60, trials=120)
    data = Behaviour(fit)
    assert data.names == ("stay",)
    table = check_predictions(data)
    assert table["x"].tolist() == list(signatures.STARTS)
    observed = signatures.stay_by_start(simulated.trials.frame)["mean"]
    np.testing.assert_allclose(table["observed"], observed)
    assert table["one_step_inside"].sum() >= 3
    assert set(table["free_simulated"]) == {"payoffs between visits drawn"}
    # Payoffs that are drawn between visits are nearly, not quite, those that people met.
    np.testing.assert_allclose(table["free"], observed, atol=0.03)
    names = fit.idata["posterior"].data_vars
    at_random = {name: np.full((2, 30, 60), 0.5 if name in ("alpha", "lam") else 0.0) for name in names}
    guess = check_predictions(fake_fit("two_step_kool_split", fit.trials, at_random))
    np.testing.assert_allclose(guess["one_step"], 0.5, atol=0.02)
    assert not guess.loc[0, "one_step_inside"]
    drifting = check_predictions(fit, environment="drifting")
    assert set(drifting["free_simulated"]) == {"schedule simulated"}


def test_the_true_model_learns_actions_as_fast_as_people():
    _, fit = at_the_truth("rlwm", subjects=25, trials=220)
    data = Behaviour(fit)
    assert data.names == ("set_size",)
    table = check_predictions(data)
    known = table[table["free_inside"].notna()]
    assert known["one_step_inside"].mean() > 0.85
    assert known["free_inside"].mean() > 0.85
    first = table[table["x"].str.endswith("presentation 1")]
    assert first["free"].between(0.25, 0.42).all()  # of three actions
    _, axes = fitrl.plot_set_size(data)
    assert [ax.get_title(loc="left") for ax in axes] == [f"{n} stimuli" for n in (2, 3, 4, 5, 6)]
    with pytest.raises(FitError, match="Use plot_set_size"):
        fitrl.plot_learning(data)


def test_a_task_of_ones_own_shows_what_is_chosen_when():
    model = str(Path(__file__).parent / "user_models" / "gamble_pass.py")
    simulated, fit = at_the_truth(model, subjects=15, trials=120)
    data = Behaviour(fit)
    assert data.names == ("shares",)
    table = check_predictions(data).set_index("x")
    assert table.index.tolist() == ["choice 1", *(f"choice 1, stimulus {k}" for k in (1, 2, 3))]
    frame = simulated.trials.frame
    by_hand = frame[frame["stimulus"] == 1].groupby("subject_idx")["choice"].mean().mean()
    assert table.loc["choice 1, stimulus 2", "observed"] == pytest.approx(by_hand)
    assert table["one_step_inside"].sum() >= 3
    assert table["free_inside"].sum() >= 3
    _, ax = fitrl.plot_shares(data)
    assert ax.get_ylabel() == "share of choices"


@pytest.fixture(scope="module")
def crossover():
    """Two sessions of 12 people; under the drug choices are random, and the fit knows it."""
    made = fitrl.simulate("q_learning", subjects=24, trials=60, random_seed=3, parameters={"alpha": 0.5, "beta": 6.0})
    frame = made.frame.assign(order=made.frame["subject"].astype(int))
    frame["subject"], frame["drug"] = (frame["order"] + 1) // 2, np.where(frame["order"] % 2, "placebo", "verum")
    frame["session"] = frame["drug"]
    verum = frame["drug"] == "verum"
    frame.loc[verum, "choice"] = np.random.default_rng(1).choice(["A", "B"], verum.sum())
    return frame.drop(columns="order")


def test_sessions_are_looked_at_on_their_own(crossover):
    trials = fitrl.read_trials(crossover)
    fit = fake_fit("q_learning", trials, {name: np.full((2, 30, 12), x) for name, x in (("alpha", 0.5), ("beta", 6.0))})
    table = check_predictions(fit, by="drug")
    assert table.columns.tolist() == ["drug", *TABLE]
    assert list(dict.fromkeys(table["drug"])) == ["placebo", "verum"]
    for level, part in table.groupby("drug"):
        alone = fitrl.read_trials(crossover[crossover["drug"] == level].reset_index(drop=True))
        same = fake_fit("q_learning", alone, {n: np.full((2, 30, 12), x) for n, x in (("alpha", 0.5), ("beta", 6.0))})
        expected = check_predictions(same)
        assert part["x"].tolist() == expected["x"].tolist()
        np.testing.assert_allclose(part["observed"], expected["observed"])
        np.testing.assert_allclose(part["free"], expected["free"], atol=0.05)
    stay = table[(table["signature"] == "stay") & (table["x"] == "stay after win")].set_index("drug")
    assert stay.loc["placebo", "free_inside"]
    assert not stay.loc["verum", "free_inside"]  # the model of these values does not know what the drug does
    with pytest.raises(FitError, match="changes within a sequence"):
        check_predictions(fit, by="choice")
    data = Behaviour(fit)
    assert data.split("drug") is data.split("drug")
    nested = data.split("drug")["verum"].split("session")
    assert list(nested) == ["verum"]
    np.testing.assert_array_equal(nested["verum"].rows, data.split("drug")["verum"].rows)
    some = Behaviour(fit, rows=np.arange(60))  # the first session alone
    assert {v.shape[1] for v in some.predictions.one_step.values()} == {60}
    assert check_predictions(some)["observed"].notna().any()
    clash = fitrl.read_trials(crossover.assign(observed=crossover["drug"]))
    same = fake_fit("q_learning", clash, {name: np.full((2, 5, 12), 0.5) for name in ("alpha", "beta")})
    with pytest.raises(FitError, match="has a column"):
        check_predictions(same, by="observed")
    with pytest.raises(DataError, match="dose"):
        check_predictions(fit, by="dose")


def test_sessions_are_drawn_side_by_side(crossover, tmp_path):
    draws = {name: np.full((2, 5, 12), x) for name, x in (("alpha", 0.5), ("beta", 6.0))}
    data = Behaviour(fake_fit("q_learning", fitrl.read_trials(crossover), draws, status="not converged"))
    fig, axes = fitrl.plot_by(data, "drug", "stay")
    assert [ax.get_title(loc="left") for ax in axes] == ["drug: placebo", "drug: verum"]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    lowest, highest = axes[0].get_ylim()
    for ax, part in zip(axes, data.split("drug").values(), strict=True):
        shown = part.tables("stay")["observed"]
        assert (shown["lower"] >= lowest).all()
        assert (shown["upper"] <= highest).all()
        assert ax.get_legend() is None
        assert not any("NOT CONVERGED" in text.get_text() for text in ax.texts)
    assert [text.get_text().split(":")[0] for text in fig.legends[0].get_texts()] == [
        "data",
        "one-step",
        "free-running",
    ]
    assert all("±" in text.get_text() or "95 %" in text.get_text() for text in fig.legends[0].get_texts())
    assert "NOT CONVERGED" in fig.get_suptitle()
    plt.close(fig)
    assert [path.name for path in write_by(data, tmp_path, "drug")] == ["stay_by_drug.png", "learning_by_drug.png"]
    with pytest.raises(FitError, match=r"no level of drug has the signature reversal. These data have stay, learning"):
        fitrl.plot_by(data, "drug", "reversal")


def test_names_of_columns_and_levels_are_the_users(crossover):
    frame = crossover.rename(columns={"drug": "dose mg"}).assign(observed=crossover["drug"])
    frame["dose_mg"] = frame["dose mg"] = frame["dose mg"].replace("verum", "$5_$")
    formulas = {"alpha": "`dose mg`", "beta": "dose_mg"}
    fit = fitrl.fit("q_learning", frame, formulas=formulas, quick=True, random_seed=1)
    assert factors(fit) == {"dose mg": "dose_mg", "dose_mg": "dose_mg_2"}
    fig, axes = fitrl.plot_by(fit, "dose mg", "stay")
    fig.canvas.draw()  # a title that is no mathematics
    assert len(axes) == 2
    plt.close(fig)
    reserved = fitrl.fit("q_learning", frame, formulas={"alpha": "observed"}, quick=True, random_seed=1)
    assert factors(reserved) == {}  # the table of predictions has a column of that name


def test_many_groups_are_wrapped(trials):
    frame = fitrl.simulate("q_learning", subjects=6, trials=20, random_seed=1).frame
    data = Behaviour(
        fake_fit("q_learning", fitrl.read_trials(frame), {n: np.full((2, 5, 6), 0.5) for n in ("alpha", "beta")})
    )
    fig, axes = fitrl.plot_by(data, "subject")
    assert len(axes) == len(fig.axes) == 6
    assert len({round(ax.get_position().y0, 2) for ax in axes}) == 2
    plt.close(fig)


class Cards(Task):
    """Low and high cards, taken or left; nothing follows."""

    columns = (Column("card", "cue", "kind of card"), Column("choice", "choice", "taken or left"))

    def replay(self, columns, copies, rng, **settings):
        return Recorded(columns, copies)


class Taker(Model):
    """Takes high cards."""

    task = Cards
    beta = real("sensitivity to cards")

    def start(self, p, task):
        return State()

    def trial(self, s, p, t):
        t.choose("choice", bernoulli_logit(p.beta * (t.cue("card") - 0.5)))


def test_a_task_without_outcomes_is_played_again():
    rng = np.random.default_rng(1)
    card = rng.integers(0, 2, 400)
    taken = rng.random(400) < 1 / (1 + np.exp(-2.0 * (card - 0.5)))
    rows = {"subject": np.repeat(["a", "b"], 200), "card": np.array(["high", "low"])[1 - card], "choice": taken * 1}
    trials = fitrl.read_trials(pd.DataFrame(rows), Taker, codes={"card": ["low", "high"]})
    table = check_predictions(fake_fit(Taker(), trials, {"beta": np.full((2, 50, 2), 2.0)})).set_index("x")
    assert table.loc["choice 1, card high", "one_step"] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.02)
    assert table.loc["choice 1, card low", "free"] == pytest.approx(1 / (1 + np.exp(1)), abs=0.02)


class FirstOnly(Model):
    """Makes the first of two choices."""

    task = TwoStep
    bias = real("of the first option")

    def start(self, p, task):
        return State()

    def trial(self, s, p, t):
        t.choose("choice1", bernoulli_logit(p.bias))


class NoChoice(FirstOnly):
    """Makes none."""

    def trial(self, s, p, t):
        t.observe("outcome")


class Steps(TwoStep):
    """Daw's task by another name."""


def test_choices_that_a_model_does_not_make_are_not_predicted():
    trials = fitrl.simulate("two_step_split", subjects=2, trials=40, random_seed=1).trials
    fit = fake_fit(FirstOnly(), trials, {"bias": np.zeros((2, 5, 2))})
    predicted = Behaviour(fit).predictions
    assert set(predicted.one_step) == {"choice1"}
    assert predicted.why_not.startswith("the model does not make choice2")
    with pytest.raises(FitError, match="makes no choices"):
        Behaviour(fake_fit(NoChoice(), trials, {"bias": np.zeros((2, 5, 2))}))
    fit.trials = replace(trials, task=Steps(**{f.name: getattr(trials.task, f.name) for f in fields(trials.task)}))
    assert fitrl.plot_stay(Behaviour(fit, draws=3))[1].get_ylabel() == "first choice repeated"


def test_a_task_without_choices_has_none():
    fit = SimpleNamespace(trials=SimpleNamespace(task=Task(), frame=pd.DataFrame()))
    assert behaviour_of(fit) is None
    with pytest.raises(FitError, match="has no choices"):
        check_predictions(fit)


def test_rounding_does_not_hide_what_lies_outside():
    row = {"signature": "stay", "x": "win", "observed": 0.7641, "free_simulated": ""}
    bands = {"one_step": (0.7528, 0.7632), "free": (0.70, 0.7638)}
    for kind, (low, high) in bands.items():
        row |= {kind: high, f"{kind}_lower": low, f"{kind}_upper": high, f"{kind}_inside": False}
    assert "stay at win is 0.7641, predicted 0.7000 to 0.7638." in outside(pd.DataFrame([row]))
    row |= {"free_lower": 0.4, "free_upper": 0.5}
    assert "stay at win is 0.76, predicted 0.40 to 0.50." in outside(pd.DataFrame([row]))
