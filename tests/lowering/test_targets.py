"""What every registered target says of itself, at no cost."""

import subprocess
import sys

import pytest

from kdbench.catalog import entries
from kdbench.lowering.parity import BOUNDS
from kdbench.lowering.surprise import BITS

TARGETS = {name: entry.load() for name, entry in entries("targets").items()}


def test_plans_and_lists_ask_them_without_torch():
    code = (
        "import sys; from kdbench.catalog import entries\n"
        "for entry in entries('targets').values():\n"
        "  target = entry.load(); target.missing(); target.missing_on('host'); target.stand_in; target.calibrates\n"
        "print([name for name in ('torch', 'executorch', 'coremltools', 'openvino') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.parametrize("name", TARGETS)
def test_it_is_called_as_it_is_registered_and_its_precision_is_known(name):
    target = TARGETS[name]
    assert target.name == name
    assert name.startswith(target.backend)
    assert target.precision in BOUNDS
    assert target.precision in BITS
    assert not (target.stand_in and not target.missing_on("host"))


def test_seven_of_xnnpack_and_the_portable_kernels_run_here_and_the_others_say_what_they_want():
    here = {name for name, target in TARGETS.items() if not target.missing_on("host")}
    assert {name for name in TARGETS if name.startswith(("xnnpack", "portable"))} <= here
    for name in ("coreml-int8", "vulkan-fp16", "cortex-m", "ethos-u55-128"):
        assert TARGETS[name].missing_on("host").startswith("host has no ")


def test_what_an_extra_brings_is_asked_for_by_its_name(monkeypatch):
    for module in ("cortex_m", "ethos_u", "openvino"):
        monkeypatch.setattr(f"kdbench.lowering.{module}.find_spec", lambda _name: None)
    assert TARGETS["cortex-m"].missing().endswith("python -m pip install 'kdbench[ethos-u]'")
    assert TARGETS["ethos-u85-256"].missing().endswith("python -m pip install 'kdbench[ethos-u]'")
    assert TARGETS["openvino-int8"].missing().endswith("python -m pip install 'kdbench[openvino]'")
