import logging

from lowering.conftest import Tiny, items

from kdbench.lowering import vulkan
from kdbench.lowering.program import facts_of


def test_it_is_delegated_whole_halves_shrink_and_nothing_is_logged(caplog):
    level = logging.getLogger().level
    network = Tiny(seed=0, width=64)
    whole, half = (target.lower(network, items(1)[0]) for target in (vulkan.FP32, vulkan.FP16))
    for lowered in (whole, half):
        assert lowered.delegated == 1.0
        assert facts_of(lowered.buffer).delegates == {"VulkanBackend": 1}
    assert len(half.buffer) < 0.8 * len(whole.buffer)
    assert vulkan.FP32.lower(network, items(1)[0]).buffer == whole.buffer
    assert logging.getLogger().level == level
    assert not caplog.records
