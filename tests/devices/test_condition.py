import phones
import pytest

from kdbench.devices.condition import Condition, read_condition

WIRELESS = phones.BATTERY.replace("USB powered: true", "USB powered: false").replace(
    "less powered: false", "less powered: true"
)


def test_battery_and_heat_are_read():
    found = read_condition(phones.BATTERY, phones.THERMAL.format(status=2))
    assert found == Condition(battery_percent=85, battery_celsius=27.4, charging="usb", thermal_status=2)
    assert read_condition(WIRELESS, "").charging == "wireless"
    assert read_condition(phones.BATTERY.replace("AC powered: false", "AC powered: true"), "").charging == "ac+usb"
    assert read_condition(phones.BATTERY.replace("true", "false"), "").charging == "no"
    assert read_condition(phones.BATTERY.replace("scale: 100", "scale: 200"), "").battery_percent == 42


def test_a_log_of_older_values_is_not_read():
    log = (
        "\n[EventLogBuffer]\n08-11 18:34:14.721  Sending ACTION_BATTERY_CHANGED: level:72, temperature:345\nlevel: 72\n"
    )
    assert read_condition(phones.BATTERY + log, "").battery_percent == 85


def test_what_is_not_told_is_none():
    assert read_condition("", "") == Condition(None, None, "", None)
    assert read_condition("Can't find service: battery", "Can't find service: thermalservice").thermal_status is None


@pytest.mark.parametrize(
    "change", [("IsStatusOverride: false", "IsStatusOverride: true"), ("Ready: true", "Ready: false")]
)
def test_a_status_that_no_sensor_stands_behind_is_not_known(change):
    assert read_condition("", phones.THERMAL.format(status=0).replace(*change)).thermal_status is None


@pytest.mark.parametrize(
    ("status", "hot", "words"),
    [(None, False, "unknown"), (0, False, "0 (none)"), (1, False, "1 (light)"), (2, True, "2 (moderate)"),
     (6, True, "6 (shutdown)"), (9, True, "9")],
)  # fmt: skip
def test_from_moderate_on_it_is_hot(status, hot, words):
    condition = Condition(None, None, "", status)
    assert (condition.hot, condition.heat) == (hot, words)
