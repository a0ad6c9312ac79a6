"""Eager: passes by torch's own operations. It can do all of them, and the others are tested by it.

Source: soft thresholding, Beck & Teboulle, "A fast iterative shrinkage-thresholding algorithm",
SIAM Journal on Imaging Sciences 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from l1prune.penalties.convex import L1
from l1prune.pressure.kernels.passes import Kernel, Pass, Threshold
from l1prune.pressure.optimizers.rules import over_root
from l1prune.weights.bits import HALVES, mask_, round_stochastically
from l1prune.weights.pieces import pieces


class Eager(Kernel):
    """Torch's own operations, in pieces that fit the cache.

    >>> w = torch.tensor([-3.0, 0.5, 2.0])
    >>> stays = torch.tensor([True, True, False])
    >>> Eager().run([Pass(w, Threshold(1.0), stays)])
    []
    >>> w
    tensor([-2.,  0.,  0.])
    """

    name = "eager"

    @torch.no_grad()
    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        for one in passes:
            amount = one.threshold.amount
            if isinstance(amount, Tensor) or amount != 0:
                _press(one)
            if one.mask is not None:
                mask_(one.w, one.mask)
        return []


def _press(one: Pass) -> None:
    w, second = one.w, one.threshold.second
    if w.dtype in HALVES:
        w.copy_(rounded(soft_thresholded(w, one.threshold), w.dtype, one.seed))
    elif second is None:
        L1().prox_(w, one.threshold.amount)
    else:
        for piece, some in pieces(w, second):
            L1().prox_(piece, _lengths(one.threshold, some))


def soft_thresholded(w: Tensor, threshold: Threshold) -> Tensor:
    """A copy of a 16-bit weight, in float32: lr·λ lies below the resolution of its own type."""
    if threshold.second is None:
        return L1().prox_(w.float(), threshold.amount)
    return L1().prox_(w.float(), _lengths(threshold, threshold.second).float())


def _lengths(threshold: Threshold, second: Tensor) -> Tensor:
    """tᵢ of weights with these squares."""
    amount, _, correction, eps, most = threshold
    t = over_root(amount, second, correction, eps)
    return t.clamp_(max=most) if isinstance(most, Tensor) or most != math.inf else t


def rounded(exact: Tensor, dtype: torch.dtype, seed: int) -> Tensor:
    """To one of both neighbours: to nearest, nothing would move.

    Seeded, so that the user's random stream is left alone and a resumed run draws what the run
    that never stopped drew.
    """
    return round_stochastically(exact, dtype, torch.Generator(exact.device).manual_seed(seed))
