"""Rules: what an operation does to what is known, and what it needs to have been given.

What no rule knows depends on everything it reads, needs all of it, and keeps its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy.graph import place
from l1prune.deploy.signals import Scene, Signal, Stored, along, differs, exact, run, shape_of
from l1prune.deploy.units import FIXED

Needs = list[tuple[Node, Tensor]]


class Rule(Protocol):
    """What is known of one kind of operation."""

    def forward(self, node: Node, scene: Scene) -> Any:
        """What is known of the output, a list for several; None if this is none of the kind.

        Units that the operation binds together are tied, and those whose number it needs fixed.
        """

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        """Which elements of the inputs an operation reads to get right those needed of its output.

        Args:
            node: an operation that `forward` knew.
            need: booleans of the output's shape, a list for several.
            scene: what is known of all nodes.
        """

    def surviving(self, node: Node, twin: Node, scene: Scene, gone: Tensor) -> bool:
        """Whether the same operation in the smaller model computes what survives.

        Args:
            node: an operation that `forward` knew.
            twin: its counterpart in the smaller model, of the same kind and with inputs that are
                what survives of the inputs.
            scene: what is known of the nodes of the original.
            gone: whether each unit is.
        """
        return bool(plain_arguments(node) == plain_arguments(twin))


def plain_arguments(node: Node) -> dict[str, Any]:
    """What is no tensor of all arguments, by name; one that was not given has its default."""
    schema = getattr(node.target, "_schema", None)
    names = [] if schema is None else [one.name for one in schema.arguments]
    defaults = {} if schema is None else {one.name: one.default_value for one in schema.arguments}
    names += [str(number) for number in range(len(names), len(node.args))]
    given = defaults | dict(zip(names, node.args, strict=False)) | node.kwargs
    leaves = {name: torch.utils._pytree.tree_leaves(value) for name, value in given.items()}
    return {
        name: [leaf for leaf in found if not isinstance(leaf, Node)]
        for name, found in leaves.items()
    }


class Opaque(Rule):
    """Anything: nothing is known of what it does."""

    def forward(self, node: Node, scene: Scene) -> Any:
        reason = f"read by {place(node)}"
        for source in node.all_input_nodes:
            known = scene.known[source]
            if isinstance(known, Stored):
                scene.units.fix_whole(known.name, reason)
            for signal in known if isinstance(known, list) else [known]:
                if isinstance(signal, Signal):
                    scene.units.fix(signal.unit, reason)
        return _unknown(node.meta.get("val"))

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        return [
            (source, torch.ones((), dtype=torch.bool).expand(scene.known[source].varies.shape))
            for source in node.all_input_nodes
            if isinstance(scene.known[source], Signal)
        ]


def _unknown(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Signal.unknown(value.shape)
    if isinstance(value, tuple | list):
        return [_unknown(one) for one in value]
    return None


class Check(Rule):
    """Looks at a tensor and leaves no trace; what it looks for is compared like all arguments."""

    def forward(self, node: Node, scene: Scene) -> Any:
        return []

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        return []


class Item(Rule):
    """One of several outputs."""

    def forward(self, node: Node, scene: Scene) -> Any:
        source, index = node.args
        assert isinstance(source, Node) and isinstance(index, int)
        known = scene.known[source]
        return known[index] if isinstance(known, list) else None

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        raise AssertionError("needs of items are gathered where the list is made")


class Pointwise(Rule):
    """Each element of the output depends on the elements in the same place, as broadcast."""

    def forward(self, node: Node, scene: Scene) -> Any:
        if not isinstance(node.meta["val"], Tensor) or node.meta["val"].is_complex():
            return None
        shape = shape_of(node)
        signals = _signals(node, scene, shape)
        varies = _varies(node, signals, shape)
        unit = _join(node, signals, scene, shape)
        value = torch.zeros((), dtype=torch.double).expand(shape)
        if not varies.all():
            value = _value(node, signals)
            varies = varies | ~value.isfinite()
            value = value.masked_fill(varies, 0)
        return Signal(varies, value, unit)

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        read = [source for source in node.all_input_nodes if scene.stored(source) is None]
        found = []
        for source in read:
            mine = need
            if _is_product(node):
                for other in node.all_input_nodes:
                    if other is not source:
                        mine = mine & ~scene.constant_zero(other)
            found.append((source, shrunk(mine, scene.signal(source).varies.shape)))
        return found


def _value(node: Node, signals: dict[Node, Signal]) -> Tensor:
    """What the operation makes of the constants; nothing finite where it fails on all the rest."""
    try:
        value = run(node, {source: signal.value for source, signal in signals.items()})
    except (RuntimeError, ZeroDivisionError):
        return torch.full(shape_of(node), torch.nan, dtype=torch.double)
    return exact(value)


def _is_product(node: Node) -> bool:
    return node.target is torch.ops.aten.mul.Tensor and len(node.all_input_nodes) == 2


def _varies(node: Node, signals: dict[Node, Signal], shape: torch.Size) -> Tensor:
    varies = torch.zeros((), dtype=torch.bool).expand(shape)
    for signal in signals.values():
        varies = varies | signal.varies
    if _is_product(node):
        for signal in signals.values():
            varies = varies & ~signal.constant_zero
    return varies


def _signals(node: Node, scene: Scene, shape: torch.Size) -> dict[Node, Signal]:
    """The inputs' signals; a parameter has its units along the dimension where the others do."""
    known = {n: scene.signal(n) for n in node.all_input_nodes if scene.stored(n) is None}
    if not known:
        return {source: scene.read(source) for source in node.all_input_nodes}
    found = dict(known)
    for source in node.all_input_nodes:
        if (stored := scene.stored(source)) is not None:
            found[source] = _beside(stored, list(known.values()), node, scene, shape)
    return found


