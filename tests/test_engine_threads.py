"""Workers share the blocks of a large data set: the numbers stay, and any number of chains may call at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from fast_engine import Compiled, Interpreted, bandit, random_rows, random_values, sizes
from test_engine_fast import three_shapes

import fitrl.engine.likelihood as engine
import fitrl.engine.packing as packing
from fitrl.engine import source
from fitrl.engine.trace import trace
from fitrl.fitting.sample import cores_per_chain
from fitrl.models import find

LENGTHS = np.random.default_rng(2).integers(1, 30, 45)  # six blocks of eight


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Several blocks, and threads for them, without the trials that make it worth it."""
    pack = packing.pack
    monkeypatch.setattr(packing, "pack", lambda sequence, n: pack(sequence, n, 8))
    monkeypatch.setattr(engine, "_TRIALS_PER_WORKER", 50)


def situation(seed):
    """Q-learning, ragged rows and values."""
    model, task, rng = find("q_learning"), bandit(), np.random.default_rng(seed)
    rows = random_rows(task, LENGTHS, rng)
    return model, task, rows, random_values(model, task, sizes(trace(model, task), rows, {}), rng)


def same(found, expected, **tolerance):
    """Compare log probabilities and gradients."""
    for ours, theirs in zip(found, expected, strict=True):
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, err_msg=name, **tolerance)


def test_workers_change_no_number():
    model, task, rows, values = situation(1)
    alone = Interpreted(model, task, rows)(values)
    fast = Compiled(model, task, rows, n_cores=3)
    arrays = fast.current.arrays
    assert (len(arrays["blocks"]) - 1, arrays["sizes"][-1]) == (6, 3)
    assert fast.nodes == ["LogLikelihoodAndGradient"]
    expected = fast(values)
    same(expected, alone, rtol=1e-10, atol=1e-12)
    for n in (1, 2, 6, 11):
        arrays["sizes"][-1] = n
        same(fast(values), expected, rtol=0, atol=0)  # every subject is in one block
    python = Interpreted(model, task, rows, n_cores=3)
    expected = python.totals(values, {"choice": 1.0})
    for n in (1, 2, 6):
        python.likelihood.arrays["sizes"][-1] = n
        assert python.totals(values, {"choice": 1.0})[0] == expected[0]
        same(python.totals(values, {"choice": 1.0})[1:], expected[1:], rtol=0, atol=0)
    arrays["index_alpha"][:] = 0  # one value for all, which all workers add to
    found = []
    for n in (1, 4, 4):
        arrays["sizes"][-1] = n
        found.append(fast(values))
    same(found[1], found[0], rtol=1e-12, atol=1e-12)
    same(found[2], found[1], rtol=0, atol=0)


def test_workers_with_parameters_that_change_from_row_to_row():
    model, task = find("q_learning"), bandit()
    rows, shapes, values = three_shapes(model, task, LENGTHS, np.random.default_rng(3))
    expected = Interpreted(model, task, rows, shapes)(values)
    same(Interpreted(model, task, rows, shapes, n_cores=4)(values), expected, rtol=1e-12, atol=1e-12)


def test_several_chains_at_once():
    """Without the lock of Python, as samplers call."""
    model, task, rows, values = situation(4)
    python = Interpreted(model, task, rows, n_cores=3)
    python.likelihood.arrays["sizes"] = python.likelihood.arrays["sizes"].astype(np.int32)  # as PyMC keeps it
    inner = python.likelihood.kernel.compiled("gradient")
    gradient = numba.njit(nogil=True)(lambda *arguments: inner(*arguments))
    arguments = python.inputs(values)
    expected = gradient(*arguments)

    def chain(_):
        return all(np.array_equal(a, b) for a, b in zip(gradient(*arguments), expected, strict=True))

    with ThreadPoolExecutor(4) as chains:
        assert all(chains.map(chain, range(400)))


def test_threads_only_where_there_are_trials_and_cores(monkeypatch):
    model, task, rows, _ = situation(5)

    def kernel(n_cores):
        return Interpreted(model, task, rows, n_cores=n_cores).likelihood.kernel

    assert "in_threads" in kernel(2).text
    assert kernel(2).key != kernel(1).key
    assert kernel(1).text == source(model, task)
    monkeypatch.setattr(engine, "_TRIALS_PER_WORKER", 30_000)
    assert kernel(8).text == source(model, task)


CHILD = """
import os, warnings
import numpy as np
import fitrl
import fitrl.engine.likelihood as engine, fitrl.engine.packing as packing, fitrl.fitting.sample as sampling

pack = packing.pack
packing.pack = lambda sequence, n: pack(sequence, n, 8)
engine._TRIALS_PER_WORKER = 50
trials = fitrl.simulate("q_learning", subjects=40, trials=20, random_seed=1).trials
draws = []
for cores in (2, 4):
    fit = fitrl.fit("q_learning", trials, chains=2, cores=cores, draws=100, tune=100, random_seed=1, progressbar=False)
    draws.append(fit.idata["posterior"]["alpha"].to_numpy())
    print(fit.model["sizes"].get_value()[-1])
print(np.array_equal(*draws))
slope = fit.model.compile_dlogp()
at = fit.model.initial_point()
expected = slope(at)
warnings.simplefilter("ignore", DeprecationWarning)  # nutpie has threads of its own
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(slope(at), expected) else 7)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.study
def test_a_fit_with_threads_gives_the_same_draws_and_may_fork():
    found = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "2", "True", "0"]


def test_cores_that_chains_leave_idle(monkeypatch):
    monkeypatch.setattr("fitrl.fitting.sample._n_cores", lambda: 16)
    given = ({}, {"chains": 2}, {"cores": 4}, {"cores": 1}, {"chains": 3, "cores": 8}, {"chains": 32})
    assert [cores_per_chain(each) for each in given] == [4, 8, 1, 1, 2, 1]
