"""``kdbench ingest``: results that were measured elsewhere, as a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.records import Run

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("ingest")
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR|FILE...")
@click.option("--name", required=True, metavar="NAME", help="What the device is called: its rows are on import:NAME.")
@click.option("--run", metavar="RUN", help="The run that the programs are of (default: the bundle says it).")
@click.option(
    "--bundle", type=_FOLDER, metavar="DIR", help="The bundle that was measured (default: where the first file lies).",
)  # fmt: skip
@options.store
@options.results
def command(
    places: tuple[Path, ...], name: str, run: str | None, bundle: Path | None, store: Path | None, results: Path
) -> int:
    """Take results of a bundle's programs in: measured.json, minibench's JSON, executor_runner's or XCTest's log.

    A folder stands for every .json and .log in it. Programs are known by their sha256, else by their file's name. What
    they tell becomes a run of the suite SUITE@import-NAME, whose times are compared with no other device's.
    """
    from kdbench.formats import terminal
    from kdbench.lab.ingest import ingest, read_results, result_files
    from kdbench.lab.manifest import read_manifest
    from kdbench.records import read_run
    from kdbench.results import check_writable, find_run, save
    from kdbench.store import Store, default_store
    from kdbench.tables import plain

    files = dict.fromkeys(path for place in places for path in result_files(place))
    manifest = read_manifest(bundle or (places[0] if places[0].is_dir() else places[0].parent))
    whole = read_run(find_run(run or manifest.run, results))
    told = [read_results(path) for path in files]
    words = ("kdbench", *sys.argv[1:])
    check_writable(results)
    made, samples, items = ingest(whole, manifest, told, name, Store(store or default_store()), words)
    folder = save(made, samples, items, results)
    click.echo(terminal([made]), nl=False)
    for file in made.provenance.imported:
        click.echo(f"{plain(file.file)}: read as {file.reader}, sha256 {file.sha256}")
        for line in file.left:
            click.echo(f"{plain(file.file)}: left out {plain(line)}")
    click.echo(f"run {made.id} in {folder}" + (" (partial)" if made.partial else ""))
    return _code(made)


def _code(run: Run) -> int:
    """What the rows that failed there are worth."""
    from kdbench.errors import EXIT_FAILED, EXIT_OK

    return EXIT_FAILED if any(record.status not in {"ok", "skipped"} for record in run.records) else EXIT_OK
