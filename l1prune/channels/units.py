"""Channels as the units of a cut: what they are worth, what they cost, and what stays of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from l1prune.channels.coupling import Coupling
from l1prune.cuts.thresholds import Threshold
from l1prune.cuts.units import Units
from l1prune.weights.pieces import widest
from l1prune.weights.shards import local
from l1prune.weights.targets import Target


@runtime_checkable
class ChannelThreshold(Protocol):
    """A threshold that can cut channels."""

    def check_channels(self, channels: ChannelUnits) -> None:
        """Raise ValueError if it cannot cut these."""
        ...

    def keep_channels(
        self, channels: ChannelUnits, scores: Sequence[Tensor], progress: float
    ) -> list[Tensor]:
        """Which channels of each stream stay, booleans of the shapes of `scores`.

        Args:
            channels: knows what they cost.
            scores: root mean square of what a channel's weights are worth, −1 once removed.
            progress: how much of the cutting is due, in (0, 1].
        """
        ...


class ChannelUnits(Units):
    """Channels, which span the weights of a model.

    Args:
        coupling: says where they lie.
        targets: the weights that may be cut; channels that reach beyond them stay.
    """

    def __init__(self, coupling: Coupling, targets: Sequence[Target]) -> None:
        self._targets = targets
        self.coupling = coupling.within([target.name for target in targets])
        self.sizes = self.coupling.sums(
            {target.name: torch.ones(target.parameter.shape) for target in targets}
        )

    def check(self, threshold: Any) -> None:
        first = threshold.threshold(()) if hasattr(threshold, "answer") else threshold
        if not isinstance(first, ChannelThreshold):
            raise ValueError(
                f"threshold={first!r} says how many weights go, and channels share weights; say "
                "how much they may still cost, as threshold=Cost('macs', 0.5)"
            )
        first.check_channels(self)

    def scores(self, worth: Sequence[Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
        names = [target.name for target in self._targets]
        squares = {
            name: one.detach().to(widest(one.device)).square()
            for name, one in zip(names, worth, strict=True)
        }
        sizes = self.sizes.to(next(iter(squares.values())).device)
        found = (self.coupling.sums(squares) / sizes).sqrt()
        # Of a weight that came later there is no mask yet.
        left = {name: local(masks[name]).float() for name in names if name in masks}
        there = {name: torch.ones_like(mask) for name, mask in left.items()}
        if left:
            found[(self.coupling.sums(left) == 0) & (self.coupling.sums(there) > 0)] = -1.0
        return [found[stream.to(found.device)] for stream in self.coupling.streams]

    def keep(self, threshold: Threshold, scores: list[Tensor], progress: float) -> list[Tensor]:
        assert isinstance(threshold, ChannelThreshold), "checked when the run began"
        stays = self.joined(threshold.keep_channels(self, scores, progress))
        return [self._mask(target, stays) for target in self._targets]

    def joined(self, keeps: Sequence[Tensor]) -> Tensor:
        """Which channels stay, by their numbers, from which of each stream do; ``(count + 1,)``."""
        stays = torch.ones(self.coupling.count + 1, dtype=torch.bool, device=keeps[0].device)
        for stream, keep in zip(self.coupling.streams, keeps, strict=True):
            stays[stream.to(stays.device)] = keep
        return stays

    def _mask(self, target: Target, stays: Tensor) -> Tensor:
        mask = torch.ones_like(target.parameter, dtype=torch.bool)
        for factor in self.coupling.factors(target.name, stays.to(mask.device)):
            mask &= factor
        return mask

    # ---- what they cost

    def weights(self, measure: Measure) -> dict[str, int]:
        """By a parameter's name, what one of its entries costs."""
        return {
            name: cost
            for name, shape in self.coupling.shapes.items()
            if (cost := measure.cost(self.coupling, name)) and math.prod(shape)
        }

    def cost(self, measure: Measure, stays: Tensor) -> int:
        """What the model costs with the channels that stay, ``(count + 1,)``."""
        weights = sum(
            cost * math.prod(self._lengths(name, stays))
            for name, cost in self.weights(measure).items()
        )
        return weights + sum(
            times * int(stays[index].sum()) for index, times in measure.products(self.coupling)
        )

    def marginal(self, measure: Measure, stays: Tensor) -> Tensor:
        """What would be saved if a channel went, one at a time, ``(count + 1,)``."""
        saved = torch.zeros(len(stays), dtype=torch.double)
        for name, cost in self.weights(measure).items():
            lengths = self._lengths(name, stays)
            for dim, index in self.coupling.members(name):
                rest = math.prod(size for d, size in enumerate(lengths) if d != dim)
                saved.index_add_(0, index, torch.full((len(index),), float(cost * rest)).double())
        for index, times in measure.products(self.coupling):
            saved.index_add_(0, index, torch.full((len(index),), float(times)).double())
        return saved

    def _lengths(self, name: str, stays: Tensor) -> list[int]:
        """How long each dimension of a parameter is with the channels that stay."""
        lengths = list(self.coupling.shapes[name])
        for dim, index in self.coupling.members(name):
            lengths[dim] = int(stays[index].sum())
        return lengths


class Measure(Protocol):
    """What is counted as cost."""

    def cost(self, coupling: Coupling, name: str) -> int:
        """What one entry of a parameter costs."""
        ...

    def products(self, coupling: Coupling) -> Sequence[tuple[Tensor, int]]:
        """What has no weights and costs something: the channels of its blocks, the cost of each."""
        ...


class Parameters(Measure):
    """Each entry of a parameter costs one."""

    def cost(self, coupling: Coupling, name: str) -> int:
        return 1

    def products(self, coupling: Coupling) -> Sequence[tuple[Tensor, int]]:
        return ()


class Macs(Measure):
    """A weight costs a multiplication for each place at which it is used; products, all of theirs.

    These are the queries with the keys and the weights with the values, for each head of attention.
    What is known as neither, as recurrent layers, costs what it costs, whatever goes.
    """

    def cost(self, coupling: Coupling, name: str) -> int:
        return coupling.positions.get(name, 0)

    def products(self, coupling: Coupling) -> Sequence[tuple[Tensor, int]]:
        return (*coupling.products, (torch.tensor([coupling.count]), coupling.rest))


WRITE = 50
"""Multiply-accumulates in the time in which an element is read, changed and written."""


class Time(Macs):
    """Multiply-accumulates, and what norms, activations and sums take, on a core of a CPU.

    With 16 channels a convolution takes no longer than the norm, the activation and the sum after
    it, which read and write memory. Measured with torch on an x86 core with AVX-512: 16 billion
    multiply-accumulates a second, 3 to 4 nanoseconds an element.
    """

    def products(self, coupling: Coupling) -> Sequence[tuple[Tensor, int]]:
        writes = ((index, WRITE * times) for index, times in coupling.writes)
        return (*super().products(coupling), *writes)
