import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from kdbench import review
from kdbench.errors import MeasureError
from kdbench.gate import FOLLOWED
from kdbench.verdict import Comparison, Verdict

CASE = "digits:resnet8-dscnn/{}/xnnpack-int8/s0/host"


def verdict(method, metric, word, reason):
    return Verdict(CASE.format(method), metric, word, 1.0, 2.0, reason)


COMPARISON = Comparison(
    "digits",
    "A",
    "B",
    (
        verdict("kd", "arena_bytes", "ok", "unchanged"),
        verdict("kd", "ece", "inconclusive", f"1 -> 2: {FOLLOWED}"),
        verdict("at", "ece", "inconclusive", f"1 -> 3: {FOLLOWED}"),
        verdict("kd", "accuracy", "inconclusive", "3 lost, 1 gained"),
        verdict("at", "accuracy", "inconclusive", "4 lost, 2 gained"),
        verdict("kd", "params", "improved", "2 -> 1 (-50.00%)"),
        verdict("kd", "size_bytes", "regressed", "1 -> 2 (+100.00%)"),
        verdict("at", "size_bytes", "regressed", "1 -> 2 (+100.00%)"),
        verdict("dkd", "status", "no-baseline", "the base run has no such case"),
    ),
    ("torch 2.13.0 -> 2.13.1",),
    ("speed is not judged",),
)
KD, AT, DKD = (CASE.format(method) for method in ("kd", "at", "dkd"))


def test_the_worst_comes_first_and_what_is_the_same_of_several_cases_once():
    assert review.terminal(COMPARISON).splitlines() == [
        "A -> B: 2 regressed, 1 no-baseline, 4 inconclusive, 1 improved, 1 ok",
        f"regressed     {KD} size_bytes: 1 -> 2 (+100.00%) [and 1 more case]",
        f"no-baseline   {DKD} status: the base run has no such case",
        f"inconclusive  {KD} accuracy: 3 lost, 1 gained",
        f"inconclusive  {AT} accuracy: 4 lost, 2 gained",
        f"inconclusive  {KD} ece: 1 -> 2: {FOLLOWED} [and 1 more case]",
        "improved      digits:resnet8-dscnn/kd/xnnpack-int8/s0/host params: 2 -> 1 (-50.00%)",
        "changed: torch 2.13.0 -> 2.13.1",
        "note: speed is not judged",
    ]


def test_markdown_begins_with_what_a_later_comment_finds_it_by():
    lines = review.markdown(COMPARISON).splitlines()
    assert lines[:5] == [
        "<!-- kdbench:compare:digits -->",
        "**kdbench digits: regressed** (2 regressed, 1 no-baseline, 4 inconclusive, 1 improved, 1 ok)",
        "",
        "| verdict | case | metric | why |",
        "|:---|:---|:---|:---|",
    ]
    assert lines[5] == f"| **regressed** | {KD} and 1 more | size\\_bytes | 1 -&gt; 2 (+100.00%) |"
    assert lines[-3:] == ["- changed: torch 2.13.0 -&gt; 2.13.1", "- speed is not judged", "- A → B"]
    hostile = Comparison(
        "a --> <b>", "A", "B", (verdict("<img>|`x`\n", "size_bytes", "regressed", "@you [a](b)\r\n::error"),)
    )
    text = review.markdown(hostile)
    assert text.startswith("<!-- kdbench:compare:a------b- -->\n**kdbench a --&gt; &lt;b&gt;: regressed**")
    assert "<img>" not in text
    assert "\\[a\\](b) ::error |" in text


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (["ok", "regressed", "noisy"], "regressed"),
        (["ok", "noisy"], "no verdict"),
        (["ok", "inconclusive"], "nothing is shown to be worse"),
        (["ok", "improved"], "nothing is worse"),
    ],
)
def test_the_outcome_in_a_word(words, outcome):
    comparison = Comparison("digits", "A", "B", tuple(verdict("kd", "ece", word, "") for word in words))
    assert f": {outcome}**" in review.markdown(comparison).splitlines()[1]


