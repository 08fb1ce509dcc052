import made_up
import numpy as np
import pytest

from kdbench.errors import MeasureError, UsageError
from kdbench.records import read_run
from kdbench.results import MAX_KEPT_BYTES, check_writable, default_results, find_run, keep, save, stored

MACHINE = "amd-epyc-linux-x86-64"


def run(id_, name="made"):
    whole = made_up.run(id=id_)
    return whole.model_copy(update={"suite": whole.suite | {"name": name}})


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for id_, name in (
        ("20260101T000000Z-aaaa", "made"),
        ("20260103T000000Z-cccc", "made"),
        ("20260102T000000Z-bbbb", "made@quick"),
    ):
        made_up.on_disk(folder, run(id_, name))
    return folder


def test_the_results_folder_is_named_by_the_environment(monkeypatch):
    monkeypatch.delenv("KDBENCH_RESULTS", raising=False)
    assert str(default_results()) == "results"
    monkeypatch.setenv("KDBENCH_RESULTS", "/elsewhere")
    assert str(default_results()) == "/elsewhere"


def test_a_fresh_run_lies_in_scratch_by_machine_suite_and_id(results):
    assert [str(place.folder.relative_to(results)) for place in stored(results)] == [
        f"scratch/{MACHINE}/made/20260101T000000Z-aaaa",
        f"scratch/{MACHINE}/made@quick/20260102T000000Z-bbbb",
        f"scratch/{MACHINE}/made/20260103T000000Z-cccc",
    ]
    assert stored(results)[1].suite == "made@quick"
    assert not stored(results)[1].kept


def test_runs_are_found_by_folder_file_id_suite_and_place_in_its_history(results):
    first, quick, last = (place.folder for place in stored(results))
    assert find_run(str(first), results) == first
    assert find_run(str(first / "run.json"), results) == first
    assert find_run("20260101T000000Z-aaaa", results) == first
    assert find_run("made", results) == last
    assert find_run("made~0", results) == last
    assert find_run("made~1", results) == first
    assert find_run("made@quick", results) == quick
    keep(last, results)
    assert read_run(find_run("made", results)).id == "20260103T000000Z-cccc"
    keep(first, results)
    assert read_run(find_run("made", results)).id == "20260103T000000Z-cccc"
    made_up.on_disk(results, run("20260104T000000Z-dddd"))
    assert read_run(find_run("made", results)).id == "20260104T000000Z-dddd"
    assert read_run(find_run("made~2", results)).id == "20260101T000000Z-aaaa"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mdae", "no run 'mdae' in {0}; did you mean 'made'"),
        ("20260101T000000Z-aaab", "no run '20260101T000000Z-aaab' in {0}; did you mean '20260101T000000Z-aaaa'"),
        ("made~2", "no run 'made~2' in {0}: it holds 2 of suite 'made'"),
        ("made@quick~1", "no run 'made@quick~1' in {0}: it holds 1 of suite 'made@quick'"),
    ],
)
def test_an_unknown_run_is_one_line_with_what_was_meant(results, reference, message):
    with pytest.raises(UsageError) as caught:
        find_run(reference, results)
    assert str(caught.value).startswith(message.format(results))


def test_an_empty_results_folder_and_a_folder_without_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"no run 'digits': .* holds none; --results or"):
        find_run("digits", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"folder '.*empty' holds no run\.json"):
        find_run(str(tmp_path / "empty"), tmp_path)


def test_an_id_that_is_there_twice_must_be_told_apart(results):
    made_up.on_disk(results, run("20260101T000000Z-aaaa", "other"))
    with pytest.raises(UsageError, match="is there 2 times"):
        find_run("20260101T000000Z-aaaa", results)


def test_keeping_moves_a_run_once(results):
    folder = find_run("made~1", results)
    kept = keep(folder, results)
    assert kept == results / "runs" / MACHINE / "made" / "20260101T000000Z-aaaa"
    assert not folder.exists()
    assert sorted(path.name for path in kept.iterdir()) == ["items.npz", "run.json", "samples.npz"]
    assert keep(kept, results) == kept
    assert len(stored(results)) == 3
    assert sum(place.kept for place in stored(results)) == 1


def test_a_run_from_elsewhere_is_copied(results, tmp_path):
    theirs = made_up.on_disk(tmp_path / "theirs", run("20260105T000000Z-eeee"))
    kept = keep(theirs, results)
    assert read_run(kept) == read_run(theirs)
    assert keep(theirs, results) == kept
    assert [path.name for path in kept.parent.iterdir()] == ["20260105T000000Z-eeee"]


def test_another_run_of_the_same_id_is_not_overwritten(results, tmp_path):
    keep(find_run("made", results), results)
    other = run("20260103T000000Z-cccc").model_copy(update={"partial": True})
    with pytest.raises(UsageError, match="is another run of the same id"):
        keep(made_up.on_disk(tmp_path / "theirs", other), results)


def test_a_heavy_run_is_refused_and_stays_where_it_is(tmp_path):
    whole = run("20260101T000000Z-aaaa")
    noise = np.random.default_rng(0).integers(0, 2**31 - 1, MAX_KEPT_BYTES // 4 + 1000)
    folder = save(whole, {"s": noise}, {}, tmp_path)
    with pytest.raises(UsageError, match=r"weighs 3\.\d MB, a kept run at most 3 MB; the largest file is samples\.npz"):
        keep(folder, tmp_path)
    assert read_run(folder) == whole
    assert not (tmp_path / "runs").exists()


def test_a_made_up_run_is_light_enough_to_be_kept(results):
    assert sum(file.stat().st_size for file in find_run("made", results).iterdir()) < MAX_KEPT_BYTES / 10


@pytest.mark.parametrize("slug", ["..", "a/b", "", ".hidden"])
def test_a_run_cannot_climb_out_of_the_results(tmp_path, slug):
    whole = run("20260101T000000Z-aaaa")
    machine = whole.provenance.machine.model_copy(update={"slug": slug})
    whole = whole.model_copy(update={"provenance": whole.provenance.model_copy(update={"machine": machine})})
    with pytest.raises(UsageError, match="cannot name a folder"):
        save(whole, {}, {}, tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_results_are_known_before_anything_runs(tmp_path):
    check_writable(tmp_path / "fine")
    assert list((tmp_path / "fine" / "scratch").iterdir()) == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(
        MeasureError, match=r"cannot write results to .*file/scratch: .*; point --results or KDBENCH_RESULTS"
    ):
        check_writable(tmp_path / "file")
    with pytest.raises(MeasureError, match=r"cannot write the run .*file/.*; point --results"):
        save(run("20260101T000000Z-aaaa"), {}, {}, tmp_path / "file")


def test_a_ledger_that_cannot_be_written_is_one_line(results):
    folder = find_run("made", results)
    (results / "runs").write_text("", encoding="utf-8")
    with pytest.raises(MeasureError, match="cannot keep the run as "):
        keep(folder, results)
    assert (folder / "run.json").is_file()
