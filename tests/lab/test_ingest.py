"""What comes back from a lab as a run: of the made-up bundle, with no store behind it."""

import json

import made_bundle
import made_up
import numpy as np
import pytest
from made_bundle import CASE, REFERENCE, in_logcat, line, measured, metric, on_terminal, one, ran, ran_before_1_3

from kdbench.errors import UsageError
from kdbench.formats import render, rows_of
from kdbench.gate import compare
from kdbench.lab.ingest import ingest, read_results, result_files
from kdbench.ranking import rankings
from kdbench.records import read_run, read_samples
from kdbench.reports.page import page
from kdbench.results import find_run, save
from kdbench.spec import Protocol
from kdbench.store import Store

RUN = made_bundle.run()
RECORD = made_bundle.record(RUN)
SHA = RECORD.program_sha256
STEM = made_bundle.entry(RECORD).stem
OTHER = "digits:resnet8-dscnn/scratch/xnnpack-int8/s0/host"
MEAN = "avg_inference_latency(ms)"


@pytest.fixture
def taken(tmp_path):
    """A function: take in files of these contents, by name, and return the run, its samples and its items."""

    def take(files, manifest=None, name="pixel-8", run=RUN):
        told = [read_results(made_bundle.written(tmp_path / file, content)) for file, content in files.items()]
        return ingest(run, manifest or made_bundle.manifest(), told, name, Store(tmp_path / "store"), ("kdbench",))

    return take


def wide(run):
    return render(rows_of([run]), "terminal", width=200)


def alone(made):
    [record] = made[0].records
    return record


def test_a_row_has_the_programs_facts_and_the_devices_times(taken):
    run, samples, items = taken({"measured.json": measured(one(SHA))})
    [record] = run.records
    assert record.case == "digits:resnet8-dscnn/kd/xnnpack-int8/s0/import:pixel-8"
    assert record.device == "import:pixel-8"
    for kept in ("size_bytes", "download_bytes", "arena_bytes", "params", "macs", "train_s"):
        assert record.metrics[kept] == RECORD.metrics[kept]
    assert (record.checkpoint_sha256, record.program_sha256) == (RECORD.checkpoint_sha256, SHA)
    assert (record.metrics["latency_ms"], record.metrics["latency_mean_ms"]) == (3.0, 3.0)
    for gone in ("load_program_ms", "load_method_ms", "first_ms", "peak_rss_bytes"):
        assert record.metrics[gone] is None
        assert record.reasons[gone] == "kdbench's measured.json does not tell it"
    assert record.reasons["latency_ref"] == "no reference was timed"
    assert record.reasons["latency_p99_ms"] == "needs 1,000 samples, there are 3"
    for quality in ("accuracy", "flips", "agreement", "ece"):
        assert record.metrics[quality] is None
        assert record.reasons[quality] == "no outputs came back"
    assert record.details["imported"] == {"case": CASE, "known_by": "sha256"}
    [speed] = run.speeds
    assert speed.runtime == "imported: executor_runner executorch-1.5.1 aarch64"
    assert (speed.threads, speed.samples, speed.process_medians_ms) == (1, 3, (3.0,))
    assert samples == {f"{RECORD.structure}/import:pixel-8/0": pytest.approx([2e6, 3e6, 4e6])}
    assert items == {}


def test_nothing_of_the_host_is_among_the_figures_of_the_device(taken):
    host = {name for name, value in RECORD.metrics.items() if value is not None}
    record = alone(taken({"measured.json": measured(one(SHA))}))
    same = {name for name in host if record.metrics.get(name) == RECORD.metrics[name]}
    assert same == {
        "params", "macs", "size_bytes", "download_bytes", "weight_bytes", "arena_bytes", "delegated", "quantized_share",
        "train_s", "student_steps", "student_forwards", "teacher_forwards", "own_forwards", "backwards",
    }  # fmt: skip


