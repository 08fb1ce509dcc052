"""Downloads: one file from its official host, checked before it gets its name."""

from __future__ import annotations

import os
import shutil
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError

from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE_S = 30


class DownloadError(Exception):
    """A download failed; the text says why."""


def download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    """Fetch ``url`` to ``path``: whole and approved by ``check``, or not at all.

    Raises:
        DownloadError: the host cannot be reached or breaks off, the file cannot be written, or ``check`` raises.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The address is one of ours, never a suite's or a record's.
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer, scratch.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
            wanted = answer.headers.get("Content-Length")
            if wanted is not None and file.tell() != int(wanted):
                raise DownloadError(f"it broke off after {file.tell()} of {wanted} bytes")
        check(scratch)
        scratch.replace(path)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        why = error.reason if type(error) is URLError else error
        raise DownloadError(" ".join(str(why).split()) or type(error).__name__) from None
    except KdbenchError as error:
        raise DownloadError(str(error).replace(str(scratch), "what came")) from None
    finally:
        with suppress(OSError):
            scratch.unlink()
