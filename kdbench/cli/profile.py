"""``kdbench profile``: where the time of a program goes, operator by operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kdbench.profiles import Profile

_FILE = click.Path(dir_okay=False, path_type=Path)
_BAR = 24


@click.command("profile")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pte")
@click.option("--method", default="", metavar="NAME", help="Which method of the program (default: its first).")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Set before anything loads.")
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="How long to run it.")
@click.option("--input", "inputs", multiple=True, type=_FILE, metavar="FILE.npy", help="What to feed, once an input.")
@click.option("--by", type=click.Choice(["order", "time"]), default="order", show_default=True, help="How to sort.")
@click.option("--picture", type=_FILE, metavar="FILE.html", help="Also draw it, as a page that needs no network.")
@click.option("--format", "form", type=click.Choice(["terminal", "csv", "json"]), default="terminal", show_default=True)
def command(
    file: Path,
    method: str,
    threads: int,
    seconds: float,
    inputs: tuple[Path, ...],
    by: str,
    picture: Path | None,
    form: str,
) -> int:
    """Show where the time of FILE.pte goes, any ExecuTorch program: operator by operator, those in delegates too.

    ExecuTorch's event tracer tells, in this process on this machine; another CPU has other kernels. XNNPACK cuts its
    operators' times off to whole microseconds; what they lack is in "rest". For latencies to compare, use kdbench
    measure: tracing costs time of its own.
    """
    from kdbench.profiles import profile

    found = profile(file, method=method, inputs=inputs, threads=threads, seconds=seconds)
    frame = found.frame()
    if by == "time":
        frame = frame.sort_values("mean_us", ascending=False, kind="stable")
    if picture is not None:
        _draw(found, picture, file.name)
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        rows = json.loads(frame.to_json(orient="records"))
        about = {"mean_us": found.mean_us, "runs": found.runs, "threads": found.threads, "inputs": found.fed}
        click.echo(json.dumps({"format": 1, "file": file.name, **about, "operators": rows}, indent=1))
    else:
        click.echo("\n".join(_terminal(file, found, frame.to_dict("records"))))
    return 0


def _terminal(file: Path, found: Profile, rows: list[dict[Hashable, Any]]) -> list[str]:
    from kdbench.tables import plain

    width = max(len(plain(row["operator"])) for row in rows)
    where = max(len(plain(row["where"])) for row in rows)
    lines = [f"{plain(file)}: method {plain(found.facts.method)}, {found.mean_us:,.2f} us an inference"]
    for row in rows:
        bar = "█" * round(_BAR * max(row["share"], 0))
        cells = f"  {plain(row['operator']):<{width}}  {plain(row['where']):<{where}}"
        lines.append(f"{cells}  {row['mean_us']:>10,.2f} us  {row['share']:>4.0%}  {bar}".rstrip())
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    lines.append(f"mean of {found.runs:,} runs on {threads}, traced by ExecuTorch, fed {plain(found.fed)}")
    return lines


def _draw(found: Profile, to: Path, name: str) -> None:
    """Write a page with a bar for each operator, in the order of the inference."""
    import plotly.express as px

    from kdbench.errors import MeasureError

    frame = found.frame()
    frame["step"] = [f"{place} {operator}" for place, operator in enumerate(frame["operator"], 1)]
    title = f"{name}: {found.mean_us:,.1f} us an inference, mean of {found.runs:,} runs"
    figure = px.bar(
        frame, x="mean_us", y="step", color="where", orientation="h", title=title,
        labels={"mean_us": "mean time (us)", "step": "", "where": "runs in"}, height=160 + 24 * len(frame),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(frame["step"])[::-1])
    try:
        figure.write_html(to, include_plotlyjs=True, full_html=True)
    except OSError as error:
        raise MeasureError(f"cannot write {to}: {error.strerror or error}") from None
