"""Compute: how large the deployed network is, what an inference multiplies, and what an NPU's compiler makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdbench.measures.measure import Evidence, Figure


class Compute:
    """Parameters and multiply-accumulates of the deployed network, counted where it was trained; an NPU's estimates."""

    counts: ClassVar[tuple[str, ...]] = ("params", "macs")
    estimates: ClassVar[tuple[str, ...]] = ("npu_cycles", "npu_ms", "npu_sram_bytes", "npu_flash_bytes")
    metrics: ClassVar[tuple[str, ...]] = (*counts, *estimates)
    needs: ClassVar[tuple[str, ...]] = ("network",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """Both counts from ``network.json``, and what the target's compiler estimated from ``program.json``."""
        counts = {metric: float(evidence.network[metric]) for metric in self.counts}
        known = evidence.program.get("estimates", {})
        return counts | {metric: known.get(metric, "the target is no NPU") for metric in self.estimates}


def count_params(network: nn.Module) -> int:
    """The number of parameters; a shared one counts once, buffers such as running statistics do not count."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, *example: Tensor) -> int:
    """The multiply-accumulates of one forward of ``example`` [1, ...] in eval mode: convolutions and matrix products.

    Half of what ``torch.utils.flop_counter`` counts; positions that only see padding count too, as is usual. Norms,
    activations, additions and pooling do not count. The modes of all modules are left as they were.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    modes = [(module, module.training) for module in network.modules()]
    counter = FlopCounterMode(display=False)
    try:
        network.eval()
        with torch.no_grad(), counter:
            network(*example)
    finally:
        for module, mode in modes:
            module.training = mode
    return int(counter.get_total_flops()) // 2
