import io

import numpy as np
import psutil
import pytest
from made_files import encoded, pixels
from PIL import Image

from kdbench.data.pictures import Picture, gathered
from kdbench.errors import UsageError


def pictures(items=10, labels=("cat", "dog"), shape=(4, 6, 3), seed=0, form="PNG"):
    return [
        Picture(label, f"{label}{i}", encoded(pixels([seed, i, *label.encode()], *shape), form))
        for label in labels
        for i in range(items)
    ]


def whole(train=None, test=None, side=None, **more):
    splits = {"train": pictures() if train is None else train, "test": pictures(2, seed=1) if test is None else test}
    return gathered("made", "PLACE", {**splits, **more}, side)


def test_pictures_become_arrays_channel_by_channel():
    data = whole()
    assert data.shape == (3, 4, 6)
    assert data.labels == ("cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert (data.test.inputs[3] == pixels([1, 1, *b"dog"], 4, 6, 3).transpose(2, 0, 1)).all()
    assert data.test.targets.tolist() == [0, 0, 1, 1]
    known = {
        pixels([0, i, *label.encode()], 4, 6, 3).tobytes(): k
        for k, label in enumerate(("cat", "dog"))
        for i in range(10)
    }
    assert [known[item.transpose(1, 2, 0).tobytes()] for item in data.train.inputs] == data.train.targets.tolist()


def test_grey_pictures_have_one_channel_and_one_coloured_makes_three():
    grey = {"train": pictures(shape=(4, 6)), "test": pictures(2, shape=(4, 6))}
    assert whole(**grey).shape == (1, 4, 6)
    mixed = whole(grey["train"], [*grey["test"], *pictures(1, shape=(4, 6, 3))])
    assert mixed.shape == (3, 4, 6)
    assert (mixed.train.inputs[:, 0] == mixed.train.inputs[:, 2]).all()
    assert whole(grey["train"], [*pictures(1, shape=(4, 6, 3)), *grey["test"]]).shape == (3, 4, 6)


def test_transparent_pictures_lose_their_transparency_alone():
    array = pixels(0, 4, 6, 4)
    clear = [Picture(p.label, p.where, encoded(array, "PNG")) for p in pictures(1)]
    assert (whole(test=clear).test.inputs[0] == array[:, :, :3].transpose(2, 0, 1)).all()


def test_palettes_with_transparent_entries_are_colour_too():
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=b"\xff\x80")
    data = whole(test=[Picture(p.label, p.where, file.getvalue()) for p in pictures(1)])
    assert data.test.inputs[0, :, 0, 0].tolist() == [10, 20, 30]


def test_a_validation_split_of_one_s_own_is_kept_and_training_is_mixed():
    data = whole(validation=pictures(3, seed=2))
    assert (len(data.train), len(data.validation)) == (20, 6)
    assert (data.validation.inputs[0] == pixels([2, 0, *b"cat"], 4, 6, 3).transpose(2, 0, 1)).all()
    assert data.train.targets.tolist() not in ([0] * 10 + [1] * 10, [1] * 10 + [0] * 10)


def test_a_side_scales_the_middle_of_each():
    array = np.zeros((8, 16, 3), dtype=np.uint8)
    array[:, 4:12] = 200
    wide = [Picture(p.label, p.where, encoded(array, "PNG")) for p in pictures(1)]
    data = whole(test=wide, side=4)
    assert data.shape == (3, 4, 4)
    assert (data.test.inputs[:, :, :, 1:3] == 200).all()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": []}, "PLACE: train has no pictures in class folders"),
        ({"test": pictures(2, ("cat",))}, "PLACE: test has no pictures of class 'dog', which train has"),
        ({"validation": pictures(2, ("cat", "dog", "hen"))}, "PLACE: validation has pictures of class 'hen', which train"),
        ({"train": pictures(2)}, "PLACE: 4 training pictures are too few to hold out a tenth"),
        ({"test": pictures(2, shape=(5, 6, 3))}, "cat0 is 6x5, expected 6x4 as cat0; make all of one size, or name one side"),
        ({"test": [*pictures(2), Picture("dog", "X", b"text")]}, "X is no picture in a"),
        ({"test": [*pictures(2), Picture("dog", "X", encoded(pixels(0, 40, 60, 3), "JPEG")[:900])]}, "X cannot be decoded: "),
        ({"test": [*pictures(2), Picture("dog", "X", encoded(np.zeros((4, 6), np.uint16), "PNG"))]}, "X has pixels of mode 'I"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_refused(splits, message):
    with pytest.raises(UsageError, match=message):
        whole(**splits)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 100})())
    with pytest.raises(UsageError, match=r"PLACE: 24 pictures of 4x6 take 0\.0 GB of memory, 0\.0 GB are free"):
        whole()
