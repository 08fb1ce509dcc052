import math

import pytest

pytest.importorskip("autorank")

from kdbench.ranking import Ranking, Standing
from kdbench.ranks import ranks, told


def standing(method, mean):
    return Standing(method, method, {0: mean}, 0, math.nan, math.nan, math.nan, {})


def ranking(pair, *, target="xnnpack-int8", metric="accuracy", **means):
    placed = tuple(standing(method, mean) for method, mean in means.items())
    return Ranking(("run",), "suite", 1, f"digits:{pair}", target, "host", metric, 0.005, placed, "")


CLEAR = [ranking(pair, scratch=0.7 + pair / 100, kd=0.8 + pair / 100, at=0.6 + pair / 100) for pair in range(10)]


def test_methods_are_ranked_within_each_pair():
    (found,) = ranks(CLEAR)
    assert found.mean_ranks == {"kd": 1.0, "scratch": 2.0, "at": 3.0}
    assert found.differ
    # Nemenyi: q(0.05, 3) sqrt(k (k + 1) / 6 N) with q = 2.343 (Demsar 2006, table 5a)
    assert found.critical == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 10)), rel=1e-3)
    assert told(found)[1].endswith("by more than 1.05 (Nemenyi): kd before at")


def test_where_less_is_better_the_least_is_first():
    (found,) = ranks([ranking(pair, metric="latency_ms", a=3.0, b=1.0, c=2.0) for pair in range(5)])
    assert list(found.mean_ranks) == ["b", "c", "a"]


def test_equal_methods_share_their_ranks_and_do_not_differ():
    (found,) = ranks([ranking(pair, a=0.5, b=0.5, c=0.5 + pair % 2 / 10 - 0.05) for pair in range(6)])
    assert set(found.mean_ranks.values()) == {2.0}
    assert not found.differ
    assert told(found)[1].startswith("they do not differ beyond chance (Friedman, p = ")


def test_methods_that_a_pair_lacks_are_left_out_and_said():
    (found,) = ranks([*CLEAR[:-1], ranking(9, scratch=0.7, kd=0.8, at=0.6, dkd=0.9)])
    assert found.left_out == ("dkd",)
    assert "dkd" not in found.mean_ranks


@pytest.mark.parametrize("field", [CLEAR[:4], [ranking(pair, kd=0.8, at=0.6) for pair in range(9)], []])
def test_too_few_pairs_or_methods_have_no_ranks(field):
    assert ranks(field) == []


def test_each_target_has_ranks_of_its_own():
    other = [ranking(pair, target="xnnpack-fp32", kd=0.7, scratch=0.8, at=0.6) for pair in range(5)]
    assert [(one.target, next(iter(one.mean_ranks))) for one in ranks([*CLEAR, *other])] == [
        ("xnnpack-int8", "kd"), ("xnnpack-fp32", "scratch"),
    ]  # fmt: skip
