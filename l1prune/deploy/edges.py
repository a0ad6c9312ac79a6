"""Edges: the sizes of inputs at which a forward goes another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from l1prune.deploy.graph import export, quiet
from l1prune.deploy.inputs import Arguments, Place, Sizes, tensors

LARGEST = 1 << 16
LADDER = (5, 17, 65, 257)
"""Sizes to try where it is not known which matter."""


def edges(model: nn.Module, call: Arguments) -> list[Sizes]:
    """Sizes of inputs for which a model may do something else than for an example.

    A forward may choose its way by a size, as for long sequences. torch.export finds for which
    sizes the way is the same: those just beyond are edges. A forward may also compute with a size,
    which is a number like any other for one example: so each size changes, on all tensors that
    have to agree on it at once, to about twice and half of what it is. Where torch.export takes a
    size as given, or cannot export for many sizes at all, some others are tried.

    Args:
        model: in eval mode.
        call: the example.
    """
    shapes = [leaf.shape for leaf in tensors(call)]
    given = {(i, dim): size for i, shape in enumerate(shapes) for dim, size in enumerate(shape)}
    program = _program(model, call)
    if program is None:
        first = [(number, 0) for number, shape in enumerate(shapes) if shape]
        return [*(dict.fromkeys(first, size) for size in LADDER), *_fixed(given)]
    symbolic = _symbolic(program)
    hints = {size: given[place] for place, size in symbolic.items() if size.is_Symbol}
    free = {place: size for place, size in symbolic.items() if size.free_symbols <= hints.keys()}
    fixed = {place: size for place, size in given.items() if place not in free}
    return [*_moved(free, hints, program.range_constraints), *_fixed(fixed)]


def _moved(
    free: Mapping[Place, Any], hints: Mapping[Any, int], ranges: Mapping[Any, Any]
) -> Iterator[Sizes]:
    """Each symbol at other values, on all sizes that follow from it."""
    for symbol, hint in hints.items():
        bounds = ranges[symbol]
        within = [n for n in _others(hint) if bounds.lower <= n <= bounds.upper]
        for value in [*_beyond(bounds), *within]:
            values = {**hints, symbol: value}
            yield {
                place: int(size.subs(values))
                for place, size in free.items()
                if symbol in size.free_symbols
            }


def _fixed(given: Mapping[Place, int]) -> Iterator[Sizes]:
    """Each size at others, and all that are equal together: perhaps they have to be."""
    taken = {place: size for place, size in sorted(given.items()) if size > 1}
    for place, size in taken.items():
        yield from ({place: other} for other in (*LADDER, *_others(size)))
    for size in sorted(set(taken.values())):
        same = [place for place in taken if taken[place] == size]
        yield from (dict.fromkeys(same, other) for other in _others(size) if len(same) > 1)


def _others(size: int) -> tuple[int, ...]:
    """Around a size; what divides it divides some of them too."""
    return size // 2, size + 1, 2 * size


def _program(model: nn.Module, call: Arguments) -> ExportedProgram | None:
    """A forward for as many sizes as torch.export can; None if it cannot."""
    leaves, structure = tree_flatten(call)
    free = [
        dict.fromkeys(range(leaf.ndim), Dim.AUTO) if isinstance(leaf, Tensor) else None
        for leaf in leaves
    ]
    try:
        with quiet():
            return export(_Listed(model, structure), ((leaves,), {}), (free,))
    except Exception:
        return None


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


def _symbolic(program: ExportedProgram) -> dict[Place, Any]:
    """The sizes of the inputs that are no plain numbers, as expressions of symbols."""
    names = program.graph_signature.user_inputs
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [places[name].meta["val"] for name in names if isinstance(name, str)]
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    sizes = {(i, dim): size for i, shape in enumerate(shapes) for dim, size in enumerate(shape)}
    nodes = {place: getattr(size, "node", None) for place, size in sizes.items()}
    symbolic = {place: node.expr for place, node in nodes.items() if node is not None}
    return {place: size for place, size in symbolic.items() if size.free_symbols}
