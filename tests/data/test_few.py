import numpy as np
import pytest

from kdbench.data.digits import digits
from kdbench.data.few import few
from kdbench.errors import UsageError
from kdbench.training.stream import stream


def draw(labelled, seed=0):
    return few(digits(), labelled, stream(seed, "student", "labelled"))


def places(dataset):
    every = [item.tobytes() for item in digits().train.inputs]
    return {every.index(item.tobytes()) for item in dataset.train.inputs}


def test_each_class_has_as_many_and_all_else_stays():
    found = draw(3)
    assert np.bincount(found.train.targets).tolist() == [3] * 10
    assert (found.validation, found.test, found.mean) == (digits().validation, digits().test, digits().mean)


def test_labels_stay_with_their_items():
    whole, found = digits().train, draw(2)
    for item, label in zip(found.train.inputs, found.train.targets, strict=True):
        assert label in whole.targets[(whole.inputs == item).all(axis=(1, 2, 3))]


def test_fewer_are_among_more_and_seeds_differ():
    assert places(draw(1)) < places(draw(5)) < places(draw(50))
    assert places(draw(5)) == places(draw(5))
    assert places(draw(5)) != places(draw(5, seed=1))


def test_more_than_there_are_is_one_clear_line():
    with pytest.raises(
        UsageError, match=r"labelled = 200: class '\d' of digits has 1\d\d training items; choose fewer"
    ):
        draw(200)
