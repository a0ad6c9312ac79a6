"""Bits: weights set to exact zero by them, rounded to few of them, and masks packed into them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from l1prune.weights.pieces import pieces
from l1prune.weights.shards import gathered

HALVES = (torch.bfloat16, torch.float16)
BITS = 2 ** torch.arange(8, dtype=torch.uint8)
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def mask_(w: Tensor, mask: Tensor, fill: float = 0.0) -> Tensor:
    """Set `w` to `fill` where `mask` is False, in place, whatever it holds there.

    The bits are multiplied, as integers, by 0 or 1: unlike a product of floats this makes zero of
    NaN and infinity too, and never −0.0; and on a CPU it is several times faster than a fill.

    Args:
        w: weights of any shape, of 16, 32 or 64 bits each.
        mask: booleans of the same shape.
        fill: a number that they can hold.

    >>> mask_(torch.tensor([float("nan"), -1.0, 2.0]), torch.tensor([False, False, True]))
    tensor([0., 0., 2.])
    >>> mask_(torch.tensor([float("nan"), -1.0, 2.0]), torch.tensor([False, True, True]), fill=-1.0)
    tensor([-1., -1.,  2.])
    """
    bits = INTEGERS[w.element_size()]
    filled = _bits(fill, w.dtype) if fill else 0
    for some, stay in pieces(w.view(bits), mask):
        if filled:  # filled + stay · (some − filled), in integers that wrap around
            some.sub_(filled).mul_(stay.to(bits)).add_(filled)
        else:
            some.mul_(stay.to(bits))
    return w


@functools.cache
def _bits(value: float, dtype: torch.dtype) -> int:
    """Those of a number, as an integer of as many."""
    return int(torch.tensor([value], dtype=dtype, device="cpu").view(INTEGERS[dtype.itemsize]))


def masked(w: Tensor, mask: Tensor) -> Tensor:
    """A copy of `w` that is +0.0 where `mask` is False; see `mask_`.

    >>> masked(torch.tensor([float("nan"), -1.0, 2.0]), torch.tensor([False, True, True]))
    tensor([ 0., -1.,  2.])
    """
    bits = INTEGERS[w.element_size()]
    return mask.to(bits).mul_(w.view(bits)).view(w.dtype)


def pack(mask: Tensor) -> Tensor:
    """A boolean mask as bytes of eight weights each, on the CPU, for a checkpoint.

    If it is sharded, all processes call this together, and each gets the whole.

    >>> pack(torch.tensor([True, False, True]))
    tensor([5], dtype=torch.uint8)
    """
    flat = gathered(mask.detach()).cpu().flatten()
    padded = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
    return (padded * BITS).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """The mask of this shape that `pack` packed.

    Raises:
        ValueError: it was packed from another shape.

    >>> unpack(torch.tensor([5], dtype=torch.uint8), (3,))
    tensor([ True, False,  True])
    """
    if packed.dtype != torch.uint8 or packed.shape != (-(-torch.Size(shape).numel() // 8),):
        raise ValueError(
            f"a packed mask of {tuple(packed.shape)} {packed.dtype} bytes is none of a weight of "
            f"the shape {tuple(shape)}: the checkpoint is of another model"
        )
    bits = (packed.unsqueeze(1) & BITS) != 0
    return bits.flatten()[: torch.Size(shape).numel()].reshape(shape)


def round_stochastically(exact: Tensor, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Round to one of the two neighbours, each as likely as the value is near it.

    The expectation is `exact`: a step below the type's resolution moves a few weights by a whole
    unit in the last place, where rounding to nearest would move none, ever. Zero stays zero.

    Args:
        exact: float32 values of any shape.
        dtype: `torch.bfloat16` or `torch.float16`.
        generator: source of the randomness, on the device of `exact`.

    Source: Gupta et al., "Deep learning with limited numerical precision", ICML 2015, §3.

    >>> generator = torch.Generator().manual_seed(0)
    >>> rounded = round_stochastically(torch.full((4096,), 1 + 2**-9), torch.bfloat16, generator)
    >>> sorted(set(rounded.tolist()))
    [1.0, 1.0078125]
    >>> bool((rounded.float().mean() - (1 + 2**-9)).abs() < 3e-4)
    True
    """
    near = exact.to(dtype)
    size = near.float().abs()
    error = exact.abs() - size  # positive where rounding made the number smaller
    # Floats of one sign are ordered as their bits are: the neighbour is one integer away.
    other = (near.view(torch.int16) + error.sign().to(torch.int16)).view(dtype)
    gap = (other.float().abs() - size).abs()
    chance = torch.rand(exact.shape, generator=generator, dtype=torch.float32, device=exact.device)
    return torch.where(chance * gap < error.abs(), other, near)
