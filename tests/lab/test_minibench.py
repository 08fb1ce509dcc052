import json

import made_bundle
import pytest
from made_bundle import metric

from kdbench.errors import UsageError
from kdbench.lab.ingest import read_results

MEAN, TRIMMED = "avg_inference_latency(ms)", "trimmean_inference_latency(ms)"
LOAD, STATUS, PSS = "model_load_time(ms)", "load_status", "ram_pss_usage(mb)"
MODEL = "kd-xnnpack-int8-s0-0123456789ab"


def read(tmp_path, table):
    return read_results(made_bundle.written(tmp_path / "benchmark_results.json", table))


def whole(model=MODEL):
    """What the app writes of one model: ModelRunner.java adds these five."""
    values = {MEAN: 2.5, TRIMMED: 2.25, LOAD: 8.5, STATUS: 0.0, PSS: 3.0}
    return [metric(name, value, model) for name, value in values.items()]


def test_a_result_is_a_mean_and_a_load_time_and_no_samples(tmp_path):
    told = read(tmp_path, whole())
    [reading] = told.readings
    assert (reading.stem, reading.program, reading.threads) == (MODEL, "", 0)
    assert (reading.mean_ms, reading.load_ms, reading.samples) == (2.5, 8.5, None)
    assert reading.flags == ("no-samples",)
    assert reading.peak_rss_bytes is None
    assert reading.details == {TRIMMED: 2.25, PSS: 3.0}
    assert told.device == {"name": "google Pixel 8", "os": "Android 15"}
    assert told.reader == "ExecuTorch's minibench"
    assert told.left == ()


def test_a_name_that_the_app_took_apart_is_put_together(tmp_path):
    model = {"name": "kd", "backend": "xnnpack", "quantization": "int8"}
    [reading] = read(tmp_path, [metric(MEAN, 1.5, "", benchmarkModel=model)]).readings
    assert reading.stem == "kd_xnnpack_int8"
    assert reading.load_ms is None


def test_results_of_several_models_and_repeats_are_kept_apart(tmp_path):
    readings = read(tmp_path, [*whole(), *whole("other"), *whole()]).readings
    assert [(each.stem, each.process) for each in readings] == [(MODEL, 0), (MODEL, 1), ("other", 0)]


def test_a_model_that_did_not_load_failed(tmp_path):
    [reading] = read(tmp_path, [metric(LOAD, 0.4, MODEL), metric(STATUS, 32.0, MODEL)]).readings
    assert reading.failed == "load_status 32"
    assert reading.load_ms is None


def test_a_metric_without_a_place_is_told(tmp_path):
    told = read(tmp_path, [*whole(), metric("token_per_sec", 5.0, MODEL)])
    assert told.left == ("metric token_per_sec: kdbench has no such figure",)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "is not a minibench result: rows: Tuple should have at least 1 item after validation, not 0"),
        ([{"metric": MEAN}], "is not a minibench result: rows.0.benchmarkModel: Field required"),
        (
            [metric(MEAN, "fast", MODEL)],
            "is not a minibench result: rows.0.actualValue: Input should be a valid number",
        ),
        ([metric(MEAN, 0.0, MODEL)], f"{MEAN} of '{MODEL}' is 0, so nothing was timed"),
        ([metric(MEAN, -1.0, MODEL)], f"{MEAN} of '{MODEL}' is -1, so nothing was timed"),
        ([metric(MEAN, 1.0, MODEL), metric(LOAD, -1.0, MODEL)], f"{LOAD} of '{MODEL}' is -1, so nothing was timed"),
        ([metric(LOAD, 1.0, MODEL)], f"'{MODEL}' has no {MEAN}, and no {STATUS} that says why"),
        (
            [metric(MEAN, 1.0, "")],
            "is not a minibench result: rows.0.benchmarkModel.name: String should have at least 1",
        ),
        (
            [metric(MEAN, 1.0, MODEL), metric(LOAD, 1.0, MODEL, deviceInfo={"arch": "Pixel 7"})],
            "is of 2 devices; ingest them one by one",
        ),
    ],
)
def test_a_bad_result_is_one_line(tmp_path, rows, why):
    with pytest.raises(UsageError) as error:
        read(tmp_path, rows)
    assert str(error.value).startswith(str(tmp_path / "benchmark_results.json"))
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_number_and_what_is_cut_off_are_not_json(tmp_path):
    text = json.dumps(whole())
    with pytest.raises(UsageError, match="is not JSON: NaN is not a number"):
        read(tmp_path, text.replace("2.25", "NaN"))
    with pytest.raises(UsageError, match="is not JSON: "):
        read(tmp_path, text[:-40])
