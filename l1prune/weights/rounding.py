"""Stochastic rounding: small steps on weights of few bits, right in the mean."""

from __future__ import annotations

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


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
    chance = torch.rand(exact.shape, generator=generator, device=exact.device)
    return torch.where(chance * gap < error.abs(), other, near)
