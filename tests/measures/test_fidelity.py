from __future__ import annotations

import numpy as np
import pytest

from kdbench.measures.fidelity import Fidelity
from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.tasks.classification import Classification


def evidence(outputs, teacher, targets, task=None) -> Evidence:
    return Evidence(
        task=task or Classification(),
        network={},
        program={},
        targets=np.array(targets),
        eager=np.zeros((len(targets), 2), np.float32),
        outputs=np.log(np.array(outputs, np.float32)),
        teacher=None if teacher is None else np.log(np.array(teacher, np.float32)),
        speed=None,
        kd_seconds=None,
    )


def test_the_program_is_compared_with_the_teacher_and_the_eager_network_is_not_looked_at():
    figures = Fidelity().of(evidence([[0.8, 0.2], [0.8, 0.2]], [[0.6, 0.4], [0.4, 0.6]], [0, 0]))
    assert figures["agreement"] == 0.5
    assert figures["agreement_teacher_wrong"] == 0.0
    first = 0.6 * np.log(0.6 / 0.8) + 0.4 * np.log(0.4 / 0.2)
    second = 0.4 * np.log(0.4 / 0.8) + 0.6 * np.log(0.6 / 0.2)
    assert figures["kl_teacher"] == pytest.approx((first + second) / 2, abs=1e-6)
    assert figures["ece"] == pytest.approx(0.2, abs=1e-6)


def test_a_teacher_that_never_errs_leaves_one_reason():
    figures = Fidelity().of(evidence([[0.8, 0.2]], [[0.6, 0.4]], [0]))
    assert figures["agreement_teacher_wrong"] == "the teacher errs on no test item"
    assert figures["agreement"] == 1.0


def test_a_teacher_s_own_row_has_calibration_and_reasons():
    figures = Fidelity().of(evidence([[0.8, 0.2]], None, [0]))
    assert figures.pop("ece") == pytest.approx(0.2, abs=1e-6)
    assert set(figures.values()) == {"a teacher's own row has no teacher to follow"}


def test_what_a_task_does_not_define_is_a_reason():
    class Quiet(Classification):
        def fidelity(self, outputs, teacher, targets):
            return {"agreement": 0.25}

    figures = Fidelity().of(evidence([[0.8, 0.2]], [[0.6, 0.4]], [0], Quiet()))
    assert figures.pop("agreement") == 0.25
    assert set(figures.values()) == {"the task does not define it"}


def test_every_metric_is_declared_and_given():
    figures = Fidelity().of(evidence([[0.8, 0.2]], [[0.6, 0.4]], [0]))
    assert set(figures) == set(Fidelity.metrics) <= set(METRICS)
