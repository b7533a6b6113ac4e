"""What priors of effects imply: quantiles by hand, words, figure, command line."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from typer.testing import CliRunner

mpl.use("agg")
import matplotlib.pyplot as plt

import fitrl
from fitrl.cli.app import app
from fitrl.errors import DataError, ModelError
from fitrl.fitting.effect_prior import describe_effect_prior
from fitrl.hierarchy.plan import make_plan
from fitrl.models import find

FORMULAS = {"alpha": "drug * group", "beta": "0 + drug"}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    who, drug, trial = (part.ravel() for part in np.meshgrid(np.arange(8), np.arange(2), np.arange(20), indexing="ij"))
    rows = {
        "subject": [f"s{i}" for i in who],
        "session": 1 + (drug + who) % 2,
        "trial": trial,
        "drug": np.where(drug, "verum", "placebo"),
        "group": np.where(who // 2 % 2, "b", "a"),
        "age": 20 + who**2,
    }
    made = pd.DataFrame(rows)
    return made.assign(choice=rng.integers(0, 2, len(made)), outcome=rng.integers(0, 2, len(made)))


@pytest.fixture(scope="module")
def table(frame):
    return fitrl.effect_prior("q_learning", frame, formulas=FORMULAS).set_index(["parameter", "what", "label"])


def test_cells_and_differences_have_the_quantiles_of_their_priors(table):
    rng = np.random.default_rng(99)
    n = 200_000
    mu = rng.normal(0, 1.5, n)  # the priors of alpha: normal(0, 1.5), and effects of sd 0.5 on the logit
    drug, group, both = (rng.normal(0, 0.5, n) for _ in range(3))
    cell = {(d, g): expit(mu + d * drug + g * group + d * g * both) for d in (-0.5, 0.5) for g in (-0.5, 0.5)}
    at = table.loc["alpha", "cell", "drug = verum, group = a"]
    np.testing.assert_allclose(
        at[["q2.5", "median", "q97.5"]].astype(float), np.quantile(cell[0.5, -0.5], [0.025, 0.5, 0.975]), atol=0.015
    )
    # The main effect compares the median subjects at the average of the other factor.
    effect = expit(mu + drug / 2) - expit(mu - drug / 2)
    at = table.loc["alpha", "difference", "drug[verum - placebo]"]
    np.testing.assert_allclose(
        at[["q2.5", "median", "q97.5"]].astype(float), np.quantile(effect, [0.025, 0.5, 0.975]), atol=0.01
    )
    of_both = cell[0.5, 0.5] - cell[-0.5, 0.5] - cell[0.5, -0.5] + cell[-0.5, -0.5]
    at = table.loc["alpha", "difference", "drug[verum - placebo]:group[b - a]"]
    np.testing.assert_allclose(at["q97.5"], np.quantile(of_both, 0.975), atol=0.01)
    assert len(table.loc["alpha", "cell"]) == 4
    # Cell means are independent a priori: their difference is wide.
    wide = table.loc["beta", "difference", "drug[verum] - drug[placebo]"]
    assert wide["q97.5"] > 5


def test_values_are_in_the_users_unit(frame):
    formulas = {"beta": "drug"}
    points = fitrl.read_trials(frame.assign(outcome=frame["outcome"] * 50), "q_learning", outcome_scale=50)
    one, other = (fitrl.effect_prior("q_learning", data, formulas=formulas) for data in (frame, points))
    np.testing.assert_allclose(other["q97.5"], one["q97.5"] / 50)


def test_numbers_without_factors_have_cells_around_their_mean(frame):
    found = fitrl.effect_prior("q_learning", frame, formulas={"alpha": "age"}).query("what == 'cell'")
    age = 20 + np.arange(8) ** 2
    low, high = (f"age = {age.mean() + side * age.std(ddof=1):.3g}" for side in (-1, 1))
    assert list(found["label"]) == [low, high]


def test_words(frame):
    trials = fitrl.read_trials(frame, "q_learning")
    plan = make_plan(find("q_learning"), trials, formulas={"beta": "drug"})
    (sentence,) = describe_effect_prior(plan, 1.0)
    assert sentence.startswith("beta, drug[verum - placebo]: 95 % of prior differences lie between -")
    # Effects of sd 0.3 on the log: exp(0.588) = 1.8.
    assert sentence.endswith("a factor of 0.56 to 1.8")


def test_the_figure_shows_cells_and_differences(frame, table):
    fig, axes = fitrl.plot_effect_prior("q_learning", frame, formulas=FORMULAS)
    fig.canvas.draw()
    assert len(axes) == 4
    assert [len(ax.get_yticks()) for ax in axes] == [4, 3, 2, 1]
    line = axes[1].lines[0]  # the interval of the first difference
    expected = table.loc["alpha", "difference", "drug[verum - placebo]"][["q2.5", "q97.5"]].astype(float)
    np.testing.assert_allclose(line.get_xdata(), expected)
    assert axes[1].texts[0].get_text() == f"95 %: {expected.iloc[0]:.2g} to {expected.iloc[1]:.2g}"
    assert expected.iloc[0] == pytest.approx(-expected.iloc[1])  # an effect is as probable as its opposite
    assert axes[0].get_xlim() == (0.0, 1.0)
    plt.close(fig)


def test_without_formulas_there_is_nothing_to_show(frame):
    with pytest.raises(ModelError, match="there is no formula"):
        fitrl.plot_effect_prior("q_learning", frame)
    with pytest.raises(DataError, match='no column "durg"'):
        fitrl.effect_prior("q_learning", frame, formulas={"alpha": "durg"})


def test_command_line(frame, tmp_path):
    def run(*arguments):
        return CliRunner(env={"COLUMNS": "140"}).invoke(app, [str(a) for a in arguments])

    data, who, plot = tmp_path / "data.csv", tmp_path / "who.csv", tmp_path / "new" / "prior.png"
    frame.drop(columns="age").to_csv(data, index=False)
    frame[["subject", "age"]].drop_duplicates().to_csv(who, index=False)
    common = ["design", data, "-m", "q_learning", "--subjects", who]
    found = run(*common, "--formula", "alpha ~ drug + age", "--plot", plot)
    assert found.exit_code == 0, found.output
    assert "-1/2 = placebo, +1/2 = verum" in found.stdout
    assert "alpha, drug[verum - placebo]: 95 % of prior differences lie between -0." in found.stdout
    assert "note:" in found.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    for wrong, words in (
        (["--formula", "alpha ~ durg"], 'Did you mean "drug"'),
        ([], "there is no formula"),
        (["--formula", "alpha ~ drug", "--plot", tmp_path / "prior.words"], "cannot be written"),
    ):
        found = run(*common, *wrong)
        assert found.exit_code == 2
        assert words in " ".join(found.stderr.split())
