"""``kdbench measure``: figures of one program, whoever made it, in one place or several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from kdbench.cli import options
from kdbench.cli.duration import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.figures import Figures

_FILE = click.Path(dir_okay=False, path_type=Path)


def _counts(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """The numbers of ``1,2,4``."""
    words = [word.strip() for word in value.split(",")]
    for word in words:
        if not word.isascii() or not word.isdigit() or not 1 <= int(word) <= 1024:
            raise click.BadParameter(f"{word!r} is not a whole number from 1 to 1024")
    if len(set(map(int, words))) < len(words):
        raise click.BadParameter(f"{value!r} has a number twice")
    return tuple(map(int, words))


@click.command("measure")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pte")
@click.option(
    "--device", "devices", multiple=True, default=("host",), show_default=True, metavar="NAME",
    help="Where to run it, once a device; kdbench list devices.",
)  # fmt: skip
@click.option("--method", default="", metavar="NAME", help="Which method of the program (default: its first).")
@click.option(
    "--threads", default="1", show_default=True, callback=_counts, metavar="N,...",
    help="Set before anything loads; 1,2,4 sweeps over them.",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), default=6, show_default=True, help="Fresh processes to time.")
@click.option("--cold-cache", is_flag=True, help="Load the program from where it is stored, not from the page cache.")
@click.option(
    "--energy", type=click.Choice(["rapl", "meter"]), default=None,
    help="What tells the energy: the processor's counters, or the meter whose log KDBENCH_METER names.",
)  # fmt: skip
@click.option(
    "--every", callback=duration("0.1ms", "1m"), metavar="TIME",
    help="Also one inference in so long, as apps do: 33ms.",
)  # fmt: skip
@click.option(
    "--sustained", callback=duration("1s", "24h"), metavar="TIME",
    help="Also back to back for so long, once a device and number of threads: 3m.",
)  # fmt: skip
@click.option(
    "--input", "inputs", multiple=True, type=_FILE, metavar="FILE.npy",
    help="What to feed, once an input: an item, or several as [items, ...] (default: made-up numbers).",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@options.store
def command(
    file: Path,
    devices: tuple[str, ...],
    method: str,
    threads: tuple[int, ...],
    processes: int,
    cold_cache: bool,
    energy: Literal["rapl", "meter"] | None,
    every: float | None,
    sustained: float | None,
    inputs: tuple[Path, ...],
    form: str,
    store: Path | None,
) -> int:
    """Measure size, latency and memory of FILE.pte, any ExecuTorch program.

    The latency is that of execute() alone, in fresh processes of a native runner. Times depend on the machine: compare
    them with others taken here, or by "x ref", the ratio to a reference program timed beside it.

    Several devices or numbers of threads are columns of one table. One that fails is a column with its reason, and the
    exit code is 3.
    """
    from kdbench.cli.progress import Progress
    from kdbench.conduct import Event
    from kdbench.errors import EXIT_FAILED, EXIT_OK
    from kdbench.figures import measure_everywhere, measure_file
    from kdbench.spec import Protocol
    from kdbench.store import Store, default_store

    devices = tuple(dict.fromkeys(devices))
    alone = len(devices) == len(threads) == 1
    with Progress(sys.stderr) as progress:
        given: dict[str, Any] = {
            "method": method,
            "protocol": Protocol(
                threads=threads[0],
                processes=processes,
                cold_cache=cold_cache,
                energy=energy or "",
                every_ms=every and every * 1000,
                sustained_s=sustained,
            ),
            "inputs": inputs,
            "store": Store(store or default_store()),
            "tell": lambda share, text: progress(
                Event("measuring", f"measure on {', '.join(devices)}", "measure", 0, 1, share, text)
            ),
        }
        found: tuple[Figures, ...]
        if alone:
            found = (measure_file(file, device=devices[0], **given),)
        else:
            found = measure_everywhere(file, devices=devices, threads=threads, **given)
    if form == "json":
        click.echo(_json(file, found[0]) if alone else _json_of_several(file, found))
    else:
        click.echo("\n".join(_terminal(file, found[0]) if alone else _table(file, found)))
    return EXIT_OK if all(each.speed.status == "ok" for each in found) else EXIT_FAILED


def _terminal(file: Path, found: Figures) -> list[str]:
    from kdbench.measures.metric import METRICS

    lines = [_head(file, found)]
    lines += [f"  {METRICS[name].title:<10} {_shown(found, name):>14}  {_what(found, name)}" for name in found.metrics]
    lines += [*_about(found), f"measured: {_measured(found)}", *_over_time(found), *_meanwhile(found), *_runtime(found)]
    return [*lines, f"sha256: {found.facts.sha256}", *_flags(found)]


def _table(file: Path, found: Sequence[Figures]) -> list[str]:
    """What is of the file as lines, what is of a place as a column a place; below, what there is to say of each."""
    from kdbench.measures.metric import METRICS
    from kdbench.tables import plain

    first = found[0]
    lines = [_head(file, first)]
    for name in first.metrics:
        if not METRICS[name].shared:
            told = first.reasons.get(name, METRICS[name].what)
            lines.append(f"  {METRICS[name].title:<10} {_shown(first, name):>14}  {told}")
    devices = [plain(each.speed.device) for each in found]
    names = dict.fromkeys(name for each in found for name in each.metrics if METRICS[name].shared)
    several = len({each.speed.threads for each in found}) > 1
    rows: list[tuple[str, list[str]]] = [("", devices)]
    if several:
        rows.append(("threads", [str(each.speed.threads) for each in found]))
    if any(each.speed.status != "ok" for each in found):
        rows.append(("status", [each.speed.status for each in found]))
    rows += [(METRICS[name].title, [_shown(each, name) for each in found]) for name in names]
    widths = [max(14, len(device)) for device in devices]
    for title, cells in rows:
        lines.append(
            f"  {title:<10} " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        )
    lines += _about(first)
    for device, each in zip(devices, found, strict=True):
        head = f"{device}, {_many(each.speed.threads, 'thread', 's')}" if several else device
        if each.speed.status != "ok":
            lines.append(f"{head}: {each.speed.status}: {plain(each.speed.reason)}")
            continue
        lines.append(f"{head}: {_measured(each)}")
        empty: dict[str, list[str]] = {}
        for name, reason in each.reasons.items():
            if METRICS[name].shared:
                empty.setdefault(reason, []).append(METRICS[name].title)
        lines += [f"  {line}" for line in (*_over_time(each), *_meanwhile(each), *_runtime(each))]
        lines += [f"  no {', '.join(titles)}: {plain(reason)}" for reason, titles in empty.items()]
        lines += [f"  {line}" for line in _flags(each)]
    return [*lines, f"sha256: {first.facts.sha256}"]


def _head(file: Path, found: Figures) -> str:
    from kdbench.tables import plain

    facts = found.facts
    return f"{plain(file)}: method {plain(facts.method)}, {tensors(facts.inputs)} -> {tensors(facts.outputs)}"


def _shown(found: Figures, name: str) -> str:
    from kdbench.measures.metric import METRICS
    from kdbench.tables import digits_of

    metric, value = METRICS[name], found.metrics.get(name)
    return "-" if value is None else f"{value * metric.scale:,.{digits_of(metric, value)}f} {metric.shown_unit}"


def _what(found: Figures, name: str) -> str:
    """What a figure is, with half of its 95 % interval where processes gave it one, or why it is not there."""
    from kdbench.measures.metric import METRICS
    from kdbench.measures.steady import half_width
    from kdbench.tables import digits_of

    metric, value = METRICS[name], found.metrics.get(name)
    by_process = {"latency_ms": found.speed.process_medians_ms, "latency_ref": found.speed.process_ratios}
    half = half_width(name, by_process[name]) if name in by_process else None
    if value is None or half is None:
        return found.reasons.get(name, metric.what)
    return f"±{half * metric.scale:.{digits_of(metric, value)}f}, 95 % over processes and sessions; {metric.what}"


def _about(found: Figures) -> list[str]:
    from kdbench.tables import plain

    delegates = ", ".join(f"{name} ({count})" for name, count in found.facts.delegates.items())
    operators = ", ".join(f"{name} ({count})" for name, count in found.facts.operators.items())
    return [
        f"delegates: {plain(delegates) or 'none'}",
        f"operators outside them: {plain(operators) or 'none'}",
        f"inputs: {plain(found.inputs)}",
    ]


def _measured(found: Figures) -> str:
    processes, threads = _many(found.processes, "process", "es"), _many(found.speed.threads, "thread", "s")
    return f"{found.speed.samples:,} runs in {processes}, {threads}, {found.speed.runtime}"


def _over_time(found: Figures) -> list[str]:
    """What was run at a pace, and the medians of a long run, window by window."""
    from kdbench.history import spark
    from kdbench.measures.metric import METRICS
    from kdbench.tables import digits_of

    speed, lines = found.speed, []
    if speed.every_ms:
        lines.append(f"paced: {speed.paced_samples:,} runs, one every {speed.every_ms:g} ms")
    if windows := speed.sustained_ms:
        metric = METRICS["latency_sustained_ms"]
        low, high = (f"{value * metric.scale:,.{digits_of(metric, value)}f}" for value in (min(windows), max(windows)))
        each = f"{len(windows)} x {(speed.sustained_s or 0) / len(windows):.3g} s"
        told = f"{low} to {high} {metric.shown_unit}, medians of {each}; {speed.sustained_samples:,} runs"
        lines.append(f"sustained: {spark(windows)}  {told}")
    return lines


def _meanwhile(found: Figures) -> list[str]:
    """The device's condition, what two copies of the reference program differed by, and what else went on."""
    lines = [
        f"{when}: {', '.join(f'{name} {value}' for name, value in condition.items() if value is not None)}"
        for when, condition in found.condition.items()
    ]
    sitting = found.sitting
    if sitting is None:
        return lines
    if sitting.aa is not None:
        lines.append(f"A/A: two copies of the reference program differed by at most {sitting.aa:.1%} in a process")
    last = sitting.around[-1] if sitting.around else None
    told = [
        (last and last.load, "load {:.2f}"),
        (sitting.others, "{:.2f} cores busy with other work"),
        (sitting.stolen, "{:.1%} of the time stolen"),
        (last and last.mhz, "{:,.0f} MHz"),
        (last and last.celsius, "{:.0f} degrees"),
    ]
    if words := [form.format(value) for value, form in told if value is not None]:
        lines.append(f"meanwhile: {', '.join(words)}")
    return lines


