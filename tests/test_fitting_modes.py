"""Subjects with two modes: redrawn given the population, against quadrature and against NUTS."""

import numpy as np
import pytest
import xarray as xr

import fitrl
from fitrl import Perturbation, Target, crossover, population
from fitrl.engine.inputs import Located
from fitrl.engine.layout import lay_out
from fitrl.engine.run import log_probabilities
from fitrl.fitting import modes
from fitrl.fitting.fit import prepare
from fitrl.fitting.verdict import Verdict
from fitrl.hierarchy.build import build_model
from fitrl.hierarchy.columns import trial_columns
from fitrl.language import Model, State, real, softmax
from fitrl.tasks import Bandit


class Square(Model):
    """Choices tell the size of x, and nothing of its sign."""

    task = Bandit
    x = real("root of the inverse temperature")

    def start(self, p, task):
        return State(q=task.values())

    def trial(self, s, p, t):
        a = t.choose("choice", softmax(p.x * p.x * s.q))
        s.q[a] += 0.3 * (t.observe("outcome") - s.q[a])


MU, SIGMA, DRAWS = 0.2, 1.3, 400
GRID = np.linspace(-6.0, 6.0, 4001)


def of_the_first(plan, trials):
    """Posterior of the first person by quadrature: likelihood of the choices times the population."""
    columns = trial_columns(plan.model, trials)
    located = {"x": Located(np.repeat(GRID[:, None], 3, axis=1), np.arange(3))}
    found = log_probabilities(plan.model, trials.task, located, columns, lay_out(columns["sequence"]))["choice"]
    mine = (trials.frame["subject_idx"] == 0).to_numpy() & columns["mask_choice"].astype(bool)
    density = np.exp(found[:, mine].sum(axis=1) - 0.5 * ((GRID - MU) / SIGMA) ** 2)
    return density / density.sum()


@pytest.fixture(scope="module")
def square():
    """Three people, the first of whom two chains hold for the one and for the other."""
    values = {"x": np.array([1.8, 0.5, 1.5])}
    made = fitrl.simulate(Square(), subjects=3, trials=40, random_seed=1, parameters=values)
    plan, trials, _ = prepare(Square(), made.trials)
    rng = np.random.default_rng(0)
    offset = rng.normal(size=(2, DRAWS, 3), scale=0.2)
    density = of_the_first(plan, trials)
    for chain, side in enumerate((GRID > 0, GRID < 0)):
        x = rng.choice(GRID[side], DRAWS, p=density[side] / density[side].sum())
        offset[chain, :, 0] = (x - MU) / SIGMA
    each = ("chain", "draw", "subject")
    posterior = {
        "x_mu": (each[:2], np.full((2, DRAWS), MU)),
        "x_sigma": (each[:2], np.full((2, DRAWS), SIGMA)),
        "x_offset": (each, offset),
        "x": (each, MU + SIGMA * offset),
    }
    coords = {"chain": range(2), "draw": range(DRAWS), "subject": list(trials.subjects)}
    return build_model(plan, trials), plan, trials, xr.Dataset(posterior, coords)


def test_both_modes_get_the_share_that_is_theirs(square):
    model, plan, trials, before = square
    tree = xr.DataTree.from_dict({"posterior": before})
    modes.redraw(model, plan, trials, tree, [0], random_seed=1)
    after = tree["posterior"].to_dataset()
    density = of_the_first(plan, trials)
    x = after["x"].to_numpy()[..., 0]
    positive = density[GRID > 0].sum()
    assert 0.5 < positive < 0.6
    np.testing.assert_allclose((x > 0).mean(axis=1), positive, atol=3.5 * np.sqrt(positive * (1 - positive) / DRAWS))
    sizes = np.sort(np.abs(x).ravel())
    expected = np.interp([0.1, 0.5, 0.9], np.cumsum(density[GRID > 0]) / positive, GRID[GRID > 0])
    np.testing.assert_allclose(np.quantile(sizes, [0.1, 0.5, 0.9]), expected, atol=0.08)
    # All else is as it was.
    np.testing.assert_allclose(after["x"], MU + SIGMA * after["x_offset"], rtol=1e-12)
    for name in ("x", "x_offset"):
        np.testing.assert_array_equal(after[name][..., 1:], before[name][..., 1:])


