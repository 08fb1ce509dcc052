from lowering.conftest import Tiny, items

from kdbench.lowering import portable
from kdbench.lowering.parity import prove
from kdbench.lowering.program import facts_of


def test_nothing_is_delegated_and_the_program_is_the_network():
    network = Tiny(seed=0)
    lowered = portable.FP32.lower(network, items(1)[0])
    parity = prove(lowered, network, items(8, seed=5), portable.FP32)
    assert parity.graph_error < 1e-5
    assert lowered.delegated == 0.0

    facts = facts_of(lowered.buffer)
    assert facts.delegates == {}
    assert facts.operators["aten::convolution.out"] == 3
    assert facts.operators["aten::relu.out"] == 3
    weights = sum(value.numel() * value.element_size() for value in network.parameters())
    statistics = 2 * 8 * 4
    assert facts.constants["float32"] == weights + statistics
    assert facts.quantized_share == 0.0
