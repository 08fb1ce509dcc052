import re
from importlib.metadata import version
from pathlib import Path

import pytest

from kdbench.doctor import KNOWN_GOOD, KNOWN_PYTHON, examine, folder, library, ready
from kdbench.finding import Finding
from kdbench.session import REFERENCE

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """What the doctor says here; it lowers the reference program in a process of its own."""
    store = tmp_path_factory.mktemp("doctor") / "store"
    found = list(examine(store, store.parent / "results"))
    return {f"{each.topic} {each.name}": each for each in found}, store


def test_this_machine_can_run_digits(findings):
    found, _ = findings
    assert ready(list(found.values()))
    for name in ("software torch", "software runner", "software runtime", "data sets digits", "folders store"):
        assert (found[name].state, found[name].needed) == ("ok", True), found[name]
    assert found["targets xnnpack-int8"].needed
    assert not found["targets portable-fp32"].needed
    assert "XnnpackBackend" in found["software runtime"].said
    assert found["data sets digits"].said == "1077 train, 180 validation, 540 test items"


def test_data_sets_in_files_are_looked_for_and_not_fetched(tmp_path, monkeypatch):
    from kdbench.doctor import SUITE, _datasets
    from kdbench.suite_file import read_suite, suite_path

    own = tmp_path / "own"
    for name in ("pets/train", "pets/test", "cifar10"):
        (own / name).mkdir(parents=True)
    (own / "cifar10/cifar-10-binary.tar.gz").touch()
    monkeypatch.setenv("KDBENCH_DATA", str(own))
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    found = {each.name: each for each in _datasets(read_suite(suite_path(SUITE)))}
    assert (found["cifar10"].state, found["cifar10"].said) == ("ok", "in $KDBENCH_DATA/cifar10")
    assert (found["imagefolder"].state, found["imagefolder"].said) == ("ok", "in $KDBENCH_DATA: pets")
    cifar100 = found["cifar100"]
    assert (cifar100.state, cifar100.said, cifar100.needed) == ("missing", "not here", False)
    assert cifar100.hint.startswith("let the first use download from www.cs.toronto.edu or put cifar-100-binary.tar.gz")
    assert not (tmp_path / "store").exists()
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "nowhere"))
    found = {each.name: each for each in _datasets(read_suite(suite_path(SUITE)))}
    assert (found["cifar10"].state, found["digits"].state) == ("missing", "ok")
    assert "expected a folder" in found["cifar10"].said


def test_the_noise_is_measured_last_and_the_reference_stays_in_the_store(findings):
    found, store = findings
    assert list(found)[-1] == "noise A/A"
    assert re.search(r"^6 processes of one program .* differences under \d+\.\d % cannot be", found["noise A/A"].said)
    assert list((store / REFERENCE.kind).glob("*/*/program.pte"))


def test_a_store_that_cannot_be_written_is_missing(tmp_path):
    (tmp_path / "file").touch()
    found = {each.name: each for each in examine(tmp_path / "file" / "store", tmp_path)}
    assert found["store"].state == "missing"
    assert found["store"].hint == "point --store or KDBENCH_STORE elsewhere"
    assert found["A/A"].state == "missing"
    assert found["A/A"].said.startswith("cannot write the store ")
    assert not ready(list(found.values()))


def test_a_broken_compiler_is_missing_and_none_is_a_warning(tmp_path, monkeypatch):
    from kdbench.doctor import _runners

    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path))
    (tmp_path / "cc").write_text("#!/bin/sh\necho 'cc: error: no headers' >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "cc"))
    compiler, native = _runners()
    assert (compiler.state, native.state, native.needed) == ("ok", "missing", True)
    assert "cc: error: no headers" in native.said
    monkeypatch.setenv("CXX", "no-such-compiler")
    [compiler] = _runners()
    assert (compiler.state, compiler.needed) == ("warn", False)


def test_phones_need_adb_and_the_users_runner(tmp_path, monkeypatch):
    from kdbench.devices.runner.android import VARIABLE
    from kdbench.doctor import _phones

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    found = _phones()
    assert (found.state, found.said) == ("missing", "adb is not installed; on Debian: apt-get install adb")
    (tmp_path / "adb").touch()
    (tmp_path / "adb").chmod(0o755)
    found = _phones()
    assert (found.state, found.needed) == ("missing", False)
    assert found.said.startswith(
        "there is no runner for Android: point KDBENCH_ANDROID_RUNNER at yours; docs/android.md"
    )
    monkeypatch.setenv(VARIABLE, str(tmp_path / "adb"))
    assert (_phones().state, _phones().said) == ("ok", "adb and a runner, adb, are here")


def test_only_what_is_needed_and_missing_makes_it_unfit():
    spare = Finding("targets", "x", "missing", "")
    warned = Finding("software", "y", "warn", "", needed=True)
    assert ready([spare, warned])
    assert not ready([spare, Finding("software", "y", "missing", "", needed=True)])


def test_libraries_are_held_against_the_known_good_set():
    here = version("executorch")
    assert (library("executorch", here).state, library("executorch", "0.1").state) == ("ok", "warn")
    assert library("executorch", "0.1").said == f"{here}; 0.1 is known to be good"
    none = library("no-such-library", "1.0")
    assert (none.state, none.said, none.hint) == ("missing", "not installed", "pip install no-such-library==1.0")


def test_the_known_good_set_is_that_of_the_constraints():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"on Python {KNOWN_PYTHON}" in pins
    for name, good in KNOWN_GOOD.items():
        assert re.search(rf"^{name}=={re.escape(good)}(\+\w+)?$", pins, re.MULTILINE), name


def test_folders(tmp_path):
    assert folder("store", tmp_path / "new" / "er", "--store").said.startswith(f"{tmp_path}/new/er: not there yet, ")
    assert not (tmp_path / "new").exists()
    (tmp_path / "big").write_bytes(bytes(2_500_000))
    found = folder("store", tmp_path, "--store")
    assert found.said.startswith(f"{tmp_path}: 2.5 MB in it, ")
    assert found.state in {"ok", "warn"}


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _place: shutil._ntuple_diskusage(10**10, 10**10 - 10**9, 10**9))
    found = folder("store", tmp_path, "--store or KDBENCH_STORE")
    assert (found.state, found.said) == ("warn", f"{tmp_path}: 0.0 MB in it, 1.0 GB free")
    assert found.hint == "make room, or point --store or KDBENCH_STORE elsewhere"
