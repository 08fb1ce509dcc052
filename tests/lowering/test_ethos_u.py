"""Arm's microcontrollers, with and without an NPU. Run where the extra is installed: ``tox -e arm``."""

import dataclasses
import os

import pytest
import torch
from lowering.conftest import Tiny, items
from torch import nn

from kdbench.errors import StageError
from kdbench.lowering import cortex_m, ethos_u
from kdbench.lowering.parity import prove
from kdbench.lowering.program import facts_of
from kdbench.lowering.shipped import ship

pytest.importorskip("tosa_serializer", reason="needs the extra ethos-u")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def npu():
    return ethos_u.U55_128.lower(Tiny(seed=0), items(1)[0], items(32))


def test_vela_compiles_all_but_the_ends_and_estimates_its_cost(npu):
    facts = facts_of(npu.buffer)
    assert facts.delegates == {"EthosUBackend": 1}
    assert {name.rpartition("::")[2] for name in facts.operators} == {
        "quantize_per_tensor.out", "dequantize_per_tensor.out",
    }  # fmt: skip
    assert npu.estimates["npu_cycles"] > 100
    assert npu.estimates["npu_ms"] == pytest.approx(npu.estimates["npu_cycles"] / 500e6 * 1000)
    assert 0 < npu.estimates["npu_sram_bytes"] < 100_000
    assert 0 < npu.estimates["npu_flash_bytes"] < facts.size_bytes


def test_the_reference_model_computes_the_graph_to_the_integer(npu):
    parity = prove(npu, Tiny(seed=0), items(16, seed=3), ethos_u.U55_128)
    assert parity.of == "reference"
    assert parity.graph_steps < 0.5
    wrong = dataclasses.replace(npu, reference=lambda *inputs: npu.reference(*inputs)[0] + 1)
    with pytest.raises(StageError, match="^the program is not its graph"):
        prove(wrong, Tiny(seed=0), items(16, seed=3), ethos_u.U55_128)


def test_the_same_bytes_and_figures_wherever_it_runs(npu, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = ethos_u.U55_128.lower(Tiny(seed=0), items(1)[0], items(32))
    assert again.buffer == npu.buffer
    assert again.estimates == npu.estimates
    assert os.getcwd() == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_the_npu_cannot_take_in_one_piece_is_refused():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.last(self.first(x).sort().values)

    inputs = items(32, shape=(1, 8))
    with pytest.raises(StageError, match=r"^ethos-u55-128: the network falls into \d parts for the NPU, expected 1$"):
        ethos_u.U55_128.lower(Sorted().eval(), inputs[0], inputs)


def test_cortex_m_is_all_cmsis_nn_and_its_stand_in_is_within_rounding():
    shipped = ship(cortex_m.M55, Tiny(seed=0), items(8, seed=2), items(64))
    assert all(name.startswith("cortex_m::") for name in shipped.facts["operators"])
    assert shipped.facts["parity"]["of"] == "reference"
    assert shipped.facts["parity"]["graph_steps"] < 2
    assert shipped.facts["arena_bytes"] > 4 * 8 * 8
    again = ship(cortex_m.M55, Tiny(seed=0), items(8, seed=2), items(64))
    assert again.program == shipped.program


def test_a_stand_in_takes_inputs_that_are_not_contiguous(npu):
    (item,) = items(1, seed=4)[0]
    strided = item.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert torch.equal(npu.reference(strided)[0], npu.reference(item)[0])
