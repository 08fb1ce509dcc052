import numpy as np
import pytest

from kdbench.measures.speed import steady


def ns(*values):
    return np.array(values, dtype=np.int64)


def test_the_steady_state_is_of_all_samples_and_the_ratio_of_medians_process_by_process():
    found = steady([ns(1_000_000, 3_000_000), ns(2_000_000, 4_000_000)], [ns(1_000_000), ns(2_000_000)], 2)
    assert found.samples == 4
    assert found.medians_ms == (2.0, 3.0)
    assert found.metrics["latency_ms"] == found.metrics["latency_mean_ms"] == 2.5
    assert found.metrics["latency_p90_ms"] == pytest.approx(3.7)
    assert found.metrics["latency_p99_ms"] is None
    assert found.ratios == (2.0, 1.5)
    assert found.metrics["latency_ref"] == 1.75
    assert found.flags == ("noisy",)


def test_a_mean_is_no_median_and_a_99th_percentile_wants_a_thousand_samples():
    found = steady([ns(*[1_000_000] * 999, 1_001_000_000)], [], 100)
    assert (found.metrics["latency_ms"], found.metrics["latency_mean_ms"]) == (1.0, 2.0)
    assert found.metrics["latency_p99_ms"] == 1.0
    assert found.metrics["latency_ref"] is None
    assert found.flags == ()


def test_a_process_with_too_few_samples_is_flagged():
    assert steady([ns(1, 1, 1), ns(1, 1)], [], 3).flags == ("few-samples",)
    assert steady([ns(1, 1, 1), ns(1, 1, 1)], [], 3).flags == ()
