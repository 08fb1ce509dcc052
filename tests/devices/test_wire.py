import json

import numpy as np
import pytest
from jobs import interleave, predict, timing

from kdbench.devices.job import Input, Job, Load, Memory, Predict, Program
from kdbench.devices.wire import read_result, write_job
from kdbench.errors import StageError, UsageError


def test_a_job_is_text_and_raw_arrays(tiny_program, tmp_path):
    items = np.arange(6, dtype=">i2").reshape(3, 2)
    job = Job(
        (Program("p", tiny_program.path), Program("q", tiny_program.path, "back")),
        (Input("x", (items, items[:, 0].astype(bool))),),
        (Load("q"), Predict("q", "x"), Memory("here")),
        threads=3,
    )
    write_job(job, tmp_path, cpu=1)
    path = tiny_program.path
    assert (tmp_path / "job.txt").read_text().splitlines() == [
        "kdbench-job\t1",
        "threads\t3",
        "cpu\t1",
        f"program\tforward\t{path}",
        f"program\tback\t{path}",
        "input\t3\t2",
        f"array\tint16\t4\t{tmp_path}/input-0-0.bin\t2",
        f"array\tbool\t1\t{tmp_path}/input-0-1.bin",
        "load\t1",
        "predict\t1\t0",
        "memory\t0",
        "end\t11",
    ]
    assert (tmp_path / "input-0-0.bin").read_bytes() == items.astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job((), (), (Load("p"),)), "the job has no program 'p'"),
        (Job((Program("p", "x"),), (), (Predict("p", "x"),)), "the job has no input 'x'"),
        (
            Job((), (Input("x", (np.zeros((2, 1)), np.zeros((3, 1)))),), ()),
            r"input 'x': arrays of \[2, 3\] items, expected one number of items for all",
        ),
    ],
)
def test_a_job_that_cannot_be_is_a_usage_error(job, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        write_job(Job(tuple(Program(p.name, tmp_path) for p in job.programs), job.inputs, job.steps), tmp_path)


def test_a_program_predicts_once(tiny_program, tmp_path):
    job = predict(tiny_program, steps=(Load("p"), Predict("p", "x"), Predict("p", "x")))
    with pytest.raises(UsageError, match=r"^the job predicts with program 'p' twice$"):
        write_job(job, tmp_path)


@pytest.mark.parametrize("mark", ["\t", "\n"])
def test_a_path_with_a_tab_or_a_line_break_is_refused(tmp_path, mark):
    with pytest.raises(UsageError, match="has a tab or a line break, which a job cannot hold; rename it"):
        write_job(Job((Program("p", tmp_path / f"a{mark}b"),), (), ()), tmp_path)


@pytest.fixture
def done(native, tiny_program, tmp_path):
    """A job and the folder with what the runner left for it."""
    import subprocess

    from kdbench.devices.runner.build import runner

    step = interleave("p", runs=5)
    job = timing({"p": tiny_program}, step)
    job = Job(job.programs, job.inputs, (*job.steps, Predict("p", "x")))
    write_job(job, tmp_path)
    subprocess.run([str(runner()), str(tmp_path)], check=True)
    return job, tmp_path


def test_a_result_is_read(done):
    job, folder = done
    result = read_result(job, folder, "r")
    assert result.runner == "r"
    assert len(result.samples["p"]) == 5
    assert result.outputs["p"][0].shape == (4, 1, 4)


def spoil(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def tabled(change):
    def run(data):
        table = json.loads(data)
        change(table)
        return json.dumps(table).encode()

    return run


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("samples-0.bin", lambda data: data[:-8], r"samples-0\.bin has 4 samples, expected 5"),
        ("output-0-0.bin", lambda data: data[:-4], r"output-0-0\.bin has 15 values, expected 16"),
        ("result.json", lambda data: data[:40], "the runner's results cannot be read: JSONDecodeError"),
        ("result.json", tabled(lambda table: table.update(version=9)), "results of version 9, expected 1"),
        ("result.json", tabled(lambda table: table["programs"].clear()), "the runner's results cannot be read"),
        ("result.json", tabled(lambda table: table.update(blocks=[5])), "the runner's results cannot be read"),
    ],
)
def test_results_that_are_cut_off_or_of_another_version_are_refused(done, file, change, words):
    job, folder = done
    spoil(folder, file, change)
    with pytest.raises(StageError, match=words):
        read_result(job, folder, "r")
