"""Signals: what is known of each element of a tensor that flows through a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node, map_arg
from torch.utils._pytree import tree_map_only

from l1prune.deploy.graph import Graph
from l1prune.deploy.units import FIXED, Units


@dataclass(frozen=True, eq=False)
class Signal:
    """What is known of each element of an activation; three tensors of its shape.

    Args:
        varies: False where the element is proved to be the same for all inputs.
        value: what it is then, floats in float64; 0 elsewhere.
        unit: the unit that the element goes with.
    """

    varies: Tensor
    value: Tensor
    unit: Tensor

    @classmethod
    def unknown(cls, shape: Sequence[int]) -> Signal:
        """Nothing is known, and it stays."""
        varies = torch.ones((), dtype=torch.bool).expand(torch.Size(shape))
        value = torch.zeros((), dtype=torch.double).expand(torch.Size(shape))
        return cls(varies, value, torch.tensor(FIXED).expand(torch.Size(shape)))

    @classmethod
    def constant(cls, value: Tensor, unit: Tensor | None = None) -> Signal:
        """The same for all inputs; finite values only, all else is as good as not known."""
        value = exact(value)
        varies = ~value.isfinite()
        unit = torch.tensor(FIXED).expand(value.shape) if unit is None else unit
        return cls(varies, value.masked_fill(varies, 0), unit)

    @property
    def constant_zero(self) -> Tensor:
        """Where it is proved to be 0."""
        return ~self.varies & (self.value == 0)


@dataclass(frozen=True)
class Stored:
    """A parameter or buffer, its dimensions perhaps in another order.

    Args:
        name: in the model.
        order: the parameter's dimension behind each dimension.
    """

    name: str
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """A graph, and what has been found out about its nodes so far."""

    graph: Graph
    units: Units
    known: dict[Node, Any]

    def tensor(self, stored: Stored) -> Tensor:
        """The values of a parameter, its dimensions in order."""
        return self.graph.tensors[stored.name].detach().cpu().permute(stored.order)

    def units_of(self, stored: Stored, dim: int) -> Tensor:
        """The units of one dimension of what is stored."""
        return self.units.of(stored.name, stored.order[dim])

    def uses(self, stored: Stored) -> int:
        """How many operations read a parameter, under whichever name, and however transposed."""
        views = [n for n, known in self.known.items() if isinstance(known, Stored)]
        return sum(
            not isinstance(self.known.get(user), Stored)
            for node in views
            if self.known[node].name == stored.name
            for user in node.users
        )

    def stored(self, node: Any) -> Stored | None:
        """The parameter or buffer that a node is, if it is one."""
        found = self.known.get(node) if isinstance(node, Node) else None
        return found if isinstance(found, Stored) else None

    def signal(self, node: Node) -> Signal:
        """What is known of a node's elements; a parameter's units are those of one dimension.

        That is its only one longer than 1, or the last: those of vectors that go along.
        """
        found = self.known[node]
        if isinstance(found, Stored):
            values = self.tensor(found)
            dim = max(_long(values.shape), default=-1)
            if dim < 0:
                return Signal.constant(values)
            return Signal.constant(values, along(self.units_of(found, dim), dim, values.shape))
        assert isinstance(found, Signal), f"{node} has several outputs"
        return found

    def constant_zero(self, node: Node) -> Tensor:
        """Where a node's elements are proved to be 0."""
        stored = self.stored(node)
        return self.signal(node).constant_zero if stored is None else self.tensor(stored) == 0

    def read(self, node: Node) -> Signal:
        """The same for an operation that reads a parameter as it stands, with all its vectors."""
        signal = self.signal(node)
        if isinstance(stored := self.known[node], Stored):
            self.keep_other_dims(stored, max(_long(signal.unit.shape), default=-1))
        return signal

    def keep_other_dims(self, stored: Stored, dim: int) -> None:
        """Only one dimension of a parameter may be shortened."""
        for other, size in enumerate(self.tensor(stored).shape):
            if other != dim and size > 1:
                self.units.fix(self.units_of(stored, other), f"vectors of {stored.name}")

    def signals(self, node: Node) -> Iterator[tuple[Node, Signal]]:
        """The tensors that an operation reads."""
        for source in node.all_input_nodes:
            if isinstance(self.known[source], Signal | Stored):
                yield source, self.signal(source)


def _long(shape: Sequence[int]) -> list[int]:
    return [dim for dim, size in enumerate(shape) if size > 1]


def exact(value: Tensor) -> Tensor:
    """Floats in float64, all else as it is."""
    return value.double() if value.is_floating_point() else value


def along(vector: Tensor, dim: int, shape: Sequence[int]) -> Tensor:
    """A vector spread over a shape, along one dimension of it; no memory is taken.

    >>> along(torch.tensor([1, 2]), 0, (2, 3))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    dim %= len(shape)
    return vector.view([-1 if d == dim else 1 for d in range(len(shape))]).expand(torch.Size(shape))


def per_channel(tensor: Tensor, dim: int) -> Tensor:
    """All positions of each channel, ``(positions, channels)``."""
    moved = tensor.movedim(dim, -1)
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def differs(tensor: Tensor, dim: int) -> bool:
    """Whether a tensor is not the same all along a dimension."""
    if tensor.shape[dim] < 2 or tensor.stride(dim) == 0:
        return False
    return bool((tensor != tensor.narrow(dim, 0, 1)).any())


def shape_of(node: Node) -> torch.Size:
    """The shape of a node's only output."""
    shape: torch.Size = node.meta["val"].shape
    return shape


def run(node: Node, tensors: dict[Node, Tensor]) -> Any:
    """Do a node's operation on other tensors, in float64 where it would be done in less."""
    args, kwargs = map_arg((node.args, node.kwargs), lambda source: tensors[source])
    args, kwargs = tree_map_only(torch.dtype, _double, (args, kwargs))
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _double(dtype: torch.dtype) -> torch.dtype:
    return torch.double if dtype.is_floating_point else dtype
