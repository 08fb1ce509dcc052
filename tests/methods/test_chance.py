import torch

from kdbench.methods import chance


def test_on_the_cpu_it_is_the_methods_own():
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    assert chance.local(generator, torch.device("cpu")) is generator
    assert torch.equal(generator.get_state(), state)


def test_elsewhere_it_is_seeded_by_the_methods_own(monkeypatch):
    made, original = [], torch.Generator

    def stand_in(device):
        made.append(device)
        return original()

    source = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    monkeypatch.setattr(torch, "Generator", stand_in)
    one, same, other = (torch.rand(5, generator=chance.local(each, torch.device("cuda"))) for each in source)
    assert made == [torch.device("cuda")] * 3
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
