"""Networks with dead units, and a comparison that knows nothing of how they were made smaller."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map


class Apply(nn.Module):
    """Modules and parameters, and a way to call them."""

    def __init__(self, call: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(self, *inputs)


def table(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


def with_dead_units(model: nn.Module, seed: int = 0) -> nn.Module:
    """Zeros everywhere, whole rows and columns too; biases, scales and statistics are random."""
    source = torch.Generator().manual_seed(seed)

    def chance(*shape: int) -> Tensor:
        return torch.rand(shape, generator=source)

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim < 2:
                weight += 0.3 * torch.randn(weight.shape, generator=source).to(weight)
            elif "embed" not in name:
                weight *= (chance(*weight.shape) > 0.3).to(weight)
                weight[chance(weight.shape[0]) < 0.25] = 0
                weight[:, chance(weight.shape[1]) < 0.25] = 0
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(generator=source)
                module.running_var.uniform_(0.5, 2, generator=source)
    return model.eval()


def random_like(inputs: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    source = torch.Generator().manual_seed(seed)

    def one(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return 3 * torch.randn(tensor.shape, generator=source).to(tensor)
        return torch.randint(int(tensor.max()) + 1, tensor.shape, generator=source)

    return tree_map(one, inputs)  # type: ignore[no-any-return]


def gap(model: nn.Module, smaller: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """The largest difference of the outputs, over the largest output, on other inputs."""
    worst = 0.0
    before = copy.deepcopy(model.state_dict())
    for seed in (1, 2):
        with torch.no_grad():
            given = random_like(inputs, seed)
            pairs = zip(tree_leaves(model(*given)), tree_leaves(smaller(*given)))
        for one, other in pairs:
            assert one.shape == other.shape and one.dtype == other.dtype
            worst = max(worst, float((one - other).abs().max() / one.abs().max().clamp(min=1e-9)))
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    return worst
