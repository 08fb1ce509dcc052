import dataclasses
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from jobs import TYPES, expected, interleave, predict, row_tensors, timing

import kdbench.devices.host
from kdbench.devices.host import Host, host
from kdbench.devices.job import Input, Job, Load, Memory, Predict, Program
from kdbench.errors import StageError, UsageError


def test_outputs_are_those_of_executorchs_own_runtime_bit_for_bit(either, tiny_program, portable_program):
    job = Job(
        (Program("a", tiny_program.path), Program("b c", portable_program.path)),
        (Input("x y", tiny_program.inputs),),
        (Load("a"), Load("b c"), Predict("b c", "x y"), Predict("a", "x y")),
    )
    outputs = either.run(job).outputs
    for name, tiny in (("a", tiny_program), ("b c", portable_program)):
        (found,) = outputs[name]
        rows = expected(tiny.path, row_tensors(tiny.items))
        np.testing.assert_array_equal(found, np.stack([row[0].numpy() for row in rows]), strict=True)
    assert not np.array_equal(outputs["a"][0], outputs["b c"][0])


def test_every_type_goes_in_and_comes_out(either, typed_program):
    generator = np.random.default_rng(0)
    arrays = []
    for name in TYPES:
        if name == "bool":
            arrays.append(generator.random((3, 1, 3)) < 0.5)
        elif name == "bfloat16":
            arrays.append(
                (generator.standard_normal((3, 1, 3)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            )
        elif name.startswith("float"):
            arrays.append(generator.standard_normal((3, 1, 3)).astype(name))
        else:
            low, high = np.iinfo(name).min, np.iinfo(name).max
            arrays.append(generator.integers(low, high, (3, 1, 3), dtype=name, endpoint=True))
    job = Job(
        (Program("p", typed_program),), (Input("x", tuple(arrays)),), (Load("p"), Predict("p", "x")), timeout_s=60
    )
    outputs = either.run(job).outputs["p"]
    assert len(outputs) == len(TYPES)
    for array, output in zip(arrays, outputs, strict=True):
        np.testing.assert_array_equal(output, np.concatenate([array, array], axis=1), strict=True)


def test_inputs_of_two_kinds_give_outputs_of_two_shapes(either, mixed_program):
    values = np.random.default_rng(0).standard_normal((5, 1, 6)).astype(np.float32)
    factors = np.arange(5, dtype=np.int64)[:, None] - 2
    inputs = (Input("x", (values, factors)),)
    job = Job((Program("p", mixed_program),), inputs, (Load("p"), Predict("p", "x")))
    scaled, sums = either.run(job).outputs["p"]
    rows = expected(mixed_program, row_tensors(values, factors))
    np.testing.assert_array_equal(scaled, np.stack([row[0].numpy() for row in rows]), strict=True)
    np.testing.assert_array_equal(sums, np.stack([row[1].numpy() for row in rows]), strict=True)
    np.testing.assert_array_equal(scaled[2], np.zeros((1, 6)))


def test_a_method_runs_by_its_name(either, tiny_folder):
    import torch

    from kdbench.lowering.export import calm

    class Two(torch.nn.Module):
        def forward(self, x):
            return x + 1

    class Other(torch.nn.Module):
        def forward(self, x):
            return x - 1

    example = (torch.ones(1, 2),)
    path = tiny_folder / "methods.pte"
    with calm():
        from executorch.exir import to_edge_transform_and_lower

        methods = {"forward": torch.export.export(Two(), example), "back": torch.export.export(Other(), example)}
        path.write_bytes(to_edge_transform_and_lower(methods).to_executorch().buffer)
    items = np.ones((1, 1, 2), dtype=np.float32)
    programs = (Program("f", path), Program("b", path, "back"))
    steps = (Load("f"), Load("b"), Predict("f", "x"), Predict("b", "x"))
    outputs = either.run(Job(programs, (Input("x", (items,)),), steps)).outputs
    assert outputs["f"][0].tolist() == [[[2, 2]]]
    assert outputs["b"][0].tolist() == [[[0, 0]]]


def test_blocks_interleave_in_an_order_that_follows_from_the_seed(native, tiny_program, other_program):
    programs = {name: tiny_program if name == "a" else other_program for name in "abcd"}

    def blocks(runner, seed):
        result = runner.run(timing(programs, interleave(programs, seed=seed)))
        assert {name: len(samples) for name, samples in result.samples.items()} == dict.fromkeys("abcd", 20)
        return result.blocks

    first = blocks(native, 7)
    assert blocks(native, 7) == first
    assert blocks(Host("host", "python"), 7) == first
    assert blocks(native, 8) != first
    rounds = [first[at : at + 4] for at in range(0, 80, 4)]
    assert all(sorted(each) == list("abcd") for each in rounds)
    assert len(set(rounds)) > 8


def test_known_order_of_blocks(native, tiny_program):
    """The orders of seed 1, worked out with SplitMix64's published constants by hand of another implementation."""
    programs = dict.fromkeys("abc", tiny_program)
    result = native.run(timing(programs, interleave(programs, runs=3, seed=1)))
    state, order, told = 1, list("abc"), []
    for _ in range(3):
        for left in (3, 2):
            state = (state + 11400714819323198485) % 2**64
            mixed = (state ^ state >> 30) * 13787848793156543929 % 2**64
            mixed = (mixed ^ mixed >> 27) * 10723151780598845931 % 2**64
            at = (mixed ^ mixed >> 31) % left
            order[at], order[left - 1] = order[left - 1], order[at]
        told += order
    assert result.blocks == tuple(told)


def test_a_program_is_done_after_enough_runs_and_enough_time_or_at_its_cap(native, tiny_program):
    def samples(**limits):
        return native.run(timing({"a": tiny_program}, interleave("a", **limits))).samples["a"]

    timed = samples(runs=5, min_ns=3_000_000)
    assert timed.sum() >= 3_000_000
    assert timed[:-1].sum() < 3_000_000
    assert len(timed) > 5
    assert len(samples(runs=5)) == 5
    capped = samples(runs=10**6, max_ns=2_000_000)
    assert capped[:-1].sum() < 2_000_000 <= capped.sum()
    block = native.run(timing({"a": tiny_program}, interleave("a", runs=1, block_ns=1_000_000)))
    assert block.blocks == ("a",)
    assert block.samples["a"][:-1].sum() < 1_000_000 <= block.samples["a"].sum()


def test_a_result_tells_times_threads_and_peaks(either, tiny_program):
    steps = (Memory("before"), Load("p"), interleave("p"), Memory("after"))
    programs = (Program("p", tiny_program.path), Program("unused", tiny_program.path))
    result = either.run(Job(programs, (Input("x", tiny_program.inputs),), steps, threads=2, timeout_s=60))
    assert result.threads == 2
    assert result.runner == either.runtime
    for times in (result.load_program_ns, result.load_method_ns, result.first_ns):
        assert set(times) == {"p"}
        assert 0 < times["p"] < 60e9
    assert result.samples["p"].dtype == np.int64
    assert (result.samples["p"] > 0).all()
    assert 1 << 20 < result.peak_rss_bytes["before"] <= result.peak_rss_bytes["after"] < 4 << 30
    assert set(result.anonymous_bytes) == set(result.file_bytes) == {"before", "after"}
    assert 0 < result.anonymous_bytes["before"] <= result.anonymous_bytes["after"] < result.peak_rss_bytes["after"]
    assert 0 < result.file_bytes["before"] <= result.file_bytes["after"] < result.peak_rss_bytes["after"]
    assert result.outputs == {}
    assert result.pinned is None


def test_a_job_stays_on_one_core_where_it_is_asked_to(either, tiny_program):
    result = either.run(predict(tiny_program, pin=True))
    assert result.pinned == max(os.sched_getaffinity(0))


def test_several_threads_are_not_pinned(native, tiny_program):
    assert native.run(predict(tiny_program, pin=True, threads=2)).pinned is None


def test_the_python_runner_stops_where_the_native_one_does(tiny_program, other_program):
    programs = {"a": tiny_program, "b": other_program}
    step = interleave("ab", runs=3, min_ns=3_000_000, block_ns=1_000_000)
    result = Host("host", "python").run(timing(programs, step))
    for samples in result.samples.values():
        assert len(samples) >= 3
        assert samples[:-1].sum() < 4_000_000
        assert samples.sum() >= 3_000_000
    assert {"a", "b"} == set(result.blocks)
    step = interleave("a", runs=10**6, max_ns=2_000_000)
    capped = Host("host", "python").run(timing({"a": tiny_program}, step)).samples["a"]
    assert capped[:-1].sum() < 2_000_000 <= capped.sum()


def test_loading_and_timing_are_apart_from_the_first_inference(native, portable_program):
    result = native.run(timing({"p": portable_program}, interleave("p", runs=3, warmup_runs=1)))
    assert len(result.samples["p"]) == 3
    assert result.first_ns["p"] > 0


def broken_files(tiny, folder):
    data = tiny.path.read_bytes()
    return {
        "empty": b"",
        "text": b"not a program at all, just some words that are long enough",
        "header": data[:64],
        "half": data[: len(data) // 2],
    }


@pytest.mark.parametrize("kind", ["empty", "text", "header", "half"])
def test_a_damaged_program_fails_with_one_line(native, tiny_program, tmp_path, kind):
    path = tmp_path / f"{kind}.pte"
    path.write_bytes(broken_files(tiny_program, tmp_path)[kind])
    with pytest.raises(StageError) as caught:
        native.run(predict(dataclasses.replace(tiny_program, path=path)))
    assert caught.value.status in {"failed", "crashed"}
    assert "\n" not in caught.value.reason
    assert str(path) in caught.value.reason


def test_a_program_for_a_missing_backend_fails_with_its_path(either, broken_program):
    with pytest.raises(StageError, match=r"cannot load method 'forward' of program .*broken\.pte") as caught:
        either.run(predict(broken_program))
    assert caught.value.status == "failed"


def forever(tiny, timeout):
    return timing({"p": tiny}, interleave("p", min_ns=10**11), timeout_s=timeout)


def test_what_does_not_end_is_ended(native, tiny_program):
    with pytest.raises(StageError, match=r"^no result after 0\.3 s$") as caught:
        native.run(forever(tiny_program, 0.3))
    assert caught.value.status == "timed-out"
    assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, r"^crashed: signal 11 \(SIGSEGV\)$"),
        (signal.SIGKILL, r"^crashed: signal 9 \(SIGKILL\); perhaps for want of memory$"),
    ],
)
def test_a_runner_that_dies_is_a_crash(native, tiny_program, number, words):
    def kill():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in psutil.Process().children():
                if child.name().startswith("runner-"):
                    child.send_signal(number)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StageError, match=words) as caught:
        native.run(forever(tiny_program, 60))
    killer.join()
    assert caught.value.status == "crashed"


