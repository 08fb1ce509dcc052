import os

import pytest

from kdbench.devices.tools import CROSS_COMPILER, EMULATOR, lacking, need
from kdbench.errors import MeasureError


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A path with nothing on it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_what_lacks_is_one_line_with_the_debian_packages(bare):
    both = "qemu-aarch64 and aarch64-linux-gnu-g++ are not installed; on Debian: apt-get install qemu-user g++-aarch64-linux-gnu"
    assert lacking(EMULATOR, CROSS_COMPILER) == both
    (bare / "qemu-aarch64").write_text("#!/bin/sh\n")
    os.chmod(bare / "qemu-aarch64", 0o755)
    one = "aarch64-linux-gnu-g++ is not installed; on Debian: apt-get install g++-aarch64-linux-gnu"
    assert lacking(EMULATOR, CROSS_COMPILER) == one
    assert lacking(EMULATOR) == ""
    need(EMULATOR, to="fly")
    with pytest.raises(MeasureError, match=r"^cannot fly: aarch64-linux-gnu-g\+\+ is not installed; on Debian: "):
        need(EMULATOR, CROSS_COMPILER, to="fly")
