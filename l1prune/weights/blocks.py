"""Blocks: small layers end to end, so that what is done to each is done to thousands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from l1prune.weights.shards import is_sharded, local, spread

SMALL = 2**14
"""How many units a layer has at most that is put into a block with others."""

LONG = 2**20
"""How many units a block of several layers has at most."""


@dataclass(frozen=True, eq=False)
class Block:
    """Layers end to end; or a large or sharded one by itself, not copied.

    Args:
        layers: which of all the layers these are.
        values: of their units, flat; of a sharded layer, of the local part.
        owners: which of the block's layers each unit is of; None: there is but one.
        starts: for each layer, by how much its units stand further in the network than here.
        like: one of the layers, spread over processes as the others are.
    """

    layers: tuple[int, ...]
    values: Tensor
    owners: Tensor | None
    starts: Tensor
    like: Tensor

    def places(self, units: Tensor) -> Tensor:
        """Where in the network units are, given where they are here."""
        if is_sharded(self.like):
            whole = torch.arange(self.like.numel(), device=units.device).view(self.like.shape)
            return local(spread(whole, self.like)).flatten()[units] + self.starts
        return units + (self.starts if self.owners is None else self.starts[self.owners[units]])


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
    counts, device = [layer.numel() for layer in some], some[0].device
    here = [0, *accumulate(counts)]
    further = [starts[number] - at for number, at in zip(numbers, here, strict=False)]
    owners = None
    if len(some) > 1:
        each = torch.arange(len(some), device=device)
        owners = each.repeat_interleave(torch.tensor(counts, device=device))
    return Block(
        layers=tuple(numbers),
        values=joined(some),
        owners=owners,
        starts=torch.tensor(further, device=device),
        like=layers[numbers[0]],
    )


def joined(layers: Sequence[Tensor]) -> Tensor:
    """Tensors end to end, flat; a contiguous one by itself is not copied."""
    flat = [layer.flatten() for layer in layers]
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def split(
    blocks: Sequence[Block], flat: Sequence[Tensor], layers: Sequence[Tensor]
) -> list[Tensor]:
    """One flat tensor for each block, as a list of tensors of the shapes of the layers' parts."""
    parts: dict[int, Tensor] = {}
    for block, values in zip(blocks, flat, strict=True):
        shapes = [local(layers[number]).shape for number in block.layers]
        some = values.split([shape.numel() for shape in shapes])
        for number, part, shape in zip(block.layers, some, shapes, strict=True):
            parts[number] = part.view(shape)
    return [parts[number] for number in range(len(layers))]
