"""How a scalar formula is applied to millions of weights without millions of temporaries."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

PLAIN = (Tensor, nn.Parameter)
"""Kinds of tensor whose numbers lie where it says: subclasses may keep them elsewhere."""

# For each thread. 512 KiB of float32: what one pass writes, the next still finds in cache.
_PIECE = 1 << 17


def is_plain(tensor: Tensor) -> bool:
    """Whether its numbers lie in the memory of this machine, where it says.

    >>> is_plain(torch.zeros(2)), is_plain(torch.zeros(2).to_sparse())
    (True, False)
    """
    return type(tensor) in PLAIN and tensor.is_cpu and tensor.layout is torch.strided


def piece_length(w: Tensor) -> int:
    """How many weights to treat at once: what fits the cache on the CPU, else all of them.

    All of them inside `torch.compile` too, which fuses the passes over memory itself.
    """
    if w.device.type != "cpu" or torch.compiler.is_compiling():
        return max(w.numel(), 1)
    return _PIECE * torch.get_num_threads()


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Walk through tensors of one shape together, in flat views that fit the CPU's cache.

    A formula of several passes then reads memory once, and its temporaries are a piece long
    instead of a tensor long: soft-thresholding 25 million weights by 25 million thresholds takes a
    sixth of the time. Tensors that differ in shape, are not contiguous or not on the CPU come
    back whole, once.

    Args:
        *tensors: Tensors of one shape, and 0-d tensors, which accompany every piece.

    Yields:
        Views of the arguments, in their order: writing to one writes to the argument.

    >>> w = torch.arange(4.0)
    >>> for view, other in pieces(w, torch.tensor(10.0)):
    ...     _ = view.add_(other)
    >>> w
    tensor([10., 11., 12., 13.])
    """
    large = [tensor for tensor in tensors if tensor.ndim > 0]
    if not large or large[0].numel() <= piece_length(large[0]):
        yield tensors
        return
    alike = all(each.shape == large[0].shape and each.is_contiguous() for each in large)
    if not alike:
        yield tensors
        return
    flat = [each.view(-1) if each.ndim > 0 else each for each in tensors]
    n = min(piece_length(each) for each in large)
    for start in range(0, large[0].numel(), n):
        yield tuple(each[start : start + n] if each.ndim > 0 else each for each in flat)


def widest(device: torch.device) -> torch.dtype:
    """The float of most bits that a device computes with.

    >>> widest(torch.device("cpu"))
    torch.float64
    """
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


WITHOUT_FLOAT64 = frozenset({"mps"})


def precise(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32 at least, since halves overflow and swallow small steps."""
    return torch.promote_types(dtype, torch.float32)
