"""Every interpreter gives the numbers that were computed by hand."""

import numpy as np
import pytest
from hand_computed import CASES
from interpreters import run_filter, run_plain, run_symbols, stack

INTERPRETERS = {"plain": run_plain, "filter": run_filter, "symbols": run_symbols}


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("name", CASES)
def test_log_likelihood(name, interpreter):
    case = CASES[name]()
    rows = stack(case.columns)
    found = INTERPRETERS[interpreter](case.model, case.task, case.parameters, rows)["choice"]
    scored = case.columns["mask_choice"]
    np.testing.assert_allclose(found[scored], case.expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("random")])
def test_every_example_tells_something(name):
    """An example in which all choices are equally likely would pass with a wrong model."""
    assert np.ptp(CASES[name]().expected) > 0.05
