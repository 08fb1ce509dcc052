from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.data.digits import digits
from kdbench.tasks.classification import Classification, calibration_error

TASK = Classification()


def logits(*probabilities: list[float]) -> np.ndarray:
    return np.log(np.array(probabilities)).astype(np.float32)


def test_the_output_is_as_wide_as_there_are_labels():
    assert TASK.outputs(digits()) == 10


def test_collation_normalises_by_the_data_set_s_constants():
    data = digits()
    stored = torch.from_numpy(data.train.inputs)
    fed = TASK.collate(data, stored[:, :, :, ::2].transpose(2, 3))
    expected = (data.train.inputs[:, :, :, ::2].swapaxes(2, 3) / 16.0 - data.mean[0]) / data.std[0]
    assert fed.dtype == torch.float32
    assert fed.is_contiguous()
    np.testing.assert_allclose(fed.numpy(), expected, atol=1e-6)
    whole = TASK.collate(data, stored)
    assert abs(float(whole.mean())) < 1e-4
    assert abs(float(whole.std()) - 1) < 1e-3


def test_collation_keeps_channels_apart():
    data = digits()
    splits = {name: data.split(name) for name in ("train", "validation", "test")}
    coloured = {name: replace(split, inputs=np.repeat(split.inputs, 2, axis=1)) for name, split in splits.items()}
    twice = replace(data, **coloured, mean=(0.0, 0.5), std=(1.0, 0.5))
    fed = TASK.collate(twice, torch.full((1, 2, 8, 8), 16, dtype=torch.uint8))
    assert fed[0, 0].unique().item() == 1.0
    assert fed[0, 1].unique().item() == 1.0
    assert TASK.collate(twice, torch.zeros(1, 2, 8, 8, dtype=torch.uint8))[0, :, 0, 0].tolist() == [0.0, -1.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_is_the_mean_cross_entropy_in_nats(smoothing, soft):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 4))
    hard = rng.integers(0, 4, size=5)
    target = rng.dirichlet(np.ones(4), size=5) if soft else np.eye(4)[hard]
    smoothed = (1 - smoothing) * target + smoothing / 4
    expected = 0.0
    for row, wanted in zip(z, smoothed, strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        expected += sum(p * (total - value) for p, value in zip(wanted, row, strict=True)) / 5
    targets = torch.from_numpy(target if soft else hard)
    assert TASK.loss(torch.from_numpy(z), targets, smoothing).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("classes", "dtype"), [(10, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_predictions_are_the_smallest_type_that_holds_every_class(classes, dtype):
    outputs = np.zeros((2, classes), np.float32)
    outputs[0, classes - 1] = 1.0
    predicted = TASK.predictions(outputs)
    assert predicted.dtype == dtype
    assert predicted.tolist() == [classes - 1, 0]


def test_an_item_is_right_if_its_class_is_predicted():
    right = TASK.correct(np.array([3, 1, 2], np.uint8), np.array([3, 2, 2]))
    assert right.dtype == np.bool_
    assert right.tolist() == [True, False, True]


def test_fidelity_by_hand():
    student = logits([0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8])
    teacher = logits([0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6])
    targets = np.array([0, 1, 1, 2])  # The teacher errs on items 1 and 2; the student repeats the second error.
    figures = TASK.fidelity(student, teacher, targets)
    assert figures["agreement"] == 0.75
    assert figures["agreement_teacher_wrong"] == 0.5
    p = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]
    q = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]
    terms = [a * math.log(a / b) for ps, qs in zip(p, q, strict=True) for a, b in zip(ps, qs, strict=True)]
    assert figures["kl_teacher"] == pytest.approx(sum(terms) / 4, abs=1e-6)
    assert figures["ece"] == calibration_error(student, targets)


def test_a_network_agrees_with_itself():
    outputs = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32) * 30
    targets = np.zeros(50, np.int64)
    figures = TASK.fidelity(outputs, outputs, targets)
    assert (figures["agreement"], figures["agreement_teacher_wrong"], figures["kl_teacher"]) == (1.0, 1.0, 0.0)


def test_a_shift_of_all_logits_changes_nothing():
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=(2, 40, 10)).astype(np.float32)
    targets = rng.integers(0, 10, 40)
    moved = TASK.fidelity(student + np.float32(64), teacher - np.float32(64), targets)
    assert moved == pytest.approx(TASK.fidelity(student, teacher, targets), abs=1e-5)


def test_where_the_teacher_never_errs_its_errors_cannot_be_shared():
    outputs = logits([0.9, 0.1], [0.2, 0.8])
    assert TASK.fidelity(outputs, outputs, np.array([0, 1]))["agreement_teacher_wrong"] is None


def test_without_a_teacher_only_calibration_is_defined():
    outputs = logits([0.9, 0.1], [0.2, 0.8])
    figures = TASK.fidelity(outputs, None, np.array([0, 1]))
    assert figures.pop("ece") == pytest.approx(0.15, abs=1e-6)
    assert figures == {"agreement": None, "agreement_teacher_wrong": None, "kl_teacher": None}


def test_calibration_error_by_hand():
    # Confidences 0.61 and 0.65 share the bin (0.6, 0.667]; 0.55, 0.9 and 1.0 have bins of their own.
    outputs = logits([0.61, 0.39], [0.35, 0.65], [0.9, 0.1], [1.0, 1e-30], [0.55, 0.45])
    targets = np.array([0, 0, 1, 0, 0])
    expected = (abs(1 - (0.61 + 0.65)) + abs(0 - 0.9) + abs(1 - 1.0) + abs(1 - 0.55)) / 5
    assert calibration_error(outputs, targets) == pytest.approx(expected, abs=1e-6)
