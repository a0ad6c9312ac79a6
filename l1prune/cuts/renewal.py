"""Renewal: squared gradients of late and their root, in a pass of compiled C or by torch.

Squares are renewed by the same operations, sums are added up in another order; torch's are the
reference.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l1prune.cuts.fisher import KEPT, Fisher, renewed, share_of_new, steps_since
from l1prune.pressure.optimizers import Squares, root
from l1prune.weights.library import function, is_eager
from l1prune.weights.pieces import is_plain, pieces, widest
from l1prune.weights.shards import local

SOURCE = Path(__file__).with_name("renew.c")


def renewed_root(now: Squares, before: Fisher | None, eps: float) -> tuple[Fisher, Tensor]:
    """The mean f as `renewed` has it, and √f + ε; of a sharded weight the root of the local part.

    >>> fisher, root = renewed_root(Squares(torch.tensor([9.0]), 1.0, 1.0), None, eps=1.0)
    >>> fisher.mean, root
    (tensor([9.]), tensor([4.]))
    """
    since = steps_since(now, before)
    if before is not None and since and (enter := _renewal()) is not None:
        given = (now.total, before.total, before.mean)
        if all(map(_is_readable, given)):
            mean, long = torch.empty_like(now.total), torch.empty_like(now.total)
            at = [one.data_ptr() for one in (*given, mean, long)]
            memory, share = now.memory**since, share_of_new(now.memory, since)
            enter(*at, mean.numel(), memory, share, KEPT, eps)
            return Fisher(mean, now.total, now.steps), long
    fisher = renewed(now, before)
    mean = local(fisher.mean)
    long = torch.empty_like(mean)
    for one, some in pieces(long, mean):
        one.copy_(root(some)).add_(eps)
    return fisher, long


def squared(layers: Sequence[Tensor]) -> list[Tensor]:
    """Σx² of each, summed up in the widest float.

    >>> squared([torch.tensor([3.0, 4.0]), torch.tensor([2.0])])
    [tensor(25., dtype=torch.float64), tensor(4., dtype=torch.float64)]
    """
    enter = _sum()
    if enter is None or not all(map(_is_readable, layers)):
        return [_squared(one) for one in layers]
    sums = [enter(one.data_ptr(), one.numel()) for one in layers]
    return [*torch.tensor(sums, dtype=widest(torch.device("cpu")), device="cpu")]


def _squared(values: Tensor) -> Tensor:
    total = torch.zeros((), dtype=widest(values.device), device=values.device)
    for (piece,) in pieces(values):
        wide = piece.to(total.dtype).flatten()
        total += torch.dot(wide, wide)
    return total


def _is_readable(tensor: Tensor) -> bool:
    """Whether C can read it."""
    return is_plain(tensor) and tensor.dtype == torch.float32 and tensor.is_contiguous()


def _renewal() -> Callable[..., Any] | None:
    if is_eager():
        return None
    at, numbers = [ctypes.c_void_p] * 5, [ctypes.c_double] * 4
    return function(SOURCE, "l1prune_renew", None, *at, ctypes.c_int64, *numbers)


def _sum() -> Callable[..., Any] | None:
    if is_eager():
        return None
    layer = ctypes.c_void_p, ctypes.c_int64
    return function(SOURCE, "l1prune_squared", ctypes.c_double, *layer)
