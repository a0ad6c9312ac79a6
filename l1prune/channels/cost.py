"""Cost: channels go until the model costs no more than a share of what it did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from l1prune.channels.units import ChannelUnits, Macs, Measure, Parameters, Time
from l1prune.checks import check_object, is_number, is_whole
from l1prune.cuts.scopes import LAMP, Scope
from l1prune.cuts.thresholds import Threshold
from l1prune.pressure.schedules import Cubic

MEASURES: dict[str, Measure] = {"macs": Macs(), "parameters": Parameters(), "time": Time()}


@dataclass(frozen=True)
class Cost(Threshold):
    """Remove channels until this share of the dense model's cost is left.

    Those go first that are worth least for what they cost. In several rounds the cost falls along
    the cubic of Zhu & Gupta, 2017, as the sparsity of `Sparsity` rises. For `ChannelL1()`.

    Args:
        measure: what is counted: `"macs"`, multiply-accumulates of layers with weights and of
            attention; `"parameters"`, biases and norms included; or `"time"`, of a CPU:
            multiply-accumulates, and what norms and activations take beside them.
        left: the share that is left at the end, in (0, 1).
        least: the share of each stream's channels that stays, whatever they are worth, in [0, 1);
            one channel stays in any case.
        multiple: how many channels of a stream go at a time, so that a multiple of it is left:
            processors compute with 8 or 16 channels at once, and wait for the missing ones.
        scope: how streams compare; None: as suits the criterion.

    Raises:
        ValueError: an argument makes no sense; when training starts: what cannot be removed costs
            more than that.

    >>> Cost("macs", 0.5).left
    0.5
    """

    measure: str
    left: float
    least: float = 0.1
    multiple: int = 1
    scope: Scope | None = None

    gradual = True

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(
                f"measure must be 'macs', 'parameters' or 'time', got {self.measure!r}"
            )
        if not is_number(self.left, 0, 1) or self.left in (0, 1):
            raise ValueError(
                f"left must lie between 0 and 1, as a share of the {self.measure}, got "
                f"{self.left!r}; 0.5 leaves half of them"
            )
        if not is_number(self.least, 0, 1) or self.least == 1:
            raise ValueError(
                "least must be a share from 0 to below 1 of a stream's channels, got "
                f"{self.least!r}"
            )
        if not is_whole(self.multiple, 1):
            raise ValueError(f"multiple must be a whole number ≥ 1, got {self.multiple!r}")
        if self.scope is not None:
            check_object("scope", self.scope, ("comparable", "floors"), "LAMP()")

    def with_scope(self, scope: Scope) -> Threshold:
        return replace(self, scope=scope) if self.scope is None else self

    def check(self, counts: list[int], sizes: list[int]) -> None:
        raise ValueError(
            f"threshold={self!r} removes channels; say what they are with penalty=ChannelL1()"
        )

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        raise ValueError(f"threshold={self!r} cuts channels only, with penalty=ChannelL1()")

    def check_channels(self, channels: ChannelUnits) -> None:
        measure = MEASURES[self.measure]
        stays = channels.joined(
            [torch.arange(len(s)) < self._floor(len(s)) for s in channels.coupling.streams]
        )
        total = channels.cost(measure, torch.ones_like(stays))
        least = channels.cost(measure, stays)
        if least > self.left * total:
            raise ValueError(
                f"threshold={self!r} asks for {self.left:.3g} of the {self.measure}, but "
                f"{least / total:.3g} stay whatever channels go: raise left, or lower least"
            )

    def _floor(self, count: int) -> int:
        """How many channels of so many stay whatever they are worth."""
        least = max(1, math.ceil(self.least * count))
        return min(math.ceil(least / self.multiple) * self.multiple, count)

    def keep_channels(
        self, channels: ChannelUnits, scores: Sequence[Tensor], progress: float
    ) -> list[Tensor]:
        measure = MEASURES[self.measure]
        scores = [score.cpu() for score in scores]  # few, and float64 is at hand there
        stays = channels.joined([score >= 0 for score in scores])
        total = channels.cost(measure, torch.ones_like(stays))
        most = total * (1 - Cubic(0.0, 1 - self.left)(progress))
        blocks = self._blocks(channels, scores, stays)
        low, high = 0, len(blocks)  # how many go: the fewest that bring the cost down to `most`
        while low < high:
            middle = (low + high) // 2
            if channels.cost(measure, _without(stays, blocks[:middle])) > most:
                low = middle + 1
            else:
                high = middle
        stays = _without(stays, blocks[:low])
        return [stays[stream] for stream in channels.coupling.streams]

    def _blocks(
        self, channels: ChannelUnits, scores: Sequence[Tensor], stays: Tensor
    ) -> list[Tensor]:
        """The channels that may go now, by number, those that are worth least for their cost first.

        As many go together as leave a multiple in their stream. A score s is the root
        mean square over n weights: together they are worth n·s².
        """
        saved = channels.marginal(MEASURES[self.measure], stays)
        sizes = channels.sizes.cpu()
        comparable = (LAMP() if self.scope is None else self.scope).comparables(scores)
        found: list[tuple[float, Tensor]] = []
        for stream, score, value in zip(channels.coupling.streams, scores, comparable, strict=True):
            here = stays[stream]
            order = score.argsort(stable=True)[int((~here).sum()) :]
            free = max(len(order) - self._floor(len(stream)), 0)
            ends = range(len(order) % self.multiple or self.multiple, free + 1, self.multiple)
            for start, end in pairwise([0, *ends]):
                block = order[start:end]
                worth = value[block].double().square() * sizes[stream[block]]
                found.append((float(worth.sum() / saved[stream[block]].sum()), stream[block]))
        return [block for _, block in sorted(found, key=lambda one: one[0])]


def _without(stays: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    return stays.index_fill(0, torch.cat(list(blocks)), False) if blocks else stays
