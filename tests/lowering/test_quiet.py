import logging
import warnings

import pytest

from kdbench.lowering.quiet import quiet


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
