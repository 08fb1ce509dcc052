"""Any module measured from Python: figures by metric id, proved, and refused in one line."""

import pytest
import torch
from torch import nn

import kdbench as package
from kdbench.errors import MeasureError, StageError, UsageError
from kdbench.spec import Protocol

SHORT = Protocol(
    processes=1, warmup_runs=1, warmup_seconds=0, min_runs=50, min_seconds=0, block_ms=0.02, memory_processes=1
)
EXAMPLE = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_STORE", str(tmp_path_factory.mktemp("store")))
        yield


def convolution():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()


class Sum(nn.Module):
    def forward(self, a, b):
        return a @ b + a


@pytest.fixture(scope="module")
def measured(kdbench):
    return kdbench.measure(convolution(), EXAMPLE, target="xnnpack-fp32", protocol=SHORT)


def test_figures_are_attributes_and_items(measured):
    assert measured.size_bytes == measured["size_bytes"] == len(measured.program)
    assert measured.params == 3 * 4 * 9 + 4 + 256 * 5 + 5
    assert measured.macs == 3 * 4 * 9 * 64 + 256 * 5
    assert 0 < measured.latency_ms <= measured.latency_p90_ms
    assert measured.latency_ms == pytest.approx(measured.speed.process_medians_ms[0])
    assert 0 < measured.latency_ref < 1
    assert measured.delegated == 1
    assert measured.facts["parity"]["items"] == 1


def test_a_figure_that_is_not_there_says_why(measured):
    assert measured.metrics["latency_p99_ms"] is None
    with pytest.raises(MeasureError, match=r"no latency_p99_ms of xnnpack-fp32 on host: needs 1,000 samples"):
        _ = measured.latency_p99_ms
    with pytest.raises(AttributeError, match="did you mean 'latency_ms'"):
        _ = measured.latency
    with pytest.raises(KeyError):
        _ = measured["accuracy"]


def test_integers_need_calibration():
    with pytest.raises(UsageError, match=r"xnnpack-int8 needs calibration=\[...\]: inputs like the example"):
        package.measure(convolution(), EXAMPLE, target="xnnpack-int8")


def test_integers_with_calibration(measured):
    items = [EXAMPLE * (i + 1) / 32 for i in range(32)]
    smaller = package.measure(convolution(), EXAMPLE, "xnnpack-int8", protocol=SHORT, calibration=items)
    assert smaller.weight_bytes < measured.weight_bytes
    assert smaller.quantized_share > 0.5
    assert smaller.facts["parity"]["items"] == 33


def test_several_inputs():
    square = torch.eye(4) + 0.5
    m = package.measure(Sum().eval(), (square, square.clone()), target="portable-fp32", protocol=SHORT)
    assert m.macs == 4**3
    assert m.params == 0


@pytest.mark.parametrize(
    ("arguments", "error", "line"),
    [
        ({"target": "xnnpack-fp23"}, UsageError, "unknown target 'xnnpack-fp23'; did you mean 'xnnpack-fp32'"),
        ({"device": "hots"}, UsageError, "unknown device 'hots'; did you mean 'host'?"),
        ({"model": convolution().train()}, UsageError, r"Sequential is in training mode; call .eval\(\)"),
        ({"example": torch.zeros(1, 2, 8, 8)}, StageError, "xnnpack-fp32: export failed: "),
        ({"example": torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16)}, StageError, "xnnpack-fp32: export failed: "),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, error, line):
    given = {"model": convolution(), "example": EXAMPLE, "protocol": SHORT} | arguments
    with pytest.raises(error, match=line) as raised:
        package.measure(**given)
    assert len(str(raised.value).splitlines()) == 1
