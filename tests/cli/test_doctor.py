import json

import pytest
from click.testing import CliRunner

from kdbench import doctor
from kdbench.cli.doctor import command
from kdbench.finding import Finding

FINDINGS = [
    Finding("software", "torch", "ok", "2.13.0", needed=True),
    Finding("software", "compiler", "warn", "none", "install\ng++"),
    Finding("noise", "load", "warn", "3.00"),
]
BROKEN = Finding("data sets", "digits", "missing", "no scikit-learn", needed=True)


@pytest.fixture
def said(monkeypatch):
    """A function: what the command shows where the doctor finds this."""

    def run(findings, *words):
        monkeypatch.setattr(doctor, "examine", lambda _store, _results: iter(findings))
        return CliRunner().invoke(command, [*words], standalone_mode=False)

    return run


def test_hints_name_the_debian_packages_of_what_lacks_and_examine_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "c++").write_text("#!/bin/sh\n")
    (tmp_path / "c++").chmod(0o755)
    shown = CliRunner().invoke(command, ["--install-hints"], standalone_mode=False)
    assert shown.return_value == 0
    assert shown.output.splitlines() == [
        "here     c++                    builds the native runner (Debian: g++)",
        "missing  qemu-aarch64           runs Arm programs on devices qemu:CORE (Debian: qemu-user)",
        "missing  aarch64-linux-gnu-g++  builds the runner for 64-bit Arm (Debian: g++-aarch64-linux-gnu)",
        "missing  ssh                    reaches boards, as devices ssh:HOST (Debian: openssh-client)",
        "missing  adb                    reaches Android phones, as devices adb:MODEL (Debian: adb)",
        "-> apt-get install qemu-user g++-aarch64-linux-gnu openssh-client adb",
    ]


def test_findings_are_shown_by_topic_with_their_hints(said):
    shown = said(FINDINGS)
    assert shown.return_value == 0
    assert shown.output == (
        "software\n"
        "  ok       torch           2.13.0\n"
        "  warn     compiler        none\n"
        "                           -> install g++\n"
        "noise\n"
        "  warn     load            3.00\n"
        "kdbench run digits will work here; 2 warnings\n"
    )


def test_what_is_needed_and_missing_ends_with_3(said):
    shown = said([*FINDINGS, BROKEN])
    assert shown.return_value == 3
    assert shown.output.splitlines()[-1] == "kdbench run digits will not work here; missing: digits"


def test_json_holds_every_finding(said):
    shown = said([*FINDINGS, BROKEN], "--format", "json")
    assert shown.return_value == 3
    table = json.loads(shown.output)
    assert (table["format"], table["ready"], len(table["findings"])) == (1, False, 4)
    assert table["findings"][3] == {
        "topic": "data sets",
        "name": "digits",
        "state": "missing",
        "said": "no scikit-learn",
        "hint": "",
        "needed": True,
    }
