import csv
import io
import json
import math

import made_up
import pytest
from rich.cells import cell_len

from kdbench.errors import UsageError
from kdbench.formats import CLOSING, OPENING, escaped, inserted, render, rows_of, terminal
from kdbench.frame import frame, summary
from kdbench.measures.metric import METRICS


@pytest.fixture(scope="module")
def rows():
    return summary(frame([made_up.run()]))


@pytest.mark.parametrize("name", list(made_up.RENDERED))
def test_tables_look_as_they_did(name):
    golden = (made_up.GOLDEN / name).read_text(encoding="utf-8")
    assert made_up.rendered(name) == golden, "if it is meant: python tests/made_up.py, and read the diff"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_table_fits_its_terminal(rows, width):
    text = render(rows, "terminal", width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for word in ("method", "target", "accuracy"):
        assert word in text


def test_at_120_columns_nothing_is_left_out_and_at_80_it_is_said_what(rows):
    assert "no room for" not in render(rows, "terminal", width=120)
    flat = " ".join(render(rows, "terminal", width=80).split())
    assert "no room for: train s, peak RSS MB, x ref, agreement %, size /teacher (" in flat


def test_colour_only_where_it_is_asked_for(rows):
    assert "\x1b[" not in render(rows, "terminal")
    assert "\x1b[1m" in render(rows, "terminal", colour=True)


def test_csv_holds_every_metric_to_the_last_digit(rows):
    read = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    assert len(read) == len(rows) == 16
    assert set(METRICS) <= read[0].keys()
    for line, (_, row) in zip(read, rows.iterrows(), strict=True):
        for metric in METRICS:
            assert line[metric] == "" if math.isnan(row[metric]) else float(line[metric]) == row[metric]
    assert "reasons" not in read[0]


def test_json_holds_the_same_and_null_where_there_is_nothing(rows):
    read = json.loads(render(rows, "json"), parse_constant=lambda _: pytest.fail("NaN in JSON"))
    assert [row["accuracy"] for row in read["rows"]] == rows["accuracy"].tolist()
    assert read["rows"][0]["agreement"] is None
    assert read["metrics"]["latency_ms"]["unit"] == "ms"
    assert "excludes zero" in read["rules"]["best"]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_csv_and_json_of_chosen_columns(rows, form):
    text = render(rows, form, ("latency_ms", "method", "size_bytes_ratio"))
    fields = next(csv.DictReader(io.StringIO(text))) if form == "csv" else json.loads(text)["rows"][0]
    assert list(fields) == [
        "run", "suite", "version", "pair", "method", "target", "device", "seeds", "status",
        "latency_ms", "latency_ms_ci", "size_bytes_ratio",
    ]  # fmt: skip


def test_a_published_figure_that_is_chosen_brings_its_rule_and_source():
    rows = rows_of([made_up.standard_run()], published=True)
    read = list(csv.DictReader(io.StringIO(render(rows, "csv", ("published",)))))
    facts = [(row["published"], row["published_rule"], row["published_flags"], row["published_source"]) for row in read]
    assert facts[4] == ("0.7066", "last", "data", "RepDistiller README")
    assert facts[6] == ("0.7197", "best", "epoch-rule,data", "mdistiller README")
    read = json.loads(render(rows, "json", ("published",)))
    assert read["rows"][6]["published_flags"] == "epoch-rule,data"
    assert "others report" in read["rules"]["published"]
    assert "published" not in json.loads(render(rows_of([made_up.run()]), "json"))["rules"]


def test_names_are_escaped_in_markdown_and_latex():
    run = made_up.run()
    evil = "a|b*c_d<img src=x>&%$\\x"
    records = tuple(r.model_copy(update={"method": evil if r.method == "kd" else r.method}) for r in run.records)
    rows = summary(frame([run.model_copy(update={"records": records})]))
    assert r"**a\|b\*c\_d&lt;img src=x&gt;&amp;%$\\x** \*" in render(rows, "markdown")
    assert r"\textbf{a\textbar{}b$\ast$c\_d\textless{}img src=x\textgreater{}\&\%\$\textbackslash{}x}" in render(
        rows, "latex"
    )
    assert escaped("plain-name 1.5") == "plain-name 1.5"


def test_a_markdown_table_has_as_many_cells_in_every_line(rows):
    lines = [line for line in render(rows, "markdown").splitlines() if line.startswith("|")]
    assert len(lines) == 2 * (8 + 2)
    assert {line.count("|") for line in lines} == {13}


def test_an_unknown_format_is_one_line(rows):
    with pytest.raises(UsageError, match="unknown format 'html'; known: terminal, markdown, csv, latex, json"):
        render(rows, "html")


def test_a_block_is_replaced_and_all_else_stays():
    document = f"# Title\n{OPENING}\nold | table\n{CLOSING}\nend \\1\n"
    once = inserted(document, "new \\1 \\g<0>\n\n", "README.md")
    assert once == f"# Title\n{OPENING}\nnew \\1 \\g<0>\n{CLOSING}\nend \\1\n"
    assert inserted(once, "new \\1 \\g<0>\n", "README.md") == once


@pytest.mark.parametrize(
    "document", ["nothing", OPENING, CLOSING, f"{CLOSING}\n{OPENING}", f"{OPENING}{CLOSING}{OPENING}{CLOSING}"]
)
def test_a_document_without_exactly_one_block_is_one_line(document):
    with pytest.raises(UsageError) as caught:
        inserted(document, "x", "README.md")
    assert str(caught.value) == (
        "README.md needs one line <!-- kdbench:table --> and below it one line <!-- /kdbench:table -->, "
        "where the table goes"
    )


def test_the_terminal_decides_width_and_colour(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert terminal([made_up.run()]) == (made_up.GOLDEN / "terminal-80.txt").read_text(encoding="utf-8")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in terminal([made_up.run()])
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in terminal([made_up.run()])
