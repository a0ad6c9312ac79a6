"""History: which features a network had as it was trained, when each left and came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

COLUMNS = ("rank", "feature", "selected", "size", "left", "changes")


class FeatureHistory:
    """Which features were zero whenever somebody looked: plain values, which a checkpoint holds.

    Attributes:
        names: of the features.
        sizes: of each, the last that was not zero.
        changes: of each, the steps at which it was first seen to be gone, back, gone, … in turns.

    >>> import torch
    >>> history = FeatureHistory(["a", "b"])
    >>> history.note(10, torch.tensor([3.0, 1.0]), torch.tensor([True, True]))
    >>> history.note(20, torch.tensor([2.0, 0.0]), torch.tensor([True, False]))
    >>> history.selected, history.rows()[1]
    (['a'], [2, 'b', 0, 1.0, 20, '-20'])
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [*names]
        self.sizes = [0.0] * len(self.names)
        self.changes: list[list[int]] = [[] for _ in self.names]

    def note(self, step: int, sizes: Tensor, left: Tensor) -> None:
        """Add what is seen now.

        Args:
            step: of the optimizer.
            sizes: of the features.
            left: which are not zero.
        """
        for number, (size, is_left) in enumerate(zip(sizes.tolist(), left.tolist(), strict=True)):
            if is_left:
                self.sizes[number] = size
            if is_left != self._is_left(number):
                self.changes[number].append(step)

    def _is_left(self, number: int) -> bool:
        return len(self.changes[number]) % 2 == 0

    @property
    def order(self) -> list[int]:
        """The numbers of the features: those left by size, then the last to leave first."""

        def rank(number: int) -> tuple[float, float]:
            gone = float("inf") if self._is_left(number) else self.changes[number][-1]
            return -gone, -self.sizes[number]

        return sorted(range(len(self.names)), key=rank)

    @property
    def selected(self) -> list[str]:
        """The names of the features that are left, the largest first."""
        return [self.names[number] for number in self.order if self._is_left(number)]

    def rows(self) -> list[list[Any]]:
        """A row for each feature, by rank, with the columns `COLUMNS`."""
        found = []
        for rank, number in enumerate(self.order, 1):
            is_left, steps = self._is_left(number), self.changes[number]
            told = " ".join(f"{'+' if at % 2 else '-'}{step}" for at, step in enumerate(steps))
            left = None if is_left else steps[-1]
            found.append([rank, self.names[number], int(is_left), self.sizes[number], left, told])
        return found

    def state_dict(self) -> dict[str, Any]:
        """All of it, in plain values."""
        changes = [[*steps] for steps in self.changes]
        return {"names": [*self.names], "sizes": [*self.sizes], "changes": changes}

    @classmethod
    def of(cls, state_dict: Mapping[str, Any]) -> FeatureHistory:
        """What `state_dict` gave."""
        history = cls(state_dict["names"])
        history.sizes = [*state_dict["sizes"]]
        history.changes = [[*steps] for steps in state_dict["changes"]]
        return history
