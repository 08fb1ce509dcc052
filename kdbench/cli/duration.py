"""A duration on a command line: a number and its unit, such as ``33ms`` or ``3m``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(least: str, most: str) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """An option's callback: the seconds of what was given, from ``least`` to ``most``, which are durations too."""

    def seconds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            found = _seconds(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a duration such as 33ms, 2.5s, 3m or 1h") from None
        if not _seconds(least) <= found <= _seconds(most):
            raise click.BadParameter(f"{value!r} is not from {least} to {most}")
        return found

    return seconds


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _SECONDS[match[2]]
