"""Coupling: which indices of which parameters are one channel, and what a channel costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from l1prune.deploy.attention import Multiplies
from l1prune.deploy.contractions import TRANSPOSED, contraction
from l1prune.deploy.graph import trace
from l1prune.deploy.inputs import arguments, tensors
from l1prune.deploy.liveness import CONTRACT, ITEM, MOVEMENT, OPAQUE, Liveness, analyse
from l1prune.deploy.macs import macs_of_call
from l1prune.deploy.signals import Signal, shape_of
from l1prune.weights.pieces import widest


@dataclass(frozen=True, eq=False)
class Coupling:
    """The channels of a model, numbered from 0, and where they lie.

    A channel is an index of the dimensions that shorten together when it is removed: the row of
    the layer that makes it, its bias, the scale and shift of its norm, the columns of the layers
    that read it, in all layers of a residual stream; of attention it is a head, with all that is
    its own of queries, keys, values and the columns that read it. What has to stay is channel
    `count`.

    Args:
        places: by a parameter's name, the channel of each index of each dimension; None where no
            index of a dimension can go.
        streams: the channels that lie in the same dimensions, as those of one layer, or of several
            that are added up, each ``(n,)``; layers that are concatenated have one each.
        shapes: of all parameters of the model, by name.
        positions: by a weight's name, at how many places of the example it is multiplied.
        products: activations that are multiplied with each other, as queries with keys: the
            channel of each block of them, ``(blocks,)``, and how often each multiplies.
        rest: multiply-accumulates of neither kind for the example, as of recurrent layers.
        writes: what norms, activations and sums write, an entry for each of them: some channels,
            and how many elements each has.
    """

    places: Mapping[str, tuple[Tensor | None, ...]]
    streams: tuple[Tensor, ...]
    shapes: Mapping[str, torch.Size]
    positions: Mapping[str, int]
    products: tuple[tuple[Tensor, int], ...] = ()
    rest: int = 0
    writes: tuple[tuple[Tensor, int], ...] = ()

    @property
    def count(self) -> int:
        """How many channels there are."""
        return sum(map(len, self.streams))

    def members(self, name: str) -> Iterator[tuple[int, Tensor]]:
        """The dimensions of a parameter that have channels, each with those of its indices."""
        for dim, index in enumerate(self.places.get(name, ())):
            if index is not None:
                yield dim, index

    def sums(self, values: Mapping[str, Tensor]) -> Tensor:
        """The sum of some values over all entries of each channel, ``(count + 1,)``.

        Args:
            values: by a parameter's name, of its shape.
        """
        device = next((value.device for value in values.values()), torch.device("cpu"))
        total = torch.zeros(self.count + 1, dtype=widest(device), device=device)
        for name, value in values.items():
            for dim, index in self.members(name):
                others = [d for d in range(value.ndim) if d != dim]
                lengthwise = value.sum(others) if others else value
                total.index_add_(0, index.to(total.device), lengthwise.to(total))
        return total

    def factors(self, name: str, values: Tensor) -> Iterator[Tensor]:
        """What channels of a parameter are given, to be multiplied with it, one per dimension.

        Args:
            name: the parameter's.
            values: of each channel, ``(count + 1,)``; 1 of what has to stay.
        """
        shape = self.shapes[name]
        for dim, index in self.members(name):
            sizes = [-1 if d == dim else 1 for d in range(len(shape))]
            yield values[index.to(values.device)].view(sizes)

    def to(self, device: torch.device) -> Coupling:
        """The same, with its numbers on a device."""
        places = {
            name: tuple(None if index is None else index.to(device) for index in dims)
            for name, dims in self.places.items()
        }
        return replace(self, places=places)

    def within(self, names: Collection[str]) -> Coupling:
        """Only the streams of which all parameters are among these."""
        reaches_out = torch.zeros(self.count + 1, dtype=torch.bool)
        for name in self.places:
            for _, index in self.members(name) if name not in names else ():
                reaches_out[index] = True
        return self.only([not bool(reaches_out[stream].any()) for stream in self.streams])

    def only(self, chosen: Sequence[bool]) -> Coupling:
        """Only some of the streams, numbered anew; all else has to stay."""
        kept = [stream for stream, mine in zip(self.streams, chosen, strict=True) if mine]
        count = sum(map(len, kept))
        number = torch.full((self.count + 1,), count)
        number[torch.cat([*kept, torch.empty(0, dtype=torch.long)])] = torch.arange(count)
        places = {
            name: tuple(None if index is None else number[index] for index in dims)
            for name, dims in self.places.items()
        }
        streams = torch.split(torch.arange(count), [len(stream) for stream in kept])
        products, writes = (
            tuple((number[index], times) for index, times in work)
            for work in (self.products, self.writes)
        )
        return replace(
            self,
            places=_used(places, count),
            streams=streams,
            products=products,
            writes=writes,
        )


def _used(
    places: Mapping[str, tuple[Tensor | None, ...]], count: int
) -> dict[str, tuple[Tensor | None, ...]]:
    """Without dimensions, and parameters, in which there is no channel that can go."""
    used = {
        name: tuple(
            index if index is not None and bool((index < count).any()) else None for index in dims
        )
        for name, dims in places.items()
    }
    return {n: dims for n, dims in used.items() if any(index is not None for index in dims)}


def coupling_of(model: nn.Module, example_input: Any) -> Coupling:
    """Find the channels of a model on its exported graph.

    Args:
        model: in training or eval mode; it is left as it is.
        example_input: a tensor, a tuple of what the model takes, or a mapping of it by name.

    Raises:
        ValueError: its forward cannot be exported.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> coupling = coupling_of(model, torch.ones(1, 4))
    >>> coupling.count, list(coupling.places)
    (8, ['0.weight', '0.bias', '2.weight'])
    """
    call = arguments(example_input)
    if any(not tensor.numel() for tensor in tensors(call)):
        raise ValueError("the example of the input is empty: give one with a batch of at least 1")
    with evaluated(model), torch.no_grad():
        liveness = analyse(trace(model, call))
        total = macs_of_call(model, call)
    root = liveness.couplings.root
    free = torch.unique(root[liveness.free])
    number = torch.full_like(root, len(free))
    number[free] = torch.arange(len(free))
    number = number[root]
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    places: dict[str, list[Tensor | None]] = {n: [None] * len(size) for n, size in shapes.items()}
    for name, dim in liveness.scene.units.starts:
        if name in shapes:
            places[name][dim] = number[liveness.scene.units.of(name, dim)]
    used = _used({name: tuple(dims) for name, dims in places.items()}, len(free))
    positions = _positions(liveness)
    products = tuple((number[unit], times) for unit, times in _products(liveness))
    known = sum(times * shapes[name].numel() for name, times in positions.items())
    known += sum(times * len(index) for index, times in products)
    found = Coupling(
        places=used,
        streams=_streams(used, len(free)),
        shapes=shapes,
        positions=positions,
        products=products,
        rest=max(total - known, 0),
        writes=tuple(
            (channels[counts == times], times)
            for unit in _written(liveness)
            for channels, counts in [torch.unique(number[unit], return_counts=True)]
            for times in set(counts.tolist())
        ),
    )
    return found.only([True] * len(found.streams))


def _streams(places: Mapping[str, tuple[Tensor | None, ...]], count: int) -> tuple[Tensor, ...]:
    """The channels that lie in the same dimensions, together."""
    dims: list[list[int]] = [[] for _ in range(count)]
    indices = (index for of_one in places.values() for index in of_one if index is not None)
    for dim, index in enumerate(indices):
        for channel in torch.unique(index).tolist():
            if channel < count:
                dims[channel].append(dim)
    groups: dict[tuple[int, ...], list[int]] = {}
    for channel, mine in enumerate(dims):
        groups.setdefault(tuple(mine), []).append(channel)
    return tuple(torch.tensor(group) for group in groups.values())


def _positions(liveness: Liveness) -> dict[str, int]:
    """By a weight's name, how often it is multiplied, once for each use of it."""
    positions: dict[str, int] = {}
    for node in liveness.rules:
        found = contraction(node, liveness.scene)
        if found is not None:
            transposed = getattr(node.target, "overloadpacket", None) in TRANSPOSED
            shape = shape_of(found.source if transposed else node)
            channels = shape[found.channel]
            name = found.weight.name
            positions[name] = positions.get(name, 0) + shape.numel() // max(channels, 1)
    return positions


def _products(liveness: Liveness) -> Iterator[tuple[Tensor, int]]:
    """A unit of each block of activations that is multiplied with another, and how often."""
    for node, rule in liveness.rules.items():
        if isinstance(rule, Multiplies):
            unit, times = rule.blocks(node, liveness.scene)
            yield unit.flatten(), times


def _written(liveness: Liveness) -> Iterator[Tensor]:
    """The units of all elements that an operation writes that neither multiplies nor moves them."""
    moved = (CONTRACT, MOVEMENT, ITEM, OPAQUE)
    for node, rule in liveness.rules.items():
        if not (rule in moved or isinstance(rule, Multiplies)):
            known = liveness.scene.known[node]
            for signal in known if isinstance(known, list) else [known]:
                if isinstance(signal, Signal):
                    yield signal.unit.flatten()


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """A model in eval mode, and each of its modules afterwards as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
