"""``kdbench profile``: where the time of a program goes, or its instructions, operator by operator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

    from kdbench.counted_profiles import CountedProfile
    from kdbench.profiles import Profile

_FILE = click.Path(dir_okay=False, path_type=Path)
_BAR = 24
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Shown:
    """A profile in words: the ``column`` of its ``frame`` that it is about, its name on an ``axis``, and each ``cell``.

    ``whole``: what an inference takes; ``where`` that is so; ``how`` it was found, in lines. ``about``: this for JSON.
    """

    frame: pd.DataFrame
    method: str
    column: str
    axis: str
    cell: str
    whole: str
    where: str
    how: tuple[str, ...]
    about: dict[str, Any]


@click.command("profile")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pte")
@click.option(
    "--device",
    default="host",
    show_default=True,
    metavar="NAME",
    help="host: times here; qemu:CORE+wheelVERSION: instructions on a phone's core.",
)
@click.option("--method", default="", metavar="NAME", help="Which method of the program (default: its first).")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Set before anything loads.")
@click.option("--seconds", type=click.FloatRange(min=0), help=f"How long to time it (default: {_SECONDS}).")
@click.option("--input", "inputs", multiple=True, type=_FILE, metavar="FILE.npy", help="What to feed, once an input.")
@click.option(
    "--by",
    type=click.Choice(["order", "time", "instructions"]),
    default="order",
    show_default=True,
    help="How to sort.",
)
@click.option("--picture", type=_FILE, metavar="FILE.html", help="Also draw it, as a page that needs no network.")
@click.option("--format", "form", type=click.Choice(["terminal", "csv", "json"]), default="terminal", show_default=True)
def command(
    file: Path,
    device: str,
    method: str,
    threads: int,
    seconds: float | None,
    inputs: tuple[Path, ...],
    by: str,
    picture: Path | None,
    form: str,
) -> int:
    """Show where the time of FILE.pte goes, any ExecuTorch program: operator by operator, those in delegates too.

    ExecuTorch's event tracer tells, in this process on this machine; another CPU has other kernels. XNNPACK cuts its
    operators' times off to whole microseconds; what they lack is in "rest". For latencies to compare, use kdbench
    measure: tracing costs time of its own.

    With --device qemu:CORE+wheelVERSION it shows where the instructions go on that core, exactly, and no times.
    """
    if device != "host" and device.partition(":")[0] != "qemu":
        raise UsageError(
            f"--device {device}: expected host, which is timed, or qemu:CORE+wheelVERSION, which is counted"
        )
    known = "time" if device == "host" else "instructions"
    if by not in ("order", known):
        raise UsageError(f"--by {by}: on {device} steps are sorted by order or {known}")
    if device != "host" and seconds is not None:
        raise UsageError(f"--seconds: on {device} instructions are counted, not timed")
    if device == "host":
        from kdbench.profiles import profile

        given = _SECONDS if seconds is None else seconds
        shown = _of_times(profile(file, method=method, inputs=inputs, threads=threads, seconds=given))
    else:
        from kdbench.counted_profiles import counted_profile

        shown = _of_counts(counted_profile(file, device, method=method, inputs=inputs, threads=threads))
    frame = shown.frame
    if by != "order":
        frame = frame.sort_values(shown.column, ascending=False, kind="stable")
    if picture is not None:
        _draw(shown, picture, file.name)
    if form == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        rows = json.loads(frame.to_json(orient="records"))
        click.echo(json.dumps({"format": 1, "file": file.name, **shown.about, "operators": rows}, indent=1))
    else:
        click.echo("\n".join(_terminal(file, shown, frame.to_dict("records"))))
    return 0


def _of_times(found: Profile) -> _Shown:
    from kdbench.tables import plain

    runs = f"mean of {found.runs:,} runs"
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    return _Shown(
        found.frame(),
        found.facts.method,
        column="mean_us",
        axis="mean time (us)",
        cell="{:>10,.2f} us",
        whole=f"{found.mean_us:,.2f} us",
        where=runs,
        how=(f"{runs} on {threads}, traced by ExecuTorch, fed {plain(found.fed)}",),
        about={"mean_us": found.mean_us, "runs": found.runs, "threads": found.threads, "inputs": found.fed},
    )


def _of_counts(found: CountedProfile) -> _Shown:
    from kdbench.devices.device import COUNTED
    from kdbench.tables import plain

    counts = dict(zip(COUNTED, found.counts, strict=True))
    parts = [f"{counts[name]:,.12g} {name.replace('_', ' ')}" for name in COUNTED[1:]]
    within = f"{found.within:,.12g} within the steps and {found.operators[-1].counts[0]:,.12g} outside them"
    return _Shown(
        found.frame(),
        found.facts.method,
        column="instructions",
        axis="instructions",
        cell="{:>13,.12g}",
        whole=f"{counts['instructions']:,.12g} instructions",
        where=found.device,
        how=(
            f"of them {', '.join(parts)}",
            f"{within} make the {counts['instructions']:,.12g} that are counted without a tracer",
            f"on {found.device}, 1 thread, steps by ExecuTorch's tracer, fed {plain(found.fed)}",
        ),
        about={**counts, "device": found.device, "runtime": found.runtime, "threads": 1, "inputs": found.fed},
    )


def _terminal(file: Path, shown: _Shown, rows: list[dict[Hashable, Any]]) -> list[str]:
    from kdbench.tables import plain

    width = max(len(plain(row["operator"])) for row in rows)
    where = max(len(plain(row["where"])) for row in rows)
    lines = [f"{plain(file)}: method {plain(shown.method)}, {shown.whole} an inference"]
    for row in rows:
        bar = "█" * round(_BAR * max(row["share"], 0))
        cells = f"  {plain(row['operator']):<{width}}  {plain(row['where']):<{where}}"
        lines.append(f"{cells}  {shown.cell.format(row[shown.column])}  {row['share']:>4.0%}  {bar}".rstrip())
    return [*lines, *shown.how]


def _draw(shown: _Shown, to: Path, name: str) -> None:
    """Write a page with a bar for each operator, in the order of the inference."""
    import plotly.express as px

    from kdbench.errors import MeasureError

    frame = shown.frame.copy()
    frame["step"] = [f"{place} {operator}" for place, operator in enumerate(frame["operator"], 1)]
    title = f"{name}: {shown.whole} an inference, {shown.where}"
    figure = px.bar(
        frame, x=shown.column, y="step", color="where", orientation="h", title=title,
        labels={shown.column: shown.axis, "step": "", "where": "runs in"}, height=160 + 24 * len(frame),
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(frame["step"])[::-1])
    try:
        figure.write_html(to, include_plotlyjs=True, full_html=True)
    except OSError as error:
        raise MeasureError(f"cannot write {to}: {error.strerror or error}") from None