def test_the_run_says_where_it_comes_from_and_is_a_suite_of_its_own(taken, tmp_path):
    run = taken({"measured.json": measured(one(SHA))})[0]
    assert run.name == "made@import-pixel-8"
    assert run.suite["devices"] == ["import:pixel-8"]
    assert run.partial
    assert {net.checkpoint_sha256 for net in run.networks} == {RECORD.checkpoint_sha256}
    [file] = run.provenance.imported
    assert (file.file, file.reader, file.run) == ("measured.json", "kdbench's measured.json", RUN.id)
    assert file.device == {"name": "Pixel 8", "soc": "Tensor G3", "os": "Android 15"}
    assert file.sha256 == made_up.hashlib.sha256((tmp_path / "measured.json").read_bytes()).hexdigest()
    machine = run.provenance.machine
    assert (machine.slug, machine.cpu, machine.system) == ("import-pixel-8", "Pixel 8, Tensor G3", "Android 15")
    assert machine.fingerprint != RUN.provenance.machine.fingerprint


def test_it_is_written_found_shown_ranked_and_reported_like_any_run_and_no_path_is_in_it(taken, tmp_path):
    device = {"name": "Pixel 8", "os": "/home/ann/android"}
    run, samples, items = taken({"measured.json": measured(one(SHA), device=device)})
    folder = save(run, samples, items, tmp_path / "results")
    assert folder.parts[-3:-1] == ("import-pixel-8", "made@import-pixel-8")
    made_up.on_disk(tmp_path / "results", RUN)
    assert find_run("made@import-pixel-8", tmp_path / "results") == folder
    assert find_run("made", tmp_path / "results") != folder
    read = read_run(folder)
    assert "/home" not in (folder / "run.json").read_text(encoding="utf-8")
    assert read.provenance.imported[0].device["os"] == "android"
    assert [each.tolist() for each in read_samples(folder).values()] == [[2_000_000, 3_000_000, 4_000_000]]
    shown = wide(read)
    assert "import:pixel-8" in shown
    assert "imported: executor_runner executorch-1.5.1 aarch64, 1 thread" in shown
    assert "3000.0" in shown
    [ranking] = rankings([read])
    assert ranking.device == "import:pixel-8"
    text = page([read], tmp_path / "results")
    assert "measured.json, sha256" in text
    assert "read as kdbench&#39;s measured.json" in text


def test_its_times_meet_the_hosts_in_no_comparison(taken):
    run = taken({"measured.json": measured(one(SHA))})[0]
    comparison = compare(RUN, run)
    assert [verdict.verdict for verdict in comparison.verdicts] == ["incomparable"]
    assert {ranking.device for ranking in rankings([RUN, run])} == {"host", "import:pixel-8"}


def test_the_speed_of_a_structure_is_shared_by_its_cases_and_a_second_program_checks_it(taken):
    manifest = made_bundle.manifest(cases=(CASE, OTHER))
    other = made_bundle.record(RUN, OTHER).program_sha256
    entries = manifest.programs
    manifest = manifest.model_copy(update={"programs": (entries[0], entries[1].model_copy(update={"timing": ""}))})
    run = taken({"measured.json": measured(one(SHA))}, manifest)[0]
    assert [record.metrics["latency_ms"] for record in run.records] == [3.0, 3.0]
    assert run.records[1].details["imported"] == {"case": OTHER}
    both = measured(one(SHA), one(other, samples_ns=[6_000_000] * 3))
    [speed] = taken({"measured.json": both}, manifest)[0].speeds
    assert (speed.program_sha256, speed.metrics["latency_ms"]) == (SHA, 3.0)
    assert (speed.checked_sha256, speed.checked_ratio) == (other, 2.0)


