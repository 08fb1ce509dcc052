import hashlib
import zipfile

import pytest

from kdbench.devices.runner import wheel
from kdbench.errors import MeasureError, UsageError


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A wheel of our own, known by its hash, at the place that the user names; pip is not asked."""
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    path = tmp_path / "executorch-9-aarch64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("lib/libexecutorch.so", "include/executorch/a.h", "exir/__init__.py"):
            archive.writestr(f"executorch/{name}", name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(wheel.WHEELS, "9", (path.name, digest))
    monkeypatch.setenv(wheel.VARIABLE, str(path))
    return path


def test_only_headers_and_libraries_are_unpacked_and_only_once(made):
    package = wheel.arm_package("9")
    found = sorted(str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())
    assert found == ["include/executorch/a.h", "lib/libexecutorch.so"]
    made.unlink()
    assert wheel.arm_package("9") == package


def test_a_folder_may_be_named_too(made, monkeypatch):
    monkeypatch.setenv(wheel.VARIABLE, str(made.parent))
    assert (wheel.arm_package("9") / "lib").is_dir()


def test_another_file_than_the_pinned_one_is_refused(made):
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("executorch/lib/more.so", "more")
    with pytest.raises(
        MeasureError, match=r"is not the wheel kdbench knows: sha256 [0-9a-f]{64}, expected [0-9a-f]{64}$"
    ):
        wheel.arm_package("9")
    assert not [path for path in (made.parent / "store/runner").iterdir() if path.suffix != ".lock"]


def test_a_path_to_nothing_is_told(made, monkeypatch):
    monkeypatch.setenv(wheel.VARIABLE, "/nowhere/x.whl")
    with pytest.raises(
        MeasureError, match=r"^no file /nowhere/x.whl \(KDBENCH_AARCH64_WHEEL\); expected executorch-9-"
    ):
        wheel.arm_package("9")


def test_a_version_without_a_wheel_is_told():
    with pytest.raises(UsageError, match=r"^executorch 1.4.0 has no known aarch64 wheel; known: 1.5.1$"):
        wheel.arm_package("1.4.0")
