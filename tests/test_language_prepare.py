"""Columns that a model computes beforehand: an ideal observer's belief, without any parameter."""

import numpy as np
import pytest

import fitrl
from fitrl.errors import ModelError
from fitrl.fitting.predict import predict
from fitrl.hierarchy.columns import trial_columns
from fitrl.language import Model, positive, softmax, table
from fitrl.tasks import Bandit


class Counter(Model):
    """Believe in the share of wins of either option so far; nothing is learned by the subject."""

    task = Bandit
    beta = positive("inverse temperature")
    prepared = ("win_0", "win_1")

    def prepare(self, frame):
        columns = {}
        for k in range(2):
            hit = (frame["choice"] == k) & (frame["outcome"] > 0)
            taken = frame["choice"] == k
            before = hit.groupby(frame["sequence"]).cumsum() - hit
            seen = taken.groupby(frame["sequence"]).cumsum() - taken
            columns[f"win_{k}"] = ((before + 1) / (seen + 2)).to_numpy()
        return columns

    def trial(self, s, p, t):
        t.choose("choice", softmax(p.beta * table([t.cue("win_0"), t.cue("win_1")])))


class Forgetful(Counter):
    """Announces a column that it does not compute."""

    prepared = ("win_0", "win_1", "win_2")


@pytest.fixture(scope="module")
def trials():
    return fitrl.simulate("q_learning", subjects=6, trials=40, random_seed=3).trials


def test_prepared_columns_reach_the_likelihood(trials):
    fit = fitrl.fit(Counter, trials, quick=True, random_seed=1)
    belief = trial_columns(fit.plan.model, trials)
    beta = fit.idata["posterior"]["beta"].to_numpy()[0, 0]
    subject = trials.frame["subject_idx"].to_numpy()
    evidence = beta[subject] * (belief["win_1"] - belief["win_0"])
    chosen = trials.frame["choice"].to_numpy() == 1
    expected = -np.logaddexp(0.0, np.where(chosen, -evidence, evidence))
    scores = fit.model.compile_logp(vars=fit.model.observed_RVs, sum=False)
    assert belief["win_0"][0] == 0.5
    point = {v.name: np.zeros(trials.n_subjects if "offset" in v.name else ()) for v in fit.model.value_vars}
    point["beta_mu"] = np.array(0.0)
    point["beta_offset"] = np.log(beta)
    point["beta_sigma_log__"] = np.array(0.0)
    np.testing.assert_allclose(scores(point)[0], expected, rtol=1e-10)
    assert fitrl.latents(fit)["p_choice_mean"].between(0, 1).all()
    assert predict(fit, draws=3).free is not None


def test_simulation_says_why_it_cannot_prepare():
    with pytest.raises(ModelError, match=r'shows no "win_0".*can be fitted'):
        fitrl.simulate(Counter, subjects=2, trials=5)


def test_announcement_and_result_must_agree(trials):
    with pytest.raises(ModelError, match=r"returns win_0, win_1, but the class announces"):
        fitrl.fit(Forgetful, trials, quick=True)