def known(plan, r_hat):
    return {"r_hat": xr.Dataset({name: ("subject", np.array(r_hat)) for name in plan.estimated})}


def test_single_subjects_are_stuck_and_many_have_not_converged(square):
    model, plan, _, posterior = square
    tree = xr.DataTree.from_dict({"posterior": posterior})
    assert modes.stuck(known(plan, [1.0, 1.2, 1.01]), model, plan, tree) == [1]
    assert modes.stuck(known(plan, [1.0, 1.04, 1.0]), model, plan, tree) == []
    assert modes.stuck(known(plan, [1.2, 1.2, 1.0]), model, plan, tree) == []
    assert modes.stuck(known(plan, [1.0, 1.2, 1.02]), model, plan, tree) == []  # nor has the third converged
    with_scores = xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": posterior[["x"]]})
    assert modes.stuck(known(plan, [1.0, 1.2, 1.0]), model, plan, with_scores) == []
    lacking = xr.DataTree.from_dict({"posterior": posterior.drop_vars("x_offset")})
    assert modes.stuck(known(plan, [1.0, 1.2, 1.0]), model, plan, lacking) == []


@pytest.mark.parametrize(
    "declaration",
    [
        {"formulas": {"alpha": "drug + (drug | subject)"}, "correlated": True},
        {"pooling": "none", "fixed": {"alpha": 0.4}},
    ],
    ids=["slopes and correlations", "alone"],
)
def test_what_had_converged_stays(declaration, monkeypatch):
    drug = Perturbation("verum", (Target("alpha", 0.8, sd_delta=0.3),))
    made = crossover(population("q_learning", subjects=6, trials=40, random_seed=2), drug, random_seed=3)
    settings = {"draws": 300, "tune": 300, "chains": 2, "progressbar": False, "random_seed": 4} | declaration
    plain = fitrl.fit("q_learning", made.trials, **settings)
    monkeypatch.setattr(modes, "stuck", lambda *_: [2])
    redrawn = fitrl.fit("q_learning", made.trials, **settings)
    name = str(made.trials.subjects[2])
    assert redrawn.verdict.redrawn == (name,)
    assert f"did not agree on the values of subject {name}, as where" in redrawn.verdict.text()
    assert Verdict.from_dict(redrawn.verdict.to_dict()) == redrawn.verdict
    assert plain.verdict.redrawn == ()
    for parameter in redrawn.plan.estimated:
        mine = redrawn.plan.designs[parameter].subject == 2
        one, other = (f.idata["posterior"][parameter].to_numpy() for f in (plain, redrawn))
        np.testing.assert_array_equal(one[..., ~mine], other[..., ~mine])
        one, other = (np.log(x[..., mine]) for x in (one, other))
        assert not np.array_equal(one, other)
        sd = one.std((0, 1))
        assert (np.abs(one.mean((0, 1)) - other.mean((0, 1))) < 0.35 * sd).all()
        np.testing.assert_allclose(other.std((0, 1)) / sd, 1.0, atol=0.3)


def test_what_goes_wrong_leaves_the_draws_as_they_were(monkeypatch):
    made = fitrl.simulate("q_learning", subjects=4, trials=20, random_seed=1)
    settings = {"draws": 50, "tune": 50, "chains": 2, "progressbar": False, "random_seed": 4}
    plain = fitrl.fit("q_learning", made.trials, **settings)
    monkeypatch.setattr(modes, "stuck", lambda *_: [2])

    def fails(*_):
        raise np.linalg.LinAlgError("singular")

    def stops(*_):
        raise KeyboardInterrupt

    for redraw, interrupted in ((fails, False), (stops, True)):
        monkeypatch.setattr(modes, "redraw", redraw)
        found = fitrl.fit("q_learning", made.trials, **settings)
        assert found.verdict.redrawn == ()
        assert found.spec.attempts[-1]["interrupted"] == interrupted
        assert ("interrupted" in found.verdict.text()) == interrupted
        xr.testing.assert_equal(found.idata["posterior"].to_dataset(), plain.idata["posterior"].to_dataset())
