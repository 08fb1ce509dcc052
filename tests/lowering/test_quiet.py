import logging
import sys
import warnings

import pytest

from kdbench.lowering.quiet import hushed, quiet


def test_known_messages_are_not_logged_and_others_are(caplog):
    logger = logging.getLogger("torchao")
    with quiet():
        logger.warning("Failed to load _C.so: no CUDA")
        logger.warning("something new")
    logger.warning("Failed to load outside")
    assert [record.getMessage() for record in caplog.records] == ["something new", "Failed to load outside"]


def test_known_warnings_are_silent_and_others_are_not():
    with quiet():
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use ...", FutureWarning, stacklevel=1)
        with pytest.raises(FutureWarning, match="something new"):
            warnings.warn("something new", FutureWarning, stacklevel=1)
    with pytest.raises(FutureWarning):
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use ...", FutureWarning, stacklevel=1)


def test_the_runtimes_words_on_cpu_and_threads_are_dropped_and_others_come_through(capsys):
    with hushed():
        print("[threadpool.cpp:66] Resetting threadpool to 1 threads.", file=sys.stderr)
        print("[backend.cpp:1] this matters", file=sys.stderr)
    assert capsys.readouterr().err == "[backend.cpp:1] this matters\n"
    with pytest.raises(ValueError, match="x"), hushed():  # noqa: PT012
        print("before the error", file=sys.stderr)
        raise ValueError("x")
    assert capsys.readouterr().err == "before the error\n"
