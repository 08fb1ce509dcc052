import json
from dataclasses import replace

import numpy as np
import pytest
from made_files import pixels

from kdbench.data.dataset import Dataset, Split
from kdbench.data.kept import kept
from kdbench.data.source import cache_folder


def dataset(seed=0):
    def split(seed):
        return Split(pixels(seed, 6, 1, 2, 2), np.arange(6) % 2)

    return Dataset("made", split(seed), split(seed + 1), split(seed + 2), ("a", "b"), 255.0, (0.5,), (0.25,))


@pytest.fixture
def made(own):
    """A function: the data set kept under a key, and whether it had to be made."""

    def keep(key="k", seed=0, name="made"):
        calls = []
        return kept(name, key, lambda: calls.append(1) or replace(dataset(seed))), bool(calls)

    return keep


def files():
    return sorted((cache_folder() / "decoded").rglob("*.*"))


def test_a_data_set_is_made_once_and_read_back_the_same(made):
    first, new = made()
    again, anew = made()
    assert (new, anew) == (True, False)
    assert again.sha256 == first.sha256
    assert (again.name, again.labels, again.scale, again.mean, again.std) == (
        "made",
        ("a", "b"),
        255.0,
        (0.5,),
        (0.25,),
    )
    assert again.train.inputs.flags.writeable


def test_another_key_makes_it_anew_and_one_copy_is_kept(made):
    made("k")
    assert made("other", seed=9)[1]
    assert len(files()) == 7
    assert made("k")[1]


def test_names_do_not_share_copies(made):
    made()
    assert made(name="made:two", seed=9)[1]
    assert not made()[1]


@pytest.mark.parametrize("name", ["train-inputs.npy", "test-targets.npy", "dataset.json"])
@pytest.mark.parametrize("harm", ["cut", "turned", "gone"])
def test_a_copy_that_is_not_whole_is_made_anew(made, name, harm):
    made()
    [path] = [path for path in files() if path.name == name]
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-3] if harm == "cut" else data.replace(b"0.25", b"0.75")[:-1] + bytes([data[-1] ^ 1]))
    found, new = made()
    assert new
    assert found.sha256 == dataset().sha256
    assert not made()[1]


def test_a_hash_that_is_not_the_copy_s_is_not_believed(made):
    made()
    [path] = [path for path in files() if path.name == "dataset.json"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "mean": [0.6]}))
    assert made()[0].mean == (0.5,)


def test_a_cache_that_cannot_be_written_only_costs_time(made, tmp_path):
    (tmp_path / "store").touch()
    assert made()[1]
    assert made()[1]
