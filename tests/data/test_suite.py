"""A suite on made-up files of real formats, from reading to the record."""

from datetime import UTC, datetime

from made_files import CIFAR100, cifar_members, sha256, tar_gz, write_tree

from kdbench.plan import cases_of
from kdbench.records import run_text
from kdbench.rows import run_of
from kdbench.session import conducted, timed
from kdbench.store import Store
from kdbench.suite_file import read_suite

SUITE = """
version = 1
seeds = [0]
targets = ["xnnpack-fp32"]
[[pairs]]
data = "imagefolder:pets@8"
teacher = "dscnn"
student = "dscnn"
[[pairs]]
data = "made.py:cifar100"
teacher = "resnet8"
student = "dscnn"
[methods]
scratch = {}
kd = {}
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
[protocol]
processes = 1
min_runs = 5
min_seconds = 0.01
memory_processes = 1
"""

MADE = """
from dataclasses import replace
from functools import partial

from kdbench.data import cifar
from kdbench.data.stored import Stored

LAYOUT = replace(cifar.CIFAR100, train_items=1000, test_items=100)
cifar100 = Stored(cifar.source(LAYOUT, "made.tar.gz", "SHA256"), partial(cifar.read, layout=LAYOUT))
"""


def test_trees_and_archives_go_all_the_way_and_leave_no_path_in_the_record(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tree(own / "pets", (("train", 40), ("test", 9)))
    archive = tar_gz(cifar_members(CIFAR100), own / "cifar100/made.tar.gz")
    (tmp_path / "made.py").write_text(MADE.replace("SHA256", sha256(archive.read_bytes())))
    (tmp_path / "made.toml").write_text(SUITE)
    suite = read_suite(tmp_path / "made.toml")
    waiting = conducted(suite, cases_of(suite), Store(tmp_path / "store"), 2, lambda _event: None)
    finished = timed(waiting, lambda _event: None)
    run, items = run_of(finished, suite, ("kdbench", "run", "made"), datetime.now(UTC))
    assert [(record.pair, record.method, record.status) for record in run.records] == [
        (pair, method, "ok")
        for pair in ("imagefolder:pets@8:dscnn-dscnn", "made.py:cifar100:resnet8-dscnn")
        for method in ("teacher", "scratch", "kd")
    ]
    assert [record.details["test_items"] for record in run.records] == [18] * 3 + [100] * 3
    assert len(items) == 6
    assert str(tmp_path) not in run_text(run)
