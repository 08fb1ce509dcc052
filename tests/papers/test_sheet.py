import re
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl

from kdbench.errors import MeasureError, UsageError
from kdbench.papers.looks import entry
from kdbench.papers.sheet import blank, checked, finish, grid, save, settings


@settings()
def drawn(notes=(), panels=1, width=3.35):
    figure = blank(width)
    places, _ = grid(figure, panels, 1.5)
    for axes in places:
        axes.plot([1, 2], [3, 4])
        axes.set_xlabel("latency of $x$ (us)")
    finish(figure, [[entry(f"method-{place}", color="black") for place in range(9)]], notes)
    return figure


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_the_same_figure_is_the_same_bytes_and_has_no_date(tmp_path, suffix):
    for name in ("one", "two"):
        save(drawn(), tmp_path / f"{name}{suffix}")
    written = (tmp_path / f"one{suffix}").read_bytes()
    assert written == (tmp_path / f"two{suffix}").read_bytes()
    assert not re.search(rb"CreationDate|<dc:date>|Creation Time|tIME", written)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one{suffix}", f"two{suffix}"]


def test_letters_are_letters_in_embedded_fonts(tmp_path):
    for suffix in (".pdf", ".svg"):
        save(drawn(), tmp_path / f"figure{suffix}")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    svg = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert re.search(r"<text[^>]*>latency of \$x\$ \(us\)</text>", svg)
    assert "'DejaVu Sans', sans-serif" in svg


def test_settings_are_the_sheets_own_and_leave_no_trace(tmp_path):
    save(drawn(), tmp_path / "plain.svg")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "xtick.direction": "in"}):
        before = dict(mpl.rcParams)
        save(drawn(), tmp_path / "set.svg")
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "set.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_panels_stand_beside_each_other_where_there_is_room():
    assert drawn(panels=3).get_size_inches()[1] == pytest.approx(4.5, abs=0.5)
    assert drawn(panels=3, width=7.0).get_size_inches()[1] == pytest.approx(3.0, abs=0.5)


def test_keys_and_notes_stand_below_the_panels_and_inside_the_figure():
    figure = drawn(notes=["out of view: " + ", ".join(f"method-{place}" for place in range(30))])
    figure.draw_without_rendering()
    wide, high = figure.get_size_inches() * figure.dpi
    (key,), (note,), (axes,) = figure.legends, figure.texts, figure.axes
    boxes = [each.get_window_extent() for each in (note, key)] + [axes.get_tightbbox()]
    for below, above in pairwise(boxes):
        assert below.y1 <= above.y0
    assert all(box.x0 >= 0 and box.x1 <= wide and box.y0 >= 0 and box.y1 <= high for box in boxes)


@pytest.mark.parametrize(
    ("to", "width", "line"),
    [
        ("front.jpg", 3.35, "--to front.jpg: expected a file that ends in .pdf, .svg or .png"),
        ("front", 3.35, "--to front: expected a file that ends in .pdf, .svg or .png"),
        ("front.pdf", 0.5, "--width 0.5: expected inches from 2 to 20; a column has 3.35"),
        ("front.pdf", float("nan"), "--width nan: expected inches from 2 to 20; a column has 3.35"),
    ],
)
def test_what_cannot_be_written_is_refused_first(to, width, line):
    with pytest.raises(UsageError) as refused:
        checked(Path(to), width)
    assert str(refused.value) == line
    checked(Path("front.svg"), 7.0)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(MeasureError, match="cannot write .*front.pdf: No such file or directory"):
        save(drawn(), tmp_path / "nowhere" / "front.pdf")
