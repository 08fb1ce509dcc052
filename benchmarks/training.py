"""How long a plan of trainings takes, against the textbook loop (``textbook.py``) run once a student.

``python benchmarks/training.py``: the plan is two controls and four taught methods, three seeds, batch 64, crop and mirror, on
60,000 images of 28x28, from resnet56 to resnet20 and to a depthwise student of 20,000 parameters. On both sides slices are
timed, in turn and on the same machine, and extrapolated to the same number of steps:

- textbook: the seconds of a step with and without a teacher, times the plan's steps, since its runs come one after another;
- kdbench: what conducting the whole plan's trainings takes longer when every student learns for three epochs of 1,280 items
  instead of one: what starts up or is made once is in neither.

The four taught methods of kdbench are kd, dkd, rkd and sp; the textbook is charged for four times kd. The claims: at most half
of the textbook's time with resnet20, a third with the small student, fp32. Printed beside them: one student alone, kd with a
teacher, in both loops; and kdbench in bf16. Last the test accuracy of both loops after equal epochs on digits, five paired
seeds, with the interval of the difference. Exit code 1 if a claim is broken. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from textbook import BATCH, Pictures, steps

from kdbench.conduct import conduct
from kdbench.data.dataset import Dataset, Split
from kdbench.data.digits import digits
from kdbench.machine import libraries, machine, usable_cores
from kdbench.methods.build import method_from
from kdbench.models.network import build
from kdbench.plan import Ground, cases_of, stages_of
from kdbench.spec import Recipe
from kdbench.stats import t_half_width
from kdbench.store import Artefact, Store
from kdbench.suite_file import read_suite
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import outputs_of, train
from kdbench.training.processor import processor

HERE = Path(__file__).parent
ITEMS = 20 * BATCH
SHAPE = (1, 28, 28)
STUDENTS = {"resnet20": {}, "dscnn": {"width": 40, "growth": 1.9}}
CLAIMS = {"resnet20": 1 / 2, "dscnn": 1 / 3}
CONTROLS, TAUGHT, SEEDS = 2, 4, 3
WARMUP = 4

SUITE = """
version = 1
data = "pictures.py:pictures"
seeds = [0, 1, 2]
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet56"
student = "{student}"
student_options = {options}
[methods]
scratch = {{}}
label-smoothing = {{}}
kd = {{}}
dkd = {{}}
rkd = {{}}
sp = {{}}
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 640
lr = 0.01
[recipes.student]
kind = "fast"
epochs = {epochs}
batch_size = 64
lr = 0.01
augment = ["crop", "flip"]
precision = "{precision}"
"""

PICTURES = """
import numpy as np
from kdbench.data.dataset import Dataset, Split

def pictures():
    draw = np.random.default_rng(0)
    def split(count):
        return Split(draw.integers(0, 256, (count, 1, 28, 28), np.uint8), np.arange(count) % 10)
    return Dataset("pictures", split({items}), split(10), split(10), tuple("0123456789"), 255.0, (0.5,), (0.3,))
"""


def pictures() -> Pictures:
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (ITEMS, *SHAPE), np.uint8)
    return Pictures(inputs, np.arange(ITEMS) % 10, 0.5, 0.3, 255.0, augment=True)


def textbook_step(student: str, taught: bool) -> float:
    """Median seconds of a step of the textbook loop, the start of its workers left out."""
    torch.manual_seed(0)
    network = build(student, 10, SHAPE, STUDENTS[student])
    teacher = build("resnet56", 10, SHAPE, {}) if taught else None
    ends = list(steps(network, teacher, pictures(), 1, 0.01))
    return statistics.median(np.diff(ends[WARMUP:]))


def conducted(folder: Path, student: str, precision: str, epochs: int, methods: tuple[str, ...] = ()) -> float:
    """Seconds of conducting a plan's trainings from an empty store."""
    options = "{ " + ", ".join(f"{key} = {value}" for key, value in STUDENTS[student].items()) + " }"
    path = folder / "plan.toml"
    path.write_text(SUITE.format(student=student, options=options, precision=precision, epochs=epochs))
    suite = read_suite(path)
    dataset = suite.pairs[0].data
    ground = Ground({dataset: "0" * 64}, {role: processor() for role in ("teacher", "student")}, {"host": "none"})
    from kdbench.data.named import dataset_named

    ground.data[dataset] = dataset_named(dataset).sha256  # type: ignore[index]
    cases = [case for case in cases_of(suite) if not methods or case.method.label in (*methods, "teacher")]
    networks = [stages_of(case, suite, ground).network for case in cases]
    with tempfile.TemporaryDirectory(dir=folder) as store:
        start = time.perf_counter()
        outcomes = conduct(networks, Store(Path(store)), usable_cores(), lambda _event: None)
        taken = time.perf_counter() - start
    failed = [outcome for outcome in outcomes.values() if not isinstance(outcome, Artefact)]
    assert not failed, failed
    return taken


