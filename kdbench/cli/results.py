"""``kdbench results``: the runs there are, and the ledger of those that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.group("results")
def command() -> None:
    """List the stored runs, and keep those that deserve it."""


@command.command("list")
@options.results
def list_runs(results: Path) -> None:
    """List the runs in the results folder, the oldest first."""
    from kdbench.errors import UsageError
    from kdbench.records import read_run
    from kdbench.results import stored

    places = stored(results)
    if not places:
        click.echo(f"no runs in {results}")
    for place in places:
        try:
            run = read_run(place.folder)
        except UsageError as error:
            click.echo(f"{place.id}  {place.suite}  unreadable: {error}")
            continue
        failed = sum(record.status != "ok" for record in run.records)
        parts = [
            place.id,
            f"{place.suite} v{run.suite['version']}",
            "kept" if place.kept else "scratch",
            f"{len(run.records)} cases"
            + (f", {failed} not ok" if failed else "")
            + (", partial" if run.partial else ""),
            place.machine,
        ]
        click.echo("  ".join(parts))


@command.command("keep")
@click.argument("run")
@options.results
def keep_run(run: str, results: Path) -> None:
    """Move RUN into the ledger results/runs/, to be committed. At most 3 MB."""
    from kdbench.records import read_run
    from kdbench.results import find_run, keep

    kept = keep(find_run(run, results), results)
    click.echo(str(kept))
    if read_run(kept).partial:
        click.echo("note: the run is partial; tables accept it, baselines will not", err=True)
