"""What every network offers: named stages to look into, a named classifier, and ways to use both.

An architecture is a function ``(outputs, shape, **options) -> nn.Module``: the width of the output, one item's shape
[C, H, W], and options of its own with types and defaults. The module it returns has two more attributes:

``stages``: a tuple of names of submodules, shallow to deep, whose outputs are features: [B, C, H, W] after the last
    activation of a stage, and [B, D] for the pooled ones.
``classifier``: the name of the last linear module, which turns pooled features into outputs.

``STAGE.pre`` names the value before a stage's last activation: what enters the activation module (``nn.ReLU`` and its
kin) whose output is the stage's. Where a stage ends in none, or in one that is a function and no module, it is the
stage's own output. Its shape is the stage's.

Weights are drawn from torch's global generator, which the caller seeds.
"""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from kdbench.catalog import find, suggestion
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch.utils.hooks import RemovableHandle

Shape = tuple[int, ...]

PRE = ".pre"
"""What a stage's name ends in where the value before its last activation is meant."""

_ACTIVATIONS = (
    nn.ReLU,
    nn.Hardtanh,  # and ReLU6, which is one
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)


def build(name: str, outputs: int, shape: Shape, options: Mapping[str, Any], where: str = "") -> nn.Module:
    """A new network of the architecture called ``name``; ``where`` tells in errors where the name was read.

    Raises:
        UsageError: no such architecture or option, an option of another type or one that the architecture refuses, or
            a network that does not name its stages and classifier.
    """
    architecture = cast("Callable[..., nn.Module]", find("models", name, where).load())
    title = f"model {name!r} {where}".rstrip()
    network = architecture(outputs, shape, **_checked(architecture, options, title))
    modules = dict(network.named_modules())
    for part in (*stages(network), classifier(network)):
        if part not in modules:
            raise UsageError(f"{title} names a part {part!r} that it has no submodule for")
    return network


def stages(network: nn.Module) -> tuple[str, ...]:
    """The names of the network's stages, shallow to deep.

    Raises:
        UsageError: it does not say.
    """
    return cast("tuple[str, ...]", _attribute(network, "stages", "a tuple of names of submodules, shallow to deep"))


def classifier(network: nn.Module) -> str:
    """The name of the last linear module.

    Raises:
        UsageError: it does not say.
    """
    return cast("str", _attribute(network, "classifier", "the name of its last linear module"))


@contextmanager
def features(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of the named stages, by name: each forward inside the block replaces them.

    ``STAGE.pre`` is a stage's value before its last activation. A stage that a forward does not reach is missing, never
    left over from the forward before.

    Raises:
        UsageError: the network has no such stage.
    """
    seen: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules and name.removesuffix(PRE) not in modules:
            raise UsageError(f"the network has no stage {name!r}; {suggestion(name, list(stages(network)))}")

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    handles = [network.register_forward_pre_hook(lambda _module, _inputs: seen.clear())]
    for name in names:
        if name in modules:
            handles.append(modules[name].register_forward_hook(keep(name)))
        else:
            handles += _before(modules[name.removesuffix(PRE)], name, seen)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def shapes(network: nn.Module, shape: Shape, names: Sequence[str]) -> dict[str, Shape]:
    """The shapes of the named stages' outputs for items of ``shape``, without the batch dimension.

    Found by a forward of two zero items in eval mode, which leaves weights, batch-norm statistics, the modes of all
    modules and the random generators as they were.
    """
    modes = [(module, module.training) for module in network.modules()]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    generators = [device] if device.type == "cuda" else []
    try:
        network.eval()
        with torch.random.fork_rng(devices=generators), torch.no_grad(), features(network, names) as seen:
            network(torch.zeros(2, *shape, device=device))
            return {name: tuple(seen[name].shape[1:]) for name in names}
    finally:
        for module, mode in modes:
            module.training = mode


def _before(stage: nn.Module, name: str, seen: dict[str, Tensor]) -> list[RemovableHandle]:
    """Hooks that put the stage's value before its last activation into ``seen``."""
    entered: list[Tensor] = []
    last: list[tuple[Tensor, Tensor]] = []

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A copy where the activation overwrites what enters it.
        entered[:] = [inputs[0].clone() if getattr(module, "inplace", False) else inputs[0]]

    def leave(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        last[:] = [(entered.pop(), output)]

    def end(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen[name] = last[0][0] if last and last[0][1] is output else output
        last.clear()

    handles = []
    for module in stage.modules():
        if isinstance(module, _ACTIVATIONS):
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    return [*handles, stage.register_forward_hook(end)]


def _attribute(network: nn.Module, name: str, meaning: str) -> Any:
    try:
        return getattr(network, name)
    except AttributeError:
        raise UsageError(f"network {type(network).__name__} has no attribute {name!r}: {meaning}") from None


def _checked(architecture: Callable[..., nn.Module], options: Mapping[str, Any], title: str) -> dict[str, Any]:
    """The options as the types in the architecture's signature want them; TOML's lists become tuples there."""
    known = list(inspect.signature(architecture).parameters)[2:]
    types = get_type_hints(architecture, include_extras=True)
    checked = {}
    for option, value in options.items():
        if option not in known:
            hint = suggestion(option, known) if known else "it has none"
            raise UsageError(f"{title} has no option {option!r}; {hint}")
        try:
            checked[option] = TypeAdapter(types.get(option, Any)).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            meant = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise UsageError(f"{title} option {option!r}: found {value!r}, expected {meant}") from None
    return checked
