"""The embedded data set: scikit-learn's handwritten digits, always at hand and small enough for every test."""

from __future__ import annotations

from functools import cache

import numpy as np

from kdbench.data.dataset import Dataset, Split, channel_statistics
from kdbench.data.splits import VALIDATION, mixed, tenths

_SCALE = 16.0
_TEST = (0, 3, 6)


@cache
def digits() -> Dataset:
    """Handwritten digits 0-9, 8x8 grey: 1077 train, 180 validation, 540 test items.

    Inputs are uint8 [N, 1, 8, 8] with values 0..16. Source: the copy of UCI's "Optical Recognition of Handwritten
    Digits" (Alpaydin and Kaynak 1998) that scikit-learn carries; nothing is downloaded. The splits are stratified and
    follow from the pixels alone, so they depend neither on the library's order nor on its random numbers. Read once a
    process: the arrays are shared and not to be written to.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = np.ascontiguousarray(bunch.images, dtype=np.uint8)[:, None]
    targets = bunch.target.astype(np.int64)
    order = mixed(inputs, targets)
    inputs, targets = inputs[order], targets[order]
    tenth = tenths(targets)
    test, validation = np.isin(tenth, _TEST), np.isin(tenth, VALIDATION)
    train = ~(test | validation)
    mean, std = channel_statistics(inputs[train], _SCALE)
    return Dataset(
        name="digits",
        train=Split(inputs[train], targets[train]),
        validation=Split(inputs[validation], targets[validation]),
        test=Split(inputs[test], targets[test]),
        labels=tuple(str(name) for name in bunch.target_names),
        scale=_SCALE,
        mean=mean,
        std=std,
    )
