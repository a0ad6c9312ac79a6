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
    size: tl.constexpr,
) -> None:
    """Soft-threshold and mask one block of one weight: see `l1prune.pressure.kernels.eager`."""
    block = tl.program_id(0)
    place = places + tl.load(blocks + 2 * block) * 6
    at = tl.load(blocks + 2 * block + 1) + tl.arange(0, size)
    inside = at < tl.load(place + 5)
    weights = tl.load(place).to(tl.pointer_type(tl.float32)) + at
    w = tl.load(weights, mask=inside, other=0.0)
    if presses:
        t = tl.zeros([size], tl.float32) + amount
        if rooted:
            seconds = tl.load(place + 1).to(tl.pointer_type(tl.float32)) + at
            root = tl.sqrt_rn(tl.load(seconds, mask=inside, other=0.0))
            if known:
                root = root * factor
            else:
                steps = tl.load(tl.load(place + 3).to(tl.pointer_type(tl.float32)))
                beta = tl.load(place + 4).to(tl.float64, bitcast=True)
                left = 1.0 - tl.exp(steps.to(tl.float64) * tl.log(beta))
                root = root * (1.0 / tl.sqrt(left)).to(tl.float32)
            t = tl.div_rn(tl.zeros([size], tl.float32) + 1.0, root + eps) * amount
            t = tl.where(t > most, most, t)  # which lets NaN through
        # min and max that let NaN through, and a zero that has no sign
        clipped = tl.where(w < -t, -t, tl.where(w > t, t, w))
        w = w - tl.where(t == t, clipped, t)
    masks = tl.load(place + 2)
    if masks != 0:
        stays = tl.load(masks.to(tl.pointer_type(tl.int8)) + at, mask=inside, other=0)
        w = tl.where(stays != 0, w, 0.0)
    tl.store(weights, w, mask=inside)
