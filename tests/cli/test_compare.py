import json
import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.compare import command
from kdbench.errors import MeasureError, UsageError

KD8 = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


@pytest.fixture
def results(tmp_path):
    base = made_up.run(broken=False)
    made_up.on_disk(tmp_path, base)
    larger = made_up.with_record(base, KD8, metrics={"size_bytes": 11_424.0, "arena_bytes": 4_000.0})
    made_up.on_disk(tmp_path, larger.model_copy(update={"id": "20261125T000000Z-0001"}))
    return tmp_path


def invoke(results, *words):
    return CliRunner().invoke(command, [*words, "--results", str(results)], standalone_mode=False)


def test_a_regression_is_shown_with_its_reason_and_exits_1(results):
    shown = invoke(results, "made~1", "made", "--exact")
    assert shown.return_value == 1
    lines = shown.output.splitlines()
    assert lines[0].startswith("20261124T040506Z-00ab -> 20261125T000000Z-0001: 1 regressed, 1 improved, ")
    assert lines[1] == f"regressed     {KD8} size_bytes: 10880 -> 11424 (+5.00%)"
    assert lines[2] == f"improved      {KD8} arena_bytes: 4096 -> 4000 (-2.34%)"
    assert lines[3].startswith("note: speed and memory of 1 changed structures are not judged; 5 others are the base's")
    assert len(lines) == 4


def test_speed_is_judged_of_changed_structures_unless_exact_facts_are_all_that_is_asked_for(tmp_path):
    base = made_up.run(broken=False)
    made_up.on_disk(tmp_path, base)
    made_up.on_disk(
        tmp_path, made_up.with_record(base, KD8, structure="f" * 64).model_copy(update={"id": "20261125T000000Z-0001"})
    )
    shown = invoke(tmp_path, "made~1", "made", "--exact", "--store", str(tmp_path / "store"))
    assert shown.return_value == 0
    assert "note: speed and memory of 1 changed structures are not judged" in shown.output
    shown = invoke(tmp_path, "made~1", "made", "--store", str(tmp_path / "store"))
    assert shown.return_value == 4
    assert f"incomparable  {KD8} latency_ms: speed not judged: the store" in shown.output


@pytest.mark.parametrize("text", ["0.5", "0%", "-1%", "nan%", "101%", "much"])
def test_a_bad_slow_down_is_one_line(results, text):
    shown = invoke(results, "made~1", "made", "--slower", text)
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception) == f"--slower {text!r}: expected a slow-down such as 0.5%"


def test_a_reader_that_has_seen_enough_does_not_make_it_green(results):
    """The JSON of hundreds of verdicts fills a pipe; what is asked for besides is written all the same."""
    output = results / "verdicts.xml"
    words = ["compare", "made~1", "made", "--format", "json", "--output", str(output), "--results", str(results)]
    reading = subprocess.Popen(
        [sys.executable, "-m", "kdbench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    reading.stdout.close()
    assert (reading.stderr.read(), reading.wait(60)) == (b"", 1)
    reading.stderr.close()
    assert output.read_text(encoding="utf-8").startswith("<?xml")


def test_an_allowance_makes_it_ok(results):
    assert invoke(results, "made~1", "made", "--exact", "--allow", "size_bytes=5%").return_value == 0
    assert invoke(results, "made~1", "made", "--exact", "--allow", "size_bytes=4.9%").return_value == 1


def test_a_run_against_itself_exits_0_and_another_suite_4(results):
    assert invoke(results, "made", "made").return_value == 0
    other = made_up.run(suite=made_up.suite(name="other").model_dump(mode="json"))
    made_up.on_disk(results, other)
    shown = invoke(results, "made", "other")
    assert shown.return_value == 4
    assert "incomparable  suite 'made' and suite 'other' are different suites" in shown.output


def test_a_job_of_github_hears_of_a_refusal_too(results, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(results / "summary.md"))
    shown = invoke(results, "baseline", "made")
    assert shown.exception.exit_code == 4
    told = (results / "summary.md").read_text()
    assert told.startswith("<!-- kdbench:compare:made -->\n**kdbench made: no verdict** (1 incomparable)\n")
    assert "no baseline " in told
    (results / "summary.md").unlink()
    invoke(results, "baseline", str(next(results.glob("scratch/*/made/*"))))
    assert (results / "summary.md").read_text().startswith("<!-- kdbench:compare:made -->\n")


def test_a_summary_that_cannot_be_written_hides_no_refusal(results, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(results / "no" / "summary.md"))
    assert invoke(results, "baseline", "made").exception.exit_code == 4
    shown = invoke(results, "made~1", "made", "--exact")
    assert shown.output.startswith("20261124T040506Z-00ab -> ")
    assert isinstance(shown.exception, MeasureError)


def test_markdown_and_json_say_the_same(results):
    markdown = invoke(results, "made~1", "made", "--format", "markdown")
    assert markdown.return_value == 1
    assert f"| **regressed** | {KD8} | size\\_bytes | 10880 -&gt; 11424 (+5.00%) |" in markdown.output
    table = json.loads(invoke(results, "made~1", "made", "--format", "json").output)
    assert table["exit_code"] == 1
    bad = [verdict for verdict in table["verdicts"] if verdict["verdict"] == "regressed"]
    assert bad == [
        {
            "case": KD8, "metric": "size_bytes", "verdict": "regressed", "base": 10880.0, "new": 11424.0,
            "reason": "10880 -> 11424 (+5.00%)",
        },
    ]  # fmt: skip
    assert sum(verdict["verdict"] == "ok" for verdict in table["verdicts"]) > 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size_bytes", "--allow 'size_bytes': expected METRIC=PERCENT% such as size_bytes=0.5%"),
        ("size_bytes=0.5", "--allow 'size_bytes=0.5': expected METRIC=PERCENT% such as size_bytes=0.5%"),
        ("size_bytes=-1%", "--allow 'size_bytes=-1%': expected METRIC=PERCENT% such as size_bytes=0.5%"),
        ("size_bytes=nan%", "--allow 'size_bytes=nan%': expected METRIC=PERCENT% such as size_bytes=0.5%"),
        ("size_byte=1%", "--allow 'size_byte=1%': 'size_byte' is no exact metric; did you mean 'size_bytes'"),
        ("latency_ms=1%", "--allow 'latency_ms=1%': 'latency_ms' is no exact metric; "),
    ],
)
def test_a_bad_allowance_is_one_line(results, text, message):
    shown = invoke(results, "made", "made", "--allow", text)
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception).startswith(message)


