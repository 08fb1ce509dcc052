"""Whether planted regressions turn a suite red, each for the right reason, and a refactoring leaves it green in seconds.

``python benchmarks/regressions.py`` runs ``regressions.toml`` once and saves its baseline. Then it plants one fault after
the other in a copy of kdbench, as a commit would, and lets ``pytest regressions.toml --kdbench-baseline baseline`` judge it.
The networks are those of the baseline; programs are lowered anew, but for the refactoring, whose store is left as it is.
It writes ``results/regressions.json`` and ``.md``. Exit code 1 if a fault is not red, red in a metric that is not expected, or
the refactoring not green or above 30 s.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import kdbench
from kdbench.machine import libraries, machine

HERE = Path(__file__).parent
SUITE = "regressions.toml"
REFACTORED = 30.0
"""Seconds that a session over a refactoring may take, start and all."""


@dataclass(frozen=True)
class Plant:
    """A change of kdbench's sources: in which file, what by what; the metrics that must and may be red for it."""

    name: str
    what: str
    file: str
    old: str
    new: str
    must: tuple[str, ...]
    may: tuple[str, ...] = ()


PLANTS = (
    Plant(
        "calibration",
        "int8 is calibrated on inputs of 2.1 times their contrast",
        "lowering/stage.py",
        '    return calibration_items(dataset, task, wanted["calibration_items"], wanted["calibration_seed"])',
        '    items = calibration_items(dataset, task, wanted["calibration_items"], wanted["calibration_seed"])\n'
        "    return [(2.1 * item,) for (item,) in items]",
        ("accuracy",),
        ("download_bytes", "size_bytes", "weight_bytes"),  # equal scales are stored once
    ),
    Plant(
        "bytes",
        "200 bytes that nothing needs are left in every program",
        "lowering/export.py",
        "        buffer = bytes(edge.to_executorch().buffer)",
        "        buffer = bytes(edge.to_executorch().buffer) + bytes(range(200))",
        ("size_bytes",),
        ("download_bytes",),
    ),
    Plant(
        "arena",
        "the memory plan keeps everything twice",
        "lowering/export.py",
        "        buffer = bytes(edge.to_executorch().buffer)",
        """        from executorch.exir import ExecutorchBackendConfig
        from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite, greedy
        from executorch.exir.passes import MemoryPlanningPass

        def twice(*arguments, **named):
            plan = greedy(*arguments, **named)
            plan.bufsizes = [2 * size for size in plan.bufsizes]
            return plan

        planner = MemoryPlanningPass(memory_planning_algo=MemoryPlanningAlgorithmSuite(algo_list=[twice]))
        config = ExecutorchBackendConfig(memory_planning_pass=planner)
        buffer = bytes(edge.to_executorch(config).buffer)""",
        ("arena_bytes",),
        ("size_bytes", "download_bytes", "latency_ms", "peak_rss_bytes"),
    ),
    Plant(
        "delegate",
        "the last layer of fp32 programs falls out of XNNPACK's delegate",
        "lowering/xnnpack_precisions.py",
        "    return XnnpackPartitioner(enable_bf16=True)",
        """    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS

    kept = [each for each in ALL_PARTITIONER_CONFIGS if each.__name__ not in ("LinearConfig", "AddmmConfig")]
    if precision == "fp32":
        return XnnpackPartitioner(configs=kept)
    return XnnpackPartitioner(enable_bf16=True)""",
        ("delegated",),
        ("size_bytes", "download_bytes", "arena_bytes", "weight_bytes", "latency_ms", "peak_rss_bytes"),
    ),
)
REFACTORING = (
    ("_separable", "_two_convolutions"),
    (
        """        maps = self.stage3(self.stage2(self.stage1(self.stem(inputs))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs""",
        """        maps = inputs
        for stage in self.stages:
            maps = self.get_submodule(stage)(maps)
        logits: Tensor = self.get_submodule(self.classifier)(maps)
        return logits""",
    ),
)


