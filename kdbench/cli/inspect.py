"""``kdbench inspect``: what is in a program, whoever made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.lowering.contents import Contents


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pte")
@click.option("--method", default="", metavar="NAME", help="Which method of the program (default: its first).")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def command(file: Path, method: str, form: str) -> int:
    """Show what is in FILE.pte, any ExecuTorch program: bytes by part, operators, planned memory, structure.

    Nothing is run. The operators outside delegates are those that a selective build must link. Two programs with the
    same structure differ in their numbers alone; it is another hash than that of a run, which is made while lowering.
    """
    from kdbench.lowering.contents import read_contents

    found = read_contents(file, method)
    if form == "json":
        click.echo(json.dumps({"format": 1, "file": file.name, **found.as_json()}, indent=1, sort_keys=True))
    else:
        click.echo("\n".join(_terminal(file, found)))
    return 0


def _terminal(file: Path, found: Contents) -> list[str]:
    from kdbench.cli.measure import tensors
    from kdbench.tables import plain

    facts = found.facts
    lines = [f"{plain(file)}: method {plain(facts.method)}, {tensors(facts.inputs)} -> {tensors(facts.outputs)}"]
    lines += [_line("file", facts.size_bytes, f"{facts.download_bytes:,} B deflated, as an app package ships it")]
    lines += [_line(f"  {name}", size, "") for name, size in found.parts.items() if size]
    stored = _stored(facts.constants)
    lines += [
        _line("weights", facts.weight_bytes, f"with the delegates' blobs; constants as {stored}"),
        _line("arena", facts.arena_bytes, "planned memory; a delegate's own comes on top"),
    ]
    for backend, counts in found.delegated.items():
        shown = "only the backend can read what it computes" if counts is None else _listed(counts)
        lines.append(f"in {plain(backend)} (called {facts.delegates[backend]} x): {plain(shown)}")
    lines += [f"multiply-accumulates: {found.macs:,} an inference"] if found.macs is not None else []
    lines += [
        f"outside delegates, to be linked: {plain(_listed(facts.operators)) or 'none'}",
        f"structure: {found.structure}",
        f"sha256: {facts.sha256}",
    ]
    return lines


def _line(title: str, size: int, what: str) -> str:
    return f"{title:<14} {size:>12,} B  {what}".rstrip()


def _stored(constants: Mapping[str, int]) -> str:
    return ", ".join(f"{dtype} {size:,} B" for dtype, size in constants.items()) or "none"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
