"""A layer in several forms, of which the size of its input chooses one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


def frozen(layer: nn.Module) -> nn.Module:
    """The same layer with its weights as buffers: in other forms of it they would not follow."""
    if type(layer) is nn.Linear:
        return DenseLinear(layer)
    twin = copy.copy(layer)
    twin._parameters, twin._buffers = {**layer._parameters}, {**layer._buffers}
    for name, weight in layer._parameters.items():
        if weight is not None and weight.ndim > 1:
            twin._buffers[name] = weight.detach()
            del twin._parameters[name]
    return twin


class DenseLinear(nn.Module):
    """A linear layer that finds its weight a microsecond sooner than torch's own.

    That is more than a `Switch` takes to choose it.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach())
        self.bias = layer.bias

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self._buffers["weight"], self._parameters["bias"]
        assert weight is not None  # looked up here: as attributes they are looked for elsewhere
        return F.linear(input, weight, bias)


class Switch(nn.Module):
    """Several forms of one layer, each for inputs up to a size.

    A graph is exported once for all sizes: with the form for the largest.

    Args:
        forms: modules that compute the same.
        limits: up to how many numbers in its input the first takes, the second, and so on; the last
            has no limit.
    """

    def __init__(self, forms: Sequence[nn.Module], limits: Sequence[int]) -> None:
        super().__init__()
        self.limits = list(limits)
        for number, form in enumerate(forms):
            self.add_module(str(number), form)
        # Looked up among the submodules they take half a microsecond, a twentieth of a small layer.
        self._limited: tuple[tuple[int, Any], ...] = tuple(zip(limits, forms[:-1], strict=True))
        self._last: tuple[Any] = (forms[-1],)

    def forward(self, input: Tensor) -> Any:
        size = input.numel()
        if type(size) is int:  # not a symbol, for all sizes at once
            for limit, form in self._limited:
                if size <= limit:
                    return form.forward(input)  # which has no hooks to be called
        return self._last[0].forward(input)

    def extra_repr(self) -> str:
        return f"limits={self.limits}"
