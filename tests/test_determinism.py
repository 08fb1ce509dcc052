"""The same bits from empty stores, whatever runs side by side."""

import subprocess
import sys

import pytest

from kdbench.records import read_run


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_checkpoints_and_programs_do_not_depend_on_jobs(tmp_path):
    """`kdbench run digits` twice: every method, both targets."""
    runs = []
    for jobs in ("1", "2"):
        place = tmp_path / jobs
        command = [
            "run",
            "digits",
            "--jobs",
            jobs,
            "--store",
            place / "store",
            "--results",
            place / "results",
        ]
        subprocess.run([sys.executable, "-m", "kdbench", *command], check=True, capture_output=True)
        (found,) = place.rglob("run.json")
        runs.append(read_run(found))
    one, two = ({r.case: (r.checkpoint_sha256, r.program_sha256, r.structure) for r in run.records} for run in runs)
    assert one == two
    assert all(all(hashes) for hashes in one.values())
    exact = ("accuracy", "accuracy_eager", "flips", "agreement", "kl_teacher", "ece", "size_bytes", "download_bytes")
    for first, second in zip(runs[0].records, runs[1].records, strict=True):
        assert [first.metrics[name] for name in exact] == [second.metrics[name] for name in exact], first.case
