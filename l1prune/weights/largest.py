"""Selection: the largest of many units, exactly, without sorting them.

Where one process holds all units, and each takes up as much room, it is an order statistic: see
`l1prune.weights.flat`. Elsewhere a radix select: the limit is found digit by digit, from
histograms. They are small and add up, so that it works alike on one process and on weights that are
spread over many. There may be one contest for the whole network, or one for each layer; small
layers are counted together, so that it matters how many units there are, but not how many layers.
Source: Knuth, "The Art of Computer Programming", vol. 3, §5.2.5 and §5.3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from l1prune.weights.bits import INTEGERS
from l1prune.weights.blocks import Block, blocks_of, joined, split
from l1prune.weights.flat import (
    NARROW,
    is_here,
    largest_here,
    largest_of_each_here,
)
from l1prune.weights.selection import Masks
from l1prune.weights.shards import holders_of_parts, local, over_shards, part_of


def largest(
    values: Sequence[Tensor],
    sizes: Sequence[int],
    room: int,
    last: Masks = (),
    first: Masks = (),
    floors: Sequence[int] = (),
) -> list[Tensor]:
    """Masks of the largest units of all layers together, as many as there is room for.

    Of equals the last in the network stays, on every machine and however it is spread. Units are
    never split: taken from the largest on, the first that finds no room ends it.

    Args:
        values: one tensor per layer; negative ones count as equals, smaller than all others.
        sizes: how much room a unit of each layer takes.
        room: how much there is.
        last: masks of units that count as negative; None for a layer without any.
        first: masks of units that count as infinite, those of `last` too. Of sharded layers, both
            are those of the local part.
        floors: how many units of each layer, its largest, are in any case, if `first` is empty.

    >>> largest([torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.4, 0.2])], [1, 1], room=3)
    [tensor([False,  True]), tensor([False,  True,  True])]
    """
    if is_here(values) and len(set(sizes)) == 1:
        return largest_here(values, room // sizes[0], last, first, floors)
    if any(floors):
        first = [local(mask) for mask in largest_of_each(values, floors)]
    fields = [
        _Field(block, sizes[block.layers[0]], torch.zeros_like(block.starts[:1]), None)
        for block in blocks_of(values, sizes)
    ]
    return _selected(fields, [room], values, last, first)


def largest_of_each(values: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """Masks of the so many largest units of each layer, as `largest` finds them in it alone.

    >>> largest_of_each([torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.4, 0.2])], [1, 2])
    [tensor([False,  True]), tensor([False,  True,  True])]
    """
    if is_here(values):
        return largest_of_each_here(values, counts)
    fields = [
        _Field(block, 1, torch.tensor(block.layers, device=block.values.device), block.owners())
        for block in blocks_of(values, [1] * len(values))
    ]
    return _selected(fields, counts, values, (), ())


@dataclass(frozen=True, eq=False)
class _Field:
    """A block in its contests.

    Args:
        block: the units.
        size: how much room each of them takes.
        contests: in which contest each layer is; a single one, if all are in the same.
        owners: which of the contests each unit is in; None: there is but one.
        last: where units count as negative; None: nowhere.
        first: where they count as infinite; None: nowhere.
    """

    block: Block
    size: int
    contests: Tensor
    owners: Tensor | None
    last: Tensor | None = None
    first: Tensor | None = None

    def keys(self, piece: slice, dtype: torch.dtype) -> Tensor:
        """Integers in the order of the values, 0 for negative ones: bits of floats are so ordered.

        Positive infinity is the largest.
        """
        keys = (self.block.values[piece].to(dtype).view(INTEGERS[dtype.itemsize]) + 1).clamp_(min=0)
        if self.last is not None:
            keys.masked_fill_(self.last[piece], 0)
        if self.first is not None:
            infinite = torch.tensor(math.inf, dtype=dtype).view(INTEGERS[dtype.itemsize])
            keys.masked_fill_(self.first[piece], int(infinite) + 1)
        return keys


@dataclass(frozen=True, eq=False)
class _Units:
    """Some units of a field, by keys: whole numbers ≥ 0 in their order."""

    keys: Tensor
    owners: Tensor | None
    field: _Field

    def those(self, chosen: Tensor) -> _Units:
        owners = None if self.owners is None else self.owners[chosen]
        return _Units(self.keys[chosen], owners, self.field)

    def limits(self, of_contests: Tensor) -> Tensor:
        """What their contests have, to compare keys with."""
        mine = of_contests.to(self.keys.device)[self.field.contests].to(self.keys.dtype)
        return mine if self.owners is None else mine[self.owners]

    def room(self, shift: int, digit: int) -> Tensor:
        """The room that they take, by contest and by that digit of their keys."""
        digits, counters = (self.keys >> shift) & (2**digit - 1), len(self.field.contests) << digit
        if self.owners is not None:
            digits = digits + (self.owners << digit)
        counts = torch.bincount(digits, minlength=counters).view(-1, 2**digit)
        return counts * self.field.size


def _selected(
    fields: list[_Field], rooms: Sequence[int], values: Sequence[Tensor], last: Masks, first: Masks
) -> list[Tensor]:
    """The masks of what finds room in its contest."""
    if not fields:
        return []
    blocks = [field.block for field in fields]
    narrow = all(layer.dtype in NARROW for layer in values)
    dtype = torch.float32 if narrow else torch.float64
    fields = [
        replace(field, last=_flat(field, last, values), first=_flat(field, first, values))
        for field in fields
    ]
    room = torch.tensor(rooms, dtype=torch.int64, device=blocks[0].values.device)
    bits = torch.iinfo(INTEGERS[dtype.itemsize]).bits
    units = sum(layer.numel() for layer in values)
    digit = min(max((units // len(rooms)).bit_length(), 4), 16)  # about as many counters as units
    limit, room = _limits(fields, partial(_by_value, fields, dtype), room, bits, digit)
    masks, ties = _compared(fields, limit, dtype)
    places = partial(_by_place, fields, ties)
    lowest, _ = _limits(fields, places, room, units.bit_length(), digit)
    for some, mask, tie in zip(places(), masks, ties, strict=True):
        mask[tie] = some.keys > some.limits(lowest)
    parts = split(blocks, masks, values)
    return [part_of(part, layer) for part, layer in zip(parts, values, strict=True)]


def _limits(
    fields: list[_Field],
    walk: Callable[[], Iterable[_Units]],
    rooms: Tensor,
    bits: int,
    digit: int,
) -> tuple[Tensor, Tensor]:
    """For each contest the largest key whose units do not all fit, or −1, and the room left there.

    Args:
        fields: whose units they are, all of them.
        walk: passes over all units.
        rooms: of the contests.
        bits: that keys have.
        digit: how many of them are looked at together, the same on all processes.
    """
    limit = torch.zeros_like(rooms)
    for shift in range((max(bits, 1) - 1) // digit * digit, -1, -digit):
        needed = _needed(fields, walk(), shift, digit, len(rooms))
        with_larger = needed.flip(1).cumsum(1).flip(1)
        at = (with_larger > rooms.unsqueeze(1)).sum(1) - 1  # where all fit −1, and it stays so
        larger = (with_larger - needed).gather(1, at.clamp(min=0).unsqueeze(1)).squeeze(1)
        rooms = rooms - larger * (at >= 0)
        limit = limit | (at << shift)
        if shift:
            found = [u.those((u.keys >> shift) == u.limits(limit >> shift)) for u in walk()]
            walk = found.copy
    return limit, rooms


def _needed(
    fields: list[_Field], units: Iterable[_Units], shift: int, digit: int, contests: int
) -> Tensor:
    """The room that units take on all processes: (contests, 2**digit)."""
    # Also of fields of which this process has no unit: all must add up the same rows.
    likes = {holders_of_parts(field.block.like): field.block.like for field in fields}
    device = fields[0].block.values.device
    rows = {
        holders: torch.zeros(contests, 2**digit, dtype=torch.int64, device=device)
        for holders in likes
    }
    for some in units:
        row = rows[holders_of_parts(some.field.block.like)]
        row.index_add_(0, some.field.contests.to(device), some.room(shift, digit).to(device))
    return over_shards(list(rows.values()), list(likes.values())).sum(0)


def _by_value(fields: list[_Field], dtype: torch.dtype) -> Iterator[_Units]:
    """All units by their values."""
    for field in fields:
        for piece in field.block.pieces():
            yield _piece(field, piece, dtype)


def _by_place(fields: list[_Field], units: list[Tensor]) -> Iterator[_Units]:
    """These units by their places in the network."""
    for field, some in zip(fields, units, strict=True):
        owners = None if field.owners is None else field.owners[some]
        yield _Units(field.block.places(some), owners, field)


def _compared(
    fields: list[_Field], limit: Tensor, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """For each field the mask of what is above the limit, and where what is at it stands."""
    masks, ties = [], []
    for field in fields:
        mask, found = torch.empty_like(field.block.values, dtype=torch.bool), []
        for piece in field.block.pieces():
            units = _piece(field, piece, dtype)
            mine = units.limits(limit)
            torch.gt(units.keys, mine, out=mask[piece])
            found.append((units.keys == mine).nonzero().squeeze(1) + piece.start)
        masks.append(mask)
        ties.append(joined(found) if found else field.contests[:0])
    return masks, ties


def _piece(field: _Field, piece: slice, dtype: torch.dtype) -> _Units:
    owners = None if field.owners is None else field.owners[piece]
    return _Units(field.keys(piece, dtype), owners, field)


def _flat(field: _Field, masks: Masks, values: Sequence[Tensor]) -> Tensor | None:
    """The masks of a field's layers, end to end; None if they have none."""
    given = {number: masks[number] for number in field.block.layers} if masks else {}
    if all(mask is None for mask in given.values()):
        return None
    return joined(
        [
            torch.zeros_like(local(values[number]), dtype=torch.bool) if mask is None else mask
            for number, mask in given.items()
        ]
    )
