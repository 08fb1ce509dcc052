import numpy as np
import pytest

from kdbench.measures.steady import half_width, steady
from kdbench.spec import Protocol
from kdbench.stats import t_half_width


def test_an_interval_is_over_processes_and_over_sessions():
    told = [2.0, 2.1, 2.05, 2.02]
    assert half_width("latency_ref", told) == pytest.approx(0.066468567)  # of 3.495 degrees of freedom
    assert half_width("latency_ref", [2.0, 2.0, 2.0]) == pytest.approx(1.959964 * 0.003 * 2.0)  # no session sees it
    assert half_width("latency_ms", [2.0, 2.0, 2.0]) == pytest.approx(1.959964 * 0.007 * 2.0)
    assert half_width("latency_ref", [2.0]) is None


@pytest.mark.parametrize("scatter", [0.0005, 0.005, 0.02])
def test_the_figure_that_is_shown_is_within_it_of_the_long_run_and_not_within_students(scatter):
    draw = np.random.default_rng(0)
    moved = 1 + 0.003 * draw.standard_normal((2000, 1))
    told = moved + scatter * draw.standard_normal((2000, Protocol().processes))
    off = np.abs(np.median(told, axis=1) - 1)
    assert 0.92 < np.mean([far <= half_width("latency_ref", one) for far, one in zip(off, told, strict=True)]) < 0.97
    if scatter < 0.01:
        assert np.mean([far <= t_half_width(one) for far, one in zip(off, told, strict=True)]) < 0.91


def test_the_median_process_stands_for_a_ratio():
    made = [np.full(10, time, np.int64) for time in (2000, 2200, 9000)]
    ruler = [np.full(10, time, np.int64) for time in (1000, 1000, 3000)]
    found = steady(made, ruler, 10)
    assert found.ratios == (2.0, 2.2, 3.0)
    assert found.metrics["latency_ref"] == 2.2
    assert found.flags == ("noisy",)
    calm = steady([np.full(10, time, np.int64) for time in (2000, 2100, 2000, 2150, 1900, 2000)], [], 10)
    assert calm.flags == ()  # 12 % from the least to the most, 4 % of deviation
    assert steady(made[:1], ruler[:1], 11).flags == ("few-samples",)
