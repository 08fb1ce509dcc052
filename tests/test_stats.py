import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from kdbench import stats
from kdbench.stats import (
    Interval,
    detectable_drop,
    detectable_mean,
    dominated,
    holm,
    mcnemar,
    needed,
    paired_drop_high,
    paired_t,
    paired_t_below,
    paired_t_p,
    t_half_width,
    wilson,
    wilson_half_width,
)


def test_t_half_width_is_scipys_interval_and_none_of_one_value():
    values = [0.83, 0.86, 0.81, 0.9]
    low, high = reference.t.interval(0.95, 3, np.mean(values), reference.sem(values))
    assert t_half_width(values) == pytest.approx((high - low) / 2, rel=1e-12)
    assert t_half_width(values, 0.8) < t_half_width(values)
    assert t_half_width([0.5]) is None
    assert t_half_width([]) is None
    assert t_half_width([0.5, 0.5]) == 0


def test_t_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.9, 0.01, (4000, 3))
    covered = sum(abs(row.mean() - 0.9) <= (t_half_width(row) or 0) for row in draws)
    assert 0.94 < covered / len(draws) < 0.96


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (298, 360), (1, 3)])
def test_wilson_is_scipys_interval(hits, n):
    theirs = reference.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert wilson_half_width(hits / n, n) == pytest.approx((theirs.high - theirs.low) / 2, abs=1e-12)


def test_wilson_covers_a_proportion_about_as_often_as_it_says():
    hits = np.random.default_rng(2).binomial(360, 0.95, 4000)
    covered = sum(low <= 0.95 <= high for low, high in (wilson(k / 360, 360) for k in hits))
    assert 0.93 < covered / len(hits) < 0.97


@pytest.mark.parametrize(("share", "n"), [(-0.1, 10), (1.1, 10), (0.5, 0)])
def test_wilson_of_no_proportion_is_refused(share, n):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(share, n)


def test_paired_t_is_scipys_interval_and_none_of_one_pair():
    a, b = [0.9, 0.92, 0.91], [0.85, 0.89, 0.84]
    interval = paired_t(a, b)
    theirs = reference.ttest_rel(a, b).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high))
    assert interval.estimate == pytest.approx(0.05)
    assert paired_t([1.0], [0.0]) is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_paired_t_calls_equals_different_as_rarely_as_it_says(n):
    generator = np.random.default_rng(n)
    right = generator.binomial(360, 0.85, (2, 4000, n))  # two methods of one quality, 360 test items
    wrong = sum(paired_t(a / 360, b / 360, resolution=1 / 360).excludes_zero for a, b in zip(*right, strict=True))
    assert wrong / 4000 < 0.06


def test_without_a_resolution_two_equal_differences_would_prove_anything():
    a, b = [301 / 360, 311 / 360], [300 / 360, 310 / 360]
    assert paired_t(np.array([3, 4]), np.array([2, 3])).excludes_zero
    assert not paired_t(a, b, resolution=1 / 360).excludes_zero
    assert paired_t([0.9, 0.95], [0.8, 0.85], resolution=1 / 360).excludes_zero


def test_an_interval_excludes_zero_on_either_side():
    assert Interval(1, 0.5, 1.5).excludes_zero
    assert Interval(-1, -1.5, -0.5).excludes_zero
    assert not Interval(0.5, -0.1, 1.1).excludes_zero
    assert not Interval(0, 0, 0).excludes_zero


