import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, features, shapes, stages


def test_parameters_and_shapes():
    network = build("mlp", 10, (1, 8, 8), {"width": 32, "depth": 3})
    assert count_params(network) == 64 * 32 + 32 + 2 * (32 * 32 + 32) + 32 * 10 + 10
    assert shapes(network, (1, 8, 8), stages(network)) == {f"hidden{place}": (32,) for place in (1, 2, 3)}
    assert network.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_features_come_after_the_relu_and_the_outputs_from_the_last_of_them():
    torch.manual_seed(0)
    network = build("mlp", 10, (1, 8, 8), {}).eval()
    with features(network, stages(network)) as seen, torch.no_grad():
        outputs = network(torch.randn(4, 1, 8, 8))
        assert all(seen[name].min() == 0 < seen[name].max() for name in stages(network))
        torch.testing.assert_close(outputs, network.get_submodule(network.classifier)(seen["hidden2"]))


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}])
def test_layers_do_not_vanish(options):
    with pytest.raises(UsageError, match=r"mlp: found width \d+ and depth \d+, expected both to be at least 1"):
        build("mlp", 10, (1, 8, 8), options)
