import made_up
from click.testing import CliRunner

import kdbench
from kdbench.cli.report import command
from kdbench.errors import UsageError


def test_a_report_is_written_and_a_run_named_twice_is_shown_once(tmp_path):
    results = tmp_path / "results"
    made_up.on_disk(results, made_up.run())
    words = ["made", "20261124T040506Z-00ab", "--to", str(tmp_path / "out.html"), "--results", str(results)]
    shown = CliRunner().invoke(command, words, standalone_mode=False)
    assert shown.exception is None
    assert shown.output.startswith(f"wrote {tmp_path / 'out.html'} (")
    assert (tmp_path / "out.html").read_text(encoding="utf-8").count("<h3>Run 2026") == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.html"]
    assert kdbench.report("made", to=tmp_path / "two.html", results=results) == tmp_path / "two.html"


def test_an_unknown_run_is_a_line_and_writes_nothing(tmp_path):
    words = ["nothing", "--to", str(tmp_path / "out.html"), "--results", str(tmp_path)]
    assert isinstance(CliRunner().invoke(command, words, standalone_mode=False).exception, UsageError)
    assert list(tmp_path.iterdir()) == []
