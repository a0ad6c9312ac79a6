"""Movements: operations whose outputs are some of their inputs' elements, in another place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from l1prune.deploy.graph import place
from l1prune.deploy.rules import Needs, Rule
from l1prune.deploy.signals import Scene, Signal, Stored, differs, run

aten = torch.ops.aten

COPIES = (
    *(aten.cat, aten.stack, aten.hstack, aten.vstack, aten.concat, aten.clone, aten.contiguous),
    *(aten.reshape, aten.flatten, aten.unflatten, aten._unsafe_view, aten.repeat, aten.tile),
    *(aten.flip, aten.roll, aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle),
    *(aten.constant_pad_nd, aten.pad, aten.select_scatter, aten.slice_scatter),
    *(aten.chunk, aten.tensor_split, aten.narrow, aten.movedim, aten.swapaxes),
    aten.repeat_interleave,
)
NO_MOVEMENTS = ("as_strided", "real", "imag", "view_as_real", "view_as_complex", "_conj")
PADDINGS = (aten.constant_pad_nd.default, aten.pad.default)
TRANSPOSITIONS = (aten.t.default, aten.transpose.int, aten.permute.default)


def is_movement(target: Any) -> bool:
    """Whether an operation only moves elements: all views do, and some that copy."""
    if getattr(target, "overloadpacket", None) in COPIES:
        return True
    schema = getattr(target, "_schema", None)
    if schema is None or schema.name.partition("::")[2] in NO_MOVEMENTS:
        return False
    aliases = [argument.alias_info for argument in schema.arguments if argument.alias_info]
    return bool(aliases) and not any(alias.is_write for alias in aliases)


class Movement(Rule):
    """The operation is done on the places of the elements, which tells where each comes from."""

    def forward(self, node: Node, scene: Scene) -> Any:
        if (moved := _transposed(node, scene)) is not None:
            return moved
        if not _movable(node, scene):
            return None
        signals = {source: scene.read(source) for source in node.all_input_nodes}
        origins = _origins(node, {source: signal.unit.shape for source, signal in signals.items()})
        if _leaves_some_out(origins, signals):
            scene.units.fix(_cut_off(origins, signals), f"cut by {place(node)}")
            signals = {n: _anywhere(signal) for n, signal in signals.items()}
        varies = _flat([signal.varies for signal in signals.values()])
        value = _flat([signal.value for signal in signals.values()])
        unit = _flat([signal.unit for signal in signals.values()])
        found = [Signal(varies[o], value[o], unit[o]) for o in _listed(origins)]
        if any((origin == 0).any() for origin in _listed(origins)):
            (signal,) = signals.values()
            found = [Signal(one.varies, one.value, _padded(node, signal, one)) for one in found]
        return found if isinstance(origins, list) else found[0]

    def needs(self, node: Node, need: Any, scene: Scene) -> Needs:
        if isinstance(scene.known[node], Stored):
            return []
        signals = dict(scene.signals(node))
        shapes = {source: signal.unit.shape for source, signal in signals.items()}
        total = 1 + sum(shape.numel() for shape in shapes.values())
        read = torch.zeros(total, dtype=torch.bool)
        for origin, wanted in zip(_listed(_origins(node, shapes)), _listed(need), strict=True):
            read[origin[wanted]] = True
        parts = torch.split(read[1:], [shape.numel() for shape in shapes.values()])
        return [
            (source, part.view(shape))
            for (source, shape), part in zip(shapes.items(), parts, strict=True)
        ]

    def surviving(self, node: Node, twin: Node, scene: Scene, gone: Tensor) -> bool:
        if isinstance(scene.known[node], Stored):
            return True
        signals = dict(scene.signals(node))
        shapes = {source: signal.unit.shape for source, signal in signals.items()}
        stay = [~gone[signal.unit] for signal in signals.values()]
        renumbered = torch.cat([torch.ones(1, dtype=torch.bool), *(s.flatten() for s in stay)])
        number = renumbered.long().cumsum(0) - 1
        expected = [
            number[origin[~gone[signal.unit]]]
            for origin, signal in zip(
                _listed(_origins(node, shapes)), _listed(scene.known[node]), strict=True
            )
        ]
        smaller = {one: one.meta["val"].shape for one in twin.all_input_nodes}
        try:
            found = _listed(_origins(twin, smaller))
        except RuntimeError:
            return False
        return len(found) == len(expected) and all(
            torch.equal(one.flatten(), other) for one, other in zip(found, expected, strict=True)
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _leaves_some_out(origins: Any, signals: dict[Node, Signal]) -> bool:
    read = torch.cat([origin.flatten() for origin in _listed(origins)])
    return len(torch.unique(read[read > 0])) < sum(
        signal.unit.numel() for signal in signals.values()
    )


def _cut_off(origins: Any, signals: dict[Node, Signal]) -> Tensor:
    """Units of tables, that no input reaches, of which nothing is read at this length."""
    units = torch.cat([signal.unit.flatten() for signal in signals.values()])
    read = torch.cat([origin.flatten() for origin in _listed(origins)])
    tables = [signal.unit.flatten() for signal in signals.values() if not signal.varies.any()]
    seen = torch.unique(units[read[read > 0] - 1])
    return torch.cat([unit[~torch.isin(unit, seen)] for unit in [seen, *tables]])


def _anywhere(signal: Signal) -> Signal:
    """What is known of the elements wherever they are cut out: for longer inputs it is elsewhere.

    A table of positions is cut to the length of the input: what is constant at the example's
    length is so at others if it is the same all along.
    """
    steady = not signal.varies.any()
    varies, value = signal.varies, signal.value
    for dim in range(value.ndim):
        if steady or not differs(signal.unit, dim):
            alike = (value == value.narrow(dim, 0, 1)).all(dim, keepdim=True)
            varies = varies | varies.any(dim, keepdim=True) | ~alike
    return Signal(varies, value.masked_fill(varies, 0), signal.unit)


def _flat(parts: list[Tensor]) -> Tensor:
    """All elements in order, after one 0 for what is filled in."""
    return torch.cat([torch.zeros(1, dtype=parts[0].dtype), *(part.flatten() for part in parts)])


def _transposed(node: Node, scene: Scene) -> Stored | None:
    """A parameter whose dimensions are put in another order is still that parameter."""
    stored = scene.stored(node.args[0])
    if stored is None or node.target not in TRANSPOSITIONS:
        return None
    sizes = torch.empty(tuple(range(len(stored.order))), device="meta")  # each dim has its own
    moved = run(node, {node.all_input_nodes[0]: sizes}).shape
    return Stored(stored.name, tuple(stored.order[size] for size in moved))


def _movable(node: Node, scene: Scene) -> bool:
    """Whether places can be moved like values: one kind of numbers, and no others filled in."""
    values = [node.meta["val"], *(source.meta["val"] for source in node.all_input_nodes)]
    tensors = [tensor for value in values for tensor in _listed_any(value)]
    if len({tensor.dtype for tensor in tensors}) > 1 or tensors[0].is_complex():
        return False
    return node.target not in PADDINGS or not any(
        isinstance(value, int | float) and value
        for value in (*node.args[2:], *node.kwargs.values())
    )


def _listed_any(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _origins(node: Node, shapes: dict[Node, torch.Size]) -> Any:
    """From which element of all the inputs, counted from 1, each of the output comes; 0: none."""
    numbers, start = {}, 1
    for source, shape in shapes.items():
        count = shape.numel()
        numbers[source] = torch.arange(start, start + count, dtype=torch.double).view(shape)
        start += count
    moved = run(node, numbers)
    return [one.long() for one in moved] if isinstance(moved, tuple | list) else moved.long()


def _padded(node: Node, source: Signal, moved: Signal) -> Tensor:
    """Units of padding: those beside which it stands; fixed where it makes new ones."""
    unit = moved.unit
    for dim in range(unit.ndim):
        size, longer = source.unit.shape[dim], unit.shape[dim]
        if size != longer and differs(source.unit, dim):
            return unit
    reduced = source.unit
    for dim in range(unit.ndim):
        if reduced.shape[dim] != unit.shape[dim]:
            reduced = reduced.narrow(dim, 0, 1)
    return reduced.expand(unit.shape)
