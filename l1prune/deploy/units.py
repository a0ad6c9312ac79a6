"""Units: the rows and columns of weights, which of them go together, and which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

FIXED = 0
"""The number of what is no unit: inputs, and dimensions that nothing may shorten."""


@dataclass
class Units:
    """Numbers for the indices of the parameters' dimensions.

    A unit is an index of one dimension of a parameter, and whatever else has to go with it.

    >>> units = Units({"up": torch.zeros(2, 3), "down": torch.zeros(4, 2)})
    >>> units.tie(units.of("up", 0), units.of("down", 1))
    >>> units.fix(units.of("up", 1), "an input")
    >>> couplings = units.couple()
    >>> couplings.root[units.of("up", 0)], couplings.root[units.of("down", 1)]
    (tensor([1, 2]), tensor([1, 2]))
    >>> couplings.fixed[units.of("up", 1)], couplings.reason(int(units.of("up", 1)[0]))
    (tensor([True, True, True]), 'an input')
    """

    tensors: Mapping[str, Tensor]
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    count: int = 1
    ties: list[Tensor] = field(default_factory=list)
    fixtures: list[tuple[Tensor, str]] = field(default_factory=list)
    whole: dict[str, str] = field(default_factory=dict)
    coupled: bool = False

    def of(self, name: str, dim: int) -> Tensor:
        """The units of one dimension of a parameter or buffer, ``(size,)``."""
        size = self.tensors[name].shape[dim]
        if (name, dim) not in self.starts:
            assert not self.coupled, f"{name} has got units after all were coupled"
            self.starts[name, dim] = self.count
            self.count += size
        return torch.arange(self.starts[name, dim], self.starts[name, dim] + size)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The first unit of each dimension that has units, and how many there are."""
        for (name, dim), start in self.starts.items():
            yield start, self.tensors[name].shape[dim]

    def tie(self, some: Tensor, others: Tensor) -> None:
        """What is in the same place goes together: both go, or none.

        Args:
            some: units, in any shape.
            others: in a shape that can be expanded to it.
        """
        pairs = torch.stack([some, others.expand_as(some)]).flatten(1)
        pairs = pairs[:, pairs[0] != pairs[1]]
        if pairs.numel():
            self.ties.append(torch.unique(pairs, dim=1))

    def fix(self, units: Tensor, reason: str) -> None:
        """These stay, whatever happens."""
        units = torch.unique(units)
        if units[units != FIXED].numel():
            self.fixtures.append((units, reason))

    def fix_whole(self, name: str, reason: str) -> None:
        """A parameter stays as it is, in all of its dimensions."""
        self.whole.setdefault(name, reason)

    def couple(self) -> Couplings:
        """Follow all ties; from now on there are no more units."""
        self.coupled = True
        for (name, dim), _ in self.starts.items():
            if name in self.whole:
                self.fix(self.of(name, dim), self.whole[name])
        root = torch.arange(self.count)
        some, others = torch.cat([torch.empty(2, 0, dtype=torch.long), *self.ties], 1)
        while True:
            least = torch.minimum(root[some], root[others])
            before = root.clone()
            for ends in (some, others):
                root.scatter_reduce_(0, before[ends], least, "amin")
                root.scatter_reduce_(0, ends, least, "amin")
            root = root[root]
            if torch.equal(root, before):
                break
        because = torch.full((self.count,), -1)
        for index, (units, _) in reversed(list(enumerate(self.fixtures))):
            because[root[units]] = index
        because[FIXED] = len(self.fixtures)
        reasons = [reason for _, reason in self.fixtures]
        return Couplings(root, because[root], [*reasons, "tied to an input or output"])


@dataclass(frozen=True, eq=False)
class Couplings:
    """The units that go together share the number of the first of them.

    Args:
        root: that number for each unit.
        because: the index of the reason why a unit stays, or −1.
        reasons: the reasons.
    """

    root: Tensor
    because: Tensor
    reasons: list[str]

    @property
    def fixed(self) -> Tensor:
        """Which units stay whatever happens."""
        return self.because >= 0

    def spread(self, flags: Tensor) -> Tensor:
        """Whether a unit, or one of those that go with it, is flagged."""
        found = torch.zeros_like(flags)
        found[self.root[flags]] = True
        return found[self.root]

    def reason(self, unit: int) -> str:
        """Why this unit stays."""
        return self.reasons[int(self.because[unit])]
