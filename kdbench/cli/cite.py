"""``kdbench cite``: BibTeX of what a run used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.published.citation import Used


@click.command("cite")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@options.results
def command(runs: tuple[str, ...], results: Path) -> None:
    """Print BibTeX of what runs used: the papers of their methods, models and data sets, the tools, kdbench itself.

    RUN is a folder, a run.json, a run id, a suite's name (its newest run) or SUITE~1 (the one before that); a suite
    that has no run yet, by name or file.toml, stands for a whole run of it.
    """
    from kdbench.published.citation import bibliography

    click.echo(bibliography([_used(reference, results) for reference in runs]), nl=False)


def _used(reference: str, results: Path) -> Used:
    from kdbench.errors import UsageError
    from kdbench.published.citation import used_by_run, used_by_suite
    from kdbench.records import read_run
    from kdbench.results import find_run
    from kdbench.suite_file import read_suite, suite_files, suite_path

    if reference.endswith(".toml") and Path(reference).is_file():
        return used_by_suite(read_suite(Path(reference)))
    try:
        folder = find_run(reference, results)
    except UsageError:
        if reference not in {path.stem for path in suite_files()}:
            raise
        return used_by_suite(read_suite(suite_path(reference)))
    return used_by_run(read_run(folder))
