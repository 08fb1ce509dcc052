"""Small files in the formats of real data sets, made up; none holds a real item."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from kdbench.data import cifar
from kdbench.data.source import File

CIFAR10 = replace(cifar.CIFAR10, train_items=20, test_items=30)
CIFAR100 = replace(cifar.CIFAR100, train_items=1000, test_items=100)


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def idx(array):
    head = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def write_fashion_mnist(folder, train=200, test=50):
    """The four files of Fashion-MNIST with fewer items; returns them as the source's."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, array in (
        ("train-images-idx3-ubyte.gz", pixels(0, train, 28, 28)),
        ("train-labels-idx1-ubyte.gz", (np.arange(train) % 10).astype(np.uint8)),
        ("t10k-images-idx3-ubyte.gz", pixels(1, test, 28, 28)),
        ("t10k-labels-idx1-ubyte.gz", (np.arange(test) % 10).astype(np.uint8)),
    ):
        (folder / name).write_bytes(gzip.compress(idx(array), mtime=0))
        files.append(File(name, sha256(idx(array)), of="gzip"))
    return tuple(files)


def cifar_members(layout):
    """The files of an archive: labels in turn, made-up pixels."""
    names = [f"class_{i}" for i in range(layout.classes)]
    members = {layout.names: "\n".join([*names, ""]).encode()}
    for seed, name in enumerate((*layout.train, layout.test)):
        items = layout.test_items if name == layout.test else layout.train_items
        labels = np.zeros((items, layout.label_bytes), dtype=np.uint8)
        labels[:, -1] = np.arange(items) % layout.classes
        members[name] = np.concatenate([labels, pixels(seed, items, 3072)], axis=1).tobytes()
    return {f"{layout.folder}/{name}": data for name, data in members.items()}


def tar_gz(members, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def encoded(array, form="JPEG"):
    """A picture [H, W] or [H, W, 3] as a file's bytes."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


def jpeg_members(train=20, test=4):
    """The files of cifar10-jpeg with fewer items and two classes."""
    return {
        f"{split}/{label}/{i:04}.jpg": encoded(pixels([i, *split.encode(), *label.encode()], 32, 32, 3))
        for split, items in (("train", train), ("test", test))
        for label in ("cat", "dog")
        for i in range(items)
    }


def write_tree(folder, splits=(("train", 10), ("test", 3)), labels=("cat", "dog"), shape=(8, 8, 3), form="png"):
    """A tree of pictures: SPLIT/CLASS/N.FORM."""
    for split, items in splits:
        for label in labels:
            (folder / split / label).mkdir(parents=True)
            for i in range(items):
                array = pixels([i, *split.encode(), *label.encode()], *shape)
                Path(folder / split / label / f"{i}.{form}").write_bytes(encoded(array, form))
    return folder
