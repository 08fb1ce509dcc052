import pytest
from lowering.conftest import Tiny, items

from kdbench.lowering import coreml
from kdbench.lowering.coreml import settled
from kdbench.lowering.parity import prove
from kdbench.lowering.program import facts_of
from kdbench.lowering.shipped import ship

pytest.importorskip("coremltools", reason="ExecuTorch brings Core ML Tools on x86-64 and macOS alone")


@pytest.fixture(scope="module")
def half():
    return coreml.FP16.lower(Tiny(seed=0), items(1)[0])


def test_it_is_delegated_whole_and_proved_by_its_graph(half):
    assert half.delegated == 1.0
    assert facts_of(half.buffer).delegates == {"CoreMLBackend": 1}
    parity = prove(half, Tiny(seed=0), items(8), coreml.FP16)
    assert (parity.of, parity.graph_error, parity.network_error) == ("graph", None, 0.0)


def test_the_same_network_gives_the_same_bytes(half):
    again = coreml.FP16.lower(Tiny(seed=0), items(1)[0])
    assert again.buffer == half.buffer
    assert coreml.FP16.lower(Tiny(seed=1), items(1)[0]).buffer != half.buffer


def test_ids_follow_from_the_content_and_sizes_stay():
    def package(*ids):
        entries = ",".join(
            f'\n        "{key}": {{\n            "path": "{path}"\n        }}'
            for key, path in zip(ids, "ba", strict=True)
        )
        text = f'{{\n    "fileFormatVersion": "1.0.0",\n    "itemInfoEntries": {{{entries}\n    }},'
        return f'{text}\n    "rootModelIdentifier": "{ids[0]}"\n}}'.encode()

    one, two = (f"0f0e0d0c-0000-4000-8000-00000000000{n}" for n in (1, 2))
    name = b"executorch_722220a7-0714-409e-8668-a4aef1625148"
    other = b"executorch_083d7235-ba49-4703-aa03-87f45582b5b1"
    made = settled(package(one, two) + name + b"model" + name)
    assert made == settled(package(two, one) + other + b"model" + other)
    assert len(made) == len(package(one, two)) + 2 * len(name) + 5
    assert made != settled(package(one, two) + name + b"modem" + name)


@pytest.mark.usefixtures("half")  # whose import has said what it had to say
def test_it_says_nothing(capfd, caplog):
    coreml.FP16.lower(Tiny(seed=2), items(1)[0])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.slow
def test_integers():
    calibration = items(32)
    shipped = ship(coreml.INT8, Tiny(seed=0), [calibration[0]], calibration)
    assert shipped.facts["delegated"] == 1.0
    assert shipped.facts["parity"]["network_error"] < 0.35


def test_where_the_tools_are_missing_it_says_which(monkeypatch):
    monkeypatch.setattr(coreml, "find_spec", lambda _name: None)
    assert coreml.FP16.missing().startswith("it needs Core ML Tools, which ExecuTorch brings on macOS")
