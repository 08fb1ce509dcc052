import getpass

import pytest

from kdbench import privacy
from kdbench.privacy import cleaned, names, without_paths, without_traces


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("no file /home/ann/my.py here", "no file my.py here"),
        ("--store=/data/ann/store", "--store=store"),
        ("'/tmp/x/y.pte': bad", "'y.pte': bad"),
        ("/home/ann/my.py:KD2", "my.py:KD2"),
        ("~/mine/x.py", "x.py"),
        (r"C:\Users\ann\x.py", "x.py"),
        ("file:///home/ann/x.py", "x.py"),
        ("in /home/ann/", "in ..."),
        ("digits:resnet8-dscnn/kd/xnnpack-int8/s0/host", "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"),
        ("suites/x.toml and 3/4 and 1 / 2 and a/b/c", "suites/x.toml and 3/4 and 1 / 2 and a/b/c"),
    ],
)
def test_absolute_paths_are_cut_down_to_their_last_part(said, kept):
    assert without_paths(said) == kept


def test_free_text_loses_addresses_and_names():
    said = "pip of https://ann:pw@index.corp/simple failed for ann on box7, not anna or box7-a"
    assert without_traces(said, ("ann", "box7")) == "pip of ... failed for ... on ..., not anna or box7-a"


def test_identities_keep_their_words_where_free_text_does_not():
    table = {
        "method": "kd",
        "reason": "kd broke",
        "reasons": {"/x/y/z": "/a/b/c"},
        "suite": {"use": "/a/b/m.py:KD"},
        "n": 1,
    }
    assert cleaned(table, ("kd",)) == {
        "method": "kd", "reason": "... broke", "reasons": {"z": "c"}, "suite": {"use": "m.py:KD"}, "n": 1,
    }  # fmt: skip


def test_names_are_those_of_the_user_and_the_host(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(privacy.platform, "node", lambda: "box7.corp")
    assert names() == ("ann", "box7.corp", "box7")
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.setattr(privacy.platform, "node", lambda: "localhost")
    assert names() == ()


def test_a_container_without_a_user_has_no_name(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(privacy.platform, "node", lambda: "box7")
    assert names() == ("box7",)
