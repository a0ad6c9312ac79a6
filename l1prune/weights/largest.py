"""Selection: the largest of many units, exactly, without sorting them.

A radix select: the limit is found digit by digit, from histograms. They are small and add up, so
that it works alike on one process and on weights that are spread over many.
Source: Knuth, "The Art of Computer Programming", vol. 3, §5.2.5 and §5.3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from l1prune.weights.shards import local, over_shards, part_of, spread

DIGIT = 8
BITS = 64


def largest(values: Sequence[Tensor], sizes: Sequence[int], room: int) -> list[Tensor]:
    """Masks of the largest units of all layers together, as many as there is room for.

    Of equals the last in the network stays, on every machine and however it is spread. Units are
    never split: taken from the largest on, the first that finds no room ends it.

    Args:
        values: one tensor per layer; negative ones count as equals, smaller than all others.
        sizes: how much room a unit of each layer takes.
        room: how much there is.

    >>> largest([torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.4, 0.2])], [1, 1], room=3)
    [tensor([False,  True]), tensor([False,  True,  True])]
    """
    keys = [_ordered(local(layer)) for layer in values]
    limit, room = _limit([key.flatten() for key in keys], values, sizes, room)
    equal = [key == limit for key in keys]
    starts = [0, *accumulate(layer.numel() for layer in values)]
    places = [
        _places(layer, start)[tie] if tie.any() else key[tie]
        for layer, start, tie, key in zip(values, starts, equal, keys)  # noqa: B905
    ]
    last, _ = _limit(places, values, sizes, room)
    masks = [key > limit for key in keys]
    for mask, tie, place in zip(masks, equal, places, strict=True):
        mask[tie] = place > last
    return [part_of(mask, layer) for mask, layer in zip(masks, values, strict=True)]


def _limit(
    keys: list[Tensor], layers: Sequence[Tensor], sizes: Sequence[int], room: int
) -> tuple[int, int]:
    """The largest key whose units do not all fit, or −1, and the room that larger ones leave."""
    limit = 0
    size = torch.tensor(sizes, device=keys[0].device).unsqueeze(1)
    for shift in range(BITS - DIGIT, -1, -DIGIT):
        digits = [(key >> shift) & (2**DIGIT - 1) for key in keys]
        counts = [torch.bincount(digit, minlength=2**DIGIT) for digit in digits]
        needed = (over_shards(counts, layers) * size).sum(0)
        with_larger = needed.flip(0).cumsum(0).flip(0)
        too_many = (with_larger > room).nonzero()
        if not len(too_many):
            return -1, room
        at = int(too_many[-1])
        room -= int(with_larger[at] - needed[at])
        limit |= at << shift
        keys = [key[digit == at] for key, digit in zip(keys, digits, strict=True)]
    return limit, room


def _ordered(values: Tensor) -> Tensor:
    """Integers in the order of the values, 0 for negative ones: bits of floats are so ordered."""
    return (values.double().view(torch.int64) + 1).clamp_(min=0)


def _places(layer: Tensor, start: int) -> Tensor:
    """Where in the network the local units are, counted from `start`."""
    device = local(layer).device
    whole = torch.arange(start, start + layer.numel(), device=device).view(layer.shape)
    return local(spread(whole, layer))
