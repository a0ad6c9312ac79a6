"""Ranks: what weights are worth of which nothing is known but their place among the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from l1prune.cuts.scopes import PerLayer
from l1prune.weights.pieces import widest
from l1prune.weights.shards import local, over_shards
from l1prune.weights.targets import Target

BINS = 2**16
"""Of the upper half of a float's bits: 128 to a doubling."""


def by_rank(
    rest: Sequence[Target], known: Sequence[Target], worth: Sequence[Tensor]
) -> dict[str, Tensor]:
    """What weights are worth of which it is not known: what a known one of the same rank is.

    The larger a weight is in its layer, the higher its rank. So a layer that the loss does not
    reach keeps its share of what is left, and no more.

    Args:
        rest: the layers of which nothing is known.
        known: the others.
        worth: of the weights of those.

    >>> w = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.4]))
    >>> by_rank([Target("a", w)], [Target("b", w)], [torch.tensor([8.0, 32.0, 16.0])])["a"]
    tensor([ 8.0002, 16.0007, 32.0020])
    """
    if not rest:
        return {}
    counts = [torch.bincount(_bin(one), minlength=BINS) for one in worth]
    below = over_shards(counts, [target.parameter for target in known]).sum(0).cumsum(0)
    below = below.to(widest(below.device))
    return {
        target.name: _at_rank(PerLayer().comparable(target.parameter.detach().abs()), below)
        for target in rest
    }


def _bin(worth: Tensor) -> Tensor:
    """In which bin a weight's worth is: floats of one sign are ordered as their bits are."""
    return (worth.abs().float().view(torch.int32) >> 16).flatten()


def _at_rank(ranks: Tensor, below: Tensor) -> Tensor:
    """The worth at ranks in (0, 1], given how many known weights lie in or below each bin.

    Within a bin it rises with the rank, from the bin's lower edge on.
    """
    share = local(ranks).to(below)
    # One known weight lower than its rank: of equals those of which something is known stay.
    place = (share * below[-1] - 1).clamp_(min=0)
    bins = torch.searchsorted(below, place, right=True).clamp_(max=BINS - 1)
    edge = (bins.int() << 16).view(torch.float32)
    # The rank orders the weights of a bin, by much less than what tells bins apart.
    return edge * (1 + share.float() * 2**-14)