def test_programs_beyond_a_structures_check_are_told_as_left_out(taken):
    cases = (CASE, OTHER, "digits:resnet8-dscnn/kd/xnnpack-int8/s1/host")
    manifest = made_bundle.manifest(cases=cases)
    shas = [made_bundle.record(RUN, case).program_sha256 for case in cases]
    run = taken({"measured.json": measured(*map(one, shas))}, manifest)[0]
    [file] = run.provenance.imported
    third, first = manifest.programs[2].file, manifest.programs[0].file
    assert file.left == (f"times of {third}: it runs as {first} does",)


def test_the_ratio_to_the_reference_is_told_where_it_ran_in_the_same_processes(taken):
    def ratio(*processes):
        timed = [one(SHA, samples_ns=[4_000_000] * 3, process=place) for place in (0, 1)]
        ruler = [one(REFERENCE, samples_ns=[ns] * 3, process=place) for place, ns in processes]
        record = alone(taken({"measured.json": measured(*timed, *ruler)}))
        return record.metrics["latency_ref"], record.reasons.get("latency_ref")

    assert ratio((0, 2_000_000), (1, 1_000_000)) == (3.0, None)
    assert ratio((0, 2_000_000)) == (None, "the reference was not timed in the same processes")
    assert ratio() == (None, "no reference was timed")


def test_memory_is_what_the_program_adds(taken):
    peaks = [one(SHA, peak_rss_bytes=9_000), one(SHA, peak_rss_bytes=8_000)]
    record = alone(taken({"measured.json": measured(one(SHA), *peaks, empty_rss_bytes=5_000)}))
    assert record.metrics["peak_rss_bytes"] == 3_000
    record = alone(taken({"measured.json": measured(one(SHA), *peaks)}))
    assert record.metrics["peak_rss_bytes"] is None
    assert record.reasons["peak_rss_bytes"].startswith("the peak of a process without a program was not told")


def test_load_and_first_inference_are_medians_over_processes(taken):
    told = [one(SHA, samples_ns=[1, 1], process=p, load_ms=2.0 + p, first_ms=1.0 + p * p) for p in range(3)]
    record = alone(taken({"measured.json": measured(*told)}))
    assert (record.metrics["load_ms"], record.metrics["first_ms"]) == (3.0, 2.0)


def test_few_samples_and_processes_that_disagree_are_flagged(taken):
    one_sample = [one(SHA, samples_ns=[1_000_000], process=0), one(SHA, samples_ns=[2_000_000] * 5, process=1)]
    assert alone(taken({"measured.json": measured(*one_sample)})).flags == ("few-samples", "noisy")


def test_an_average_is_never_a_median(taken):
    rows = [metric(MEAN, 2.5, STEM), metric("model_load_time(ms)", 8.5, STEM), metric("ram_pss_usage(mb)", 3, STEM)]
    again = [metric(MEAN, 3.5, STEM)]
    run, samples, _ = taken({"one.json": rows, "two.json": again})
    [record] = run.records
    assert record.metrics["latency_mean_ms"] == 3.0
    assert record.metrics["load_ms"] == 8.5
    for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms"):
        assert record.metrics[name] is None
        assert record.reasons[name] == "ExecuTorch's minibench tells averages, and a median is of samples"
    assert record.metrics["peak_rss_bytes"] is None
    assert record.flags == ("no-samples", "known-by-name")
    assert record.details["imported"] == {
        "case": CASE,
        "known_by": f"the name {STEM}: its tool tells no hash",
        "told": [{"ram_pss_usage(mb)": 3.0}],
    }
    [speed] = run.speeds
    assert (speed.samples, speed.process_medians_ms, speed.threads) == (0, (), 0)
    assert samples == {}
    assert [file.reader for file in run.provenance.imported] == ["ExecuTorch's minibench"] * 2
    shown = wide(run)
    assert "3000.0" in shown
    assert "mean" in shown
    assert " 0 threads" not in shown


