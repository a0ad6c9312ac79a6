"""Entries: by which weights each feature enters a network, and how large it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l1prune.checks import is_whole, listed
from l1prune.features.places import Place
from l1prune.weights.pieces import precise

Groups = Sequence[Sequence[int]]


def check_groups(groups: Any) -> None:
    """Refuse what is no list of lists of different inputs.

    Args:
        groups: as they are given.

    Raises:
        ValueError: they are something else.

    >>> check_groups([[3, 1], [4, 1]])
    Traceback (most recent call last):
    ValueError: groups: 1 is there twice; give lists of different inputs, as [[0, 1], [4, 5]]
    """
    right = "give lists of different inputs, as [[0, 1], [4, 5]]"
    each = [] if groups is None else listed(groups)
    if each is None:
        raise ValueError(f"groups={groups!r}: {right}")
    seen: set[int] = set()
    for group in each:
        if not (inputs := listed(group)):
            raise ValueError(f"groups: {group!r} is no list of inputs; {right}")
        for one in inputs:
            if not is_whole(one, 0) or one in seen:
                wrong = "is there twice" if is_whole(one, 0) else "is no whole number from 0 on"
                raise ValueError(f"groups: {one!r} {wrong}; {right}")
            seen.add(int(one))


def owners_of(inputs: int, groups: Groups | None) -> Tensor:
    """Of which feature each input is: a group stands where its first input does.

    Args:
        inputs: how many there are.
        groups: the inputs that are one feature; those in none are a feature each.

    Raises:
        ValueError: an input is in two groups, or in one and not there; these are no lists.

    >>> owners_of(5, [[3, 1]]).tolist()
    [0, 1, 2, 1, 3]
    """
    check_groups(groups)
    first = {int(one): int(min(group)) for group in groups or () for one in group}
    if strange := [one for one in first if one >= inputs]:
        raise ValueError(f"groups: {strange[0]} is none of the {inputs} inputs, from 0 on")
    leaders = torch.tensor([first.get(one, one) for one in range(inputs)], dtype=torch.int64)
    owners: Tensor = torch.unique(leaders, return_inverse=True)[1]
    return owners


def groups_of(owners: NDArray[np.int64]) -> list[list[int]]:
    """The inputs of each feature that is more than one.

    Args:
        owners: of which feature each input is, by any numbers.

    >>> groups_of(np.array([4, 7, 4, 9]))
    [[0, 2]]
    """
    numbers, counts = np.unique(owners, return_counts=True)
    return [np.flatnonzero(owners == one).tolist() for one in numbers[counts > 1]]


class Entries:
    """Which entries of which weights each feature is.

    Args:
        places: where the features enter, all of them at each; or tables, an input each.
        owners: `(inputs,)`, of which feature each input is.

    Attributes:
        count: of features.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 1.0]]))
    >>> entries = Entries([Place("first.weight", weight, 1)], torch.tensor([0, 1, 1]))
    >>> entries.sizes([0], [weight.detach()])
    tensor([3.0000, 0.5000])
    """

    def __init__(self, places: Sequence[Place], owners: Tensor) -> None:
        self.count = int(owners.max()) + 1 if len(owners) else 0
        self._inputs = max(len(owners), 1)
        self._dims = [place.dim for place in places]
        self._owners, table = [], 0
        for dim in self._dims:
            self._owners.append(owners if dim is not None else owners[table : table + 1])
            table += dim is None
        each = torch.arange(self.count)
        self._each = [torch.equal(one, each) for one in self._owners]  # needs no look-up then

    def sums(self, numbers: Sequence[int], weights: Sequence[Tensor]) -> Tensor:
        """Of each feature, the sum over its entries in these weights, `(count,)`.

        Args:
            numbers: of the places whose weights they are.
            weights: their values, or what stands in for them.
        """
        dtype = precise(weights[0].dtype)
        total = torch.zeros(self.count, dtype=dtype, device=weights[0].device)
        for number, w in zip(numbers, weights, strict=True):
            dim = self._dims[number]
            others = [d for d in range(w.ndim) if d != dim]
            by_input = w.sum(others, dtype=dtype).reshape(-1)
            if self._each[number]:
                total += by_input
            else:
                total.index_add_(0, self._at(number, w.device), by_input)
        return total

    def sizes(self, numbers: Sequence[int], weights: Sequence[Tensor]) -> Tensor:
        """The root mean square of each feature, of all its entries in these weights."""
        squares, ones = self._squares(numbers, weights)
        return (squares / ones.clamp(min=1)).sqrt()

    def worths(self, numbers: Sequence[int], worth: Sequence[Tensor]) -> Tensor:
        """What each feature is worth as a whole: its size, as if of one input, by all its entries.

        Of features of one input each that is `sizes`. One of several loses what all of them lose.

        Args:
            numbers: of the places whose weights these are.
            worth: what each weight is worth.
        """
        squares, ones = self._squares(numbers, worth)
        return (squares / (ones.sum() / self._inputs).clamp(min=1)).sqrt()

    def _squares(self, numbers: Sequence[int], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The sum of each feature's squares, and of how many entries it is."""
        squares = self.sums(numbers, [w.to(precise(w.dtype)).square() for w in weights])
        return squares, self.sums(numbers, [squares.new_ones(()).expand_as(w) for w in weights])

    def spread(self, number: int, values: Tensor, w: Tensor) -> Tensor:
        """What is said of features, as it is of the entries of a weight: broadcastable to it.

        Args:
            number: of the place.
            values: one for each feature.
            w: the weight.
        """
        dim = self._dims[number]
        by_input = values if self._each[number] else values[self._at(number, w.device)]
        return by_input.view([-1 if d == dim else 1 for d in range(w.ndim)])

    def _at(self, number: int, device: torch.device) -> Tensor:
        if self._owners[number].device != device:
            self._owners[number] = self._owners[number].to(device)
        return self._owners[number]
