"""Blocks of lanes hold every row once, and a short sequence does not wait for a long one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitrl.engine.packing import column_dtypes, pack

tables = st.lists(st.integers(1, 9), min_size=1, max_size=40)
fast = settings(max_examples=80, deadline=None, derandomize=True)


@fast
@given(tables, st.sampled_from([None, 1, 8, 16]), st.randoms(use_true_random=False))
def test_every_row_stands_in_one_place(lengths, width, random):
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    random.shuffle(sequence)  # rows of several sequences may alternate
    packing = pack(sequence, n_cells=3, width=width)
    rows = packing.rows
    assert sorted(rows[rows >= 0].tolist()) == list(range(len(sequence)))
    n_blocks = len(packing.blocks) - 1
    assert packing.lanes.shape == (n_blocks, rows.shape[1])
    for block in range(n_blocks):
        part = rows[packing.blocks[block] : packing.blocks[block + 1]]
        assert (part[-1] >= 0).any()  # no block is longer than its longest sequence
        for lane, mine in enumerate(part.T):
            filled = mine >= 0
            assert (np.diff(filled.astype(int)) <= 0).all()  # padding comes last
            assert (np.diff(mine[filled]) > 0).all()  # in trial order
            assert (sequence[mine[filled]] == packing.lanes[block, lane]).all()


@fast
@given(tables, st.sampled_from([None, 8]))
def test_padding_repeats_rows_of_its_own_sequence(lengths, width):
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    packing = pack(sequence, n_cells=3, width=width)
    filled = packing.rows >= 0
    np.testing.assert_array_equal(packing.read[filled], packing.rows[filled])
    owner = np.repeat(packing.lanes, np.diff(packing.blocks), axis=0)
    np.testing.assert_array_equal(sequence[packing.read], owner)
    reset = np.zeros(len(sequence), bool)
    np.testing.assert_array_equal(packing.resets(reset), ~filled)


@fast
@given(tables, st.data())
def test_places_lead_back(lengths, data):
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    scored = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=len(sequence), max_size=len(sequence))))
    packing = pack(sequence, n_cells=2, width=8)
    places = packing.places(scored)
    values = np.arange(len(sequence)) * 10.0
    found = np.full(len(scored), np.nan)
    found[places[places >= 0]] = packing.column(values)[places >= 0]
    np.testing.assert_array_equal(found, values[scored])
    assert (places[packing.rows < 0] == -1).all()


def test_short_sequences_share_blocks():
    """One sequence of 1,000 rows among many of 10 costs its own block, not 1,000 steps for everybody."""
    lengths = np.full(640, 10)
    lengths[17] = 1000
    packing = pack(np.repeat(np.arange(640), lengths), n_cells=100)
    assert packing.rows.size < 6 * lengths.sum()


@pytest.mark.parametrize(("n_cells", "width"), [(1, 104), (1000, 64)])
def test_a_block_fits_the_cache(n_cells, width):
    sequence = np.repeat(np.arange(300), 200)
    assert pack(sequence, n_cells).rows.shape[1] == width


@pytest.mark.parametrize("n_subjects", [7, 50, 65, 300, 1000])
def test_few_lanes_are_padding(n_subjects):
    """Vectors of eight lanes: at most one more than the subjects need, and a tenth for blocks of one width."""
    packing = pack(np.repeat(np.arange(n_subjects), 20), n_cells=12)
    assert packing.lanes.size < 1.1 * n_subjects + 8


def test_few_subjects_make_a_narrow_block():
    assert pack(np.zeros(5, int), 3).rows.shape == (5, 8)


def test_kinds_of_columns():
    columns = {"a": np.array([True]), "b": np.array([1]), "c": np.array([1.0]), "d": np.array([1], dtype=np.uint8)}
    assert column_dtypes(columns) == {"a": "bool", "b": "int64", "c": "float64", "d": "int64"}
