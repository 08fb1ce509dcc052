"""Options that several commands share."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

_FOLDER = click.Path(file_okay=False, path_type=Path)

store = click.option(
    "--store", type=_FOLDER, envvar="KDBENCH_STORE", show_envvar=True,
    help="Where checkpoints, programs and predictions are kept (default: the user's cache folder).",
)
results = click.option(
    "--results", type=_FOLDER, envvar="KDBENCH_RESULTS", show_envvar=True, default=Path("results"), show_default=True,
    help="Where runs are written and looked for.",
)


def width() -> int:
    """The columns of the terminal, 120 where there is none."""
    return shutil.get_terminal_size((120, 24)).columns


def colour() -> bool:
    """Whether to colour what is printed: on a terminal whose user has not set NO_COLOR."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
