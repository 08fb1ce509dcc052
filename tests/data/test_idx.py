import gzip

import numpy as np
import pytest
from made_files import idx, pixels

from kdbench.data.idx import read_idx
from kdbench.errors import UsageError


@pytest.fixture
def file(tmp_path):
    """A function: a gzipped file of these bytes."""

    def write(data):
        (tmp_path / "x.gz").write_bytes(gzip.compress(data))
        return tmp_path / "x.gz"

    return write


def test_an_array_is_read_back(file):
    array = pixels(0, 3, 4, 5)
    found = read_idx(file(idx(array)), (3, 4, 5))
    assert found.dtype == np.uint8
    assert (found == array).all()
    found[0] = 0  # torch warns of arrays that cannot be written to


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x\.gz begins with nothing, expected 00000803: idx, 3 axes"),
        (b"\0\0\x0d\3" + bytes(12), r"x\.gz begins with 00000d03, expected 00000803"),
        (idx(pixels(0, 3, 4)), r"x\.gz begins with 00000802, expected 00000803"),
        (idx(pixels(0, 3, 4, 6)), r"x\.gz is of shape \[3, 4, 6\], expected \[3, 4, 5\]"),
        (idx(pixels(0, 3, 4, 5))[:10], r"x\.gz is of shape \[3, 0, 0\], expected"),
        (idx(pixels(0, 3, 4, 5))[:-1], r"x\.gz holds 59 values, expected 60 of shape \[3, 4, 5\]"),
    ],
    ids=["empty", "floats", "axes", "shape", "head", "cut"],
)
def test_another_form_is_refused(file, data, message):
    with pytest.raises(UsageError, match=message):
        read_idx(file(data), (3, 4, 5))


def test_a_file_that_is_cut_off_or_no_gzip_is_refused(tmp_path):
    whole = gzip.compress(idx(pixels(0, 3, 4, 5)))
    (tmp_path / "x.gz").write_bytes(whole[:40])
    with pytest.raises(UsageError, match=r"x\.gz cannot be read: Compressed file ended before"):
        read_idx(tmp_path / "x.gz", (3, 4, 5))
    (tmp_path / "x.gz").write_bytes(b"<html>")
    with pytest.raises(UsageError, match=r"x\.gz cannot be read: Not a gzipped file"):
        read_idx(tmp_path / "x.gz", (3, 4, 5))
