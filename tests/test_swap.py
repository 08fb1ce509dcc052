import conftest
import pytest

from kdbench.devices.host import host
from kdbench.errors import UsageError
from kdbench.swap import UNSEEN, swap


@pytest.fixture(scope="module")
def wide_program(tiny_folder):
    from kdbench.lowering.xnnpack import FP32

    return conftest.lower_tiny(FP32, 0, tiny_folder / "wide fp32.pte", width=48)


def the(comparison, metric):
    (verdict,) = [verdict for verdict in comparison.verdicts if verdict.metric == metric]
    return verdict


def test_other_weights_in_one_structure_are_judged_by_bytes_and_not_run(tiny_program, other_program):
    found = swap(tiny_program.path, other_program.path)
    assert [verdict.metric for verdict in found.verdicts] == [
        "size_bytes", "download_bytes", "weight_bytes", "arena_bytes", "delegated", "quantized_share", "macs",
        "operators",
    ]  # fmt: skip
    assert {verdict.case for verdict in found.verdicts} == {"other fp32.pte"}
    assert {v.verdict for v in found.verdicts if v.metric != "download_bytes"} == {"ok"}
    assert the(found, "size_bytes").base == tiny_program.path.stat().st_size
    assert found.notes[0].startswith("speed and memory need no judging: the two have one structure, both on the exec")
    assert found.notes[1] == UNSEEN
    assert (found.base, found.new) == (str(tiny_program.path), str(other_program.path))


def test_a_larger_and_slower_program_is_regressed_by_each_figure(tiny_program, wide_program):
    found = swap(tiny_program.path, wide_program.path)
    words = {verdict.metric: verdict.verdict for verdict in found.verdicts}
    assert {"size_bytes", "download_bytes", "weight_bytes", "macs", "latency_ms"} <= {
        name for name, word in words.items() if word == "regressed"
    }
    assert "peak_rss_bytes" in words
    assert the(found, "latency_ms").new > the(found, "latency_ms").base > 0
    assert found.exit_code == 1
    assert found.notes[0] == ("the programs were run on host, both on the executorch that is installed")


def test_operators_that_leave_the_delegate_are_named(tiny_program, portable_program):
    found = swap(tiny_program.path, portable_program.path, effect=None)
    assert (the(found, "delegated").verdict, the(found, "delegated").new) == ("regressed", 0.0)
    operators = the(found, "operators")
    assert (operators.verdict, operators.base) == ("regressed", 0)
    assert operators.reason.startswith(f"outside delegates 0 -> {operators.new}: +")
    assert "+2 aten::convolution.out" in operators.reason
    assert found.notes == (
        "speed and memory are not judged", UNSEEN, f"MACs are not judged: the bytes of {portable_program.path} do not say them",
    )  # fmt: skip
    back = the(swap(portable_program.path, tiny_program.path, effect=None), "operators")
    assert (back.verdict, "-2 aten::convolution.out" in back.reason) == ("improved", True)


def test_growth_within_its_allowance_is_ok(tiny_program, wide_program):
    found = swap(tiny_program.path, wide_program.path, {"size_bytes": 100.0}, effect=None)
    assert the(found, "size_bytes").verdict == "ok"
    assert the(found, "weight_bytes").verdict == "regressed"


def test_what_only_a_backend_can_read_and_what_does_not_run_is_incomparable(tiny_program, broken_program):
    found = swap(tiny_program.path, broken_program.path)
    for metric in ("delegated", "quantized_share"):
        assert (the(found, metric).verdict, the(found, metric).reason) == (
            "incomparable", "the bytes of the new program do not say it",
        )  # fmt: skip
    for metric, what in (("latency_ms", "speed"), ("peak_rss_bytes", "memory")):
        assert the(found, metric).verdict == "incomparable"
        assert the(found, metric).reason.startswith(f"{what} not judged: ")
    assert found.count("incomparable") == 4


def test_programs_of_other_inputs_cannot_be_run_side_by_side(tiny_program, tmp_path):
    import torch
    from torch import nn

    from kdbench.lowering.xnnpack import FP32

    path = tmp_path / "linear.pte"
    path.write_bytes(FP32.lower(nn.Linear(8, 4).eval(), (torch.ones(1, 8),)).buffer)
    comparison = swap(tiny_program.path, path)
    assert comparison.notes == (UNSEEN,)
    found = the(comparison, "latency_ms")
    assert found.verdict == "incomparable"
    assert found.reason == "speed not judged: it takes other inputs than the base's program"


def test_a_device_that_counts_is_refused(tiny_program, other_program):
    with pytest.raises(UsageError, match=r"^device 'qemu:.*cannot say how long.*; kdbench measure counts$"):
        swap(tiny_program.path, other_program.path, device="qemu:cortex-a76+wheel1.5.1")


class Elsewhere:
    """The host, as if another executorch ran programs there."""

    name, runtime = "host", "native executorch-1.4.0"

    def run(self, job):
        return host().run(job)


def test_another_runtime_of_the_base_runs_what_is_the_same_file_too(tiny_program):
    found = swap(tiny_program.path, tiny_program.path, effect=0.5, runtime=Elsewhere())
    latency = the(found, "latency_ms")
    assert "side by side" not in latency.reason
    assert f" in turns, base on native executorch-1.4.0, new on {host().runtime} (95 % interval " in latency.reason
    assert " rounds of three processes; " in latency.reason
    assert latency.base > 0
    assert (the(found, "peak_rss_bytes").verdict, the(found, "peak_rss_bytes").new > 0) == ("inconclusive", True)
    assert found.notes[0] == (
        "the programs were run on host, base's by native executorch-1.4.0, new ones by the executorch that is installed, "
        "processes taking turns"
    )


def test_another_runtime_serves_one_machine_alone(tiny_program, other_program):
    with pytest.raises(UsageError, match=r"^the base's own executorch runs programs on host, not on ssh:board$"):
        swap(tiny_program.path, other_program.path, device="ssh:board", runtime=Elsewhere())