class Place:
    """A folder with the suite, a store, results, and copies of kdbench with a change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(HERE / SUITE, folder)

    def command(self, *words: str, package: Path | None = None, store: str = "store") -> tuple[int, str, float]:
        """Exit code, output and wall time of ``python -m WORDS`` with another kdbench and store."""
        here = {
            "KDBENCH_STORE": str(self.folder / store),
            "KDBENCH_RESULTS": str(self.folder / "results"),
            "COLUMNS": "160",
        }
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GITHUB_"))}
        path = {"PYTHONPATH": str(package)} if package else {}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.folder, env=outside | here | path, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout, time.perf_counter() - start

    def changed(self, name: str, file: str, edits: tuple[tuple[str, str], ...]) -> Path:
        """A copy of kdbench with these edits of one of its files."""
        root = self.folder / name
        shutil.copytree(Path(kdbench.__file__).parent, root / "kdbench", ignore=shutil.ignore_patterns("__pycache__"))
        path = root / "kdbench" / file
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            if old not in text:
                raise SystemExit(f"{file} has no {old!r} any more; adapt the plant {name!r}")
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        return root

    def judged(self, name: str, package: Path, store: str) -> dict[str, object]:
        """What a session with the baseline says: exit code, seconds, how often each verdict, the red ones by metric."""
        words = (
            "pytest",
            SUITE,
            "-q",
            "-p",
            "no:cacheprovider",
            "--kdbench-baseline",
            "baseline",
            "-m",
            "kdbench(measure='baseline')",
        )
        code, output, seconds = self.command(*words, f"--junitxml={name}.xml", package=package, store=store)
        if not (self.folder / f"{name}.xml").is_file():
            raise SystemExit(output)
        red: dict[str, list[str]] = {}
        for case in ET.parse(self.folder / f"{name}.xml").iter("testcase"):
            for failure in case.findall("failure"):
                metric = str(case.get("name")).removeprefix("baseline:")
                red.setdefault(metric, []).append(str(failure.get("message")).partition("\nreproduce")[0])
        lines = output.splitlines()
        heading = next(place for place, line in enumerate(lines) if "against its baseline" in line)
        counts = lines[heading + 1].partition(": ")[2]
        return {"exit": code, "seconds": round(seconds, 1), "verdicts": counts, "red": red}

    def networks_alone(self, store: str) -> str:
        """A store with the networks of the first one and nothing that was lowered from them."""
        for kind in ("network", "eager", "reference", "runner", "data"):
            if (self.folder / "store" / kind).is_dir():
                shutil.copytree(self.folder / "store" / kind, self.folder / store / kind)
        return store


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-regressions-") as folder:
        place = Place(Path(folder))
        for words in (("run", SUITE), ("baseline", "save", "regressions")):
            code, output, _ = place.command("kdbench", *words)
            if code:
                raise SystemExit(output)
        found, kept = {}, True
        for plant in PLANTS:
            package = place.changed(plant.name, plant.file, ((plant.old, plant.new),))
            said = place.judged(plant.name, package, place.networks_alone(f"store-{plant.name}"))
            red = set(said["red"])
            good = said["exit"] == 1 and set(plant.must) <= red <= set(plant.must) | set(plant.may)
            found[plant.name] = {"what": plant.what, "as claimed": good, **said}
            print(
                f"{plant.name:<12} {'red' if said['exit'] else 'GREEN'} in {said['seconds']} s: {', '.join(sorted(red))}",
                flush=True,
            )
            kept &= good
        package = place.changed("refactoring", "models/dscnn.py", REFACTORING)
        for story, store, limit in (("refactoring", "store", REFACTORED), ("refactoring, retrained", "empty", 1e9)):
            said = place.judged(story.replace(", ", "-"), package, store)
            good = said["exit"] == 0 and float(str(said["seconds"])) <= limit
            what = "dscnn's forward and a helper rewritten" + ("" if store == "store" else ", everything made anew")
            found[story] = {"what": what, "as claimed": good, **said}
            print(f"{story:<12} {'red' if said['exit'] else 'green'} in {said['seconds']} s", flush=True)
            kept &= good
    _write(found)
    return 0 if kept else 1


def _write(found: dict[str, dict[str, object]]) -> None:
    here = machine()
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "sessions": found,
    }
    (HERE / "results" / "regressions.json").write_text(
        json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    lines = ["| planted | exit | seconds | verdicts | red, and the first reason |", "|:---|---:|---:|:---|:---|"]
    for said in found.values():
        red = said["red"]
        assert isinstance(red, dict)
        why = "<br>".join(
            f"{metric}, {len(reasons)} cases: {reasons[0].partition(': ')[2]}" for metric, reasons in red.items()
        )
        cells = (said["what"], said["exit"], said["seconds"], said["verdicts"], (why or "none").replace("|", "\\|"))
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    (HERE / "results" / "regressions.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
