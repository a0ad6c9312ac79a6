"""Places: the weights that features enter a network by, and how large each feature is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from l1prune.weights.rules import ByName
from l1prune.weights.shards import is_sharded
from l1prune.weights.targets import EMBEDDINGS, NORMS

FIRST = "first"
"""The layer that comes first, where none is called so."""


@dataclass(frozen=True, eq=False)
class Place:
    """A weight by which features enter.

    Attributes:
        name: of the weight in its model.
        weight: itself.
        dim: along which its inputs are counted; None: it is a table of embeddings, which is one
            feature as a whole.
    """

    name: str
    weight: nn.Parameter
    dim: int | None

    @property
    def inputs(self) -> int:
        return 1 if self.dim is None else self.weight.shape[self.dim]


def places_of(model: nn.Module, layer: str | Sequence[str] = FIRST) -> list[Place]:
    """The weights of one or several layers, and along which dimension each counts its inputs.

    That is the second dimension of a weight, whose indices are columns of a linear layer and input
    channels of a convolution; the first of a transposed convolution, and of a depthwise one. A
    table of embeddings is one feature.

    Args:
        model: in which they are looked for.
        layer: shell patterns of the names of layers, or of weights; `"first"`, where nothing is
            called so, is the first weight that is of no norm and no embedding.

    Raises:
        ValueError: nothing is called so, or a convolution in groups has no columns.

    >>> [place.name for place in places_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))]
    ['1.weight']
    """
    known = {
        f"{path}.{name}" if path else name: (module, weight)
        for path, module in model.named_modules()
        for name, weight in module.named_parameters(recurse=False)
        if weight.ndim > 1 and not isinstance(module, NORMS)
    }
    patterns = [layer] if isinstance(layer, str) else [*layer]
    chosen: dict[str, tuple[nn.Module, nn.Parameter]] = {}
    for pattern in patterns:
        rule = ByName(pattern)
        found = {n: one for n, one in known.items() if rule.matches(n, one[0])}
        if not found and pattern == FIRST:
            layers = [n for n, one in known.items() if not isinstance(one[0], EMBEDDINGS)]
            found = {name: known[name] for name in layers[:1]}
        if not found:
            raise ValueError(
                f"layer={pattern!r}: {type(model).__name__} has no such weight; it has "
                f"{', '.join(known) or 'none'}"
            )
        chosen |= found
    return [Place(name, weight, _dim(name, module)) for name, (module, weight) in chosen.items()]


def _dim(name: str, module: nn.Module) -> int | None:
    if isinstance(module, EMBEDDINGS):
        return None
    if isinstance(module, _ConvTransposeNd):
        return 0
    if isinstance(module, _ConvNd) and module.groups > 1:
        if module.groups != module.in_channels or module.out_channels != module.in_channels:
            raise ValueError(
                f"{name} is of a convolution in {module.groups} groups, where no channel has "
                "a column of its own; choose another layer"
            )
        return 0
    return 1


@dataclass(frozen=True, eq=False)
class Features:
    """Features: their names, and which inputs each of them is.

    Args:
        names: of the features.
        owners: `(inputs,)`, int64: of which feature each input is.
    """

    names: tuple[str, ...]
    owners: Tensor

    def sizes(self, places: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """How large each feature is, the root mean square of its weights, and whether it is left.

        Args:
            places: where the features enter, all of them at each.

        Returns:
            `(features,)` each: float64, and bool.

        >>> layer = nn.Linear(3, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 1.0]]))
        >>> features = Features(("a", "b"), torch.tensor([0, 1, 1]))
        >>> features.sizes(places_of(layer))
        (tensor([3.0000, 0.5000], dtype=torch.float64), tensor([True, True]))
        """
        squares = torch.zeros(len(self.owners), dtype=torch.float64)
        counts, alive = torch.zeros_like(squares), torch.zeros(len(self.owners), dtype=torch.bool)
        end = 0
        for place in places:
            rows = _rows(place)
            at = slice(end, end + 1) if place.dim is None else slice(0, len(rows))
            end += place.dim is None
            squares[at] += rows.double().square().sum(1)
            counts[at] += rows.shape[1]
            alive[at] |= (rows != 0).any(1)
        total = torch.zeros(len(self.names), dtype=torch.float64)
        of_all = total.index_add(0, self.owners, counts).clamp(min=1)
        left = total.index_add(0, self.owners, alive.double()) > 0
        return total.index_add(0, self.owners, squares).div(of_all).sqrt(), left


@torch.no_grad()
def _rows(place: Place) -> Tensor:
    """The weights of each input, as rows, on the CPU."""
    whole: Any = place.weight
    weight: Tensor = (whole.full_tensor() if is_sharded(whole) else whole).detach().cpu()
    if place.dim is None:
        return weight.reshape(1, -1)
    return weight.movedim(place.dim, 0).flatten(1)


def count_inputs(places: Sequence[Place]) -> int:
    """How many inputs there are: of layers that see the same ones, or of tables, one each.

    Raises:
        ValueError: they do not see the same.
    """
    tables = [place for place in places if place.dim is None]
    if len(tables) == len(places):
        return len(tables)
    if tables or len({place.inputs for place in places}) > 1:
        told = ", ".join(f"{place.name} has {place.inputs}" for place in places)
        raise ValueError(
            f"layer: these layers do not see the same inputs, {told}; give a FeaturePath to each"
        )
    return places[0].inputs


def variables_of(data: Any) -> Mapping[str, Sequence[int]] | None:
    """The inputs of each variable, by its name, if a data module says so in its `features`.

    >>> variables_of(nn.Linear(2, 2)) is None
    True
    """
    told = getattr(data, "features", None)
    return told if isinstance(told, Mapping) else None


def are_all(variables: Mapping[str, Sequence[int]] | None, inputs: int) -> bool:
    """Whether variables have so many inputs.

    >>> are_all({"age": [0], "colour": [1, 2]}, 3), are_all(None, 3)
    (True, False)
    """
    return variables is not None and sum(map(len, variables.values())) == inputs


def features_of(
    inputs: int,
    names: Sequence[str] | Mapping[str, Sequence[int]] | None = None,
    block: int = 1,
    parts: int = 1,
) -> Features:
    """The features that so many inputs are.

    Args:
        inputs: how many there are.
        names: of the features; or, by name, the inputs that are one feature, as the one-hot columns
            of a variable are; None: their numbers.
        block: consecutive inputs in a feature.
        parts: stacked inputs, each of which holds a block of each feature: the C channels of
            flattened images `(C, H, W)`, of which the H·W pixels are features.

    Raises:
        ValueError: they do not divide so, or the names are not those of all inputs.

    >>> features_of(6, parts=3).owners.tolist(), features_of(4, block=2).owners.tolist()
    ([0, 1, 0, 1, 0, 1], [0, 0, 1, 1])
    >>> features_of(3, {"age": [0], "colour": [1, 2]}).owners.tolist()
    [0, 1, 1]
    """
    if isinstance(names, Mapping):
        return _grouped(inputs, names)
    if inputs % (block * parts):
        raise ValueError(f"block={block}, parts={parts}: {inputs} inputs do not divide into these")
    count = inputs // (block * parts)
    owners = torch.arange(count).repeat_interleave(block).repeat(parts)
    told = tuple(map(str, range(count) if names is None else names))
    if len(told) != count:
        raise ValueError(f"names: {len(told)} names, where there are {count} features")
    if len({*told}) < count:
        twice = next(name for name in told if told.count(name) > 1)
        raise ValueError(f"names: two features are called {twice!r}")
    return Features(told, owners)


def _grouped(inputs: int, names: Mapping[str, Sequence[int]]) -> Features:
    places = sorted(place for some in names.values() for place in some)
    if places != [*range(inputs)]:
        raise ValueError(
            f"names: they must have each of the inputs 0 to {inputs - 1} once, and have "
            f"{len(places)} of them, {len({*places})} different ones"
        )
    owners = torch.empty(inputs, dtype=torch.int64)
    for number, some in enumerate(names.values()):
        owners[[*some]] = number
    return Features(tuple(map(str, names)), owners)
