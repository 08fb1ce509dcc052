"""``kdbench bundle``: a run's programs for whoever can measure them."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options


@click.command("bundle")
@click.argument("run")
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write; it must be new.",
)  # fmt: skip
@click.option("--only", multiple=True, metavar="AXIS=VALUE", help="A part: method=kd,target=coreml-fp16.")
@click.option(
    "--outputs", is_flag=True, help="Every case's program, and the test items, so that quality comes back too."
)
@options.store
@options.results
def command(run: str, to: Path, only: tuple[str, ...], outputs: bool, store: Path | None, results: Path) -> int:
    """Pack the programs of RUN, their inputs and what to do with them, for a lab, a device farm, an iPhone or a board.

    One program of each structure is there to be timed. kdbench ingest takes the results in.
    """
    from kdbench.lab.bundle import bundle
    from kdbench.records import read_run
    from kdbench.results import find_run
    from kdbench.store import Store, default_store

    whole = read_run(find_run(run, results))
    done = bundle(whole, to, Store(store or default_store()), ",".join(only), outputs=outputs)
    manifest = done.manifest
    timed = sum(bool(entry.timing) for entry in manifest.programs)
    click.echo(f"bundled {len(manifest.programs)} programs of run {manifest.run} ({manifest.suite}) in {done.folder}")
    click.echo(f"{timed} structures to time, {len(manifest.cases)} cases, {done.size_bytes / 1e6:.1f} MB")
    if done.without:
        click.echo(f"left out, having no program: {', '.join(done.without)}")
    click.echo(f"README.md there says what to run; then: kdbench ingest {done.folder} --name DEVICE")
    return 0
