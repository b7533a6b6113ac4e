"""A model of a user's own, in a folder outside of the repository, has the rights of a model of the zoo.

It has a state, latents, a parameter and an option that no model of fitrl has. What it says is recomputed here in
plain loops, so neither the fit nor the simulator of fitrl is its own judge.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax
from test_perturb_phases import OneGain

import fitrl
import fitrl.models

FILE = '''
"""Pearce-Hall learning: what surprised lately is learned about faster."""

from fitrl.language import Model, State, absolute, latent, option, positive, softmax, unit
from fitrl.tasks import Bandit


class PearceHall(Model):
    """Learning rates follow the associability of the chosen option."""

    task = Bandit
    speed = unit("share of the associability that is the learning rate")
    memory = unit("how fast associability follows surprise")
    beta = positive("inverse temperature", unit="1/outcome")
    first = option(1.0, "associability before the first trial")
    q = latent("values before the trial", "outcome")
    associability = latent("associability before the trial")
    surprise = latent("absolute prediction error", "outcome")

    def start(self, p, task):
        return State(q=task.values(), associability=task.values(self.first))

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.beta * s.q))
        rpe = t.observe("outcome") - s.q[a]
        s.q[a] += p.speed * s.associability[a] * rpe
        s.associability[a] += p.memory * (absolute(rpe) - s.associability[a])
        t.record(surprise=absolute(rpe))
'''
FIRST = 0.6
TRUTH = {"speed": 0.7, "memory": 0.3, "beta": 5.0}


def by_hand(speed, memory, beta, choices, outcomes, first=FIRST):
    """Log probability of each choice, and associability before each trial, shape (trial, option)."""
    q, associability = np.full(2, 0.5), np.full(2, first)
    scores, before = [], []
    for choice, outcome in zip(choices, outcomes, strict=True):
        scores.append(log_softmax(beta * q)[choice])
        before.append(associability.copy())
        rpe = outcome - q[choice]
        q[choice] += speed * associability[choice] * rpe
        associability[choice] += memory * (abs(rpe) - associability[choice])
    return np.array(scores), np.array(before)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("my_models") / "pearce_hall.py"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def simulated(file):
    return fitrl.simulate(
        str(file),
        subjects=6,
        trials=60,
        options={"first": FIRST},
        environment="reversing",
        parameters=TRUTH,
        random_seed=4,
    )


@pytest.fixture(scope="module")
def fitted(simulated, tmp_path_factory):
    """A fit, by the path of a file that is gone afterwards."""
    path = tmp_path_factory.mktemp("gone") / "pearce_hall.py"
    path.write_text(FILE, encoding="utf-8")
    short = {"draws": 60, "tune": 150, "chains": 2, "progressbar": False}
    found = fitrl.fit(str(path), simulated.frame, options={"first": FIRST}, random_seed=2, **short)
    path.unlink()
    return found


@pytest.fixture(scope="module")
def reloaded(fitted, tmp_path_factory):
    return fitrl.load(fitted.save(tmp_path_factory.mktemp("results")))


def choices_of(frame):
    for _, rows in frame.groupby("subject", sort=False):
        yield rows["choice"].to_numpy(), rows["outcome"].to_numpy()


def test_simulated_choices_follow_the_model(file):
    played = fitrl.simulate(str(file), subjects=400, trials=30, parameters=TRUTH, random_seed=1)
    frame = played.trials.frame
    scores = [by_hand(**TRUTH, choices=c, outcomes=o, first=1.0)[0] for c, o in choices_of(frame)]
    every = np.exp(np.array(scores))
    # A model's own choices: on average the probability of what was chosen is the sum of p squared.
    p = np.where(frame["choice"].to_numpy().reshape(every.shape) == 1, every, 1 - every)
    observed = frame["choice"].to_numpy().reshape(every.shape)
    z = (observed - p).sum() / np.sqrt((p * (1 - p)).sum())
    slope = ((observed - p) * (p - 0.5)).sum() / np.sqrt((p * (1 - p) * (p - 0.5) ** 2).sum())
    assert abs(z) < 4
    assert abs(slope) < 4


def test_the_likelihood_is_the_one_of_the_text_also_when_reloaded(reloaded):
    rng = np.random.default_rng(6)
    eta = {"speed": rng.normal(size=6), "memory": rng.normal(size=6), "beta": rng.normal(1.0, 0.5, 6)}
    point: dict = {}
    for name, values in eta.items():  # location 0 and scale 1: offsets are values on the link scale
        point |= {f"{name}_mu": np.array(0.0), f"{name}_sigma_log__": np.array(0.0), f"{name}_offset": values}
    model = reloaded.model
    found = model.compile_fn(model.logp(vars=model.observed_RVs, sum=False)[0])(point)
    natural = {"speed": expit(eta["speed"]), "memory": expit(eta["memory"]), "beta": np.exp(eta["beta"])}
    expected = [
        by_hand(**{n: v[i] for n, v in natural.items()}, choices=c, outcomes=o)[0]
        for i, (c, o) in enumerate(choices_of(reloaded.trials.frame))
    ]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-10)


def test_it_fits_by_path(fitted):
    posterior = fitted.idata["posterior"].to_dataset()
    assert {"speed_mu", "memory_sigma", "beta_offset", "speed", "memory", "beta"} <= set(posterior)
    assert fitted.spec.source == FILE
    assert fitted.spec.options == {"first": FIRST}
    # Six subjects say little about each rate, but beta of 5 is neither 1 nor 30.
    assert 2 < float(np.exp(posterior["beta_mu"]).median()) < 12


def test_it_shows_its_own_latents(fitted):
    table = fitrl.latents(fitted, draws=20)
    names = {"q_A_mean", "q_B_sd", "associability_A_mean", "associability_B_mean", "surprise_mean", "p_choice_mean"}
    assert names <= set(table)
    first = table.groupby("subject")["associability_A_mean"].first()
    np.testing.assert_allclose(first, FIRST)
    posterior, c, o = fitted.idata["posterior"].to_dataset(), *next(choices_of(fitted.trials.frame))
    draws = posterior.isel(subject=0).stack(sample=("chain", "draw"))
    take = np.linspace(0, 119, 20).astype(int)
    by_draw = [by_hand(*[float(draws[n][i]) for n in TRUTH], c, o)[1][:, 0] for i in take]
    np.testing.assert_allclose(table["associability_A_mean"][:60], np.mean(by_draw, axis=0), atol=1e-10)
    np.testing.assert_allclose(table["associability_A_sd"][:60], np.std(by_draw, axis=0, ddof=1), atol=1e-7)


def test_it_reloads_without_its_file(fitted, reloaded):
    assert reloaded.spec == fitted.spec
    assert reloaded.plan.model.options == {"first": FIRST}
    pd.testing.assert_frame_equal(fitrl.latents(reloaded, draws=20), fitrl.latents(fitted, draws=20))


def test_traits_join_it(file, simulated):
    found = fitrl.models.declare(str(file), ["stickiness", "lapse"])
    assert list(found.parameters()) == ["speed", "memory", "beta", "kappa", "eps"]


def test_a_fit_of_a_class_written_in_a_session_is_loaded_again(tmp_path):
    made = fitrl.simulate(OneGain(), subjects=3, trials=20, random_seed=1)
    fitted = fitrl.fit(OneGain(), made.trials, quick=True, random_seed=1)
    fitted.save(tmp_path)
    again = fitrl.load(tmp_path)
    assert list(again.plan.estimated) == ["gain"]
    assert fitrl.latents(again)["q_A_mean"].notna().all()
