"""``kdbench train``: a suite's networks alone, for another machine to lower and measure."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("train")
@click.argument("suite")
@click.option("--quick", is_flag=True, help="The suite's [quick] variant.")
@click.option(
    "--only", multiple=True, metavar="AXIS=VALUE,...", help="Only the students of these cases, and their teachers."
)
@click.option("--method", "methods", multiple=True, metavar="NAME|FILE.py:CLASS", help="Add a method's students.")
@options.settings
@click.option("--seeds", metavar="0,1,2|0-9", help="Other seeds than the suite's.")
@options.jobs
@options.train_device
@options.store
def command(
    suite: str,
    quick: bool,
    only: tuple[str, ...],
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    seeds: str | None,
    jobs: int | None,
    train_device: str | None,
    store: Path | None,
) -> int:
    """Train the networks of SUITE into the store, teachers too, and neither lower nor measure: needs no executorch.

    Copy the store to the machine that measures; there `kdbench run SUITE --trained COPY` does the rest. Ctrl-C loses
    nothing that is trained; the same command goes on.
    """
    from kdbench.cli.progress import Progress
    from kdbench.errors import EXIT_FAILED
    from kdbench.plan import cases_of, select
    from kdbench.session import students
    from kdbench.store import Artefact, Store, default_store
    from kdbench.suite_file import read_suite, suite_path
    from kdbench.variant import varied
    from kdbench.worker import Failed

    declared = read_suite(suite_path(suite), quick=quick)
    chosen = varied(declared, methods=methods, options=settings, seeds=seeds, train_device=train_device)
    cases = select(cases_of(chosen), ",".join(only)) if only else cases_of(chosen)
    pairs = {case.pair.id for case in cases}  # whose teachers every student is held against
    cases = (*(case for case in cases_of(chosen) if case.is_teacher and case.pair.id in pairs), *cases)
    place = store or default_store()
    with Progress(sys.stderr) as progress:
        outcomes = students(chosen, cases, Store(place), jobs, progress)
    networks = {one.key: one for one in outcomes.values() if isinstance(one, Artefact)}
    seconds = sum(network.json("network.json")["seconds"] for network in networks.values())
    click.echo(f"{len(networks)} network{'s' * (len(networks) != 1)}, {seconds:.0f} s of training, in {place}")
    failed = {
        one.id: f"{case}: {one.status}: {one.reason}" for case, one in outcomes.items() if isinstance(one, Failed)
    }
    for line in failed.values():
        click.echo(line)
    told = {"--only": only, "--method": methods, "-o": settings, "--seeds": (seeds,) if seeds else ()}
    words = [word for option, values in told.items() for value in values for word in (option, value)]
    rest = shlex.join(["kdbench", "run", suite, *["--quick"] * quick, *words])
    click.echo(f"where they are measured: {rest} --trained COPY_OF_THE_STORE")
    return EXIT_FAILED if failed else 0