def test_values_of_xctest_are_samples_of_the_program_that_its_test_is_called_by(taken):
    name = STEM.replace("-", "_")
    log = line(f"load_{name}_pte", [0.01]) + line(f"forward_{name}_pte", [0.002, 0.003, 0.007])
    record = alone(taken({"xctest.log": log}))
    assert (record.metrics["latency_ms"], record.metrics["latency_mean_ms"]) == (3.0, 4.0)
    assert record.metrics["load_ms"] == 10.0
    assert record.flags == ("known-by-name",)


def warmed(warmup=2):
    return made_bundle.manifest(protocol=Protocol(min_runs=2, warmup_runs=warmup))


def test_iterations_of_executor_runner_are_samples_but_for_the_warm_up(taken):
    logs = {
        "runner.log": on_terminal(ran(f"programs/{STEM}.pte", [9, 8, 2, 3, 7])),
        "logcat.log": in_logcat(ran(f"/data/local/tmp/{STEM}.pte", [7, 8, 3, 4, 2], load=2.5)),
    }
    run, samples, _ = taken(logs, warmed())
    [record] = run.records
    assert [each.tolist() for each in samples.values()] == [[2e6, 3e6, 7e6], [3e6, 4e6, 2e6]]
    assert (record.metrics["latency_ms"], record.metrics["latency_mean_ms"]) == (3.0, 3.5)
    assert (record.metrics["first_ms"], record.metrics["load_ms"]) == (8.0, 2.0)
    assert record.flags == ("known-by-name",)
    assert record.reasons["peak_rss_bytes"] == "executor_runner's log does not tell it"
    assert record.reasons["accuracy"] == "no outputs came back"
    assert record.details["imported"] == {"case": CASE, "known_by": f"the name {STEM}: its tool tells no hash"}
    [speed] = run.speeds
    assert (speed.runtime, speed.threads, speed.samples) == ("imported: ExecuTorch's executor_runner", 1, 6)
    assert (run.provenance.machine.cpu, run.provenance.machine.system) == ("", "")


def test_executor_runner_has_the_reference_in_no_process_of_a_programs(taken):
    log = on_terminal([*ran(f"{STEM}.pte", [4, 4, 4, 4]), *ran("reference.pte", [2, 2, 2, 2])])
    record = alone(taken({"runner.log": log}, warmed()))
    assert record.metrics["latency_ref"] is None
    assert record.reasons["latency_ref"] == "the reference was not timed in the same processes"


def test_outputs_may_come_beside_a_log_of_executor_runner(taken, tmp_path):
    manifest = warmed().model_copy(update={"programs": (made_bundle.entry(RECORD, testing="digits-test"),)})
    np.full(40, np.nan, dtype="<f4").tofile(tmp_path / "o.bin")
    log = on_terminal(ran(f"{STEM}.pte", [9, 8, 2, 3, 7]))
    record = alone(taken({"runner.log": log, "measured.json": measured(one(SHA, outputs="o.bin"))}, manifest))
    assert record.reason == "40 of the values that came back are no finite numbers"
    assert record.metrics["latency_ms"] == 3.0


def test_a_total_of_executor_runner_is_a_mean_with_its_warm_up_in_it(taken):
    record = alone(taken({"runner.log": on_terminal(ran_before_1_3(f"{STEM}.pte", 4, 10.0))}, warmed()))
    assert (record.metrics["latency_mean_ms"], record.metrics["latency_ms"]) == (2.5, None)
    assert record.reasons["latency_ms"] == "executor_runner's log tells averages, and a median is of samples"
    assert record.flags == ("no-samples", "with-warm-up", "known-by-name")


def test_a_run_no_longer_than_the_warm_up_is_refused(taken):
    why = rf"runner\.log: '{STEM}' ran 2 times in process 0, and the bundle asks for more than the 2 of its warm-up$"
    with pytest.raises(UsageError, match=why):
        taken({"runner.log": on_terminal(ran(f"{STEM}.pte", [4, 4]))}, warmed())
    record = alone(taken({"runner.log": on_terminal(ran(f"{STEM}.pte", [4, 4, 4]))}, warmed()))
    assert (record.metrics["latency_ms"], record.flags) == (4.0, ("known-by-name", "few-samples"))


