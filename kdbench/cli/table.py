"""``kdbench table``: the comparison of stored runs, in any format."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("table")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "csv", "latex", "json"]), help="Default: terminal.",
)  # fmt: skip
@click.option(
    "--columns", metavar="ID,...", help="Which columns: metric ids, size_bytes_ratio, method, target, seeds ..."
)
@click.option("--per-seed", is_flag=True, help="One row a seed instead of means over seeds.")
@click.option("--published", is_flag=True, help="Beside ours what others published, with its epoch rule and source.")
@click.option("--insert", type=_FILE, metavar="FILE.md", help="Replace the kdbench:table block of a Markdown file.")
@click.option("--output", type=_FILE, metavar="FILE", help="Write to a file instead of the terminal.")
@options.results
def command(
    runs: tuple[str, ...],
    form: str | None,
    columns: str | None,
    per_seed: bool,
    published: bool,
    insert: Path | None,
    output: Path | None,
    results: Path,
) -> None:
    """Show runs as a table: means over seeds with intervals, ratios to the teacher, what is best and what dominated.

    RUN is a folder, a run.json, a run id, a suite's name (its newest run) or SUITE~1 (the one before that).
    """
    from kdbench.errors import UsageError
    from kdbench.formats import inserted, render, rows_of, terminal
    from kdbench.published.match import PUBLISHED
    from kdbench.records import read_run
    from kdbench.results import find_run

    if insert and (output or form not in (None, "markdown")):
        raise UsageError("--insert puts Markdown into a file: leave out --output and any other --format")
    folders = {folder.resolve(): folder for folder in (find_run(run, results) for run in runs)}
    read = [read_run(folder) for folder in folders.values()]
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    published = published or PUBLISHED in names
    if published and names and PUBLISHED not in names:
        names.append(PUBLISHED)
    form = "markdown" if insert else form or "terminal"
    if form == "terminal" and output is None:
        click.echo(
            terminal(read, names, per_seed=per_seed, published=published), nl=False, color=True
        )  # it knows whether to use any
        return
    text = render(rows_of(read, per_seed=per_seed, published=published), form, names)
    if insert:
        _write(insert, inserted(_read(insert), text, str(insert)))
    elif output:
        _write(output, text)
    else:
        click.echo(text, nl=False)


def _read(path: Path) -> str:
    from kdbench.errors import UsageError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None


def _write(path: Path, text: str) -> None:
    from kdbench.whole import whole_file

    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
        if path.exists():
            scratch.chmod(path.stat().st_mode & 0o777)
