"""Attention: heads are units, and products of activations take them apart or leave them whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy.contractions import argument
from l1prune.deploy.graph import modules_of, place
from l1prune.deploy.rules import Needs, Rule, shrunk
from l1prune.deploy.signals import Scene, Signal, differs, shape_of

aten = torch.ops.aten

SOFTMAX = (aten.softmax, aten._softmax)
PASSING = (aten.clone, aten._to_copy, aten.to, aten.contiguous)
"""Operations after which numbers that add up to 1 still do."""

MULTIHEAD = "torch.nn.modules.activation.MultiheadAttention"


@runtime_checkable
class Multiplies(Protocol):
    """A rule of an operation that multiplies activations with each other, block by block."""

    def blocks(self, node: Node, scene: Scene) -> tuple[Tensor, int]:
        """A unit of each block, as of each head, and how often each multiplies and adds."""
        ...


class Attend(Rule):
    """Scaled dot-product attention: softmax(q·kᵀ/√d + mask)·v, for each head.

    All that a head has of q, k and v goes together, and with it what the head sends on: tensors
    are rectangular, and all heads are of one size. Where heads share keys and values, the units of
    these tie the heads of a group.
    """

    def forward(self, node: Node, scene: Scene) -> Any:
        parts = _parts(node)
        if parts is None or node.meta["val"].ndim < 3:
            return None
        q, k, v = (scene.read(source) for source in (parts.q, parts.k, parts.v))
        k, v = (_repeated(one, q.unit.shape) for one in (k, v))
        if not q.unit.shape[:-2] == k.unit.shape[:-2] == v.unit.shape[:-2]:
            return None
        head = _tie(scene, q.unit, k.unit, v.unit)
        if any(MULTIHEAD in kind for _, kind in modules_of(node)):
            reason = f"a head of {place(node)}, whose heads are as wide together as its input"
            scene.units.fix(head, reason)
        if parts.mask is not None:
            _tie_mask(scene, parts.mask, head, place(node))
        shape = shape_of(node)
        steady = _steady(v)
        if parts.mask is not None and not _is_open(scene.signal(parts.mask)):
            steady = steady & (v.value[..., :1, :] == 0)
        value = v.value[..., :1, :].masked_fill(~steady, 0)
        unit = head[..., None, None]
        return Signal((~steady).expand(shape), value.expand(shape), unit.expand(shape))

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        parts = _parts(node)
        assert parts is not None
        varying = need & scene.signal(node).varies
        heads = varying.any((-2, -1), keepdim=True)
        found = []
        for source in (parts.q, parts.k):
            found.append((source, _gathered(heads, scene.signal(source).unit.shape)))
        read = need.any(-2, keepdim=True)
        found.append((parts.v, _gathered(read, scene.signal(parts.v).unit.shape)))
        if parts.mask is not None:
            scores = heads.expand(*need.shape[:-1], shape_of(parts.k)[-2])
            found.append((parts.mask, shrunk(scores, scene.signal(parts.mask).unit.shape)))
        return found

    def blocks(self, node: Node, scene: Scene) -> tuple[Tensor, int]:
        """A unit of each head, and what q·kᵀ and the product with v take."""
        parts = _parts(node)
        assert parts is not None
        queries, size = shape_of(parts.q)[-2:]
        keys, out = shape_of(parts.v)[-2:]
        return scene.signal(node).unit[..., 0, 0], queries * keys * (size + out)


class Product(Rule):
    """A product of two activations: a zero on one side makes what is on the other not matter.

    The units of both factors stay together, for each of the products that are done side by side:
    so attention that is written out has heads.
    """

    def forward(self, node: Node, scene: Scene) -> Any:
        one, other = node.args[:2]
        if not isinstance(one, Node) or not isinstance(other, Node):
            return None
        left, right = scene.read(one), scene.read(other)
        if left.unit.ndim < 3 or left.unit.shape[:-2] != right.unit.shape[:-2]:
            return None
        if not node.meta["val"].is_floating_point():
            return None
        block, shape = _tie(scene, left.unit, right.unit), shape_of(node)
        varies = _any_product(left.varies, ~right.constant_zero)
        varies = varies | _any_product(~left.constant_zero, right.varies)
        value = left.value @ right.value
        if _adds_up_to_one(one):
            steady = _steady(right).expand(shape)
            varies = varies & ~steady
            value = torch.where(steady, right.value[..., :1, :].expand(shape), value)
        varies = varies | ~value.isfinite()
        unit = block[..., None, None].expand(shape)
        return Signal(varies, value.masked_fill(varies, 0), unit)

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        one, other = node.args[:2]
        assert isinstance(one, Node) and isinstance(other, Node)
        left, right = scene.signal(one), scene.signal(other)
        mine = need & scene.signal(node).varies if _adds_up_to_one(one) else need
        return [
            (one, _any_product(mine, ~right.constant_zero.mT)),
            (other, _any_product(~left.constant_zero.mT, need)),
        ]

    def blocks(self, node: Node, scene: Scene) -> tuple[Tensor, int]:
        """A unit of each product, and what it takes."""
        one = node.args[0]
        assert isinstance(one, Node)
        return scene.signal(node).unit[..., 0, 0], shape_of(one)[-1] * shape_of(node)[-2:].numel()


@dataclass(frozen=True)
class _Parts:
    """What attention reads: ``(..., L, d)``, ``(..., S, d)``, ``(..., S, e)``, ``(..., L, S)``."""

    q: Node
    k: Node
    v: Node
    mask: Node | None


def _parts(node: Node) -> _Parts | None:
    q, k, v, mask, dropout = (argument(node, index) for index in range(5))
    assert isinstance(q, Node) and isinstance(k, Node) and isinstance(v, Node)
    return _Parts(q, k, v, mask) if not dropout else None


def _repeated(signal: Signal, shape: torch.Size) -> Signal:
    """Keys or values that several heads share, once for each of these."""
    heads = signal.unit.shape[-3]
    if heads == shape[-3] or shape[-3] % heads:
        return signal
    parts = (signal.varies, signal.value, signal.unit)
    return Signal(*(part.repeat_interleave(shape[-3] // heads, -3) for part in parts))


def _gathered(need: Tensor, shape: torch.Size) -> Tensor:
    """What is needed for any of the heads that share it, spread over a shape."""
    if need.shape[-3] != shape[-3]:
        need = need.reshape(*need.shape[:-3], shape[-3], -1, *need.shape[-2:]).any(-3)
    return need.expand(shape)


def _tie(scene: Scene, *units: Tensor) -> Tensor:
    """What there is of each block goes together; the unit that stands for it."""
    blocks = torch.cat([unit.flatten(-2) for unit in units], -1)
    scene.units.tie(blocks, blocks[..., :1])
    return blocks[..., 0]


def _tie_mask(scene: Scene, mask: Node, head: Tensor, where: str) -> None:
    """A mask with a part for each head loses it with the head; one for all heads stays."""
    unit = scene.read(mask).unit
    lead = unit.shape[:-2]
    sizes = (1,) * (head.ndim - len(lead)) + tuple(lead)
    if any(size < head.shape[d] and differs(head, d) for d, size in enumerate(sizes)):
        scene.units.fix(unit, f"spread over all heads by {where}")
    else:
        spread = unit.expand(*head.shape, *unit.shape[-2:]).flatten(-2)
        scene.units.tie(spread, head[..., None])


def _steady(v: Signal) -> Tensor:
    """Which values are the same at all places and for all inputs, ``(..., 1, e)``.

    Any average of them is what they are.
    """
    alike = (v.value == v.value[..., :1, :]).all(-2, keepdim=True)
    return alike & ~v.varies.any(-2, keepdim=True)


def _is_open(mask: Signal) -> bool:
    """Whether it is proved that a mask leaves each query a key; else its head may send zeros."""
    leaves = mask.value if mask.value.dtype is torch.bool else torch.ones_like(mask.varies)
    return bool((leaves & ~mask.varies).any(-1).all())


def _any_product(some: Tensor, others: Tensor) -> Tensor:
    """Where a sum of products has one of which both factors are flagged."""
    return (some.float() @ others.float()) > 0


def _adds_up_to_one(node: Node) -> bool:
    """Whether rows come from a softmax."""
    while getattr(node.target, "overloadpacket", None) in PASSING:
        node = node.all_input_nodes[0]
    if getattr(node.target, "overloadpacket", None) not in SOFTMAX:
        return False
    return argument(node, 1) in (-1, len(shape_of(node)) - 1)
