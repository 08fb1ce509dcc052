"""What can go wrong, and the exit code each kind of error owns."""

from __future__ import annotations

from typing import ClassVar


class KdbenchError(Exception):
    """One clear line for the user: what is wrong, where, and what would be right."""

    exit_code: ClassVar[int] = 3
    """What the command line exits with."""


class UsageError(KdbenchError):
    """The command, a suite, a file or an option is not what kdbench can work with."""

    exit_code = 2


class MeasureError(KdbenchError):
    """Something could not be trained, lowered, run or written."""

    exit_code = 3


class UnmetError(KdbenchError):
    """Nothing that was measured meets the conditions that were asked for."""

    exit_code = 1


class NoBaselineError(KdbenchError):
    """There is no baseline to judge by."""

    exit_code = 4


class StageError(MeasureError):
    """A stage or a measurement of one case failed; the case becomes a row with this status and reason."""

    def __init__(self, reason: str, *, status: str = "failed") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


EXIT_OK = 0
EXIT_REGRESSED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_NO_VERDICT = 4
EXIT_INTERRUPTED = 130

_PRECEDENCE = (EXIT_USAGE, EXIT_FAILED, EXIT_REGRESSED, EXIT_NO_VERDICT)


def worst(codes: list[int]) -> int:
    """The exit code that several causes share: 2 before 3 before 1 before 4, and 0 without any."""
    return next((code for code in _PRECEDENCE if code in codes), EXIT_OK)
