"""Scopes: how the sizes of different layers' units compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from l1prune.checks import is_number
from l1prune.weights.shards import by_layer


class Scope(Protocol):
    """Makes one layer's scores comparable with other layers', without changing their order.

    Where weights are sharded, so are scores: a formula that looks at a whole layer is decorated
    with `l1prune.weights.shards.by_layer`.
    """

    def comparable(self, scores: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Global(Scope):
    """Sizes compare as they are: one magnitude for the whole network.

    Layers whose weights are small by nature (before a normalisation, say) may lose nearly all.
    """

    def comparable(self, scores: Tensor) -> Tensor:
        return scores


@dataclass(frozen=True)
class Saliency(Global):
    """Not sizes compare but what the weights are worth to the loss: |w|·(√f + ε).

    f is the mean of the squared gradients of the steps since the last cut, each cut before it
    counting half as much as the one after; it is taken from what Adam, AdamW, RMSprop and Adagrad
    sum up. Between layers, Adam's and AdamW's first moments tell how large gradients are right now.
    Nothing changes when a layer is scaled and the one after it scaled back, so layers compare as
    they are. See `l1prune.cuts.saliency` and `l1prune.cuts.fisher` for the sources.

    Args:
        least: the share of the average layer's density that each layer keeps, in [0, 1].
    """

    least: float = 0.1

    def __post_init__(self) -> None:
        if not is_number(self.least, 0, 1):
            raise ValueError(
                f"least must be a share from 0 to 1 of the average density, got {self.least!r}"
            )


@dataclass(frozen=True)
class PerLayer(Scope):
    """Every layer loses the same share: scores become ranks in (0, 1].

    >>> PerLayer().comparable(torch.tensor([0.3, 0.1, 0.2]))
    tensor([1.0000, 0.3333, 0.6667], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        order = scores.flatten().argsort(stable=True)
        ranks = torch.empty(scores.numel(), dtype=torch.float64, device=scores.device)
        ranks[order] = torch.arange(
            1, scores.numel() + 1, dtype=torch.float64, device=scores.device
        )
        return (ranks / scores.numel()).view_as(scores)


@dataclass(frozen=True)
class Relative(Scope):
    """Sizes relative to their layer's root mean square, |w|/σ: blind to a layer's scale.

    >>> Relative().comparable(torch.tensor([3.0, 4.0, 5.0, 5.0]) * 1024)
    tensor([0.6928, 0.9238, 1.1547, 1.1547], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        alive = scores[scores > 0].double()
        rms = alive.square().mean().sqrt() if alive.numel() else 1.0
        return scores.double() / rms


@dataclass(frozen=True)
class LAMP(Scope):
    """Layer-adaptive magnitude: what removing a unit would cost its layer, at that moment.

    score² / Σ (score² of all units of the layer at least as large). It is blind to a layer's
    scale, and a layer's largest unit always scores 1, so that no layer is emptied.
    Source: Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", ICLR 2021.

    >>> LAMP().comparable(torch.tensor([1.0, 2.0, 2.0]))
    tensor([0.1111, 0.5000, 1.0000], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        flat = scores.flatten().clamp(min=0).double()
        squares, order = flat.square().sort(stable=True)
        at_least_as_large = squares.flip(0).cumsum(0).flip(0)
        lamp = torch.zeros_like(squares)
        lamp[order] = squares / at_least_as_large.clamp(min=torch.finfo(torch.float64).tiny)
        return lamp.view_as(scores)
