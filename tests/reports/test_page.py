import json
import re

import made_up
import pytest

from kdbench.errors import MeasureError, UsageError
from kdbench.reports.page import page, write_report

PROFILE = {
    "format": 1, "file": "model.pte", "mean_us": 5.0, "runs": 100, "threads": 1, "inputs": "8 made-up items",
    "operators": [{"operator": "conv", "where": "XnnpackBackend", "mean_us": 5.0, "share": 1.0}],
}  # fmt: skip


def own(text):
    """The page without plotly's own script."""
    return re.sub(r'<script type="text/plain" id="library">.*?</script>', "", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return own(page([made_up.run()], tmp_path_factory.mktemp("results")))


def test_the_page_needs_nothing_from_elsewhere(shown):
    assert len(shown) < 300_000
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", shown) == []
    assert "http" not in re.sub(r"<script type=\"application/json\".*?</script>", "", shown, flags=re.DOTALL)


def test_the_page_has_every_part(shown):
    for heading in (
        "Quality against cost", "Learning curves", "What survives lowering", "Who leads whom", "Fidelity to the teacher",
        "Cost of training", "Where a program's time goes", "History", "Provenance",
    ):  # fmt: skip
        assert heading in shown.replace("&#39;", "'"), heading
    assert "kdbench profile out/program.pte --format json" in shown
    assert "crashed: signal 11 (SIGSEGV)" in shown
    assert "kdbench run made --only pair=digits:resnet8-dscnn,method=kd,target=xnnpack-int8,seed=2" in shown


def test_a_shared_speed_stands_in_every_row_so_that_it_can_be_sorted(shown):
    assert ">=<" not in shown


def test_a_name_is_text_wherever_it_stands(tmp_path):
    name = "<script>alert(1)</script>"
    run = made_up.run()
    records = tuple(r.model_copy(update={"method": name}) if r.method == "kd" else r for r in run.records)
    text = own(page([run.model_copy(update={"records": records})], tmp_path))
    assert name not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_profile_is_shown_and_anything_else_is_refused_in_a_line(tmp_path):
    good = tmp_path / "profile.json"
    good.write_text(json.dumps(PROFILE))
    text = own(page([made_up.run()], tmp_path, [good]))
    assert 'data-figure="profile-0"' in text
    assert "5.00 us an inference" in text
    for bad, why in (
        ("{", "is not JSON"),
        ("[]", "is not a profile"),
        (json.dumps(PROFILE | {"operators": [1]}), "not a profile"),
    ):
        good.write_text(bad)
        with pytest.raises(UsageError, match=why):
            page([made_up.run()], tmp_path, [good])
    with pytest.raises(UsageError, match="cannot read"):
        page([made_up.run()], tmp_path, [tmp_path / "none.json"])


def test_a_run_without_cases_and_a_place_that_cannot_be_written_are_a_line(tmp_path):
    with pytest.raises(UsageError, match="holds no cases"):
        page([made_up.run(records=())], tmp_path)
    with pytest.raises(MeasureError, match="cannot write"):
        write_report([made_up.run()], tmp_path / "none" / "report.html", tmp_path)
