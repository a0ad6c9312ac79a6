"""N of every M: the pattern of zeros that sparse tensor cores compute with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from l1prune.checks import is_whole
from l1prune.cuts.thresholds import Threshold
from l1prune.pressure.schedules import Cubic
from l1prune.weights.shards import gathered, spread
from l1prune.weights.targets import Target


@dataclass(frozen=True)
class SemiStructured(Threshold):
    """Keep N of every M consecutive weights along the inputs, in each row of each layer.

    In several rounds the share of zeros follows the cubic of Zhu & Gupta, 2017, as that of
    `Sparsity` does, and each layer loses the same share: those go first that are worth least among
    the M − N least of their block. The last round leaves exactly N of every M. A layer whose inputs
    are no multiple of M stays dense, and the report says so.

    Source: Mishra et al., "Accelerating sparse deep neural networks", 2021 (2 of 4).

    Args:
        n: how many stay of each block, ≥ 1.
        m: the length of a block, above `n`.

    Raises:
        ValueError: they make no pattern; or the units are groups of weights.

    >>> SemiStructured(2, 4).keep([torch.tensor([[4.0, 1.0, 3.0, 2.0]])], [1])
    [tensor([[ True, False,  True, False]])]
    """

    n: int = 2
    m: int = 4

    gradual = True

    def __post_init__(self) -> None:
        if not is_whole(self.n, 1) or not is_whole(self.m, self.n + 1):
            raise ValueError(
                "SemiStructured(n, m) keeps n of every m weights, 1 ≤ n < m, as SemiStructured(2, "
                f"4); got n={self.n!r}, m={self.m!r}"
            )

    def check(self, counts: list[int], sizes: list[int]) -> None:
        if any(size != 1 for size in sizes):
            raise ValueError(
                f"threshold={self!r} removes single weights, but the penalty presses groups of "
                "them; use L1()"
            )

    def share(self, progress: float) -> float | None:
        return self._planned(progress)

    def _planned(self, progress: float) -> float:
        return Cubic(0.0, 1 - self.n / self.m)(progress)

    def left_out(self, targets: Sequence[Target]) -> dict[str, str]:
        return {t.name: reason for t in targets if (reason := self._reason(t)) is not None}

    def _reason(self, target: Target) -> str | None:
        shape = tuple(target.parameter.shape)
        if len(shape) < 2:
            return f"dense: it has no inputs, its shape is {shape}"
        if target.inputs != 1:
            return f"dense: its inputs lie along dimension {target.inputs}, not 1"
        width = shape[1]
        return None if width % self.m == 0 else f"dense: {width} inputs are no multiple of {self.m}"

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        share = self._planned(progress)
        return [spread(_keep(gathered(one), self.n, self.m, share), one) for one in scores]


def _keep(scores: Tensor, n: int, m: int, share: float) -> Tensor:
    """The mask of one layer's units ``(out, in, …)``, of which a share goes, M − N a block at most.

    What was removed before is worth less than all else, hence among the first to go.
    """
    by_input = scores.movedim(1, -1)
    blocks = by_input.reshape(-1, m)
    ranks = blocks.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    order = blocks.masked_fill(ranks >= m - n, math.inf).flatten().argsort(stable=True)
    keep = torch.ones_like(order, dtype=torch.bool)
    keep[order[: math.ceil((share - 1e-9) * len(order))]] = False
    return keep.view(by_input.shape).movedim(-1, 1)
