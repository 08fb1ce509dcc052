import numpy as np
import torch

from kdbench.training import footprint
from kdbench.training.footprint import Footprint


def test_the_peak_holds_what_was_taken_and_given_back():
    taken = 60_000_000
    made = Footprint(torch.device("cpu"))
    quiet = made.peak()
    np.ones(taken, dtype=np.uint8)
    assert made.peak() >= quiet + taken * 0.9
    assert made.peak() >= made.before


def test_where_the_system_starts_no_new_peak_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(footprint, "_CLEAR", tmp_path / "missing" / "clear_refs")
    made = Footprint(torch.device("cpu"))
    assert not made.exact
    assert made.peak() >= made.before * 0.5
