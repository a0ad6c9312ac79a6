"""Scopes: how the sizes of different layers' units compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from l1prune.checks import is_number
from l1prune.weights.blocks import SMALL
from l1prune.weights.pieces import precise, widest
from l1prune.weights.shards import by_layer, is_sharded


class Scope(Protocol):
    """Makes one layer's scores comparable with other layers', without changing their order.

    Where weights are sharded, so are scores: a formula that looks at a whole layer is decorated
    with `l1prune.weights.shards.by_layer`.
    """

    def comparable(self, scores: Tensor) -> Tensor:
        """The scores of one layer's units, in a unit that all layers share."""
        ...

    def comparables(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """The same for many layers, each by itself; one as it was given says that it is in order.

        What is faster for many small layers together than for one at a time may be done so.
        """
        return [self.comparable(scores) for scores in layers]

    def floors(self, shapes: Sequence[Sequence[int]], sizes: Sequence[int], room: int) -> list[int]:
        """How many units each layer keeps, whatever they are worth.

        Args:
            shapes: in which the units of each layer lie.
            sizes: how many weights one of them holds.
            room: how many weights stay in all.
        """
        return [0] * len(shapes)


@dataclass(frozen=True)
class Global(Scope):
    """Scores compare as they are: one order for the whole network.

    By size, layers whose weights are small by nature (before a normalisation, say) may lose nearly
    all.

    Args:
        least: what each layer keeps in any case: this share of what its shape asks for, in [0, 1];
            see `densities`.

    >>> Global(least=0.5).floors([(10, 10), (30, 30)], [1, 1], room=100)
    [13, 38]
    """

    least: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.least, 0, 1):
            raise ValueError(
                "least must be a share from 0 to 1 of what a layer's shape asks for, got "
                f"{self.least!r}"
            )

    def comparable(self, scores: Tensor) -> Tensor:
        return scores

    def floors(self, shapes: Sequence[Sequence[int]], sizes: Sequence[int], room: int) -> list[int]:
        kept = densities([(*s, n) for s, n in zip(shapes, sizes, strict=True)], room)
        pairs = zip(shapes, kept, strict=True)
        return [math.ceil(self.least * one * math.prod(shape) - 1e-9) for shape, one in pairs]


def densities(shapes: Sequence[Sequence[int]], room: int) -> list[float]:
    """What layers' shapes ask for: densities in proportion to Σ dims / Π dims, none above 1.

    So a layer keeps weights in proportion to its inputs and outputs together, rather than to their
    product, and a small one, as a depthwise convolution, nearly all: it costs little.
    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity", Nature Communications 2018; with kernels, Evci et al., "Rigging the lottery"
    (RigL), ICML 2020, section 3.

    Args:
        shapes: of the layers; a dimension of 1 is none.
        room: how many weights stay in all.

    >>> [round(density, 3) for density in densities([(10, 10), (30, 30), (2, 2)], room=84)]
    [0.2, 0.067, 1.0]
    """
    asked = [max(sum(size for size in shape if size != 1), 1) for shape in shapes]
    totals = [math.prod(shape) for shape in shapes]
    full = {number for number, total in enumerate(totals) if not total}
    while True:
        free = [number for number in range(len(shapes)) if number not in full]
        spare = room - sum(totals[number] for number in full)
        factor = spare / sum(asked[number] for number in free) if free else 0.0
        over = [number for number in free if factor * asked[number] > totals[number]]
        if not over:
            rest = {number: factor * asked[number] / totals[number] for number in free}
            return [rest.get(number, 1.0) for number in range(len(shapes))]
        full.update(over)


@dataclass(frozen=True)
class PerLayer(Scope):
    """Every layer loses the same share: scores become ranks in (0, 1].

    >>> PerLayer().comparable(torch.tensor([0.3, 0.1, 0.2]))
    tensor([1.0000, 0.3333, 0.6667], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        return _ranks(scores.reshape(1, -1)).view_as(scores)

    def comparables(self, layers: Sequence[Tensor]) -> list[Tensor]:
        return in_rows(_ranks, self.comparable, layers)


@dataclass(frozen=True)
class Relative(Scope):
    """Sizes relative to their layer's root mean square, |w|/σ: blind to a layer's scale.

    >>> Relative().comparable(torch.tensor([3.0, 4.0, 5.0, 5.0]) * 1024)
    tensor([0.6928, 0.9238, 1.1547, 1.1547], dtype=torch.float64)
    """

    @by_layer
    def comparable(self, scores: Tensor) -> Tensor:
        wide = widest(scores.device)
        alive = scores[scores > 0].to(wide)
        rms = alive.square().mean().sqrt() if alive.numel() else 1.0
        return scores.to(wide) / rms


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
        places = rows.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        ranks = places.to(widest(scores.device)) + 1
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
        flat = scores.flatten()
        alive = flat > 0  # the others are worth nothing, and need not be sorted
        lamp = torch.zeros(flat.shape, dtype=widest(flat.device), device=flat.device)
        lamp[alive] = _lamp(flat[alive].unsqueeze(0)).squeeze(0)
        return lamp.view_as(scores)

    def comparables(self, layers: Sequence[Tensor]) -> list[Tensor]:
        return in_rows(_lamp, self.comparable, layers)


def _ranks(rows: Tensor) -> Tensor:
    """The rank of each unit among those of its row, in (0, 1]."""
    count, wide = rows.shape[1], widest(rows.device)
    order = rows.argsort(dim=1, stable=True)
    ranks = torch.arange(1, count + 1, dtype=wide, device=rows.device) / count
    return torch.empty(rows.shape, dtype=wide, device=rows.device).scatter_(
        1, order, ranks.expand_as(order)
    )


def _lamp(rows: Tensor) -> Tensor:
    """The square of each unit over the squares of those of its row that are at least as large."""
    wide = widest(rows.device)
    # From the largest on, of equals the last first: flipped, so that a stable sort leaves it so.
    flipped = rows.to(precise(rows.dtype)).clamp(min=0).flip(1)
    if rows.dtype == torch.float64:  # of narrower ones the squares are exact: their order is theirs
        squares, order = flipped.square().sort(dim=1, descending=True, stable=True)
    else:
        sizes, order = flipped.sort(dim=1, descending=True, stable=True)
        squares = sizes.to(wide).square()
    lamp = squares / squares.cumsum(1).clamp_(min=torch.finfo(wide).tiny)
    places = order.neg_().add_(rows.shape[1] - 1)
    return torch.empty_like(lamp).scatter_(1, places, lamp)


def in_rows(
    formula: Callable[[Tensor], Tensor],
    comparable: Callable[[Tensor], Tensor],
    layers: Sequence[Tensor],
) -> list[Tensor]:
    """What a formula makes of each layer; of small ones of as many units, as rows of a matrix.

    Args:
        formula: of ``(layers, units)``, row by row.
        comparable: the same of a layer of any shape.
        layers: the layers.
    """
    alike: dict[object, list[int]] = {}
    for number, layer in enumerate(layers):
        alone = is_sharded(layer) or layer.numel() > SMALL
        kind = number if alone else (layer.numel(), layer.dtype, layer.device)
        alike.setdefault(kind, []).append(number)
    found: dict[int, Tensor] = {}
    for numbers in alike.values():
        if len(numbers) == 1:
            found[numbers[0]] = comparable(layers[numbers[0]])
            continue
        rows = formula(torch.stack([layers[number].flatten() for number in numbers]))
        for number, row in zip(numbers, rows, strict=True):
            found[number] = row.view(layers[number].shape)
    return [found[number] for number in range(len(layers))]
