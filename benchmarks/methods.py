"""What a step of each method costs beside a step of kd: time and peak memory (``results/methods.md``).

``python benchmarks/methods.py``: resnet56 teaches resnet20 on images of 32x32, batch 64, crop and mirror, by every method with
its default options, on one thread in a process of its own. kd is trained several times, spread over the whole, so that the
table shows what a difference of nothing looks like. Figures of a method:

- seconds of all its training, phases before the student's own included, for each step of the student, and that relative to kd;
- the growth of the process's resident memory to its peak (activations, networks, banks), and that relative to kd.

A student has eight epochs, so that a first phase of an eighth of them (ft, fsp, about ab) is one: phases have whole epochs.
Memory banks grow with the training set (crd), which here has 640 items. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from training import PICTURES

from kdbench.catalog import entries
from kdbench.conduct import conduct
from kdbench.data.named import dataset_named
from kdbench.machine import libraries, machine
from kdbench.plan import Ground, cases_of, stages_of
from kdbench.store import Artefact, Store
from kdbench.suite_file import read_suite
from kdbench.training.processor import processor

HERE = Path(__file__).parent
ITEMS, SIDE, EPOCHS = 640, 32, 8
AGAIN = 8
"""Methods between two trainings by kd."""

SUITE = f"""
version = 1
data = "pictures.py:pictures"
seeds = SEEDS
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet56"
student = "resnet20"
[methods]
METHODS
[recipes.teacher]
kind = "fast"
epochs = 3
batch_size = 64
lr = 0.01
[recipes.student]
kind = "fast"
epochs = {EPOCHS}
batch_size = 64
lr = 0.001
augment = ["crop", "flip"]
"""


def order(methods: list[str]) -> list[tuple[str, int]]:
    """Every method with seed 0, and kd with seeds of its own before, between and after them."""
    others = [name for name in methods if name != "kd"]
    ordered: list[tuple[str, int]] = []
    for start in range(0, len(others), AGAIN):
        ordered += [("kd", start // AGAIN), *((name, 0) for name in others[start : start + AGAIN])]
    return [*ordered, ("kd", -(-len(others) // AGAIN))]


def trained(folder: Path, wanted: list[tuple[str, int]]) -> list[dict]:
    """What each training tells of itself, one after the other, each in a fresh worker."""
    seeds = sorted({seed for _, seed in wanted})
    text = SUITE.replace("SEEDS", str(seeds)).replace("METHODS", "\n".join(f"{name} = {{}}" for name in dict(wanted)))
    path = folder / "plan.toml"
    path.write_text(text)
    suite = read_suite(path)
    data = suite.pairs[0].data
    ground = Ground(
        {data: dataset_named(data).sha256}, dict.fromkeys(("teacher", "student"), processor()), {"host": "none"}
    )
    cases = cases_of(suite)
    stages = {
        (case.method.label, case.seed): stages_of(case, suite, ground).network
        for case in cases
        if case.seed is not None
    }
    store, told = Store(folder / "store"), []
    # The teacher first: a worker that has just trained it would hold pages that a student could use again.
    conduct(
        [stages_of(case, suite, ground).network for case in cases if case.is_teacher], store, 1, lambda _event: None
    )
    for name, seed in wanted:
        stage = stages[name, seed]
        outcome = conduct([stage], store, 1, lambda _event: None)[stage.id]
        if not isinstance(outcome, Artefact):
            raise SystemExit(f"{name}: {outcome.reason}")
        facts = outcome.json("network.json")
        told.append(
            {
                "method": name,
                "seconds": facts["seconds"] / facts["student_steps"],
                "bytes": facts["peak_bytes"] - facts["before_bytes"],
                "forwards": (facts["teacher_forwards"] + facts["own_forwards"]) / facts["student_forwards"],
                "extra_params": facts["extra_params"],
            }
        )
        print(f"{name:18} {1000 * told[-1]['seconds']:7.1f} ms {told[-1]['bytes'] / 2**20:7.1f} MiB", flush=True)
    return told


def table(told: list[dict]) -> str:
    """Markdown, by time."""
    kd = [row for row in told if row["method"] == "kd"]
    seconds, size = (statistics.median(row[key] for row in kd) for key in ("seconds", "bytes"))
    spread = [row["seconds"] / seconds for row in kd]
    rows = [kd[0] | {"seconds": seconds, "bytes": size}, *(row for row in told if row["method"] != "kd")]
    lines = [
        "| method | ms a student step | time / kd | peak MiB | memory / kd | other forwards an item | extra parameters |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row['method']} | {1000 * row['seconds']:.0f} | {row['seconds'] / seconds:.2f} "
            f"| {row['bytes'] / 2**20:.0f} | {row['bytes'] / size:.2f} | {row['forwards']:.2f} | {row['extra_params']:,} |"
            for row in sorted(rows, key=lambda row: row["seconds"])
        ),
    ]
    about = (
        f"kd was trained {len(kd)} times: its time was {min(spread):.2f} to {max(spread):.2f} of its median, which the table "
        "shows. Other forwards: by the teacher and by networks of the method's own, an item that the student sees."
    )
    return "\n".join(lines) + f"\n\n{about}\n"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-methods-") as folder:
        shown = PICTURES.format(items=ITEMS).replace("28, 28", f"{SIDE}, {SIDE}")
        (Path(folder) / "pictures.py").write_text(shown)
        os.chdir(folder)
        told = trained(Path(folder), order(sorted(entries("methods"))))
    here = machine()
    title = (
        f"# Each method beside kd\n\n{here.slug}, {here.cores} cores, {datetime.datetime.now(datetime.UTC).date()}\n\n"
    )
    markdown = title + table(told)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "trainings": [{k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()} for row in told],
    }
    (HERE / "results" / "methods.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (HERE / "results" / "methods.md").write_text(markdown, encoding="utf-8")
    print(markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
