import json

import made_up
import numpy as np
import pytest
from pydantic import ValidationError

from kdbench import records
from kdbench.errors import MeasureError, UsageError
from kdbench.records import read_items, read_run, read_samples, run_text, write_run


def written(tmp_path, run=None, **over):
    run = run or made_up.run()
    return write_run(
        run, over.get("samples", made_up.samples(run)), over.get("items", made_up.items(run)), tmp_path / "r"
    )


def strings(value):
    if isinstance(value, dict):
        for key, below in value.items():
            yield str(key)
            yield from strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from strings(below)
    elif isinstance(value, str):
        yield value


def test_a_run_reads_back_as_it_was_written(tmp_path):
    run = made_up.run()
    folder = written(tmp_path, run)
    assert read_run(folder) == read_run(folder / "run.json") == run
    samples, items = read_samples(folder), read_items(folder)
    assert {name: array.tolist() for name, array in samples.items()} == {
        name: array.tolist() for name, array in made_up.samples(run).items()
    }
    assert {array.dtype for array in samples.values()} == {np.dtype(np.int32)}
    assert items.keys() == made_up.items(run).keys()
    assert all((items[case].correct == item.correct).all() for case, item in made_up.items(run).items())
    assert {item.predictions.dtype for item in items.values()} == {np.dtype(np.uint8)}
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_equal_runs_give_equal_bytes(tmp_path):
    one, two = written(tmp_path / "a"), written(tmp_path / "b")
    for name in ("run.json", "samples.npz", "items.npz"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_keys_are_sorted_and_floats_keep_every_bit(tmp_path):
    value = 0.1 + 0.2
    run = made_up.run()
    case = run.records[0].case
    folder = written(tmp_path, made_up.with_record(run, case, metrics={"ece": value}))
    text = (folder / "run.json").read_text(encoding="utf-8")
    table = json.loads(text)
    assert text == json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert read_run(folder).records[0].metrics["ece"] == value


def test_samples_longer_than_int32_are_its_largest(tmp_path):
    folder = written(tmp_path, samples={"s": np.array([5, 2**40], dtype=np.int64)})
    assert read_samples(folder)["s"].tolist() == [5, 2**31 - 1]


def test_no_trace_of_people_or_places_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.privacy.names", lambda: ("ann", "box7"))
    run = made_up.run()
    table = run.suite | {"methods": [{"label": "mine", "use": "/home/ann/mine.py:KD", "options": {}}]}
    dirty = made_up.with_record(
        run,
        run.records[0].case,
        status="failed",
        reason="OSError: /home/ann/data/x.npz on box7 from https://ann:pw@index.corp/simple",
        reasons={"energy_mj": "no meter at /dev/hwmon/hwmon0 of box7"},
        details={"test_items": 360, "log": ["/var/log/ann/log.txt", {"at": "C:\\Users\\ann\\x"}]},
    )
    dirty = dirty.model_copy(update={"suite": table})
    provenance = dirty.provenance.model_copy(
        update={"command": ("kdbench", "run", "/home/ann/x.toml", "--store=/s/ann/t")}
    )
    folder = written(tmp_path, dirty.model_copy(update={"provenance": provenance}))
    said = list(strings(made_up.table(folder / "run.json")))
    assert len(said) > 1000
    for text in said:
        assert not text.startswith(("/", "~", "C:")), text
        assert "/home" not in text, text
        assert "ann" not in text.replace("planned", ""), text
        assert "box7" not in text, text
        assert "://" not in text, text
    assert "mine.py:KD" in said
    assert "--store=t" in said


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_neither_made_nor_written_nor_read(tmp_path, bad):
    run = made_up.run()
    whole = run.records[0]
    with pytest.raises(ValidationError, match="finite number"):
        whole.model_validate(whole.model_dump() | {"metrics": {"ece": bad}})
    sneaked = made_up.with_record(run, whole.case, metrics={"ece": bad})
    with pytest.raises(MeasureError, match="cannot be recorded"):
        written(tmp_path, sneaked)
    assert list(tmp_path.iterdir()) == []
    folder = written(tmp_path)
    text = (folder / "run.json").read_text(encoding="utf-8")
    (folder / "run.json").write_text(text.replace('"ece": 0.031', '"ece": NaN', 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.json is not JSON: NaN is not a number"):
        read_run(folder)


def test_a_run_is_never_overwritten_and_never_half_written(tmp_path, monkeypatch):
    folder = written(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(MeasureError, match="exists already"):
        written(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kdbench.npz.write_arrays", full)
    with pytest.raises(MeasureError, match=r"cannot write the run .*/new/r: No space left on device; point --results"):
        written(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_run_of_schema_version_1_is_still_read():
    run = read_run(made_up.FIXTURES / "run-v1")
    assert run.id == "20261124T040506Z-00ab"
    assert [record.status for record in run.records].count("crashed") == 1
    assert run.records[0].metrics["latency_ms"] == 0.0812
    assert read_items(made_up.FIXTURES / "run-v1")[run.records[0].case].correct.shape == (360,)
    assert read_samples(made_up.FIXTURES / "run-v1")
    assert json.loads((made_up.FIXTURES / "run-v1" / "run.json").read_text(encoding="utf-8"))["schema_version"] == 1


def test_older_versions_are_upgraded_step_by_step(tmp_path, monkeypatch):
    table = json.loads(run_text(made_up.run()))
    table["partly"] = table.pop("partial")
    (tmp_path / "run.json").write_text(json.dumps(table), encoding="utf-8")
    monkeypatch.setattr(records, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(records._UPGRADES, 1, lambda old: old | {"partial": old["partly"], "schema_version": 1})
    with pytest.raises(UsageError, match="partly"):
        read_run(tmp_path)
    monkeypatch.setitem(
        records._UPGRADES, 1, lambda old: {("partial" if k == "partly" else k): v for k, v in old.items()}
    )
    assert read_run(tmp_path) == made_up.run()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: "),
        ("[1]", "is not a run: it has no schema_version"),
        ('{"schema_version": true}', "is not a run: it has no schema_version"),
        ('{"schema_version": 0}', "is not a run: it has no schema_version"),
        ('{"schema_version": 99}', "has schema version 99, this kdbench reads up to 1; upgrade"),
        ('{"schema_version": 1}', "is not a run of schema version 1: id: Field required"),
        ("[" * 100_000, "is not JSON: "),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'run.json'} {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_run_and_a_binary_one(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read run .*: No such file or directory"):
        read_run(tmp_path / "none")
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not JSON: "):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "suite",
    [{}, {"name": "x"}, {"name": "x", "version": "1"}, {"name": "x", "version": 1, "recipes": []},
     {"name": "x", "version": 1, "recipes": {"student": "fast"}}, {"name": "x", "version": 1, "protocol": 3}],
)  # fmt: skip
def test_a_run_holds_something_of_the_shape_of_a_suite(tmp_path, suite):
    table = json.loads(run_text(made_up.run())) | {"suite": suite}
    (tmp_path / "run.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.json is not a run of schema version 1: suite: Value error, "):
        read_run(tmp_path)
