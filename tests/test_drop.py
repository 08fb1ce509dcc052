import numpy as np
import pytest

from kdbench.drop import LEVEL, judged, of_items, of_seeds


def words(drops, margin=0.005):
    return [word for word, _ in judged(drops, margin)]


@pytest.mark.parametrize(
    ("lost", "gained", "items", "margin", "word"),
    [
        (0, 0, 540, 0.005, "ok"),
        (130, 30, 10_000, 0.005, "regressed"),  # a point
        (130, 30, 10_000, 0.02, "ok"),  # shown to have fallen, and to stay within the margin
        (60, 55, 10_000, 0.005, "ok"),
        (6, 1, 540, 0.005, "inconclusive"),
        (30, 130, 10_000, 0.005, "improved"),
    ],
)
def test_a_drop_is_red_where_it_is_shown_and_may_exceed_the_margin(lost, gained, items, margin, word):
    assert words([of_items(lost, gained, items)], margin) == [word]


def test_what_is_said_of_a_drop():
    ((_, fell),) = judged([of_items(130, 30, 10_000)])
    assert fell == (
        "130 items lost, 30 gained of 10,000, p = 2.4e-16; at worst -1.21 points, margin 0.50; "
        "a drop of 0.40 would have been shown"
    )
    ((_, rose),) = judged([of_items(30, 130, 10_000)])
    assert "p = 2.4e-16; shown not to be lower, margin 0.50" in rose
    assert judged([of_items(0, 0, 540)]) == [
        ("ok", "unchanged: all 540 items as before; a drop of 1.86 would have been shown")
    ]


def test_several_programs_share_the_level():
    """By itself 8 lost of 8 is shown; beside nine others that changed it may be chance."""
    assert words([of_items(8, 0, 540)]) == ["regressed"]
    assert words([of_items(8, 0, 540), *[of_items(3, 3, 540)] * 9])[0] == "inconclusive"
    assert words([of_items(8, 0, 540), *[of_items(0, 0, 540)] * 9])[0] == "regressed"


def test_seeds_are_judged_from_three_on():
    base = (0.90, 0.91, 0.92)
    assert words([of_seeds(base, (0.85, 0.86, 0.869))]) == ["regressed"]
    assert words([of_seeds(base, (0.95, 0.96, 0.969))]) == ["improved"]
    assert words([of_seeds(base, (0.89, 0.93, 0.90))]) == ["inconclusive"]
    assert words([of_seeds(base, base)]) == ["ok"]
    assert words([of_seeds(base[:2], (0.5, 0.5))]) == ["inconclusive"]
    assert judged([of_seeds(base[:2], base[:2])]) == [("ok", "unchanged: retrained, 2 paired seeds of at least 3")]
    assert words([of_seeds(base[:1], (0.5,))]) == ["inconclusive"]


def test_too_few_seeds_say_how_many_are_needed():
    ((_, one),) = judged([of_seeds((0.9,), (0.5,))])
    assert one == "retrained, 1 paired seed of at least 3; at least 3 seeds are needed"
    ((_, two),) = judged([of_seeds((0.90, 0.91), (0.89, 0.91))])
    assert two == "retrained, 2 paired seeds of at least 3; 23 seeds would show one of the margin"
    ((_, many),) = judged([of_seeds((0.9, 0.9, 0.9), (0.5, 0.9, 0.2))])
    assert many.endswith("no 1,000 seeds would do")


@pytest.mark.parametrize("programs", [1, 20])
def test_suites_in_which_nothing_fell_are_hardly_ever_red(programs):
    draw = np.random.default_rng(12)
    by_items = by_seeds = 0
    for _ in range(500):
        changed = draw.binomial(150, 0.5, programs)
        by_items += "regressed" in words([of_items(int(k), 150 - int(k), 10_000) for k in changed], 0.0)
        seeds = draw.normal(0.9, 0.01, (programs, 2, 3))
        by_seeds += "regressed" in words([of_seeds(*each) for each in seeds.tolist()], 0.0)
    assert by_items <= 1.6 * LEVEL * 500
    assert by_seeds <= 1.6 * LEVEL * 500
