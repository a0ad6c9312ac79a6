"""Order: when features leave a network, for the last time, and how large they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Order:
    """In which order features leave, which is what they are worth, the last to leave the most.

    A feature that comes back is worth what it was when it left the last time. What a single step
    of an optimizer makes of a feature that is zero, before pressure takes it back, is no return:
    a feature counts from a size on that no one step reaches.

    Args:
        count: of features.
        least: the size, the root mean square of its weights, above which a feature counts.

    Attributes:
        sizes: of each, the last at which it counted.
        left: of each, the step at which it left the last time; −1 of those that never did.

    >>> order = Order(3, least=0.1)
    >>> for step, sizes in enumerate([[1.0, 2.0, 0.5], [1.0, 0.0, 0.5], [1.0, 0.0, 0.05]]):
    ...     order.note(step, torch.tensor(sizes))
    >>> order.there.tolist(), order.ranked().tolist()
    ([True, False, False], [0, 2, 1])
    """

    def __init__(self, count: int, least: float = 0.0) -> None:
        self._least = least
        self.sizes = torch.zeros(count)
        self.left = torch.full((count,), -1)
        self.there = torch.ones(count, dtype=torch.bool)

    def note(self, step: int, sizes: Tensor) -> None:
        """See how large the features are after a step."""
        there = sizes > self._least
        self.left[self.there & ~there] = step
        self.sizes = torch.where(there, sizes, self.sizes)
        self.there = there

    def ranked(self) -> Tensor:
        """The numbers of the features: those there by size, then the last to leave first."""
        by_size = self.sizes.argsort(descending=True, stable=True)
        late = torch.where(self.there, torch.iinfo(self.left.dtype).max, self.left)[by_size]
        return by_size[late.argsort(descending=True, stable=True)]


def standings_of(chosen: NDArray[Any], ranked: NDArray[Any]) -> NDArray[np.int64]:
    """How each feature ranks: 1 of those chosen, from 2 on of the others.

    Args:
        chosen: numbers of features.
        ranked: those of all features, the best first.

    >>> standings_of(np.array([2, 0]), np.array([2, 1, 0, 3]))
    array([1, 2, 1, 3])
    """
    rest = ranked[~np.isin(ranked, chosen)]
    standings = np.ones(len(ranked), dtype=np.int64)
    standings[rest] = np.arange(2, len(rest) + 2)
    return standings
