import numpy as np
import pytest

from kdbench.measures.steady import BETWEEN_SESSIONS, half_width, steady
from kdbench.spec import Protocol
from kdbench.stats import t_half_width


def test_an_interval_is_over_processes_and_over_sessions():
    told = [2.0, 2.1, 2.05, 2.02]
    assert half_width(told) == pytest.approx(np.hypot(t_half_width(told), 1.96 * 0.003 * np.mean(told)))
    assert half_width([2.0, 2.0, 2.0]) == pytest.approx(1.96 * BETWEEN_SESSIONS * 2.0)  # what no session sees of itself
    assert half_width([2.0]) is None


def test_it_holds_the_long_run_figure_where_sessions_move_and_students_does_not():
    draw = np.random.default_rng(0)
    processes = Protocol().processes
    sessions = 1 + BETWEEN_SESSIONS * draw.standard_normal((2000, 1))
    told = sessions + 0.002 * draw.standard_normal((2000, processes))
    off = np.abs(told.mean(axis=1) - 1)
    assert 0.94 < np.mean([far <= half_width(one) for far, one in zip(off, told, strict=True)]) < 0.99
    assert np.mean([far <= t_half_width(one) for far, one in zip(off, told, strict=True)]) < 0.8


def test_the_median_process_stands_for_a_ratio():
    made = [np.full(10, time, np.int64) for time in (2000, 2200, 9000)]
    ruler = [np.full(10, time, np.int64) for time in (1000, 1000, 3000)]
    found = steady(made, ruler, 10)
    assert found.ratios == (2.0, 2.2, 3.0)
    assert found.metrics["latency_ref"] == 2.2
    assert found.flags == ("noisy",)
    assert steady(made[:1], ruler[:1], 11).flags == ("few-samples",)
