"""Fused: all weights of a step in one launch on a GPU, by Triton, which comes with torch there.

A launch walks through a table of where weights, squares and masks lie. It stays on the device, and
is written anew only if one of them has moved. Nothing waits for the device.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l1prune.pressure.kernels.foreach import alike, is_able, presses
from l1prune.pressure.kernels.launch import THERE, press
from l1prune.pressure.kernels.passes import Correction, Kernel, Pass

BLOCK = 4096
"""Weights of a program."""

WIDE = 16
"""Bytes that are read at once where all weights and squares lie at a multiple of it."""


class Fused(Kernel):
    """One launch for all passes of weights in float32 that share λ, rate, β and ε."""

    name = "Triton"

    def __init__(self) -> None:
        self._tables: dict[object, Table] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_tables": {}}  # a copy is of other tensors

    @staticmethod
    def is_there() -> bool:
        """Whether there is a Triton to compile it."""
        return THERE

    def run(self, passes: Sequence[Pass]) -> Sequence[Pass]:
        able = [one for one in passes if _is_able(one)]
        kinds = alike(able, _kind)
        for some in kinds:
            self._launch(some)
        if able:
            torch.autograd.graph.increment_version([one.w for one in able])
        self._tables = {kind: self._tables[kind] for kind in [_kind(some[0]) for some in kinds]}
        return [one for one in passes if not _is_able(one)]

    def _launch(self, passes: Sequence[Pass]) -> None:
        table = self._table(passes)
        amount, second, correction, eps, most = passes[0].threshold
        with torch.cuda.device(passes[0].w.device):
            press[(len(table.blocks),)](
                table.places,
                table.blocks,
                amount,
                1.0 if isinstance(correction, Correction) else 1 / correction,
                float(eps),
                most,
                presses=presses(passes[0]),
                rooted=second is not None,
                known=not isinstance(correction, Correction),
                aligned=table.aligned,
                size=BLOCK,
                enable_fp_fusion=False,  # each operation is rounded by itself, as elsewhere
            )

    def _table(self, passes: Sequence[Pass]) -> Table:
        """Where all lies, as it was written down if nothing has moved."""
        kind, places = _kind(passes[0]), [_place(one) for one in passes]
        if kind not in self._tables or self._tables[kind].known != places:
            self._tables[kind] = Table.of(places, passes)
        return self._tables[kind]


class Table(NamedTuple):
    """What a launch walks through.

    Args:
        known: where all lies, as a list.
        places: the same on the device.
        blocks: of which pass each block is, and where in it it begins.
        aligned: whether several weights can be read at once.
    """

    known: list[tuple[int, ...]]
    places: Tensor
    blocks: Tensor
    aligned: bool

    @classmethod
    def of(cls, places: list[tuple[int, ...]], passes: Sequence[Pass]) -> Table:
        """Write it down."""
        blocks = [
            (number, at)
            for number, one in enumerate(passes)
            for at in range(0, one.w.numel(), BLOCK)
        ]
        device = passes[0].w.device
        there, starts = (
            torch.tensor(rows, dtype=torch.int64).to(device, non_blocking=True)
            for rows in (places, blocks)
        )
        aligned = all(address % WIDE == 0 for place in places for address in place[:3])
        return cls(places, there, starts, aligned)


def _is_able(one: Pass) -> bool:
    tensors = [one.w, *(other for other in (one.threshold.second, one.mask) if other is not None)]
    return (
        one.w.is_cuda
        and one.w.dtype == torch.float32
        and one.w.numel() > 0
        and is_able(one)
        and not isinstance(one.threshold.amount, Tensor)
        and _counts_in_float32(one.threshold.correction)
        and all(tensor.is_contiguous() for tensor in tensors)
    )


def _counts_in_float32(correction: float | Correction) -> bool:
    return not isinstance(correction, Correction) or correction.steps.dtype == torch.float32


def _kind(one: Pass) -> object:
    """What is the same for all weights of a launch."""
    amount, second, correction, eps, most = one.threshold
    if not presses(one):
        return one.w.device
    known = None if isinstance(correction, Correction) else correction
    return one.w.device, amount, second is None, known, eps, most


def _place(one: Pass) -> tuple[int, ...]:
    second, correction, mask = one.threshold.second, one.threshold.correction, one.mask
    counts = correction if isinstance(correction, Correction) else None
    (beta,) = struct.unpack("q", struct.pack("d", 0.0 if counts is None else counts.memory))
    return (
        one.w.data_ptr(),
        0 if second is None else second.data_ptr(),
        0 if mask is None else mask.data_ptr(),
        0 if counts is None else counts.steps.data_ptr(),
        beta,
        one.w.numel(),
    )
