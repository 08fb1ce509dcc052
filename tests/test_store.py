import errno
import json
import os

import pytest

from kdbench.errors import MeasureError
from kdbench.store import Store, content_key, default_store, named

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, text="hello"):
    with store.making("toy", KEY, {"a": 1}, {}) as out:
        (out / "text").write_text(text)
    return store.get("toy", KEY)


def test_what_is_put_is_found(store):
    artefact = put(store)
    assert artefact.path("text").read_text() == "hello"
    assert artefact.spec == {"a": 1}
    assert list(artefact.files) == ["text"]


def test_what_was_never_put_is_none(store):
    assert store.get("toy", KEY) is None


def test_a_broken_block_leaves_nothing(store):
    def breaking():
        with store.making("toy", KEY, {}, {}) as out:
            (out / "text").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaking()
    assert store.get("toy", KEY) is None
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing", "manifest", "manifest-list", "no-manifest"])
def test_a_damaged_artefact_is_removed_not_trusted(store, damage):
    artefact = put(store)
    manifest = artefact.folder / "artefact.json"
    match damage:
        case "changed":
            artefact.path("text").write_text("hellO")
        case "truncated":
            artefact.path("text").write_text("hell")
        case "missing":
            artefact.path("text").unlink()
        case "manifest":
            manifest.write_text("{")
        case "manifest-list":
            manifest.write_text(json.dumps([1]))
        case "no-manifest":
            manifest.unlink()
    assert store.get("toy", KEY) is None
    assert not artefact.folder.exists()
    assert put(store, "again").path("text").read_text() == "again"


def test_a_full_disk_is_one_line(store, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writing():
        with store.making("toy", KEY, {}, {}) as out:
            (out / "text").write_bytes(b"x")
            monkeypatch.setattr("pathlib.Path.write_text", full)

    with pytest.raises(
        MeasureError, match=r"cannot write the store .*: No space left on device; point --store"
    ) as raised:
        writing()
    assert raised.value.exit_code == 3
    assert store.get("toy", KEY) is None


def test_a_store_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(MeasureError, match="cannot write the store .*store"):
        put(Store(tmp_path / "store"))


def test_keys_depend_on_values_not_on_order():
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": [1, 2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"a": float("nan")})


def test_the_default_store_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path))
    assert default_store() == tmp_path
    monkeypatch.delenv("KDBENCH_STORE")
    assert default_store().name == "store"


def test_scratch_of_the_dead_is_swept(store):
    put(store)
    with store.making("toy", KEY, {}, {}) as out:
        here = out.name.split("-")[1]
    scratch = {
        name: store.root / "tmp" / name
        for name in (
            f"toy-{here}-999999999-abc",
            f"toy-{here}-{os.getpid()}-abc",
            "toy-otherhos-999999999-abc",  # of another machine that shares the store: nobody here can tell
            "foo",
            f"toy-{here}-x-y",
            f"toy-{here}-{10**30}-abc",  # more than a process's number can be
        )
    }
    for folder in scratch.values():
        folder.mkdir()
    put(store)
    assert [folder.exists() for folder in scratch.values()] == [False, True, True, True, True, True]


def test_a_program_is_found_by_its_hash(store):
    artefact = put(store)
    assert store.find("toy", "text", artefact.files["text"]) == artefact
    assert store.find("toy", "text", "0" * 64) is None


def test_a_named_store_is_the_default_until_it_is_taken_back(monkeypatch, tmp_path):
    for before in (None, str(tmp_path / "before")):
        if before is None:
            monkeypatch.delenv("KDBENCH_STORE", raising=False)
        else:
            monkeypatch.setenv("KDBENCH_STORE", before)
        take_back = named(tmp_path / "mine")
        assert default_store() == tmp_path / "mine"
        take_back()
        assert os.environ.get("KDBENCH_STORE") == before
