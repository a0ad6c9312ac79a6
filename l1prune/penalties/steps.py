"""The step t of a proximal map: checked, made a tensor, and applied to millions of weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from l1prune.weights.pieces import pieces, precise


def checked_step(t: float | Tensor) -> float | Tensor:
    """The step ``t`` of a proximal map, as a float wherever that costs nothing.

    Tensors are not looked at, since on a GPU that would wait for it.

    Raises:
        ValueError: A number that is negative or NaN.
    """
    if isinstance(t, Tensor):
        if t.ndim > 0 or t.device.type != "cpu" or torch.compiler.is_compiling():
            return t
        t = t.item()
    if not t >= 0:
        raise ValueError(f"prox_(w, t={t}): t is learning rate × strength and must be ≥ 0.")
    return float(t)


def as_tensor(t: float, w: Tensor) -> Tensor:
    """A step as a 0-d tensor to compute with beside ``w``, without waiting for its device.

    One beyond the dtype's range, which is as good as infinite, becomes the largest finite number.
    """
    dtype = precise(w.dtype)
    return torch.full((), min(t, torch.finfo(dtype).max), dtype=dtype, device=w.device)


def shrink_(w: Tensor, t: float | Tensor, shrunk: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Set ``w`` to sign(w) · shrunk(|w|, t), in place: any separable, symmetric proximal map.

    Args:
        w: Weights of any shape.
        t: The step, one or broadcastable to ``w``; an infinite one counts as the largest finite.
        shrunk: From sizes |w| ≥ 0, which it may overwrite, and steps, to new sizes ≥ 0; all of
            `precise` dtype.
    """
    t = checked_step(t)
    if isinstance(t, float):
        if t == 0:
            return w
        t = as_tensor(t, w)
    dtype = precise(w.dtype)
    for piece, step in pieces(w, t):
        new = shrunk(piece.abs().to(dtype), step.to(dtype).clamp(max=torch.finfo(dtype).max))
        piece.copy_(torch.copysign(new, piece)).add_(0.0)  # -0.0 + 0.0 = 0.0
    return w
