"""What a program costs before it runs: bytes to ship, bytes of weights, planned memory, how much is delegated."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from kdbench.measures.measure import Evidence, Figure


class Size:
    """Size of the program's file, of its weights and of its planned memory; delegation and quantisation."""

    metrics: ClassVar[tuple[str, ...]] = (
        "size_bytes",
        "download_bytes",
        "weight_bytes",
        "arena_bytes",
        "delegated",
        "quantized_share",
    )
    needs: ClassVar[tuple[str, ...]] = ("program",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figures of ``program.json``, which were read from the program's own bytes while it was lowered."""
        program = evidence.program
        figures: dict[str, Figure] = {metric: float(program[metric]) for metric in self.metrics[:-1]}
        share = program["quantized_share"]
        figures["quantized_share"] = float(share) if share is not None else _unreadable(program["constants"])
        return figures


def _unreadable(constants: dict[str, int]) -> str:
    return "only the backend can read how its weights are stored" if constants else "the program has no weights"
