"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.store import named

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _everywhere(context: click.Context, _parameter: click.Parameter, store: Path | None) -> Path | None:
    """The store, known while the command runs to workers and to what is kept beside it: runners, decoded data sets."""
    if store is not None:
        context.call_on_close(named(store))
    return store


store = click.option(
    "--store",
    type=_FOLDER,
    envvar="KDBENCH_STORE",
    show_envvar=True,
    callback=_everywhere,
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