def test_a_program_that_executor_runner_could_not_run_is_a_failed_row(taken):
    log = [
        *ran(f"{STEM}.pte", [4])[:6],
        ("F", "In function main(), assert failed (status == Error::Ok): no such kernel"),
    ]
    record = alone(taken({"runner.log": on_terminal(log)}, warmed()))
    assert (record.status, record.reason) == ("failed", "no such kernel")


def test_a_case_without_a_result_is_a_row_and_so_is_one_that_failed(taken):
    teacher = "digits:resnet8-dscnn/teacher/xnnpack-int8/s0/host"
    manifest = made_bundle.manifest(cases=(CASE, teacher))
    run = taken({"measured.json": measured(one(SHA, failed="crashed: signal 11"))}, manifest)[0]
    failed, skipped = run.records
    assert (failed.status, failed.reason) == ("failed", "crashed: signal 11")
    assert failed.reasons["latency_ms"] == "crashed: signal 11"
    assert failed.metrics["size_bytes"] == RECORD.metrics["size_bytes"]
    assert (skipped.status, skipped.reason) == ("skipped", "no result came back for it")
    assert skipped.metrics["latency_ms"] is None


def test_notes_on_what_the_host_answered_stay_with_the_host(taken):
    notes = [
        "xnnpack-int8: judged by a reference model, not run",
        "xnnpack-int8: its accuracy may be up to 3.1 points below its network's, more than 2",
        "xnnpack-int8: its weights are larger than promised",
    ]
    run = made_up.with_record(RUN, CASE, details={"test_items": 360, "notes": notes, "beside_host": {"x": 1}})
    record = alone(taken({"measured.json": measured(one(SHA))}, run=run))
    assert record.notes == ("xnnpack-int8: its weights are larger than promised",)
    assert record.details.keys() == {"test_items", "notes", "imported"}


WRONG = made_up.sha("another program")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {"a.json": measured(one(WRONG))},
            f"a.json: no program of the bundle of run {RUN.id} has the sha256 {WRONG[:16]}",
        ),
        (
            {"a.json": [metric(MEAN, 1.0, "other")]},
            f"a.json: no program of the bundle of run {RUN.id} has the name 'other'",
        ),
        ({"a.log": line("forward_x_pte", [0.1])}, f"a.log: no program of the bundle of run {RUN.id} has the name 'x'"),
        (
            {"a.log": on_terminal(ran("/data/x.pte", [1, 2]))},
            f"a.log: no program of the bundle of run {RUN.id} has the name 'x'",
        ),
        (
            {"a.json": measured(one(SHA)), "b.log": on_terminal(ran(f"{STEM}.pte", range(1, 20)))},
            "kdbench's measured.json and executor_runner's log both measured programs/",
        ),
        (
            {"a.json": measured(one(SHA), one(SHA, samples_ns=[1], threads=4, process=1))},
            "there are results with 1 and 4 threads: ingest each under its own --name",
        ),
        (
            {"a.json": measured(one(SHA)), "b.json": [metric(MEAN, 1.0, STEM)]},
            "kdbench's measured.json and ExecuTorch's minibench both measured programs/",
        ),
        ({"a.json": measured(one(SHA), one(SHA))}, "a.json: process 0 has samples of one program twice"),
        ({"a.json": measured(one(SHA)), "b.json": measured(one(SHA))}, "b.json are the same results"),
        ({"a.json": measured(one(SHA, outputs="o.bin"))}, "o.bin: outputs of programs/"),
    ],
)
def test_what_cannot_be_placed_is_one_line_and_no_run(taken, files, why):
    with pytest.raises(UsageError) as error:
        taken(files)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bundle_of_another_run_and_bad_names_are_refused(taken):
    with pytest.raises(UsageError, match=rf"^the bundle is of run x, not of {RUN.id}$"):
        taken({"a.json": measured(one(SHA))}, made_bundle.manifest().model_copy(update={"run": "x"}))
    for name in ("", "../x", "a b", "-x", "x" * 49):
        with pytest.raises(UsageError, match=r"expected letters, digits and \. _ -, such as pixel-8$"):
            taken({"a.json": measured(one(SHA))}, name=name)
    with pytest.raises(UsageError, match=r"has no case nothing of the bundle$"):
        taken({"a.json": measured(one(SHA))}, made_bundle.manifest().model_copy(update={"cases": ("nothing",)}))


