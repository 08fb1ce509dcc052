"""What the system tells in files: /proc and /sys, below a root that tests put elsewhere."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")


def read(root: Path, place: str) -> str:
    """The text of a file below ``root``; empty where it is missing or not for us."""
    try:
        return (root / place).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
