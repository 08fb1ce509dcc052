import pytest

from kdbench.devices.clusters import Cluster, cores_for, described, mask, read_clusters

PIXEL_8 = "1704000 0 1 2 3\n2367000 4 5 6 7\n2914000 8\n"


def test_the_fastest_comes_first():
    clusters = read_clusters(PIXEL_8, "0-8\n")
    assert clusters == (Cluster((8,), 2914000), Cluster((4, 5, 6, 7), 2367000), Cluster((0, 1, 2, 3), 1704000))
    assert described(clusters) == "0-3 at 1704 MHz, 4-7 at 2367 MHz, 8 at 2914 MHz"


@pytest.mark.parametrize(
    ("threads", "cores", "bits"),
    [(1, (8,), "100"), (2, (4, 5, 6, 7, 8), "1f0"), (5, (4, 5, 6, 7, 8), "1f0"), (6, tuple(range(9)), "1ff"),
     (64, tuple(range(9)), "1ff")],
)  # fmt: skip
def test_a_job_gets_as_many_of_the_fast_cores_as_it_has_threads(threads, cores, bits):
    found = cores_for(read_clusters(PIXEL_8, "0-8"), threads)
    assert (found, mask(found)) == (cores, bits)


def test_one_thread_gets_the_last_core_of_the_fastest_cluster():
    assert cores_for(read_clusters("1800000 0 1 2 3 4 5\n2200000 6 7\n", "0-7"), 1) == (7,)
    assert cores_for(read_clusters("1800000 0 1 2 3 4 5\n2200000 6 7\n", "0-7"), 2) == (6, 7)


def test_cores_that_are_off_are_not_used():
    clusters = read_clusters(PIXEL_8, "0-3,5,7\n")
    assert clusters == (Cluster((5, 7), 2367000), Cluster((0, 1, 2, 3), 1704000))
    assert described(clusters) == "0-3 at 1704 MHz, 5+7 at 2367 MHz"


def test_without_clocks_all_cores_are_one_cluster():
    clusters = read_clusters("", "0-3")
    assert (clusters, cores_for(clusters, 1), described(clusters)) == ((Cluster((0, 1, 2, 3), 0),), (3,), "0-3")
