"""Edges: the sizes of inputs at which a forward goes another way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_map

from l1prune.deploy.graph import export, quiet
from l1prune.deploy.inputs import Arguments, Sizes

LARGEST = 1 << 16


def edges(model: nn.Module, call: Arguments) -> list[Sizes]:
    """Sizes of inputs just beyond those for which a model does what it does for an example.

    A forward may choose its way by a size, as for long sequences. torch.export finds for which
    sizes the way is the same; of a model that it cannot export for many sizes, nothing is known.

    Args:
        model: in eval mode.
        call: the example.
    """
    args, kwargs = call
    # By name where there are names, by position otherwise, as the arguments are given.
    free = tree_map(_free, kwargs if kwargs else args)
    try:
        with quiet():
            program = export(model, call, free)
    except Exception:
        return []
    ranges = {str(symbol): bounds for symbol, bounds in program.range_constraints.items()}
    return [
        {place: size for place, symbol in _symbols(program) if symbol == name}
        for name, bounds in ranges.items()
        for size in _beyond(bounds)
    ]


def _free(leaf: Any) -> Any:
    return dict.fromkeys(range(leaf.ndim), Dim.AUTO) if isinstance(leaf, Tensor) else None


def _beyond(bounds: Any) -> list[int]:
    """Just above and below a range; 2 is where every range begins that nothing bounds."""
    return [
        *([int(bounds.upper) + 1] if bounds.upper < LARGEST else []),
        *([int(bounds.lower) - 1] if 2 < bounds.lower < LARGEST else []),
    ]


def _symbols(program: ExportedProgram) -> list[tuple[tuple[int, int], str]]:
    """The symbols of the inputs' sizes, by tensor and dimension."""
    names = program.graph_signature.user_inputs
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [places[name].meta["val"] for name in names if isinstance(name, str)]
    shapes: list[Any] = [value.shape for value in values if isinstance(value, torch.Tensor)]
    return [
        ((number, dim), str(size))
        for number, shape in enumerate(shapes)
        for dim, size in enumerate(shape)
        if not isinstance(size, int)
    ]
