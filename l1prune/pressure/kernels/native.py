"""Native: passes in compiled C, on a CPU; all those of a step in one call.

What C is given is looked at each time: where a tensor lies, and of what kind and size it is. Only
if one of that has changed since the last step, as after a resumed checkpoint, `.to()` or a wrapper,
is the list that C reads written anew.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l1prune.pressure.kernels.passes import Correction, Kernel, Pass, Threshold
from l1prune.weights.library import function
from l1prune.weights.pieces import PLAIN

SOURCE = Path(__file__).with_name("passes.c")

KINDS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""As C numbers them."""

WORTH_A_THREAD = 2**19
"""Weights: fewer are done before another thread has begun."""

Look = tuple[Any, ...]
"""What a pass is like, but for its numbers."""


class Native(Kernel):
    """Compiled C, where there is a compiler: see `l1prune.weights.library`.

    It does what is contiguous and plain; 16-bit floats other than bfloat16 it only holds at zero.
    """

    name = "C"

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._looks: list[Look | None] = []
        self._able: list[bool] = []
        self._places: Any = None
        self._numbers: Any = None
        self._enter: Any = None
        self._draws = False
        self._threads = 1

    def __getstate__(self) -> dict[str, Any]:
        return {}  # a copy is of other tensors

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._forget()

    @staticmethod
    def is_there() -> bool:
        """Whether it was compiled, and computes what it should."""
        return _works()

    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        if not passes:
            return ()
        looks = _looks(passes)
        if looks != self._looks:
            self._bind(passes, looks)
        if False not in self._able:
            self._call(passes)
            return ()
        if True in self._able:
            self._call([one for one, able in zip(passes, self._able, strict=True) if able])
        return [one for one, able in zip(passes, self._able, strict=True) if not able]

    def _bind(self, passes: Sequence[Pass], looks: list[Look | None]) -> None:
        """See which of them can be done, and write down where they lie."""
        self._forget()
        self._looks = looks
        able = [look is not None and _can(one) for one, look in zip(passes, looks, strict=True)]
        mine = [one for one, can in zip(passes, able, strict=True) if can]
        if _overlap([one.w for one in mine]):
            self._able = [False] * len(passes)
            return
        self._able = able
        flat = [number for one in mine for number in _place(one)]
        self._places = (ctypes.c_int64 * len(flat))(*flat)
        self._numbers = (ctypes.c_double * (4 * len(mine)))()
        self._draws = any(one.w.dtype == torch.bfloat16 for one in mine)
        self._threads = 1 + sum(one.w.numel() for one in mine) // WORTH_A_THREAD
        self._enter = _passes()

    def _call(self, passes: Sequence[Pass]) -> None:
        numbers = [
            number
            for _, (amount, _, correction, eps, most), _, _ in passes
            for number in (amount, 1 / correction, eps, most)  # type: ignore[operator]
        ]
        self._numbers[:] = numbers
        chances = _draw(passes, self._places) if self._draws else []
        threads = min(torch.get_num_threads(), self._threads) if self._threads > 1 else 1
        self._enter(self._places, self._numbers, len(passes), threads)
        del chances
        torch.autograd.graph.increment_version([one[0] for one in passes])


def _looks(passes: Sequence[Pass]) -> list[Look | None]:
    """All that may change of tensors between two steps, and that C has to know of; None: no C."""
    looks: list[Look | None] = []
    for w, (amount, second, correction, _, most), mask, _ in passes:
        look: Look | None = None
        if not (
            isinstance(amount, Tensor)
            or isinstance(most, Tensor)
            or isinstance(correction, Correction)
        ):
            try:
                look = type(w), w.dtype, w.data_ptr(), w.numel(), w.is_contiguous(), amount != 0
                if second is not None and amount != 0:
                    at, size = second.data_ptr(), second.numel()
                    look += type(second), second.dtype, at, size, second.is_contiguous()
                if mask is not None:
                    look += type(mask), mask.data_ptr(), mask.numel(), mask.is_contiguous()
            except RuntimeError:  # it has no address
                look = None
        looks.append(look)
    return looks


def _can(one: Pass) -> bool:
    """Whether C can do a pass that is looked at for the first time."""
    w, (amount, second, *_), mask, _ = one
    if w.dtype not in KINDS or not _lies_flat(w):
        return False
    if amount != 0:
        if w.dtype == torch.float16:
            return False
        if second is not None and not (_lies_flat(second) and _alike(w, second, w.dtype)):
            return False
    return mask is None or (_lies_flat(mask) and _alike(w, mask, torch.bool))


def _lies_flat(tensor: Tensor) -> bool:
    """Whether its numbers lie one after the other in memory that is there."""
    size = tensor.element_size()
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
        and tensor.data_ptr() % size == 0
        and (tensor.numel() == 0 or tensor.data_ptr() != 0)
        and tensor.untyped_storage().nbytes() >= (tensor.storage_offset() + tensor.numel()) * size
    )


def _alike(w: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    return other.numel() == w.numel() and other.dtype == dtype


def _overlap(weights: Sequence[Tensor]) -> bool:
    """Whether two of them share memory: threads would write to it at once."""
    spans = sorted((w.data_ptr(), w.data_ptr() + w.numel() * w.element_size()) for w in weights)
    spans = [span for span in spans if span[0] < span[1]]
    return any(after[0] < before[1] for before, after in pairwise(spans))


def _place(one: Pass) -> tuple[int, ...]:
    """As C reads it; where its chances lie comes later."""
    w, (amount, second, *_), mask, _ = one
    squares = second.data_ptr() if amount != 0 and second is not None else 0
    stays = 0 if mask is None else mask.data_ptr()
    return w.data_ptr(), squares, stays, 0, w.numel(), KINDS[w.dtype]


FLOATS: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
"""What C reads, whatever torch's defaults are."""

PLACE = 6
"""Numbers of a place, of which the fourth is the address of chances."""


def _draw(passes: Sequence[Pass], places: Any) -> list[Tensor]:
    """The chances by which bfloat16 is rounded; they are to live until C has been called."""
    chances = []
    for at, one in enumerate(passes):
        if one.w.dtype == torch.bfloat16 and one.threshold.amount != 0:
            generator = torch.Generator().manual_seed(one.seed)
            drawn = torch.rand(one.w.shape, generator=generator, **FLOATS)
            chances.append(drawn)
            places[at * PLACE + 3] = drawn.data_ptr()
    return chances


def _passes() -> Any:
    """The function of C that does them; None where there is none."""
    tables = ctypes.c_void_p, ctypes.c_void_p
    return function(SOURCE, "l1prune_passes", None, *tables, ctypes.c_int64, ctypes.c_int64)


@functools.cache
def _works() -> bool:
    """Whether there is a library that computes a small example right."""
    if _passes() is None:
        return False
    w = torch.tensor([-3.0, 0.5, 2.0, -2.0], **FLOATS)
    second = torch.tensor([1.0, 4.0, 0.25, 4.0], **FLOATS)
    stays = torch.tensor([True, True, True, False], device="cpu")
    rest = Native().run([Pass(w, Threshold(1.0, second, correction=0.5), stays)])
    return not rest and w.tolist() == [-2.5, 0.25, 1.0, 0.0]
