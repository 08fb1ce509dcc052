"""Verdicts: what is said of a figure, why, and the exit code that it owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kdbench.errors import EXIT_NO_VERDICT, EXIT_OK, EXIT_REGRESSED, worst

if TYPE_CHECKING:
    from collections.abc import Mapping

Word = Literal["ok", "regressed", "improved", "inconclusive", "no-baseline", "incomparable", "noisy"]

EXIT_CODES: Mapping[Word, int] = {
    "ok": EXIT_OK,
    "improved": EXIT_OK,
    "inconclusive": EXIT_OK,
    "regressed": EXIT_REGRESSED,
    "no-baseline": EXIT_NO_VERDICT,
    "incomparable": EXIT_NO_VERDICT,
    "noisy": EXIT_NO_VERDICT,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison says of one metric of one case (of all seeds, if ``case`` says ``s*``), and why."""

    case: str
    metric: str
    verdict: Word
    base: float | None
    new: float | None
    reason: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.case, self.metric) if part != "*")
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every verdict on a new run; ``suspects`` changed between the runs; ``notes`` say what was not judged."""

    suite: str
    base: str
    new: str
    verdicts: tuple[Verdict, ...]
    suspects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code that the verdicts share."""
        return worst([EXIT_CODES[verdict.verdict] for verdict in self.verdicts])

    def count(self, word: Word) -> int:
        """How many verdicts say ``word``."""
        return sum(verdict.verdict == word for verdict in self.verdicts)
