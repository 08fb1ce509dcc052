"""Cores under qemu. Run where the tools are installed and the wheel is at hand: ``tox -e qemu``."""

import os
import subprocess

import numpy as np
import pytest

from kdbench.counted_profiles import counted_profile
from kdbench.devices.cores import CORES
from kdbench.devices.host import Host
from kdbench.devices.job import Input, Job, Load, Predict, Program
from kdbench.devices.qemu import counter, qemu
from kdbench.devices.runner.wheel import VARIABLE
from kdbench.devices.tools import CROSS_COMPILER, EMULATOR, HOST_COMPILER, lacking
from kdbench.errors import MeasureError, StageError
from kdbench.measures.instructions import counted
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol

LACKS = lacking(EMULATOR, CROSS_COMPILER, HOST_COMPILER) or (
    "" if os.environ.get(VARIABLE) else f"{VARIABLE} is not set"
)
pytestmark = pytest.mark.skipif(bool(LACKS), reason=f"needs qemu, as tox -e qemu has it: {LACKS}")

INSTRUCTIONS = [  # each with the loads, stores and vector instructions that it is
    ("ldr x1, [x9]", 1, 0, 0), ("str x1, [x9, #8]", 0, 1, 0), ("ldp x1, x2, [x9]", 1, 0, 0),
    ("stp q0, q1, [x9, #32]", 0, 1, 0), ("ldr q0, [x9]", 1, 0, 0), ("str q0, [x9, #16]", 0, 1, 0),
    ("ld1 {v0.4s, v1.4s}, [x9]", 1, 0, 0), ("st1 {v0.4s}, [x9]", 0, 1, 0), ("ld1r {v0.4s}, [x9]", 1, 0, 0),
    ("prfm pldl1keep, [x9]", 0, 0, 0), ("ldrsw x1, [x9]", 1, 0, 0), ("ldr s0, [x9]", 1, 0, 0),
    ("str d0, [x9]", 0, 1, 0), ("ldur x1, [x9, #-8]", 1, 0, 0), ("stur x1, [x9, #-8]", 0, 1, 0),
    ("ldr x1, [x9], #8", 1, 0, 0), ("str x1, [x9, #-8]!", 0, 1, 0), ("ldr x1, [x9, x3, lsl #3]", 1, 0, 0),
    ("ldxr x1, [x9]", 1, 0, 0), ("stxr w2, x1, [x9]", 0, 1, 0), ("ldar x1, [x9]", 1, 0, 0),
    ("stlr x1, [x9]", 0, 1, 0), ("ldr x1, 2f", 1, 0, 0), ("ldadd x1, x2, [x9]", 1, 1, 0),
    ("mov x1, #5", 0, 0, 0), ("cas x1, x2, [x9]", 1, 1, 0), ("ldapr x1, [x9]", 1, 0, 0),
    ("fmla v0.4s, v1.4s, v2.4s", 0, 0, 1), ("fadd s0, s0, s1", 0, 0, 1), ("sdot v0.4s, v1.16b, v2.16b", 0, 0, 1),
    ("add x1, x1, #1", 0, 0, 0), ("b 1f\n 1:", 0, 0, 0), ("2: nop", 0, 0, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all: the wheel is unpacked and the runner built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_STORE", str(tmp_path_factory.mktemp("a store, of qemu")))
        yield


def predict(device, tiny):
    job = Job((Program("p", tiny.path),), (Input("i", tiny.inputs),), (Load("p"), Predict("p", "i")))
    return device.run(job).outputs["p"][0]


def device(core):
    return qemu(f"qemu:{core}+wheel1.5.1")


def test_the_plugin_counts_each_kind_of_instruction(store, tmp_path):
    body = "".join(f' "{text}\\n"\n'.replace("\n 1:", "\\n 1:") for text, *_ in INSTRUCTIONS)
    mark = '"mov x13, x13\\n"'
    source = f"""static char space[256];
    int main() {{
      for (int i = 0; i < 3; ++i)
        asm volatile("mov x9, %0\\n mov x3, #0\\n" {mark} {body} {mark}
                     :: "r"(space + 64) : "x1", "x2", "x3", "x9", "v0", "v1", "v2", "memory");
    }}"""
    (tmp_path / "main.cpp").write_text(source)
    build = [CROSS_COMPILER.command, "-O1", "-static", "-march=armv8.4-a", "main.cpp", "-o", "main"]
    subprocess.run(build, cwd=tmp_path, check=True)
    (tmp_path / "counter.so").symlink_to(counter())
    run = [EMULATOR.command, "-cpu", "cortex-a76", "-plugin", "./counter.so,out=counts.txt", "./main"]
    subprocess.run(run, cwd=tmp_path, check=True)
    loads, stores, vector = (sum(column) for column in list(zip(*INSTRUCTIONS, strict=True))[1:])
    line = f"{len(INSTRUCTIONS)} {vector} {loads} {stores}"
    assert (tmp_path / "counts.txt").read_text().splitlines() == [line] * 3


@pytest.mark.parametrize("core", CORES)
def test_the_arm_program_answers_as_the_host_does(store, core, tiny_program):
    here, there = predict(Host("host", "native"), tiny_program), predict(device(core), tiny_program)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)


def test_counts_are_the_same_every_time_and_wherever_things_lie(store, tiny_program, monkeypatch, tmp_path):
    program = SpeedProgram(tiny_program.path, tiny_program.inputs)
    first = counted("s", device("cortex-a76"), program, Protocol()).metrics
    (tmp_path / "another place").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "another place"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("LD_PRELOAD_OF_NOTHING", "x" * 100)
    assert counted("s", device("cortex-a76"), program, Protocol()).metrics == first
    assert first["instructions"] > first["vector_instructions"] > first["stores"] > 0
    assert first["instructions"].is_integer()


def test_an_older_core_runs_other_kernels(store, tiny_program):
    program = SpeedProgram(tiny_program.path, tiny_program.inputs)
    old, new = (counted("s", device(core), program, Protocol()).metrics for core in ("cortex-a53", "cortex-x1"))
    assert old["instructions"] > new["instructions"]


def test_what_the_runner_refuses_is_its_own_line(store, broken_program):
    with pytest.raises(StageError, match=r"^cannot load method 'forward' of program program-0.pte: "):
        predict(device("cortex-a72"), broken_program)


def test_a_program_is_measured_from_the_command_line(store, tiny_program):
    from click.testing import CliRunner

    from kdbench.cli.measure import command

    words = [str(tiny_program.path), "--device", "qemu:cortex-a55+wheel1.5.1"]
    shown = CliRunner().invoke(command, words, standalone_mode=False)
    assert shown.exception is None
    lines = {line.split()[0]: line.split() for line in shown.output.splitlines() if line.startswith("  ")}
    assert float(lines["instr."][1]) > 1
    assert lines["latency"][1:5] == ["-", "qemu", "emulates", "the"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A network with kernels before and after two delegates, and one whole in no delegate."""
    import torch
    from torch import nn

    import kdbench

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 128)

        def forward(self, x):
            return self.last(self.first(x).cumsum(1)).cumsum(1)

    folder, example = tmp_path_factory.mktemp("profile"), torch.ones(1, 64)
    whole = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 8))
    kdbench.lower(Split().eval(), example, "xnnpack-fp32").save(folder / "split.pte")
    kdbench.lower(whole.eval(), example, "portable-fp32").save(folder / "portable.pte")
    return folder


def profiled(path, core="cortex-a76"):
    return counted_profile(path, f"qemu:{core}+wheel1.5.1")


def test_the_steps_of_a_profile_make_what_is_counted_without_a_tracer(store, programs):
    found = profiled(programs / "split.pte")
    frame = found.frame()
    items = np.random.Generator(np.random.PCG64(0)).standard_normal((8, 1, 64), dtype=np.float32)
    program = SpeedProgram(programs / "split.pte", (items,))
    alone = counted("s", device("cortex-a76"), program, Protocol()).metrics
    assert frame[list(alone)].sum().to_dict() == alone
    assert list(frame["where"]) == [*["XnnpackBackend"] * 2, "kernel", *["XnnpackBackend"] * 2, "kernel", "runtime"]
    first, last = frame[frame["operator"].str.startswith("Fully Connected")]["vector_instructions"]
    assert 1.8 < last / first < 2.2  # it has twice the weights, and all but some of these instructions multiply
    assert 0 < frame["instructions"].iloc[-1] < 0.1 * found.counts[0]
    assert profiled(programs / "split.pte").operators == found.operators


def test_kernels_outside_of_delegates_are_counted_by_name(store, programs):
    found = profiled(programs / "portable.pte")
    frame = found.frame()
    products = frame[frame["operator"] == "addmm.out"]["vector_instructions"].tolist()
    assert 7 < products[0] / products[1] < 9  # eight times the weights
    assert found.operators[-1].counts[0] < 1500


@pytest.mark.parametrize("core", CORES)
def test_every_core_and_number_of_operators_is_explained_by_the_tracer(store, core, tiny_program):
    found = profiled(tiny_program.path, core)
    assert [each.where for each in found.operators[:-1]] == ["XnnpackBackend"] * (len(found.operators) - 1)
    assert all(each.counts[0] > 0 for each in found.operators)


def test_what_cannot_run_says_so_in_the_runners_words(store, broken_program):
    with pytest.raises(MeasureError, match=r"broken.*has no profile on qemu:.*: cannot load method 'forward' of"):
        profiled(broken_program.path)


def test_a_profile_is_shown_from_the_command_line(store, programs):
    from click.testing import CliRunner

    from kdbench.cli.profile import command

    words = [str(programs / "split.pte"), "--device", "qemu:cortex-a53+wheel1.5.1"]
    shown = CliRunner().invoke(command, words, standalone_mode=False)
    assert shown.exception is None
    assert "cumsum.out" in shown.output
    assert " that are counted without a tracer" in shown.output
