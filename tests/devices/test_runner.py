"""What both runners answer to jobs that are none."""

import resource
from dataclasses import replace

import numpy as np
import pytest
from jobs import interleave, predict, timing

from kdbench.devices.job import Input, Job, Load, Predict, Program
from kdbench.devices.runner.build import runner

BAD_JOB, BAD_INPUT, BAD_PROGRAM, NO_MEMORY, NOT_WRITTEN = 10, 11, 12, 13, 15


def without_last_line(text):
    return "".join(text.splitlines(keepends=True)[:-1])


def half(text):
    return text[: len(text) // 2]


def changed(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    return change


SPOILED = {
    "another version": (changed("kdbench-job\t1", "kdbench-job\t2"), "job version 2, this runner reads version 1"),
    "no job": (changed("kdbench-job", "something"), "this is not a job of kdbench"),
    "cut off after a line": (without_last_line, "the job ends after line "),
    "cut off within": (half, "of the job: "),
    "a line is missing": (changed("load\t0\n", ""), "the job says that it has "),
    "an unknown statement": (changed("load\t0", "lead\t0"), "unknown statement 'lead'"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_job_is_refused(answer, tiny_program, name):
    change, words = SPOILED[name]
    code, said = answer("native", predict(tiny_program), change)
    assert code == BAD_JOB
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["another version", "cut off within", "an unknown statement"])
def test_the_python_runner_refuses_it_too(answer, tiny_program, name):
    change, words = SPOILED[name]
    code, said = answer("python", predict(tiny_program), change)
    assert code == BAD_JOB
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("threads\t1", "threads\tmany", "line 2 of the job: expected a whole number up to 1024, found 'many'"),
        ("threads\t1", "threads\t-1", "line 2 of the job: expected a whole number up to 1024, found '-1'"),
        ("threads\t1", "threads", "line 2 of the job: 'threads' has 1 fields, expected 2"),
        ("load\t0", "load\t3", "there is no program 3"),
        ("predict\t0\t0", "predict\t0\t7", "there is no input 7"),
        ("load\t0\npredict\t0\t0", "predict\t0\t0\nload\t0", "is used before it is loaded"),
        ("float32", "float31", "unknown dtype 'float31'"),
        ("array\t", "narray\t", "expected 'array', found 'narray'"),
        ("input\t4", "input\t0", "an input needs at least one item"),
    ],
)
def test_a_wrong_statement_is_named(answer, tiny_program, old, new, words):
    code, said = answer("native", predict(tiny_program), changed(old, new))
    assert code == BAD_JOB
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", ["native", "python"])
def test_an_input_file_of_another_length_is_refused(answer, tiny_program, tmp_path, kind):
    def cut(text):
        file = tmp_path / "input-0-0.bin"
        file.write_bytes(file.read_bytes()[:-1])
        return text

    code, said = answer(kind, predict(tiny_program), cut)
    assert code == BAD_INPUT
    assert f"{tmp_path}/input-0-0.bin has 3071 bytes, expected 3072" in said


def test_a_missing_input_file_is_refused(answer, tiny_program, tmp_path):
    def remove(text):
        (tmp_path / "input-0-0.bin").unlink()
        return text

    code, said = answer("native", predict(tiny_program), remove)
    assert (code, said) == (BAD_INPUT, f"cannot read {tmp_path}/input-0-0.bin\n")


def other_inputs(tiny, *arrays):
    return replace(predict(tiny), inputs=(Input("x", arrays),))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x.astype(np.float64),), "input 0 of program {} is float32, found float64"),
        (lambda x: (x[..., :7],), "input 0 of program {} has shape [1, 3, 8, 8], found [1, 3, 8, 7]"),
        (lambda x: (x[:, 0],), "input 0 of program {} has shape [1, 3, 8, 8], found [3, 8, 8]"),
        (lambda x: (x.repeat(2, axis=1),), "input 0 of program {} has shape [1, 3, 8, 8], found [2, 3, 8, 8]"),
        (lambda x: (x, x), "program {} has 1 inputs, found 2"),
    ],
)
def test_inputs_that_do_not_fit_the_method_are_refused(answer, tiny_program, change, words):
    code, said = answer("native", other_inputs(tiny_program, *change(tiny_program.items)))
    assert code == BAD_INPUT
    assert said == words.format(tiny_program.path) + "\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: (x.astype(np.float64),), "input 0 of program {} is float32, found float64"),
        (lambda x: (x[..., :7],), "input 0 of program {} has shape [1, 3, 8, 8], found [1, 3, 8, 7]"),
        (lambda x: (x, x), "program {} has 1 inputs, found 2"),
    ],
)
def test_the_python_runner_refuses_such_inputs_too(answer, tiny_program, change, words):
    code, said = answer("python", other_inputs(tiny_program, *change(tiny_program.items)))
    assert code == BAD_INPUT
    assert said.splitlines()[-1] == words.format(tiny_program.path)


