import getpass
import json
import platform
import re
import shutil

import jsonschema
import made_up
import numpy as np
import pytest

from kdbench import schema
from kdbench.errors import MeasureError, UsageError
from kdbench.lab import bundle as module
from kdbench.lab.bundle import bundle, chosen
from kdbench.lab.manifest import read_manifest
from kdbench.remains import outputs_of, program_of
from kdbench.store import Store, file_sha256


def test_one_program_of_each_structure_is_timed_and_every_case_is_covered(real, tmp_path):
    done = bundle(real.run, tmp_path / "out", Store(real.store))
    manifest = read_manifest(tmp_path / "out")
    assert manifest == done.manifest
    structures = {record.structure for record in real.run.records}
    assert [entry.structure for entry in manifest.programs] == list(
        dict.fromkeys(r.structure for r in real.run.records)
    )
    assert len(structures) == 4
    assert all(entry.timing and not entry.testing for entry in manifest.programs)
    assert manifest.cases == tuple(record.case for record in real.run.records)
    assert (manifest.run, manifest.suite, manifest.version, manifest.partial) == (real.run.id, "tiny", 1, False)
    assert manifest.protocol.processes == real.run.suite["protocol"]["processes"]
    assert manifest.feeds.keys() == {"digits-timing", "digits-sample", "reference"}


def test_with_outputs_every_program_is_there_with_the_test_items(bundled, real):
    manifest = bundled.manifest
    assert {entry.sha256 for entry in manifest.programs} == {record.program_sha256 for record in real.run.records}
    assert len(manifest.programs) == 6
    assert sum(bool(entry.timing) for entry in manifest.programs) == 4
    assert {entry.testing for entry in manifest.programs} == {"digits-test"}
    feed = manifest.feeds["digits-test"]
    assert (feed.items, feed.shape, feed.dtype, feed.item_bytes) == (540, (1, 1, 8, 8), "float32", 256)


def test_every_file_is_the_one_that_the_manifest_says(bundled):
    folder, manifest = bundled.folder, bundled.manifest
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {*manifest.files, "manifest.json", "README.md"}
    assert all(file_sha256(folder / name) == sha256 for name, sha256 in manifest.files.items())
    for entry in (*manifest.programs, manifest.reference):
        assert manifest.files[entry.file] == entry.sha256
        assert (folder / entry.file).stat().st_size == entry.size_bytes
    for feed in manifest.feeds.values():
        items = np.load(folder / feed.npy)
        assert items.shape == (feed.items, *feed.shape)
        assert (folder / feed.bin).read_bytes() == items.astype("<f4").tobytes()
    assert bundled.size_bytes == sum((folder / name).stat().st_size for name in there)


def test_the_expected_output_is_what_the_host_said_of_the_sample(bundled, real):
    by_sha = {record.program_sha256: record for record in real.run.records}
    for entry in bundled.manifest.programs:
        record = by_sha[entry.sha256]
        program = program_of(real.run, record, Store(real.store))
        said = np.load(outputs_of(program, real.run, record, Store(real.store)).path("outputs.npy"))[0]
        assert np.fromfile(bundled.folder / entry.expected.file, dtype="<f4").tolist() == said.tolist()
        assert entry.expected.of == "the program on host"
        assert 0 < entry.expected.tolerance <= 0.05 * np.abs(said).max() * 1.01
        sample = np.load(bundled.folder / bundled.manifest.feeds[entry.expected.input].npy)
        assert (sample[0] == np.load(bundled.folder / "feeds/digits-test.npy")[0]).all()


def test_what_the_host_did_not_run_is_expected_to_say_what_its_network_says(real, tmp_path):
    """As a program for Core ML, whose run has no outputs of it."""
    run = real.run.model_copy(update={"speeds": ()})
    [entry] = bundle(run, tmp_path / "out", Store(real.store), "method=kd,target=xnnpack-int8").manifest.programs
    assert entry.expected.of == "the network before it was lowered"
    host = bundle(real.run, tmp_path / "host", Store(real.store), "method=kd,target=xnnpack-int8").manifest.programs[0]
    assert entry.expected.tolerance > host.expected.tolerance
    one, other = (np.fromfile(tmp_path / place / entry.expected.file, dtype="<f4") for place in ("out", "host"))
    assert 0 < np.abs(one - other).max() < entry.expected.tolerance


