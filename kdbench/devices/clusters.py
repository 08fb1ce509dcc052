"""Clusters: the cores of a phone by their speed, and those that a job is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cores that share a clock, by number, and the fastest that it goes in kHz; 0 where that is not told."""

    cores: tuple[int, ...]
    khz: int


def read_clusters(policies: str, online: str) -> tuple[Cluster, ...]:
    """The clusters, the fastest first, with the cores that are online.

    ``policies``: a line ``cpuinfo_max_freq related_cpus...`` for each of cpufreq's; without any, all cores are one
    cluster. ``online``: what ``/sys/devices/system/cpu/online`` says, such as ``0-3,5``.
    """
    usable = _listed(online)
    found = []
    for line in policies.splitlines():
        khz, *cores = (int(word) for word in line.split())
        found.append(Cluster(tuple(sorted(core for core in cores if core in usable)), khz))
    clusters = [cluster for cluster in found if cluster.cores] or [Cluster(tuple(sorted(usable)), 0)]
    return tuple(sorted(clusters, key=lambda cluster: (cluster.khz, cluster.cores), reverse=True))


def cores_for(clusters: tuple[Cluster, ...], threads: int) -> tuple[int, ...]:
    """The cores for so many threads: the last of the fastest cluster for one; else that whole cluster.

    Where it has fewer cores than there are threads, the next one comes too: threads that share a core wait for each
    other. All cores where there are too few in all.
    """
    if threads == 1:
        return clusters[0].cores[-1:]
    cores: tuple[int, ...] = ()
    for cluster in clusters:
        cores += cluster.cores
        if len(cores) >= threads:
            break
    return tuple(sorted(cores))


def mask(cores: tuple[int, ...]) -> str:
    """The cores as taskset takes them: bits in hexadecimal."""
    return f"{sum(1 << core for core in cores):x}"


def described(clusters: tuple[Cluster, ...]) -> str:
    """The clusters in words, the slowest first: ``0-3 at 1704 MHz, 8 at 2914 MHz``."""
    return ", ".join(
        _ranges(cluster.cores) + (f" at {cluster.khz // 1000} MHz" if cluster.khz else "")
        for cluster in reversed(clusters)
    )


def _listed(online: str) -> set[int]:
    cores: set[int] = set()
    for part in online.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            cores |= set(range(int(first), int(last or first) + 1))
    return cores


def _ranges(cores: tuple[int, ...]) -> str:
    if not cores:
        return "cores not told"
    whole = cores == tuple(range(cores[0], cores[-1] + 1))
    if len(cores) == 1:
        return str(cores[0])
    return f"{cores[0]}-{cores[-1]}" if whole else "+".join(map(str, cores))
