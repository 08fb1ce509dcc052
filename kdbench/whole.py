"""Folders and files written whole or not at all, in the place of an earlier one where there is one."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_folder(to: Path, what: str) -> Iterator[Path]:
    """A scratch folder beside ``to`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        MeasureError: it cannot be written; ``what`` says what it was to be.
    """
    try:
        to.absolute().parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=to.absolute().parent, prefix=f".{to.name}-"))
        try:
            fresh, old = scratch / "new", scratch / "old"
            fresh.mkdir()
            yield fresh
            if replaced := to.exists():
                to.rename(old)
            try:
                fresh.rename(to)
            except OSError:
                if replaced:
                    old.rename(to)
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise MeasureError(f"cannot write the {what} to {to}: {error.strerror or error}") from None


@contextmanager
def whole_file(to: Path, what: str = "") -> Iterator[Path]:
    """A scratch file beside ``to`` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        MeasureError: it cannot be written; ``what`` says what it was to be, where its name does not.
    """
    scratch = to.with_name(f".{to.name}.writing")
    try:
        yield scratch
        scratch.replace(to)
    except OSError as error:
        told = f"the {what} to {to}" if what else str(to)
        raise MeasureError(f"cannot write {told}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
