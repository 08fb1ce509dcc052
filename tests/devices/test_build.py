import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kdbench.devices.runner import build
from kdbench.errors import MeasureError, UsageError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "store" / "runner"


@pytest.fixture
def sources(tmp_path):
    """A program of two files that links what the runner links."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "main.cpp").write_text('#include "answer.h"\nint main() { return ANSWER; }\n')
    (folder / "answer.h").write_text("#define ANSWER 42\n")
    return folder


NAMES = ("main.cpp", "answer.h")


def test_a_program_is_built_once_and_anew_when_a_source_changes(cache, sources):
    import subprocess

    first = build.compiled(sources, NAMES, "answer")
    assert first.parent == cache
    assert subprocess.run([str(first)], check=False).returncode == 42
    made = first.stat().st_mtime_ns
    assert build.compiled(sources, NAMES, "answer") == first
    assert first.stat().st_mtime_ns == made
    (sources / "answer.h").write_text("#define ANSWER 43\n")
    second = build.compiled(sources, NAMES, "answer")
    assert second != first
    assert subprocess.run([str(second)], check=False).returncode == 43
    assert {path.suffix for path in cache.iterdir()} <= {"", ".lock"}


def test_another_compiler_is_another_program(cache, sources, monkeypatch, tmp_path):
    first = build.compiled(sources, NAMES, "answer")
    other = tmp_path / "my compiler"
    other.symlink_to(build.find_compiler())
    monkeypatch.setenv("CXX", str(other))
    assert build.compiled(sources, NAMES, "answer") != first


def test_what_the_compiler_refuses_is_told_in_one_line_with_a_log(cache, sources):
    (sources / "answer.h").write_text("#define ANSWER nobody_knows\n")
    with pytest.raises(MeasureError) as caught:
        build.compiled(sources, NAMES, "answer")
    line = str(caught.value)
    assert "\n" not in line
    assert "nobody_knows" in line
    log = Path(line.rpartition("see ")[2])
    assert log.parent == cache
    assert "nobody_knows" in log.read_text()
    assert [path for path in cache.iterdir() if path.suffix not in {".log", ".lock"}] == []


def test_without_a_compiler_it_says_what_to_install(cache, sources, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        MeasureError, match=r"^no C\+\+ compiler 'no-such-compiler' \(from \$CXX\); install g\+\+ or clang"
    ):
        build.compiled(sources, NAMES, "answer")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MeasureError, match=r"^no C\+\+ compiler; install g\+\+ or clang\+\+$"):
        build.compiled(sources, NAMES, "answer")


def test_a_cache_that_cannot_be_written_is_told(sources, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "file"))
    with pytest.raises(MeasureError, match=r"^cannot build the native answer in .*file/runner: Not a directory$"):
        build.compiled(sources, NAMES, "answer")


def test_the_compiler_comes_from_cxx_else_from_the_path(monkeypatch, tmp_path):
    real = build.find_compiler()
    for name in ("g++", "clang++"):
        (tmp_path / name).symlink_to(real)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.find_compiler() == str(tmp_path / "g++")
    monkeypatch.setenv("CXX", "clang++")
    assert build.find_compiler() == str(tmp_path / "clang++")
    monkeypatch.setenv("CXX", str(shutil.which("true", path=os.defpath)))
    assert build.find_compiler() == shutil.which("true", path=os.defpath)


def laid_out(site, version="1.5.1"):
    """A copy of the installed executorch in another place, as far as a runner needs it, with what pip writes of it."""
    package, told = site / "executorch", site / f"executorch-{version}.dist-info"
    package.mkdir(parents=True)
    for part in ("include", "lib"):
        (package / part).symlink_to(build.executorch_folder() / part)
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: executorch\nVersion: {version}\n")
    return site


def test_another_executorch_is_found_in_a_virtual_environment_and_in_site_packages(tmp_path):
    site = laid_out(tmp_path / "lib" / "python3.12" / "site-packages", "1.6.0")
    for folder in (tmp_path, site):
        package = build.executorch_in(folder)
        assert package == site / "executorch"
        assert build.executorch_version(package) == "1.6.0"


def test_a_folder_without_executorch_and_one_without_a_version_are_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"has no executorch with libraries in it; expected a virtual environment or"):
        build.executorch_in(tmp_path)
    site = laid_out(tmp_path)
    shutil.rmtree(site / "executorch-1.5.1.dist-info")
    with pytest.raises(UsageError, match=r"does not say which executorch it has: its dist-info is not there$"):
        build.executorch_version(build.executorch_in(site))


@pytest.mark.slow
def test_a_runner_of_another_executorch_is_another_runner_that_loads_its_libraries(tmp_path):
    package = build.executorch_in(laid_out(tmp_path))
    other = build.runner(package)
    assert other != build.runner()
    loaded = subprocess.run(["ldd", str(other)], capture_output=True, text=True, check=True).stdout
    assert str(package / "lib") in loaded
