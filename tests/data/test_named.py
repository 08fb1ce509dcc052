import pytest
from made_files import write_tree

from kdbench.data.digits import digits
from kdbench.data.named import dataset_named
from kdbench.errors import UsageError


def test_a_name_a_kind_with_a_name_and_a_file(own, tmp_path, monkeypatch):
    assert dataset_named("digits") is digits()
    write_tree(own / "pets")
    assert dataset_named("imagefolder:pets").labels == ("cat", "dog")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from kdbench.data.digits import digits as mine\n")
    assert dataset_named("mine.py:mine") is digits()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "unknown data set 'digit'; did you mean 'digits'?"),
        ("digits:x", "data set 'digits:x': 'digits' is one data set; nothing stands after a colon"),
        ("imagefolder", r"data set 'imagefolder': after a colon, expected NAME or NAME@SIDE of a tree"),
        ("nowhere.py:x", "no file 'nowhere.py' for data set"),
    ],
)
def test_other_names_are_refused(own, name, message):
    with pytest.raises(UsageError, match=message):
        dataset_named(name)
