"""Phones without a phone: folders, in which a stand-in for adb does what it is told to do on one (adb_stand_in.py)."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from boards import Seen

MACHINE = os.uname().machine

SERIAL = "38021FDJH00FAKE"
"""No phone's."""

LINE = "{serial:<22} {state} product:shiba model:{model} device:shiba transport_id:4"

REAL = ("sh", "mktemp", "mkdir", "chmod", "cat", "rm", "sleep", "sha256sum")
"""Commands of Android's toybox that this machine's own stand for, as far as they are used."""

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3270000
  status: 2
  health: 2
  present: true
  level: 85
  scale: 100
  voltage: 4352
  temperature: 274
  technology: Li-ion
"""
"""As ``BatteryService.dumpInternal`` of AOSP's frameworks/base writes it."""

THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 4
\tkilled: false
\tbroadcasts count: -1
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=25.6, mType=0, mName=AP, mStatus=0}}
\tTemperature{{mValue=23.8, mType=2, mName=BAT, mStatus=0}}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{{mValue=25.6, mType=0, mName=AP, mStatus=0}}
"""
"""As a Galaxy A52 wrote it: https://android.stackexchange.com/questions/246774."""

PROPERTIES = {
    "ro.product.model": "Pixel 8",
    "ro.build.version.release": "14",
    "ro.build.id": "UD1A.231105.004",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor G3",
    "ro.board.platform": "zuma",
}

FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,apex,abb,fixed_push_symlink_timestamp,abb_exec\n"

UNFIXABLE = (
    "Failed to set FIXED_PERFORMANCE mode\nThis is likely because Power HAL AIDL is not implemented on this device"
)
"""What ``PowerManagerShellCommand.runSetFixedPerformanceModeEnabled`` says, and returns -1."""

ENV = """#!/bin/sh
[ "$1" = -i ] && shift || exit 1
set=
while :; do case "$1" in *=*) set="$set $1"; shift;; *) break;; esac; done
bound=
if [ "$1" = taskset ]; then echo "$2" >>{here}/masks; bound="{taskset} $2"; shift 2; fi
exec /usr/bin/env -i $set $bound {launcher} "$@"
"""
"""What starts a job: ``launcher`` is the emulator of a phone with another processor than this machine's."""


@dataclass(frozen=True)
class Phone(Seen):
    """What is seen of a phone from outside."""

    folder: Path

    @property
    def tmp(self):
        return self.folder / "root/data/local/tmp"

    def lies(self):
        """What lies in the only visit's folder."""
        (visit,) = self.tmp.iterdir()
        return sorted(path.name for path in visit.iterdir())

    def fixed(self):
        """Whether fixed-performance mode is on."""
        return (self.folder / "mode").read_text().strip() == "true"

    def modes(self):
        """How often the mode was set."""
        return (self.folder / "modes").read_text().split()

    def says(self, name, text=""):
        """Lay a file that the stand-in looks at: ``gone``, ``full``, ``spoils``, ``delay``, ``devices``, ``features``."""
        (self.folder / name).write_text(text)

    def attach(self, *phones):
        """The phones that adb lists, each a serial, a state and a model."""
        lines = [LINE.format(serial=serial, state=state, model=model) for serial, state, model in phones]
        self.says("devices", "".join(line.replace(" model: ", " ") + "\n" for line in lines))

    def heat(self, *statuses):
        """The thermal statuses that it tells one after the other; the last one stays."""
        self.says("statuses", "".join(f"{status}\n" for status in statuses))

    def command(self, name, script):
        """Put a command there."""
        path = self.folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def lines(self):
        """What adb was called with."""
        return (self.folder / "log").read_text().splitlines()

    def unknown(self):
        """What was asked that no phone knows."""
        path = self.folder / "unknown"
        return path.read_text() if path.exists() else ""


def cores():
    """The cores of this machine as a phone's: the last is fast."""
    usable = sorted(os.sched_getaffinity(0))
    return {1803000: usable[:-1], 2914000: usable[-1:]}


def laid(folder, launcher="", machine=MACHINE):
    """A phone: a Pixel 8 as far as it is asked, with this machine's cores."""
    phone = Phone(folder)
    phone.tmp.mkdir(parents=True)
    (folder / "bin").mkdir()
    for name in REAL:
        (folder / "bin" / name).symlink_to(shutil.which(name))
    online = sorted(os.sched_getaffinity(0))
    for place, (khz, numbers) in enumerate(cores().items()):
        policy = folder / f"root/sys/devices/system/cpu/cpufreq/policy{place}"
        policy.mkdir(parents=True)
        (policy / "cpuinfo_max_freq").write_text(f"{khz}\n")
        (policy / "related_cpus").write_text(" ".join(map(str, numbers)) + "\n")
        (policy / "scaling_governor").write_text("sched_pixel\n")
    (folder / "root/sys/devices/system/cpu/online").write_text(",".join(map(str, online)) + "\n")
    (folder / "root/proc").mkdir()
    (folder / "root/proc/cpuinfo").write_text("processor\t: 0\nCPU part\t: 0xd05\n\n")
    (folder / "root/proc/meminfo").write_text("MemTotal:        7846000 kB\nMemFree:          312000 kB\n")
    phone.says("battery", BATTERY)
    phone.says("thermal", THERMAL.format(status="@"))
    phone.heat(0)
    phone.says("mode", "false\n")
    phone.says("modes")
    phone.says("features", FEATURES)
    phone.attach((SERIAL, "device", "Pixel_8"))
    _commands(phone, launcher, machine)
    return phone


def _commands(phone, launcher, machine):
    here = phone.folder
    phone.command("uname", f"echo Linux 5.15.137-android14-11 {machine}")
    properties = "".join(f"{key}) echo '{value}';; " for key, value in PROPERTIES.items())
    phone.command("getprop", f'case "$1" in {properties} *) echo;; esac')
    phone.command(
        "dumpsys",
        f'PATH=/usr/bin:/bin; cd {here}\ncase "$1" in\nbattery) cat battery;;\n'
        'thermalservice) s=$(head -1 statuses); [ $(wc -l <statuses) -gt 1 ] && sed -i 1d statuses; sed "s/@/$s/" thermal;;\n'
        """*) echo "Can't find service: $1" >&2; echo "dumpsys $*" >>unknown; exit 1;;\nesac""",
    )
    phone.command(
        "cmd",
        f'cd {here}\ncase "$*" in\n"power set-fixed-performance-mode-enabled "*)\n'
        f'  if [ -f unfixable ]; then echo "{UNFIXABLE}" >&2; exit 255; fi\n  echo $3 >mode; echo $3 >>modes;;\n'
        '*) echo "cmd $*" >>unknown; exit 255;;\nesac',
    )
    (here / "bin/env").write_text(ENV.format(here=here, taskset=shutil.which("taskset"), launcher=launcher))
    (here / "bin/env").chmod(0o755)


def client(folder, phone):
    """A folder for the path, with an adb in it that leads to the phone."""
    folder.mkdir()
    path = folder / "adb"
    stand_in = Path(__file__).parent / "adb_stand_in.py"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {stand_in} {phone.folder} "$@"\n')
    path.chmod(0o755)
    return folder


def runner():
    """The runner for this machine, which says its executorch as one for Android does."""
    from kdbench.devices.runner import build

    here = Path(build.__file__).parent
    told = f'-DKDBENCH_EXECUTORCH="{version("executorch").partition("+")[0]}"'
    command = [build.find_compiler(), str(here / build.SOURCES[0]), *build.flags(build.executorch_folder()), told]
    return build.built(command, [here / name for name in build.SOURCES], "runner-phone", version("executorch"))
