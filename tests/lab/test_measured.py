import json

import jsonschema
import made_bundle
import made_up
import pytest

from kdbench import schema
from kdbench.errors import UsageError
from kdbench.lab.ingest import read_results

SHA = made_up.sha("program")


def read(tmp_path, table):
    return read_results(made_bundle.written(tmp_path / "measured.json", table))


def test_samples_are_read_in_either_unit_and_everything_else_as_it_was_told(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"")
    told = read(
        tmp_path,
        made_bundle.measured(
            made_bundle.one(SHA, samples_ns=[5, 7], process=3, first_ms=1.5, load_ms=2.5, peak_rss_bytes=9),
            made_bundle.one(SHA, samples_ms=[0.25, 1.0]),
            {"file": "programs/kd-s0.pte", "threads": 1, "outputs": "a.bin"},
            made_bundle.one(SHA, failed="signal 11"),
            empty_rss_bytes=4,
        ),
    )
    one, two, three, four = told.readings
    assert one.samples.tolist() == [5, 7]
    assert (one.program, one.process, one.threads) == (SHA, 3, 1)
    assert (one.first_ms, one.load_ms, one.peak_rss_bytes, told.empty_rss_bytes) == (1.5, 2.5, 9, 4)
    assert two.samples.tolist() == [250_000, 1_000_000]
    assert (three.stem, three.program, three.outputs, three.timed) == ("kd-s0", "", tmp_path / "a.bin", False)
    assert (four.failed, four.timed) == ("signal 11", True)
    assert told.device == {"name": "Pixel 8", "soc": "Tensor G3", "os": "Android 15"}
    assert told.reader == "kdbench's measured.json"


def test_the_shipped_schema_takes_what_the_reader_takes():
    check = jsonschema.Draft202012Validator(schema.shipped("measured"))
    good = made_bundle.measured(made_bundle.one(SHA), made_bundle.one(SHA, outputs="a.bin"))
    check.validate(good)
    for bad in (made_bundle.measured(), made_bundle.measured(made_bundle.one(SHA, samples_ns=[])), good | {"x": 1}):
        assert not check.is_valid(bad)


@pytest.mark.parametrize(
    ("measurement", "why"),
    [
        ({"samples_ns": []}, "measurements.0.samples_ns: Tuple should have at least 1 item after validation, not 0"),
        ({"samples_ns": [5, -1]}, "measurements.0.samples_ns.1: Input should be greater than 0"),
        ({"samples_ns": [0]}, "measurements.0.samples_ns.0: Input should be greater than 0"),
        (
            {"samples_ns": [1.5]},
            "measurements.0.samples_ns.0: Input should be a valid integer, got a number with a frac",
        ),
        (
            {"samples_ns": ["x"]},
            "measurements.0.samples_ns.0: Input should be a valid integer, unable to parse string as",
        ),
        ({"samples_ms": [0.0]}, "measurements.0.samples_ms.0: Input should be greater than 0"),
        ({"samples_ms": [1e30]}, "a sample of 1e+30 ms"),
        ({"load_ms": -2}, "measurements.0.load_ms: Input should be greater than 0"),
        (
            {"samples_ns": [1], "samples_ms": [1.0]},
            "measurements.0: a measurement has samples_ns or samples_ms, not both",
        ),
        ({"process": 1}, "measurements.0: a measurement has figures or outputs, or it says why it failed"),
        ({"samples_ns": [1], "failed": "x"}, "measurements.0: a measurement has figures or outputs, or it says why it"),
        ({"samples_ns": [1], "median": 1}, "measurements.0.median: Extra inputs are not permitted"),
        ({"samples_ns": [1], "threads": 0}, "measurements.0.threads: Input should be greater than or equal to 1"),
        ({"samples_ns": [1], "program_sha256": "12"}, "measurements.0.program_sha256: String should match pattern"),
        ({"samples_ns": [1], "program_sha256": ""}, "measurements.0: a measurement names its program: program_sha256"),
    ],
)
def test_a_bad_measurement_is_one_line_that_says_where(tmp_path, measurement, why):
    with pytest.raises(UsageError) as error:
        read(tmp_path, made_bundle.measured({"program_sha256": SHA, "threads": 1, **measurement}))
    assert str(error.value).startswith(f"{tmp_path / 'measured.json'} is not measured.json: {why}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"measurements": []}, "measurements: Tuple should have at least 1 item after validation, not 0"),
        ({"runtime": ""}, "runtime: String should have at least 1 character"),
        ({"device": {}}, "device.name: Field required"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path, change, why):
    with pytest.raises(UsageError, match=f"is not measured.json: {why}"):
        read(tmp_path, made_bundle.measured(made_bundle.one(SHA), **change))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_not_json(tmp_path, number):
    text = json.dumps(made_bundle.measured(made_bundle.one(SHA, samples_ms=[1.25]))).replace("1.25", number)
    with pytest.raises(UsageError, match=f"measured.json is not JSON: {number} is not a number"):
        read(tmp_path, text)


def test_a_truncated_and_an_empty_and_a_foreign_file_are_told_apart(tmp_path):
    text = json.dumps(made_bundle.measured(made_bundle.one(SHA)))
    with pytest.raises(UsageError, match=r"measured.json is not JSON: Unterminated string"):
        read(tmp_path, text[: len(text) // 2])
    with pytest.raises(UsageError, match=r"measured.json is empty$"):
        read(tmp_path, " \n")
    with pytest.raises(
        UsageError, match=r"is neither kdbench's measured.json nor minibench's list of metrics, nor a log of XCTest's"
    ):
        read(tmp_path, "hello\n")
    (tmp_path / "measured.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"measured.json is not UTF-8 text$"):
        read_results(tmp_path / "measured.json")
    with pytest.raises(UsageError, match=r"cannot read .*none.json: No such file or directory$"):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/../../b.bin"])
def test_outputs_do_not_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(UsageError, match="do not lie beside it"):
        read(tmp_path, made_bundle.measured(made_bundle.one(SHA, outputs=name)))


def test_a_file_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.lab.manifest.MOST_BYTES", 10)
    with pytest.raises(UsageError, match=r"measured.json has more than 1e-05 MB$"):
        read(tmp_path, made_bundle.measured(made_bundle.one(SHA)))
