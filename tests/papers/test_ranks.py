import made_up
import pytest

pytest.importorskip("autorank")

from kdbench.errors import UsageError
from kdbench.papers.part import part
from kdbench.papers.ranks import ranks
from kdbench.papers.sheet import save


def run(pairs=5):
    """The made-up run with its first pair again and again, under other names."""
    whole = made_up.run(broken=False)
    own = [record for record in whole.records if record.pair == "digits:resnet8-dscnn"]
    again = [
        record.model_copy(update={"pair": f"{record.pair}-{n}", "case": record.case.replace("dscnn/", f"dscnn-{n}/")})
        for n in range(pairs)
        for record in own
    ]
    return whole.model_copy(update={"records": tuple(again)})


def drawn(whole, only=""):
    return ranks([whole], part([whole], only), 3.35)


def test_each_target_has_a_diagram_with_every_method():
    sheet = drawn(run())
    assert [axes.get_title() for axes in sheet.figure.axes] == ["xnnpack-fp32 · host", "xnnpack-int8 · host"]
    for axes in sheet.figure.axes:
        assert {"scratch", "kd", "fitnet", "CD"} <= {text.get_text() for text in axes.texts}
    assert sheet.caption.startswith("Mean ranks over 5 pairs, 1 being the best; ")


def test_a_part_has_fewer_panels():
    assert len(drawn(run(), "target=xnnpack-int8").figure.axes) == 1


def test_too_few_pairs_are_refused():
    with pytest.raises(UsageError, match="nothing to draw: ranks are compared over at least 5 pairs with 3 methods"):
        drawn(run(4))


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_the_same_run_gives_the_same_file(tmp_path, suffix):
    for name in "ab":
        save(drawn(run()).figure, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
