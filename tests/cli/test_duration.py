import click
import pytest

from kdbench.cli.duration import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("33ms", 0.033), ("0.1ms", 0.0001), ("2.5s", 2.5), ("3m", 180), ("1h", 3600)]
)
def test_a_number_and_its_unit(text, seconds):
    assert duration("0.1ms", "1h")(None, None, text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "ms", "-1s", "1 s", "1e3s", "3min", "", "nans", "٣s", "1s\n"])
def test_what_is_none(text):
    with pytest.raises(click.BadParameter) as error:
        duration("0.1ms", "1h")(None, None, text)
    assert error.value.message == f"{text!r} is not a duration such as 33ms, 2.5s, 3m or 1h"


@pytest.mark.parametrize("text", ["0ms", "0.09ms", "1.1h", "999999999h"])
def test_limits_are_said(text):
    with pytest.raises(click.BadParameter) as error:
        duration("0.1ms", "1h")(None, None, text)
    assert error.value.message == f"{text!r} is not from 0.1ms to 1h"


def test_what_is_not_given_is_none():
    assert duration("0.1ms", "1h")(None, None, None) is None
