"""Twins: the graphs of a model and of its smaller form, compared operation by operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Node

from l1prune.deploy.graph import place, trace
from l1prune.deploy.inputs import Arguments
from l1prune.deploy.liveness import ITEM, Liveness
from l1prune.deploy.signals import Signal, Stored


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
    nodes, twins = scene.graph.nodes, twin.nodes
    if len(nodes) != len(twins):
        return "without them the model does other operations"
    pairs = dict(zip(nodes, twins, strict=True))
    for node, other in pairs.items():
        inputs = [pairs[source] for source in node.all_input_nodes]
        if node.target != other.target and node.op != "placeholder":
            return f"without them {place(node)} is another operation"
        if not _same_constant(scene.graph.constants.get(node), twin.constants.get(other)):
            return "a size is written into a tensor of the forward"
        if inputs != other.all_input_nodes or not _survives(node, other, liveness, gone):
            return f"a size is written down for {place(node)}"
    return None


def _same_constant(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and torch.equal(one, other)


def _survives(node: Node, other: Node, liveness: Liveness, gone: Tensor) -> bool:
    known, scene = liveness.scene.known.get(node), liveness.scene
    if isinstance(known, Signal) and _shape(known.unit, gone) != other.meta["val"].shape:
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


def _shape(unit: Tensor, gone: Tensor) -> torch.Size | None:
    """The shape of what survives of a tensor, if that is a whole number of slices."""
    if not unit.numel():
        return unit.shape
    stays = ~gone[unit]
    slices = [stays.movedim(dim, 0).reshape(size, -1) for dim, size in enumerate(unit.shape)]
    shape = torch.Size(int(kept.any(1).sum()) for kept in slices)
    return shape if shape.numel() == int(stays.sum()) else None
