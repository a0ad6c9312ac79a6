"""Encodings: as which numbers the values of a tensor are stored, and what that changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from l1prune.weights.bits import INTEGERS
from l1prune.weights.pieces import pieces

_STEPS = 127  # of an int8 on either side of zero; −128 is left out, so that ± are alike


@dataclass(frozen=True)
class Code:
    """The numbers that stand for a tensor.

    Attributes:
        values: of the tensor's shape, in the dtype to be stored; what is zero here is zero again
            and takes no place in the file.
        scale: None, or float32, one for each index of the first dimension: what to multiply by.
    """

    values: Tensor
    scale: Tensor | None = None

    def decoded(self, dtype: torch.dtype) -> Tensor:
        """The tensor that comes back, in the dtype that it had."""
        return rescaled_(self.values.to(dtype, copy=True), self.scale)


class Encoding(Protocol):
    """How the values of a tensor are stored; `save_sparse` takes any object that has this."""

    def code(self, w: Tensor) -> Code:
        """The code of a tensor on the CPU, of any dtype; exact where nothing else fits."""
        ...


@dataclass(frozen=True)
class Exact:
    """Every bit comes back, those of NaN and of −0.0 too.

    >>> Exact().code(torch.tensor([-0.0])).values
    tensor([-0.])
    """

    def code(self, w: Tensor) -> Code:
        return Code(w)


@dataclass(frozen=True)
class PlainZeros:
    """Every value comes back, but −0.0 as 0.0.

    A weight masked by a product, as torch's own pruning does it, is −0.0 where it was negative;
    kept apart from 0.0, these take a bit for each weight that is gone.

    >>> PlainZeros().code(torch.tensor([-0.0, 1.0])).values
    tensor([0., 1.])
    """

    def code(self, w: Tensor) -> Code:
        return Code(_plain(w))


@dataclass(frozen=True)
class Half:
    """Float32 and float64 are stored as float16, rounded to nearest.

    A tensor with a finite value beyond ±65504 stays exact; so do all other dtypes.

    >>> Half().code(torch.tensor([0.1, 2.0])).values
    tensor([0.1000, 2.0000], dtype=torch.float16)
    """

    def code(self, w: Tensor) -> Code:
        if w.dtype not in (torch.float32, torch.float64):
            return Code(_plain(w))
        rounded = w.half()
        fits = torch.equal(rounded.isinf(), w.isinf())
        return Code(_plain(rounded if fits else w))


@dataclass(frozen=True)
class RowInt8:
    """Matrices and filters are stored as int8, each row as multiples of its largest value / 127.

    A row is what one index of the first dimension selects: the weights of one output. Tensors of
    less than two dimensions, as biases and norms are, and those with NaN or infinity are left to
    another encoding.

    Args:
        others: the encoding of all that has no rows, `Half()` or `Exact()`.

    >>> RowInt8().code(torch.tensor([[0.5, 127.0], [0.0, 1.0]]))
    Code(values=tensor([[  0, 127],
            [  0, 127]], dtype=torch.int8), scale=tensor([1.0000, 0.0079]))
    """

    others: Encoding = Half()

    def code(self, w: Tensor) -> Code:
        if w.ndim < 2 or w.numel() == 0 or not w.dtype.is_floating_point or w.itemsize < 2:
            return self.others.code(w)
        rows = w.flatten(1)
        scale = (rows.abs().amax(1).double() / _STEPS).float()
        # Zero for a row that is not zero: its values are too small for float32.
        if not scale.isfinite().all() or not torch.equal(scale > 0, (rows != 0).any(1)):
            return self.others.code(w)
        steps = rows / torch.where(scale > 0, scale, 1.0).unsqueeze(1)
        return Code(steps.round_().clamp_(-_STEPS, _STEPS).to(torch.int8).view(w.shape), scale)


@dataclass(frozen=True)
class Change:
    """How far values are from what they were.

    Attributes:
        absolute: the largest difference.
        relative: the largest difference as a share of the value that it changed; 1 where a value
            became zero.
    """

    absolute: float = 0.0
    relative: float = 0.0


def change(before: Tensor, after: Tensor) -> Change:
    """What an encoding changed; NaN and infinity, which none changes, are left out.

    >>> change(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
    Change(absolute=0.5, relative=0.5)
    """
    absolute = relative = 0.0
    if before.dtype.is_floating_point and before.numel() > 0:
        for was, now in pieces(before.contiguous(), after):
            size = was.double().abs()
            apart = (now.double() - was.double()).abs().nan_to_num_(0.0, math.inf)
            share = torch.where(apart > 0, apart / size, 0.0)
            absolute = max(absolute, float(apart.max()))
            relative = max(relative, float(share.max()))
    return Change(absolute, relative)


def rescaled_(w: Tensor, scale: Tensor | None) -> Tensor:
    """Each row of `w` multiplied by its scale, in place."""
    if scale is not None:
        w.flatten(1).mul_(scale.unsqueeze(1))
    return w


def bits(w: Tensor) -> Tensor:
    """The values as integers of as many bits, in the same memory."""
    return w.view({1: torch.uint8, **INTEGERS}[w.itemsize])


def _plain(w: Tensor) -> Tensor:
    """The same values, without −0.0."""
    return w + 0.0 if w.dtype.is_floating_point and w.itemsize > 1 else w
