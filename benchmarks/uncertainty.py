"""Do the intervals of ``kdbench`` hold the truth? Many sessions of one machine, each judged by all of them together.

``python benchmarks/uncertainty.py --sessions N`` adds N sessions to ``results/uncertainty.jsonl`` and writes
``results/uncertainty.md`` of all that are there, so that they may span days. A session times four convolutional networks
of about 5 us to 2 ms, two in fp32 and two in int8, beside the reference program in the six processes of the default protocol, as
``kdbench measure`` does; in every second session another process keeps a core busy for half of the time, in bursts of random
length. Truth, for a session, is the median over all others of that
machine and executorch, each of another minute.

Claim: the 95 % intervals of ``latency_ref`` (``kdbench.measures.steady.half_width``) hold the truth in at least 90 % of 100 sessions,
and are at most 2 % wide on average. What sessions differ by, a part of them, was taken from 100 sessions before these, of ``RULE`` 1
(``results/uncertainty-before.jsonl``). Beside it, as found: those of the absolute latency, and those that a single process gives, as others report
them (the mean of its runs with a 95 % interval over runs).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn

from kdbench.devices.host import host
from kdbench.lowering.reference import reference_input, reference_program
from kdbench.lowering.shipped import lower
from kdbench.machine import libraries, machine
from kdbench.measures.speed import measure_speeds
from kdbench.measures.steady import half_width
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol
from kdbench.stats import wilson

HERE = Path(__file__).parent / "results"
SESSIONS = HERE / "uncertainty.jsonl"
RULE = 2
"""Raised with the default protocol and with what makes an interval: sessions of another rule say nothing of it."""

SIZES = {"tiny fp32": (12, 8, 1), "small int8": (16, 32, 2), "medium fp32": (32, 32, 3), "large int8": (48, 64, 6)}
"""Side, width and depth of a network, by its name and its program's precision."""
BUSY = "import random, time\nwhile True:\n end = time.monotonic() + random.expovariate(2)\n while time.monotonic() < end: pass\n"
BUSY += " time.sleep(random.expovariate(2))"


def programs(folder: Path) -> tuple[dict[str, SpeedProgram], SpeedProgram]:
    made = {}
    for name, (side, width, depth) in SIZES.items():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        items = torch.randn(33, 1, 3, side, side)
        path, target = folder / f"{name}.pte", f"xnnpack-{name.split()[1]}"
        lower(network, items[0], target, calibration=[(item,) for item in items[1:]]).save(path)
        made[name] = SpeedProgram(path, (items[:8].numpy(),))
    path = folder / "reference.pte"
    path.write_bytes(reference_program().program)
    return made, SpeedProgram(path, (reference_input()[None],))


def session(number: int, of: dict[str, SpeedProgram], reference: SpeedProgram) -> dict:
    loaded = bool(number % 2)
    busy = subprocess.Popen([sys.executable, "-c", BUSY]) if loaded else None
    start = time.perf_counter()
    try:
        found = measure_speeds(host(), of, reference, Protocol(seed=number, memory_processes=1))
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    rows = {}
    for name, timing in found.items():
        one = timing.samples[0].astype(float) / 1e6
        speed = timing.speed
        rows[name] = {
            "x ref": [speed.metrics["latency_ref"], half_width("latency_ref", speed.process_ratios)],
            "latency": [speed.metrics["latency_ms"], half_width("latency_ms", speed.process_medians_ms)],
            "one process": [float(one.mean()), 1.96 * float(one.std(ddof=1)) / math.sqrt(len(one))],
        }
    return {
        "rule": RULE, "session": number, "loaded": loaded, "seconds": time.perf_counter() - start, "machine": machine().slug,
        "executorch": libraries()["executorch"], "rows": rows,
    }  # fmt: skip


Judged = tuple[bool, bool, float, str]
"""Whether other work ran, whether the interval holds the truth, its width as a share, and the program."""


def judged_by_the_others(sessions: list[dict]) -> dict[str, list[Judged]]:
    said: dict[tuple[str, str, str], list[tuple[bool, float, float]]] = defaultdict(list)
    for one in sessions:
        for name, row in one["rows"].items():
            for way, (middle, half) in row.items():
                said[f"{one['machine']} {one['executorch']}", name, way].append((one["loaded"], middle, half))
    judged: dict[str, list[Judged]] = defaultdict(list)
    for (_, name, way), values in said.items():
        for place, (loaded, middle, half) in enumerate(values):
            true = statistics.median(other for _, other, _ in values[:place] + values[place + 1 :])
            judged[way].append((loaded, abs(middle - true) <= half, 2 * half / true, name))
    return judged


def report(sessions: list[dict]) -> tuple[str, bool]:
    """The table of two sessions at least, and whether the claim holds."""
    judged = judged_by_the_others(sessions)
    seconds = statistics.fmean(one["seconds"] for one in sessions)
    machines = ", ".join(sorted({one["machine"] for one in sessions}))
    lines = [
        f"{len(sessions)} sessions of {len(SIZES)} programs, {seconds:.0f} s each; {machines}; the default protocol.",
        "",
        "| 95 % interval of | where | holds the truth | Wilson, 95 % | mean width | median width |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for way, rows in judged.items():
        for where, mine in (
            ("all", rows), ("calm", [row for row in rows if not row[0]]), ("beside other work", [row for row in rows if row[0]]),
        ):  # fmt: skip
            if mine:
                share = statistics.fmean(row[1] for row in mine)
                low, high = wilson(share, len(mine) // len(SIZES))  # the programs of a session share its noise
                widths = [row[2] for row in mine]
                lines.append(
                    f"| {way} | {where} | {share:.1%} of {len(mine)} | {low:.1%} to {high:.1%} | "
                    f"{statistics.fmean(widths):.2%} | {statistics.median(widths):.2%} |"
                )
    lines += [
        "",
        "| program | x ref holds | mean width | latency holds | mean width | one process holds | mean width |",
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name in SIZES:
        cells = []
        for rows in judged.values():
            mine = [row for row in rows if row[3] == name]
            cells += [
                f"{statistics.fmean(row[1] for row in mine):.0%}",
                f"{statistics.fmean(row[2] for row in mine):.2%}",
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    ref = judged["x ref"]
    holds = (
        len(sessions) >= 100
        and statistics.fmean(row[1] for row in ref) >= 0.90
        and statistics.fmean(row[2] for row in ref) <= 0.02
    )
    return "\n".join(lines) + "\n", holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10, help="how many to add, at least 2 in all")
    given = parser.parse_args()
    sessions = [json.loads(line) for line in SESSIONS.read_text().splitlines()] if SESSIONS.exists() else []
    sessions = [one for one in sessions if one.get("rule") == RULE]
    SESSIONS.write_text("".join(json.dumps(one) + "\n" for one in sessions), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="kdbench-uncertainty-") as scratch:
        made, reference = programs(Path(scratch))
        for number in range(len(sessions), len(sessions) + given.sessions):
            sessions.append(session(number, made, reference))
            with SESSIONS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(sessions[-1]) + "\n")
    text, holds = report(sessions)
    (HERE / "uncertainty.md").write_text(f"# Intervals that hold the truth?\n\n{text}", encoding="utf-8")
    print(text, end="")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
