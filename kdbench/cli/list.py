"""``kdbench list``: what there is, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kdbench.data.source import Whereabouts
    from kdbench.lowering.target import Target

KINDS = ("suites", "methods", "models", "targets", "devices", "datasets", "tasks", "measures")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), metavar="|".join(KINDS))
def command(kind: str) -> None:
    """List suites, methods, models, targets, devices, data sets, tasks or measures by name."""
    rows = _suites() if kind == "suites" else _entries(kind)
    width = max((len(name) for name, _ in rows), default=0)
    for name, summary in rows:
        click.echo(f"{name:<{width}}  {summary}".rstrip())
        if kind in _MORE:
            click.echo(f"{'':<{width}}  {_MORE[kind](name)}")


def _entries(group: str) -> list[tuple[str, str]]:
    from kdbench.catalog import entries

    return [(name, entry.summary()) for name, entry in entries(group).items()]


def _where(name: str) -> str:
    """Where a data set is, or how to get it."""
    from kdbench.catalog import load
    from kdbench.errors import KdbenchError

    found = load("datasets", name)
    if not hasattr(found, "where"):
        return "-> always at hand"
    try:
        where: Whereabouts = found.where()
    except KdbenchError as error:
        return f"-> {error}"
    return f"-> {where.said}" + (f": {where.hint}" if where.hint else "")


def _able(name: str) -> str:
    """Whether this machine lowers to a target and runs its programs, or what it lacks."""
    from kdbench.catalog import load

    target: Target = load("targets", name)
    if lacks := target.missing():
        return f"-> cannot lower here: {lacks}"
    unrun = target.missing_on("host")
    return f"-> lowers here; {unrun}" if unrun else "-> lowers and runs here"


_MORE = {"datasets": _where, "targets": _able}
"""What a second line says of each thing of a kind."""


def _suites() -> list[tuple[str, str]]:
    from kdbench.suite_file import read_suite, suite_files

    suites = [read_suite(path) for path in suite_files()]
    return [(suite.name, suite.description) for suite in suites]
