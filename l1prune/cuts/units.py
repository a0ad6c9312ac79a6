"""Units: what is removed as a whole. A weight by itself, a group within a layer, a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from l1prune.cuts.thresholds import Threshold
from l1prune.penalties import Penalty, is_separable
from l1prune.penalties.joint import JointPenalty
from l1prune.weights.bits import mask_
from l1prune.weights.blocks import blocks_of, joined, split
from l1prune.weights.pieces import pieces
from l1prune.weights.shards import is_sharded, local, part_of
from l1prune.weights.targets import Target


class Units(Protocol):
    """How weights divide into units."""

    def check(self, threshold: Any) -> None:
        """Raise ValueError if a threshold, or a plan, cannot cut such units."""
        ...

    def scores(self, worth: Sequence[Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        """What each unit of each layer is worth, −1 where it was removed before.

        Args:
            worth: of each weight, one tensor for each target; scores of single weights take
                their places in memory.
            masks: of earlier rounds, by the target's name.
        """
        ...

    def keep(self, threshold: Threshold, scores: list[Tensor], progress: float) -> list[Tensor]:
        """What stays of each target, as masks that broadcast to it.

        Args:
            threshold: decides.
            scores: what the units are worth.
            progress: how much of the cutting is due.
        """
        ...


@runtime_checkable
class SpanningPenalty(JointPenalty, Protocol):
    """A penalty whose units span targets: it knows itself how they divide."""

    def units(self, targets: Sequence[Target]) -> Units:
        """How these targets divide into units."""
        ...


def units_of(targets: Sequence[Target], penalty: Penalty) -> Units:
    """How targets divide into the units of a penalty.

    >>> from l1prune import L1, find_targets
    >>> layer = torch.nn.Linear(2, 1)
    >>> units_of(find_targets(layer), L1()).scores([torch.tensor([[1.0, -2.0]])], {})
    [tensor([[1., 2.]])]
    """
    if isinstance(penalty, SpanningPenalty):
        return penalty.units(targets)
    assert not isinstance(penalty, JointPenalty), f"{penalty!r} does not say what its units are"
    return LayerUnits(targets, penalty)


class LayerUnits(Units):
    """Units within layers, as a penalty scores them: single weights, or groups.

    Args:
        targets: the weights; a stack of matrices is as many layers.
        penalty: says which weights are one unit, and sums up what they are worth.
    """

    def __init__(self, targets: Sequence[Target], penalty: Penalty) -> None:
        self._targets, self._penalty = targets, penalty

    def check(self, threshold: Any) -> None:
        parameters = [target.parameter for target in self._targets]
        layers = self._layers([self._penalty.score(parameter) for parameter in parameters])
        threshold.check([layer.numel() for layer, _ in layers], [size for _, size in layers])

    def scores(self, worth: Sequence[Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        known = [masks.get(target.name) for target in self._targets]
        stays = [None if mask is None else local(mask) for mask in known]
        score = self._single if is_separable(self._penalty) else self._grouped
        parameters = [target.parameter for target in self._targets]
        return [part_of(*pair) for pair in zip(score(worth, stays), parameters, strict=True)]

    def _single(self, worth: Sequence[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
        """Of single weights; small layers together, the others in their places."""
        blocks = blocks_of(worth, [mask is None for mask in masks])
        for block in blocks:
            for (some,) in pieces(block.values):
                some.copy_(self._penalty.score(some))
            stays = [mask for n in block.layers if (mask := masks[n]) is not None]
            if stays:
                mask_(block.values, joined(stays), fill=-1.0)
        return split(blocks, [block.values for block in blocks], worth)

    def _grouped(self, worth: Sequence[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
        found = []
        for weights, mask in zip(worth, masks, strict=True):
            units = self._penalty.score(weights)
            gone = None if mask is None else ~_by_unit(mask, units)
            found.append(units if gone is None else units.masked_fill(gone, -1.0))
        return found

    def keep(self, threshold: Threshold, scores: list[Tensor], progress: float) -> list[Tensor]:
        layers = self._layers(scores)
        keeps = iter(
            threshold.keep([layer for layer, _ in layers], [size for _, size in layers], progress)
        )
        return [
            torch.stack(list(islice(keeps, len(units))))
            if _is_split(target, units)
            else next(keeps)
            for target, units in zip(self._targets, scores, strict=True)
        ]

    def _layers(self, scores: Sequence[Tensor]) -> list[tuple[Tensor, int]]:
        """The units of each layer, and how many weights one of them holds."""
        layers: list[tuple[Tensor, int]] = []
        for target, units in zip(self._targets, scores, strict=True):
            size = target.parameter.numel() // max(units.numel(), 1)
            parts = units.unbind(0) if _is_split(target, units) else (units,)
            layers += [(part, size) for part in parts]
        return layers


def _is_split(target: Target, units: Tensor) -> bool:
    """Whether a stack is cut as many layers: not if it is sharded, or its units are groups."""
    return target.stacked and units.shape == target.parameter.shape and not is_sharded(units)


def _by_unit(mask: Tensor, units: Tensor) -> Tensor:
    """Which units are there still: the mask reduced over the dimensions that a unit spans."""
    spans = [d for d in range(mask.ndim) if units.shape[d] != mask.shape[d]]
    return mask.amax(spans, keepdim=True) if spans else mask


def check_units(targets: Sequence[Target], penalty: Penalty) -> None:
    """Refuse penalties whose units would be split between processes.

    Raises:
        ValueError: a weight is sharded, and the penalty looks at more than one entry at a time.
    """
    sharded = [target.name for target in targets if is_sharded(target.parameter)]
    if sharded and not is_separable(penalty):
        raise ValueError(
            f"penalty={penalty!r} presses groups of weights, and {sharded[0]} is sharded over "
            "processes, which would split groups; use strategy='ddp', or L1()"
        )
