"""Kernels: the ways to run a layer sparse, of which the fastest is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from l1prune.deploy.sparse_layers import (
    BagLinear,
    CsrLinear,
    SemiStructuredLinear,
    ShiftedBagConv,
)

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FLOATS = (torch.float32, torch.float64)
_HALVES = (torch.float16, torch.bfloat16)


class Kernel(Protocol):
    """A way to run layers.

    What it builds has to compute the same as the layer, but for rounding, for inputs of all sizes,
    and to give contiguous outputs, as the layer does.
    """

    def refusal(self, layer: nn.Module) -> str | None:
        """Why it does not run this layer, to be read after "dense: "; None if it does."""

    def build(self, layer: nn.Module) -> nn.Module:
        """A module that takes the layer's place. The layer stays as it is."""


def matrix_of(layer: nn.Module) -> Tensor | None:
    """The weights of a linear layer as ``(out, in)``; None for other layers.

    One that derives from `nn.Linear` is a linear layer if it computes as that does. The ``Conv1D``
    of transformers is one too, and stores them as ``(in, out)``.

    >>> matrix_of(nn.Linear(3, 2)).shape
    torch.Size([2, 3])
    """
    kind = type(layer)
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    if kind.forward is nn.Linear.forward:
        return weight.detach()
    if kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers."):
        return weight.detach().T
    return None


def is_two_of_four(matrix: Tensor) -> bool:
    """Whether at most two of every four consecutive weights of each row are not zero.

    >>> is_two_of_four(torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0]]))
    True
    >>> is_two_of_four(torch.tensor([[1.0, 1.0, 2.0, 0.0]]))
    False
    """
    if matrix.ndim != 2 or matrix.shape[1] % 4:
        return False
    return bool(((matrix != 0).reshape(-1, 4).sum(1) <= 2).all())


@dataclass(frozen=True)
class Csr:
    """Linear layers by torch's CSR kernels, which lead at few rows."""

    def refusal(self, layer: nn.Module) -> str | None:
        matrix = matrix_of(layer)
        if matrix is None:
            return "no linear layer"
        return None if matrix.dtype in _FLOATS else f"{matrix.dtype} has no CSR kernel"

    def build(self, layer: nn.Module) -> nn.Module:
        return CsrLinear(*_parts(layer))


@dataclass(frozen=True)
class Bag:
    """Linear layers by `F.embedding_bag`, which leads from some 64 rows on."""

    def refusal(self, layer: nn.Module) -> str | None:
        matrix = matrix_of(layer)
        if matrix is None:
            return "no linear layer"
        floats = (*_FLOATS, *_HALVES)
        return None if matrix.dtype in floats else f"{matrix.dtype} has no embedding bags"

    def build(self, layer: nn.Module) -> nn.Module:
        return BagLinear(*_parts(layer))


@dataclass(frozen=True)
class ShiftedBag:
    """Convolutions by shifted views of the input and `F.embedding_bag`."""

    def refusal(self, layer: nn.Module) -> str | None:
        if type(layer) not in CONVS:
            return "no convolution"
        assert isinstance(layer, CONVS)
        if layer.groups != 1:
            return f"a convolution in {layer.groups} groups"
        if layer.padding_mode != "zeros":
            return f"padded by {layer.padding_mode!r}, not with zeros"
        floats = (*_FLOATS, *_HALVES)
        return None if layer.weight.dtype in floats else f"{layer.weight.dtype} has no bags"

    def build(self, layer: nn.Module) -> nn.Module:
        assert isinstance(layer, CONVS)
        return ShiftedBagConv(layer)


@dataclass(frozen=True)
class SemiStructured24:
    """Linear layers whose weights `SemiStructured(2, 4)` has cut, on GPUs with units for it."""

    def refusal(self, layer: nn.Module) -> str | None:
        matrix = matrix_of(layer)
        if matrix is None:
            return "no linear layer"
        if not matrix.is_cuda or torch.cuda.get_device_capability(matrix.device) < (8, 0):
            return f"{matrix.device} has no 2:4 units"
        if matrix.dtype not in _HALVES:
            return f"2:4 units compute in 16-bit floats, and it is {matrix.dtype}"
        if not is_two_of_four(matrix):
            return "more than two of some four weights are not zero"
        return None

    def build(self, layer: nn.Module) -> nn.Module:
        return SemiStructuredLinear(*_parts(layer))


KERNELS: tuple[Kernel, ...] = (Csr(), Bag(), ShiftedBag(), SemiStructured24())


def _parts(layer: nn.Module) -> tuple[Tensor, Any]:
    matrix = matrix_of(layer)
    assert matrix is not None
    return matrix, layer.bias
