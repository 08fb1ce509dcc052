import pytest

from kdbench.devices.cores import CORES, root


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def test_a_root_shows_the_core_the_libraries_and_nothing_of_this_machine(store, tmp_path):
    package = tmp_path / "executorch"
    (package / "lib").mkdir(parents=True)
    (package / "lib" / "libexecutorch.so").touch()
    (tmp_path / "libc").mkdir()
    place = root(CORES["cortex-a76"], tmp_path / "libc", package)
    text = (place / "proc/cpuinfo").read_text()
    assert text.count("processor\t: ") == 1
    assert "CPU implementer\t: 0x41\n" in text
    assert "CPU part\t: 0xd0b\n" in text
    assert (place / "sys/devices/system/cpu/possible").read_text() == "0\n"
    assert (place / "sys/devices/system/cpu/cpu0/cpufreq").is_dir()
    assert (place / "lib").resolve() == tmp_path / "libc"
    assert (place / "kdbench/lib/libexecutorch.so").exists()
    assert root(CORES["cortex-a76"], tmp_path / "libc", package) == place
    assert root(CORES["cortex-a76"], tmp_path, package) != place


def test_each_core_is_told_by_its_part_and_only_newer_ones_have_dot_products():
    assert {name: f"{core.part:x}" for name, core in CORES.items()} == {
        "cortex-a53": "d03",
        "cortex-a55": "d05",
        "cortex-a72": "d08",
        "cortex-a76": "d0b",
        "cortex-x1": "d44",
    }
    dotted = {name for name, core in CORES.items() if "asimddp" in core.features.split()}
    assert dotted == {"cortex-a55", "cortex-a76", "cortex-x1"}


def test_no_core_is_qemus_max_whose_integers_are_wrong():
    assert {core.cpu for core in CORES.values()} == {"cortex-a53", "cortex-a72", "cortex-a76"}
