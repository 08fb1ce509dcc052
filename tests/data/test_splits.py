import numpy as np
from made_files import pixels

from kdbench.data.splits import held_out, mixed, tenths


def test_a_tenth_of_every_class_is_held_out_exactly_where_tens_divide_it():
    targets = np.repeat(np.arange(3), [20, 50, 10])
    train, validation = held_out(pixels(0, 80, 1, 2, 2), targets)
    assert np.bincount(validation.targets).tolist() == [2, 5, 1]
    assert np.bincount(train.targets).tolist() == [18, 45, 9]


def test_classes_of_odd_sizes_are_divided_to_within_one_item():
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(7), [3, 14, 25, 8, 31, 1, 19]))
    dealt = tenths(targets)
    for tenth in range(10):
        found = np.bincount(targets[dealt == tenth], minlength=7)
        assert np.abs(found - np.bincount(targets) / 10).max() < 1


def test_the_split_follows_from_the_items_whatever_their_order():
    inputs, targets = pixels(0, 60, 1, 2, 2), np.arange(60) % 3
    order = np.random.default_rng(1).permutation(60)
    for one, other in zip(held_out(inputs, targets), held_out(inputs[order], targets[order]), strict=True):
        assert (one.inputs == other.inputs).all()
        assert (one.targets == other.targets).all()


def test_equal_items_stand_by_their_labels():
    inputs, targets = np.zeros((4, 1, 1, 1), dtype=np.uint8), np.array([3, 1, 2, 0])
    assert mixed(inputs, targets).tolist() == [3, 1, 2, 0]
    assert mixed(inputs, targets[::-1]).tolist() == [0, 2, 1, 3]
