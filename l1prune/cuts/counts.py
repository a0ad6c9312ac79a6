"""Counts: so many units stay, whatever their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from l1prune.checks import is_number, is_whole
from l1prune.cuts.thresholds import Threshold
from l1prune.pressure.schedules import Cubic
from l1prune.weights.largest import largest
from l1prune.weights.shards import local


@dataclass(frozen=True)
class Count(Threshold):
    """Cut the least until exactly so many units stay: 20 columns under `GroupL1(dim=1)`.

    In several rounds their number falls along the cubic of Zhu & Gupta, "To prune, or not to
    prune", 2017, eq. 1. Units of several layers compare by what they are worth.

    Args:
        units: how many stay: a whole number from 1, or a share of them in (0, 1).

    Raises:
        ValueError: `units` is neither; before the first step, there are no more than that.

    >>> import torch
    >>> Count(2).keep([torch.tensor([0.1, 0.4, 0.3, 0.2])], [1])
    [tensor([False,  True,  True, False])]
    >>> Count(0.25).keep([torch.tensor([0.1, 0.4, 0.3, 0.2])], [1])
    [tensor([False,  True, False, False])]
    """

    units: int | float

    gradual = True

    def __post_init__(self) -> None:
        share = is_number(self.units, 0, 1) and self.units not in (0, 1)
        if not (share or is_whole(self.units, 1)):
            raise ValueError(
                f"Count({self.units!r}): give how many units stay, a whole number from 1, or a "
                "share of them between 0 and 1"
            )

    def check(self, counts: list[int], sizes: list[int]) -> None:
        total = sum(counts)
        if self._left(total) >= total:
            raise ValueError(
                f"{self}: there are {total} units, so that nothing would go; give fewer than that"
            )

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        total = sum(layer.numel() for layer in scores)
        gone = math.floor(Cubic(0.0, 1.0)(progress) * (total - self._left(total)) + 1e-9)
        removed = [local(score) < 0 for score in scores]
        return largest(scores, [1] * len(scores), total - gone, removed)

    def _left(self, total: int) -> int:
        return int(self.units) if self.units >= 1 else max(1, round(self.units * total))
