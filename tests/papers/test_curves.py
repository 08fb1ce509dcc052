import made_up
import pytest

pytest.importorskip("matplotlib")

from kdbench.errors import UsageError
from kdbench.papers.curves import curves
from kdbench.papers.part import part
from kdbench.records import Curve

FIRST = "digits:resnet8-dscnn"


def learnt(run, **ends):
    """The run whose students of the first pair validated like this in the last epoch with seed 0, each seed 1 % better."""
    (known,) = run.networks
    networks = {
        r.checkpoint_sha256: known.model_copy(
            update={
                "checkpoint_sha256": r.checkpoint_sha256,
                "curves": (
                    Curve(name="validation_accuracy", values=(0.5, ends[r.method] + r.seed / 100), epochs=(2, 4)),
                ),
            }
        )
        for r in run.records
        if r.method in ends and r.pair == FIRST
    }
    return run.model_copy(update={"networks": tuple(networks.values())})


def drawn(run, only=""):
    return curves([run], part([run], only), 3.35)


def test_a_panel_a_method_with_the_mean_the_range_and_scratch_behind():
    sheet = drawn(learnt(made_up.run(broken=False), scratch=0.8, kd=0.9))
    scratch, kd = sheet.figure.subfigs[0].axes
    assert [axes.get_title() for axes in (scratch, kd)] == ["scratch", "kd"]
    assert len(scratch.lines) == 1
    behind, mean = kd.lines
    assert list(mean.get_xdata()) == [2, 4]
    assert list(mean.get_ydata()) == pytest.approx([50, 91])
    assert list(behind.get_ydata()) == pytest.approx([50, 81])
    (band,) = kd.collections
    corners = {(round(x), round(y)) for x, y in band.get_paths()[0].vertices.tolist()}
    assert corners == {(2, 50), (4, 90), (4, 92)}
    assert kd.get_ylim() == scratch.get_ylim()
    assert sheet.caption.startswith("Validation accuracy of the students' networks")
    assert "mean and range over 3 seeds" in sheet.caption


def test_methods_without_a_curve_are_noted():
    run = made_up.run(broken=False)
    known = learnt(run, scratch=0.8, kd=0.9)
    assert drawn(known).notes == (
        f"{FIRST}: no curve of fitnet",
        "digits:resnet20-dscnn: no curve of scratch, kd, fitnet",
    )
    assert drawn(known, f"pair={FIRST},method=kd").notes == ()


def test_a_curve_far_below_the_others_is_named_with_its_end():
    run = made_up.run(broken=False)
    flat = learnt(run, scratch=0.5, kd=0.51, fitnet=0.0)
    assert drawn(flat, f"pair={FIRST}").notes == (f"{FIRST}: out of view: fitnet (ends at 1.00)",)


def test_runs_that_kept_no_curves_are_one_line():
    with pytest.raises(UsageError) as refused:
        drawn(made_up.run(networks=()))
    assert str(refused.value) == "nothing to draw: the runs kept no curve of how these students validated"