def _runtime(found: Figures) -> list[str]:
    return [f"runtime: {', '.join(found.speed.runtime_files)}"] if found.speed.runtime_files else []


_FLAGS = {
    "noisy": "noisy: processes deviate by over 6 %, or two copies of one program by over 5 %; see kdbench doctor",
    "stolen": "stolen: a hypervisor took more than 1 % of the time that this machine had work for",
    "throttled": "throttled: the reference program became slower, by thirds of the processes and by over 10 % in all",
    "few-samples": "few-samples: the time cap came before the least number of runs",
}


def _flags(found: Figures) -> list[str]:
    return [f"flag: {_FLAGS.get(flag, flag)}" for flag in found.speed.flags]


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}{more}"


def tensors(metas: Any) -> str:
    """Inputs or outputs as dtype and shape."""
    return ", ".join(f"{meta.dtype} {list(meta.shape)}" for meta in metas) or "nothing"


def _json(file: Path, found: Figures) -> str:
    return _text({**_of_file(file, found), **_of_place(found)})


def _json_of_several(file: Path, found: Sequence[Figures]) -> str:
    return _text({**_of_file(file, found[0]), "measurements": [_of_place(each) for each in found]})


def _of_file(file: Path, found: Figures) -> dict[str, Any]:
    return {"format": 1, "file": file.name, "program": found.facts.as_json(), "inputs": found.inputs}


def _of_place(found: Figures) -> dict[str, Any]:
    from kdbench.measures.metric import METRICS

    return {
        "metrics": found.metrics,
        "units": {name: METRICS[name].unit for name in found.metrics},
        "reasons": found.reasons,
        "speed": found.speed.model_dump(mode="json"),
        "sitting": found.sitting.model_dump(mode="json") if found.sitting else None,
        **({"condition": found.condition} if found.condition else {}),
    }


def _text(table: dict[str, Any]) -> str:
    return json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
