import re
import sys

import pytest

from kdbench.devices.host import Host
from kdbench.devices.runner.build import executorch_folder
from kdbench.devices.runner.runtime import runtime_libraries
from kdbench.measures.memory import Resident, with_program, without_program
from kdbench.spec import Protocol

QUICK = Protocol(memory_processes=2)


def test_what_a_program_adds_is_never_below_nothing_and_unknown_where_a_side_is():
    assert Resident(50, 30, 10).over(Resident(20, 10, 15)) == {
        "peak_rss_bytes": 30.0,
        "rss_anon_bytes": 20.0,
        "rss_file_bytes": 0.0,
    }
    assert Resident(50, None, None).over(Resident(20, 10, 15))["rss_anon_bytes"] is None
    assert Resident(50, 30, 10).over(Resident(20, None, None))["rss_file_bytes"] is None


@pytest.mark.parametrize("kind", ["native", "python"])
def test_memory_of_files_and_of_none_are_told_apart(kind, tiny_program):
    device = Host("host", kind)
    empty = without_program(device, QUICK)
    full = with_program(device, tiny_program.path, "forward", tiny_program.inputs, QUICK)
    for each in (empty, full):
        assert 1 << 16 < each.anonymous < each.peak
        assert 1 << 16 < each.file < each.peak
        # Both are read where the process ends, and hardly less than at its peak.
        assert 0.5 * each.peak < each.anonymous + each.file < 1.1 * each.peak
    added = full.over(empty)
    assert added["rss_anon_bytes"] >= 4096
    assert added["rss_file_bytes"] >= 4096


def names(*calls):
    return [path.name.partition(".")[0] for path in runtime_libraries(calls, executorch_folder())]


def test_a_program_brings_the_libraries_that_it_calls_and_no_others():
    xnnpack = ["libexecutorch", "libexecutorch_backend_xnnpack", "libexecutorch_threadpool"]
    assert names("XnnpackBackend", "executorch_prim::et_copy_index.tensor") == xnnpack
    portable = ["libexecutorch", "libexecutorch_kernels_optimized", "libexecutorch_threadpool"]
    assert names("aten::convolution.out", "aten::relu.out") == portable
    assert names("XnnpackBackend", "quantized_decomposed::quantize_per_tensor.out") == [
        *xnnpack[:2],
        "libexecutorch_kernels_quantized",
        xnnpack[2],
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the names that Linux's linker reads")
@pytest.mark.parametrize("call", ["XnnpackBackend", "aten::relu.out", "quantized_decomposed::add.out"])
def test_the_libraries_need_no_others_of_executorch(call):
    files = runtime_libraries([call], executorch_folder())
    needed = {name.decode() for path in files for name in re.findall(rb"libexecutorch\w*\.so", path.read_bytes())}
    assert {path.name for path in files} == needed


def test_what_is_in_none_of_them_is_named(tmp_path):
    folder = executorch_folder()
    assert runtime_libraries(["aten::relu.out", "OpenvinoBackend"], folder) == (
        "OpenvinoBackend is in none of executorch's own libraries"
    )
    assert runtime_libraries(["mine::relu.out"], folder) == "mine::relu.out is in none of executorch's own libraries"
    assert runtime_libraries(["aten::relu.out"], tmp_path) == "the executorch package lacks some of its libraries"