def test_dominated_rows():
    points = [
        [0.9, 10, 100],  # best quality
        [0.9, 10, 100],  # its equal
        [0.9, 10, 101],  # larger
        [0.8, 9, 120],  # faster
        [0.8, 9.5, 120],  # slower than that
        [math.nan, 1, 1],  # unknown
    ]
    mask = dominated(points, ("higher", "lower", "lower"))
    assert mask.tolist() == [False, False, True, False, True, False]
    with pytest.raises(ValueError, match="3 columns, but 2 directions"):
        dominated(points, ("higher", "lower"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_dominated_is_what_its_definition_says(points):
    mask = dominated(points, ("higher", "lower"))
    for (quality, cost), beaten in zip(points, mask, strict=True):
        assert beaten == any(q >= quality and c <= cost and (q, c) != (quality, cost) for q, c in points)


def test_the_upper_end_of_a_paired_drop_is_the_papers_and_holds_what_it_says():
    # 1.96 of a two-sided 95 % interval is the one-sided one of 97.5 %: by hand for 9 lost, 4 gained of 100.
    fell, rose = 10 / 102, 5 / 102
    error = math.sqrt((fell + rose - (fell - rose) ** 2) / 102)
    assert paired_drop_high(9, 4, 100, 0.975) == pytest.approx(fell - rose + 1.959964 * error, rel=1e-6)
    assert paired_drop_high(0, 0, 100) < paired_drop_high(3, 0, 100) < paired_drop_high(5, 0, 100)
    draw = np.random.default_rng(6)
    for items, lost, gained in ((540, 0.02, 0.01), (1000, 0.005, 0.005), (10_000, 0.01, 0.004)):
        counts = draw.multinomial(items, [lost, gained, 1 - lost - gained], 3000)
        held = [paired_drop_high(int(a), int(b), items) >= lost - gained for a, b, _ in counts]
        assert 0.93 < np.mean(held) < 0.99


def test_mcnemar_is_the_exact_tail():
    assert mcnemar(0, 0) == mcnemar(0, 5) == 1.0
    assert mcnemar(5, 0) == pytest.approx(1 / 32)
    assert mcnemar(8, 3) == pytest.approx(reference.binomtest(8, 11, 0.5, alternative="greater").pvalue)
    draw = np.random.default_rng(7)
    lost = draw.binomial(100, 0.5, 20_000)
    assert np.mean([mcnemar(int(k), 100 - int(k)) <= 0.01 for k in lost]) <= 0.0115


@pytest.mark.parametrize(("items", "share", "level"), [(10_000, 0.02, 0.01), (10_000, 0.1, 0.01), (540, 0.03, 0.002)])
def test_the_smallest_drop_that_is_named_would_have_been_shown(items, share, level):
    """A fifth of all drops as large as it are missed (fewer where hardly an item changes), and few that are larger."""
    drop = detectable_drop(round(items * share), items, level)
    draw = np.random.default_rng(8)

    def shown(drop):
        whole = max(share, drop)
        law = [(whole + drop) / 2, (whole - drop) / 2, 1 - whole]
        return np.mean([mcnemar(int(a), int(b)) <= level for a, b, _ in draw.multinomial(items, law, 4000)])

    assert 0.72 < shown(drop) < 0.97
    assert shown(1.6 * drop) > 0.97


def test_the_paired_t_test_below_is_scipys_and_keeps_its_level():
    one, other = np.random.default_rng(9).normal(size=(2, 5))
    assert paired_t_below(one, other) == pytest.approx(reference.ttest_rel(one, other, alternative="less").pvalue)
    assert paired_t_below([0.1, 0.1, 0.1], [0.2, 0.2, 0.2], resolution=0.1) > 0.02
    assert (paired_t_below([0, 0], [1, 1]), paired_t_below([1, 1], [0, 0])) == (0.0, 1.0)
    draw = np.random.default_rng(10)
    assert np.mean([paired_t_below(*draw.normal(size=(2, 3))) <= 0.05 for _ in range(8000)]) == pytest.approx(
        0.05, abs=0.01
    )


@pytest.mark.parametrize(("n", "level"), [(3, 0.01), (5, 0.01), (20, 0.01), (5, 0.002)])
def test_the_smallest_mean_that_is_named_would_have_been_shown(n, level):
    mean = detectable_mean(1.0, n, level)
    draw = np.random.default_rng(11).normal(-mean, 1.0, (8000, n))
    assert np.mean([paired_t_below(row, np.zeros(n)) <= level for row in draw]) == pytest.approx(0.8, abs=0.02)


def test_so_many_seeds_are_needed():
    n = needed(1.0, 0.5, 0.01)
    assert detectable_mean(1.0, n, 0.01) <= 0.5 < detectable_mean(1.0, n - 1, 0.01)
    assert needed(1.0, 1e-6, 0.01) is None


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_keeps_the_familywise_error():
    p = np.random.default_rng(5).random((4000, 10))
    assert sum((holm(row) < 0.05).any() for row in p) / len(p) < 0.06


def test_what_cannot_be_paired_or_is_no_number_is_refused():
    with pytest.raises(ValueError, match="2 values cannot be paired with 3"):
        paired_t([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="none of them NaN"):
        t_half_width([1.0, math.nan])
    assert stats.t_half_width(np.array([1, 2])) > 0


def test_the_two_sided_p_value_is_that_of_the_paired_t_test():
    generator = np.random.default_rng(0)
    for n in (2, 3, 10):
        a, b = generator.normal(0.3, 1, n), generator.normal(0, 1, n)
        assert paired_t_p(a, b) == pytest.approx(reference.ttest_rel(a, b).pvalue)
    assert paired_t_p([0.5, 0.5], [0.5, 0.5]) == 1
    assert paired_t_p([0.5, 0.5], [0.25, 0.25]) == 0
