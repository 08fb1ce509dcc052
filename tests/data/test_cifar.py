from functools import partial

import numpy as np
import pytest
from made_files import CIFAR10, CIFAR100, cifar_members, sha256, tar_gz

from kdbench.data import cifar
from kdbench.data.source import Source
from kdbench.data.stored import Stored
from kdbench.errors import UsageError


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def layout(request):
    return request.param


@pytest.fixture
def made(own, layout):
    path = tar_gz({"other/readme.html": b"x", **cifar_members(layout)}, own / layout.name / "made.tar.gz")
    source = cifar.source(layout, "made.tar.gz", sha256(path.read_bytes()))
    assert isinstance(source, Source)
    return Stored(source, partial(cifar.read, layout=layout))


def test_splits_shapes_and_labels(made, layout):
    data = made()
    train, classes = len(layout.train) * layout.train_items, layout.classes
    assert (len(data.train), len(data.validation), len(data.test)) == (train * 9 // 10, train // 10, layout.test_items)
    assert np.bincount(data.validation.targets).tolist() == [train // 10 // classes] * classes
    assert (data.shape, data.scale, len(data.mean)) == ((3, 32, 32), 255.0, 3)
    assert data.labels == tuple(f"class_{i}" for i in range(classes))
    assert data.name == layout.name


def test_records_are_labels_then_channels_then_rows(made, layout):
    data = made()
    records = np.frombuffer(cifar_members(layout)[f"{layout.folder}/{layout.test}"], np.uint8)
    records = records.reshape(layout.test_items, -1)
    assert data.test.targets.tolist() == records[:, -3073].tolist()
    channel, row, column = 2, 5, 7
    assert (data.test.inputs[:, channel, row, column] == records[:, -3072 + channel * 1024 + row * 32 + column]).all()
    known = {
        record[-3072:].tobytes(): record[-3073]
        for name in layout.train
        for record in np.frombuffer(cifar_members(layout)[f"{layout.folder}/{name}"], np.uint8).reshape(
            layout.train_items, -1
        )
    }
    assert [known[item.tobytes()] for item in data.train.inputs] == data.train.targets.tolist()


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("test_batch.bin", None, r"made\.tar\.gz lacks cifar-10-batches-bin/test_batch\.bin; expected the official"),
        ("data_batch_3.bin", b"12", r"data_batch_3\.bin has 2 bytes, expected 61460: 20 records of 3073"),
        ("data_batch_1.bin", b"\x0a" * 61460, r"data_batch_1\.bin holds the label 10, expected 0\.\.9"),
        ("batches.meta.txt", b"cat\ndog\n", r"batches\.meta\.txt has 2 class names, expected 10"),
    ],
)
def test_another_form_is_refused(tmp_path, member, data, message):
    members = cifar_members(CIFAR10)
    if data is None:
        del members[f"cifar-10-batches-bin/{member}"]
    else:
        members[f"cifar-10-batches-bin/{member}"] = data
    path = tar_gz(members, tmp_path / "made.tar.gz")
    with pytest.raises(UsageError, match=message):
        cifar.read([path], CIFAR10)


def test_an_archive_that_is_cut_off_or_another_is_refused(tmp_path, own):
    path = tar_gz(cifar_members(CIFAR10), own / "cifar10/cifar-10-binary.tar.gz")
    with pytest.raises(UsageError, match=r"cifar-10-binary\.tar\.gz: sha256 is [0-9a-f]{64}, expected c4a38c50"):
        cifar.cifar10()
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UsageError, match=r"cifar-10-binary\.tar\.gz cannot be read: "):
        cifar.read([path], CIFAR10)


def test_the_official_layouts_are_50000_and_10000_items():
    for layout in (cifar.CIFAR10, cifar.CIFAR100):
        assert (len(layout.train) * layout.train_items, layout.test_items) == (50_000, 10_000)
