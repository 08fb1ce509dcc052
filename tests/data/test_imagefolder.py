import pytest
from made_files import encoded, pixels, write_tree

from kdbench.data.imagefolder import imagefolder
from kdbench.errors import UsageError


def test_a_tree_is_a_data_set_by_its_folder_s_name(own):
    write_tree(own / "pets")
    (own / "pets/train/notes.txt").touch()
    (own / "pets/train/cat/.hidden.png").touch()
    (own / "pets/train/cat/notes.txt").touch()
    data = imagefolder("pets")
    assert (data.name, data.labels, data.shape) == ("imagefolder:pets", ("cat", "dog"), (3, 8, 8))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert imagefolder("pets") is data


def test_a_validation_folder_and_a_side(own):
    write_tree(own / "pets", (("train", 4), ("validation", 2), ("test", 1)), shape=(9, 12), form="jpeg")
    data = imagefolder("pets@6")
    assert (data.name, data.shape) == ("imagefolder:pets@6", (1, 6, 6))
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 4, 2)


def test_a_changed_tree_is_read_anew_by_a_new_process(own):
    from kdbench.data import imagefolder as module

    write_tree(own / "pets")
    before = imagefolder("pets").sha256
    module._opened.cache_clear()
    assert imagefolder("pets").sha256 == before
    (own / "pets/test/cat/0.png").write_bytes(encoded(pixels(99, 8, 8, 3), "PNG"))
    module._opened.cache_clear()
    assert imagefolder("pets").sha256 != before


def test_trees_are_listed_without_being_read(own, monkeypatch):
    assert imagefolder.where().said == "no trees in $KDBENCH_DATA"
    for name in ("pets", "flowers"):
        (own / name / "train").mkdir(parents=True)
    (own / "pets/test").mkdir()
    (own / "file").touch()
    found = imagefolder.where()
    assert (found.found, found.said) == (True, "in $KDBENCH_DATA: pets")
    monkeypatch.delenv("KDBENCH_DATA")
    assert (imagefolder.where().found, imagefolder.where().said) == (False, "KDBENCH_DATA is not set")


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("nowhere", r"no folder .*own data/nowhere/train; a tree has train/CLASS/\* and test/CLASS/\*"),
        ("half", r"no folder .*half/test; a tree has"),
        ("empty", r".*empty/test/dog has no pictures; expected files such as \.jpg or \.png"),
        ("lame", r".*lame: test has no pictures of class 'dog', which train has"),
        ("pets@0", r"data set 'imagefolder:pets@0': expected NAME or NAME@SIDE of a tree \$KDBENCH_DATA/NAME"),
        ("../pets", r"data set 'imagefolder:\.\./pets': expected NAME"),
    ],
)
def test_what_is_no_tree_is_refused(own, detail, message):
    write_tree(own / "half", (("train", 10),))
    write_tree(own / "empty", (("train", 10), ("test", 0)), labels=("dog",))
    write_tree(own / "lame", (("train", 10), ("test", 1)))
    (own / "lame/test/dog/0.png").unlink()
    (own / "lame/test/dog").rmdir()
    with pytest.raises(UsageError, match=message):
        imagefolder(detail)


def test_without_kdbench_data_there_are_no_trees(own, monkeypatch):
    monkeypatch.delenv("KDBENCH_DATA")
    with pytest.raises(UsageError, match="data set 'imagefolder:pets': KDBENCH_DATA is not set; it names the folder"):
        imagefolder("pets")
