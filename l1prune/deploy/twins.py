"""Twins: the graphs of a model and of its smaller form, compared operation by operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from l1prune.deploy.graph import Graph, place, trace
from l1prune.deploy.inputs import Arguments
from l1prune.deploy.liveness import ITEM, Liveness
from l1prune.deploy.signals import Signal, Stored

aten = torch.ops.aten


def mismatch(liveness: Liveness, smaller: nn.Module, call: Arguments, gone: Tensor) -> str | None:
    """Where the operations of the smaller model are not those of the original, if they are not.

    Both graphs are walked side by side. Each operation of the smaller model has to be the same,
    of the shape of what survives, and to compute that from what survives of its inputs.
    """
    scene = liveness.scene
    try:
        twin = trace(smaller, call)
    except ValueError as error:
        return str(error)
    nodes, twins = _steps(scene.graph), _steps(twin)
    if len(nodes) != len(twins):
        return "without them the model does other operations"
    pairs = dict(zip(nodes, twins, strict=True))
    for node, other in pairs.items():
        if _kind(node) != _kind(other) and node.op != "placeholder":
            return f"without them {place(node)} is another operation"
        inputs = [pairs[_origin(source)] for source in node.all_input_nodes]
        same = inputs == [_origin(source) for source in other.all_input_nodes]
        if not _same_constant(scene.graph.constants.get(node), twin.constants.get(other)):
            return "a size is written into a tensor of the forward"
        if not same or not _survives(node, other, liveness, gone):
            return f"a size is written down for {place(node)}"
    return None


def _steps(graph: Graph) -> list[Node]:
    """The operations without copies: where a dimension is 1, views often do without."""
    return [node for node in graph.nodes if not _is_copy(node)]


def _is_copy(node: Node) -> bool:
    return node.target is aten.clone.default


def _origin(node: Node) -> Node:
    """What a copy is a copy of."""
    while _is_copy(node):
        (node,) = node.all_input_nodes
    return node


def _kind(node: Node) -> Any:
    """What an operation does, whether or not it takes new memory for it."""
    return aten.view.default if node.target is aten._unsafe_view.default else node.target


def _same_constant(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and torch.equal(one, other)


def _survives(node: Node, other: Node, liveness: Liveness, gone: Tensor) -> bool:
    known, scene = liveness.scene.known.get(node), liveness.scene
    if isinstance(known, Signal) and survivors(known.unit, gone) != other.meta["val"].shape:
        return False
    if isinstance(known, Stored):
        kept = list(liveness.scene.graph.tensors[known.name].shape)
        for name, dim in scene.units.starts:
            if name == known.name:
                kept[dim] = int((~gone[scene.units.of(name, dim)]).sum())
        if [kept[dim] for dim in known.order] != list(other.meta["val"].shape):
            return False
    rule = liveness.rules.get(node)
    if rule is None:
        return True
    return rule is ITEM or rule.surviving(node, other, scene, gone)


def survivors(unit: Tensor, gone: Tensor) -> torch.Size | None:
    """The shape of what survives of a tensor, if that is a whole number of slices."""
    if not unit.numel():
        return unit.shape
    stays = ~gone[unit]
    slices = [stays.movedim(dim, 0).reshape(size, -1) for dim, size in enumerate(unit.shape)]
    shape = torch.Size(int(kept.any(1).sum()) for kept in slices)
    return shape if shape.numel() == int(stays.sum()) else None
