import math
import re
from collections import Counter

import pytest

from kdbench.catalog import entries
from kdbench.published.figure import OPTIMISM, RULES, published, sources

PAIRS = {
    "resnet56-resnet20", "resnet110-resnet32", "resnet32x4-resnet8x4", "wrn-40-2-wrn-16-2", "wrn-40-2-wrn-40-1",
    "vgg13-vgg8", "resnet32x4-shufflenetv1", "resnet32x4-shufflenetv2", "wrn-40-2-shufflenetv1", "vgg13-mobilenetv2",
    "resnet50-mobilenetv2",
}  # fmt: skip
CIFAR = [figure for figure in published() if figure.data == "cifar100"]
IMAGENET = [figure for figure in published() if figure.data == "imagenet"]


def figures(pair, method, data="cifar100"):
    return [(f.accuracy, f.rule, f.source) for f in published() if (f.data, f.pair, f.method) == (data, pair, method)]


def test_every_line_is_one_figure_of_a_known_rule_and_source():
    assert len(CIFAR) + len(IMAGENET) == len(published()) == len(set(published()))
    for figure in published():
        assert 55 < figure.accuracy < 85, figure
        assert figure.rule in RULES, figure
        assert figure.source in sources(), figure
        assert figure.epochs in (0, 100, 240, 480, 960), figure
        assert math.isnan(figure.plus_minus) or 0 < figure.plus_minus < 1, figure
        assert figure.method == figure.method.lower(), figure


def test_every_source_is_used_and_has_an_https_address():
    assert {figure.source for figure in published()} == set(sources())
    for source in sources().values():
        assert re.fullmatch(r"(https://github\.com/[\w./-]+)?", source.url), source
        assert source.url or source.name == "Papers with Code"
        assert re.fullmatch(r"([0-9a-f]{7})?", source.commit), source
        assert source.what


def test_the_eleven_pairs_have_a_teacher_a_student_and_what_repdistiller_ran():
    assert {figure.pair for figure in CIFAR} == PAIRS
    full = ("teacher", "scratch", "kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "nst", "crd")
    counts = Counter(figure.method for figure in CIFAR if figure.source == "RepDistiller README")
    assert counts == dict.fromkeys(full, 11) | {"fsp": 5}
    assert {figure.rule for figure in CIFAR if figure.source == "RepDistiller README"} == {"last"}


def test_names_are_those_of_kdbench_where_it_has_the_thing():
    for pair in PAIRS:
        assert any(f"{teacher}-{student}" == pair for teacher in entries("models") for student in entries("models"))
    # Without a teacher's figure in the tables, or a control of ours, or a method that is not in the tables.
    absent = {
        "label-smoothing", "longer-scratch", "random-teacher", "function-matching", "simkd", "mgd", "rld", "dml", "takd", "self-kd",
    }  # fmt: skip
    assert set(entries("methods")) - {figure.method for figure in published()} == absent


@pytest.mark.parametrize(
    ("pair", "method", "expected"),
    [
        ("resnet56-resnet20", "kd", [(70.66, "last", "RepDistiller README")]),
        ("resnet50-mobilenetv2", "at", [(58.58, "last", "RepDistiller README")]),
        ("wrn-40-2-shufflenetv1", "nst", [(74.89, "last", "RepDistiller README")]),
        ("vgg13-vgg8", "wttm", [(74.44, "unknown", "TTM README")]),
        ("resnet32x4-shufflenetv2", "mlkd", [(78.44, "best", "LSKD README")]),
        ("vgg13-mobilenetv2", "lskd", [(68.61, "best", "LSKD README"), (69.09, "last", "LSKD logs")]),
        ("wrn-40-2-wrn-40-1", "dist", [(74.43, "unknown", "DIST README"), (74.73, "unknown", "TTM README")]),
        ("resnet56-resnet20", "simkd", []),
    ],
)
def test_some_figures_by_hand(pair, method, expected):
    assert figures(pair, method) == expected


def test_imagenet_is_apart_and_shows_reproductions_that_failed():
    assert {figure.pair for figure in IMAGENET} & PAIRS == set()
    assert [found[0] for found in figures("resnet34-resnet18", "ickd", "imagenet")] == [72.19, 68.34]
    assert figures("resnet50-mobilenetv1", "wkd-l+f", "imagenet") == [(73.69, "unknown", "WKD README")]


def test_the_best_epoch_is_as_far_above_the_last_as_the_logs_say():
    last, best = (
        {figure.pair: figure.accuracy for figure in CIFAR if (figure.method, figure.rule) == ("lskd", rule)}
        for rule in ("last", "best")
    )
    assert len(last) == 9
    assert 0 < sum(best[pair] - last[pair] for pair in last) / len(last) < OPTIMISM