def test_outputs_must_be_as_many_values_as_were_asked_for(taken, tmp_path):
    entry = made_bundle.entry(RECORD, testing="digits-test")
    manifest = made_bundle.manifest(programs=(entry,))
    told = {"a.json": measured(one(SHA, outputs="o.bin"))}
    with pytest.raises(UsageError, match=r"cannot read .*o\.bin: No such file or directory$"):
        taken(told, manifest)
    (tmp_path / "o.bin").write_bytes(bytes(4 * 39))
    with pytest.raises(UsageError, match=r"o\.bin has 39 values of float32, expected 4 outputs of float32 \[1, 10\]$"):
        taken(told, manifest)
    (tmp_path / "o.bin").write_bytes(bytes(4 * 40))
    twice = {"a.json": measured(one(SHA, outputs="o.bin"), one(SHA, outputs="o.bin"))}
    with pytest.raises(UsageError, match=r"o\.bin: outputs of programs/.* are there twice$"):
        taken(twice, manifest)
    np.save(tmp_path / "o.npy", np.zeros((4, 10)))
    with pytest.raises(UsageError, match=r"o\.npy has 40 values of float64, expected 4 outputs"):
        taken({"a.json": measured(one(SHA, outputs="o.npy"))}, manifest)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"o\.npy is not a \.npy array: Object arrays cannot be loaded"):
        taken({"a.json": measured(one(SHA, outputs="o.npy"))}, manifest)


def test_outputs_that_are_no_numbers_fail_the_row_with_their_count(taken, tmp_path):
    manifest = made_bundle.manifest(programs=(made_bundle.entry(RECORD, testing="digits-test"),))
    values = np.zeros(40, dtype="<f4")
    values[:3] = np.nan, np.inf, -np.inf
    values.tofile(tmp_path / "o.bin")
    record = alone(taken({"a.json": measured(one(SHA, outputs="o.bin"))}, manifest))
    assert record.status == "failed"
    assert record.reason == "3 of the values that came back are no finite numbers"
    assert record.reasons["accuracy"] == record.reason
    assert record.metrics["size_bytes"] == RECORD.metrics["size_bytes"]


def test_a_folder_is_every_result_in_it_but_its_manifest(tmp_path):
    for name in ("b.json", "a.log", "manifest.json", "README.md", "x.bin"):
        (tmp_path / name).write_text("")
    assert [path.name for path in result_files(tmp_path)] == ["a.log", "b.json"]
    assert result_files(tmp_path / "x.bin") == (tmp_path / "x.bin",)
    with pytest.raises(UsageError, match=r"^no file or folder .*nowhere$"):
        result_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty holds no results: no \.json but a manifest\.json, and no \.log$"):
        result_files(tmp_path / "empty")


def test_the_quick_suite_of_a_device_is_made_again_by_the_quick_suite():
    from kdbench.cases import again

    quick = RUN.model_copy(update={"suite": {**RUN.suite, "name": "made@quick@import-pixel-8"}})
    assert "kdbench run made --quick --only" in again(quick, RECORD)
    assert json.dumps(quick.suite["name"]) == '"made@quick@import-pixel-8"'
