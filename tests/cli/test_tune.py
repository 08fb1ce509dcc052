import json

import pytest
from click.testing import CliRunner

pytest.importorskip("optuna")

from kdbench.cli import tune
from kdbench.errors import MeasureError, UsageError


def invoke(*words, results, store):
    given = [*words, "--results", str(results), "--store", str(store)]
    return CliRunner().invoke(tune.command, given, standalone_mode=False, env={"COLUMNS": "120"})


@pytest.fixture
def places(tmp_path):
    return {"results": tmp_path / "results", "store": tmp_path / "store"}


def test_every_method_gets_as_many_trials_and_each_is_kept(places):
    shown = invoke("kd", "at", "--suite", "tiny", "--trials", "2", "--jobs", "1", **places)
    assert shown.exception is None
    assert "kd on tiny v1: 2 trials" in shown.output
    assert "at on tiny v1: 2 trials" in shown.output
    kept = {path.stem: json.loads(path.read_text()) for path in places["results"].rglob("*.json")}
    assert {name: len(one["trials"]) for name, one in kept.items()} == {"kd": 2, "at": 2}
    better = [name for name in ("kd", "at") if kept[name]["trials"][1]["quality"] > kept[name]["trials"][0]["quality"]]
    for name in kept:
        assert (f"{name}: no trial validated better than its own options" in shown.output) is (name not in better)
    words = "".join(f" --tuned {name}" for name in better)
    assert shown.output.endswith(f"kdbench run tiny{words}\n") is bool(better)
    more = invoke("kd", "--suite", "tiny", "--trials", "3", "--jobs", "1", **places)
    assert "kd on tiny v1: 3 trials" in more.output
    fewer = invoke("kd", "--suite", "tiny", "--trials", "2", **places)
    assert isinstance(fewer.exception, UsageError)
    assert "holds 3 trials, so that 2 of each would not be the same budget" in str(fewer.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kd", "--suite", "tin", "--trials", "2"], "unknown suite 'tin'; did you mean 'tiny'"),
        (["kdd", "--suite", "tiny", "--trials", "2"], "unknown method 'kdd' of --method; did you mean 'kd'"),
        (["scratch", "--suite", "tiny", "--trials", "2"], "method 'scratch' has no option that can be searched"),
        (["kd", "--suite", "tiny", "--trials", "2", "--seeds", "x"], "--seeds 'x': expected seeds such as"),
    ],
)
def test_bad_input_is_one_line(places, words, message):
    assert message in str(invoke(*words, **places).exception)


def test_without_the_library_that_searches_it_says_how_to_get_it(places, monkeypatch):
    monkeypatch.setattr("kdbench.search.find_spec", lambda _name: None)
    shown = invoke("kd", "--suite", "tiny", "--trials", "2", **places)
    assert isinstance(shown.exception, MeasureError)
    assert str(shown.exception) == 'a search wants Optuna; pip install "kdbench[tune]"'
