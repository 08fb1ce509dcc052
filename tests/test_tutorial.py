"""docs/new-method.md tells the truth: its files and commands, in their order, in an empty folder."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "new-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", PAGE, re.DOTALL)
MODULES = {"kdbench": "kdbench", "pytest": "pytest"}


def told(folder, command):
    """What a command of the page prints; it must end well."""
    program, *words = shlex.split(command)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "KDBENCH"))}
    environment |= {"KDBENCH_STORE": str(folder / "store"), "KDBENCH_RESULTS": str(folder / "results")}
    done = subprocess.run(
        [sys.executable, "-m", MODULES[program], *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_command_and_file_of_the_page_in_their_order(tmp_path):
    shown = {}
    for kind, block in BLOCKS:
        if kind == "python":
            (tmp_path / re.match(r"# (\w+\.py)\n", block)[1]).write_text(block, encoding="utf-8")
        else:
            shown |= {line[2:]: told(tmp_path, line[2:]) for line in block.splitlines()}
    assert "soft_ranks.py:SoftRanks" in "".join(shown)
    runs = sorted((tmp_path / "results").rglob("run.json"), key=lambda path: path.parent.name)
    first, second = ({rec["case"]: rec for rec in json.loads(path.read_text())["records"]} for path in runs)
    added = set(second) - set(first)
    assert added == {case for case in second if "SoftRanks" in case or "soft" in case}
    assert len(added) == 2
    assert all(second[case]["status"] == "ok" for case in second)
    for case in first:  # the same checkpoints and programs, from the store
        for fact in ("checkpoint_sha256", "program_sha256"):
            assert second[case][fact] == first[case][fact]
    kept = {path.parent.name for path in (tmp_path / "store").rglob("*.safetensors")}
    students = {rec["checkpoint_sha256"] for rec in second.values()}
    assert len(kept) == len(students)  # one checkpoint each: nothing was trained twice


def test_the_page_names_its_files_and_uses_a_suite_that_is_quick():
    files = [re.match(r"# (\w+\.py)\n", block)[1] for kind, block in BLOCKS if kind == "python"]
    assert files == ["soft_ranks.py", "test_soft_ranks.py"]
    commands = [line[2:] for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
    assert commands[0] == "kdbench new method soft-ranks"
    assert {command.split()[2] for command in commands if command.startswith("kdbench run")} == {"tiny"}
