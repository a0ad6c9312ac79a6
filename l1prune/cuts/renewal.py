"""Renewal: what saliency makes of a layer, in passes of compiled C or by torch.

Squares are renewed, and weights weighed, by the same operations; sums are added up in another
order. Torch's are the reference. All is of the local parts of sharded weights.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l1prune.cuts.fisher import KEPT, Fisher, renewed, share_of_new, steps_since
from l1prune.pressure.optimizers import MOST, Squares, root
from l1prune.weights.library import function, is_eager
from l1prune.weights.pieces import is_plain, pieces, widest
from l1prune.weights.shards import local

SOURCE = Path(__file__).with_name("renew.c")

HALF = 0.5
"""The exponent that is a square root."""


def renewed_root(now: Squares, before: Fisher | None, eps: float) -> tuple[Fisher, Tensor]:
    """The mean f as `renewed` has it, and √f + ε, of the local part, in the place of the total.

    What `before` holds is written to. Once the root is needed no more, `restore_` puts the total
    where it belongs.

    >>> fisher, root = renewed_root(Squares(torch.tensor([9.0]), 1.0, 1.0), None, eps=1.0)
    >>> fisher.mean, root
    (tensor([9.]), tensor([4.]))
    """
    since = steps_since(now, before)
    if before is not None and since and (enter := _function("l1prune_renew")) is not None:
        average, total, mean = local(now.average), local(before.total), local(before.mean)
        if _are_readable(average, total, mean):
            memory, share = now.memory**since, share_of_new(now.memory, since)
            at = average.data_ptr(), total.data_ptr(), mean.data_ptr()
            enter(*at, mean.numel(), now.share, MOST, memory, share, KEPT, eps)
            return Fisher(before.mean, before.total, now.steps), total
    fisher = renewed(now, before)
    long = local(fisher.total)
    for one, some in pieces(long, local(fisher.mean)):
        one.copy_(root(some)).add_(eps)
    return fisher, long


def restore_(pairs: Iterable[tuple[Fisher, Squares]]) -> None:
    """Write totals as they are now, in place.

    >>> fisher = Fisher(torch.tensor([9.0]), torch.tensor([4.0]), steps=1.0)
    >>> restore_([(fisher, Squares(torch.tensor([9.0]), 1.0, 1.0))]); fisher.total
    tensor([9.])
    """
    enter = _function("l1prune_restore")
    for fisher, now in pairs:
        average, total = local(now.average), local(fisher.total)
        if enter is not None and _are_readable(average, total):
            enter(average.data_ptr(), total.data_ptr(), total.numel(), now.share, MOST)
            continue
        for one, some in pieces(total, average):
            one.copy_(some).div_(now.share).clamp_(max=MOST)


class Layer(NamedTuple):
    """What is known of a layer, tensors of its shape.

    Args:
        w: its weights.
        long: for each, √f + ε.
        short: the mean of its last gradients.
    """

    w: Tensor
    long: Tensor
    short: Tensor


def sums(layers: Sequence[Layer], exponent: float) -> list[Tensor]:
    """Four sums of squares of each, in the widest float.

    Of `long`, of `short`, of `long` where w is not 0, and of its power there.

    Args:
        layers: the layers.
        exponent: of the power.

    >>> one = torch.tensor([4.0, 9.0])
    >>> sums([Layer(torch.tensor([1.0, 0.0]), one, one)], exponent=0.5)
    [tensor([97., 97., 16.,  4.], dtype=torch.float64)]
    """
    enter = _function("l1prune_sums", exponent)
    if enter is None or not all(_are_readable(*layer) for layer in layers):
        return [_sums(*layer, exponent) for layer in layers]
    rows = ((NUMBER * 4) * len(layers))()
    for row, (w, long, short) in zip(rows, layers, strict=True):
        places = long.data_ptr(), short.data_ptr(), w.data_ptr()
        enter(*places, w.numel(), exponent == HALF, row)
    here = torch.device("cpu")
    return [*torch.tensor([[*row] for row in rows], dtype=widest(here), device=here)]


def _sums(w: Tensor, long: Tensor, short: Tensor, exponent: float) -> Tensor:
    wide = widest(w.device)
    found = torch.zeros(4, dtype=wide, device=w.device)
    for weights, roots, means in pieces(w, long, short):
        left = weights != 0
        each = roots, means, roots * left, _power(roots, exponent) * left
        flat = [one.to(wide).flatten() for one in each]
        found += torch.stack([torch.dot(one, one) for one in flat])
    return found


def weighed(layers: Sequence[Layer], exponent: float, factors: Sequence[float]) -> list[Tensor]:
    """Weights times a power of `long` times a factor, in the place of `long`, if it fits there.

    >>> one = torch.tensor([9.0])
    >>> weighed([Layer(torch.tensor([-2.0]), one, one)], exponent=0.5, factors=[10.0])
    [tensor([-60.])]
    """
    enter = _function("l1prune_weigh", exponent)
    found = []
    for (w, long, _), factor in zip(layers, factors, strict=True):
        if enter is not None and _are_readable(w, long):
            enter(long.data_ptr(), w.data_ptr(), w.numel(), exponent == HALF, factor)
            found.append(long)
            continue
        worth = long.to(torch.result_type(long, w))
        for roots, weights in pieces(worth, w):
            roots.copy_(_power(roots, exponent)).mul_(weights).mul_(factor)
        found.append(worth)
    return found


def _power(values: Tensor, exponent: float) -> Tensor:
    """A root is rounded to nearest, as C has it."""
    return root(values).to(values.dtype) if exponent == HALF else values.pow(exponent)


def _are_readable(*tensors: Tensor) -> bool:
    """Whether C can read them."""
    for one in tensors:  # a loop: there are thousands at each cut
        if not (is_plain(one) and one.dtype == torch.float32 and one.is_contiguous()):
            return False
    return True


POINTER, COUNT, NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "l1prune_renew": (*[POINTER] * 3, COUNT, *[NUMBER] * 6),
    "l1prune_restore": (*[POINTER] * 2, COUNT, *[NUMBER] * 2),
    "l1prune_sums": (*[POINTER] * 3, COUNT, ctypes.c_int, POINTER),
    "l1prune_weigh": (*[POINTER] * 2, COUNT, ctypes.c_int, NUMBER),
}


def _function(name: str, exponent: float = 1.0) -> Callable[..., Any] | None:
    """A function of C, which knows roots, and no other power."""
    if is_eager() or exponent not in (HALF, 1.0):
        return None
    return function(SOURCE, name, None, *ARGUMENTS[name])
