"""``kdbench list``: what there is, by kind."""

from __future__ import annotations

import click

KINDS = ("suites", "methods", "models", "targets", "devices", "datasets", "tasks", "measures")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), metavar="|".join(KINDS))
def command(kind: str) -> None:
    """List suites, methods, models, targets, devices, data sets, tasks or measures by name."""
    rows = _suites() if kind == "suites" else _entries(kind)
    width = max((len(name) for name, _ in rows), default=0)
    for name, summary in rows:
        click.echo(f"{name:<{width}}  {summary}".rstrip())


def _entries(group: str) -> list[tuple[str, str]]:
    from kdbench.catalog import entries

    return [(name, entry.summary()) for name, entry in entries(group).items()]


def _suites() -> list[tuple[str, str]]:
    from kdbench.suite_file import read_suite, suite_files

    suites = [read_suite(path) for path in suite_files()]
    return [(suite.name, suite.description) for suite in suites]
