import time

import pytest

from kdbench.meters import LOG_VARIABLE, Log, MeterError, Rapl, energy, meter

ZONES = "sys/class/powercap"


def zone(root, name, kind, microjoules, most=262_143_328_850):
    folder = root / ZONES / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in {"name": kind, "energy_uj": microjoules, "max_energy_range_uj": most}.items():
        (folder / file).write_text(f"{text}\n")
    return folder


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    parts = [zone(tmp_path, "intel-rapl:0:0", "core", 7), zone(tmp_path, "intel-rapl:2", "psys", 7)]

    def work():
        (first / "energy_uj").write_text("3500000\n")
        (second / "energy_uj").write_text("5250000\n")
        for part in parts:
            (part / "energy_uj").write_text("900000000\n")
        time.sleep(0.02)

    window = Rapl(tmp_path).during(work)
    assert window.joules == pytest.approx(2.75)
    assert 0.02 <= window.seconds < 5


def test_a_counter_that_starts_anew_goes_on(tmp_path):
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 9_999_000, most=9_999_999)
    window = Rapl(tmp_path).during(lambda: (folder / "energy_uj").write_text("1000\n"))
    assert window.joules == pytest.approx(0.002)


def test_without_counters_there_is_a_reason(tmp_path):
    with pytest.raises(MeterError, match=r"^no processor here tells its energy: .* has no intel-rapl package$"):
        Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    with pytest.raises(MeterError, match=r"has no intel-rapl package$"):
        Rapl(tmp_path)


def test_counters_that_are_for_root_alone_are_a_reason(tmp_path):
    """Root may read everything, so what is not for us is a folder here."""
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()
    with pytest.raises(MeterError, match=r"^/sys/class/powercap/intel-rapl:0/energy_uj cannot be read, as is usual"):
        Rapl(tmp_path)


RAMP = [(10.0, 2.0), (12.0, 4.0), (13.0, 4.0)]


@pytest.mark.parametrize(
    ("start", "end", "joules"),
    [(10.0, 12.0, 6.0), (10.0, 13.0, 10.0), (11.0, 12.5, 5.5), (10.25, 10.75, 1.25), (12.2, 12.7, 2.0)],
)
def test_power_changes_evenly_between_readings(start, end, joules):
    assert energy(RAMP, start, end) == pytest.approx(joules)


def test_a_reading_twice_at_one_time_counts_no_time():
    assert energy([(0.0, 1.0), (1.0, 1.0), (1.0, 3.0), (2.0, 3.0)], 0.0, 2.0) == pytest.approx(4.0)


def test_a_log_must_surround_the_window_and_go_forward():
    for start, end in [(9.0, 12.0), (11.0, 14.0)]:
        with pytest.raises(MeterError, match=r"does not reach from the start to the end of a window$"):
            energy(RAMP, start, end)
    with pytest.raises(MeterError, match=r"goes backwards in time$"):
        energy(RAMP[::-1], 10.5, 12.0)


def test_a_log_is_read_while_it_grows(tmp_path):
    log = tmp_path / "power.csv"
    log.write_text(f"seconds,watts\n{time.time() - 1},3.0\n")

    def work():
        time.sleep(0.1)
        with log.open("a") as file:
            file.write(f"{time.time() + 1},3.0\n{time.time() + 2},")

    window = Log(str(log)).during(work)
    assert window.joules == pytest.approx(3.0 * window.seconds)
    assert window.seconds >= 0.1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "has no readings below a line seconds,watts"),
        ("seconds,watts\n", "has no readings below a line seconds,watts"),
        ("time,power\n1,2\n", "has no readings below a line seconds,watts"),
        ("seconds,watts\n1,two\n", "cannot be read: could not convert string to float: 'two'"),
        ("seconds,watts\n1,2,3\n", "cannot be read: too many values to unpack (expected 2)"),
        ("seconds,watts\n1,2\n", "does not reach from the start to the end of a window"),
    ],
)
def test_what_is_no_log_is_a_reason(tmp_path, text, said, monkeypatch):
    monkeypatch.setattr("kdbench.meters._PATIENCE_S", 0)
    log = tmp_path / "power.csv"
    if text is not None:
        log.write_text(text)
    with pytest.raises(MeterError) as error:
        Log(str(log)).during(lambda: None)
    assert str(error.value) == f"the log that {LOG_VARIABLE} names {said}"


def test_meters_by_name(monkeypatch, tmp_path):
    monkeypatch.delenv(LOG_VARIABLE, raising=False)
    with pytest.raises(MeterError, match=r"^no meter is named: KDBENCH_METER is the CSV file \(seconds,watts\)"):
        meter("meter")
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path / "power.csv"))
    assert isinstance(meter("meter"), Log)
