"""Liveness: which units no input reaches or no output needs, proved on a model's graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy import attention, channels, contractions, movements, rules
from l1prune.deploy.graph import Graph
from l1prune.deploy.rules import Rule
from l1prune.deploy.signals import Scene, Signal, Stored
from l1prune.deploy.units import FIXED, Couplings, Units

aten = torch.ops.aten

OPAQUE = rules.Opaque()
ITEM = rules.Item()
CONTRACT = contractions.Contract()
POINTWISE = rules.Pointwise()
MOVEMENT = movements.Movement()
PRODUCT = attention.Product()
RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        [*contractions.MATRICES, *contractions.CONVOLUTIONS, *contractions.TRANSPOSED],
        CONTRACT,
    ),
    **dict.fromkeys(
        [aten.hardswish, aten.log_sigmoid, aten._to_copy, aten.to, aten.rsub, aten.masked_fill],
        POINTWISE,
    ),
    **dict.fromkeys([aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar], POINTWISE),
    aten._native_batch_norm_legit_no_training: channels.Affine(),
    aten._assert_tensor_metadata: rules.Check(),
    aten.scaled_dot_product_attention: attention.Attend(),
    aten.bmm: PRODUCT,
    aten.prelu: channels.Slope(),
    aten.embedding: channels.Lookup(),
    **dict.fromkeys([aten.mean, aten.amax, aten.amin], channels.Mix(channels.every)),
    **dict.fromkeys([aten.sum, aten.cumsum], channels.Mix(channels.zero)),
    **dict.fromkeys([aten.softmax, aten.log_softmax], channels.Mix(channels.none)),
    **{
        getattr(aten, f"{kind}{rank}d"): channels.Mix(channels.every, rank)
        for kind in ("max_pool", "avg_pool", "adaptive_avg_pool")
        for rank in (1, 2, 3)
    },
    **dict.fromkeys(
        [aten.upsample_nearest2d, aten.upsample_bilinear2d, aten.upsample_bicubic2d],
        channels.Mix(channels.every, 2),
    ),
}
"""The rule of each operation of which more is known than its tags say."""


def rule_of(target: Any) -> Rule:
    """What is known of an operation; of most, nothing."""
    if getattr(target, "__name__", "") == "getitem":
        return ITEM
    for key in (target, getattr(target, "overloadpacket", None)):
        if (rule := RULES.get(key)) is not None:
            return rule
    if movements.is_movement(target):
        return MOVEMENT
    tags = getattr(target, "tags", ())
    random = torch.Tag.nondeterministic_seeded in tags
    return POINTWISE if torch.Tag.pointwise in tags and not random else OPAQUE


@dataclass(frozen=True, eq=False)
class Liveness:
    """What became of the units of a graph; booleans are of all units' numbers.

    Args:
        scene: what is known of each node.
        rules: the rule that knew it.
        couplings: which units go together.
        idle: the units that no output needs or no input reaches, though they may have to stay.
        needed: those that stay: needed by an output, or by something that has to stay itself.
        free: those that could go if nothing needed them.
    """

    scene: Scene
    rules: Mapping[Node, Rule]
    couplings: Couplings
    idle: Tensor
    needed: Tensor
    free: Tensor

    def gone(self, spared: Tensor) -> Tensor:
        """Which units can go when some are spared, with all that these are computed from."""
        return ~_closed(self.scene, self.rules, self.couplings, self.needed | spared)


def analyse(graph: Graph) -> Liveness:
    """Find the units of a model that can go without changing what it computes, for all inputs."""
    scene = Scene(graph, Units(graph.tensors), {})
    known_by: dict[Node, Rule] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            scene.known[node] = _given(node, scene)
        elif node.op == "call_function":
            known_by[node], scene.known[node] = _learn(node, scene)
        else:
            scene.known[node] = None
    OPAQUE.forward(graph.nodes[-1], scene)
    couplings = scene.units.couple()
    nothing = torch.zeros(scene.units.count, dtype=torch.bool)
    untouched = _untouched(scene, couplings)
    idle = ~_wanted(scene, known_by, couplings, nothing) | _steady(scene, couplings)
    idle &= ~untouched & (couplings.root != FIXED)
    bound = couplings.fixed | untouched
    needed = _closed(scene, known_by, couplings, bound)
    return Liveness(scene, known_by, couplings, idle, needed, ~bound)


def _given(node: Node, scene: Scene) -> Signal | Stored | None:
    """What is known of a placeholder; of one that is no tensor, nothing, and nothing reads it."""
    if (name := scene.graph.stored.get(node)) is not None:
        return Stored(name, tuple(range(scene.graph.tensors[name].ndim)))
    constant = scene.graph.constants.get(node)
    if constant is not None and node not in scene.graph.passing:
        return Signal.constant(constant.detach().cpu())
    value = node.meta["val"]
    return Signal.unknown(value.shape) if isinstance(value, Tensor) else None


def _learn(node: Node, scene: Scene) -> tuple[Rule, Any]:
    for rule in _candidates(node):
        if (known := rule.forward(node, scene)) is not None:
            return rule, known
    return OPAQUE, OPAQUE.forward(node, scene)


def _candidates(node: Node) -> list[Rule]:
    """The rules that may know an operation, the more special first."""
    if _is_empty(node):
        return []
    rule = rule_of(node.target)
    return [CONTRACT, PRODUCT] if rule is CONTRACT else [rule]


def _is_empty(node: Node) -> bool:
    """Whether an operation has to do with tensors without any element."""
    values = [one.meta.get("val") for one in (node, *node.all_input_nodes)]
    return any(isinstance(value, Tensor) and not value.numel() for value in values)


def signals(known: Any) -> Iterator[Signal]:
    """What is known of each tensor that a node returns."""
    for one in known if isinstance(known, list) else [known]:
        if isinstance(one, Signal):
            yield one


def _untouched(scene: Scene, couplings: Couplings) -> Tensor:
    """Units that no activation goes with, of which nothing can be said."""
    seen = torch.zeros(scene.units.count, dtype=torch.bool)
    for known in scene.known.values():
        for signal in signals(known):
            seen[signal.unit.flatten()] = True
    return ~couplings.spread(seen)


def _steady(scene: Scene, couplings: Couplings) -> Tensor:
    """Units that are the same for all inputs wherever they occur."""
    moves = torch.zeros(scene.units.count, dtype=torch.bool)
    for known in scene.known.values():
        for signal in signals(known):
            moves[signal.unit[signal.varies]] = True
    return ~couplings.spread(moves)


def _closed(
    scene: Scene, rules: Mapping[Node, Rule], couplings: Couplings, needed: Tensor
) -> Tensor:
    """What stays needs what it is computed from, and no dimension is left without a unit."""
    needed = couplings.spread(needed)
    steady = _steady(scene, couplings)
    while True:
        wanted = needed | _wanted(scene, rules, couplings, needed)
        for start, size in scene.units.ranges():
            if size and not wanted[start : start + size].any():
                # One that needs nothing itself, if there is one.
                wanted[start + int(steady[start : start + size].int().argmax())] = True
        wanted = couplings.spread(wanted)
        if torch.equal(wanted, needed):
            return needed
        needed = wanted


def _wanted(
    scene: Scene, rules: Mapping[Node, Rule], couplings: Couplings, needed: Tensor
) -> Tensor:
    """The units of which some element is read, from the outputs backwards.

    Args:
        scene: what is known of each node.
        rules: the rule that knew it.
        couplings: which units go together.
        needed: the units whose elements all count as read.
    """
    need: dict[Node, Any] = {}
    wanted = torch.zeros_like(needed)
    for node in scene.graph.outputs:
        for signal in signals(scene.known[node]):
            need[node] = torch.ones((), dtype=torch.bool).expand(signal.unit.shape)
    for node in reversed(scene.graph.nodes):
        known = scene.known.get(node)
        if isinstance(known, Signal):
            mine = need[node] = _either(need.get(node), needed[known.unit])
            wanted[known.unit[mine]] = True
        elif isinstance(known, list):
            need[node] = [
                _either(part, torch.zeros(one.unit.shape, dtype=torch.bool)) if one else None
                for one, part in zip(known, need.get(node, [None] * len(known)), strict=True)
            ]
        if node not in rules or not _any(need.get(node)):
            continue
        if rules[node] is ITEM:
            source, index = node.args
            assert isinstance(source, Node) and isinstance(index, int)
            parts = need.setdefault(source, [None] * len(scene.known[source]))
            parts[index] = _either(parts[index], need[node])
            continue
        for source, read in rules[node].needs(node, need[node], scene):
            if isinstance(scene.known[source], Signal):
                need[source] = _either(need.get(source), read)
    return couplings.spread(wanted)


def _either(some: Tensor | None, others: Tensor) -> Tensor:
    return others if some is None else some | others


def _any(need: Any) -> bool:
    parts = need if isinstance(need, list) else [need]
    return any(bool(part.any()) for part in parts if part is not None)
