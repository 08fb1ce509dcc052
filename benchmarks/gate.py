"""Does ``kdbench compare`` call a slower program slower, and leave all others alone? False alarms and power.

``python benchmarks/gate.py --trials N`` adds N trials to ``results/gate.jsonl`` and writes ``results/gate.md`` and
``gate-power.svg`` of all that are there, so that they may span days; trials of an earlier ``RULE`` are dropped. A trial
is a suite of twelve programs, compared with itself: convolutional networks of about 10 us to 100 ms and a perceptron
whose weights fit no cache, fp32 and int8, on one thread or two. Eleven new programs have the structure of the base's and
other weights; one has been widened until it takes about 0.5, 1, 2 or 5 % longer (the true ratios on each kind of
machine, measured over twenty processes, are in ``results/gate-truth.json``): each program by each share once in 48 trials. In half of the trials
another process keeps a core busy. All are judged by ``slowdown.judge`` as in a comparison. 55 trials have 605 unchanged
programs.

Claims: at most 3 of 600 unchanged programs are called slower (with fewer trials: the upper end of the 95 % interval of the
rate is printed); 95 % of those widened to take 2 % longer are, and 90 % of those by 1 % that take 100 us or more, each program
counting as slower by that share which its true ratio is nearest to; an unchanged pair takes at most 3 s on average; at most 10 % are
``noisy`` where nothing loads the machine. None holds before 55 trials. Beside it stands what other rules say of the same
samples: the median against that of an earlier trial (5 %, pytest-benchmark's rule), the mean against a stored one (10 %),
and Mann-Whitney with 10 % (asv's), of both programs side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest, mannwhitneyu
from torch import nn

from kdbench.catalog import load
from kdbench.devices.host import host
from kdbench.machine import libraries, machine
from kdbench.measures.duel import Duellists, Together, bout
from kdbench.papers.looks import COLOURS, entry
from kdbench.papers.sheet import blank, finish, grid, save, settings
from kdbench.slowdown import BOUTS, judge, slowdown_of
from kdbench.spec import Protocol

HERE = Path(__file__).parent / "results"
TRIALS, TRUTH = HERE / "gate.jsonl", HERE / "gate-truth.json"
RULE = 6
"""Raised with what decides verdicts, in ``slowdown`` and ``duel``: trials of another rule say nothing of it."""

READING = 5
"""The first rule whose bouts are read as they are now: true ratios of another reading are measured anew."""

SHARES = (0.005, 0.01, 0.02, 0.05)
LONG = 20


@dataclass(frozen=True)
class Class:
    """Images of this side, convolutions of this width and number, and a side chain on the image shrunk by ``pool``.

    A side of 1: a perceptron.
    """

    name: str
    precision: str
    side: int
    width: int
    depth: int
    pool: int

    @property
    def macs(self) -> int:
        taps = 1 if self.side == 1 else 9
        return self.side**2 * taps * self.width * (self.width * self.depth + 3 * (self.side > 1))

    @property
    def macs_a_unit(self) -> int:
        return (self.side // self.pool) ** 2 * (self.width + 16)


CLASSES = (
    *(
        Class(f"{name} {precision}", precision, side, width, depth, pool)
        for name, side, width, depth, pool in (
            ("tiny", 12, 8, 1, 12),
            ("small", 16, 32, 2, 4),
            ("medium", 32, 32, 3, 4),
            ("large", 48, 64, 6, 2),
        )
        for precision in ("fp32", "int8")
    ),
    Class("huge fp32", "fp32", 64, 64, 8, 1),
    Class("huge int8", "int8", 96, 96, 10, 1),
    Class("giant fp32", "fp32", 96, 128, 6, 1),
    Class("memory fp32", "fp32", 1, 2048, 3, 1),
)


SLOW = [(CLASSES[place // 4], SHARES[place % 4]) for place in np.random.default_rng(0).permutation(4 * len(CLASSES))]
"""What is slower in a trial, and by how much: each class by each share once in 48 trials, then again."""


class Network(nn.Module):
    """A body, and a side chain of ``hidden`` units by which its cost is moved a little."""

    def __init__(self, of: Class, hidden: int) -> None:
        super().__init__()
        if of.side == 1:
            layers = [layer for _ in range(of.depth) for layer in (nn.Linear(of.width, of.width), nn.ReLU())]
            aside = [nn.Linear(of.width, hidden), nn.ReLU(), nn.Linear(hidden, 16)]
        else:
            layers = [nn.Conv2d(3, of.width, 3, padding=1), nn.ReLU()]
            for _ in range(of.depth):
                layers += [nn.Conv2d(of.width, of.width, 3, padding=1), nn.ReLU()]
            aside = [nn.AvgPool2d(of.pool)] if of.pool > 1 else []
            aside += [nn.Conv2d(of.width, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 16, 1)]
            aside += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = nn.Sequential(*layers, *aside)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return self.layers(items)


def shape(of: Class) -> tuple[int, ...]:
    return (1, of.width) if of.side == 1 else (1, 3, of.side, of.side)


def program(of: Class, hidden: int, seed: int, folder: Path) -> Path:
    path = folder / f"{of.name.replace(' ', '-')}-{hidden}-{seed}.pte"
    if not path.exists():
        torch.manual_seed(seed)
        network = Network(of, hidden).eval()
        items = torch.randn(33, *shape(of))
        target = load("targets", f"xnnpack-{of.precision}")
        path.write_bytes(target.lower(network, (items[0],), [(item,) for item in items[1:]]).buffer)
    return path


def inputs(of: Class) -> tuple[np.ndarray, ...]:
    return (np.random.default_rng(0).standard_normal((8, *shape(of)), dtype=np.float32),)


def longer(of: Class, base: Path, new: Path, bouts: int) -> float:
    """The true ratio, less one, on one thread."""
    ground, duel = Together(host(), Protocol()), Duellists(base, new, inputs(of))
    return slowdown_of([ground.fight(duel, 10_000 + seed) for seed in range(bouts)]).share


Truth = dict[str, dict[str, float]]
"""Of a class on a machine, by planned share: ``hidden`` units of the side chain, and how much longer that truly takes."""


def truth(folder: Path) -> dict[str, dict[str, Truth]]:
    """How wide the side chain of each class is when it is slower, and by how much it then is; once for each kind of machine."""
    truths = known_truths()
    if machine().slug in truths:
        return truths
    found: dict[str, Truth] = {}
    for of in CLASSES:
        base = program(of, 64, 0, folder)
        found[of.name] = {}
        widest = 64 + round(SHARES[-1] * of.macs / of.macs_a_unit)
        a_unit = longer(of, base, program(of, widest, 0, folder), LONG) / (widest - 64)
        for share in SHARES:
            hidden = 64 + 8 * max(1, round(share / a_unit / 8))
            true = longer(of, base, program(of, hidden, 0, folder), LONG)
            found[of.name][str(share)] = {"hidden": hidden, "true": true}
            print(f"{of.name}: {hidden} units are {true:+.2%}", flush=True)
    truths[machine().slug] = found
    text = json.dumps({"reading": READING, "processes": LONG, "machines": truths}, indent=1)
    TRUTH.write_text(text + "\n", encoding="utf-8")
    return truths


def known_truths() -> dict[str, dict[str, Truth]]:
    """By machine, what was measured as it is measured now."""
    known = json.loads(TRUTH.read_text(encoding="utf-8")) if TRUTH.exists() else {}
    return known["machines"] if (known.get("reading"), known.get("processes")) == (READING, LONG) else {}


class Recorded:
    """The host, what base, new and base again took in every job that it ran, in ns, and its seconds, by base program."""

    def __init__(self) -> None:
        self._host = host()
        self.samples: dict[Path, list[list[np.ndarray]]] = defaultdict(list)
        self.seconds: dict[Path, float] = defaultdict(float)

    def run(self, job):
        start = time.perf_counter()
        result = self._host.run(job)
        base = next(one.path for one in job.programs if one.name == "base")
        self.seconds[base] += time.perf_counter() - start
        self.samples[base].append([result.samples[name] for name in ("base", "new", "base again")])
        return result


def trial(number: int, widths: dict[str, Truth], folder: Path) -> dict:
    threads = int(np.random.default_rng(number).integers(1, 3))
    loaded = bool((number + number // len(SLOW)) % 2)
    slow, share = SLOW[number % len(SLOW)]
    duels = {}
    for of in CLASSES:
        hidden = widths[of.name][str(share)]["hidden"] if of is slow else 64
        duels[of.name] = Duellists(program(of, 64, 0, folder), program(of, hidden, 1, folder), inputs(of))
    device = Recorded()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if loaded else None
    before = os.getloadavg()[0]
    try:
        judged = judge(Together(device, Protocol(threads=threads)), duels, seed=number)
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    rows = []
    for of in CLASSES:
        one, found = judged[of.name], device.samples[duels[of.name].base]
        base, new = (np.concatenate([taken[side] for taken in found[:BOUTS]]) for side in (0, 1))  # for other rules
        bouts = [bout(taken) for taken in found]
        rows.append(
            {
                "class": of.name,
                "share": share if of is slow else 0.0,
                "verdict": one.verdict,
                "moved": one.slowdown.share,
                "floor": one.slowdown.floor,
                "bouts": one.slowdown.bouts,
                "us": one.slowdown.base_ns / 1e3,
                "seconds": device.seconds[duels[of.name].base],
                "each": [
                    [round(value, 6) for read in (each.by_rounds, each.by_fast) for value in (read.moved, read.still)]
                    for each in bouts
                ],
                "median": [float(np.median(base)), float(np.median(new))],
                "mean": [float(base.mean()), float(new.mean())],
                "u": float(mannwhitneyu(new, base, alternative="greater").pvalue),
            }
        )
    return {
        "rule": RULE, "trial": number, "threads": threads, "loaded": loaded, "load": [before, os.getloadavg()[0]],
        "machine": machine().slug, "executorch": libraries()["executorch"], "rows": rows,
    }  # fmt: skip


def nearest(true: float) -> float | None:
    """The share that a true slow-down is nearest to, as a ratio; None for what is nearer to nothing than to the least."""
    return min(SHARES, key=lambda share: abs(np.log(true / share))) if true > SHARES[0] / 2 else None


def rules(trials: list[dict], truths: dict[str, dict[str, Truth]]) -> dict[str, list[tuple[str, float | None, bool]]]:
    """What each rule says of every program: under what, how much slower it is (0 if unchanged), called slower or not."""
    said: dict[str, list[tuple[str, float | None, bool]]] = defaultdict(list)
    stored: dict[tuple, dict] = {}
    for one in trials:
        for row in told_rows([one], truths):
            place = (one["machine"], one["threads"], row["class"])
            slower = {
                "kdbench": row["verdict"] == "regressed",
                "asv's rule, side by side": row["u"] < 0.002 and row["median"][1] > 1.1 * row["median"][0],
            }
            if before := stored.get(place):
                slower["median 5 % over a stored one"] = row["median"][1] > 1.05 * before["median"][0]
                slower["mean 10 % over a stored one"] = row["mean"][1] > 1.10 * before["mean"][0]
            stored[place] = row
            for name, word in slower.items():
                said[name].append((row["where"], row["slower"], bool(word)))
    return said


def told(one: dict) -> str:
    """Under what a trial was run."""
    return f"{'loaded' if one['loaded'] else 'calm'}, {one['threads']} thread{'s' * (one['threads'] > 1)}"


WHERES = [told({"loaded": loaded, "threads": threads}) for loaded in (False, True) for threads in (1, 2)]


def told_rows(trials: list[dict], truths: dict[str, dict[str, Truth]]) -> list[dict]:
    """The programs of all trials, each with its trial's circumstances and how much slower it truly is on that machine.

    ``true``: as measured long, 0 if unchanged; ``slower``: the share that this is nearest to.
    """
    rows = []
    for one in trials:
        where = {"loaded": one["loaded"], "where": told(one), "machine": one["machine"]}
        for row in one["rows"]:
            true = truths[one["machine"]][row["class"]][str(row["share"])]["true"] if row["share"] else 0.0
            rows.append({**row, **where, "true": true, "slower": nearest(true) if row["share"] else 0.0})
    return rows


def share_of(found: list[bool]) -> str:
    return f"{sum(found)} of {len(found)}" if found else "-"


def report(trials: list[dict], truths: dict[str, dict[str, Truth]]) -> tuple[str, bool]:
    if not trials:
        return f"No trial of rule {RULE} yet.\n", False
    rows = told_rows(trials, truths)
    null = [row for row in rows if row["share"] == 0]
    alarms = sum(row["verdict"] == "regressed" for row in null)
    bound = binomtest(alarms, len(null)).proportion_ci(0.90, method="exact").high
    calm = [row for row in null if not row["loaded"]]
    noisy = sum(row["verdict"] == "noisy" for row in calm) / max(len(calm), 1)
    seconds, slower = (
        statistics.fmean(row["seconds"] for row in part) for part in (null, [r for r in rows if r["share"]])
    )
    head = f"**False alarms**: {alarms} of {len(null)} unchanged programs are called slower; the rate is at most {bound:.2%} "
    head += f"(one-sided 95 %, exact). `noisy` where nothing loads the machine: {noisy:.1%}. An unchanged pair takes "
    head += (
        f"{seconds:.1f} s on average, a slower one {slower:.1f} s; memory, which a comparison judges too, is not in it."
    )
    flat = sorted({f"{row['class']} by {row['share']:.1%} ({row['machine']})" for row in rows if row["slower"] is None})
    head += f" A slower program counts as slower by the share that its true ratio is nearest to; {len(flat)} that are slower "
    head += f"by less than half of the least are left out{': ' * bool(flat)}{', '.join(flat)}. "
    head += "True ratios are those of one thread where nothing of ours loads the machine, for all rows."
    lines = [
        f"{len(trials)} trials of {len(CLASSES)} programs; {', '.join(sorted({one['machine'] for one in trials}))}.",
        "",
        head,
        "",
        "| slower by about | true, median | machine | called slower, 100 us and more | below 100 us | not decided | called faster or ok |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    holds = len(null) >= 600 and alarms <= 3 * len(null) / 600 and noisy <= 0.1 and seconds <= 3
    for share, where in itertools.product(SHARES, WHERES):
        mine = [row for row in rows if row["slower"] == share and row["where"] == where]
        if not mine:
            continue
        red = [[row["verdict"] == "regressed" for row in mine if (row["us"] >= 100) is big] for big in (True, False)]
        true = statistics.median(row["true"] for row in mine)
        open_ = sum(row["verdict"] in ("inconclusive", "noisy") for row in mine)
        rest = sum(row["verdict"] in ("ok", "improved") for row in mine)
        lines.append(
            f"| {share:.1%} | {true:+.2%} | {where} | {share_of(red[0])} | {share_of(red[1])} | {open_} | {rest} |"
        )
    for share, least, parts in ((0.02, 0.95, (True, False)), (0.01, 0.90, (True,))):
        red = [row["verdict"] == "regressed" for row in rows if row["slower"] == share and (row["us"] >= 100) in parts]
        holds &= sum(red) >= least * len(red)
    lines += ["", "![power by class](gate-power.svg)", ""]
    lines += ["| rule | machine | false alarms | 0.5 % | 1 % | 2 % | 5 % |", "|---|---|---:|---:|---:|---:|---:|"]
    for (name, said), where in itertools.product(rules(trials, truths).items(), WHERES):
        cells = [
            share_of([word for under, slower, word in said if (under, slower) == (where, share)])
            for share in (0.0, *SHARES)
        ]
        lines.append(f"| {name} | {where} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *reached(rows)]) + "\n", holds


def reached(rows: list[dict]) -> list[str]:
    """What each class of programs reaches, in Markdown; its floor says why."""
    lines = [
        "What each class reaches, and why: less than its floor, what no change at all reaches between two copies of a program there, cannot be told from nothing.",
        "",
        "| class | us | machine | floor, median | `noisy` | seconds | processes | false alarms | slower by 1 % | by 2 % and more |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, loaded in itertools.product(CLASSES, (False, True)):
        mine = [row for row in rows if (row["class"], row["loaded"]) == (kind.name, loaded)]
        null = [row for row in mine if not row["share"]]
        if not null:
            continue
        us, floor = (statistics.median(row[key] for row in null) for key in ("us", "floor"))
        took, bouts = (statistics.fmean(row[key] for row in null) for key in ("seconds", "bouts"))
        noisy = statistics.fmean(row["verdict"] == "noisy" for row in null)
        red = [
            share_of([row["verdict"] == "regressed" for row in part])
            for part in (
                null,
                [row for row in mine if row["slower"] == SHARES[1]],
                [row for row in mine if row["slower"] in SHARES[2:]],
            )
        ]
        where = "loaded" if loaded else "calm"
        lines.append(
            f"| {kind.name} | {us:,.1f} | {where} | {floor:.2%} | {noisy:.0%} | {took:.1f} | {bouts:.1f} | {' | '.join(red)} |"
        )
    return lines


@settings()
def power(trials: list[dict], truths: dict[str, dict[str, Truth]], to: Path) -> None:
    """Draw how many of the slower programs of each class are called so, by how much slower they are."""
    figure = blank(7.2)
    panels, _ = grid(figure, len(CLASSES), 1.4)
    rows = told_rows(trials, truths)
    hues = dict(zip(WHERES, COLOURS, strict=False))
    for kind, panel in zip(CLASSES, panels, strict=True):
        for (where, colour), on in itertools.product(hues.items(), sorted({row["machine"] for row in rows})):
            red = defaultdict(list)
            for row in rows:
                if row["share"] and (row["class"], row["where"], row["machine"]) == (kind.name, where, on):
                    red[100 * row["true"]].append(row["verdict"] == "regressed")
            points = sorted((true, 100 * statistics.fmean(found)) for true, found in red.items())
            panel.plot(*zip(*points, strict=True) if points else ([], []), "o-", color=colour, markersize=3)
        panel.set(title=kind.name, xlim=(0, 11), ylim=(-5, 105), ylabel="called slower, %", xlabel="truly slower, %")
    finish(figure, [[entry(where, color=colour) for where, colour in hues.items()]], [])
    save(figure, to)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10, help="how many to add")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial after that")
    given = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kdbench-gate-") as scratch:
        truths = truth(Path(scratch)) if given.trials else known_truths()
        trials = [json.loads(line) for line in TRIALS.read_text().splitlines()] if TRIALS.exists() else []
        trials = [one for one in trials if one.get("rule") == RULE]
        TRIALS.write_text("".join(json.dumps(one) + "\n" for one in trials), encoding="utf-8")
        for number in range(len(trials), len(trials) + given.trials):
            if time.monotonic() - start > 60 * given.minutes:
                break
            trials.append(trial(number, truths[machine().slug], Path(scratch)))
            with TRIALS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(trials[-1]) + "\n")
    text, holds = report(trials, truths)
    if trials:
        power(trials, truths, HERE / "gate-power.svg")
    (HERE / "gate.md").write_text(f"# The speed gate: false alarms and power\n\n{text}", encoding="utf-8")
    print(text, end="")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