def test_github_gets_errors_and_notices_that_stay_on_their_line():
    lines = review.github(COMPARISON).splitlines()
    assert lines[0] == f"::error title=kdbench%3A regressed::{KD} size_bytes: 1 -> 2 (+100.00%25) [and 1 more case]"
    assert [line.partition(" ")[0] for line in lines] == ["::error", "::error", "::notice", "::notice", "::notice"]
    hostile = Comparison("digits", "A", "B", (verdict("kd", "ece", "regressed", "1\n::error::no"),))
    assert review.github(hostile) == f"::error title=kdbench%3A regressed::{KD} ece: 1 ::error::no\n"


def test_junit_has_a_test_for_each_verdict():
    suite = ET.fromstring(review.junit(COMPARISON)).find("testsuite")
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped", "errors")} == {
        "tests": "9", "failures": "3", "skipped": "4", "errors": "0",
    }  # fmt: skip
    cases = {(case.get("classname"), case.get("name")): case for case in suite}
    assert cases[KD, "size_bytes"].find("failure").get("message") == "regressed: 1 -> 2 (+100.00%)"
    assert cases[KD, "accuracy"].find("skipped") is not None
    assert list(cases[KD, "params"]) == []
    assert "\x00" not in review.junit(Comparison("d", "A", "B", (verdict("k\x00", "ece", "ok", ""),)))


def test_json_holds_every_verdict():
    table = json.loads(review.as_json(COMPARISON))
    assert (table["format"], table["suite"], table["exit_code"], len(table["verdicts"])) == (1, "digits", 1, 9)


def test_a_job_of_github_gets_its_summary_and_annotations(tmp_path, monkeypatch):
    told = []
    review.to_github(COMPARISON, told.append)
    assert told == []
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    review.to_github(COMPARISON, told.append)
    review.to_github(COMPARISON, None)
    assert told == review.github(COMPARISON).splitlines()
    assert (tmp_path / "summary.md").read_text() == 2 * (review.markdown(COMPARISON) + "\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "folder"))
    with pytest.raises(MeasureError, match=r"^cannot write .*folder: No such file or directory$"):
        review.to_github(COMPARISON, None)


def test_markdown_fits_a_comment_and_says_what_it_leaves_out():
    many = tuple(verdict(f"method{i}", "size_bytes", "regressed", f"{i} " + "x" * 400) for i in range(400))
    told = review.markdown(replace(COMPARISON, verdicts=many))
    rows = told.count("| **regressed** |")
    assert 100 < rows < 400
    assert len(told) < 65_536
    assert f"\nand {400 - rows} more rows: JUnit's file or the JSON has them all\n" in told
    assert "more rows" not in review.markdown(COMPARISON)


def test_a_refusal_is_a_comment_too():
    lines = review.markdown(review.refused("digits", "baseline", "no <baseline> of suite 'digits'")).splitlines()
    assert lines[0] == "<!-- kdbench:compare:digits -->"
    assert lines[1] == "**kdbench digits: no verdict** (1 incomparable)"
    assert "no &lt;baseline&gt; of suite" in lines[5]


def test_what_is_said_of_seeds_is_reported_by_the_first_of_them():
    over = Verdict("digits:resnet8-dscnn/kd/xnnpack-int8/s*/host", "accuracy", "ok", 1.0, 1.0, "")
    lost = Verdict(CASE.format("gone"), "status", "incomparable", None, None, "")
    comparison = Comparison("digits", "A", "B", (over, lost, *COMPARISON.verdicts[:1]))
    found = review.by_case(comparison, [AT, KD.replace("s0", "s3"), KD])
    assert found == {KD.replace("s0", "s3"): (over,), CASE.format("gone"): (lost,), KD: COMPARISON.verdicts[:1]}
