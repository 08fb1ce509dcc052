"""``kdbench new``: starter files."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.group("new")
def command() -> None:
    """Write a starter file for what you add to kdbench."""


@command.command("method")
@click.argument("name")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Where (default: here)."
)
def method(name: str, folder: Path) -> None:
    """Write NAME.py, a distillation method that works and says what each part is for, and a test of it.

    NAME is such as my-idea: the file is my_idea.py, its class MyIdea.
    """
    from kdbench.starter import start_method

    made, written, test = start_method(name, folder)
    plugin = shlex.quote(f"{written}:{made}")
    click.echo(f"wrote {written} and {test}; next:")
    click.echo(f"  pytest {shlex.quote(str(test))}")
    click.echo(f"  kdbench run digits --method {plugin}")
    click.echo("  kdbench rank digits")
