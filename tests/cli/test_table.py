import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.table import command
from kdbench.errors import MeasureError, UsageError
from kdbench.formats import CLOSING, OPENING


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def invoke(*words, results=None):
    place = ["--results", str(results)] if results else []
    return CliRunner().invoke(command, [*words, *place], standalone_mode=False, env={"COLUMNS": "120"})


def test_the_newest_run_of_a_suite_is_shown(results):
    shown = invoke("made", results=results)
    assert shown.exception is None
    assert shown.output == (made_up.GOLDEN / "terminal-120.txt").read_text(encoding="utf-8")


def test_the_results_folder_may_come_from_the_environment(results):
    shown = CliRunner().invoke(
        command, ["made", "--format", "csv"], standalone_mode=False, env={"KDBENCH_RESULTS": str(results)}
    )
    assert shown.output == (made_up.GOLDEN / "table.csv").read_text(encoding="utf-8")


def test_a_run_named_twice_is_shown_once_and_two_runs_apart(results):
    twice = invoke("made", "20261124T040506Z-00ab", "--format", "csv", results=results)
    assert twice.output == (made_up.GOLDEN / "table.csv").read_text(encoding="utf-8")
    made_up.on_disk(results, made_up.run(id="20261125T000000Z-0000"))
    both = invoke("made", "made~1", "--format", "csv", results=results)
    assert len(both.output.splitlines()) == 33


def test_columns_and_rows_per_seed(results):
    shown = invoke("made", "--columns", "method, seed,accuracy", "--per-seed", "--format", "markdown", results=results)
    assert "| method | seed | accuracy (%) |" in shown.output
    wrong = invoke("made", "--columns", "acuracy", results=results)
    assert isinstance(wrong.exception, UsageError)


def test_published_figures_stand_beside_ours_where_they_are_asked_for(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.standard_run())
    for form, golden in (("terminal", "published.txt"), ("csv", "published.csv"), ("latex", "published.tex")):
        shown = invoke("standard", "--published", "--format", form, results=tmp_path / "results")
        assert shown.output == (made_up.GOLDEN / golden).read_text(encoding="utf-8")
    assert "published" not in invoke("standard", results=tmp_path / "results").output
    named = ["standard", "--format", "markdown", "--columns"]
    added = invoke(*named, "method,target", "--published", results=tmp_path / "results").output
    assert added.splitlines()[3] == "| method | target | published (%) |"
    assert invoke(*named, "method,target,published", results=tmp_path / "results").output == added
    first = invoke(*named, "published,method", "--published", results=tmp_path / "results").output
    assert first.splitlines()[3] == "| published (%) | method |"


def test_a_table_is_written_to_a_file(results, tmp_path):
    shown = invoke("made", "--format", "latex", "--output", str(tmp_path / "t.tex"), results=results)
    assert shown.output == ""
    assert (tmp_path / "t.tex").read_bytes() == (made_up.GOLDEN / "table.tex").read_bytes()
    bad = invoke("made", "--output", str(tmp_path / "none" / "t.txt"), results=results)
    assert isinstance(bad.exception, MeasureError)
    assert str(bad.exception) == f"cannot write {tmp_path / 'none' / 't.txt'}: No such file or directory"


def test_a_file_that_cannot_be_finished_is_left_as_it_was(results, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "t.txt").write_text("before", encoding="utf-8")
    monkeypatch.setattr("pathlib.Path.replace", full)
    bad = invoke("made", "--output", str(tmp_path / "t.txt"), results=results)
    assert str(bad.exception) == f"cannot write {tmp_path / 't.txt'}: No space left on device"
    assert (tmp_path / "t.txt").read_text(encoding="utf-8") == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "t.txt"]


def test_a_table_is_inserted_between_the_comments(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{OPENING}\n{CLOSING}\nb\n", encoding="utf-8")
    readme.chmod(0o640)
    for _ in range(2):
        assert invoke("made", "--insert", str(readme), results=results).exception is None
    markdown = (made_up.GOLDEN / "markdown.md").read_text(encoding="utf-8")
    assert readme.read_text(encoding="utf-8") == f"a\n{OPENING}\n{markdown}{CLOSING}\nb\n"
    assert readme.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "results"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("made", "--insert", "{0}/none.md"), "cannot read {0}/none.md: No such file or directory"),
        (("made", "--insert", "{0}/plain.md"), "{0}/plain.md needs one line <!-- kdbench:table -->"),
        (("made", "--insert", "{0}/binary.md"), "cannot read {0}/binary.md: not UTF-8 text"),
        (("made", "--insert", "{0}/plain.md", "--format", "csv"), "--insert puts Markdown into a file: "),
        (("mdae",), "no run 'mdae' in {0}/results; did you mean 'made'"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(results, tmp_path, words, message):
    (tmp_path / "plain.md").write_text("nothing here\n", encoding="utf-8")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00")
    shown = invoke(*(word.format(tmp_path) for word in words), results=results)
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception).startswith(message.format(tmp_path))
    assert "\n" not in str(shown.exception)
    assert (tmp_path / "plain.md").read_text(encoding="utf-8") == "nothing here\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary.md", "plain.md", "results"]


def test_a_table_needs_no_torch(results):
    code = (
        "import sys; from kdbench.cli.table import command;"
        "assert not {'pandas', 'numpy'} & sys.modules.keys(), 'heavy at import';"
        f"command(['made', '--results', {str(results)!r}], standalone_mode=False);"
        "sys.exit(bool({'torch', 'executorch', 'torchao'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resnet8-dscnn" in done.stdout
