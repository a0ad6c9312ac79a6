"""Rows: a table in memory, or on disk, standardised as its rows are asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IN_MEMORY = 2**26
"""How many numbers are standardised once, as a copy of float32; more are as they are used."""

AT_ONCE = 2**24
"""How many numbers are looked at together."""

CONSTANT = 2
"""A column whose deviation is no more than so many roundings of its mean does not vary."""


class Scale:
    """Mean and standard deviation of columns; of one that does not vary, 1, and its numbers are 0.

    Args:
        x: `(rows, columns)`, read in parts: a memory map need not fit into memory.

    Attributes:
        varies: of each column, whether it does, beyond rounding.

    >>> scale = Scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> scale.mean, scale.deviation
    (array([2., 5.]), array([1., 1.]))
    """

    def __init__(self, x: NDArray[Any]) -> None:
        rows, columns = max(len(x), 1), x.shape[1]
        lowest, highest = np.full(columns, np.inf), np.full(columns, -np.inf)
        for part in _parts(x):
            lowest, highest = np.minimum(lowest, part.min(0)), np.maximum(highest, part.max(0))
        # Powers of two, by which neither sums nor squares over- or underflow.
        _, power = np.frexp(np.maximum(np.abs(lowest), np.abs(highest)))
        unit = np.ldexp(1.0, np.minimum(power, np.finfo(np.float64).maxexp - 1))
        mean = sum(((part / unit).sum(0) for part in _parts(x)), np.zeros(columns)) / rows
        squares = (np.square(part / unit - mean).sum(0) for part in _parts(x))
        deviation = np.sqrt(sum(squares, np.zeros(columns)) / rows)
        rounding = np.finfo(x.dtype if x.dtype.kind == "f" else np.float64).eps
        self.varies = (highest > lowest) & (deviation > CONSTANT * rounding * np.abs(mean))
        self.mean: NDArray[Any] = unit * mean
        self.deviation: NDArray[Any] = np.where(self.varies, unit * deviation, 1.0)
        self._divisor = np.where(self.varies, unit * deviation, np.inf)

    def of(self, columns: NDArray[np.int64]) -> Scale:
        """That of some of the columns."""
        scale = copy.copy(self)
        scale.mean, scale.deviation = self.mean[columns], self.deviation[columns]
        scale.varies, scale._divisor = self.varies[columns], self._divisor[columns]
        return scale

    def __call__(self, x: NDArray[Any]) -> Tensor:
        """Rows as a tensor of float32, each column of mean 0 and deviation 1."""
        return torch.from_numpy(((x - self.mean) / self._divisor).astype(np.float32))


def _parts(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, AT_ONCE // max(x.shape[1], 1))
    return (x[at : at + step] for at in range(0, len(x), step))


class Rows:
    """Rows of a table with their targets.

    Args:
        x: `(rows, columns)`, of floats.
        y: targets, one for each row.
        scale: standardises.
        chosen: the numbers of the rows that are meant; None: all.

    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> Rows(x, torch.tensor([0, 1]), Scale(x)).batch(np.array([1]))
    (tensor([[1., 0.]]), tensor([1]))
    """

    def __init__(
        self, x: NDArray[Any], y: Tensor, scale: Scale, chosen: NDArray[Any] | None = None
    ) -> None:
        self._chosen = np.arange(len(x)) if chosen is None else chosen
        self._columns: NDArray[np.int64] | None = None
        self._x, self._scale = x, scale
        self._y = y[torch.from_numpy(self._chosen)]
        self._whole = self._read(self._chosen) if self._is_small(x.shape[1]) else None

    def of(self, columns: NDArray[np.int64]) -> Rows:
        """The same rows with some of the columns, of those that there are now."""
        rows = copy.copy(self)
        rows._columns = columns if self._columns is None else self._columns[columns]
        rows._scale = self._scale.of(columns)
        if self._whole is not None:
            rows._whole = self._whole[:, torch.from_numpy(columns)]
        elif self._is_small(len(columns)):
            rows._whole = rows._read(self._chosen)
        return rows

    def __len__(self) -> int:
        return len(self._chosen)

    def batch(self, index: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Some of the rows, and their targets."""
        places = torch.from_numpy(index)
        if self._whole is not None:
            return self._whole[places], self._y[places]
        return self._read(self._chosen[index]), self._y[places]

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All of them in their order, so many at a time that they fit into memory."""
        step = max(1, AT_ONCE // max(self._x.shape[1], 1))
        for at in range(0, len(self), step):
            yield self.batch(np.arange(at, min(at + step, len(self))))

    def _is_small(self, columns: int) -> bool:
        return len(self._chosen) * columns <= IN_MEMORY

    def _read(self, rows: NDArray[Any]) -> Tensor:
        some = rows if self._columns is None else np.ix_(rows, self._columns)
        return self._scale(self._x[some])
