"""Flat: selection among units that this process holds, all layers end to end.

The limit is an order statistic of whole numbers in the order of the values, on a CPU among those
that share its upper bits. There C finds it, if it can: see `l1prune.weights.selection`. Nothing
waits for an accelerator. Units that are spread over processes, or take up different room, are
selected by histograms: see `l1prune.weights.largest`.
Source: Hoare, "Algorithm 65: find", Communications of the ACM 1961.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from l1prune.weights.bits import INTEGERS
from l1prune.weights.selection import Masks, selected
from l1prune.weights.shards import SHARDED

SMALL = 2**14
"""How many units a layer has at most whose limit is found together with others'."""

LONG = 2**22
"""How many units of several layers are looked at together."""

NARROW = (torch.float16, torch.bfloat16, torch.float32)
"""What float32 holds exactly."""


def is_here(layers: Sequence[Tensor]) -> bool:
    """Whether there are units, all of them on one device, and none elsewhere."""
    devices = {layer.device for layer in layers}
    return len(devices) == 1 and not any(isinstance(layer, SHARDED) for layer in layers)


def largest_here(
    layers: Sequence[Tensor],
    count: int,
    last: Masks = (),
    first: Masks = (),
    floors: Sequence[int] = (),
) -> list[Tensor]:
    """Masks of so many of the largest units of all layers; of equals the last ones.

    Args:
        layers: negative units count as equals, smaller than all others.
        count: how many.
        last: masks of units that count as negative; None for a layer without any.
        first: masks of units that count as infinite, those of `last` too.
        floors: how many of the largest of each layer are in any case, if `first` is empty.

    >>> largest_here([torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.4, 0.2])], 3)
    [tensor([False,  True]), tensor([False,  True,  True])]
    """
    values = _alike(layers)
    kept = selected(values, count, last, first, floors)
    if kept is None:
        keys = _keys(values, last, first)
        if any(floors):
            sure = _end_to_end(largest_of_each_here(values, floors), values)
            keys.masked_fill_(sure, torch.iinfo(keys.dtype).max)  # before what is infinite
        kept = _kept(keys, count)
    return _apart(kept, layers)


def largest_of_each_here(layers: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """Masks of so many of the largest units of each layer; of equals the last ones.

    >>> largest_of_each_here([torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.4, 0.2])], [1, 2])
    [tensor([False,  True]), tensor([False,  True,  True])]
    """
    values = _alike(layers)
    counts = [max(count, 0) for count in counts]
    floors = [min(count, layer.numel()) for count, layer in zip(counts, layers, strict=True)]
    if (found := selected(values, sum(floors), (), (), floors)) is not None:
        return _apart(found, layers)
    keys = _keys(values, (), ())
    kept = torch.empty_like(keys, dtype=torch.bool)
    ends = [0, *accumulate(layer.numel() for layer in layers)]
    for some in _together(layers):
        piece = slice(ends[some.start], ends[some.stop])
        if len(some) == 1:
            kept[piece] = _kept(keys[piece], counts[some.start])
        else:
            sizes = [layers[number].numel() for number in some]
            kept[piece] = _kept_of_each(keys[piece], sizes, [counts[n] for n in some])
    return _apart(kept, layers)


def _together(layers: Sequence[Tensor]) -> Iterator[range]:
    """Neighbours that are small, so many at a time; a large one, or one on a GPU, by itself."""
    begin, size = 0, 0
    for number, layer in enumerate(layers):
        count = layer.numel()
        alone = count > SMALL or not layer.is_cpu
        if number > begin and (alone or size + count > LONG):
            yield range(begin, number)
            begin, size = number, 0
        size += count
        if alone:
            yield range(begin, number + 1)
            begin, size = number + 1, 0
    if begin < len(layers):
        yield range(begin, len(layers))


def _alike(layers: Sequence[Tensor]) -> list[Tensor]:
    """The layers in float32 if that holds them all exactly, else in float64."""
    narrow = all(layer.dtype in NARROW for layer in layers)
    dtype = torch.float32 if narrow else torch.float64
    found = [layer.detach() if layer.requires_grad else layer for layer in layers]
    return [layer if layer.dtype == dtype else layer.to(dtype) for layer in found]


def _keys(layers: Sequence[Tensor], last: Masks, first: Masks) -> Tensor:
    """Whole numbers in the order of the values, 0 for negative ones: bits of floats are so ordered.

    Positive infinity is the largest.
    """
    dtype, flat = layers[0].dtype, torch.cat([layer.reshape(-1) for layer in layers])
    keys = flat.view(INTEGERS[dtype.itemsize]).add_(1).clamp_(min=0)
    if any(mask is not None for mask in last):
        keys.masked_fill_(_end_to_end(last, layers), 0)
    if any(mask is not None for mask in first):
        infinite = torch.tensor(torch.inf, dtype=dtype).view(INTEGERS[dtype.itemsize])
        keys.masked_fill_(_end_to_end(first, layers), int(infinite) + 1)
    return keys


def _end_to_end(masks: Masks, layers: Sequence[Tensor]) -> Tensor:
    return torch.cat(
        [
            layer.new_zeros(layer.numel(), dtype=torch.bool) if mask is None else mask.reshape(-1)
            for mask, layer in zip(masks, layers, strict=True)
        ]
    )


def _kept(keys: Tensor, count: int) -> Tensor:
    """Where the so many largest are."""
    if count >= len(keys):
        return torch.ones_like(keys, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(keys, dtype=torch.bool)
    limit = _limit(keys, count) if count > 1 else keys.max()
    kept = keys > limit
    if keys.is_cpu:
        ties = (keys == limit).nonzero().squeeze(1)
        left = count - int(kept.count_nonzero())
        kept[ties[len(ties) - left :]] = True
        return kept
    ties = keys == limit
    behind = ties.flip(0).cumsum(0, dtype=torch.int32).flip(0)  # equals from here on
    return kept | (ties & (behind <= count - kept.sum()))


def _limit(keys: Tensor, count: int) -> Tensor:
    """The largest key of which not all units are among the so many largest."""
    if not keys.is_cpu:
        return torch.kthvalue(keys, len(keys) - count).values
    shift = torch.iinfo(keys.dtype).bits - 16  # by the upper bits first: equals cannot slow it down
    upper = keys >> shift
    counts = torch.bincount(upper, minlength=2**15)
    with_larger = counts.flip(0).cumsum(0).flip(0)
    at = int((with_larger > count).sum()) - 1
    left = count - int(with_larger[at] - counts[at])
    some = keys[upper == at]
    return torch.kthvalue(some, len(some) - left).values


def _kept_of_each(keys: Tensor, sizes: Sequence[int], counts: Sequence[int]) -> Tensor:
    """Where the so many largest of each of several small layers are."""
    size, count = torch.tensor(sizes), torch.tensor(counts)
    count = count.clamp(min=0).minimum(size)
    owners = torch.arange(len(sizes)).repeat_interleave(size)
    # By layer, then by key, then by place: a stable sort keeps the last of equals last.
    order = keys.sort(stable=True).indices
    order = order[owners[order].sort(stable=True).indices]
    ends = size.cumsum(0)
    kept = torch.empty_like(keys, dtype=torch.bool)
    kept[order] = torch.arange(len(keys)) >= (ends - count).repeat_interleave(size)
    return kept


def _apart(flat: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
    """A flat tensor as one of the shape of each layer."""
    parts = torch.split(flat, [layer.numel() for layer in layers])
    return [part.view(layer.shape) for part, layer in zip(parts, layers, strict=True)]
