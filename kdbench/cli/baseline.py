"""``kdbench baseline``: the programs, facts and right answers that later runs are judged against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from kdbench.baseline import Baseline

_programs = click.option(
    "--programs", type=click.Choice(["here", "store"]), default="here", show_default=True,
    help="Where the programs lie: beside the records, or in the store alone, known by their hashes.",
)  # fmt: skip


@click.group("baseline")
def command() -> None:
    """Keep a run as its suite's baseline: one program a structure, exact facts, right answers, and no times."""


@command.command("save")
@click.argument("run")
@_programs
@options.store
@options.results
def save(run: str, programs: str, store: Path | None, results: Path) -> None:
    """Keep RUN as the first baseline of its suite, results/baselines/SUITE/, to be committed. At most 5 MB.

    RUN may be the folder of another baseline, such as one that a job of continuous integration made.
    """
    click.echo(_saved(_keep(run, programs, store, results, "")))


@command.command("update")
@click.argument("run")
@click.option("--reason", required=True, metavar="WHY", help="Why it is replaced; the baseline records it.")
@_programs
@options.store
@options.results
def update(run: str, reason: str, programs: str, store: Path | None, results: Path) -> None:
    """Replace the baseline of RUN's suite by RUN, with a recorded reason."""
    from kdbench.errors import UsageError

    if not reason.strip():
        raise UsageError("--reason is empty: say why the baseline is replaced")
    click.echo(_saved(_keep(run, programs, store, results, " ".join(reason.split()))))


@command.command("show")
@click.argument("suite")
@options.results
def show(suite: str, results: Path) -> None:
    """Say what the baseline of SUITE (its name, or a baseline's folder) holds, and how it came about."""
    from kdbench.tables import plain

    found = _read(suite, results)
    run, manifest = found.run, found.manifest
    click.echo(f"{found.folder}: {run.name} v{manifest.version}, {len(run.records)} cases, {_weight(found)}")
    for saved in manifest.history:
        click.echo(f"{saved.saved}  run {saved.run}  commit {saved.commit[:10] or 'none'}  {plain(saved.reason)}")
    for program in manifest.programs:
        alike = sum(record.structure == program.structure for record in run.records)
        place = "here" if program.here else "in the store"
        click.echo(f"{program.sha256[:12]}  {program.size_bytes:>11,} bytes {place}  for {alike} cases: {program.case}")


@command.command("verify")
@click.argument("suite")
@options.store
@options.results
def verify(suite: str, store: Path | None, results: Path) -> int:
    """Read every file of the baseline of SUITE back and compare it with its hash and its record.

    Exit code 2 where something is lost or damaged.
    """
    from kdbench.baseline import damage
    from kdbench.errors import EXIT_OK, EXIT_USAGE
    from kdbench.store import Store, default_store

    found = _read(suite, results)
    wrong = damage(found, Store(store or default_store()))
    for line in wrong:
        click.echo(line)
    if not wrong:
        click.echo(
            f"{found.folder} is whole: {len(found.manifest.files)} files, {len(found.manifest.programs)} programs"
        )
    return EXIT_USAGE if wrong else EXIT_OK


def _keep(reference: str, programs: str, store: Path | None, results: Path, reason: str) -> Baseline:
    from kdbench.baseline import save_baseline
    from kdbench.side import side
    from kdbench.store import Store, default_store

    new = side(reference, results)
    kept = Store(store or default_store())

    def program(structure: str) -> Path:
        return new.program(structure, kept)

    return save_baseline(new.run, new.correct(), program, results, in_store=programs == "store", reason=reason)


def _read(suite: str, results: Path) -> Baseline:
    from pathlib import Path

    from kdbench.baseline import BASELINE_FILE, baseline_folder, read_baseline

    named = Path(suite)
    return read_baseline(named if (named / BASELINE_FILE).is_file() else baseline_folder(suite, results))


def _saved(found: Baseline) -> str:
    failed = sum(record.status not in ("ok", "not-applicable", "skipped") for record in found.run.records)
    more = f"; {failed} cases of it failed" if failed else ""
    return f"{found.folder}: run {found.run.id}, {len(found.run.records)} cases, {_weight(found)}{more}"


def _weight(found: Baseline) -> str:
    here = sum(program.here for program in found.manifest.programs)
    away = len(found.manifest.programs) - here
    where = " and ".join(
        part for part in (f"{here} programs here" * bool(here), f"{away} programs in the store" * bool(away)) if part
    )
    size = sum((found.folder / name).stat().st_size for name in found.manifest.files)
    return f"{where or 'no programs'}, {size / 1e6:.2f} MB"
