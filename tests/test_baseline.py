import json
import shutil

import made_up
import numpy as np
import pytest

from kdbench import baseline
from kdbench.baseline import baseline_folder, damage, read_baseline, save_baseline
from kdbench.errors import MeasureError, NoBaselineError, UsageError
from kdbench.gate import compare
from kdbench.measures.metric import METRICS
from kdbench.side import Side
from kdbench.store import Store, file_sha256

KD8 = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A run whose programs are in a store: run, right answers, store."""
    store = Store(tmp_path_factory.mktemp("store"))
    run = made_up.with_programs(made_up.run(broken=False), store)
    return run, made_up.right(run), store


def programs(run, store):
    return lambda structure: Side(store.root, run).program(structure, store)


def save(ground, results, run=None, *, in_store=False, reason=""):
    run = run or ground[0]
    return save_baseline(run, ground[1], programs(run, ground[2]), results, in_store=in_store, reason=reason)


def test_a_baseline_holds_programs_exact_facts_and_right_answers_but_no_times(ground, tmp_path):
    run, right, store = ground
    found = save(ground, tmp_path)
    assert found.folder == tmp_path / "baselines" / "made"
    assert len(found.manifest.programs) == 6  # of 40 cases
    assert {program.structure for program in found.manifest.programs} == {r.structure for r in run.records}
    for program in found.manifest.programs:
        path = found.program(program.structure, store)
        assert path.parent == found.folder / "programs"
        assert (path.stat().st_size, file_sha256(path)) == (program.size_bytes, program.sha256)
    assert (found.run.speeds, found.run.networks) == ((), ())
    for record, kept in zip(run.records, found.run.records, strict=True):
        exact = {name: value for name, value in record.metrics.items() if METRICS[name].tier != "host"}
        assert (kept.case, kept.metrics) == (record.case, exact)
    assert found.correct().keys() == right.keys()
    assert all(np.array_equal(found.correct()[case], bits) for case, bits in right.items())
    assert "latency_ms" not in (found.folder / "run.json").read_text()


def test_a_run_is_not_worse_than_its_own_baseline(ground, tmp_path):
    found = save(ground, tmp_path)
    comparison = compare(found.run, ground[0], right=(found.correct(), ground[1]))
    assert {verdict.verdict for verdict in comparison.verdicts} == {"ok"}


def test_it_is_updated_with_a_reason_and_keeps_its_history(ground, tmp_path):
    save(ground, tmp_path)
    with pytest.raises(UsageError, match="suite 'made' has a baseline; replace it with kdbench baseline update"):
        save(ground, tmp_path)
    later = ground[0].model_copy(update={"id": "20261125T000000Z-0001"})
    found = save(ground, tmp_path, later, reason="a wider student, see /home/someone/notes.txt")
    assert [(saved.run, saved.reason) for saved in found.manifest.history] == [
        ("20261124T040506Z-00ab", "the first"),
        ("20261125T000000Z-0001", "a wider student, see notes.txt"),  # records hold no path
    ]
    assert sorted(path.name for path in (tmp_path / "baselines").iterdir()) == ["made"]
    with pytest.raises(UsageError, match="suite 'made' has no baseline to update; start with kdbench baseline save"):
        save(ground, tmp_path / "elsewhere", reason="none")


def test_partial_runs_are_refused(ground, tmp_path):
    with pytest.raises(UsageError, match=r"is partial: cases of suite 'made' were left out, so it is no baseline"):
        save(ground, tmp_path, ground[0].model_copy(update={"partial": True}))
    assert not (tmp_path / "baselines").exists()


def test_what_weighs_too_much_names_the_flag(ground, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "MAX_BYTES", 1_000_000)
    message = (
        r"^the baseline of 'made' would weigh 1\.9 MB, at most 1 MB; 1\.8 MB of it programs; "
        r"--programs store keeps them in the store, and their hashes here$"
    )
    with pytest.raises(UsageError, match=message):
        save(ground, tmp_path)
    assert list((tmp_path / "baselines").iterdir()) == []
    found = save(ground, tmp_path, in_store=True)
    assert not (found.folder / "programs").exists()
    assert found.program(ground[0].records[0].structure, ground[2]).is_relative_to(ground[2].root)
    assert damage(found, ground[2]) == []
    monkeypatch.setattr(baseline, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match=r"at most 0\.001 MB; of run\.json and correct\.npz alone"):
        save(ground, tmp_path / "other", in_store=True)


@pytest.mark.parametrize("in_store", [True, False])
def test_a_store_without_the_program_says_how_to_get_it(ground, tmp_path, in_store):
    empty = Store(tmp_path / "empty")
    message = r"lacks the program of digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host \(.*make it again with kdbench run made and save that run"
    with pytest.raises(MeasureError, match=message):
        save_baseline(ground[0], ground[1], programs(ground[0], empty), tmp_path, in_store=in_store)
    kept = save(ground, tmp_path, in_store=True)
    assert len(damage(kept, empty)) == 6


def test_every_file_is_read_back(ground, tmp_path):
    found = save(ground, tmp_path)
    assert damage(found, ground[2]) == []
    program = next((found.folder / "programs").iterdir())
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    (found.folder / "correct.npz").unlink()
    assert damage(found, ground[2]) == [
        "correct.npz is lost",
        f"programs/{program.name} is not the file that was saved: its hash differs",
    ]
    with pytest.raises(MeasureError, match="is lost or damaged; kdbench baseline verify says more"):
        [found.program(kept.structure, ground[2]) for kept in found.manifest.programs]


def test_facts_that_do_not_fit_each_other_are_found(ground, tmp_path):
    run, right, store = ground
    wrong = right | {KD8: ~right[KD8]}
    found = save_baseline(run, wrong, programs(run, store), tmp_path, in_store=True)
    assert damage(found, store) == [f"{KD8}: accuracy is 0.9, its bits say 0.1"]


def test_what_is_no_baseline_is_one_line(ground, tmp_path):
    folder = tmp_path / "made"
    with pytest.raises(NoBaselineError, match=r"^no baseline .*made; kdbench baseline save RUN makes one$"):
        read_baseline(folder)
    folder.mkdir()
    (folder / "baseline.json").write_text("{}")
    with pytest.raises(UsageError, match=r"baseline\.json is not a baseline: suite: Field required$"):
        read_baseline(folder)
    found = save(ground, tmp_path)
    table = json.loads((found.folder / "baseline.json").read_text())
    (found.folder / "baseline.json").write_text(json.dumps(table | {"suite": "other"}))
    with pytest.raises(UsageError, match=r"is of suite 'other', the run beside it of 'made'"):
        read_baseline(found.folder)
    with pytest.raises(UsageError, match=r"'\.\.' cannot name a folder"):
        baseline_folder("..", tmp_path)


def test_bits_that_are_not_one_an_item_are_refused(ground, tmp_path):
    run, right, store = ground
    found = save_baseline(run, right | {KD8: right[KD8][:100]}, programs(run, store), tmp_path, in_store=True)
    with pytest.raises(UsageError, match=r"has not one bit an item"):
        found.correct()


def test_a_failed_update_leaves_the_old_baseline(ground, tmp_path, monkeypatch):
    found = save(ground, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(MeasureError, match=r"^cannot write the baseline to .*made: No space left on device$"):
        save(ground, tmp_path, reason="again")
    assert damage(read_baseline(found.folder), ground[2]) == []
    assert sorted(path.name for path in (tmp_path / "baselines").iterdir()) == ["made"]
