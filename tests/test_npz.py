import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.errors import UsageError
from kdbench.npz import Items, packed_items, read_arrays, smallest, unpacked_items, write_arrays


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], np.uint8),
        ([0, 256], np.uint16),
        ([0, 70_000], np.uint32),
        ([-1, 127], np.int8),
        ([-1, 128], np.int16),
        ([-40_000, 0], np.int32),
        ([0, 2**40], np.int64),
        ([], np.uint8),
    ],
)
def test_smallest_integer_type_that_holds_the_values(values, dtype):
    array = np.array(values, dtype=np.int64)
    small = smallest(array)
    assert small.dtype == dtype
    assert (small == array).all()


def test_equal_arrays_give_equal_bytes_whatever_the_order_and_the_clock(tmp_path, monkeypatch):
    arrays = {"b/1": np.arange(1000, dtype=np.int32), "a": np.ones((3, 2), np.uint8)}
    write_arrays(tmp_path / "one.npz", arrays)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    write_arrays(tmp_path / "two.npz", dict(reversed(arrays.items())))
    os.environ.pop("TZ")
    time.tzset()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = read_arrays(tmp_path / "one.npz")
    assert {name: (a.dtype, a.tolist()) for name, a in read.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.booleans()), max_size=40))
def test_items_survive_packing(pairs):
    item = Items(
        np.array([value for value, _ in pairs], dtype=np.int64), np.array([bit for _, bit in pairs], dtype=np.bool_)
    )
    back = unpacked_items(packed_items({"case/s0": item}))["case/s0"]
    assert back.predictions.tolist() == item.predictions.tolist()
    assert back.correct.tolist() == item.correct.tolist()


def test_correctness_takes_one_bit_an_item():
    packed = packed_items({"c": Items(np.zeros(360, np.int64), np.ones(360, np.bool_))})
    assert packed["c/correct"].nbytes == 45
    assert packed["c/predictions"].nbytes == 360


def test_items_of_other_types_or_lengths_are_refused():
    with pytest.raises(ValueError, match="integers and bools"):
        Items(np.zeros(2), np.ones(2, np.bool_))
    with pytest.raises(ValueError, match="correctness bits"):
        Items(np.zeros(2, np.int64), np.ones(3, np.bool_))


def test_bad_files_are_one_line(tmp_path):
    file = tmp_path / "items.npz"
    with pytest.raises(UsageError, match=r"cannot read .*items\.npz: No such file"):
        read_arrays(file)
    file.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UsageError, match=r"items\.npz is not a file of arrays"):
        read_arrays(file)
    write_arrays(file, {"a": np.arange(4000)})
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"items\.npz is not a file of arrays"):
        read_arrays(file)
    np.savez(file, evil=np.array([object()], dtype=object))
    with pytest.raises(UsageError, match=r"items\.npz is not a file of arrays"):
        read_arrays(file)
    with pytest.raises(UsageError, match="items of a are damaged"):
        unpacked_items({"a/predictions": np.zeros(3, np.uint8)})
