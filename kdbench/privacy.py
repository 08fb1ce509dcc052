"""What a record must not say: where things lie, who ran it, on which host, from which index."""

from __future__ import annotations

import getpass
import platform
import re
from typing import Any

_PATH = re.compile(
    r"""(?<![\w./~\\-])                      # where a word begins
    (?:file://)?
    (?:~|[A-Za-z]:(?=[\\/]))?[/\\]           # a root, a home or a drive
    (?:[^\s/\\'"<>:;,()\[\]]+[/\\])+         # folders
    (?P<last>[^\s/\\'"<>:;,()\[\]]*)         # what lies in them
    """,
    re.VERBOSE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_ANONYMOUS = {"", "root", "user", "localhost"}
_FREE_TEXT = {"reason", "reasons", "details", "command"}


def names() -> tuple[str, ...]:
    """The user's and the host's names here; those that tell nothing, such as root, are left out."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    host = platform.node()
    return tuple(name for name in dict.fromkeys((user, host, host.partition(".")[0])) if name not in _ANONYMOUS)


def without_paths(text: str) -> str:
    """``text`` with every absolute path cut down to its last part."""
    return _PATH.sub(lambda match: match["last"] or "...", text)


def without_traces(text: str, private: tuple[str, ...]) -> str:
    """``text`` without paths, addresses and the names ``private``: for reasons and command lines."""
    return without_names(without_paths(_URL.sub(_bare, text)), private)


def without_names(text: str, private: tuple[str, ...]) -> str:
    """``text`` without the names ``private``, but for those that tell nothing."""
    for name in private:
        if name not in _ANONYMOUS:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "...", text)
    return text


def cleaned(table: Any, private: tuple[str, ...] | None = None, *, free: bool = False) -> Any:
    """A JSON value in which no string holds an absolute path, and no free text an address or a private name.

    Names are cut only out of what people wrote or programs said (reasons, details, the command): elsewhere a user
    called ``kd`` would lose a method.
    """
    private = names() if private is None else private
    if isinstance(table, str):
        return without_traces(table, private) if free else without_paths(table)
    if isinstance(table, dict):
        return {
            without_paths(key): cleaned(value, private, free=free or key in _FREE_TEXT) for key, value in table.items()
        }
    if isinstance(table, list | tuple):
        return [cleaned(value, private, free=free) for value in table]
    return table


def _bare(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith("file:") else "..."
