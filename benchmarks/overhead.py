"""Does kdbench's runner report what a bare loop would? The claim: each median within 3 %, and known to within 3 %.

``python benchmarks/overhead.py`` lowers ten convolutional networks (from about 10 us to 100 ms on one thread) to XNNPACK,
in fp32 and int8, and times each program in fresh processes that alternate: kdbench's runner through ``Host.run``, as a
suite does, and ``bare.cpp``, the plainest C++ loop around execute(). Both set the input before every execute(), time
execute() alone, run as often, on one thread and on the same core. The ratio of a pair is the median that kdbench
reports over the bare one; the table shows the median over pairs with the 95 % interval that its order statistics give
whatever the distribution (a virtual machine's neighbours slow a third of all processes by half, and a mean is theirs).
The geometric mean over all programs is to be within 1 %.

Beside them, in the first pairs alone and without a claim: kdbench's Python runner, which is what it uses where there is no
C++ compiler, and pytest-benchmark around ExecuTorch's Python runtime in its own process (``in_process.py``).

Exit code 1 if a ratio or its interval breaks the claim. Run it on a machine that does nothing else. Where neighbours
leave intervals wider than 3 %, ``--more`` adds pairs to those programs, whatever their ratios are, and leaves the others.
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
from scipy.stats import quantile_test
from torch import nn

from kdbench.devices.host import Host
from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.devices.runner.build import compiled
from kdbench.lowering.shipped import lower
from kdbench.machine import libraries, machine

HERE = Path(__file__).parent
LIMIT, OVERALL = 0.03, 0.01
WARMUP = 5
FEWEST = 6
"""Pairs whose order statistics have an interval of 95 % for their median."""
BESIDE = 5
"""Pairs beside which the Python runner and pytest-benchmark are timed too."""

RUNNER, PYTHON, PYTEST, BARE = "kdbench", "kdbench, Python runner", "pytest-benchmark", "bare"
CALM = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
"""The runner's circumstances: no environment of the user's."""


@dataclass(frozen=True)
class Size:
    precision: str
    image: int
    width: int
    blocks: int
    runs: int

    @property
    def name(self) -> str:
        return f"{self.precision} {self.image}x{self.image}x{self.width}, {self.blocks} deep"


SIZES = (
    Size("fp32", image=16, width=16, blocks=1, runs=2000),
    Size("int8", image=16, width=16, blocks=1, runs=2000),
    Size("fp32", image=16, width=32, blocks=2, runs=1000),
    Size("int8", image=32, width=32, blocks=2, runs=500),
    Size("fp32", image=32, width=32, blocks=2, runs=300),
    Size("fp32", image=32, width=64, blocks=4, runs=100),
    Size("int8", image=64, width=64, blocks=4, runs=50),
    Size("fp32", image=64, width=64, blocks=8, runs=20),
    Size("int8", image=96, width=96, blocks=16, runs=8),
    Size("fp32", image=96, width=128, blocks=8, runs=6),
)


def network(size: Size) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, size.width, 3, padding=1), nn.ReLU()]
    for _ in range(size.blocks):
        layers += [nn.Conv2d(size.width, size.width, 3, padding=1), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size.width, 10)]
    return nn.Sequential(*layers).eval()


def of_kdbench(kind: str, program: Path, item: np.ndarray, size: Size, seed: int) -> float:
    """The median that kdbench reports, in ns."""
    steady = Interleave(("p",), {"p": "x"}, WARMUP, 0, size.runs, 0, 10**12, 4_000_000, seed)
    job = Job((Program("p", program),), (Input("x", (item[None],)),), (Load("p"), steady), threads=1, pin=True)
    return float(np.median(Host("host", kind).run(job).samples["p"][: size.runs]))


def of_bare(bare: Path, program: Path, item: np.ndarray, size: Size) -> float:
    """The median of the bare loop, in ns."""
    values = program.with_suffix(".bin")
    values.write_bytes(item.tobytes())
    words = [str(bare), str(program), str(values), str(WARMUP), str(size.runs), *map(str, item.shape)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True, env=CALM, preexec_fn=pin).stdout)


def of_pytest(program: Path, item: np.ndarray, size: Size) -> float:
    """The median of pytest-benchmark in one process, in ns."""
    values, found = program.with_suffix(".npy"), program.with_suffix(".json")
    np.save(values, item)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(HERE)]
    words += [str(HERE / "in_process.py"), f"--benchmark-json={found}"]
    given = {"PROGRAM": str(program), "INPUT": str(values), "RUNS": str(size.runs)}
    subprocess.run(words, capture_output=True, text=True, check=True, env=CALM | given, preexec_fn=pin)
    return float(json.loads(found.read_text())["benchmarks"][0]["stats"]["median"]) * 1e9


def pin() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


Times = dict[str, list[float]]
"""Medians in ns, one a process, by way."""


def compare(size: Size, pairs: int, bare: Path, folder: Path, times: Times) -> None:
    """Add as many pairs to the times of a program."""
    item = np.random.default_rng(0).standard_normal((1, 3, size.image, size.image)).astype(np.float32)
    program = folder / "program.pte"
    example = torch.from_numpy(item)
    calibration = torch.randn(32, *item.shape, generator=torch.Generator().manual_seed(0)).unbind()
    lower(network(size), example, f"xnnpack-{size.precision}", calibration=calibration).save(program)
    for pair in range(len(times[BARE]), len(times[BARE]) + pairs):
        ways = {
            BARE: lambda: of_bare(bare, program, item, size),
            RUNNER: lambda seed=pair: of_kdbench("native", program, item, size, seed),
            PYTHON: lambda seed=pair: of_kdbench("python", program, item, size, seed),
            PYTEST: lambda: of_pytest(program, item, size),
        }
        now = list(ways)[: 4 if pair < BESIDE else 2]
        for way in now if pair % 2 == 0 else reversed(now):
            times[way].append(ways[way]())
        tell(f"{size.name}: pair {pair + 1}")
    tell("")


def judged(size: Size, times: Times) -> dict[str, object]:
    """What the pairs say of the claim, with their times."""
    ratios = np.divide(times[RUNNER], times[BARE])
    low, high = quantile_test(ratios, p=0.5).confidence_interval(0.95)
    ratio = float(np.median(ratios))
    beside = {way: float(np.median(np.divide(times[way], times[BARE][: len(times[way])]))) for way in (PYTHON, PYTEST)}
    return {
        "program": size.name,
        "runs": size.runs,
        "pairs": len(ratios),
        "bare_us": float(np.median(times[BARE])) / 1e3,
        "kdbench_us": float(np.median(times[RUNNER])) / 1e3,
        "ratio": ratio,
        "low": float(low),
        "high": float(high),
        "holds": bool(abs(ratio - 1) <= LIMIT and high - low < LIMIT),
        "beside": beside,
        "ns": times,
    }


def tell(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{words}")


def table(result: dict[str, object]) -> str:
    lines = [
        f"| program | pairs | bare loop | kdbench | ratio | 95 % interval | within 3 % | {PYTHON} | {PYTEST} |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for row in result["programs"]:
        lines.append(
            f"| {row['program']} | {row['pairs']} | {row['bare_us']:.1f} us | {row['kdbench_us']:.1f} us | {row['ratio']:.4f} "
            f"| {row['low']:.4f} to {row['high']:.4f} | {'yes' if row['holds'] else 'no'} "
            f"| {row['beside'][PYTHON]:.3f} | {row['beside'][PYTEST]:.3f} |"
        )
    lines += [
        "",
        f"Geometric mean of the ratios: {result['overall']:.4f}. A ratio is the median of the pairs' ratios, not the ratio of the two",
        f"medians beside it. The last two columns: medians of {BESIDE} ratios, which neighbours move.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--pairs", type=int, default=61, help=f"pairs of fresh processes for each program, at least {FEWEST}"
    )
    parser.add_argument("--more", action="store_true", help="add pairs to the programs whose intervals are too wide")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where overhead.json and overhead.md go")
    given = parser.parse_args()
    if given.pairs < FEWEST:
        parser.error(f"--pairs: at least {FEWEST}")
    found = given.out / "overhead.json"
    here = machine()
    made = {"machine": here.slug, "libraries": libraries(), "warmup": WARMUP}
    known = {}
    if given.more:
        if not found.exists():
            parser.error(f"--more: there is no {found} to add to")
        earlier = json.loads(found.read_text(encoding="utf-8"))
        if (other := {key: earlier.get(key) for key in made}) != made:
            parser.error(f"--more: {found} is of {other}, and this would be of {made}")
        known = {(one["program"], one["runs"]): one for one in earlier["programs"]}
    bare = compiled(HERE, ("bare.cpp",), "bare")
    with tempfile.TemporaryDirectory(prefix="kdbench-overhead-") as scratch:
        rows = []
        for size in SIZES:
            before = known.get((size.name, size.runs))
            times = before["ns"] if before else {BARE: [], RUNNER: [], PYTHON: [], PYTEST: []}
            if before is None or before["high"] - before["low"] >= LIMIT:
                compare(size, given.pairs, bare, Path(scratch), times)
            rows.append(judged(size, times))
    overall = math.exp(np.mean([math.log(row["ratio"]) for row in rows]))
    result = {
        "claim": "the median that kdbench reports is within 3 % of a bare loop's, with an interval narrower than 3 %, and"
        " within 1 % in the geometric mean over programs",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **made,
        "cores": here.cores,
        "overall": overall,
        "programs": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    found.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(
        f"{name} {version}" for name, version in result["libraries"].items() if name in {"kdbench", "executorch"}
    )
    head = f"# The runner's overhead\n\n{result['date']}, {here.slug}, {here.cores} cores, one thread; {versions}; "
    head += "a pair is two fresh processes.\n\n"
    (given.out / "overhead.md").write_text(head + table(result), encoding="utf-8")
    print(table(result), end="")
    return 0 if abs(overall - 1) <= OVERALL and all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
