from types import SimpleNamespace

import numpy as np

from kdbench.rows import _details, _where, differences


def test_answers_of_two_devices_are_compared_to_the_bit():
    here = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], dtype=np.float32)
    assert differences(here, here.copy()) == {"items_differing": 0, "largest_difference": 0.0}
    there = here.copy()
    there[0, 0] = -0.0
    assert differences(there, here) == {"items_differing": 1, "largest_difference": 0.0}
    there[2] += 0.5
    assert differences(there, here) == {"items_differing": 2, "largest_difference": 0.5}


def test_a_device_that_is_another_machine_is_told_in_its_records_alone():
    finished = SimpleNamespace(machines={"ssh:board": {"cpu": "A72", "cores": 4}}, conditions={})
    assert _where(finished, SimpleNamespace(device="ssh:board")) == {"machine": {"cpu": "A72", "cores": 4}}
    assert _where(finished, SimpleNamespace(device="host")) == {}


def test_a_task_that_is_judged_by_another_quality_says_so_in_its_records():
    case = SimpleNamespace(method=SimpleNamespace(use="kd", tuned=None), target="xnnpack-fp32")

    def details(quality):
        known = SimpleNamespace(
            task=SimpleNamespace(quality=quality), targets=np.zeros(7), program={}, outputs=None, eager=None
        )
        return _details(case, SimpleNamespace(stand_in=""), known)

    assert details("map50") == {"test_items": 7, "quality": "map50"}
    assert details("accuracy") == {"test_items": 7}
