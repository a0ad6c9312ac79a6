"""Masking by bits: exact zeros whatever was there, at the speed of memory."""

from __future__ import annotations

import torch
from torch import Tensor

from l1prune.weights.pieces import pieces

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def mask_(w: Tensor, mask: Tensor) -> Tensor:
    """Set `w` to +0.0 where `mask` is False, in place, whatever it holds there.

    The bits are multiplied, as integers, by 0 or 1: unlike a product of floats this makes zero of
    NaN and infinity too, and never −0.0; and on a CPU it is several times faster than a fill.

    Args:
        w: weights of any shape, of 16, 32 or 64 bits each.
        mask: booleans of the same shape.

    >>> mask_(torch.tensor([float("nan"), -1.0, 2.0]), torch.tensor([False, False, True]))
    tensor([0., 0., 2.])
    """
    bits = INTEGERS[w.element_size()]
    for some, stay in pieces(w.view(bits), mask):
        some.mul_(stay.to(bits))
    return w


def masked(w: Tensor, mask: Tensor) -> Tensor:
    """A copy of `w` that is +0.0 where `mask` is False; see `mask_`.

    >>> masked(torch.tensor([float("nan"), -1.0, 2.0]), torch.tensor([False, True, True]))
    tensor([ 0., -1.,  2.])
    """
    bits = INTEGERS[w.element_size()]
    return mask.to(bits).mul_(w.view(bits)).view(w.dtype)
