"""A duration on a command line: a number and its unit, such as ``33ms`` or ``3m``."""

from __future__ import annotations

import re

import click

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType):
    """Seconds, within limits that are durations too."""

    name = "duration"

    def __init__(self, least: str, most: str) -> None:
        self._range = f"from {least} to {most}"
        self._least, self._most = _seconds(least), _seconds(most)

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The seconds of ``value``."""
        try:
            found = _seconds(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 33ms, 2.5s, 3m or 1h", parameter, context)
        if not self._least <= found <= self._most:
            self.fail(f"{value!r} is not {self._range}", parameter, context)
        return found


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _SECONDS[match[2]]
