import subprocess
import sys
from html.parser import HTMLParser

import made_up
import numpy as np
import pytest

import kdbench
from kdbench.errors import UsageError
from kdbench.frame import CASE_COLUMNS
from kdbench.measures.metric import METRICS
from kdbench.npz import Items
from kdbench.results import save


@pytest.fixture
def results(tmp_path, monkeypatch):
    made_up.on_disk(tmp_path / "results", made_up.run())
    monkeypatch.setenv("KDBENCH_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


class Cells(HTMLParser):
    """The tags of a page and the texts of its body cells."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "td":
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def test_a_loaded_run_is_a_tidy_frame_and_a_summary(results):
    run = kdbench.load_run("made")
    cases = run.frame()
    assert list(cases.columns) == [*CASE_COLUMNS, *METRICS]
    assert len(cases) == len(run.record.records)
    assert len(run.summary()) < len(run.summary(per_seed=True)) == len(cases)
    assert repr(run) == "<run 20261124T040506Z-00ab of suite made: 40 cases>"
    assert kdbench.load_run(run.folder).record == run.record


def test_results_may_be_named_and_an_unknown_run_is_a_line(tmp_path, results):
    assert kdbench.load_run("made", results=str(results)).record.name == "made"
    with pytest.raises(UsageError, match="no run 'made'"):
        kdbench.load_run("made", results=tmp_path / "elsewhere")


def test_a_notebook_shows_the_table_and_names_are_text_there(results):
    name = "<script>alert(1)</script>"
    whole = made_up.run(id="20261125T000000Z-0000")
    records = tuple(r.model_copy(update={"method": name}) if r.method == "kd" else r for r in whole.records)
    made_up.on_disk(results, whole.model_copy(update={"records": records}))
    page = kdbench.load_run("made")._repr_html_()
    cells = Cells()
    cells.feed(page)
    assert "script" not in cells.tags
    assert any(name in text for text in cells.texts)
    assert cells.tags.count("table") == 2
    assert any(text.startswith("90.93 ±") for text in cells.texts)


def test_runs_are_compared_by_name_or_as_they_are(results):
    case = "digits:resnet8-dscnn/kd/xnnpack-fp32/s0/host"
    worse = made_up.with_record(made_up.run(id="20261125T000000Z-0000"), case, metrics={"size_bytes": 12_500.0})
    made_up.on_disk(results, worse)
    found = kdbench.compare("made~1", kdbench.load_run("made"))
    assert [v.case for v in found.verdicts if v.verdict == "regressed" and v.metric == "size_bytes"] == [case]
    assert not any(
        v.metric == "size_bytes" and v.verdict == "regressed"
        for v in kdbench.compare("made~1", "made", allow={"size_bytes": 0.01}).verdicts
    )


def test_python_judges_by_items_and_runs_what_changed_as_the_command_line_does(results, tmp_path):
    case = "digits:resnet8-dscnn/kd/xnnpack-fp32/s0/host"
    whole = made_up.run(id="20261125T000000Z-0000")
    items = made_up.items(whole)
    right = items[case].correct
    items[case] = Items(items[case].predictions, right & (np.cumsum(right) > 60))
    worse = made_up.with_record(
        whole, case, metrics={"accuracy": float(items[case].correct.mean())}, structure="f" * 64
    )
    save(worse, made_up.samples(worse), items, results)
    found = {(v.case, v.metric): v for v in kdbench.compare("made~1", "made", store=tmp_path / "store").verdicts}
    assert found[case, "accuracy"].verdict == "regressed"
    assert "60 items lost" in found[case, "accuracy"].reason
    assert found[case, "latency_ms"].reason.startswith(f"speed not judged: the store {tmp_path / 'store'} lacks")
    quiet = {v.metric for v in kdbench.compare("made~1", "made", slower=None).verdicts}
    assert "latency_ms" not in quiet


def test_what_is_not_allowed_is_an_error_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="digitz"):
        kdbench.run("digitz", results=tmp_path, store=tmp_path / "store")
    with pytest.raises(UsageError, match="axis"):
        kdbench.run("tiny", only="methd=kd", results=tmp_path, store=tmp_path / "store")


@pytest.mark.slow
def test_a_suite_runs_from_python_and_says_the_command_that_does_it_again(tmp_path):
    done = kdbench.run("tiny", only="method=scratch", jobs=1, results=tmp_path / "results", store=tmp_path / "store")
    assert done.record.provenance.command == ("kdbench", "run", "tiny", "--only", "method=scratch")
    assert {record.status for record in done.record.records} == {"ok"}
    assert kdbench.load_run("tiny", results=tmp_path / "results").record == done.record


def test_the_public_api_is_what_the_page_lists():
    page = (made_up.FIXTURES.parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    for name in kdbench.__all__:
        assert f"`kdbench.{name}" in page, name
        assert getattr(kdbench, name) is not None
    assert [column for column in CASE_COLUMNS if f"`{column}`" not in page] == []


def test_importing_kdbench_is_light():
    code = "import sys, kdbench; kdbench.load_run; print([m for m in ('torch', 'executorch', 'pandas') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
