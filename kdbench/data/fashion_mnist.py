"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): Zalando's articles, 28x28 grey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Dataset, Split, channel_statistics
from kdbench.data.idx import read_idx
from kdbench.data.source import File, Source
from kdbench.data.splits import held_out
from kdbench.data.stored import Stored
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_SCALE = 255.0
_SIDE = 28

LABELS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# Of what the gzip files hold: the official host's and Debian's differ in their gzip heads alone.
SOURCE = Source(
    name="fashion-mnist",
    files=tuple(
        File(name, sha256, of="gzip", url=_HOST + name)
        for name, sha256 in (
            ("train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            ("train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            ("t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            ("t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        )
    ),
    system=Path("/usr/share/datasets/fashion-mnist"),
    package="Debian's dataset-fashion-mnist",
)


def read(paths: Sequence[Path], train_items: int = 60_000, test_items: int = 10_000) -> Dataset:
    """54,000 train, 6,000 validation and the official 10,000 test items, uint8 [N, 1, 28, 28].

    The paths are those of training images and labels, test images and labels.
    """
    parts = []
    for images, labels, items in zip(paths[::2], paths[1::2], (train_items, test_items), strict=True):
        targets = read_idx(labels, (items,)).astype(np.int64)
        if targets.max() >= len(LABELS):
            raise UsageError(f"{labels} holds the label {targets.max()}, expected 0..{len(LABELS) - 1}")
        parts.append((read_idx(images, (items, _SIDE, _SIDE))[:, None], targets))
    train, validation = held_out(*parts[0])
    mean, std = channel_statistics(train.inputs, _SCALE)
    return Dataset("fashion-mnist", train, validation, Split(*parts[1]), LABELS, _SCALE, mean, std)


fashion_mnist = Stored(SOURCE, read)
"""Fashion-MNIST: 10 kinds of clothing, 28x28 grey, 60,000 / 10,000 items (MIT, Zalando)."""