@pytest.mark.parametrize("kind", ["native", "python"])
def test_an_unknown_method_is_refused_with_the_known_ones(answer, tiny_program, kind):
    job = replace(predict(tiny_program), programs=(Program("p", tiny_program.path, "backward"),))
    code, said = answer(kind, job)
    assert code == BAD_INPUT
    assert said.splitlines()[-1] == f"program {tiny_program.path} has no method 'backward'; it has [forward]"


@pytest.mark.parametrize("kind", ["native", "python"])
def test_a_missing_program_is_refused(answer, tiny_program, tmp_path, kind):
    path = tmp_path / "none here.pte"
    code, said = answer(kind, replace(predict(tiny_program), programs=(Program("p", path),)))
    assert code == BAD_PROGRAM
    assert said.splitlines()[-1].startswith(f"cannot load program {path}: ")


def test_too_little_memory_is_told(answer, tiny_program, tmp_path):
    def enlarge(text):
        with (tmp_path / "input-0-0.bin").open("r+b") as file:
            file.truncate(768 << 32)
        return text.replace("input\t4", f"input\t{1 << 32}")

    limit = 1 << 30
    code, said = answer(
        "native",
        predict(tiny_program),
        enlarge,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert (code, said) == (NO_MEMORY, "out of memory\n")


def test_results_that_cannot_be_written_are_told(answer, tiny_program, tmp_path):
    def block(text):
        (tmp_path / "samples-0.bin").mkdir()
        return text

    code, said = answer("native", predict(tiny_program), block)
    assert code == NOT_WRITTEN
    assert said.startswith("cannot write results: ")
    assert said.count("\n") == 1


def test_every_sample_is_in_the_file(answer, tiny_program, tmp_path):
    code, said = answer("native", timing({"p": tiny_program}, interleave("p", runs=1234)))
    assert (code, said) == (0, "")
    assert (tmp_path / "samples-0.bin").stat().st_size == 8 * 1234


def test_steps_without_an_input_need_none(answer, tiny_program, tmp_path):
    job = Job((Program("p", tiny_program.path),), (), (Load("p"),))
    assert answer("native", job) == (0, "")
    assert not list(tmp_path.glob("input-*"))


def test_the_runner_wants_one_folder():
    import subprocess

    done = subprocess.run([str(runner())], capture_output=True, text=True, check=False)
    assert done.returncode == BAD_JOB
    assert done.stderr == f"usage: {runner()} JOB_FOLDER\n"


def test_predicting_needs_no_more_than_items_in_turn(answer, tiny_program, tmp_path):
    job = Job(
        (Program("p", tiny_program.path),),
        (Input("one", (tiny_program.items[:1],)),),
        (Load("p"), Predict("p", "one")),
    )
    assert answer("native", job) == (0, "")
    assert (tmp_path / "output-0-0.bin").stat().st_size == 4 * 4
