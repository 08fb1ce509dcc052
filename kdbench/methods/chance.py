"""Chance during training: where a method's random numbers are drawn."""

import torch


def local(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A method's generator on the device: itself on the CPU, elsewhere a new one that is seeded by it.

    Numbers that are drawn where they are used need no copy, and a copy to a GPU would make the host wait in each step.
    """
    if device.type == generator.device.type:
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
