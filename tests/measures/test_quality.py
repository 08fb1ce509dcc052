from __future__ import annotations

import numpy as np

from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.measures.quality import Quality, inferiority
from kdbench.tasks.classification import Classification


def of(program: list[int], eager: list[int], targets: list[int], task: object = None) -> dict[str, float | str]:
    evidence = Evidence(
        task=task or Classification(),
        network={},
        program={},
        targets=np.array(targets),
        eager=np.eye(3, dtype=np.float32)[eager],
        outputs=np.eye(3, dtype=np.float32)[program],
        teacher=None,
        speed=None,
        kd_seconds=None,
    )
    return Quality().of(evidence)


def test_every_figure_by_hand():
    # Of five items the program has 2 right and eager 3; they differ on items 0 (eager right) and 4 (both wrong).
    figures = of(program=[1, 1, 2, 0, 0], eager=[0, 1, 2, 0, 1], targets=[0, 1, 2, 1, 2])
    assert figures == {"accuracy": 0.4, "accuracy_eager": 0.6, "accuracy_drop": 0.2, "flips": 0.4}


def test_a_program_that_gains_has_a_negative_drop():
    figures = of(program=[0, 1], eager=[1, 1], targets=[0, 1])
    assert (figures["accuracy_drop"], figures["flips"]) == (-0.5, 0.5)


def test_changed_predictions_may_cancel_in_accuracy():
    figures = of(program=[0, 0], eager=[1, 1], targets=[0, 1])
    assert (figures["accuracy_drop"], figures["flips"]) == (0.0, 1.0)


def test_equal_networks_differ_by_exactly_nothing():
    predictions = [0, 1, 2] * 60
    figures = of(predictions, predictions, [0] * 180)
    assert (figures["accuracy_drop"], figures["flips"]) == (0.0, 0.0)


def test_a_task_with_another_quality_says_so():
    class Recognition(Classification):
        quality = "per"

    figures = of([0], [0], [0], task=Recognition())
    assert set(figures.values()) == {"the task is judged by per, not by accuracy"}


def test_every_metric_is_declared_and_given():
    assert set(of([0], [0], [0])) == set(Quality.metrics) <= set(METRICS)


def told(program, eager, targets, task=None):
    width = np.eye(10, dtype=np.float32)
    outputs, networks = (None if each is None else width[each] for each in (program, eager))
    return inferiority(
        Evidence(task or Classification(), {}, {}, np.array(targets), networks, outputs, None, None, None),
    )


def test_a_program_that_may_be_far_below_its_network_says_by_how_much():
    right = [3] * 1000
    assert told(right, right, right) == ""
    assert told([3] * 996 + [4] * 4, right, right) == ""
    assert told([3] * 970 + [4] * 30, right, right) == (
        "its accuracy may be up to 3.9 points below its network's, more than 2"
    )
    assert told(right, [3] * 970 + [4] * 30, right) == ""
    assert told(right[:50], right[:50], right[:50]).startswith("its accuracy may be up to ")
    assert told(None, right, right) == ""
