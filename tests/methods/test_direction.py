import numpy as np
import pytest
import torch

from kdbench.methods.direction import TINY, directions, lengths


def test_lengths_and_directions_are_those_of_the_definition(draw):
    vectors = draw(2, 5, 3, grad=True)
    norms = np.sqrt((vectors.detach().numpy() ** 2).sum(axis=-1))
    np.testing.assert_allclose(lengths(vectors).detach().numpy(), norms, rtol=1e-12)
    np.testing.assert_allclose(
        directions(vectors).detach().numpy(), vectors.detach().numpy() / norms[..., None], rtol=1e-12
    )
    assert torch.autograd.gradcheck(lengths, vectors)
    assert torch.autograd.gradcheck(directions, vectors)


@pytest.mark.parametrize("size", [0.0, TINY / 10])
def test_what_counts_as_zero_is_zero_and_has_no_gradient(size):
    vectors = torch.tensor([[size, 0.0], [3.0, 4.0]], requires_grad=True)
    assert lengths(vectors).tolist() == [0.0, 5.0]
    assert directions(vectors)[0].tolist() == [0.0, 0.0]
    (lengths(vectors).sum() + (directions(vectors) * torch.tensor([1e3, -1e3])).sum()).backward()
    assert vectors.grad[0].tolist() == [0.0, 0.0]
    assert vectors.grad[1].abs().sum() > 0


def test_a_short_vector_has_a_direction_in_fp32():
    torch.testing.assert_close(directions(torch.tensor([[3e-7, 4e-7]])), torch.tensor([[0.6, 0.8]]))
