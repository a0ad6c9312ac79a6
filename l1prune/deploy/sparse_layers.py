"""Layers that compute with the weights that are not zero.

What they store is plain tensors, as buffers: a sparse tensor is made of them where it is used, in
some microseconds, since torch neither copies, converts nor saves a module that holds one. The
buffers are for inference: gradients reach the inputs and the bias, and no weight.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d

_CSR_TYPES = (torch.float32, torch.float64)  # of the CSR kernels on CPUs
_CUDA_HALVES = (torch.float16, torch.bfloat16)
_TABLE = 1 << 19  # numbers in the table of a convolution: what stays in the cache of a core

with warnings.catch_warnings():  # "CSR tensor support is in beta", said once a process
    warnings.simplefilter("ignore")
    torch.zeros(1, 1).to_sparse_csr()


def compressed(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where each row starts, and the columns and values of its weights that are not zero.

    >>> [part.tolist() for part in compressed(torch.tensor([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))]
    [[0, 1, 1, 3], [1, 0, 1], [2.0, 3.0, 4.0]]
    """
    kept = matrix.detach() != 0
    starts = F.pad(kept.sum(1).cumsum(0), (1, 0))
    small = max(kept.shape[1], int(starts[-1])) < 2**31
    index = torch.int32 if small else torch.int64
    return starts.to(index), kept.nonzero()[:, 1].to(index), matrix.detach()[kept]


