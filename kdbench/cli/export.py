"""``kdbench export``: the program to ship, with everything its user needs."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options


@click.command("export")
@click.argument("case")
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write; it must be new.",
)  # fmt: skip
@click.option("--run", metavar="RUN", help="From this run (default: the newest that has the case, quick ones last).")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@options.store
@options.results
def command(case: str, to: Path, run: str | None, force: bool, store: Path | None, results: Path) -> int:
    """Write the program of CASE to a folder, with labels, input contract, sample, record and a C++ loader.

    CASE is a case id as tables and records name it, or enough of its parts: kd/xnnpack-int8/s0.
    """
    from kdbench.export import export
    from kdbench.store import Store, default_store

    done = export(case, to, Store(store or default_store()), results, run, force=force)
    click.echo(f"exported {done.case} of run {done.run} ({done.suite}) to {done.folder}")
    click.echo(f"program.pte has {done.size_bytes:,} bytes, sha256 {done.sha256}")
    click.echo("README.md there says how to build loader.cpp, which runs the sample and compares")
    return 0
