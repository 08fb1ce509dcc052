"""Ctrl-C and a full disk at every point of a real run: one line, the right code, nothing half-written, and resumable."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = {}
[recipes.teacher]
kind = "fast"
epochs = 8
batch_size = 16
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 8
batch_size = 16
lr = 0.05
[protocol]
min_seconds = 5.0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("interrupted")
    (place / "small.toml").write_text(SUITE)
    return place


def start(place, **environment):
    environment = {**os.environ, "KDBENCH_STORE": str(place / "store"), **environment}
    command = [sys.executable, "-m", "kdbench", "run", "small.toml", "--jobs", "1", "--results", "results"]
    return subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True)


def interrupted(process):
    """Send Ctrl-C as a terminal does to the foreground process; what it says, its code, and its children left."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    return process.returncode, errors, alive


def wait_for(process, condition):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


# In the order in which a run with one job comes to them: each attempt finds in the store what the one before finished.
@pytest.mark.parametrize("kind", ["reference", "network", "eager", "program", "outputs"])
def test_interrupting_a_stage_leaves_nothing_of_it(place, kind):
    process = start(place)
    scratch = place / "store" / "tmp"
    wait_for(process, lambda: scratch.is_dir() and any(path.name.startswith(kind) for path in scratch.iterdir()))
    code, errors, alive = interrupted(process)
    assert (code, errors) == (130, "\nkdbench: interrupted; finished stages are kept in the store\n")
    assert alive == []
    assert list(scratch.iterdir()) == []
    assert not list((place / "results").rglob("run.json"))


def test_interrupting_a_measurement_leaves_no_run(place):
    process = start(place)

    def measuring():
        children = psutil.Process(process.pid).children(recursive=True)
        names = [child.name() for child in children if child.is_running()]
        return any(name.startswith("runner") for name in names) and not any(name.startswith("python") for name in names)

    wait_for(process, measuring)
    code, errors, alive = interrupted(process)
    assert (code, errors) == (130, "\nkdbench: interrupted; finished stages are kept in the store\n")
    assert alive == []
    assert not list((place / "results").rglob("run.json"))


def test_a_killed_run_is_taken_up_where_it_was(place):
    process = start(place)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(list((place / "results").rglob("run.json"))) == 1
    assert list((place / "store" / "tmp").iterdir()) == []


def test_a_full_disk_is_one_line(place, tmp_path):
    """A store that cannot grow: a file system of 300 kB, mounted in a name space of the test's own."""
    inside = f"mount -t tmpfs -o size=300k tmpfs {tmp_path} && exec {sys.executable} -m kdbench run small.toml"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{inside} --results results"],
        cwd=place,
        env={**os.environ, "KDBENCH_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == (
        f"kdbench: cannot write the store {tmp_path}/store: No space left on device; "
        "point --store or KDBENCH_STORE elsewhere\n"
    )
    assert done.returncode == 3
