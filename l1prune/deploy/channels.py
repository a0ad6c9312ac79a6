"""Channels: operations that treat each channel by itself, and look up vectors of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy.graph import place
from l1prune.deploy.rules import Needs, Rule
from l1prune.deploy.signals import Scene, Signal, along, differs, shape_of

aten = torch.ops.aten


class Affine(Rule):
    """Batch normalisation in eval mode: a scale and a shift for each channel."""

    def forward(self, node: Node, scene: Scene) -> Any:
        source, *rest = node.args[:5]
        assert isinstance(source, Node)
        given = [one for one in rest if one is not None]
        stored = [found for one in given if (found := scene.stored(one)) is not None]
        signal = scene.known[source]
        if len(stored) != len(given) or len(stored) < 2 or not isinstance(signal, Signal):
            return None
        for one in stored:
            scene.units.tie(signal.unit, along(scene.units_of(one, 0), 1, signal.unit.shape))
        scale, shift = self._affine(node, scene)
        shape = signal.varies.shape
        value = signal.value * along(scale, 1, shape) + along(shift, 1, shape)
        varies = (signal.varies & along(scale != 0, 1, shape)) | ~value.isfinite()
        output = Signal(varies, value.masked_fill(varies, 0), signal.unit)
        return [output, None, None] if isinstance(node.meta["val"], tuple | list) else output

    def _affine(self, node: Node, scene: Scene) -> tuple[Tensor, Tensor]:
        weight, bias, mean, variance = (scene.stored(one) for one in node.args[1:5])
        assert mean is not None and variance is not None
        eps = node.args[6]
        assert isinstance(eps, float)
        scale = (scene.tensor(variance).double() + eps).rsqrt()
        if weight is not None:
            scale = scale * scene.tensor(weight).double()
        shift = -scene.tensor(mean).double() * scale
        return scale, shift if bias is None else shift + scene.tensor(bias).double()

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        need = need[0] if isinstance(need, list) else need
        scale, _ = self._affine(node, scene)
        source = node.args[0]
        assert isinstance(source, Node)
        return [(source, need & along(scale != 0, 1, need.shape))]


class Slope(Rule):
    """PReLU: a slope for each channel, or one for all."""

    def forward(self, node: Node, scene: Scene) -> Any:
        source, weight = node.args
        stored, signal = scene.stored(weight), scene.known[source]  # type: ignore[index]
        if stored is None or not isinstance(signal, Signal) or signal.value.ndim < 2:
            return None
        slopes, shape = scene.tensor(stored).double(), signal.unit.shape
        if slopes.numel() > 1:
            scene.units.tie(signal.unit, along(scene.units_of(stored, 0), 1, shape))
            slopes = along(slopes, 1, shape)
        value = torch.where(signal.value >= 0, signal.value, slopes * signal.value)
        return Signal(signal.varies, value, signal.unit)

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        source = node.args[0]
        assert isinstance(source, Node)
        return [(source, need)]


class Lookup(Rule):
    """An embedding: rows are chosen by inputs, columns are channels."""

    def forward(self, node: Node, scene: Scene) -> Any:
        stored, index = scene.stored(node.args[0]), node.args[1]
        if stored is None:
            return None
        assert isinstance(index, Node)
        scene.units.fix(scene.read(index).unit, f"chooses rows for {place(node)}")
        scene.units.fix(scene.units_of(stored, 0), f"rows that {place(node)} looks up")
        table = scene.tensor(stored)
        same = (table == table[:1]).all(0)
        value = table[0].double().masked_fill(~same, 0)
        unit, shape = scene.units_of(stored, 1), shape_of(node)
        return Signal(*(along(part, -1, shape) for part in (~same, value, unit)))

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        index = node.args[1]
        assert isinstance(index, Node)
        shape = scene.signal(index).varies.shape
        return [(index, torch.ones((), dtype=torch.bool).expand(shape))]


class Mix(Rule):
    """Pools, means, softmax: elements mix along some dimensions, the others stay apart.

    Args:
        keeps: which of the values that are the same all along those dimensions stay as they are.
        spatial: how many dimensions at the end are mixed; None: those that an argument names.
    """

    def __init__(self, keeps: Callable[[Tensor], Tensor], spatial: int | None = None) -> None:
        self.keeps, self.spatial = keeps, spatial

    def _mixed(self, node: Node, rank: int) -> list[int]:
        """The dimensions that are mixed, in order."""
        if self.spatial is not None:
            return list(range(rank - self.spatial, rank))
        named = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        listed = named if isinstance(named, list) else [named]
        return sorted(int(dim) % rank for dim in listed if isinstance(dim, int))

    def forward(self, node: Node, scene: Scene) -> Any:
        source = node.args[0]
        signal = scene.known[source]  # type: ignore[index]
        if not isinstance(signal, Signal) or not isinstance(node.meta["val"], Tensor):
            return None
        mixed = self._mixed(node, signal.unit.ndim)
        if not mixed or any(differs(signal.unit, dim) for dim in mixed):
            return None
        varies, value, unit = (
            part.movedim(mixed, list(range(-len(mixed), 0))).flatten(-len(mixed))
            for part in (signal.varies, signal.value, signal.unit)
        )
        first = value[..., 0]
        known = ~varies.any(-1) & (value == value[..., :1]).all(-1) & self._kept(node, first)
        shape = shape_of(node)
        parts = [~known, first.masked_fill(~known, 0), unit[..., 0]]
        for dim in mixed if len(shape) == signal.unit.ndim else []:
            parts = [part.unsqueeze(dim) for part in parts]
        return Signal(*(part.expand(shape) for part in parts))

    def _kept(self, node: Node, value: Tensor) -> Tensor:
        if getattr(node.target, "overloadpacket", None) in AVERAGES and any(_padding(node)):
            return value == 0  # the zeros of the padding are averaged too
        return self.keeps(value)

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        source = node.args[0]
        assert isinstance(source, Node)
        shape = scene.signal(source).varies.shape
        mixed = self._mixed(node, len(shape))
        for dim in mixed if need.ndim < len(shape) else []:
            need = need.unsqueeze(dim)
        return [(source, need.any(tuple(mixed), keepdim=True).expand(shape))]


AVERAGES = (aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d)


def _padding(node: Node) -> list[int]:
    """The padding of an average, and its divisor where one is given."""
    padding = node.args[3] if len(node.args) > 3 else 0
    listed = padding if isinstance(padding, list) else [padding]
    return [*listed, *(node.args[6:7] or ())]


def every(value: Tensor) -> Tensor:
    """All constants stay: for averages and maxima."""
    return torch.ones_like(value, dtype=torch.bool)


def zero(value: Tensor) -> Tensor:
    """Only 0 stays: for sums."""
    return value == 0


def none(value: Tensor) -> Tensor:
    """No constant stays: for softmax, which knows how many there are."""
    return torch.zeros_like(value, dtype=torch.bool)