def test_nothing_is_left_behind(native, tiny_program, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    native.run(predict(tiny_program))
    with pytest.raises(StageError):
        native.run(forever(tiny_program, 0.1))
    assert list(tmp_path.iterdir()) == []


def test_the_runner_is_chosen_by_the_environment_or_by_what_there_is(monkeypatch):
    told = f"executorch-1.5.1 {platform.machine()}"
    monkeypatch.delenv("KDBENCH_RUNNER", raising=False)
    assert host("host").runtime == f"native {told}"
    monkeypatch.setenv("KDBENCH_RUNNER", "python")
    assert host("host").runtime == f"python {told}"
    monkeypatch.setenv("KDBENCH_RUNNER", "cobol")
    with pytest.raises(UsageError, match=r"^KDBENCH_RUNNER='cobol': expected native or python$"):
        host("host")
    monkeypatch.delenv("KDBENCH_RUNNER")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert host("host").runtime == f"python {told}"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert host("host").runtime == f"native {told}"


def test_the_environment_does_not_reach_the_native_runner(native, tiny_program, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent/preloaded.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nonexistent")
    assert native.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)


def test_only_a_job_that_asks_for_huge_pages_tells_malloc_so(native, tiny_program, monkeypatch):
    finish, given = kdbench.devices.host.finish, []

    def finished(command, environment, *rest):
        given.append(environment)
        finish(command, environment, *rest)

    monkeypatch.setattr("kdbench.devices.host.finish", finished)
    job = predict(tiny_program)
    for each in (job, dataclasses.replace(job, huge=True), job):
        assert native.run(each).outputs["p"][0].shape == (4, 1, 4)
    assert given[1] == {**given[0], "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    assert given[2] == given[0]


def test_importing_the_host_imports_neither_torch_nor_executorch():
    code = (
        "import sys, kdbench.devices.host as h; h.host('host').runtime; from kdbench.devices.runner import build;"
        "build.executorch_folder(); print([m for m in ('torch', 'executorch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
