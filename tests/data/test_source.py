import gzip
import re
from pathlib import Path

import pytest
from made_files import jpeg_members, sha256, tar_gz

from kdbench.data.source import File, Source, cache_folder, data_folder
from kdbench.errors import UsageError


def made(**changes):
    return Source(**{"name": "made", "files": (File("a", sha256(b"a")), File("b", sha256(b"b"))), **changes})


def fill(folder, names="ab"):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name)


def offered(folder, name, text):
    """A file as a host offers it."""
    (folder / f"host-{name}").write_text(text)
    return File(name, sha256(name.encode()), url=f"file://{folder}/host-{name}")


def test_the_user_s_folder_comes_first_then_the_system_s_then_the_cache(own, tmp_path):
    source = made(system=tmp_path / "system")
    fill(cache_folder() / "made")
    assert source.paths()[0].parent == cache_folder() / "made"
    assert source.where().said == "downloaded before"
    fill(tmp_path / "system")
    assert source.paths() == (tmp_path / "system/a", tmp_path / "system/b")
    assert source.where().said == f"in {tmp_path}/system"
    fill(own / "made")
    assert source.paths() == (own / "made/a", own / "made/b")
    assert source.where().said == "in $KDBENCH_DATA/made"
    assert source.where().found


def test_a_folder_that_lacks_a_file_is_an_error_and_not_passed_over(own):
    fill(own / "made", "a")
    with pytest.raises(UsageError, match=r"own data/made lacks b; data set 'made' is made of a, b"):
        made().paths()
    assert not made().where().found


def test_files_are_downloaded_once_and_checked(own, tmp_path, capsys):
    source = made(files=(offered(tmp_path, "a", "a"), offered(tmp_path, "b", "b")))
    hint = "let the first use download from None or put a, b into $KDBENCH_DATA/made"
    assert (source.where().found, source.where().hint) == (False, hint)
    assert not cache_folder().exists()
    paths = source.paths()
    assert [path.read_text() for path in paths] == ["a", "b"]
    assert capsys.readouterr().err == "".join(f"downloading file://{tmp_path}/host-{name}\n" for name in "ab")
    for name in "ab":
        (tmp_path / f"host-{name}").unlink()
    assert source.paths() == paths
    assert source.where().found


def test_what_comes_with_another_checksum_is_not_kept(own, tmp_path):
    source = made(files=(offered(tmp_path, "a", "a"), offered(tmp_path, "b", "B")))
    found = rf"host-b cannot be downloaded: what came: sha256 is {sha256(b'B')}, expected {sha256(b'b')}"
    with pytest.raises(UsageError, match=found):
        source.paths()
    assert [path.name for path in (cache_folder() / "made").iterdir()] == ["a"]


def test_an_error_names_every_place_and_way_on_one_line(own, tmp_path, monkeypatch):
    source = made(system=tmp_path / "system", package="Debian's made", files=(offered(tmp_path, "a", "a"),))
    (tmp_path / "host-a").unlink()
    expected = (
        f"data set 'made' is not here: KDBENCH_DATA ({own}) has no folder made; there is no {tmp_path}/system; "
        f"file://{tmp_path}/host-a cannot be downloaded: "
    )
    with pytest.raises(UsageError, match=re.escape(expected)) as raised:
        source.paths()
    assert str(raised.value).endswith("; put a into $KDBENCH_DATA/made or install Debian's made")
    assert "\n" not in str(raised.value)
    monkeypatch.delenv("KDBENCH_DATA")
    with pytest.raises(UsageError, match="is not here: KDBENCH_DATA is not set; there is no"):
        source.paths()


def test_files_that_no_host_offers_are_asked_for(own):
    source = made(otherwise="pack them yourself")
    with pytest.raises(
        UsageError, match=r"has no folder made; put a, b into \$KDBENCH_DATA/made \(pack them yourself\)"
    ):
        source.paths()
    assert source.where().hint == "put a, b into $KDBENCH_DATA/made (pack them yourself)"


def test_kdbench_data_must_be_a_folder(own, monkeypatch):
    assert data_folder() == own
    monkeypatch.setenv("KDBENCH_DATA", str(own / "nowhere"))
    with pytest.raises(UsageError, match=r"KDBENCH_DATA: found '.*nowhere', expected a folder"):
        data_folder()
    monkeypatch.setenv("KDBENCH_DATA", "")
    assert data_folder() is None


def test_the_cache_lies_beside_the_store(own, tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "store/data"
    monkeypatch.delenv("KDBENCH_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache/kdbench/data"


def test_checksums_are_of_the_file_or_of_what_a_gzip_holds(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"held", mtime=1))
    File("x", sha256(path.read_bytes())).check(path)
    held = File("x", sha256(b"held"), of="gzip")
    held.check(path)
    path.write_bytes(gzip.compress(b"held", compresslevel=1, mtime=2))
    held.check(path)
    path.write_bytes(gzip.compress(b"other"))
    with pytest.raises(UsageError, match=rf"x: sha256 of what it holds is {sha256(b'other')}, expected"):
        held.check(path)
    path.write_bytes(gzip.compress(b"held")[:-9])
    with pytest.raises(UsageError, match="x cannot be read: Compressed file ended before"):
        held.check(path)
    with pytest.raises(UsageError, match="nowhere cannot be read: .*No such file"):
        held.check(Path("nowhere"))


def test_a_packing_is_known_by_its_files_whatever_their_order(tmp_path):
    members = jpeg_members(2, 1)
    lines = sorted(f"{name} {sha256(data)}\n" for name, data in members.items())
    file = File("x", sha256("".join(lines).encode()), of="tar")
    file.check(tar_gz(members, tmp_path / "x"))
    file.check(tar_gz({f"./{name}": members[name] for name in reversed(members)}, tmp_path / "x"))
    with pytest.raises(UsageError, match="x: sha256 of its files is "):
        file.check(tar_gz({**members, "train/cat/0000.jpg": b""}, tmp_path / "x"))
