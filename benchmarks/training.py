"""How long a plan of trainings takes, against the textbook loop (``textbook.py``) run once a student.

``python benchmarks/training.py``: the plan is two controls and four taught methods, three seeds, batch 64, crop and mirror, on
60,000 images of 28x28, from resnet56 to resnet20, to a depthwise student of 20,000 parameters that begins at half the
resolution, as that of suite fashion-mnist, and to the same student at full resolution, of which nothing is claimed. On both
sides slices are timed, in turn and on the same machine, and extrapolated to the same number of steps:

- textbook: the seconds of a step with and without a teacher, times the plan's steps, since its runs come one after another;
- kdbench: what conducting the trainings of all the plan's students takes longer when each learns for three epochs of 1,280
  items instead of one: what starts up or is made once is in neither. The teacher is trained before, on neither side's time.
  Cold: nothing but the teacher is in the store. Warm: the plan is there, and the three students of one more method (kd's
  loss again) are trained, against three runs of the textbook's; and the same with mirrors alone, where an item has two views
  and what the teacher says of each is remembered from the second epoch on (slices of two and four epochs).

The four taught methods of kdbench are kd, dkd, rkd and sp; the textbook is charged for four times kd. The claims: at most half
of the textbook's time with resnet20, a third with the small student, fp32, each the median of three rounds. Printed beside them: one student alone, kd with a
teacher, in kdbench's loop on one thread and, where torchdistill is installed, in its loop (``toolbox.py``); and kdbench in
bf16. Last the test accuracy of both loops after equal epochs on digits, twenty paired seeds, with the interval of the
difference, for kdbench in either precision. Exit code 1 if a claim is broken, or kdbench's students shown to be worse. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import textbook
import toolbox
import torch
from textbook import BATCH, Pictures

from kdbench.conduct import conduct
from kdbench.data.dataset import Dataset, Split
from kdbench.data.digits import digits
from kdbench.data.named import dataset_named
from kdbench.machine import libraries, machine, usable_cores
from kdbench.methods.build import method_from
from kdbench.models.network import build
from kdbench.plan import Ground, cases_of, stages_of
from kdbench.spec import Recipe
from kdbench.stats import t_half_width
from kdbench.store import Artefact, Store
from kdbench.suite_file import read_suite
from kdbench.tasks.classification import Classification
from kdbench.training.heap import pages_kept
from kdbench.training.lesson import Lesson
from kdbench.training.loop import outputs_of, train
from kdbench.training.processor import processor

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent
ITEMS = 20 * BATCH
SHAPE = (1, 28, 28)
SMALL = {"width": 40, "growth": 1.9}
CONTROLS, TAUGHT, SEEDS = ("scratch", "label-smoothing"), ("kd", "dkd", "rkd", "sp"), 3
WARMUP = 4
PRECISIONS = ("fp32", "bf16")
CROPPED, MIRRORED = ("crop", "flip"), ("flip",)
PAIRED = 20
"""Seeds by which both loops' accuracies are compared."""
ROUNDS = 3
"""How often what is claimed is measured, both sides in turn; the rest is measured once."""


@dataclass(frozen=True)
class Student:
    """A student by title, its architecture, and the share of the textbook's time that is claimed."""

    title: str
    model: str
    options: dict[str, float]
    claim: float | None

    def build(self) -> torch.nn.Module:
        return build(self.model, 10, SHAPE, self.options)


STUDENTS = (
    Student("resnet20", "resnet20", {}, 1 / 2),
    Student("dscnn, half resolution", "dscnn", {**SMALL, "stride": 2}, 1 / 3),
    Student("dscnn, full resolution", "dscnn", SMALL, None),
)

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
{methods}
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
augment = {augment}
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


def step_seconds(loop: ModuleType, student: Student, taught: bool) -> float:
    """Median seconds of a step of a loop that is not kdbench's, the start of its workers left out."""
    torch.manual_seed(0)
    network = student.build()
    teacher = build("resnet56", 10, SHAPE, {}) if taught else None
    ends = list(loop.steps(network, teacher, pictures(), 1, 0.01))
    return statistics.median(np.diff(ends[WARMUP:]))