def test_the_manifest_keeps_to_its_schema_and_says_nothing_of_people_or_places(bundled, real):
    text = (bundled.folder / "manifest.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(schema.shipped("manifest")).validate(json.loads(text))
    for said in (text, (bundled.folder / "README.md").read_text(encoding="utf-8")):
        assert str(real.store) not in said
        assert not re.search(r"(?<![\w.])/(home|tmp|root|usr|work)/", said)
        assert platform.node() not in said
        assert getpass.getuser() == "root" or getpass.getuser() not in said


def test_the_readme_names_what_is_there(bundled):
    text = (bundled.folder / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:programs|feeds)/[^`*]+)`", text):
        assert (bundled.folder / name).is_file(), name
    assert "4 ExecuTorch programs of suite tiny v1 to time, 6 whose outputs are wanted" in text
    command = next(line for line in text.splitlines() if line.startswith("./executor_runner"))
    fed = re.search(r"--inputs=(\S+)", command)[1]
    assert (bundled.folder / fed).stat().st_size == 256
    protocol = bundled.manifest.protocol
    assert int(re.search(r"--num_executions=(\d+)", command)[1]) == protocol.warmup_runs + protocol.min_runs
    assert re.search(r"func test_forward_teacher_xnnpack_fp32_s0_[0-9a-f]{12}\(\)", text)


def test_a_selection_is_part_of_a_run(real, tmp_path):
    done = bundle(real.run, tmp_path / "out", Store(real.store), "method=kd,target=xnnpack-int8")
    assert done.manifest.cases == ("digits:resnet8-dscnn/kd/xnnpack-int8/s0/host",)
    assert done.manifest.partial
    with pytest.raises(
        UsageError, match=r"^--only 'method=at': this suite has no method 'at'; known: teacher, scratch"
    ):
        bundle(real.run, tmp_path / "no", Store(real.store), "method=at")
    assert not (tmp_path / "no").exists()


def test_a_program_of_several_devices_is_handed_out_once(real):
    run = made_up.run(broken=False)
    others = tuple(
        record.model_copy(update={"device": "qemu:x", "case": record.case.replace("/host", "/qemu:x")})
        for record in run.records
    )
    both = run.model_copy(update={"records": others + run.records})
    assert [record.case for record in chosen(both)] == [record.case for record in run.records]


def test_cases_without_a_program_are_told(real, tmp_path):
    [first, *others] = real.run.records
    run = real.run.model_copy(update={"records": (made_up.failed(first), *others)})
    done = bundle(run, tmp_path / "out", Store(real.store))
    assert done.without == (first.case,)
    assert done.manifest.partial
    with pytest.raises(UsageError, match=r"has no program to bundle: crashed: signal 11 \(SIGSEGV\)$"):
        bundle(run.model_copy(update={"records": (made_up.failed(first),)}), tmp_path / "no", Store(real.store))


def test_a_place_that_is_taken_and_a_bundle_that_is_too_large_are_refused(real, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"out exists already; a bundle wants a new folder$"):
        bundle(real.run, tmp_path / "out", Store(real.store))
    monkeypatch.setattr(module, "MAX_BYTES", 500_000)
    with pytest.raises(UsageError, match=r"^the bundle would weigh 1 MB, at most 0\.5 MB; select cases with --only$"):
        bundle(real.run, tmp_path / "new", Store(real.store))
    with pytest.raises(UsageError, match="; leave out --outputs, or select cases with --only$"):
        bundle(real.run, tmp_path / "new", Store(real.store), outputs=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lost_program_and_a_full_disk_leave_nothing_behind(real, tmp_path, monkeypatch):
    with pytest.raises(MeasureError, match=r"is not in the store .*make it again with: kdbench run tiny --only"):
        bundle(real.run, tmp_path / "out", Store(tmp_path / "store"))
    shutil.rmtree(tmp_path / "store", ignore_errors=True)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(MeasureError, match=r"^cannot write the bundle to .*out: No space left on device$"):
        bundle(real.run, tmp_path / "out", Store(real.store))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON: Expecting value"),
        ("[]", "is not a bundle's manifest: Input should be a valid dictionary"),
        ('{"format": 2}', "is not a bundle's manifest: format: Input should be 1"),
        ('{"format": NaN}', "is not JSON: NaN is not a number"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, text, why):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=f"manifest.json {why}"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(
        UsageError, match=r"is no bundle: it has no manifest\.json; kdbench bundle RUN --to DIR makes one$"
    ):
        read_manifest(tmp_path)
