"""Inputs: how a model is called, and other inputs of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from l1prune.checks import is_whole

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Place = tuple[int, int]
"""The index of a tensor among the inputs, and one of its dimensions."""

Sizes = Mapping[Place, int]


def arguments(example_input: Any) -> Arguments:
    """How a model is called with an example: a mapping by keyword, a tuple by position.

    >>> arguments(1), arguments((1, 2)), arguments({"x": 1})
    (((1,), {}), ((1, 2), {}), ((), {'x': 1}))
    """
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    return (
        tuple(example_input) if isinstance(example_input, tuple | list) else (example_input,)
    ), {}


def example_of(call: Arguments) -> Any:
    """The example that `arguments` makes such a call of.

    >>> example_of(((1, 2), {})), example_of(((), {"x": 1}))
    ((1, 2), {'x': 1})
    """
    args, kwargs = call
    return kwargs or args


def tensors(call: Arguments) -> list[Tensor]:
    """The tensors among the arguments, in order."""
    return [leaf for leaf in tree_leaves(call) if isinstance(leaf, Tensor)]


def variations(
    call: Arguments, edges: Sequence[Sizes] | None, seed: int = 0
) -> Iterator[Arguments]:
    """Random inputs like an example, of its shape and of others.

    Floats are as large as the example's and ten times as large, whole numbers lie within its
    range. Other shapes are: batches of one and more, shorter and longer sequences, larger images;
    a model need not take them.

    Args:
        call: the example.
        edges: more sizes to try; None: of its shape only.
        seed: of the randomness.
    """
    source = torch.Generator().manual_seed(seed)
    for scale in (1.0, 10.0):
        yield tree_map(partial(_random, scale=scale, source=source), call)
    if edges is not None:
        yield from at_sizes(call, [*_other_sizes(call), *edges], source)


def at_sizes(
    call: Arguments, others: Sequence[Sizes], source: torch.Generator
) -> Iterator[Arguments]:
    """Random inputs like an example, of other shapes, each once."""
    seen = {_shapes(call)}
    for sizes in others:
        changed = resized(call, sizes)
        if (shapes := _shapes(changed)) not in seen:
            seen.add(shapes)
            yield tree_map(partial(_random, scale=1.0, source=source), changed)


def resized(call: Arguments, sizes: Sizes) -> Arguments:
    """An example with some sizes changed, its elements repeated."""
    numbers = {id(leaf): number for number, leaf in enumerate(tensors(call))}

    def change(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        number = numbers[id(leaf)]
        for dim in range(leaf.ndim):
            if (size := sizes.get((number, dim))) is not None and leaf.shape[dim]:
                index = torch.arange(size, device=leaf.device) % leaf.shape[dim]
                where: tuple[Any, ...] = (*[slice(None)] * dim, index)
                leaf = leaf[where]  # as index_select, but the layout in memory stays
        return leaf

    changed: Arguments = tree_map(change, call)
    return changed


def at_batches(call: Arguments, batches: Sequence[int] | None) -> dict[int, Arguments]:
    """An example at several batch sizes, its elements repeated.

    The batch is the first dimension of the first tensor, and of all tensors as long as that.

    Args:
        call: the example.
        batches: the sizes; None: the example's own.

    Raises:
        ValueError: there are no such sizes.

    >>> list(at_batches(((torch.ones(2, 3),), {}), (1, 64)))
    [1, 64]
    """
    along = batched(call)
    if batches is None:
        return {len(tensors(call)[along[0]]) if along else 1: call}
    if not along:
        raise ValueError("batches: the example has no tensor with a first dimension, the batch")
    for batch in batches:
        if not is_whole(batch, 1):
            raise ValueError(f"batches must be whole numbers from 1, as (1, 64), got {batches!r}")
    return {batch: in_batches(call, batch) for batch in batches}


def in_batches(call: Arguments, size: int) -> Arguments:
    """An example with so many in its batch, its elements repeated.

    The batch is the first dimension of the first tensor that has one, and of all that are as long
    there.

    >>> x, positions = torch.zeros(2, 3), torch.arange(5)
    >>> [tuple(one.shape) for one in tensors(in_batches(((x, positions), {}), 7))]
    [(7, 3), (5,)]
    """
    return resized(call, {(number, 0): size for number in batched(call)})


@contextmanager
def first_call(model: nn.Module) -> Iterator[list[Arguments]]:
    """How a model is called first by whatever runs within; empty as long as it is not.

    >>> model = nn.Linear(2, 1)
    >>> with first_call(model) as calls:
    ...     _ = model(torch.ones(3, 2)), model(torch.ones(1, 2))
    >>> [tuple(one.shape) for one in tensors(calls[0])], len(calls)
    ([(3, 2)], 1)
    """
    calls: list[Arguments] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not calls:
            calls.append((args, kwargs))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def batched(call: Arguments) -> list[int]:
    """Which of the tensors among the arguments have a batch: their numbers, in order."""
    lengths = {n: len(leaf) for n, leaf in enumerate(tensors(call)) if leaf.ndim}
    size = next(iter(lengths.values()), None)
    return [n for n, length in lengths.items() if length == size]


def _shapes(call: Arguments) -> tuple[torch.Size, ...]:
    return tuple(leaf.shape for leaf in tensors(call))


def _random(leaf: Any, scale: float, source: torch.Generator) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.numel() or leaf.dtype is torch.bool:
        return leaf
    if leaf.is_floating_point() or leaf.is_complex():
        noise = torch.randn(leaf.shape, generator=source, dtype=torch.double).to(leaf)
        size = leaf.abs().square().mean().sqrt()
        return noise * (size if size > 0 else 1.0) * scale
    low, high = int(leaf.min()), int(leaf.max())
    return torch.randint(low, high + 1, leaf.shape, generator=source).to(leaf)


def _other_sizes(call: Arguments) -> Iterator[Sizes]:
    """The batch is the first dimension of all tensors, the sequence the second, images the rest."""
    shapes = dict(enumerate(_shapes(call)))
    for factor, more in ((0, 1), (1, 1), (3, 2)):
        yield {(i, 0): factor * shape[0] + more for i, shape in shapes.items() if shape}
    for factor, more in ((0, 1), (1, 1), (4, 3)):
        yield {(i, 1): factor * shape[1] + more for i, shape in shapes.items() if shape[1:]}
    for factor, more in ((1, 1), (2, 0), (2, 1)):
        yield {
            (i, dim): factor * size + more
            for i, shape in shapes.items()
            for dim, size in enumerate(shape)
            if dim > 1
        }
