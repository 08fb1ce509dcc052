"""Are counts of instructions exact, and is the Arm program the same program? Real items, small trained networks.

``python benchmarks/instructions.py`` trains three students for some seconds on Fashion-MNIST (KDBENCH_DATA), lowers each
to XNNPACK in fp32 and int8, and asks of each of the six programs on each of the five cores under qemu:

- Is the count of an inference the same, all four figures to the last unit, in five repetitions, each a fresh process,
  beside as many busy processes as there are cores?
- Are the answers to 2,000 test items those of the host: to the bit for int8, within 1e-6 of the largest for fp32?

Exit code 1 if one is not. It needs qemu-user and g++-aarch64-linux-gnu; how busy the machine is does not matter.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdbench.catalog import load
from kdbench.data.named import dataset_named
from kdbench.devices.cores import CORES
from kdbench.devices.device import COUNTED
from kdbench.devices.host import Host
from kdbench.devices.job import Input, Job, Load, Predict, Program
from kdbench.devices.qemu import qemu
from kdbench.lowering.shipped import lower
from kdbench.machine import libraries, machine, usable_cores
from kdbench.measures.instructions import counted
from kdbench.measures.timing_job import SpeedProgram
from kdbench.models.network import build
from kdbench.spec import Protocol

HERE = Path(__file__).parent
DATA, WHEEL = "fashion-mnist", "wheel1.5.1"
STUDENTS = {
    "dscnn-5": ("dscnn", {"width": 5}),
    "dscnn-16": ("dscnn", {"width": 16, "growth": 1.5, "stride": 2}),
    "mlp": ("mlp", {}),
}
REPETITIONS, ITEMS, STEPS, CALIBRATION = 5, 2000, 150, 64
CLOSE = 1e-6


def trained(name: str, options: dict[str, float], inputs: torch.Tensor, targets: torch.Tensor) -> nn.Module:
    """A student after ``STEPS`` steps: its numbers are a trained network's, its accuracy is not the point."""
    torch.manual_seed(0)
    network = build(name, 10, tuple(inputs.shape[1:]), options, "")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step in range(STEPS):
        batch = slice(step * 64, (step + 1) * 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    return network.eval()


def answers(device, program: Path, items: np.ndarray) -> np.ndarray:
    job = Job(
        (Program("p", program),), (Input("i", (items[:, None],)),), (Load("p"), Predict("p", "i")), timeout_s=3600
    )
    return device.run(job).outputs["p"][0]


def busy() -> None:
    while True:
        pass


def under_load(device, program: SpeedProgram) -> list[dict[str, float]]:
    """The counts of ``REPETITIONS`` fresh processes beside one busy process a core."""
    neighbours = [multiprocessing.Process(target=busy, daemon=True) for _ in range(usable_cores())]
    for neighbour in neighbours:
        neighbour.start()
    try:
        return [counted("s", device, program, Protocol()).metrics for _ in range(REPETITIONS)]
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.join()


def compare(name: str, program: Path, items: np.ndarray) -> list[dict[str, object]]:
    here = answers(Host("host", "native"), program, items)
    rows = []
    for core in CORES:
        device = qemu(f"qemu:{core}+{WHEEL}")
        counts = under_load(device, SpeedProgram(program, (items[:8, None],)))
        there = answers(device, program, items)
        off = float(np.abs(there - here).max() / np.abs(here).max())
        row = {
            "program": name,
            "core": core,
            "runtime": device.runtime,
            "counts": counts[0],
            "identical": all(count == counts[0] for count in counts),
            "bits_equal": here.tobytes() == there.tobytes(),
            "largest_difference": off,
        }
        answered = row["bits_equal"] if name.endswith("int8") else off <= CLOSE
        rows.append({**row, "holds": bool(row["identical"] and answered)})
        print(f"{name:14} {core:12} {counts[0]['instructions']:14,.1f} {off:.1e} {rows[-1]['holds']}", flush=True)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        f"| program | core | instructions | vector | loads | stores | {REPETITIONS} times the same | {ITEMS:,} answers |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        counts = " | ".join(f"{row['counts'][metric]:,.1f}" for metric in COUNTED)
        said = "the host's bits" if row["bits_equal"] else f"within {row['largest_difference']:.1e}"
        lines.append(
            f"| {row['program']} | {row['core']} | {counts} | {'yes' if row['identical'] else 'no'} | {said} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where instructions.json and .md go")
    out = parser.parse_args().out
    dataset = dataset_named(DATA)
    collate = load("tasks", "classification")().collate
    inputs = collate(dataset, torch.from_numpy(dataset.train.inputs[: STEPS * 64]))
    targets = torch.from_numpy(dataset.train.targets[: STEPS * 64]).long()
    items = np.ascontiguousarray(collate(dataset, torch.from_numpy(dataset.test.inputs[:ITEMS])).numpy())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for student, (name, options) in STUDENTS.items():
            network = trained(name, options, inputs, targets)
            for precision in ("fp32", "int8"):
                program = Path(folder) / f"{student}-{precision}.pte"
                calibration = inputs[:CALIBRATION, None].unbind()
                lower(network, inputs[:1], f"xnnpack-{precision}", calibration=calibration).save(program)
                rows += compare(f"{student} {precision}", program, items)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine().model_dump(mode="json"),
        "libraries": libraries(),
        "data": DATA,
        "rows": rows,
        "holds": all(row["holds"] for row in rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "instructions.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "instructions.md").write_text(table(rows))
    print(table(rows), end="")
    return 0 if result["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
