import pytest

from kdbench.allowance import allowance, margin
from kdbench.errors import UsageError


def test_an_allowance_is_a_share_of_an_exact_metric():
    assert allowance("size_bytes=0.5%") == ("size_bytes", 0.005)
    assert allowance(" arena_bytes = 10% ") == ("arena_bytes", 0.1)


def test_a_margin_is_in_points():
    assert margin("0.5") == 0.005
    assert margin("0") == 0.0


@pytest.mark.parametrize("text", ["", "half", "-1", "101", "nan", "inf"])
def test_a_margin_that_is_none_is_one_line(text):
    with pytest.raises(UsageError, match=rf"^--margin {text!r}: expected points of quality such as 0\.5$"):
        margin(text)
