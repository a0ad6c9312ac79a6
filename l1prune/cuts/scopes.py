"""Scopes: how the sizes of different layers' units compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    def comparable(self, scores: Tensor) -> Tensor:
        """The scores of one layer's units, in a unit that all layers share."""
        ...

    def floors(self, counts: Sequence[int], sizes: Sequence[int], room: int) -> list[int]:
        """How many units each layer keeps, whatever they are worth.

        Args:
            counts: how many units each layer has.
            sizes: how many weights one of them holds.
            room: how many weights stay in all.
        """
        return [0] * len(counts)


@dataclass(frozen=True)
class Global(Scope):
    """Scores compare as they are: one order for the whole network.

    By size, layers whose weights are small by nature (before a normalisation, say) may lose nearly
    all.

    Args:
        least: the share of the average layer's density that each layer keeps, in [0, 1].

    >>> Global(least=0.1).floors([100, 900], [1, 1], room=100)
    [1, 9]
    """

    least: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.least, 0, 1):
            raise ValueError(
                f"least must be a share from 0 to 1 of the average density, got {self.least!r}"
            )

    def comparable(self, scores: Tensor) -> Tensor:
        return scores

    def floors(self, counts: Sequence[int], sizes: Sequence[int], room: int) -> list[int]:
        density = room / max(sum(n * size for n, size in zip(counts, sizes, strict=True)), 1)
        return [math.ceil(self.least * density * n - 1e-9) for n in counts]


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
class PerOutput(Scope):
    """Every output of every layer loses the same share: scores become ranks within their row.

    Source: Sun et al., "A simple and effective pruning approach for large language models" (Wanda),
    ICLR 2024, section 3.

    >>> PerOutput().comparable(torch.tensor([[0.3, 0.1], [1.0, 2.0]]))
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        outputs = scores if scores.ndim else scores.view(1)
        rows = outputs.unsqueeze(1).flatten(1)  # (outputs, weights of each)
        # Ranked twice: the first says who is where, the second where each is.
        ranks = rows.argsort(dim=1, stable=True).argsort(dim=1, stable=True).double() + 1
        ranks /= max(rows.shape[1], 1)
        return ranks.view_as(scores)


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
