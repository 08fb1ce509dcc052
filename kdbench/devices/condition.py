"""The condition of a phone: its battery and its heat at one moment, as Android's services tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass

THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal statuses in their order, of ``android.os.PowerManager``: from moderate on a phone throttles."""

COOL = THERMAL.index("light")
"""The hottest status at which figures are taken."""

_POWERS = ("AC", "USB", "Wireless", "Dock")


@dataclass(frozen=True, slots=True)
class Condition:
    """Battery and heat. None, or nothing, is what a phone does not tell.

    ``battery_percent`` of full, ``battery_celsius`` degrees; ``charging`` from what, such as ``usb``, or ``no``;
    ``thermal_status`` a place in ``THERMAL``.
    """

    battery_percent: int | None
    battery_celsius: float | None
    charging: str
    thermal_status: int | None

    @property
    def hot(self) -> bool:
        """Whether figures taken now would be those of a phone that throttles."""
        return self.thermal_status is not None and self.thermal_status > COOL

    @property
    def heat(self) -> str:
        """The thermal status in words: ``3 (severe)``."""
        status = self.thermal_status
        if status is None:
            return "unknown"
        return f"{status} ({THERMAL[status]})" if status < len(THERMAL) else str(status)


def read_condition(battery: str, thermal: str) -> Condition:
    """What ``dumpsys battery`` and ``dumpsys thermalservice`` say; the latter came with Android 10.

    A status that somebody has set by hand, or that no sensor stands behind, is not known.
    """
    level, scale = _number(battery, "level"), _number(battery, "scale") or 100
    tenths = _number(battery, "temperature")
    powers = {power: re.search(rf"^\s*{power} powered: (true|false)\s*$", battery, re.MULTILINE) for power in _POWERS}
    told = {power.lower(): match[1] == "true" for power, match in powers.items() if match}
    charging = "+".join(power for power, on in told.items() if on) or ("no" if told else "")
    unreal = re.search(r"^\s*(?:IsStatusOverride: true|HAL Ready: false)\s*$", thermal, re.MULTILINE)
    return Condition(
        battery_percent=None if level is None else round(100 * level / scale),
        battery_celsius=None if tenths is None else tenths / 10,
        charging=charging,
        thermal_status=None if unreal else _number(thermal, "Thermal Status"),
    )


def _number(told: str, key: str) -> int | None:
    """The number of the first line ``key: N``; some phones add a log of older ones."""
    match = re.search(rf"^\s*{key}: (-?\d+)\s*$", told, re.MULTILINE)
    return int(match[1]) if match else None
