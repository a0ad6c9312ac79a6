"""Selection in compiled C, on a CPU: all layers in one call, in four passes over them.

It finds what `l1prune.weights.flat` finds, which says how: the same masks, to the bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l1prune.weights.library import function, is_eager
from l1prune.weights.pieces import is_plain

SOURCE = Path(__file__).with_name("select.c")

MOST = 2**32
"""Units: C counts in 32 bits."""

Masks = Sequence[Tensor | None]


def selected(
    layers: Sequence[Tensor], room: int, last: Masks, first: Masks, floors: Sequence[int]
) -> Tensor | None:
    """A mask of the largest units of all layers, end to end; None: C cannot do it, or is not there.

    Args:
        layers: in float32, or all in float64.
        room: how many units stay, those of the floors included.
        last: masks of units that count as negative; empty, or None for a layer without any.
        first: masks of units that count as infinite.
        floors: how many of the largest of each layer stay in any case; empty: none.
    """
    enter = None if is_eager() else _enter(layers[0].dtype)
    masks = [mask for mask in (*last, *first) if mask is not None]
    if enter is None or room < sum(floors) or not all(map(is_plain, (*layers, *masks))):
        return None
    counts = [layer.numel() for layer in layers]
    if sum(counts) >= MOST:
        return None
    kept = torch.empty(sum(counts), dtype=torch.bool, device="cpu")
    if room >= len(kept):
        return kept.fill_(True)
    none = [None] * len(layers)
    parts = [layer.contiguous() for layer in layers]
    lasts, firsts = ([_flat(one) for one in masks or none] for masks in (last, first))
    at, places = kept.data_ptr(), list[int]()
    for part, one, other, count, floor in zip(
        parts, lasts, firsts, counts, floors or [0] * len(layers), strict=True
    ):
        places += (part.data_ptr(), _address(one), _address(other), at, count, min(floor, count))
        at += count
    done = enter((ctypes.c_int64 * len(places))(*places), len(layers), max(room, 0))
    return kept if done else None


def _flat(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.contiguous()


def _address(mask: Tensor | None) -> int:
    return 0 if mask is None else mask.data_ptr()


def _enter(dtype: torch.dtype) -> Callable[..., Any] | None:
    """What selects among floats of a kind."""
    name = "l1prune_select_double" if dtype == torch.float64 else "l1prune_select_float"
    layers = ctypes.c_void_p, ctypes.c_int64
    return function(SOURCE, name, ctypes.c_int, *layers, ctypes.c_int64)
