import numpy as np
import pytest

from kdbench import growth
from kdbench.devices.host import host
from kdbench.errors import StageError
from kdbench.growth import APART, LEAST, PROCESSES, growth_of, growths
from kdbench.measures.duel import Duellists
from kdbench.measures.memory import Resident
from kdbench.spec import Protocol

MB = 1_000_000


@pytest.mark.parametrize(
    ("base", "new", "said"),
    [
        (MB, MB + LEAST, "ok"),
        (MB, MB + LEAST + 1, "regressed"),
        (100 * MB, 102 * MB, "ok"),
        (100 * MB, 102 * MB + 1, "regressed"),
        (100 * MB, 98 * MB - 1, "improved"),
        (0, 0, "ok"),
    ],
)
def test_what_counts_is_the_larger_of_a_share_and_a_few_pages(base, new, said):
    assert growth_of(base, new).verdict == said


def test_the_reason_says_both_peaks_and_what_counts():
    assert growth_of(100 * MB, 150 * MB).reason == (
        "100.00 MB -> 150.00 MB (+50.00%), each the least of 5 processes; 2.00 MB counts"
    )


def test_sides_alternate_and_the_least_of_their_processes_stands_for_them(monkeypatch, tmp_path):
    asked, disturbed = [], iter(range(2 * PROCESSES, 0, -1))

    def loaded(device, path, _method, _inputs, protocol):
        asked.append((device, path.name))
        assert (protocol.memory_processes, protocol.threads, protocol.timeout_seconds) == (1, 2, 7.0)
        return Resident(len(device) + MB + next(disturbed), None, None)

    def empty(device, protocol):
        assert (protocol.memory_processes, protocol.threads, protocol.timeout_seconds) == (PROCESSES, 2, 7.0)
        return Resident(len(device), None, None)

    monkeypatch.setattr(growth, "with_program", loaded)
    monkeypatch.setattr(growth, "without_program", empty)
    duel = Duellists(tmp_path / "base", tmp_path / "new", ())
    found = growths("here", "there", {"it": duel}, Protocol(threads=2, timeout_seconds=7.0))["it"]
    assert asked == [("here", "base"), ("there", "new")] * PROCESSES
    assert (found.base_bytes, found.new_bytes) == (MB + 2, MB + 1)
    assert (found.verdict, found.reason.endswith(f"; {APART}")) == ("inconclusive", True)  # here and there are two


def test_a_program_that_takes_more_is_seen_and_one_of_other_weights_is_not(tmp_path, tiny_program, other_program):
    import torch
    from torch import nn

    from kdbench.lowering.xnnpack import FP32

    path = tmp_path / "large.pte"
    large = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Flatten(), nn.Linear(4096, 1024), nn.Linear(1024, 4)).eval()
    path.write_bytes(FP32.lower(large, (torch.ones(1, 3, 8, 8),)).buffer)
    duels = {
        "large": Duellists(tiny_program.path, path, tiny_program.inputs),
        "other": Duellists(tiny_program.path, other_program.path, tiny_program.inputs),
    }
    found = growths(host(), host(), duels, Protocol())
    assert {name: one.verdict for name, one in found.items()} == {"large": "regressed", "other": "ok"}
    assert found["large"].new_bytes - found["large"].base_bytes > 16 * MB  # a matrix of 4 M weights


class Failing:
    def __init__(self, fine):
        self.fine = fine

    def run(self, job):
        if self.fine:
            self.fine -= 1
            return host().run(job)
        raise StageError("signal 11", status="crashed")


@pytest.mark.parametrize("fine", [0, PROCESSES])
def test_what_does_not_run_is_incomparable(fine, tmp_path):
    duels = {"it": Duellists(tmp_path / "base", tmp_path / "new", (np.zeros((1, 1), np.float32),))}
    device = Failing(fine)
    found = growths(device, device, duels, Protocol())["it"]
    assert (found.verdict, found.reason, found.base_bytes) == ("incomparable", "memory not judged: signal 11", None)
