import gzip
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from made_files import idx, write_fashion_mnist

from kdbench.data.fashion_mnist import LABELS, SOURCE, read
from kdbench.data.source import File
from kdbench.data.stored import Stored
from kdbench.errors import UsageError

small = partial(read, train_items=200, test_items=50)


@pytest.fixture
def made(own):
    return Stored(replace(SOURCE, files=write_fashion_mnist(own / "fashion-mnist")), small)


def test_the_official_test_set_stays_and_a_tenth_of_training_validates(made, own):
    data = made()
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 50)
    assert np.bincount(data.validation.targets).tolist() == [2] * 10
    assert (data.shape, data.scale, data.labels, data.name) == ((1, 28, 28), 255.0, LABELS, "fashion-mnist")
    images = gzip.decompress((own / "fashion-mnist/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert data.test.inputs.tobytes() == images
    assert data.test.targets.tolist() == [i % 10 for i in range(50)]
    values = data.train.inputs / 255
    assert (data.mean, data.std) == (pytest.approx([values.mean()], abs=1e-6), pytest.approx([values.std()], abs=1e-6))


def test_images_keep_their_labels(made, own):
    folder = own / "fashion-mnist"
    images = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = {image.tobytes(): i % 10 for i, image in enumerate(images.reshape(200, 784))}
    for split in (made().train, made().validation):
        assert [labels[item.tobytes()] for item in split.inputs] == split.targets.tolist()


def test_a_label_that_does_not_exist_is_refused(own):
    files = write_fashion_mnist(own / "fashion-mnist")
    bad = own / "fashion-mnist" / files[3].name
    bad.write_bytes(gzip.compress(idx(np.full(50, 10, dtype=np.uint8))))
    with pytest.raises(UsageError, match=r"t10k-labels-idx1-ubyte\.gz holds the label 10, expected 0\.\.9"):
        small([own / "fashion-mnist" / file.name for file in files])


def test_files_of_another_checksum_are_refused_before_they_are_read(made, own):
    path = own / "fashion-mnist/train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(b"else"))
    with pytest.raises(UsageError, match=r"train-labels-idx1-ubyte\.gz: sha256 of what it holds is "):
        made()


def test_the_real_files_are_expected_by_default():
    assert [file.of for file in SOURCE.files] == ["gzip"] * 4
    assert all(len(file.sha256) == 64 and file.url.endswith("/" + file.name) for file in SOURCE.files)
    assert isinstance(SOURCE.files[0], File)