def _beside(
    stored: Stored, others: Sequence[Signal], node: Node, scene: Scene, shape: torch.Size
) -> Signal:
    values = scene.tensor(stored)
    lead = len(shape) - values.ndim
    units = [other.unit.expand(shape) for other in others]
    labelled = [d for d in range(len(shape)) if any(differs(unit, d) for unit in units)]
    inside = [d for d in labelled if d >= lead and values.shape[d - lead] > 1]
    if len(labelled) == len(inside) == 1:
        dim = inside[0] - lead
        scene.keep_other_dims(stored, dim)
        return Signal.constant(values, along(scene.units_of(stored, dim), dim, values.shape))
    if inside or not labelled:
        scene.units.fix_whole(stored.name, f"read by {place(node)}")
    return Signal.constant(values)


def _join(node: Node, signals: dict[Node, Signal], scene: Scene, shape: torch.Size) -> Tensor:
    """Tie what meets in each place. What is spread over several units has to stay one."""
    units = {source: signal.unit.expand(shape) for source, signal in signals.items()}
    joined: list[Tensor] = []
    for source, unit in units.items():
        size = signals[source].unit.shape
        lead = len(shape) - len(size)
        broadcast = [d for d in range(len(shape)) if d < lead or size[d - lead] < shape[d]]
        others = [other for one, other in units.items() if one is not source]
        if any(differs(other, d) for d in broadcast for other in others):
            scene.units.fix(unit, f"spread over all units by {place(node)}")
        elif size.numel() > 1 or len(units) == 1 or unit.numel() == 1:
            joined.append(unit)
    for other in joined[1:]:
        scene.units.tie(joined[0], other)
    return joined[0] if joined else torch.tensor(FIXED).expand(shape)


def shrunk(need: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo a broadcast: what is needed in any of the places to which an element was spread.

    >>> shrunk(torch.tensor([[True, False], [False, False]]), (2, 1))
    tensor([[ True],
            [False]])
    """
    lead = need.ndim - len(shape)
    dims = [d for d in range(need.ndim) if d < lead or shape[d - lead] < need.shape[d]]
    return (need.any(tuple(dims)) if dims else need).reshape(torch.Size(shape))
