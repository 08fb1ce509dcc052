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


jobs = click.option("--jobs", type=click.IntRange(min=1), help="Stages side by side (default: one a core).")
settings = click.option(
    "-o", "--option", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the added method."
)
train_device = click.option(
    "--train-device", type=click.Choice(["cpu", "cuda"]), help="Train there instead of where the recipe says."
)
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
