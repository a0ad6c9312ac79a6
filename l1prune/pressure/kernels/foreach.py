"""Foreach: passes over many tensors at a time, by torch's operations on lists of them.

On an accelerator a small tensor takes as long as it takes to ask for it, so each operation is asked
for once, for all weights of a device and dtype. Nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from l1prune.pressure.kernels.passes import Correction, Kernel, Pass
from l1prune.weights.bits import INTEGERS
from l1prune.weights.pieces import PLAIN


class Foreach(Kernel):
    """`torch._foreach_*`, for dense weights of 32 and 64 bits; halves it only holds at zero.

    >>> from l1prune.pressure.kernels.passes import Threshold
    >>> w, second = torch.tensor([-3.0, 0.5]), torch.tensor([4.0, 4.0])
    >>> Foreach().run([Pass(w, Threshold(2.0, second))])
    []
    >>> w
    tensor([-2.,  0.])
    """

    name = "foreach"

    @torch.no_grad()
    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        rest = [one for one in passes if not is_able(one)]
        able = [one for one in passes if is_able(one)]
        for some in alike([one for one in able if presses(one)], _kind):
            _press(some)
        for some in alike([one for one in able if one.mask is not None], _bits):
            _hold(some)
        return rest


def presses(one: Pass) -> bool:
    """Whether it does more than to hold a mask."""
    amount = one.threshold.amount
    return isinstance(amount, Tensor) or amount != 0


def is_able(one: Pass) -> bool:
    """Whether a pass is of plain, dense tensors that lie alike, of 32 or 64 bits if it presses."""
    w, second, mask = one.w, one.threshold.second, one.mask
    others = [other for other in (second, mask) if other is not None]
    wide = w.dtype in (torch.float32, torch.float64)
    return (
        (wide or (not presses(one) and w.element_size() in INTEGERS))
        and type(w) in PLAIN
        and w.layout is torch.strided
        and (second is None or second.dtype == w.dtype)
        and all(one.shape == w.shape and one.device == w.device for one in others)
    )


def alike(passes: Sequence[Pass], kind: Callable[[Pass], object]) -> list[list[Pass]]:
    """The passes of each kind."""
    found: dict[object, list[Pass]] = {}
    for one in passes:
        found.setdefault(kind(one), []).append(one)
    return list(found.values())


def _kind(one: Pass) -> object:
    return one.w.device, one.w.dtype, one.threshold.second is None


def _bits(one: Pass) -> object:
    return one.w.device, one.w.element_size()


def _press(passes: Sequence[Pass]) -> None:
    """What the eager kernel does, in its order; of many weights at a time."""
    weights = [one.w for one in passes]
    amounts = [one.threshold.amount for one in passes]
    seconds = [one.threshold.second for one in passes if one.threshold.second is not None]
    if seconds:
        ts = list(torch._foreach_sqrt(seconds))
        _times_(ts, [_inverse(one.threshold.correction) for one in passes])
        torch._foreach_add_(ts, [one.threshold.eps for one in passes])
        torch._foreach_reciprocal_(ts)
    else:
        ts = [torch.ones_like(w) for w in weights]
    _times_(ts, amounts)
    if seconds:
        _limit_(ts, [one.threshold.most for one in passes])
    moves = torch._foreach_minimum(weights, ts)
    torch._foreach_maximum_(moves, torch._foreach_neg(ts))
    torch._foreach_sub_(weights, moves)


def _inverse(correction: float | Correction) -> float | Tensor:
    return 1 / (correction.value() if isinstance(correction, Correction) else correction)


def _times_(tensors: list[Tensor], factors: Sequence[float | Tensor]) -> None:
    """Each by its factor; those that a device alone knows one by one, so as not to wait for it."""
    if any(isinstance(factor, Tensor) for factor in factors):
        for tensor, factor in zip(tensors, factors, strict=True):
            tensor.mul_(factor)
    else:
        torch._foreach_mul_(tensors, factors)  # type: ignore[arg-type]


def _limit_(ts: list[Tensor], most: Sequence[float | Tensor]) -> None:
    """Each to no more than that, as `_times_` goes by what a device alone knows."""
    if any(isinstance(one, Tensor) for one in most):
        for t, one in zip(ts, most, strict=True):
            t.clamp_(max=one)
    elif any(one != math.inf for one in most):
        torch._foreach_clamp_max_(ts, [float(one) for one in most])


def _hold(passes: Sequence[Pass]) -> None:
    """The bits, times 0 or 1 as integers: see `l1prune.weights.bits.mask_`."""
    integers = INTEGERS[passes[0].w.element_size()]
    masks = [one.mask.to(integers) for one in passes if one.mask is not None]
    torch._foreach_mul_([one.w.view(integers) for one in passes], masks)
