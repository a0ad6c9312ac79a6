"""Starved layers: of which a cut left so little that a person should know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from l1prune.cuts.scopes import Scope
from l1prune.weights.shards import count_nonzero, is_sharded
from l1prune.weights.targets import Target
from l1prune.words import some_of

SHOWN = 5
"""How many layers are named."""

RECURRENT = re.compile(r"\bweight_(ih|hh|hr)(_l\d+(_reverse)?)?$")
"""How torch names the weights of recurrent layers."""


@torch.no_grad()
def at_floor(
    targets: Sequence[Target], masks: Mapping[str, Tensor], scope: Scope
) -> dict[str, tuple[int, int]]:
    """Layers with no more than their floor: by name, the weights that are left, and of how many.

    Those would have lost more by what their weights are worth.

    Args:
        targets: the weights.
        masks: what stays of each, by name.
        scope: by which layers compared.

    >>> from torch import nn, ones, zeros; from l1prune import Global
    >>> a, b = (Target(name, nn.Parameter(ones(10, 10))) for name in "ab")
    >>> masks = {"a": torch.eye(10).bool(), "b": ones(10, 10).bool()}
    >>> at_floor([a, b], masks, Global(least=0.5))
    {'a': (10, 100)}
    """
    cut = [target for target in targets if target.name in masks]
    left = count_nonzero([masks[target.name] for target in cut])
    shapes = [tuple(target.parameter.shape) for target in cut]
    floors = scope.floors(shapes, [1] * len(cut), sum(left))
    return {
        target.name: (count, target.parameter.numel())
        for target, count, floor in zip(cut, left, floors, strict=True)
        if 1 < count <= floor < target.parameter.numel()
    }


@torch.no_grad()
def dead_outputs(
    targets: Sequence[Target], masks: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    """Layers most of whose outputs no input reaches: by name, how many, and of how many.

    Left out are weights that are sharded, of which no process sees whole outputs, stacks of
    matrices, which tell nothing of what their outputs are, and recurrent layers: their outputs are
    gates, and a unit lives as long as one of its gates does.

    >>> from torch import nn, ones
    >>> target = Target("w", nn.Parameter(ones(3, 2)))
    >>> dead_outputs([target], {"w": torch.tensor([[1, 0], [0, 0], [0, 0]]).bool()})
    {'w': (2, 3)}
    """
    found = {}
    for target in targets:
        mask = masks.get(target.name)
        if mask is None or mask.ndim < 2 or target.stacked or is_sharded(target.parameter):
            continue
        if RECURRENT.search(target.name):
            continue
        alive = mask.movedim(1 - target.inputs, 0).flatten(1).any(1)
        dead = len(alive) - int(alive.sum())
        if 2 * dead > len(alive):
            found[target.name] = (dead, len(alive))
    return found


@torch.no_grad()
def emptied(targets: Sequence[Target], masks: Mapping[str, Tensor]) -> dict[str, int]:
    """Layers with zeros that no cut made: by name, how many.

    >>> from torch import nn, tensor
    >>> target = Target("w", nn.Parameter(tensor([1.0, 0.0, 0.0])))
    >>> emptied([target], {"w": tensor([True, True, False])})
    {'w': 1}
    """
    cut = [target for target in targets if target.name in masks]
    stay = count_nonzero([masks[target.name] for target in cut])
    left = count_nonzero([target.parameter for target in cut])
    return {
        target.name: most - some
        for target, most, some in zip(cut, stay, left, strict=True)
        if some < most
    }


def remarks(
    targets: Sequence[Target], masks: Mapping[str, Tensor], scope: Scope | None
) -> Iterator[str]:
    """What a person should know of what a cut left, a sentence each.

    Args:
        targets: the weights.
        masks: what stays of each, by name.
        scope: by which layers compared weight by weight; None: they did not.
    """
    if scope is not None and (few := at_floor(targets, masks, scope)):
        yield (
            f"the cut left no more than the least share in {_named(few)}: a layer keeps that by "
            "its shape, however little its weights are worth, and so few may hold the network "
            "back; cut less, or keep these layers dense, with Except among targets"
        )
    if dead := dead_outputs(targets, masks):
        yield (
            f"the cut left most outputs without a weight in {_named(dead)}: "
            "l1prune.deploy.compact leaves out those that nothing else needs, and says why others "
            "stay, as beside a skip connection"
        )


def _named(layers: Mapping[str, tuple[int, int]]) -> str:
    return some_of([f"{name} ({few} of {all_})" for name, (few, all_) in layers.items()], SHOWN)
