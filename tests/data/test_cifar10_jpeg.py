from dataclasses import replace

import pytest
from made_files import jpeg_members, sha256, tar_gz

from kdbench.data.cifar10_jpeg import SOURCE, cifar10_jpeg, read
from kdbench.data.source import File
from kdbench.data.stored import Stored
from kdbench.errors import UsageError


def test_the_archive_is_decoded_once_for_later_processes(own, monkeypatch):
    from kdbench.data import stored

    members = jpeg_members()
    digest = sha256("".join(sorted(f"{name} {sha256(data)}\n" for name, data in members.items())).encode())
    tar_gz(members, own / "cifar10-jpeg/cifar10-jpeg.tar.gz")
    made = Stored(replace(SOURCE, files=(File("cifar10-jpeg.tar.gz", digest, of="tar"),)), read, libraries=("pillow",))
    data = made()
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 8)
    assert (data.name, data.shape, data.labels, data.scale) == ("cifar10-jpeg", (3, 32, 32), ("cat", "dog"), 255.0)
    stored._opened.cache_clear()
    monkeypatch.setattr(File, "check", None)
    assert made().sha256 == data.sha256


def test_the_order_in_the_archive_does_not_matter(tmp_path):
    members = jpeg_members()
    one = read([tar_gz(members, tmp_path / "x")])
    other = read([tar_gz({f"./{name}": members[name] for name in reversed(members)}, tmp_path / "x")])
    assert one.sha256 == other.sha256
    assert one.test.targets.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("name", ["valid/cat/0.jpg", "train/0.jpg", "train/cat/a/0.jpg", "train/cat/readme"])
def test_an_archive_of_something_else_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=rf"x holds '{name}', expected train/CLASS/NNNN\.jpg and test"):
        read([tar_gz({**jpeg_members(), name: b""}, tmp_path / "x")])


def test_a_picture_that_is_damaged_is_named(tmp_path):
    members = jpeg_members()
    members["train/dog/0007.jpg"] = members["train/dog/0007.jpg"][:300]
    with pytest.raises(UsageError, match=r"x: train/dog/0007\.jpg cannot be decoded: "):
        read([tar_gz(members, tmp_path / "x")])


def test_a_packing_of_other_pictures_is_refused(own):
    tar_gz(jpeg_members(), own / "cifar10-jpeg/cifar10-jpeg.tar.gz")
    with pytest.raises(UsageError, match=r"cifar10-jpeg\.tar\.gz: sha256 of its files is .*, expected bad7b27d"):
        cifar10_jpeg()
