"""Proof: two models run in float64 on the same inputs, and their operations compared one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from l1prune.deploy.graph import Arguments, Graph, place
from l1prune.deploy.liveness import ITEM, Liveness
from l1prune.deploy.signals import Signal, Stored

TOLERANCE = 1e-9
HALVES = (torch.float32, torch.bfloat16, torch.float16)


class Float64(TorchFunctionMode):
    """All that is computed within is computed in float64, whatever type the model asks for.

    No copy of the model is made: each weight is converted where it is used.

    >>> layer = nn.Linear(2, 1)
    >>> with Float64():
    ...     layer(torch.ones(1, 2)).dtype
    torch.float64
    """

    def __enter__(self) -> Float64:
        self._default = torch.get_default_dtype()
        torch.set_default_dtype(torch.double)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self._default)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_exact, (args, kwargs or {}))
        name = getattr(func, "__name__", "")
        return func(*args, **kwargs).double() if name in ("float", "half", "bfloat16") else func(
            *args, **kwargs
        )


def _exact(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.dtype in HALVES else value
    return torch.double if isinstance(value, torch.dtype) and value in HALVES else value


def outputs(model: nn.Module, call: Arguments) -> list[Any]:
    """All that a model returns, tensors and others, in order."""
    args, kwargs = call
    with torch.no_grad():
        return list(tree_leaves(model(*args, **kwargs)))


def difference(some: list[Any], others: list[Any]) -> float:
    """The largest difference of two lists of outputs, over the largest value of each tensor."""
    if len(some) != len(others):
        return float("inf")
    return max((_difference(*pair) for pair in zip(some, others, strict=True)), default=0.0)


def _difference(one: Any, other: Any) -> float:
    if not isinstance(one, Tensor):
        return 0.0 if one is other or one == other else float("inf")
    if not isinstance(other, Tensor) or one.shape != other.shape:
        return float("inf")
    if not (one.is_floating_point() or one.is_complex()):
        return 0.0 if torch.equal(one, other) else float("inf")
    one, other = (value.to(torch.promote_types(value.dtype, torch.double)) for value in (one, other))
    finite = one.isfinite()
    same = (one == other) | (one.isnan() & other.isnan())
    if not same[~finite].all():
        return float("inf")
    gap = (one - other)[finite].abs()
    if not gap.numel() or not gap.max():
        return 0.0
    largest = float(gap.max() / one[finite].abs().max())
    return largest if largest == largest else float("inf")


def variations(call: Arguments, seed: int = 0) -> Iterator[Arguments]:
    """Random inputs like an example, of its shape and of others.

    Floats are as large as the example's and ten times as large, whole numbers lie within its
    range. Other shapes are: one of the batch, the batch and one more, and the last dimensions
    longer; a model need not take them.
    """
    source = torch.Generator().manual_seed(seed)
    leaves = [leaf for leaf in tree_leaves(call) if isinstance(leaf, Tensor)]
    yield call
    for scale in (1.0, 10.0):
        yield tree_map(lambda leaf: _random(leaf, scale, source), call)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves):
        return
    for change in _CHANGES:
        changed = tree_map(lambda leaf, change=change: _changed(leaf, change), call)
        if any(
            isinstance(leaf, Tensor) and isinstance(old, Tensor) and leaf.shape != old.shape
            for leaf, old in zip(tree_leaves(changed), tree_leaves(call), strict=True)
        ):
            yield tree_map(lambda leaf: _random(leaf, 1.0, source), changed)


def _random(leaf: Any, scale: float, source: torch.Generator) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.numel():
        return leaf
    if leaf.is_floating_point() or leaf.is_complex():
        noise = torch.randn(leaf.shape, generator=source, dtype=torch.double).to(leaf)
        size = leaf.abs().square().mean().sqrt()
        return noise * (size if size > 0 else 1.0) * scale
    if leaf.dtype is torch.bool:
        return leaf
    low, high = int(leaf.min()), int(leaf.max())
    return torch.randint(low, high + 1, leaf.shape, generator=source).to(leaf)


def _changed(leaf: Any, change: Callable[[torch.Size], list[int]]) -> Any:
    """A tensor of another shape, the example's elements repeated in it."""
    if not isinstance(leaf, Tensor):
        return leaf
    for dim, size in enumerate(change(leaf.shape)):
        index = torch.arange(size, device=leaf.device) % leaf.shape[dim]
        leaf = leaf.index_select(dim, index)
    return leaf


_CHANGES: tuple[Callable[[torch.Size], list[int]], ...] = (
    lambda shape: [1, *shape[1:]],
    lambda shape: [shape[0] + 1, *shape[1:]],
    lambda shape: [3 * shape[0] + 2, *shape[1:]],
    lambda shape: [*shape[:2], *(size + 1 for size in shape[2:])],
    lambda shape: [*shape[:2], *(2 * size + 1 for size in shape[2:])],
    lambda shape: [shape[0], *(size + 1 for size in shape[1:2]), *shape[2:]],
)


def references(model: nn.Module, call: Arguments) -> list[tuple[Arguments, list[Any]]]:
    """Inputs that a model takes, and what it makes of them in float64.

    Raises:
        ValueError: it does not run in float64.
    """
    found: list[tuple[Arguments, list[Any]]] = []
    for variation in variations(call):
        try:
            found.append((variation, exact_outputs(model, variation)))
        except Exception as error:
            if not found:
                raise ValueError(
                    f"model: {type(model).__name__} does not run in float64, in which its smaller "
                    f"form is compared with it: {error}"
                ) from error
    return found


def exact_outputs(model: nn.Module, call: Arguments) -> list[Any]:
    """What a model returns when all is computed in float64."""
    with warnings.catch_warnings(), Float64():
        warnings.simplefilter("ignore")  # the model's own, not of this run
        return outputs(model, tree_map(_exact, call))


def disagreement(
    twin: nn.Module, expected: list[tuple[Arguments, list[Any]]]
) -> tuple[float, str | None]:
    """The largest relative difference in float64, and what is wrong, if anything is."""
    worst = 0.0
    for call, outs in expected:
        try:
            worst = max(worst, difference(outs, exact_outputs(twin, call)))
        except Exception as error:
            return float("inf"), f"without them it fails: {str(error).splitlines()[0]}"
    if worst <= TOLERANCE:
        return worst, None
    return worst, f"without them the outputs differ by {worst:.1e}"


def mismatch(liveness: Liveness, twin: Graph, gone: Tensor) -> str | None:
    """Where the operations of the smaller model are not those of the original, if they are not.

    Both graphs are walked side by side. Each operation of the smaller model has to be the same,
    of the shape of what survives, and to compute that from what survives of its inputs.
    """
    scene = liveness.scene
    nodes, twins = scene.graph.nodes, twin.nodes
    if len(nodes) != len(twins):
        return "without them the model does other operations"
    pairs = dict(zip(nodes, twins, strict=True))
    for node, other in pairs.items():
        inputs = [pairs[source] for source in node.all_input_nodes]
        if node.target != other.target and node.op != "placeholder":
            return f"without them {place(node)} is another operation"
        if inputs != other.all_input_nodes or not _survives(node, other, liveness, gone):
            return f"a size is written down for {place(node)}"
    return None


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
