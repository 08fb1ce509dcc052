"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(file_okay=False, path_type=Path)

store = click.option(
    "--store",
    type=_FOLDER,
    envvar="KDBENCH_STORE",
    show_envvar=True,
    help="Where checkpoints, programs and predictions are kept (default: the user's cache folder).",
)
results = click.option(
    "--results",
    type=_FOLDER,
    envvar="KDBENCH_RESULTS",
    show_envvar=True,
    default=Path("results"),
    show_default=True,
    help="Where runs are written and looked for.",
)
