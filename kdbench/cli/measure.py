"""``kdbench measure``: figures of one program, whoever made it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.figures import Figures

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("measure")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pte")
@click.option("--device", default="host", show_default=True, help="Where to run it; kdbench list devices.")
@click.option("--method", default="", metavar="NAME", help="Which method of the program (default: its first).")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Set before anything loads.")
@click.option("--processes", type=click.IntRange(min=1), default=3, show_default=True, help="Fresh processes to time.")
@click.option(
    "--input", "inputs", multiple=True, type=_FILE, metavar="FILE.npy",
    help="What to feed, once an input: an item, or several as [items, ...] (default: made-up numbers).",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@options.store
def command(
    file: Path,
    device: str,
    method: str,
    threads: int,
    processes: int,
    inputs: tuple[Path, ...],
    form: str,
    store: Path | None,
) -> int:
    """Measure size, latency and memory of FILE.pte, any ExecuTorch program.

    The latency is that of execute() alone, in fresh processes of a native runner. Times depend on the machine: compare
    them with others taken here, or by "x ref", the ratio to a reference program timed beside it.
    """
    from kdbench.cli.progress import Progress
    from kdbench.conduct import Event
    from kdbench.figures import measure_file
    from kdbench.spec import Protocol
    from kdbench.store import Store, default_store

    with Progress(sys.stderr) as progress:
        found = measure_file(
            file,
            device=device,
            method=method,
            protocol=Protocol(threads=threads, processes=processes),
            inputs=inputs,
            store=Store(store or default_store()),
            tell=lambda share, text: progress(Event("measuring", f"measure on {device}", "measure", 0, 1, share, text)),
        )
    click.echo(_json(file, found) if form == "json" else "\n".join(_terminal(file, found)))
    return 0


def _terminal(file: Path, found: Figures) -> list[str]:
    from kdbench.measures.metric import METRICS
    from kdbench.tables import digits_of, plain

    facts, speed = found.facts, found.speed
    lines = [f"{plain(file)}: method {plain(facts.method)}, {tensors(facts.inputs)} -> {tensors(facts.outputs)}"]
    for name, value in found.metrics.items():
        metric = METRICS[name]
        shown = "-" if value is None else f"{value * metric.scale:,.{digits_of(metric, value)}f} {metric.shown_unit}"
        lines.append(f"  {metric.title:<10} {shown:>14}  {found.reasons.get(name, metric.what)}")
    delegates = ", ".join(f"{name} ({count})" for name, count in facts.delegates.items())
    operators = ", ".join(f"{name} ({count})" for name, count in facts.operators.items())
    processes, threads = _many(found.processes, "process", "es"), _many(speed.threads, "thread", "s")
    lines += [
        f"delegates: {plain(delegates) or 'none'}",
        f"operators outside them: {plain(operators) or 'none'}",
        f"inputs: {plain(found.inputs)}",
        f"measured: {speed.samples:,} runs in {processes}, {threads}, {speed.runtime}",
        f"sha256: {facts.sha256}",
    ]
    for when, condition in found.condition.items():
        told = ", ".join(f"{name} {value}" for name, value in condition.items() if value is not None)
        lines.append(f"{when}: {told}")
    return lines + [f"flag: {_FLAGS.get(flag, flag)}" for flag in speed.flags]


_FLAGS = {
    "noisy": "noisy: the processes' medians spread over more than 10 %; see kdbench doctor",
    "few-samples": "few-samples: the time cap came before the least number of runs",
}


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}{more}"


def tensors(metas: Any) -> str:
    """Inputs or outputs as dtype and shape."""
    return ", ".join(f"{meta.dtype} {list(meta.shape)}" for meta in metas) or "nothing"


def _json(file: Path, found: Figures) -> str:
    from kdbench.measures.metric import METRICS

    table = {
        "format": 1,
        "file": file.name,
        "program": found.facts.as_json(),
        "inputs": found.inputs,
        "metrics": found.metrics,
        "units": {name: METRICS[name].unit for name in found.metrics},
        "reasons": found.reasons,
        "speed": found.speed.model_dump(mode="json"),
        **({"condition": found.condition} if found.condition else {}),
    }
    return json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
