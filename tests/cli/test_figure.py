import re
import shlex
from pathlib import Path

import made_up
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")

from kdbench.cli import figure
from kdbench.errors import MeasureError, UsageError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def shown(results, *words):
    return CliRunner().invoke(figure.command, [*words, "--results", str(results)], standalone_mode=False)


@pytest.mark.parametrize("kind", ["pareto", "leads", "curves"])
def test_a_figure_is_written_with_a_caption_and_notes(results, tmp_path, kind):
    to = tmp_path / f"{kind}.pdf"
    told = shown(results, kind, "made", "20261124T040506Z-00ab", "--to", str(to))
    assert told.exception is None, told.exception
    wrote, caption, *notes = told.output.splitlines()
    assert wrote.startswith(f"wrote {to} (3.35 x ")
    assert caption.startswith("caption: ")
    assert caption.count("20261124T040506Z-00ab") == 1
    assert notes
    assert all(note.startswith("note: digits:resnet") for note in notes)
    assert to.read_bytes().startswith(b"%PDF")


def test_options_reach_the_figure(results, tmp_path):
    to = tmp_path / "figure.svg"
    words = ("pareto", "made", "--against", "memory", "--only", "method=kd", "--width", "7", "--to", str(to))
    assert shown(results, *words).output.startswith(f"wrote {to} (7.00 x ")
    svg = to.read_text(encoding="utf-8")
    assert ">peak RSS (MB)</text>" in svg
    assert ">fitnet</text>" not in svg
    shown(results, "leads", "made", "--rival", "kd", "--to", str(to))
    assert ">lead on kd (pt)</text>" in to.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("pareto", "made", "--to", "front.jpg"), "--to front.jpg: expected a file that ends in .pdf, .svg or .png"),
        (
            ("curves", "made", "--to", "c.pdf", "--only", "seed=1"),
            "--only 'seed=1': unknown axis 'seed'; known: pair, method, target, device",
        ),
        (
            ("pareto", "made", "--to", "front.pdf", "--against", "instructions"),
            "nothing to draw: no row has both accuracy and instr.; try another --against",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(results, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    error = shown(results, *words).exception
    assert isinstance(error, UsageError)
    assert str(error) == line
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_the_example_in_the_docs_says_what_its_command_says(tmp_path, monkeypatch):
    text = (ROOT / "docs/figures.md").read_text(encoding="utf-8")
    _, *words = shlex.split(re.search(r"^\$ kdbench (figure .*)$", text, re.MULTILINE)[1])
    monkeypatch.chdir(tmp_path)
    told = shown(ROOT / "results", *words)
    assert told.exception is None, told.exception
    assert told.output.splitlines()[0] in text
    letters = [
        re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8"))
        for path in (ROOT / "docs/figure-leads.svg", Path(words[-1]))
    ]
    assert letters[0] == letters[1]
    assert "dist" in letters[0]


def test_without_matplotlib_it_says_how_to_get_it(results, tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "find_spec", lambda _name: None)
    error = shown(results, "leads", "made", "--to", str(tmp_path / "leads.pdf")).exception
    assert isinstance(error, MeasureError)
    assert str(error) == "a figure needs matplotlib; python -m pip install 'kdbench[paper]'"
