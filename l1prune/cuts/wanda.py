"""Wanda: a weight is worth its size, times the size of what comes in through it.

Source: Sun, Liu, Bair & Kolter, "A simple and effective pruning approach for large language
models", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from l1prune.cuts.criteria import Criterion
from l1prune.cuts.inputs import InputSums
from l1prune.cuts.scopes import PerOutput, Scope
from l1prune.weights.pieces import widest
from l1prune.weights.shards import local, spread
from l1prune.weights.targets import Target


class Wanda(Criterion):
    """A weight is worth |w|·‖x‖, with ‖x‖ the root mean square of the input that it multiplies.

    Inputs are seen in the forward passes of training, those before a cut counting half as much
    after it. Layers do not compare: each output loses the same share of its weights. Linear layers
    and convolutions are known; in other layers, as in an LSTM, a weight is worth its size.

    >>> layer = nn.Linear(2, 1, bias=False); _ = nn.init.ones_(layer.weight)
    >>> targets = [Target("weight", layer.weight)]
    >>> wanda = Wanda()
    >>> with wanda.watch(layer, targets):
    ...     _ = layer(torch.tensor([[1.0, 3.0], [1.0, -3.0]]))
    >>> wanda.weigh(targets, [])[0]
    tensor([[1., 3.]])
    """

    def __init__(self) -> None:
        self._squares = InputSums(squares_of)

    def __repr__(self) -> str:
        return "Wanda()"

    @property
    def scope(self) -> Scope:
        return PerOutput()

    def watch(self, model: nn.Module, targets: Sequence[Target]) -> AbstractContextManager[Any]:
        return self._squares.watch(model, targets)

    @torch.no_grad()
    def weigh(self, targets: Sequence[Target], optimizers: Sequence[Optimizer]) -> list[Tensor]:
        worth = []
        for target in targets:
            w, mean = local(target.parameter), self._squares.mean(target.name)
            if mean is None or len(mean) % target.parameter.shape[target.inputs]:
                worth.append(w)  # nothing was seen, or inputs of a layer of another width
            else:
                norms = _by_weight(mean.sqrt(), target)
                worth.append(w * local(spread(norms, target.parameter)).to(w))
        self._squares.forget_half()
        return worth

    def state_dict(self) -> dict[str, Any]:
        return self._squares.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._squares.load_state_dict(state)


def squares_of(module: nn.Module, x: Tensor) -> tuple[Tensor, int] | None:
    """The squares of each feature of a layer's input, summed up; None: it is not known which."""
    features = features_of(module)
    if features is None:
        return None
    inputs = features(x)
    return inputs.to(widest(inputs.device)).square().sum(0), len(inputs)


Features = Callable[[Tensor], Tensor]
"""From a layer's input to its features: ``(N, features)``."""


def features_of(module: nn.Module) -> Features | None:
    """How the input of a layer is told apart by what its weights multiply; None: not known.

    >>> features_of(nn.Conv2d(3, 8, 5))(torch.ones(2, 3, 7, 7)).shape
    torch.Size([98, 3])
    """
    if isinstance(module, nn.Linear):
        return lambda x: x.reshape(-1, x.shape[-1])
    if isinstance(module, _ConvNd):
        channels = -1 - len(module.kernel_size)
        return lambda x: x.movedim(channels, -1).reshape(-1, x.shape[channels])
    return None


def _by_weight(norms: Tensor, target: Target) -> Tensor:
    """The norm of the input that each weight multiplies, of the weight's shape, without a copy.

    A convolution in groups has fewer inputs to a filter than channels: each group its own.
    """
    w = target.parameter
    if target.inputs == 0:  # a transposed convolution: (in, out, …)
        return norms.view(-1, *[1] * (w.ndim - 1)).expand(w.shape)
    groups = len(norms) // w.shape[1]
    rows = norms.view(groups, w.shape[1]).repeat_interleave(w.shape[0] // groups, 0)
    return rows.view(*rows.shape, *[1] * (w.ndim - 2)).expand(w.shape)
