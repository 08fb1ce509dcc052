import torch

from kdbench.training.stream import derive, seeded, stream


def test_streams_are_one_a_seed_role_and_purpose():
    seeds = {derive(s, r, p) for s in range(3) for r in ("teacher", "student") for p in ("init", "order", "augment")}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_never_changes_between_versions():
    assert derive(0, "student", "init") == 8662706472464010650
    draws = [torch.rand(3, generator=stream(1, "student", "order")) for _ in range(2)]
    assert torch.equal(*draws)


def test_seeding_leaves_the_global_generator_as_it_was():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with seeded(0, "student", "init"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), wanted)
    with seeded(0, "student", "init"):
        assert torch.equal(torch.rand(2), inside)
