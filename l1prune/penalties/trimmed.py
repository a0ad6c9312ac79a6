"""Trimming: full pressure on the weights that are due to go, little or none on those that stay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from l1prune.penalties.convex import L1
from l1prune.penalties.penalty import Penalty, is_separable
from l1prune.weights.bits import masked
from l1prune.weights.pieces import pieces


@dataclass(frozen=True, eq=False)
class TrimmedPenalty(Penalty):
    """A penalty of one weight, whose step is shorter where entries are spared.

    Source: Bertsimas, Copenhaver & Mazumder, "The trimmed lasso: sparsity and robustness", 2017.

    Args:
        penalty: what is trimmed.
        spared: booleans of the shape of the weight.
        ease: the share of the step for spared entries, in [0, 1].

    >>> w, spared = torch.tensor([-0.3, 0.05, 1.0]), torch.tensor([False, False, True])
    >>> TrimmedPenalty(L1(), spared, ease=0.0).prox_(w, 0.1)
    tensor([-0.2000,  0.0000,  1.0000])
    """

    penalty: Penalty
    spared: Tensor
    ease: float

    def score(self, w: Tensor) -> Tensor:
        return self.penalty.score(w)

    def value(self, w: Tensor) -> Tensor:
        """The cost of all entries, spared or not."""
        return self.penalty.value(w)

    @torch.no_grad()
    def prox_(self, w: Tensor, t: float | Tensor) -> Tensor:
        return _prox_(self.penalty, w, t, self.spared, self.ease)


@is_separable.register
def _(penalty: TrimmedPenalty) -> bool:
    return False  # what is spared is known of the whole weight, not of its pieces


@singledispatch
def _prox_(penalty: Penalty, w: Tensor, t: float | Tensor, spared: Tensor, ease: float) -> Tensor:
    return penalty.prox_(w, torch.where(spared, ease * t, t))


@_prox_.register
def _(penalty: L1, w: Tensor, t: float | Tensor, spared: Tensor, ease: float) -> Tensor:
    """Passes over a piece in cache that are each as fast as memory."""
    if isinstance(t, Tensor):
        return _prox_.dispatch(object)(penalty, w, t, spared, ease)
    relief = (1 - ease) * t
    for piece, spare in pieces(w, spared):
        back = penalty.prox_(masked(piece, spare), ease * t).clamp_(-relief, relief)
        penalty.prox_(piece, t).add_(back)  # what was taken too much
    return w
