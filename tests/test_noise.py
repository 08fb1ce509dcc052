import pytest

from kdbench.devices.host import host
from kdbench.noise import PROCESSES, cpu_times, governor, limits, spread, spread_of, stolen_share, surroundings, verdict

CPU = "sys/devices/system/cpu"


def tree(root, **files):
    """A system's /proc and /sys in a folder; ``__`` in a name is a slash, all of them relative to it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def finding(root, name):
    [found] = [each for each in surroundings(root) if each.name == name]
    return found


@pytest.mark.parametrize(
    ("governors", "state", "said"),
    [
        ((), "warn", "not readable"),
        (("performance", "performance"), "ok", "performance"),
        (("powersave", "performance"), "warn", "performance, powersave"),
    ],
)
def test_the_governor(tmp_path, governors, state, said):
    tree(tmp_path, **{f"{CPU}/cpu{i}/cpufreq/scaling_governor": text + "\n" for i, text in enumerate(governors)})
    found = finding(tmp_path, "governor")
    assert (found.state, found.said) == (state, said)
    assert governor(tmp_path) == (said if governors else "")


@pytest.mark.parametrize(
    ("file", "text", "state", "said"),
    [
        ("intel_pstate/no_turbo", "1\n", "ok", "off"),
        ("intel_pstate/no_turbo", "0\n", "warn", "on"),
        ("cpufreq/boost", "0\n", "ok", "off"),
        ("cpufreq/boost", "1\n", "warn", "on"),
        ("unrelated", "1\n", "ok", "not readable"),
    ],
)
def test_turbo(tmp_path, file, text, state, said):
    found = finding(tree(tmp_path, **{f"{CPU}/{file}": text}), "turbo")
    assert (found.state, found.said) == (state, said)


def test_virtual_machines_and_containers_are_seen(tmp_path):
    assert finding(tmp_path, "virtualisation").said == "not seen"
    assert finding(tmp_path, "virtualisation").state == "ok"
    tree(tmp_path, **{"proc/cpuinfo": "flags\t: fpu hypervisor avx2\n", "proc/stat": "cpu  10 0 10 70 0 0 0 10 0 0\n"})
    assert finding(tmp_path, "virtualisation").said == "virtual machine; 10.0% of all time since the start was stolen"
    tree(tmp_path, **{".dockerenv": ""})
    found = finding(tmp_path, "virtualisation")
    assert found.said.startswith("container in a virtual machine; ")
    assert found.state == "warn"


def test_instruction_sets_and_slow_bf16(tmp_path):
    tree(tmp_path, **{"proc/cpuinfo": "flags\t\t: fpu avx2 avx512f\n"})
    found = finding(tmp_path, "processor")
    assert found.said.endswith("; avx2, avx512f")
    assert found.hint == "no bf16 instructions: recipes with precision = 'bf16' train slowly here"
    tree(tmp_path, **{"proc/cpuinfo": "Features\t: fp asimd bf16\n"})
    assert finding(tmp_path, "processor").said.endswith("; asimd, bf16")
    assert not finding(tmp_path, "processor").hint


def test_the_tightest_control_group_counts(tmp_path):
    assert limits(tmp_path) == (None, None)
    tree(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/pod/box/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/memory.max": "max\n",
            "sys/fs/cgroup/pod/box/memory.max": "1073741824\n",
        },
    )
    assert limits(tmp_path) == (1.5, 2**30)


def test_a_quota_below_one_core_is_a_warning(tmp_path):
    tree(tmp_path, **{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"})
    found = finding(tmp_path, "cores")
    assert found.state == "warn"
    assert found.said.endswith("; limited to 0.5 cores")


def test_version_1_groups(tmp_path):
    tree(tmp_path, **{"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"})
    assert limits(tmp_path) == (None, None)
    tree(tmp_path, **{"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n"})
    assert limits(tmp_path) == (2.0, None)


def test_stolen_time(tmp_path):
    assert cpu_times(tmp_path) == (0, 0)
    tree(tmp_path, **{"proc/stat": "cpu  100 0 100 700 0 0 0 100 50 50\ncpu0 1 2 3 4 5 6 7 8 9 10\n"})
    assert cpu_times(tmp_path) == (1000, 100)
    assert stolen_share((1000, 100), (2000, 150)) == 0.05
    assert stolen_share((0, 0), (0, 0)) == 0


def test_the_spread_of_medians():
    found = spread_of([[1.0, 1.01], [1.1, 1.1], [1.05, 1.029]])
    assert found.median_ms == (1.0, 1.1, 1.05)
    assert found.between == pytest.approx(0.1)
    assert found.within == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("medians", "stolen", "state", "said"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], 0.0, "ok", "differences under 0.1 % cannot be trusted here (x ref: 0.1 %)"),
        ([[0.1, 0.1005], [0.1021, 0.1021]], 0.0, "ok", "under 2.1 % cannot be trusted here (x ref: 0.5 %)"),
        ([[1.0, 1.0], [1.06, 1.06]], 0.0, "warn", "differences under 6.0 % cannot be trusted here"),
        ([[1.0, 1.0], [1.0, 1.0]], 0.04, "warn", "; 4% of the time was stolen by other virtual machines"),
    ],
)
def test_the_verdict(medians, stolen, state, said):
    found = verdict(spread_of(medians), stolen)
    assert found.state == state
    assert said in found.said
    assert bool(found.hint) == (state == "warn")


def test_a_program_against_itself(tiny_program):
    found = spread(host(), tiny_program.path, tiny_program.inputs)
    assert len(found.median_ms) == PROCESSES
    assert min(found.median_ms) > 0
    assert found.between == max(found.median_ms) / min(found.median_ms) - 1
