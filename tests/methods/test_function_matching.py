from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.function_matching import FunctionMatching
from kdbench.methods.method import Batch


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_value_and_gradient(draw, step, temperature):
    z_s, z_t = draw(6, 4, grad=True), draw(6, 4)
    losses = FunctionMatching(temperature).losses(step(z_s, z_t))
    losses["kl"].backward()
    p, q = softmax(z_t.numpy() / temperature), softmax(z_s.detach().numpy() / temperature)
    assert list(losses) == ["kl"]
    assert losses["kl"].item() == pytest.approx(temperature**2 * (p * np.log(p / q)).sum() / 6, rel=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), temperature * (q - p) / 6, rtol=1e-9, atol=1e-13)


def test_labels_are_not_looked_at(draw, step):
    z_s, z_t = draw(6, 4), draw(6, 4)
    made = step(z_s, z_t)
    blind = replace(made, batch=replace(made.batch, targets=None))
    assert FunctionMatching().losses(blind) == FunctionMatching().losses(made)


@pytest.mark.parametrize("items", [2, 5])
def test_each_item_is_mixed_with_the_one_before_it_in_one_share(draw, items):
    inputs, targets, index = draw(items, 1, 3, 3), torch.arange(items), torch.arange(items) + 7
    seen = FunctionMatching().view(Batch(inputs, targets, index), torch.Generator().manual_seed(3))
    share = torch.rand(1, generator=torch.Generator().manual_seed(3)).item()
    assert 0.001 < share < 0.999
    for i in range(items):
        torch.testing.assert_close(seen.inputs[i], share * inputs[i] + (1 - share) * inputs[i - 1])
    assert seen.inputs.dtype == inputs.dtype
    assert seen.targets is targets
    assert seen.index is index


def test_shares_are_uniform_and_drawn_from_the_views_stream_alone():
    batch = Batch(torch.tensor([[1.0], [0.0]]), torch.arange(2), torch.arange(2))
    generator, before = torch.Generator().manual_seed(0), torch.get_rng_state()
    shares = np.sort([FunctionMatching().view(batch, generator).inputs[0, 0].item() for _ in range(400)])
    assert torch.equal(torch.get_rng_state(), before)
    assert np.abs(shares - (np.arange(400) + 0.5) / 400).max() < 0.08


def test_default_is_the_reference_one_and_the_option_is_bounded():
    method = method_from("function-matching", {})
    assert isinstance(method, FunctionMatching)
    assert method.temperature == 1.0
    with pytest.raises(UsageError, match="method 'function-matching' option 'temperature': found 0, expected greater"):
        method_from("function-matching", {"temperature": 0})
