"""``kdbench doctor``: what this machine can build, run and measure, and what is noisy about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kdbench.finding import Finding


@click.command("doctor")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@click.option("--install-hints", is_flag=True, help="Only say what Debian packages bring the tools, and which lack.")
@options.store
@options.results
def command(form: str, install_hints: bool, store: Path | None, results: Path) -> int:
    """Check what this machine can build, run and measure, and how noisy it is; some ten seconds.

    Exit code 0: everything that `kdbench run digits` needs is there; 3: something of it is missing.
    """
    if install_hints:
        click.echo("\n".join(_hints()))
        return 0

    from kdbench.doctor import examine, ready
    from kdbench.errors import EXIT_FAILED, EXIT_OK
    from kdbench.store import default_store

    findings: list[Finding] = []
    topic = ""
    for finding in examine(store or default_store(), results):
        findings.append(finding)
        if form == "terminal":
            if finding.topic != topic:
                topic = finding.topic
                click.echo(topic)
            click.echo("\n".join(_lines(finding)))
    fit = ready(findings)
    click.echo(_json(findings, fit=fit) if form == "json" else _sum(findings, fit=fit))
    return EXIT_OK if fit else EXIT_FAILED


def _hints() -> list[str]:
    """A line a tool, and the command that installs what lacks."""
    from kdbench.devices.tools import TOOLS

    width = max(len(tool.command) for tool in TOOLS)
    lines = [
        f"{'here' if tool.here else 'missing':<7}  {tool.command:<{width}}  {tool.what} (Debian: {tool.package})"
        for tool in TOOLS
    ]
    packages = " ".join(tool.package for tool in TOOLS if not tool.here)
    return [*lines, f"-> apt-get install {packages}" if packages else "nothing lacks"]


def _lines(finding: Finding) -> list[str]:
    from kdbench.tables import plain

    lines = [f"  {finding.state:<7}  {finding.name:<14}  {plain(finding.said)}"]
    return lines + ([f"{'':27}-> {plain(finding.hint)}"] if finding.hint else [])


def _sum(findings: Sequence[Finding], *, fit: bool) -> str:
    if fit:
        warned = sum(finding.state == "warn" for finding in findings)
        return "kdbench run digits will work here" + (f"; {warned} warnings" if warned else "")
    lacking = ", ".join(finding.name for finding in findings if finding.needed and finding.state == "missing")
    return f"kdbench run digits will not work here; missing: {lacking}"


def _json(findings: Sequence[Finding], *, fit: bool) -> str:
    table = {"format": 1, "ready": fit, "findings": [asdict(finding) for finding in findings]}
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)