def test_comparing_needs_no_torch(results):
    code = (
        "import sys; from kdbench.cli.compare import command;"
        "assert not {'pandas', 'numpy'} & sys.modules.keys(), 'heavy at import';"
        f"code = command(['made~1', 'made', '--results', {str(results)!r}], standalone_mode=False);"
        "assert not {'torch', 'executorch', 'torchao'} & sys.modules.keys(); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_two_programs_are_judged_as_runs_are(tiny_program, portable_program, tmp_path):
    words = [str(tiny_program.path), str(portable_program.path), "--exact"]
    shown = invoke(tmp_path, *words, "--output", str(tmp_path / "said.json"))
    assert shown.return_value == 1
    lines = shown.output.splitlines()
    assert lines[0].startswith(f"{tiny_program.path} -> {portable_program.path}: ")
    assert any(line.startswith("regressed     tiny portable.pte operators: outside delegates 0 -> ") for line in lines)
    assert lines[-3:] == [
        "note: speed and memory are not judged",
        "note: quality and parameters are not judged: two files do not say them, two runs of a suite do",
        f"note: MACs are not judged: the bytes of {portable_program.path} do not say them",
    ]
    table = json.loads((tmp_path / "said.json").read_text())
    assert (table["suite"], table["exit_code"]) == ("tiny portable.pte", 1)
    markdown = invoke(tmp_path, *words, "--format", "markdown").output
    assert markdown.startswith("<!-- kdbench:compare:tiny-portable.pte -->\n**kdbench tiny portable.pte: regressed**")
    assert "<failure" in invoke(tmp_path, *words, "--format", "junit").output
    assert invoke(tmp_path, *words, "--format", "github").output.startswith("::error title=kdbench%3A regressed::")


def test_a_program_against_itself_exits_0(tiny_program, tmp_path):
    shown = invoke(tmp_path, str(tiny_program.path), str(tiny_program.path))
    assert shown.return_value == 0
    assert ": 8 ok" in shown.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tiny}", "made"], "{tiny} is a program, 'made' is none: compare two .pte files or two runs"),
        (["made", "{tiny}"], "{tiny} is a program, 'made' is none: compare two .pte files or two runs"),
        (["{tiny}", "lost.pte"], "cannot read lost.pte: No such file or directory"),
        (["bad.pte", "{tiny}"], "bad.pte is not an ExecuTorch program (.pte): it does not start like one"),
        (["{tiny}", "{tiny}", "--margin", "1"], "--margin judges nothing between two programs: they say nothing of quality"),
        (["{tiny}", "{tiny}", "--device", "host:x"], "device 'host:x': this machine is called host, and nothing follows"),
        (["{tiny}", "{tiny}", "--base-runtime", "."], ". has no executorch with libraries in it; expected a virtual environment or its site-packages with executorch>=1.5.1"),
        (["made~1", "made", "--base-runtime", ".", "--exact"], "--base-runtime says what runs the base's programs; with --exact nothing is run"),
        (["made~1", "made", "--device", "host"], "--device 'host' says where two programs run; the cases of runs name their devices"),
    ],
)  # fmt: skip
def test_what_is_no_pair_of_programs_is_one_line(results, monkeypatch, tiny_program, words, message):
    monkeypatch.chdir(results)
    (results / "bad.pte").write_text("no program at all")
    shown = invoke(results, *(word.format(tiny=tiny_program.path) for word in words))
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception) == message.format(tiny=tiny_program.path)
