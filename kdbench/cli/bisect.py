"""``kdbench bisect``: the commit that moved an exact figure of a case."""

from __future__ import annotations

import click

from kdbench.cli import options


@click.command("bisect")
@click.argument("good")
@click.argument("bad")
@click.option("--suite", required=True, metavar="FILE", help="The suite's file, as a path in the repository.")
@click.option("--metric", required=True, metavar="ID", help="An exact figure, such as size_bytes.")
@click.option("--case", required=True, metavar="CASE", help="PAIR/METHOD/TARGET/sSEED/DEVICE, as tables name it.")
@options.store
def command(good: str, bad: str, suite: str, metric: str, case: str, store: object) -> None:
    """Find the commit between GOOD and BAD that moved a figure, by git bisect run in a worktree of its own.

    The case is run at each commit that is tried; commits at which it cannot be are skipped.
    """
    del store  # known to every run that is started, by the environment
    from kdbench.bisection import Probe, bisect

    found = bisect(good, bad, Probe(suite, metric, case), click.echo)
    click.echo(f"{found.commit[:10]} moved {metric} from {found.good:.10g} to {found.bad:.10g}: {found.subject}")
