"""Findings: what was found out about this machine, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, what was seen and what to do about it.

    ``warn``: it works, but figures or comfort suffer. ``missing``: it does not work. ``needed``: without it
    ``kdbench run digits`` cannot run.
    """

    topic: str
    name: str
    state: State
    said: str
    hint: str = ""
    needed: bool = False
