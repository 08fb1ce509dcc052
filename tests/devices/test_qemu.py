"""What needs no qemu: names, what lacks, and what the plugin wrote. What needs it is in test_qemu_runs.py."""

import numpy as np
import pytest

from kdbench.devices.device import Counter
from kdbench.devices.host import Host
from kdbench.devices.job import Job
from kdbench.devices.qemu import qemu, read_counts
from kdbench.errors import MeasureError, StageError, UsageError

NAME = "qemu:cortex-a76+wheel1.5.1"


def test_a_name_is_a_core_and_a_runtime():
    device = qemu(NAME)
    assert (device.name, device.core.name, device.version) == (NAME, "cortex-a76", "1.5.1")
    assert isinstance(device, Counter)
    assert not isinstance(Host("host", "native"), Counter)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("qemu", "device 'qemu': expected qemu:CORE+wheelVERSION such as qemu:cortex-a76+wheel1.5.1"),
        ("qemu:cortex-a76", "device 'qemu:cortex-a76': expected qemu:CORE+wheelVERSION such as qemu:cortex-a76+wheel1.5.1"),
        ("qemu:cortex-a75+wheel1.5.1", "device 'qemu:cortex-a75+wheel1.5.1': unknown core 'cortex-a75'; did you mean 'cortex-a76' or 'cortex-a72' or 'cortex-a55'?"),
        ("qemu:max+wheel1.5.1", "device 'qemu:max+wheel1.5.1': unknown core 'max'; known: cortex-a53, cortex-a55, cortex-a72, cortex-a76, cortex-x1"),
        ("qemu:cortex-x1+wheel1.4.0", "device 'qemu:cortex-x1+wheel1.4.0': unknown runtime 'wheel1.4.0'; known: wheel1.5.1"),
    ],
)  # fmt: skip
def test_another_name_is_one_line(name, line):
    with pytest.raises(UsageError) as caught:
        qemu(name)
    assert str(caught.value) == line


def test_without_its_tools_it_names_the_debian_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MeasureError, match=rf"^cannot use {NAME.replace('+', '.')}: qemu-aarch64 .* qemu-user g\+\+-aarch64"
    ):
        _ = qemu(NAME).runtime


def test_more_than_one_thread_is_not_counted():
    with pytest.raises(UsageError, match=r"instructions are counted with 1 thread, not 2$"):
        qemu(NAME).count(Job((), (), (), threads=2))
    with pytest.raises(UsageError, match=r"instructions are counted with 1 thread, not 2$"):
        qemu(NAME).trace(Job((), (), (), threads=2))


def test_counts_are_a_row_an_execute(tmp_path):
    path = tmp_path / "counts.txt"
    path.write_text("30 20 10 5\n29 20 9 5\n")
    counts = read_counts(path)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[30, 20, 10, 5], [29, 20, 9, 5]]


@pytest.mark.parametrize("text", [None, "", "1 2 3\n", "1 2 3 4\n5 6\n", "a b c d\n"])
def test_what_is_no_count_is_refused(tmp_path, text):
    path = tmp_path / "counts.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StageError, match=r"kdbench's plugin is for qemu 7$"):
        read_counts(path)
