"""Blocks: small layers end to end, so that what is done to each is done to thousands at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor

from l1prune.weights.shards import is_sharded, local, over_shards, spread

SMALL = 2**14
"""How many units a layer has at most that is put into a block with others."""

LONG = 2**20
"""How many units a block of several layers has at most."""

PIECE = 2**18
"""How many units are looked at together."""


@dataclass(frozen=True, eq=False)
class Block:
    """Layers end to end; or a large or sharded one by itself, not copied.

    Args:
        layers: which of all the layers these are.
        values: of their units, flat; of a sharded layer, of the local part.
        ends: for each layer, where it ends.
        starts: for each layer, by how much its units stand further in the network than here.
        like: one of the layers, spread over processes as the others are.
    """

    layers: tuple[int, ...]
    values: Tensor
    ends: Tensor
    starts: Tensor
    like: Tensor

    def pieces(self) -> Iterator[slice]:
        """Of its units, so many at a time that on a CPU temporaries stay in its cache."""
        step = PIECE if self.values.device.type == "cpu" else max(len(self.values), 1)
        return (slice(at, at + step) for at in range(0, len(self.values), step))

    def places(self, units: Tensor) -> Tensor:
        """Where in the network units are, given where they are here."""
        if is_sharded(self.like):
            whole = torch.arange(self.like.numel(), device=units.device).view(self.like.shape)
            return local(spread(whole, self.like)).flatten()[units] + self.starts
        return units + self.starts[torch.bucketize(units, self.ends, right=True)]

    def owners(self) -> Tensor | None:
        """Of which of the block's layers each unit is; None where there is but one."""
        if len(self.layers) == 1:
            return None
        counts = self.ends.diff(prepend=self.ends.new_zeros(1))
        return torch.arange(len(self.layers), device=counts.device).repeat_interleave(counts)


def blocks_of(layers: Sequence[Tensor], kinds: Sequence[object]) -> list[Block]:
    """The layers in blocks.

    Args:
        layers: of any shapes.
        kinds: for each layer; those of one block are of one kind.

    >>> [block.layers for block in blocks_of([torch.zeros(2)] * 3, ["a", "b", "a"])]
    [(0, 2), (1,)]
    """
    starts = [0, *accumulate(layer.numel() for layer in layers)]
    open_: dict[object, list[int]] = {}
    taken: dict[object, int] = {}
    chosen: list[list[int]] = []
    for number, layer in enumerate(layers):
        count = layer.numel()
        if is_sharded(layer) or count > SMALL:
            chosen.append([number])
            continue
        kind = (kinds[number], layer.dtype, layer.device)
        if kind not in open_ or taken[kind] + count > LONG:
            open_[kind], taken[kind] = [], 0
            chosen.append(open_[kind])
        open_[kind].append(number)
        taken[kind] += count
    return [_block(layers, starts, numbers) for numbers in chosen]


def _block(layers: Sequence[Tensor], starts: Sequence[int], numbers: list[int]) -> Block:
    some = [local(layers[number]) for number in numbers]
    ends = list(accumulate(layer.numel() for layer in some))
    further = [starts[number] - at for number, at in zip(numbers, [0, *ends], strict=False)]
    return Block(
        layers=tuple(numbers),
        values=joined(some),
        ends=torch.tensor(ends, device=some[0].device),
        starts=torch.tensor(further, device=some[0].device),
        like=layers[numbers[0]],
    )


def joined(layers: Sequence[Tensor]) -> Tensor:
    """Tensors end to end, flat; a contiguous one by itself is not copied."""
    flat = [layer.flatten() for layer in layers]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def leaders(layers: Sequence[Tensor], masks: Sequence[Tensor]) -> list[int]:
    """How many units under the mask of each layer are larger than all that are not under it.

    Negative ones count as zeros, and equals not at all.

    >>> leaders([torch.tensor([3.0, 1.0, 2.0, 2.0])], [torch.tensor([True, False, True, False])])
    [1]
    """
    blocks = blocks_of(layers, [None] * len(layers))
    found: dict[int, int] = {}
    for block in blocks:
        mask = joined([local(masks[number]) for number in block.layers])
        counts = _leaders(block, mask, block.owners())
        found.update(zip(block.layers, counts.tolist(), strict=True))
    return [found[number] for number in range(len(layers))]


def _leaders(block: Block, mask: Tensor, owners: Tensor | None) -> Tensor:
    """How many units lead, for each layer of a block."""
    others = block.values.new_full((len(block.layers),), -1.0)
    counts = block.ends.new_zeros(len(block.layers))
    for at in block.pieces():
        sizes = block.values[at].clamp(min=0).masked_fill_(mask[at], -1.0)
        if owners is None:
            others = torch.maximum(others, sizes.amax())
        else:
            others.scatter_reduce_(0, owners[at], sizes, "amax")
    if is_sharded(block.like):
        (others,) = over_shards([others], [block.like], dist.ReduceOp.MAX)
    for at in block.pieces():
        bounds = others if owners is None else others[owners[at]]
        leads = (block.values[at].clamp(min=0) > bounds).logical_and_(mask[at])
        if owners is None:
            counts += leads.sum()
        else:
            counts += torch.bincount(owners[at][leads], minlength=len(counts))
    return over_shards([counts], [block.like])[0]


def split(
    blocks: Sequence[Block], flat: Sequence[Tensor], layers: Sequence[Tensor]
) -> list[Tensor]:
    """One flat tensor for each block, as a list of tensors of the shapes of the layers' parts."""
    parts: dict[int, Tensor] = {}
    for block, values in zip(blocks, flat, strict=True):
        shapes = [local(layers[number]).shape for number in block.layers]
        some = torch.split(values, [shape.numel() for shape in shapes])
        for number, part, shape in zip(block.layers, some, shapes, strict=True):
            parts[number] = part.view(shape)
    return [parts[number] for number in range(len(layers))]
