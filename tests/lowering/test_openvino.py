"""OpenVINO. Run where the extra is installed: ``tox -e openvino``."""

import pytest
from lowering.conftest import Tiny, items

from kdbench.lowering import openvino
from kdbench.lowering.shipped import ship

pytest.importorskip("openvino", reason="needs the extra openvino")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("target", [openvino.FP32, openvino.INT8])
def test_it_is_delegated_whole_and_is_the_network(target):
    calibration = items(64)
    shipped = ship(target, Tiny(seed=0), items(8, seed=2), calibration)
    assert shipped.facts["delegated"] == 1.0
    assert shipped.facts["parity"]["of"] == "program"
