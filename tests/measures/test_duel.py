import numpy as np
import pytest

from kdbench.measures.duel import block_medians, bout


def test_blocks_end_with_the_run_that_fills_them():
    samples = np.array([4, 5, 6, 20, 1, 1, 1], dtype=np.int64)
    assert block_medians(samples, 10).tolist() == [5.0, 20.0, 1.0]
    assert block_medians(samples, 1).tolist() == samples.tolist()
    assert block_medians(samples[:0], 10).tolist() == []


def test_a_bout_goes_by_fast_blocks_which_nothing_disturbed():
    base = np.array([100.0] * 8 + [250.0] * 3)
    new = np.array([900.0] * 6 + [102.0] * 5 + [1.0])  # disturbed more often; the last block has no pair
    told = bout([base, new, base[::-1] * 0.99])
    assert told.moved == pytest.approx(np.log(1.02) - np.log(0.99) / 2)  # held against both copies of base
    assert told.still == pytest.approx(np.log(0.99))
    assert told.blocks.shape == (3, 11)
    assert (told.base_ns, told.new_ns) == (pytest.approx(100 * np.sqrt(0.99)), 102.0)
