import made_up
import numpy as np
import pytest

from kdbench.baseline import save_baseline
from kdbench.errors import MeasureError, NoBaselineError, UsageError
from kdbench.side import Side, side
from kdbench.store import Store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    store = Store(folder / "store")
    run = made_up.with_programs(made_up.run(broken=False), store)
    made_up.on_disk(folder, run)
    save_baseline(
        run, made_up.right(run), lambda structure: Side(folder, run).program(structure, store), folder, in_store=True
    )
    return folder


def test_a_side_is_a_baseline_or_a_run(results):
    folder = results / "baselines" / "made"
    for name in ("baseline:made", str(folder)):
        found = side(name, results)
        assert (found.folder, found.name) == (folder, "baseline of made (20261124T040506Z-00ab)")
        assert found.baseline is not None
    assert side("baseline", results, "made").folder == folder
    run = side("made", results)
    assert (run.baseline, run.name, run.folder.name) == (None, "20261124T040506Z-00ab", "20261124T040506Z-00ab")


def test_both_know_which_items_are_right(results):
    run, base = side("made", results), side("baseline:made", results)
    assert run.correct().keys() == base.correct().keys()
    assert all(
        bits.dtype == np.bool_ and len(bits) == made_up.N
        for bits in (*run.correct().values(), *base.correct().values())
    )


def test_a_baseline_of_no_suite_and_one_that_is_not_there_are_one_line(results):
    with pytest.raises(UsageError, match=r"^'baseline': say of which suite, such as baseline:digits$"):
        side("baseline", results)
    with pytest.raises(NoBaselineError, match=r"^no baseline .*other; kdbench"):
        side("baseline:other", results)


def test_both_hand_out_one_program_a_structure(results, tmp_path):
    run, base, store = side("made", results), side("baseline:made", results), Store(results / "store")
    structure = run.run.records[-1].structure
    assert run.program(structure, store) == base.program(structure, store)
    assert run.program(structure, store).is_file()
    for each in (run, base):
        with pytest.raises(UsageError, match="has no structure 'other'"):
            each.program("other", store)
        with pytest.raises(MeasureError, match="make it again with kdbench run made and save that run"):
            each.program(structure, Store(tmp_path))
