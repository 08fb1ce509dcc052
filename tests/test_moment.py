import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from kdbench.moment import moment, others_between, stolen_between

CPU = "sys/devices/system/cpu"
TICK = os.sysconf("SC_CLK_TCK")


def tree(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_what_a_system_does_not_tell_is_none(tmp_path):
    found = moment(tmp_path)
    assert (found.busy_s, found.stolen_s, found.load, found.mhz, found.celsius) == (None,) * 5
    assert found.seconds > 0
    assert stolen_between(found, found) is None
    assert others_between(found, replace(found, seconds=found.seconds + 1)) is None


def test_what_it_tells(tmp_path):
    tree(
        tmp_path,
        **{
            "proc/loadavg": "1.52 0.80 0.70 2/98 4711\n",
            "proc/stat": f"cpu  {TICK} {2 * TICK} {3 * TICK} 900 800 {4 * TICK} {5 * TICK} {6 * TICK} 7 8\ncpu0 1 2\n",
            "proc/cpuinfo": "cpu MHz\t\t: 2596.140\ncpu MHz\t\t: 3100.5\n",
            "sys/class/thermal/thermal_zone0/temp": "41000\n",
            "sys/class/thermal/thermal_zone1/temp": "53500\n",
            "sys/class/thermal/thermal_zone2/temp": "\n",
        },
    )
    found = moment(tmp_path)
    assert (found.load, found.mhz, found.celsius) == (1.52, 3100.5, 53.5)
    assert (found.busy_s, found.stolen_s) == (1 + 2 + 3 + 4 + 5, 6)


def test_the_clock_that_the_kernel_sets_counts_before_that_of_cpuinfo(tmp_path):
    clocks = {f"{CPU}/cpu{i}/cpufreq/scaling_cur_freq": f"{khz}\n" for i, khz in enumerate((800_000, 2_400_000))}
    assert moment(tree(tmp_path, **clocks, **{"proc/cpuinfo": "cpu MHz : 3000.0\n"})).mhz == 2400


def test_stolen_is_a_share_of_the_time_that_was_wanted(tmp_path):
    first = replace(moment(tmp_path), busy_s=10.0, stolen_s=1.0)
    assert stolen_between(first, replace(first, busy_s=13.0, stolen_s=2.0)) == pytest.approx(0.25)
    assert stolen_between(first, first) == 0


def test_others_are_what_is_busy_besides_us(tmp_path):
    first = replace(moment(tmp_path), seconds=100.0, ours_s=5.0, busy_s=50.0, stolen_s=0.0)
    assert others_between(first, replace(first, seconds=110.0, ours_s=15.0, busy_s=65.0)) == pytest.approx(0.5)
    assert others_between(first, replace(first, seconds=110.0, ours_s=15.0, busy_s=58.0)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters")
def test_what_our_own_processes_take_is_not_others():
    first = moment()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True)
    last = moment()
    assert 0.35 < last.ours_s - first.ours_s < 4  # 0.4 s, counted in ticks of 10 ms
    assert last.busy_s >= first.busy_s


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters")
def test_a_process_that_is_not_waited_for_is_others():
    first = moment()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        last = moment()
    finally:
        busy.kill()
        busy.wait()
    assert others_between(first, last) > 0.15
