"""The known noise of ExecuTorch, torchao and torch, silenced by what it says; every other word still comes through."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGED = {
    "torchao": "Failed to load ",  # its CUDA extensions, in every CPU-only installation
    "torch.utils._pytree": "%s is an Enum subclass",  # torchao registers one the old way
    "coremltools": "Failed to load _ML",  # Apple's own libraries, which only macOS has
    "executorch.exir.pass_manager": "PassManager is deprecated",  # ExecuTorch's own passes use it
    # Core ML says of every program that it needs the iOS that the target names.
    "executorch.backends.apple.coreml.compiler.coreml_preprocess": "The model with identifier",
}
_WARNED: tuple[tuple[str, type[Warning]], ...] = (
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),  # torch copies its own tree specs
    (r"(read|open)_(text|binary) is deprecated", DeprecationWarning),  # ExecuTorch reads its resources the old way
    (r"Function _TORCH_OPS_REGISTRY", DeprecationWarning),  # ExecuTorch asks Core ML Tools the old way
    (r"Output Buffer not found", UserWarning),  # times are traced without tensors
    (r"Implicitly cleaning up <TemporaryDirectory", ResourceWarning),  # of Core ML Tools
    (r"This API is experimental and subject to change", Warning),  # ExecuTorch, of its own Python runtime
    (r"`torch.jit.script_method` is deprecated", DeprecationWarning),  # torch, in modules of its own
)

_TOLD = ("[cpuinfo_utils.cpp:", "[threadpool.cpp:", "[OpenvinoBackend.cpp:98]")


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block the messages listed above are not logged and not warned of; every other one still is.

    Both lists hold what importing and running ExecuTorch 1.5.1 and torchao 0.18.0 says of itself on a healthy machine,
    and nothing that a user could act on.
    """
    filters = [(logging.getLogger(name), _Without(start)) for name, start in _LOGGED.items()]
    for logger, known in filters:
        logger.addFilter(known)
    try:
        with warnings.catch_warnings():
            for message, category in _WARNED:
                warnings.filterwarnings("ignore", message=message, category=category)
            yield
    finally:
        for logger, known in filters:
            logger.removeFilter(known)


@contextmanager
def hushed() -> Iterator[None]:
    """Inside the block ExecuTorch's runtime does not tell what it found out of the CPU and its threads.

    Its binding writes to Python's ``sys.stderr``; all else that is written there comes out when the block ends.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    finally:
        print(
            *(line for line in said.getvalue().splitlines(True) if not line.startswith(_TOLD)),
            sep="",
            end="",
            file=sys.stderr,
        )


class _Without(logging.Filter):
    """Lets every record pass but those whose text starts as told."""

    def __init__(self, start: str) -> None:
        super().__init__()
        self.start = start

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self.start)
