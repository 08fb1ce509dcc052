import contextlib
import hashlib
import random
import zlib

import pytest
from executorch.exir._serialize._program import deserialize_pte_binary

from kdbench.errors import UsageError
from kdbench.lowering.program import ProgramFacts, TensorMeta, deflated_size, facts_of, read_program
from kdbench.lowering.xnnpack_graph import constants_of, graph_of


@pytest.fixture(scope="module")
def file(tmp_path_factory, int8):
    path = tmp_path_factory.mktemp("programs") / "tiny.pte"
    path.write_bytes(int8.lowered.buffer)
    return path


def test_facts_of_a_file(file, int8):
    facts = read_program(file)
    assert facts.sha256 == hashlib.sha256(int8.lowered.buffer).hexdigest()
    assert facts.size_bytes == file.stat().st_size
    assert facts.method == "forward"
    assert facts.inputs == (TensorMeta("float32", (1, 1, 8, 8)),)
    assert facts.outputs == (TensorMeta("float32", (1, 10)),)
    assert facts.delegates == {"XnnpackBackend": 1}
    assert facts.operators == {}
    # The arena holds the input and the output with their alignment; the rest is in XNNPACK's own workspace.
    assert 8 * 8 * 4 + 10 * 4 <= facts.arena_bytes < 512


def test_stored_types_are_those_of_the_kernels(int8):
    network, facts = int8.network, facts_of(int8.lowered.buffer)
    weights = [network.stem, network.depthwise, network.pointwise, network.linear]
    channels = 8 + 8 + 16 + 10
    # 8-bit weights, a 32-bit bias and two 32-bit scales (of weight and of bias) a channel.
    assert facts.constants["int8"] == sum(layer.weight.numel() for layer in weights)
    assert facts.constants["int32"] + facts.constants["float32"] == channels * 3 * 4
    assert set(facts.constants) == {"int8", "int32", "float32"}
    assert facts.quantized_share == facts.constants["int8"] / sum(facts.constants.values())


def test_stored_types_of_a_float_program(fp32):
    facts = facts_of(fp32.lowered.buffer)
    network = fp32.network
    weights = sum(
        layer.weight.numel() for layer in (network.stem, network.depthwise, network.pointwise, network.linear)
    )
    assert facts.constants["float32"] == (weights + 8 + 8 + 16 + 10) * 4
    assert facts.quantized_share == 0.0


def test_the_parts_add_up_to_the_file(fp32, int8):
    for made in (fp32, int8):
        facts = facts_of(made.lowered.buffer)
        assert sum(facts.constants.values()) < facts.weight_bytes < facts.size_bytes
        # Beside the weights: tables of segments and keys, alignment to 16 bytes a segment, the method's own tables.
        assert facts.size_bytes - facts.weight_bytes < 2048 + 160 * 16


def test_download_size_is_that_of_a_raw_deflate_stream(int8):
    data = int8.lowered.buffer
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    assert zlib.decompress(packed, -15) == data
    assert facts_of(data).download_bytes == deflated_size(data) == len(packed) < len(data)


def test_facts_of_another_backend_do_not_guess_how_it_stores_weights():
    def facts(**constants):
        return ProgramFacts("", 1, 1, 1, constants, 0, "forward", {}, {}, (), ())

    assert facts(int8=3, float32=1).quantized_share == 0.75
    assert facts(float16=4, bfloat16=4, int4=8).quantized_share == 0.5
    assert facts(int8=3, unknown=1).quantized_share is None
    assert facts().quantized_share is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "{} is empty; expected an ExecuTorch program (.pte)"),
        (b"PK\x03\x04 a zip file", "{} is not an ExecuTorch program (.pte): it does not start like one"),
        (b"\0\0\0\0ET11" + bytes(60), "{} has program format 'ET11'; this ExecuTorch reads 'ET12'"),
        (b"\x20\0\0\0ET12" + bytes(4), "{} is damaged: "),
    ],
)
def test_what_is_no_program_is_one_line(tmp_path, data, reason):
    path = tmp_path / "x.pte"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_program(path)
    assert str(caught.value).startswith(reason.format(path))
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    path = tmp_path / "none.pte"
    with pytest.raises(UsageError) as caught:
        read_program(path)
    assert str(caught.value) == f"cannot read {path}: No such file or directory"


def test_a_cut_off_file_says_how_long_it_should_be(int8):
    data = int8.lowered.buffer
    with pytest.raises(UsageError) as caught:
        facts_of(data[:-1], "x.pte")
    assert str(caught.value) == f"x.pte is cut off: found {len(data) - 1:,} bytes, its header says {len(data):,}"


def test_a_constant_that_two_delegates_share_counts_once(int8):
    file = deserialize_pte_binary(int8.lowered.buffer)
    (blob,) = (each.data for each in file.program.backend_delegate_data)
    sizes = {key: len(file.named_data.buffers[entry.buffer_index]) for key, entry in file.named_data.pte_data.items()}
    graph, taken = graph_of(bytes(blob)), set()
    assert sum(constants_of(graph, sizes, taken).values()) == sum(sizes.values())
    assert taken == set(sizes)
    assert not constants_of(graph, sizes, taken)
    with pytest.raises(UsageError, match="refers to named data"):
        constants_of(graph, {}, set())


def test_every_truncation_is_noticed(int8):
    data = int8.lowered.buffer
    for length in [*range(1, 64), *range(64, len(data), 997), len(data) - 1]:
        with pytest.raises(UsageError, match=r"^x\.pte is (cut off|damaged|not an ExecuTorch)"):
            facts_of(data[:length], "x.pte")


def test_flipped_bytes_are_read_or_refused_but_never_a_traceback(int8):
    data, rng = int8.lowered.buffer, random.Random(0)
    refused = 0
    for _ in range(60):
        bad = bytearray(data)
        for _ in range(8):
            bad[rng.randrange(1600)] ^= 1 << rng.randrange(8)
        with contextlib.suppress(UsageError):
            facts_of(bytes(bad), "x.pte")
            continue
        refused += 1
    assert refused > 10


def test_a_damaged_graph_is_one_line_and_nothing_else(int8, capfd):
    data = bytearray(int8.lowered.buffer)
    [blob] = (bytes(each.data) for each in deserialize_pte_binary(bytes(data)).program.backend_delegate_data)
    start = data.index(blob)
    data[start + 256 : start + 272] = b"\xff" * 16  # in a name
    with pytest.raises(UsageError) as caught:
        facts_of(bytes(data), "x.pte")
    assert str(caught.value).endswith("(string contains non-utf8 bytes)")
    assert str(caught.value).startswith("x.pte is damaged: its XNNPACK graph cannot be read: Unable to ")
    assert capfd.readouterr() == ("", "")
