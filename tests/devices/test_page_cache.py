import mmap
import os
import sys
from pathlib import Path

import psutil
import pytest
from jobs import interleave, timing

from kdbench.devices.host import Host
from kdbench.devices.page_cache import cached_pages, drop
from kdbench.devices.wire import pack_job
from kdbench.errors import StageError, UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux lets go of files")

PAGES = 300


def lives_in_memory(path):
    mounts = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype in ("tmpfs", "ramfs")


@pytest.fixture
def file(tmp_path):
    """A file on a disk."""
    if lives_in_memory(tmp_path):
        pytest.skip("temporary files live in memory here, where they stay")
    path = tmp_path / "file"
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE - 7))
    drop(path)
    return path


def test_a_file_is_dropped_and_comes_back_when_it_is_read(file):
    assert cached_pages(file) == 0
    file.read_bytes()
    assert cached_pages(file) == PAGES
    drop(file)
    assert cached_pages(file) == 0


def test_what_is_not_written_yet_is_dropped_too(file):
    file.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    drop(file)
    assert cached_pages(file) == 0


def test_a_file_that_another_process_holds_is_a_reason(file):
    with file.open("rb") as held, mmap.mmap(held.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert view[0] is not None
        with pytest.raises(StageError, match=r"^cold_cache: \d+ pages of the program stay in the page cache: "):
            drop(file)


def test_an_empty_file_has_no_pages(tmp_path):
    (tmp_path / "empty").touch()
    drop(tmp_path / "empty")


def test_a_system_without_a_way_is_one_line(file, monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise")
    with pytest.raises(UsageError, match=r"^cold_cache: this system cannot take a file out of its page cache"):
        drop(file)


def test_the_host_drops_programs_where_a_job_wants_them_cold(file, tiny_program, monkeypatch):
    dropped = []
    monkeypatch.setattr("kdbench.devices.host.drop", lambda path: dropped.append(path))
    step = interleave("p", runs=2)
    Host("host", "native").run(timing({"p": tiny_program}, step))
    assert dropped == []
    Host("host", "native").run(timing({"p": tiny_program, "q": tiny_program}, interleave("pq", runs=2), cold=True))
    assert dropped == [tiny_program.path]


def test_devices_that_get_copies_refuse_a_cold_job(tiny_program, tmp_path):
    with pytest.raises(UsageError, match=r"^cold_cache: "):
        pack_job(timing({"p": tiny_program}, interleave("p"), cold=True), tmp_path, Path())
