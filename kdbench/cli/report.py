"""``kdbench report``: runs as one page to open, print and send."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--to", type=_FILE, default=Path("report.html"), show_default=True, metavar="FILE.html")
@click.option(
    "--profile", "profiles", multiple=True, type=_FILE, metavar="FILE.json",
    help="Also show where a program's time goes: what kdbench profile --format json printed.",
)  # fmt: skip
@options.results
def command(runs: tuple[str, ...], to: Path, profiles: tuple[Path, ...], results: Path) -> int:
    """Write runs as one HTML file that needs no network: plots, tables to sort and filter, tests, provenance.

    RUN is a folder, a run.json, a run id, a suite's name (its newest run) or SUITE~1 (the one before that).
    """
    from kdbench.runs import report

    written = report(*runs, to=to, profiles=profiles, results=results)
    click.echo(f"wrote {written} ({written.stat().st_size / 1e6:.1f} MB); open it in a browser")
    return 0
