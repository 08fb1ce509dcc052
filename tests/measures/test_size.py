import pytest

from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.measures.size import Size
from kdbench.tasks.classification import Classification

PROGRAM = {
    "size_bytes": 14888,
    "download_bytes": 5078,
    "weight_bytes": 8712,
    "arena_bytes": 368,
    "delegated": 0.75,
    "constants": {"int8": 3, "float32": 1},
    "quantized_share": 0.75,
}


def figures(**changes):
    evidence = Evidence(Classification(), {}, {**PROGRAM, **changes}, None, None, None, None, None, None)
    return Size().of(evidence)


def test_every_figure_is_that_of_the_program():
    assert figures() == {name: value for name, value in PROGRAM.items() if name != "constants"}
    assert set(Size.metrics) == set(figures())
    assert set(Size.metrics) <= set(METRICS)


@pytest.mark.parametrize(
    ("constants", "reason"),
    [
        ({"unknown": 7}, "only the backend can read how its weights are stored"),
        ({}, "the program has no weights"),
    ],
)
def test_an_unknown_share_is_a_reason(constants, reason):
    assert figures(quantized_share=None, constants=constants)["quantized_share"] == reason