def plan_step(folder: Path, student: str, precision: str) -> float:
    """Seconds that a step of all the plan's students together takes."""
    one, three = (conducted(folder, student, precision, epochs) for epochs in (1, 3))
    return (three - one) / (2 * ITEMS / BATCH)


def alone_step(student: str, precision: str) -> float:
    """Median seconds of a kd step of kdbench's loop with one student in one process on one thread."""
    draw = np.random.default_rng(0)
    items = Split(draw.integers(0, 256, (ITEMS, *SHAPE), np.uint8), np.arange(ITEMS) % 10)
    data = Dataset(
        "pictures",
        items,
        Split(items.inputs[:10], items.targets[:10]),
        items,
        tuple("0123456789"),
        255.0,
        (0.5,),
        (0.3,),
    )
    recipe = {
        "kind": "fast",
        "epochs": 1,
        "batch_size": BATCH,
        "lr": 0.01,
        "augment": ["crop", "flip"],
        "precision": precision,
    }
    torch.manual_seed(0)
    teacher = build("resnet56", 10, SHAPE, {})
    lesson = Lesson(
        Classification(),
        data,
        lambda: build(student, 10, SHAPE, STUDENTS[student]),
        teacher,
        Recipe.model_validate(recipe),
        0,
    )
    trained = train(lesson, method_from("kd", {}))
    return trained.seconds / trained.steps


def speed(student: str, folder: Path) -> dict:
    plain, taught = textbook_step(student, taught=False), textbook_step(student, taught=True)
    textbook = SEEDS * (CONTROLS * plain + TAUGHT * taught)
    rows = {
        "student": student,
        "textbook step s": plain,
        "textbook kd step s": taught,
        "textbook plan step s": textbook,
    }
    for precision in ("fp32", "bf16"):
        ours, alone = plan_step(folder, student, precision), alone_step(student, precision)
        rows |= {
            f"kdbench plan step s {precision}": ours,
            f"plan ratio {precision}": ours / textbook,
            f"kdbench kd step s {precision}": alone,
            f"alone ratio {precision}": alone / taught,
        }
    return rows


def accuracies(seed: int, epochs: int = 20) -> tuple[float, float]:
    """Test accuracy of a student by the textbook loop and by kdbench's, after equal epochs under one teacher."""
    data, options = digits(), {"width": 8}
    recipe = {"kind": "fast", "epochs": epochs, "batch_size": BATCH, "lr": 0.1, "schedule": "onecycle"}

    def lesson(model: str, how: dict, teacher: torch.nn.Module | None, role: str) -> Lesson:
        return Lesson(
            Classification(),
            data,
            lambda: build(model, 10, data.shape, how),
            teacher,
            Recipe.model_validate(recipe),
            seed,
            role,
        )

    teacher = train(lesson("resnet8", {}, None, "teacher"), method_from("scratch", {})).network
    ours = train(lesson("dscnn", options, teacher, "student"), method_from("kd", {})).network
    torch.manual_seed(seed)
    theirs = build("dscnn", 10, data.shape, options)
    items = Pictures(data.train.inputs, data.train.targets, data.mean[0], data.std[0], data.scale, augment=False)
    for _ in steps(theirs, teacher, items, epochs, 0.1):
        pass
    inputs = Classification().collate(data, torch.from_numpy(data.test.inputs))
    right = [(outputs_of(network, inputs).argmax(1).numpy() == data.test.targets).mean() for network in (theirs, ours)]
    return float(right[0]), float(right[1])


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-training-") as folder:
        (Path(folder) / "pictures.py").write_text(PICTURES.format(items=ITEMS))
        os.chdir(folder)
        rows = [speed(student, Path(folder)) for student in STUDENTS]
        pairs = [accuracies(seed) for seed in range(5)]
    differences = [ours - theirs for theirs, ours in pairs]
    mean, half = statistics.mean(differences), t_half_width(differences)
    here = machine()
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "speed": [
            {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ],
        "accuracy": {
            "textbook": [a for a, _ in pairs],
            "kdbench": [b for _, b in pairs],
            "mean difference": mean,
            "ci": half,
        },
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"resnet56 -> {row['student']}: plan {row['plan ratio fp32']:.2f} of the textbook's time in fp32 "
            f"(claim {CLAIMS[row['student']]:.2f}), {row['plan ratio bf16']:.2f} in bf16; "
            f"one kd student alone {row['alone ratio fp32']:.2f}, {row['alone ratio bf16']:.2f}"
        )
    print(f"digits, {len(pairs)} paired seeds: kdbench - textbook = {100 * mean:+.2f} +- {100 * half:.2f} points")
    return 0 if all(row["plan ratio fp32"] <= CLAIMS[row["student"]] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
