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