def conducted(
    folder: Path, student: Student, precision: str, epochs: int, methods: tuple[str, ...], augment: tuple[str, ...]
) -> float:
    """Seconds of conducting the trainings of all students by these methods, their teacher being in the store."""
    options = "{ " + ", ".join(f"{key} = {value}" for key, value in student.options.items()) + " }"
    path = folder / "plan.toml"
    listed = "\n".join(f"{method} = {{}}" for method in methods)
    filled = {"student": student.model, "options": options, "methods": listed, "augment": json.dumps(augment)}
    path.write_text(SUITE.format(precision=precision, epochs=epochs, **filled))
    suite = read_suite(path)
    data = suite.pairs[0].data
    ground = Ground(
        {data: dataset_named(data).sha256}, dict.fromkeys(("teacher", "student"), processor()), {"host": "none"}
    )
    networks = [(case.is_teacher, stages_of(case, suite, ground).network) for case in cases_of(suite)]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        store = Store(Path(root))
        first = conduct([stage for is_teacher, stage in networks if is_teacher], store, 1, lambda _event: None)
        start = time.perf_counter()
        outcomes = conduct([stage for _, stage in networks], store, usable_cores(), lambda _event: None)
        taken = time.perf_counter() - start
    assert len(outcomes) == len(first) + SEEDS * len(methods), outcomes
    failed = [outcome for outcome in outcomes.values() if not isinstance(outcome, Artefact)]
    assert not failed, failed
    return taken


def plan_step(
    folder: Path,
    student: Student,
    precision: str,
    methods: tuple[str, ...],
    augment: tuple[str, ...] = CROPPED,
    least: int = 1,
) -> float:
    """Seconds that a step of all the methods' students together takes, between ``least`` epochs and two more."""
    less, more = (conducted(folder, student, precision, epochs, methods, augment) for epochs in (least, least + 2))
    return (more - less) / (2 * ITEMS / BATCH)


def alone_step(student: Student, precision: str) -> float:
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
        student.build,
        teacher,
        Recipe.model_validate(recipe),
        0,
    )
    with pages_kept():
        trained = train(lesson, method_from("kd", {}))
    return trained.seconds / trained.steps


def claimed(student: Student, folder: Path) -> dict[str, float]:
    """One round of what is claimed: the textbook's seconds for a step of the plan and kdbench's in fp32."""
    plain, taught = (step_seconds(textbook, student, taught) for taught in (False, True))
    whole = SEEDS * (len(CONTROLS) * plain + len(TAUGHT) * taught)
    ours = plan_step(folder, student, "fp32", CONTROLS + TAUGHT)
    return {
        "textbook step s": plain,
        "textbook kd step s": taught,
        "textbook plan step s": whole,
        "kdbench plan step s fp32": ours,
        "plan ratio fp32": ours / whole,
    }


def speed(student: Student, folder: Path) -> dict:
    rounds = [claimed(student, folder) for _ in range(ROUNDS)]
    middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    whole, taught = middle["textbook plan step s"], middle["textbook kd step s"]
    rows = {
        "student": student.title,
        "parameters": sum(parameter.numel() for parameter in student.build().parameters()),
        "claim": student.claim,
        **middle,
        "plan ratio fp32 of the rounds": [round(each["plan ratio fp32"], 5) for each in rounds],
        "torchdistill kd step s": step_seconds(toolbox, student, taught=True) if toolbox.installed() else None,
        "kdbench plan step s bf16": (bf16 := plan_step(folder, student, "bf16", CONTROLS + TAUGHT)),
        "plan ratio bf16": bf16 / whole,
    }
    for precision in PRECISIONS:
        more, alone = plan_step(folder, student, precision, TAUGHT[:1]), alone_step(student, precision)
        known = plan_step(folder, student, precision, TAUGHT[:1], MIRRORED, least=2)
        rows |= {
            f"kdbench one more method step s {precision}": more,
            f"one more method ratio {precision}": more / (SEEDS * taught),
            f"kdbench one more method, teacher remembered, step s {precision}": known,
            f"one more method, teacher remembered, ratio {precision}": known / (SEEDS * taught),
            f"kdbench kd step s {precision}": alone,
            f"alone ratio {precision}": alone / taught,
        }
    return rows


