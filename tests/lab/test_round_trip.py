"""A bundle goes to a lab, which knows nothing but that folder, and its results come back."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kdbench.errors import MeasureError
from kdbench.lab.bench import measure
from kdbench.lab.ingest import ingest, read_results
from kdbench.lab.manifest import read_manifest
from kdbench.records import read_items, read_run, read_samples
from kdbench.remains import outputs_of, program_of
from kdbench.store import Store, file_sha256, named


@pytest.fixture(scope="module")
def returned(real, bundled, tmp_path_factory):
    """The bundle as the lab returns it, measured by its manifest alone in a process without a store and a home."""
    place = tmp_path_factory.mktemp("lab")
    folder = place / "bundle"
    shutil.copytree(bundled.folder, folder)
    unknown = {name: str(place / "nothing") for name in ("KDBENCH_DATA", "KDBENCH_RESULTS")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KDBENCH")} | unknown
    # The runner that was built for the run is kept beside its store; the lab has no other use for it.
    environment["KDBENCH_STORE"] = str(real.store)
    done = subprocess.run(
        [sys.executable, "-m", "kdbench.lab.bench", str(folder)],
        capture_output=True, text=True, check=False, env=environment, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'measured.json'}\n"
    return folder


@pytest.fixture(scope="module")
def taken(real, returned):
    told = [read_results(returned / "measured.json")]
    return ingest(real.run, read_manifest(returned), told, "lab-1", Store(real.store), ("kdbench", "ingest"))


def by_case(run):
    return {record.case.rpartition("/")[0]: record for record in run.records}


def test_the_same_cases_programs_and_structures_come_back(real, taken):
    before, after = by_case(real.run), by_case(taken[0])
    assert before.keys() == after.keys()
    for case, record in after.items():
        assert record.status == "ok"
        for same in ("structure", "program_sha256", "checkpoint_sha256", "method", "seed", "target"):
            assert getattr(record, same) == getattr(before[case], same)
        assert record.metrics["size_bytes"] == before[case].metrics["size_bytes"]


def test_outputs_are_the_hosts_to_the_bit_and_so_is_what_follows_from_them(real, returned, taken):
    store = Store(real.store)
    records = {record.program_sha256: record for record in real.run.records}
    for entry in read_manifest(returned).programs:
        record = records[entry.sha256]
        host = np.load(outputs_of(program_of(real.run, record, store), real.run, record, store).path("outputs.npy"))
        assert (returned / "outputs" / f"{entry.stem}.bin").read_bytes() == host.astype("<f4").tobytes()
    before, after = by_case(real.run), by_case(taken[0])
    for case, record in after.items():
        for metric in ("accuracy", "accuracy_eager", "accuracy_drop", "flips", "agreement", "agreement_teacher_wrong",
                       "kl_teacher", "ece"):  # fmt: skip
            assert record.metrics[metric] == before[case].metrics[metric], metric
            assert record.reasons.get(metric) == before[case].reasons.get(metric)
        assert record.notes == before[case].notes
        assert record.details["beside_host"] == {"items_differing": 0, "largest_difference": 0.0}
        assert record.details["test_items"] == 540


def test_times_are_the_samples_that_were_sent(real, returned, taken):
    sent = json.loads((returned / "measured.json").read_text(encoding="utf-8"))["measurements"]
    run, kept, _ = taken
    timed = {entry.structure: entry.sha256 for entry in read_manifest(returned).programs if entry.timing}
    assert {speed.structure for speed in run.speeds} == timed.keys()
    for speed in run.speeds:
        mine = [m["samples_ns"] for m in sent if m["program_sha256"] == timed[speed.structure] and "samples_ns" in m]
        assert len(mine) == 2
        pooled = np.concatenate(mine)
        assert speed.metrics["latency_ms"] == np.median(pooled) / 1e6
        assert speed.metrics["latency_mean_ms"] == pytest.approx(pooled.mean() / 1e6, rel=1e-12)
        assert speed.process_medians_ms == tuple(np.median(each) / 1e6 for each in mine)
        assert speed.samples == len(pooled)
        assert speed.metrics["latency_ref"] > 0
        assert 0 < speed.metrics["peak_rss_bytes"] < 20e6
        assert speed.metrics["load_ms"] > 0
        assert [len(kept[f"{speed.structure}/import:lab-1/{place}"]) for place in (0, 1)] == [
            min(len(each), 2000) for each in mine
        ]


def test_the_command_takes_a_bundle_in_and_prints_its_table(real, returned, tmp_path):
    def kdbench(*words):
        return subprocess.run(
            [sys.executable, "-m", "kdbench", *words, "--results", str(real.results), "--store", str(real.store)],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip

    done = kdbench("ingest", str(returned), "--name", "lab-2")
    assert done.returncode == 0, done.stderr
    assert "tiny@import-lab-2 v1" in done.stdout
    assert "measured.json: read as kdbench's measured.json, sha256 " in done.stdout
    folder = next((real.results / "scratch" / "import-lab-2" / "tiny@import-lab-2").iterdir())
    run = read_run(folder)
    assert run.provenance.imported[0].run == real.run.id
    items = read_items(folder)
    assert {case: float(item.correct.mean()) for case, item in items.items()} == {
        record.case: pytest.approx(record.metrics["accuracy"]) for record in run.records
    }
    assert len(read_samples(folder)) == 8
    packed = kdbench("bundle", "tiny", "--to", "out", "--only", "method=kd", "--only", "target=xnnpack-int8")
    assert (packed.returncode, packed.stderr) == (0, "")
    assert packed.stdout.splitlines()[:2] == [
        f"bundled 1 programs of run {real.run.id} (tiny) in out",
        "1 structures to time, 1 cases, 0.4 MB",
    ]


def test_what_outputs_are_judged_by_may_have_left_the_store(real, returned, tmp_path):
    told = [read_results(returned / "measured.json")]
    with pytest.raises(MeasureError, match=r"^the program of .* is not in the store .*; make it again with: kdbench"):
        ingest(real.run, read_manifest(returned), told, "lab-1", Store(tmp_path / "none"), ())


def test_a_student_whose_run_has_no_teacher_follows_nobody(real, returned):
    told = [read_results(returned / "measured.json")]
    manifest = read_manifest(returned)
    students = tuple(record for record in real.run.records if record.method == "scratch")
    run = real.run.model_copy(update={"records": students, "networks": ()})
    manifest = manifest.model_copy(update={"cases": tuple(record.case for record in students)})
    sent = told[0]
    kept = tuple(each for each in sent.readings if each.program in {record.program_sha256 for record in students})
    made = ingest(run, manifest, [replace(sent, readings=kept)], "lab-1", Store(real.store), ())[0]
    assert {record.reasons["agreement"] for record in made.records} == {"the run has no row of its teacher to follow"}
    assert all(record.metrics["accuracy"] for record in made.records)


def test_a_damaged_bundle_is_not_measured(returned, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(returned, folder)
    place = folder / read_manifest(folder).programs[0].file
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(MeasureError, match=r"is lost or damaged: its sha256 is not the manifest's$"):
        measure(folder)


def test_a_program_that_the_lab_cannot_run_is_told_as_failed_and_the_rest_goes_on(real, returned, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(returned, folder)
    manifest = read_manifest(folder)
    entry = manifest.programs[2]
    data = (folder / entry.file).read_bytes()
    (folder / entry.file).write_bytes(data.replace(b"XnnpackBackend", b"MissingBackend"))
    table = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wrong = manifest.programs[3]
    expected = folder / wrong.expected.file
    (np.fromfile(expected, dtype="<f4") + np.float32(1)).tofile(expected)
    table["files"][wrong.expected.file] = file_sha256(expected)
    table["files"][entry.file] = file_sha256(folder / entry.file)  # the lab sees a whole bundle that it cannot run
    (folder / "manifest.json").write_text(json.dumps(table))
    back = named(real.store)
    try:
        told = [read_results(measure(folder))]
    finally:
        back()
    failed = [reading for reading in told[0].readings if reading.failed]
    assert [reading.program for reading in failed] == [entry.sha256, wrong.sha256]
    assert failed[1].failed.startswith("parity-failed: off by 1 on the sample, expected at most ")
    run = ingest(real.run, manifest, told, "lab-1", Store(real.store), ())[0]
    rows = {record.program_sha256: record for record in run.records}
    assert rows[entry.sha256].status == "failed"
    assert "failed" in rows[entry.sha256].reason
    assert sum(record.status == "ok" for record in run.records) == 2
