"""Trimming: full pressure on the weights that are due to go, little or none on those that stay."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from l1prune.penalties import L1, Penalty
from l1prune.weights.bits import masked
from l1prune.weights.pieces import pieces


@singledispatch
def trimmed_prox_(
    penalty: Penalty, w: Tensor, t: float | Tensor, spared: Tensor, ease: float
) -> Tensor:
    """One proximal step of a trimmed penalty, in place: by `t`, but by `ease`·t where spared.

    Source: Bertsimas, Copenhaver & Mazumder, "The trimmed lasso: sparsity and robustness", 2017.

    Args:
        penalty: what is trimmed.
        w: weights of any shape.
        t: learning rate × strength; a number, or one for each weight.
        spared: booleans of the shape of `w`.
        ease: the share of `t` for spared weights, in [0, 1].

    >>> w, spared = torch.tensor([-0.3, 0.05, 1.0]), torch.tensor([False, False, True])
    >>> trimmed_prox_(L1(), w, 0.1, spared, ease=0.0)
    tensor([-0.2000,  0.0000,  1.0000])
    """
    return penalty.prox_(w, torch.where(spared, ease * t, t))


@trimmed_prox_.register
def _(penalty: L1, w: Tensor, t: float | Tensor, spared: Tensor, ease: float) -> Tensor:
    """Passes over a piece in cache that are each as fast as memory."""
    if isinstance(t, Tensor):
        return trimmed_prox_.dispatch(object)(penalty, w, t, spared, ease)
    relief = (1 - ease) * t
    for piece, spare in pieces(w, spared):
        back = penalty.prox_(masked(piece, spare), ease * t).clamp_(-relief, relief)
        penalty.prox_(piece, t).add_(back)  # what was taken too much
    return w
