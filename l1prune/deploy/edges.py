"""Edges: the sizes of inputs at which a forward goes another way."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from l1prune.deploy.graph import export, quiet
from l1prune.deploy.inputs import Arguments, Sizes

LARGEST = 1 << 16
LADDER = (5, 17, 65, 257)
"""Sizes to try where it is not known which matter."""


def edges(model: nn.Module, call: Arguments) -> list[Sizes]:
    """Sizes of inputs for which a model may do something else than for an example.

    A forward may choose its way by a size, as for long sequences. torch.export finds for which
    sizes the way is the same: those just beyond are edges. Where it takes a size as given, or
    cannot export for many sizes at all, some others are tried.

    Args:
        model: in eval mode.
        call: the example.
    """
    leaves, structure = tree_flatten(call)
    free = [
        dict.fromkeys(range(leaf.ndim), Dim.AUTO) if isinstance(leaf, Tensor) else None
        for leaf in leaves
    ]
    shapes = [leaf.shape for leaf in leaves if isinstance(leaf, Tensor)]
    try:
        with quiet():
            program = export(_Listed(model, structure), ((leaves,), {}), (free,))
    except Exception:
        first = [(number, 0) for number, shape in enumerate(shapes) if shape]
        return [dict.fromkeys(first, size) for size in LADDER]
    symbols = _symbols(program)
    taken = {
        (i, dim) for i, shape in enumerate(shapes) for dim, size in enumerate(shape) if size > 1
    }
    return [
        *(
            {place: size for place, symbol in symbols.items() if symbol == str(name)}
            for name, bounds in program.range_constraints.items()
            for size in _beyond(bounds)
        ),
        *({place: size} for place in sorted(taken - set(symbols)) for size in LADDER),
    ]


class _Listed(nn.Module):
    """A model that takes its arguments in one list, however it takes them."""

    def __init__(self, model: nn.Module, structure: TreeSpec) -> None:
        super().__init__()
        self.model, self.structure = model, structure

    def forward(self, leaves: list[Any]) -> Any:
        args, kwargs = tree_unflatten(leaves, self.structure)
        return self.model(*args, **kwargs)


def _beyond(bounds: Any) -> list[int]:
    """Just above and below a range; 2 is where every range begins that nothing bounds."""
    return [
        *([int(bounds.upper) + 1] if bounds.upper < LARGEST else []),
        *([int(bounds.lower) - 1] if 2 < bounds.lower < LARGEST else []),
    ]


def _symbols(program: ExportedProgram) -> dict[tuple[int, int], str]:
    """The symbols of the inputs' sizes, by tensor and dimension."""
    names = program.graph_signature.user_inputs
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [places[name].meta["val"] for name in names if isinstance(name, str)]
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    return {
        (number, dim): str(size)
        for number, shape in enumerate(shapes)
        for dim, size in enumerate(shape)
        if not str(size).isdigit()
    }
