"""The examples: what they tell people to run is there, and their scripts do what they say."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdbench.cli.main import cli
from kdbench.pytest_plugin import _OPTIONS
from kdbench.suite_file import read_suite

EXAMPLES = Path(__file__).parent.parent / "examples"
WORKFLOW = yaml.safe_load((EXAMPLES / "ci" / "kdbench.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in WORKFLOW["jobs"]["gate"]["steps"] if "name" in step}
GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$LOG"
case "$*" in *--paginate*) printf '%s' "$OLD" | jq -r "${@: -1}" ;; esac
"""
PYTEST = """#!/usr/bin/env bash
printf '%s\\n' '<!-- kdbench:compare:digits -->' 'red' >> "$GITHUB_STEP_SUMMARY"
exit "$CODE"
"""


@pytest.mark.parametrize(
    "script",
    [*(step["run"] for step in STEPS.values() if "run" in step), (EXAMPLES / "gate/repository/ci.sh").read_text()],
)
def test_scripts_are_shell_and_call_what_there_is(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for line in script.replace("\\\n", " ").splitlines():
        words = re.split(r"[;&|]", line.strip())[0].split()
        if words[:1] == ["kdbench"]:
            command = cli.commands[words[1]]
            command = getattr(command, "commands", {}).get(words[2], command)
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known
        for option in re.findall(r"--kdbench-[a-z-]+", line):
            assert option in dict(_OPTIONS)


def comment(folder, old, said="<!-- kdbench:compare:digits -->\n"):
    """What the step that writes the comment calls, where the pull request has the comments ``old``: ids and bodies."""
    if not shutil.which("jq"):
        pytest.skip("GitHub's command line brings jq's language; here it takes jq")
    answer = json.dumps([{"id": number, "body": body} for number, body in old.items()])
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "gh").write_text(GH)
    (bin_ / "gh").chmod(0o755)
    (folder / "comment.md").write_text(said)
    environment = {
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "LOG": str(folder / "log"), "OLD": answer, "PULL": "7",
        "SUITE": "suites/digits.toml", "GITHUB_REPOSITORY": "someone/something",
    }  # fmt: skip
    subprocess.run(["bash", "-e", "-c", STEPS["Comment"]["run"]], cwd=folder, env=environment, check=True)
    return (folder / "log").read_text().splitlines()


@pytest.mark.parametrize("code", [0, 1])
def test_the_comment_says_what_the_summary_says_and_the_step_ends_as_pytest_does(tmp_path, code):
    (tmp_path / "pytest").write_text(PYTEST)
    (tmp_path / "pytest").chmod(0o755)
    (tmp_path / "summary").touch()
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "SUITE": "suites/digits.toml", "CODE": str(code),
    }  # fmt: skip
    done = subprocess.run(["bash", "-e", "-c", STEPS["Judge"]["run"]], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code
    assert (tmp_path / "comment.md").read_text() == "<!-- kdbench:compare:digits -->\nred\n"


def test_one_comment_is_kept_up_to_date(tmp_path):
    looked, written = comment(tmp_path, {10: "fine", 12: "<!-- kdbench:compare:cifar100 -->\n..."})
    assert shlex.split(looked)[:3] == ["api", "--paginate", "repos/someone/something/issues/7/comments"]
    assert 'startswith("<!-- kdbench:compare:digits -->")' in looked
    assert written == "api --method POST repos/someone/something/issues/7/comments -F body=@comment.md"


def test_an_older_comment_is_replaced(tmp_path):
    written = comment(tmp_path, {10: "fine", 11: "<!-- kdbench:compare:digits -->\n..."})[-1]
    assert written == "api --method PATCH repos/someone/something/issues/comments/11 -F body=@comment.md"


def test_where_nothing_was_judged_the_comment_says_so(tmp_path):
    written = comment(tmp_path, {11: "<!-- kdbench:compare:digits -->\nfine"}, said="")[-1]
    assert written == "api --method PATCH repos/someone/something/issues/comments/11 -F body=@comment.md"
    assert (tmp_path / "comment.md").read_text() == (
        "<!-- kdbench:compare:digits -->\n**kdbench digits: no verdict**, see the log\n"
    )


def test_a_red_job_saves_its_store_under_the_kind_of_its_processor(tmp_path):
    restored, saved = STEPS["Store"], STEPS["Save the store"]
    assert saved["if"] == "${{ !cancelled() }}"
    assert saved["with"] == {key: restored["with"][key] for key in ("path", "key")}
    assert saved["with"]["key"].startswith(restored["with"]["restore-keys"])
    names = list(STEPS)
    assert names.index("Store") < names.index("Judge") < names.index("Save the store")
    environment = os.environ | {"GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-e", "-c", STEPS["Processor"]["run"]], env=environment, check=True)
    assert re.fullmatch(r"kind=[\w-]*\n", (tmp_path / "output").read_text())


def test_the_tiny_repository_has_a_suite():
    assert read_suite(EXAMPLES / "gate" / "repository" / "shelf.toml").name == "shelf"


@pytest.mark.slow
def test_the_story_of_the_gate_goes_green_red_green():
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / "gate" / "play.py")], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines()[-1] == "as the story says"
