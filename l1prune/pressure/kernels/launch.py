"""Launch: the pass over weights as Triton compiles it, which comes with torch for GPUs."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

THERE = importlib.util.find_spec("triton") is not None
"""Whether there is a Triton."""

tl: Any = importlib.import_module("triton.language") if THERE else None
jit: Callable[..., Any] = importlib.import_module("triton").jit if THERE else lambda kernel: kernel


@jit
def press(  # type: ignore[no-untyped-def]  # noqa: PLR0913  # Triton takes other types for code
    places,
    blocks,
    amount,
    factor,
    eps,
    most,
    presses: tl.constexpr,
    rooted: tl.constexpr,
    known: tl.constexpr,
    aligned: tl.constexpr,
    size: tl.constexpr,
) -> None:
    """Soft-threshold and mask one block of one weight: see `l1prune.pressure.kernels.eager`.

    Where addresses are known to be aligned, four weights are read at a time, and so wherever the
    block is whole: at a weight's end each is asked by itself whether it is there.
    """
    block = tl.program_id(0)
    place = places + tl.load(blocks + 2 * block) * 6
    start = tl.load(blocks + 2 * block + 1)
    left = tl.load(place + 5) - start
    each = tl.arange(0, size)
    weights = tl.load(place).to(tl.pointer_type(tl.float32)) + start
    seconds = weights
    scale = factor
    if rooted:
        seconds = tl.load(place + 1).to(tl.pointer_type(tl.float32)) + start
        if not known:
            steps = tl.load(tl.load(place + 3).to(tl.pointer_type(tl.float32)))
            beta = tl.load(place + 4).to(tl.float64, bitcast=True)
            forgotten = 1.0 - tl.exp(steps.to(tl.float64) * tl.log(beta))
            scale = (1.0 / tl.sqrt(forgotten)).to(tl.float32)
    masks = tl.load(place + 2)
    stays = masks.to(tl.pointer_type(tl.int8)) + start
    if aligned:
        weights = tl.multiple_of(weights, 16)
        seconds = tl.multiple_of(seconds, 16)
        stays = tl.multiple_of(stays, 4)
    if left >= size:
        move(
            weights + each,
            seconds + each,
            stays + each,
            None,
            masks != 0,
            scale,
            amount,
            eps,
            most,
            presses,
            rooted,
        )
    else:
        move(
            weights + each,
            seconds + each,
            stays + each,
            each < left,
            masks != 0,
            scale,
            amount,
            eps,
            most,
            presses,
            rooted,
        )


@jit
def move(  # type: ignore[no-untyped-def]  # noqa: PLR0913  # as above
    weights,
    seconds,
    stays,
    inside,
    masked,
    scale,
    amount,
    eps,
    most,
    presses: tl.constexpr,
    rooted: tl.constexpr,
) -> None:
    """What is done to the weights at these addresses, or to those of them that are there."""
    w = tl.load(weights, mask=inside)
    if presses:
        t = amount
        if rooted:
            root = tl.sqrt_rn(tl.load(seconds, mask=inside)) * scale
            t = tl.div_rn(tl.full(root.shape, 1.0, tl.float32), root + eps) * amount
            t = tl.where(t > most, most, t)  # which lets NaN through
        # min and max that let NaN through, and a zero that has no sign
        clipped = tl.where(w < -t, -t, tl.where(w > t, t, w))
        w = w - tl.where(t == t, clipped, t)
    if masked:
        w = tl.where(tl.load(stays, mask=inside) != 0, w, 0.0)
    tl.store(weights, w, mask=inside)
