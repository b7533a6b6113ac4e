"""Figures made from a fit: the right signatures, and only those that apply."""

import dataclasses
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

mpl.use("agg")
import matplotlib.pyplot as plt

import fitrl
from fitrl import datasets, models
from fitrl.errors import FitError
from fitrl.fitting.fit import Fit
from fitrl.fitting.predict import Predictions
from fitrl.fitting.spec import FitSpec, ParameterSpec
from fitrl.fitting.verdict import Verdict
from fitrl.hierarchy.links import link_of
from fitrl.show import report
from fitrl.show.summary import render_summary, summary
from fitrl.tasks import signatures


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def known_fit(trials, truth, *, pooling="partial", status="converged", n_draws=40, seed=1):
    """A fit of Q-learning whose draws lie close to the truth; nothing is compiled or sampled."""
    rng = np.random.default_rng(seed)
    declared = models.find("q_learning").fitted(trials.task)
    parameters = tuple(
        ParameterSpec(n, p.description, p.link, p.lower, p.upper, p.unit, str(p.location), str(p.scale))
        for n, p in declared.items()
    )
    posterior = {}
    for p in parameters:
        values = truth.query("parameter == @p.name").set_index("subject")["value"][trials.subjects].to_numpy()
        if pooling == "complete":
            values = np.full_like(values, np.median(values))
        noise = rng.normal(0, 0.02, (2, n_draws, len(values)))
        posterior[p.name] = (("chain", "draw", "subject"), values * np.exp(-np.abs(noise)))
        mu = rng.normal(link_of(np.median(values), p.link, p.lower, p.upper), 0.05, (2, n_draws))
        if pooling != "none":
            posterior[f"{p.name}_mu"] = (("chain", "draw"), mu)
        if pooling == "partial":
            posterior[f"{p.name}_sigma"] = (("chain", "draw"), np.abs(rng.normal(0.6, 0.05, (2, n_draws))))
    draws = xr.Dataset(posterior, coords={"chain": [0, 1], "draw": range(n_draws), "subject": trials.subjects})
    quick = status == "quick"
    options, traits = {"q0": None}, ()
    spec = FitSpec("q_learning", None, traits, options, parameters, pooling, {}, "default", quick, 1, {}, (), {}, {})
    tree = xr.DataTree.from_dict({"posterior": draws})
    return Fit(spec, trials, tree, Verdict(status, (), 2, n_draws))


@pytest.fixture(scope="module")
def bandit():
    return known_fit(datasets.load("bandit"), datasets.truth("bandit"))


@pytest.fixture(scope="module")
def pairs():
    return known_fit(datasets.load("pairs"), datasets.truth("pairs"))


