import platform

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.training.processor import device_of, pinned, processor


def test_the_processor_names_architecture_instruction_set_and_maker():
    found = processor()
    assert found == processor("cpu")
    assert found.startswith(f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} ")
    assert len(found.split()) >= 3


def test_a_device_that_cannot_be_is_one_line():
    assert device_of("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="unknown training device 'tpu'; known: cpu, cuda"):
        device_of("tpu")


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="torch finds no usable GPU here; train with 'cpu'"):
        device_of("cuda")


def test_what_decides_bits_is_set_inside_and_put_back():
    def state():
        cuda = torch.backends.cudnn
        fills = torch.utils.deterministic.fill_uninitialized_memory
        deterministic = torch.are_deterministic_algorithms_enabled()
        return torch.get_num_threads(), deterministic, fills, cuda.benchmark, cuda.allow_tf32

    before = state()
    with pinned(torch.device("cpu"), 1):
        assert state() == (1, True, False, False, False)
    assert state() == before
    with pytest.raises(ZeroDivisionError), pinned(torch.device("cpu"), 1):
        raise ZeroDivisionError
    assert state() == before
