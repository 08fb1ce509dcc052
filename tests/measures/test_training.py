from __future__ import annotations

import numpy as np
import pytest

from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.measures.training import Training
from kdbench.tasks.classification import Classification

NETWORK = {"seconds": 1.5, "samples_per_s": 28_720.0, "peak_bytes": 300_000_000, "peak_exact": True, "beside": 0}
PASSES = {
    "student_steps": 51,
    "student_forwards": 3231,
    "teacher_forwards": 1077,
    "own_forwards": 6462,
    "backwards": 6463,
}
TEACHER = np.zeros((1, 10), np.float32)


def of(teacher=TEACHER, kd_seconds: float | None = 2.0, **changed) -> dict[str, float | str]:
    network = NETWORK | PASSES | changed
    return Training().of(Evidence(Classification(), network, {}, None, None, None, teacher, None, kd_seconds))


def test_every_figure():
    timed = {"train_s": 1.5, "train_samples_per_s": 28_720.0, "train_peak_bytes": 3e8, "train_cost": 0.75}
    assert of() == timed | {name: float(count) for name, count in PASSES.items()}
    assert set(of()) == set(Training.metrics)
    assert set(Training.metrics) <= set(METRICS)


@pytest.mark.parametrize(
    ("changed", "metric", "reason"),
    [
        ({"kd_seconds": None}, "train_cost", "no kd of the same pair and seed to relate it to"),
        ({"teacher": None}, "train_cost", "a teacher's own training is not a student's: nothing to relate it to"),
        (
            {"peak_exact": False},
            "train_peak_bytes",
            "this system does not tell the peak of one training from that of its process",
        ),
    ],
)
def test_what_cannot_be_told_is_one_reason_and_the_rest_stays(changed, metric, reason):
    figures = of(**changed)
    assert figures.pop(metric) == reason
    whole = of()
    assert figures == {name: whole[name] for name in figures}


def test_a_network_of_an_older_store_has_no_counts_and_says_so():
    old = NETWORK | {"student_forwards": 3231, "teacher_forwards": 1077, "backwards": 3231}
    figures = Training().of(Evidence(Classification(), old, {}, None, None, None, TEACHER, None, 2.0))
    assert figures["own_forwards"] == figures["student_steps"] == "this network was trained before kdbench counted this"
    assert figures["student_forwards"] == 3231.0
