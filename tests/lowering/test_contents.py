import pytest
import torch
from lowering.conftest import Tiny, items

from kdbench.errors import UsageError
from kdbench.lowering import portable, xnnpack
from kdbench.lowering.contents import read_contents


@pytest.fixture
def contents(tmp_path):
    def read(lowered, method=""):
        path = tmp_path / "program.pte"
        path.write_bytes(lowered.buffer)
        return read_contents(path, method)

    return read


def test_the_parts_are_the_whole_file(contents, fp32, int8):
    plain = contents(portable.FP32.lower(Tiny(seed=0), items(1)[0]))
    weights = 4 * sum(parameter.numel() for parameter in Tiny(seed=0).parameters())
    assert plain.parts["constants"] > weights
    assert (plain.parts["delegates"], plain.parts["named data"], plain.delegated) == (0, 0, {})
    for found in (plain, contents(fp32.lowered), contents(int8.lowered)):
        assert sum(found.parts.values()) == found.facts.size_bytes
        assert all(size >= 0 for size in found.parts.values())
        assert found.parts["flatbuffer"] > 100
    found = contents(fp32.lowered)
    assert sum(found.parts[name] for name in ("constants", "named data", "delegates")) == found.facts.weight_bytes
    assert found.parts["padding"] < found.facts.size_bytes / 4


def test_what_xnnpack_computes_is_named(contents, fp32):
    counts = contents(fp32.lowered).delegated["XnnpackBackend"]
    # The stem reads one channel, and is lowered as a depthwise convolution too.
    assert (counts["Conv2d"], counts["DepthwiseConv2d"], counts["FullyConnected"]) == (1, 2, 1)


def test_two_seeds_share_a_structure_and_nothing_else_does(contents, fp32, int8, other_int8):
    one = contents(int8.lowered)
    other = contents(other_int8.lowered)
    assert one.facts.sha256 != other.facts.sha256
    assert one.structure == other.structure
    others = [
        contents(fp32.lowered),
        contents(xnnpack.FP32.lower(Tiny(seed=0, width=12), items(1)[0])),
        contents(xnnpack.FP32.lower(Tiny(seed=0), items(1, shape=(1, 1, 9, 9))[0])),
        contents(portable.FP32.lower(Tiny(seed=0), items(1)[0])),
    ]
    assert len({one.structure, *(found.structure for found in others)}) == 5


def test_seeds_share_it_on_the_portable_kernels_too(contents):
    one, other = (contents(portable.FP32.lower(Tiny(seed=seed), items(1)[0])) for seed in (0, 1))
    assert one.facts.sha256 != other.facts.sha256
    assert one.structure == other.structure


def test_a_blob_of_another_backend_counts_whole(broken_program, tiny_program):
    found = read_contents(broken_program.path)
    [(backend, known)] = found.delegated.items()
    assert (backend == "XnnpackBackend", known) == (False, None)
    assert found.structure != read_contents(tiny_program.path).structure


def test_what_is_no_program_or_method_is_refused(tmp_path, contents, fp32):
    with pytest.raises(UsageError, match="^cannot read .*none.pte: No such file"):
        read_contents(tmp_path / "none.pte")
    torch.save({}, tmp_path / "weights.pte")
    with pytest.raises(UsageError, match="is not an ExecuTorch program"):
        read_contents(tmp_path / "weights.pte")
    with pytest.raises(UsageError, match="has no method 'backward'; it has 'forward'"):
        contents(fp32.lowered, "backward")