def accuracies(seed: int, epochs: int = 20) -> dict[str, float]:
    """Test accuracy of a student by the textbook loop and by kdbench's, after equal epochs under one teacher."""
    data, options = digits(), {"width": 8}
    recipe = {"kind": "fast", "epochs": epochs, "batch_size": BATCH, "lr": 0.1, "schedule": "onecycle"}

    def lesson(model: str, how: dict, teacher: torch.nn.Module | None, role: str, precision: str = "fp32") -> Lesson:
        return Lesson(
            Classification(),
            data,
            lambda: build(model, 10, data.shape, how),
            teacher,
            Recipe.model_validate(recipe | {"precision": precision}),
            seed,
            role,
        )

    teacher = train(lesson("resnet8", {}, None, "teacher"), method_from("scratch", {})).network
    networks = {
        f"kdbench {precision}": train(
            lesson("dscnn", options, teacher, "student", precision), method_from("kd", {})
        ).network
        for precision in PRECISIONS
    }
    torch.manual_seed(seed)
    theirs = build("dscnn", 10, data.shape, options)
    items = Pictures(data.train.inputs, data.train.targets, data.mean[0], data.std[0], data.scale, augment=False)
    for _ in textbook.steps(theirs, teacher, items, epochs, 0.1):
        pass
    inputs = Classification().collate(data, torch.from_numpy(data.test.inputs))
    networks["textbook"] = theirs
    return {
        name: float((outputs_of(network, inputs).argmax(1).numpy() == data.test.targets).mean())
        for name, network in networks.items()
    }


def compared(tests: list[dict[str, float]]) -> dict[str, object]:
    """The accuracies of all seeds by loop, and kdbench's minus the textbook's with its interval (95 %, Student's t)."""
    found: dict[str, object] = {name: [test[name] for test in tests] for name in tests[0]}
    for precision in PRECISIONS:
        differences = [test[f"kdbench {precision}"] - test["textbook"] for test in tests]
        found |= {
            f"mean difference {precision}": statistics.mean(differences),
            f"ci {precision}": t_half_width(differences),
        }
    return found


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-training-") as folder:
        (Path(folder) / "pictures.py").write_text(PICTURES.format(items=ITEMS))
        os.chdir(folder)
        rows = [speed(student, Path(folder)) for student in STUDENTS]
        tests = [accuracies(seed) for seed in range(PAIRED)]
    accuracy = compared(tests)
    here = machine()
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "speed": [
            {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ],
        "accuracy": accuracy,
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        claim = "no claim" if row["claim"] is None else f"claim {row['claim']:.2f}"
        box = row["torchdistill kd step s"]
        print(
            f"resnet56 -> {row['student']}: plan {row['plan ratio fp32']:.2f} of the textbook's time in fp32 ({claim}), "
            f"{row['plan ratio bf16']:.2f} in bf16; one more method {row['one more method ratio fp32']:.2f}, "
            f"{row['one more method ratio bf16']:.2f} in bf16, with the teacher remembered "
            f"{row['one more method, teacher remembered, ratio fp32']:.2f}, "
            f"{row['one more method, teacher remembered, ratio bf16']:.2f} in bf16; one kd student alone {row['alone ratio fp32']:.2f}, "
            f"{row['alone ratio bf16']:.2f} in bf16, torchdistill's "
            + ("not installed" if box is None else f"{box / row['textbook kd step s']:.2f}")
        )
    for precision in PRECISIONS:
        mean, half = accuracy[f"mean difference {precision}"], accuracy[f"ci {precision}"]
        print(
            f"digits, {len(tests)} paired seeds: kdbench in {precision} - textbook = "
            f"{100 * mean:+.2f} +- {100 * half:.2f} points"
        )
    fast = all(row["claim"] is None or row["plan ratio fp32"] <= row["claim"] for row in rows)
    worse = any(accuracy[f"mean difference {precision}"] + accuracy[f"ci {precision}"] < 0 for precision in PRECISIONS)
    return 0 if fast and not worse else 1


if __name__ == "__main__":
    sys.exit(main())
