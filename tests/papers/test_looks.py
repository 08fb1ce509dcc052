from itertools import pairwise

import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb

from kdbench.papers.looks import COLOURS, MARKS, looks, marks


def test_every_method_of_a_suite_of_36_looks_its_own_way_and_as_filled_as_few_colours_allow():
    found = looks(f"m{place}" for place in range(36))
    assert len(set(found.values())) == 36
    assert {look.fill for look in list(found.values())[: len(COLOURS)]} == {"full"}
    assert looks(["kd", "at", "kd"])["at"].colour == COLOURS[1]


def test_colours_differ_in_grey_and_show_on_white():
    grey = sorted(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in map(to_rgb, COLOURS))
    assert all(high - low > 0.07 for low, high in pairwise(grey))
    assert grey[-1] < 0.8


def test_an_open_mark_is_white_and_half_a_mark_has_a_white_half():
    open_, half = (looks(str(n) for n in range(36))[str(place)].mark("o") for place in (6, 12))
    assert (open_["markerfacecolor"], open_["fillstyle"]) == ("white", "full")
    assert (half["fillstyle"], half["markerfacecoloralt"]) == ("left", "white")


def test_a_mark_for_each_target():
    assert marks(["b", "a", "b"]) == {"b": MARKS[0], "a": MARKS[1]}
    assert len(set(MARKS)) == len(MARKS)
