from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdbench.data.dataset import Split, channel_statistics
from kdbench.data.digits import digits

SHA256 = "c5994317955c902904bfc62aab9281731c4d350a2c054db87cf42c98f8b6b94c"


def test_every_bit_of_the_data_set_is_pinned():
    assert digits().sha256 == SHA256


def test_sizes_shapes_and_values():
    data = digits()
    assert (len(data.train), len(data.validation), len(data.test)) == (1077, 180, 540)
    assert data.shape == (1, 8, 8)
    assert data.labels == tuple("0123456789")
    assert data.train.inputs.max() == data.scale == 16
    assert data.train.targets.dtype == np.int64


def test_the_splits_share_no_item_and_lose_none():
    data = digits()
    items = [item.tobytes() for split in (data.train, data.validation, data.test) for item in split.inputs]
    assert len(set(items)) == len(items) == 1797


def test_every_class_is_split_alike_to_within_two_items():
    data = digits()
    whole = sum(np.bincount(data.split(name).targets, minlength=10) for name in ("train", "validation", "test"))
    for name, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        assert np.abs(np.bincount(data.split(name).targets, minlength=10) - share * whole).max() < 2


def test_items_are_mixed_so_that_a_prefix_holds_every_class():
    assert set(digits().train.targets[:64]) == set(range(10))


def test_the_splits_do_not_follow_from_the_library_s_order(monkeypatch):
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    bunch.images, bunch.target = bunch.images[::-1], bunch.target[::-1]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: bunch)
    assert digits.__wrapped__().sha256 == SHA256


def test_normalisation_is_that_of_the_training_split():
    data = digits()
    values = data.train.inputs / data.scale
    assert data.mean == pytest.approx([values.mean()], abs=1e-6)
    assert data.std == pytest.approx([values.std()], abs=1e-6)


def test_the_hash_sees_labels_items_and_normalisation():
    data = digits()
    turned = Split(data.test.inputs[:, :, ::-1], data.test.targets)
    relabelled = Split(data.test.inputs, data.test.targets[::-1])
    others = [
        replace(data, test=turned),
        replace(data, test=relabelled),
        replace(data, train=data.test, test=data.train),
        replace(data, mean=(0.5,)),
        replace(data, labels=tuple("abcdefghij")),
    ]
    assert len({data.sha256, *(other.sha256 for other in others)}) == 6


def test_statistics_are_per_channel():
    inputs = np.zeros((2, 2, 1, 2), dtype=np.uint8)
    inputs[:, 1] = [[0, 8]]
    assert channel_statistics(inputs, 16.0) == ((0.0, 0.25), (0.0, 0.25))


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros((2, 1, 8, 8), np.float32), np.zeros(2, np.int64), r"inputs are uint8 \[N, C, H, W\], not float32"),
        (np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64), r"not uint8 \(2, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(3, np.int64), r"targets are int64 \[2\], not int64 \(3,\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.uint8), r"not uint8 \(2,\)"),
    ],
)
def test_a_split_of_another_form_is_refused(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Split(inputs, targets)
