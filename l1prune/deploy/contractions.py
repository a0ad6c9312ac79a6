"""Contractions: linear layers and convolutions, which add up channels times weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy.graph import place
from l1prune.deploy.rules import Needs, Rule, plain_arguments
from l1prune.deploy.signals import Scene, Signal, Stored, along, per_channel, shape_of
from l1prune.deploy.units import FIXED

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d, aten.conv2d, aten.conv3d)
TRANSPOSED = (aten.conv_transpose1d, aten.conv_transpose2d, aten.conv_transpose3d)
MATRICES = {
    aten.linear: (0, 1, 2),
    aten.mm: (0, 1, None),
    aten.matmul: (0, 1, None),
    aten.addmm: (1, 2, 0),
}
"""Where the input, the weight and the bias stand among the arguments."""


@dataclass(frozen=True, eq=False)
class Contraction:
    """y[o] = bias[o] + Σ_i weight[o, i] · x[i], for each group of channels, at all positions.

    Args:
        source: x.
        weight: its dimensions in the order (out, in, taps...).
        bias: of the outputs, or None.
        channel: the dimension of x, and of y, that counts channels, from the end.
        groups: how many.
        borders: whether some positions see fewer taps than others.
    """

    source: Node
    weight: Stored
    bias: Stored | None
    channel: int = -1
    groups: int = 1
    borders: bool = False

    def folds(self, scene: Scene) -> bool:
        """Whether the weight may be changed: nothing else reads it."""
        return self.groups == 1 and scene.uses(self.weight) == 1

    def folds_into_bias(self, scene: Scene) -> bool:
        """Whether a constant channel can be added to the bias for good."""
        return not self.borders and self.bias is not None and scene.uses(self.bias) == 1

    def reach(self, scene: Scene) -> Tensor:
        """Which input of a group reaches which output of it, ``(groups, out, in)``."""
        nonzero = scene.tensor(self.weight) != 0
        grouped = nonzero.reshape(self.groups, -1, *nonzero.shape[1:])
        return grouped.flatten(3).any(-1) if grouped.ndim > 3 else grouped


def contraction(node: Node, scene: Scene) -> Contraction | None:
    """How an operation contracts, if it does so with a parameter."""
    packet = getattr(node.target, "overloadpacket", None)
    if packet in MATRICES:
        found = _matrix(node, scene, MATRICES[packet])
    elif packet in CONVOLUTIONS:
        found = _convolution(node, scene)
    elif packet in TRANSPOSED:
        found = _transposed(node, scene)
    else:
        found = None
    return found if found is not None and _is_usable(found, scene) else None


def _is_usable(found: Contraction, scene: Scene) -> bool:
    """Whether the input is an activation, and the bias a vector with an element for each output."""
    outputs = scene.units_of(found.weight, 0)
    fits = found.bias is None or scene.units_of(found.bias, 0).shape == outputs.shape
    return fits and isinstance(scene.known[found.source], Signal)


def _matrix(node: Node, scene: Scene, at: tuple[int, int, int | None]) -> Contraction | None:
    source, weight, bias = (None if i is None else argument(node, i) for i in at)
    stored, added = scene.stored(weight), scene.stored(bias)
    if stored is None or len(stored.order) != 2 or (bias is not None and not _vector(added)):
        return None
    if not isinstance(source, Node) or any(factor != 1 for factor in node.kwargs.values()):
        return None
    if node.target is not aten.linear.default:
        stored = Stored(stored.name, stored.order[::-1])
    return Contraction(source, stored, added)


def _vector(stored: Stored | None) -> bool:
    return stored is not None and len(stored.order) == 1


def argument(node: Node, index: int, default: Any = None) -> Any:
    """A positional argument, wherever it was written."""
    schema = node.target._schema  # type: ignore[union-attr]
    if index < len(node.args):
        return node.args[index]
    return node.kwargs.get(schema.arguments[index].name, default)


def _convolution(node: Node, scene: Scene) -> Contraction | None:
    source, weight, bias = (argument(node, index) for index in range(3))
    stored, added = scene.stored(weight), scene.stored(bias)
    if stored is None or (bias is not None and not _vector(added)):
        return None
    padding, groups = argument(node, 4, 0), argument(node, 6, 1)
    pads = [padding] if isinstance(padding, int | str) else padding
    borders = any(pad not in (0, "valid") for pad in pads)
    return Contraction(source, stored, added, 1 - len(stored.order), groups, borders)


def _transposed(node: Node, scene: Scene) -> Contraction | None:
    source, weight, bias = (argument(node, index) for index in range(3))
    stored, added = scene.stored(weight), scene.stored(bias)
    if stored is None or (bias is not None and not _vector(added)) or argument(node, 6, 1) != 1:
        return None
    order = (stored.order[1], stored.order[0], *stored.order[2:])
    return Contraction(source, Stored(stored.name, order), added, 1 - len(order), 1, borders=True)


@dataclass(frozen=True, eq=False)
class Constants:
    """Which channels of a contraction's input are the same everywhere and for all inputs.

    Args:
        known: whether each channel is.
        value: what it is then, 0 elsewhere.
    """

    known: Tensor
    value: Tensor

    @classmethod
    def of(cls, signal: Signal, channel: int) -> Constants:
        varies, value = per_channel(signal.varies, channel), per_channel(signal.value, channel)
        known = ~varies.any(0) & (value == value[:1]).all(0)
        return cls(known, value[0].masked_fill(~known, 0))


def dispensable(node: Node, scene: Scene) -> tuple[Tensor, int | None]:
    """The constant channels that a contraction can do without, and the one that stands for them.

    A constant 0 adds nothing. Others go into the bias, once and for all; or, where borders see
    fewer of them or there is no bias, into the weights of the largest of them, which stays.

    Returns:
        booleans of the input's channels, and the index of the channel that carries the others.
    """
    found = contraction(node, scene)
    assert found is not None
    constants = Constants.of(scene.signal(found.source), found.channel)
    zero, other = constants.known & (constants.value == 0), constants.value != 0
    if not found.folds(scene) or not other.any():
        return zero, None
    if found.folds_into_bias(scene):
        return constants.known, None
    read = other & found.reach(scene).any(1).flatten()
    if not read.any():
        return constants.known, None
    carrier = int((constants.value.abs() * read).argmax())
    without = constants.known.clone()
    without[carrier] = False
    return without, carrier


class Contract(Rule):
    """The rule of contractions: a zero weight breaks a path."""

    def forward(self, node: Node, scene: Scene) -> Any:
        found = contraction(node, scene)
        if found is None or not node.meta["val"].is_floating_point():
            return None
        signal = scene.signal(found.source)
        unit = self._tie(node, found, scene, signal)
        constants = Constants.of(signal, found.channel)
        reach = found.reach(scene)
        unsure = ~constants.known | (constants.value != 0) if found.borders else ~constants.known
        reached = (reach & unsure.view(found.groups, 1, -1)).any(-1).flatten()
        value = _constant_outputs(found, scene, constants).masked_fill(reached, 0)
        shape = shape_of(node)
        channel = -1 if len(shape) == 1 else found.channel
        return Signal(*(along(part, channel, shape) for part in (reached, value, unit)))

    def _tie(self, node: Node, found: Contraction, scene: Scene, signal: Signal) -> Tensor:
        """Columns go with the inputs, rows with the bias and the outputs, groups as a whole."""
        units = scene.units
        labels = per_channel(signal.unit, found.channel)
        inputs = labels[0]
        if (labels != inputs).any():
            units.fix(signal.unit, f"in a dimension that {place(node)} does not add up")
            inputs = torch.full_like(inputs, FIXED)
        rows, columns = scene.units_of(found.weight, 0), scene.units_of(found.weight, 1)
        for taps in range(2, len(found.weight.order)):
            units.fix(scene.units_of(found.weight, taps), f"taps of {place(node)}")
        if found.bias is not None:
            units.tie(rows, scene.units_of(found.bias, 0))
        if found.groups == 1:
            units.tie(inputs, columns)
        else:
            units.fix(columns, f"within the groups of {place(node)}")
            members = torch.cat([p.view(found.groups, -1) for p in (inputs, rows)], 1)
            units.tie(members, members[:, :1])
        return rows

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        found = contraction(node, scene)
        assert found is not None
        channel = -1 if need.ndim == 1 else found.channel
        wanted = per_channel(need, channel).any(0).view(found.groups, -1, 1)
        read = (found.reach(scene) & wanted).any(1).flatten()
        without, carrier = dispensable(node, scene)
        read = read & ~without
        if carrier is not None and wanted.any():
            read[carrier] = True
        shape = scene.signal(found.source).varies.shape
        return [(found.source, along(read, found.channel, shape))]

    def surviving(self, node: Node, twin: Node, scene: Scene, gone: Tensor) -> bool:
        found = contraction(node, scene)
        assert found is not None
        before, after = plain_arguments(node), plain_arguments(twin)
        if found.groups > 1 and before != after:
            rows = (~gone[scene.units_of(found.weight, 0)]).view(found.groups, -1)
            groups = int(rows.any(1).sum())
            before["groups"] = [groups]
        return bool(before == after)


def _constant_outputs(found: Contraction, scene: Scene, constants: Constants) -> Tensor:
    """What the outputs are that no varying channel reaches."""
    size = scene.graph.tensors[found.weight.name].shape[found.weight.order[0]]
    value = torch.zeros(size, dtype=torch.double)
    if found.bias is not None:
        value = value + scene.tensor(found.bias).double()
    if found.groups == 1 and not found.borders:
        value = value + contribution(found, scene.tensor(found.weight), constants.value)
    elif found.groups > 1 and not found.borders:
        weight = scene.tensor(found.weight).double().flatten(2).sum(-1)
        grouped = weight.view(found.groups, -1, weight.shape[1])
        value = value + (grouped * constants.value.view(found.groups, 1, -1)).sum(-1).flatten()
    return value


def contribution(found: Contraction, weight: Tensor, value: Tensor) -> Tensor:
    """What constant channels add to each output, where all taps see them."""
    (at,) = value.nonzero(as_tuple=True)
    columns = weight.index_select(1, at).double()
    summed = columns.reshape(columns.shape[0], len(at), math.prod(columns.shape[2:])).sum(-1)
    return summed @ value[at]