class SparseWeight(nn.Module):
    """A matrix of few weights, and a bias: what the layers here have in common.

    Args:
        matrix: ``(out, in)``.
        bias: ``(out,)`` or None.
    """

    values: Tensor

    def __init__(self, matrix: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.size = tuple(matrix.shape)
        self.register_parameter("bias", bias)
        starts, columns, values = compressed(matrix)
        self.register_buffer("starts", starts)
        self.register_buffer("columns", columns)
        self.register_buffer("values", values)

    def bags(self, table: Tensor) -> Tensor:
        """The product with a table ``(in, n)``: a sum of rows, times weights, for each output."""
        starts, columns, values = self.parts()
        if not table.shape[1]:  # no input at all: some kernels then find no rows either
            return table.new_zeros(self.size[0], 0)
        return F.embedding_bag(
            columns, table, starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Starts, columns and values."""
        found: Any = self._buffers  # as attributes they take microseconds, which count at one row
        return found["starts"], found["columns"], found["values"]

    def extra_repr(self) -> str:
        return f"{' × '.join(map(str, self.size))}, {len(self.values)} weights"


class BagLinear(SparseWeight):
    """A linear layer by `F.embedding_bag`, whose tables are the inputs, one column for each row.

    >>> layer = BagLinear(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), None)
    >>> layer(torch.tensor([[1.0, 3.0]]))
    tensor([[6., 0.]])
    """

    def forward(self, input: Tensor) -> Tensor:
        x = input.reshape(-1, self.size[1]).to(self.values.dtype)
        return _as_autocast(self.rows(self.bags(x.T.contiguous()), input.shape))

    def rows(self, y: Tensor, shape: torch.Size) -> Tensor:
        """The outputs ``(out, rows)`` as a dense layer gives them for inputs of a shape."""
        y = y.T.contiguous()  # first: then the bias is a row to be added, which is faster
        bias = self._parameters["bias"]
        return (y if bias is None else y.add_(bias)).view(*shape[:-1], self.size[0])


class CsrLinear(BagLinear):
    """A linear layer by the CSR kernels: a product with a vector for one row, a matrix for more.

    Where there are none, in an exported graph, for 16-bit floats or under autocast to them, it is
    a bag.
    """

    def forward(self, input: Tensor) -> Tensor:
        starts, columns, values = self.parts()
        if values.dtype not in _CSR_TYPES or _is_without_csr(values.device.type):
            return super().forward(input)
        x = input if input.dtype is values.dtype else input.to(values.dtype)
        weight = torch.sparse_csr_tensor(starts, columns, values, self.size, check_invariants=False)
        width = self.size[1]
        if x.numel() != width:
            return self.rows(torch.sparse.mm(weight, x.reshape(-1, width).T), input.shape)
        x, bias = x.reshape(width), self._parameters["bias"]
        y = weight.mv(x) if bias is None else torch.addmv(bias, weight, x)
        return y.view(*input.shape[:-1], self.size[0])


def _is_without_csr(device: str) -> bool:
    return torch.compiler.is_compiling() or _is_under_autocast(device)


def _is_under_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _as_autocast(y: Tensor) -> Tensor:
    """What was computed in the weights' floats in those of autocast, which knows no bags."""
    device = y.device.type
    if y.dtype is torch.float64 or not _is_under_autocast(device):
        return y
    return y.to(torch.get_autocast_dtype(device))


class ShiftedBagConv(SparseWeight):
    """A convolution by `F.embedding_bag`, whose table are the input's channels, shifted.

    Each place in the kernel that has weights shifts the input once; places without weights, and
    where they are few, channels without, are left out. Images take turns, as many at a time as
    keep the table in the cache.

    Args:
        conv: with one group, padded with zeros.
    """

    def __init__(self, conv: Conv) -> None:
        places = conv.weight.detach().flatten(2)  # (out, in, place)
        wanted = (places != 0).any(0)  # (in, place)
        # Half of the channels copied by index take as long as all of them copied at once.
        few = wanted.sum(0) * 2 < len(wanted)
        chosen = wanted | (wanted.any(0) & ~few)
        bias: Any = conv.bias
        super().__init__(places.movedim(1, 2)[:, chosen.T], bias)
        self.stride, self.dilation, self.kernel = conv.stride, conv.dilation, conv.kernel_size
        self.padding = list(conv._reversed_padding_repeated_twice)
        self.shifts: list[tuple[int, ...]] = []
        for place, shift in enumerate(product(*map(range, self.kernel))):
            if wanted[:, place].any():
                self.shifts.append(shift)
                if few[place]:
                    channels = chosen[:, place].nonzero()[:, 0]
                    self.register_buffer(f"channels{len(self.shifts) - 1}", channels)

    def forward(self, input: Tensor) -> Tensor:
        alone = input.ndim == len(self.kernel) + 1
        x = (input[None] if alone else input).to(self.values.dtype)
        self._check(x)
        x = F.pad(x, self.padding) if any(self.padding) else x
        y = _as_autocast(self._in_turns(x))
        return y[0] if alone else y

    def _check(self, x: Tensor) -> None:
        """Refuse what is smaller than the kernel, as dense convolutions do, and empty images."""
        sizes = list(x.shape[2:])
        ends = zip(self.padding[-2::-2], self.padding[::-2], strict=True)  # it begins with the last
        needed = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        padded = [size + sum(more) for size, more in zip(sizes, ends, strict=True)]
        small = any(size < least for size, least in zip(padded, needed, strict=True))
        if small or (0 in sizes and x.shape[0]):
            raise RuntimeError(
                f"the input has sizes {sizes}, padded {padded}; the kernel needs {needed}, and no "
                "image may be empty"
            )

    def _in_turns(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # a graph has no loop over the batch
            return self._convolved(x)
        many = max(1, _TABLE // max(1, self.size[1] * self._lengths(x)[1]))
        parts = [self._convolved(part) for part in torch.split(x, many)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _convolved(self, x: Tensor) -> Tensor:
        lengths, _ = self._lengths(x)
        if not self.shifts:
            y = x.new_zeros(x.shape[0], self.size[0], *lengths)
        else:
            table = [self._shifted(x, lengths, number) for number in range(len(self.shifts))]
            y = self.bags((table[0] if len(table) == 1 else torch.cat(table)).flatten(1))
            y = y.view(self.size[0], x.shape[0], *lengths).transpose(0, 1).contiguous()
        bias = self._parameters["bias"]
        return y if bias is None else y.add_(bias.view(-1, *[1] * len(lengths)))

    def _shifted(self, x: Tensor, lengths: Sequence[int], number: int) -> Tensor:
        """What one place in the kernel sees: ``(channels, images, *lengths)``."""
        steps = zip(self.shifts[number], self.dilation, lengths, self.stride, strict=True)
        window = (slice(s * d, s * d + (n - 1) * step + 1, step) for s, d, n, step in steps)
        seen = x[(slice(None), slice(None), *window)].transpose(0, 1)
        channels = self._buffers.get(f"channels{number}")
        return seen if channels is None else seen.index_select(0, channels)

    def _lengths(self, x: Tensor) -> tuple[list[int], int]:
        """The lengths of the output's dimensions, and their product."""
        sizes = zip(x.shape[2:], self.dilation, self.kernel, self.stride, strict=True)
        lengths = [(size - d * (k - 1) - 1) // step + 1 for size, d, k, step in sizes]
        count = 1
        for length in lengths:
            count *= length
        return lengths, count


class SemiStructuredLinear(nn.Module):
    """A linear layer by the 2:4 units of GPUs, in 16-bit floats; elsewhere a dense one.

    The packed weight is no part of the state: it is made of the dense one, again wherever that is
    moved, converted or loaded to.

    Args:
        matrix: ``(out, in)``, at most two of every four weights along the inputs not zero.
        bias: ``(out,)`` or None.
    """

    weight: Tensor

    def __init__(self, matrix: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", matrix.detach().contiguous())
        self.bias = bias
        self._packed: Any = None
        self._pack()

    def forward(self, input: Tensor) -> Tensor:
        packed = self._packed
        if packed is None or torch.compiler.is_compiling() or input.dtype != self.weight.dtype:
            return F.linear(input, self.weight, self.bias)
        return F.linear(input, packed, self.bias)

    def _pack(self) -> None:
        self._packed = None
        if self.weight.is_cuda and self.weight.dtype in _CUDA_HALVES:
            with torch.inference_mode(False), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "prototype stage"
                self._packed = torch.sparse.to_sparse_semi_structured(self.weight)

    def _apply(self, fn: Any, recurse: bool = True) -> SemiStructuredLinear:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._pack()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pack()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack()