def test_the_figures_of_a_bandit_with_reversals(bandit, tmp_path):
    before = plt.get_fignums()
    written = report.write_figures(bandit, tmp_path / "figures")
    assert {path.stem for path in written} == {"group", "subjects", "trace", "learning", "stay", "reversal"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert plt.get_fignums() == before  # all are closed again


def test_options_that_differ_have_accuracies_instead_of_reversals(pairs):
    names = set(report._figures(pairs))
    assert "accuracy" in names
    assert "reversal" not in names


def test_the_transfer_phase_is_drawn_where_there_is_one(bandit, pairs):
    assert "transfer" in report._figures(pairs)
    assert "transfer" not in report._figures(bandit)
    _, ax = fitrl.plot_transfer(pairs)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["choose A", "avoid B"]
    observed = signatures.choose_avoid(pairs.trials.frame, 0, 1)["mean"]
    np.testing.assert_allclose(points(ax)[:2], observed)
    with pytest.raises(FitError, match="no transfer phase"):
        fitrl.plot_transfer(bandit)


def test_choices_held_out_of_the_fit_are_predicted_by_agents_of_their_own(pairs):
    """A held-out choice without outcome is not handed to the agents, and no outcome is made up for it."""
    frame = pairs.trials.original.assign(mask_choice=(pairs.trials.original["outcome"] != "").astype(int))
    fit = known_fit(fitrl.read_trials(frame), datasets.truth("pairs"))
    data = report.Behaviour(fit)
    free, held_out = data.predictions.free, (fit.trials.frame["mask_choice"] == 0).to_numpy()
    assert held_out.sum() == 300
    agree = free["choice"][:, held_out] == fit.trials.frame["choice"].to_numpy()[held_out]
    assert 0.4 < agree.mean() < 0.95
    assert np.isnan(free["outcome"][:, held_out]).all()
    assert np.isfinite(free["outcome"][:, ~held_out]).all()
    assert "transfer" in report._figures(fit)


def test_figures_that_do_not_apply_are_left_out(bandit):
    quick = known_fit(bandit.trials, datasets.truth("bandit"), status="quick")
    assert "trace" not in report._figures(quick)
    complete = known_fit(bandit.trials, datasets.truth("bandit"), pooling="complete")
    assert "subjects" not in report._figures(complete)
    nothing = dataclasses.replace(bandit, spec=dataclasses.replace(bandit.spec, parameters=()))
    assert not {"group", "subjects", "trace"} & set(report._figures(nothing))


def points(ax):
    """The black dots of the data."""
    return np.concatenate([line.get_ydata() for line in ax.lines if line.get_color() == "#222222"])


def test_the_learning_curve_shows_the_data_and_predictions_near_them(bandit):
    _, ax = fitrl.plot_learning(bandit)
    frame = bandit.trials.frame
    correct = signatures.correct_choice(frame, 2)[0]
    expected = signatures.learning_curve(frame, correct)["mean"].to_numpy()
    assert np.isin(np.round(expected, 12), np.round(points(ax), 12)).all()
    data = report.Behaviour(bandit)
    bands = data.bands(lambda f: signatures.accuracy(f, data.correct(f)))
    observed = np.nanmean(correct)
    for name in ("one_step", "free"):
        band = bands[name].iloc[0]
        # The draws lie at the truth, and the data came from it.
        assert band["lower"] - 0.02 < observed < band["upper"] + 0.02
        assert band["upper"] - band["lower"] < 0.15


def test_one_step_staying_is_judged_by_the_observed_past(bandit, monkeypatch):
    """Predicted choices equal to the observed ones must give exactly the observed rates."""
    frame = bandit.trials.frame
    data = report.Behaviour(bandit)
    same = np.tile(frame["choice"].to_numpy(), (3, 1))
    data.__dict__["predictions"] = Predictions({"choice": same}, None, "no payoffs here")
    seen = {}
    monkeypatch.setattr(report.behaviour, "plot_stay", lambda observed, **kw: seen.update(kw, observed=observed))
    report.plot_stay(data)
    np.testing.assert_allclose(seen["one_step"]["mean"], seen["observed"]["mean"])
    assert seen["no_free_run"] == "no payoffs here"


def test_without_payoffs_the_figure_says_why_there_is_no_free_run(bandit):
    original = bandit.trials.original.drop(columns=["payoff_1", "payoff_2"])
    fit = known_fit(fitrl.read_trials(original), datasets.truth("bandit"))
    figure, _ = fitrl.plot_learning(fit)
    words = " ".join(" ".join(text.get_text().split()) for text in figure.legends[0].get_texts())
    assert "No free-running prediction" in words
    assert "make them up: fitrl predict DIR --environment reversing" in words
    with pytest.raises(FitError, match="no reversal"):
        fitrl.plot_reversal(fit)


def test_without_payoffs_the_figure_says_that_it_is_blind_to_reversals(bandit):
    original = bandit.trials.original.drop(columns=["payoff_1", "payoff_2"])
    for reset, span in ((None, "the session"), ("never", "all trials")):
        fit = known_fit(fitrl.read_trials(original, reset=reset), datasets.truth("bandit"))
        figure, ax = fitrl.plot_learning(fit)
        assert ax.get_ylabel().replace("\n", " ") == f"chose the option with the higher mean outcome over {span}"
        caption = " ".join(figure.legends[0].get_texts()[-1].get_text().split())
        assert caption.startswith("Where payoffs reverse, this is not a learning curve")
    figure, ax = fitrl.plot_learning(bandit)
    assert ax.get_ylabel() == "chose the better option (by payoff)"
    assert not any("Where payoffs reverse" in text.get_text() for text in figure.legends[0].get_texts())


def test_a_figure_of_a_fit_that_did_not_converge_says_so(bandit):
    fit = dataclasses.replace(bandit, verdict=Verdict("not converged", (), 2, 40))
    figure, _ = fitrl.plot_stay(fit)
    assert "NOT CONVERGED" in figure.get_suptitle()


def test_the_reversal_curve_and_accuracies_are_drawn_on_given_axes(bandit, pairs):
    _, (left, right) = plt.subplots(1, 2)
    assert fitrl.plot_reversal(bandit, ax=left)[1] is left
    assert fitrl.plot_accuracy(pairs, ax=right)[1] is right
    assert [tick.get_text() for tick in right.get_xticklabels()][:2] == ["all", "A v B"]


def printed(fit, width=80):
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        console.print(render_summary(fit))
    return capture.get()


def test_the_summary_shows_the_population_in_numbers_of_the_table(bandit):
    table = summary(bandit).query("quantity == 'pop_median'").set_index("parameter")
    text = printed(bandit)
    (row,) = (line for line in text.splitlines() if line.startswith("alpha"))
    shown = float(row.split("learning rate")[1].split()[0])
    assert shown == pytest.approx(table.loc["alpha", "post_mean"], abs=0.006)
    assert "learning rate" in text


def test_the_summary_has_what_follows_from_the_parameters():
    made = fitrl.simulate("two_step_split", subjects=4, trials=30, random_seed=1)
    fit = fitrl.fit("two_step_split", made.trials, quick=True, random_seed=1)
    (row,) = (line for line in printed(fit).splitlines() if line.startswith("w_mb"))
    table = fitrl.derived(fit).query("quantity == 'w_mb'")
    (of_population,) = table.query("subject == ''")["median"]
    shown = [float(number) for number in re.findall(r"-?\d+\.\d+", row)]
    assert shown[0] == pytest.approx(of_population, abs=0.006)
    of_subjects = table.query("subject != ''")["median"]
    assert shown[-2:] == pytest.approx([of_subjects.min(), of_subjects.max()], abs=0.006)
    assert "derived: middle 95 %" in printed(fit)


def test_without_pooling_the_summary_shows_the_mean_of_the_subjects(bandit):
    fit = known_fit(bandit.trials, datasets.truth("bandit"), pooling="none")
    assert "mean: of these subjects" in printed(fit)
    complete = known_fit(bandit.trials, datasets.truth("bandit"), pooling="complete")
    text = printed(complete)
    assert "median: of the population" in text
    assert "lowest to highest" not in text


def test_a_scaled_outcome_is_undone_in_the_summary():
    frame = datasets.load("bandit").original.assign(outcome=lambda f: pd.to_numeric(f["outcome"]) * 50)
    trials = fitrl.read_trials(frame, outcome_scale=50)
    fit = known_fit(trials, datasets.truth("bandit"))
    same = known_fit(datasets.load("bandit"), datasets.truth("bandit"))
    scaled, plain = (summary(f).set_index(["parameter", "quantity"])["post_mean"] for f in (fit, same))
    assert scaled["beta", "pop_median"] == pytest.approx(plain["beta", "pop_median"] / 50)
    assert scaled["alpha", "pop_median"] == pytest.approx(plain["alpha", "pop_median"])
    assert "outcomes were divided by 50" in printed(fit)
