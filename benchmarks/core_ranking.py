"""Do instructions rank programs as time does? Printed as found: nothing is claimed.

``python benchmarks/core_ranking.py`` lowers ten students of one family (``dscnn`` of growing width, 28x28 items, untrained:
neither figure depends on the values) in fp32 and int8, counts an inference of each on five cores under qemu, and times all
of one precision side by side on this machine's own core. The table shows Spearman's rank correlation of each core's
counts with the host's latency, and Kendall's tau-b: with ten programs, 45 pairs. The host is no phone: what it shows is
whether counts of an Arm core order programs as time on another machine does.

It needs qemu-user and g++-aarch64-linux-gnu. Run it on a machine that does little else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from kdbench.devices.cores import CORES
from kdbench.devices.host import Host
from kdbench.devices.qemu import qemu
from kdbench.lowering.shipped import lower
from kdbench.machine import libraries, machine
from kdbench.measures.instructions import counted
from kdbench.measures.speed import measure_speeds
from kdbench.measures.timing_job import SpeedProgram
from kdbench.models.network import build
from kdbench.spec import Protocol

HERE = Path(__file__).parent
WIDTHS = (4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
SHAPE, WHEEL, CALIBRATION = (1, 28, 28), "wheel1.5.1", 32


def programs(precision: str, folder: Path) -> dict[str, SpeedProgram]:
    made = {}
    calibration = torch.randn(CALIBRATION, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    for width in WIDTHS:
        torch.manual_seed(0)
        network = build("dscnn", 10, SHAPE, {"width": width, "growth": 1.5}, "").eval()
        path = folder / f"{width}-{precision}.pte"
        lower(network, calibration[0], f"xnnpack-{precision}", calibration=calibration.unbind()).save(path)
        made[f"width {width}"] = SpeedProgram(path, (calibration[:8].numpy(),))
    return made


def measured(precision: str, protocol: Protocol) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        made = programs(precision, Path(folder))
        times = measure_speeds(Host("host", "native"), made, None, protocol)
        latency = {name: times[name].speed.metrics["latency_ms"] for name in made}
        counts = {
            core: {
                name: counted(name, qemu(f"qemu:{core}+{WHEEL}"), program, protocol).metrics["instructions"]
                for name, program in made.items()
            }
            for core in CORES
        }
    correlations = {}
    for core, found in counts.items():
        pair = np.array(list(found.values())), np.array(list(latency.values()))
        correlations[core] = {"spearman": float(spearmanr(*pair)[0]), "kendall": float(kendalltau(*pair)[0])}
    return {"precision": precision, "latency_ms": latency, "instructions": counts, "correlations": correlations}


def table(results: list[dict[str, object]]) -> str:
    lines = []
    for result in results:
        lines += [
            f"| {result['precision']} | host, us | {' | '.join(CORES)} |",
            f"|---|---:|{'---:|' * len(CORES)}",
        ]
        for name, latency in result["latency_ms"].items():
            counts = " | ".join(f"{result['instructions'][core][name]:,.0f}" for core in CORES)
            lines.append(f"| {name} | {latency * 1000:.1f} | {counts} |")
        for statistic in ("spearman", "kendall"):
            found = " | ".join(f"{result['correlations'][core][statistic]:.3f}" for core in CORES)
            lines.append(f"| {statistic} with host | | {found} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="where core-ranking.json and core-ranking.md go"
    )
    out = parser.parse_args().out
    results = [measured(precision, Protocol(memory_processes=1)) for precision in ("fp32", "int8")]
    told = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine().model_dump(mode="json"),
        "libraries": libraries(),
        "results": results,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "core-ranking.json").write_text(json.dumps(told, indent=1) + "\n")
    (out / "core-ranking.md").write_text(table(results))
    print(table(results), end="")


if __name__ == "__main__":
    main()
