"""Does kdbench's runner report what a bare loop would? The claim: each median within 3 %, and known to within 3 %.

``python benchmarks/overhead.py`` lowers three convolutional networks (about 10 us, 300 us and 10 ms on one thread) to
XNNPACK in fp32, and times each program in fresh processes that alternate: kdbench's runner through ``Host.run``, as a
suite does, and ``bare.cpp``, the plainest C++ loop around execute(). Both set the input before every execute(), time
execute() alone, run as often, on one thread and on the same core. The ratio of a pair is the median that kdbench
reports over the bare one; the table shows the geometric mean over pairs with a bootstrap interval of 95 %.

Exit code 1 if a ratio or its interval breaks the claim. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdbench.devices.host import Host
from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.devices.runner.build import compiled
from kdbench.lowering.xnnpack import FP32
from kdbench.machine import libraries, machine
from kdbench.stats import paired_bootstrap

HERE = Path(__file__).parent
LIMIT = 0.03
WARMUP = 20


@dataclass(frozen=True)
class Size:
    name: str
    image: int
    width: int
    blocks: int
    runs: int


SIZES = (
    Size("small", image=16, width=16, blocks=1, runs=4000),
    Size("medium", image=32, width=32, blocks=2, runs=600),
    Size("large", image=64, width=64, blocks=8, runs=60),
)


def network(size: Size) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, size.width, 3, padding=1), nn.ReLU()]
    for _ in range(size.blocks):
        layers += [nn.Conv2d(size.width, size.width, 3, padding=1), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size.width, 10)]
    return nn.Sequential(*layers).eval()


def of_kdbench(program: Path, item: np.ndarray, size: Size, seed: int) -> float:
    """The median that kdbench reports, in ns."""
    steady = Interleave(("p",), {"p": "x"}, WARMUP, 0, size.runs, 0, 10**12, 4_000_000, seed)
    job = Job((Program("p", program),), (Input("x", (item[None],)),), (Load("p"), steady), threads=1, pin=True)
    return float(np.median(Host("host", "native").run(job).samples["p"][: size.runs]))


def of_bare(bare: Path, program: Path, item: np.ndarray, size: Size, folder: Path) -> float:
    """The median of the bare loop, in ns."""
    values = folder / "input.bin"
    values.write_bytes(item.tobytes())
    words = [str(bare), str(program), str(values), str(WARMUP), str(size.runs), *map(str, item.shape)]
    # The runner's circumstances: no environment of the user's, the last core.
    core = {max(os.sched_getaffinity(0))}
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    return float(done.stdout)


def compare(size: Size, pairs: int, bare: Path, folder: Path) -> dict[str, object]:
    item = np.random.default_rng(0).standard_normal((1, 3, size.image, size.image)).astype(np.float32)
    program = folder / f"{size.name}.pte"
    program.write_bytes(FP32.lower(network(size), (torch.from_numpy(item),)).buffer)
    ours, theirs = [], []
    for pair in range(pairs):
        for ours_now in (pair % 2 == 0, pair % 2 == 1):
            if ours_now:
                ours.append(of_kdbench(program, item, size, pair))
            else:
                theirs.append(of_bare(bare, program, item, size, folder))
        tell(f"{size.name}: pair {pair + 1} of {pairs}")
    tell("")
    found = paired_bootstrap(np.log(ours), np.log(theirs), np.random.default_rng(0))
    ratio, low, high = math.exp(found.estimate), math.exp(found.low), math.exp(found.high)
    return {
        "program": size.name,
        "runs": size.runs,
        "pairs": pairs,
        "bare_us": float(np.median(theirs)) / 1e3,
        "kdbench_us": float(np.median(ours)) / 1e3,
        "ratio": ratio,
        "low": low,
        "high": high,
        "holds": abs(ratio - 1) <= LIMIT and high - low < LIMIT,
        "kdbench_ns": ours,
        "bare_ns": theirs,
    }


def tell(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{words}")


def table(result: dict[str, object]) -> str:
    lines = [
        "| program | bare loop | kdbench | ratio | 95 % interval | within 3 % |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in result["programs"]:
        lines.append(
            f"| {row['program']} | {row['bare_us']:.1f} us | {row['kdbench_us']:.1f} us | {row['ratio']:.4f} "
            f"| {row['low']:.4f} to {row['high']:.4f} | {'yes' if row['holds'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="pairs of fresh processes for each program, at least 2")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where overhead.json and overhead.md go")
    given = parser.parse_args()
    if given.pairs < 2:
        parser.error("--pairs: an interval needs at least 2")
    bare = compiled(HERE, ("bare.cpp",), "bare")
    with tempfile.TemporaryDirectory(prefix="kdbench-overhead-") as scratch:
        rows = [compare(size, given.pairs, bare, Path(scratch)) for size in SIZES]
    here = machine()
    result = {
        "claim": "the median that kdbench reports is within 3 % of a bare loop's, with an interval narrower than 3 %",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "programs": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "overhead.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(
        f"{name} {version}" for name, version in result["libraries"].items() if name in {"kdbench", "executorch"}
    )
    head = f"# The runner's overhead\n\n{result['date']}, {here.slug}, {here.cores} cores, one thread; {versions}; "
    head += f"{given.pairs} pairs of fresh processes a program.\n\n"
    (given.out / "overhead.md").write_text(head + table(result), encoding="utf-8")
    print(table(result), end="")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
