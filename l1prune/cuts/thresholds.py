"""Where to cut: scores in, the mask of what stays out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import is_, mul
from typing import Any, Protocol

from torch import Tensor

from l1prune.checks import check_object, is_number, is_whole
from l1prune.cuts.scopes import LAMP, Scope
from l1prune.pressure.schedules import Cubic
from l1prune.weights.blocks import leaders
from l1prune.weights.largest import largest, largest_of_each
from l1prune.weights.shards import local, part_of
from l1prune.weights.targets import Target


class Threshold(Protocol):
    """Decides which units stay. A unit is a weight, or a group of weights that live together.

    Where weights are sharded over processes, scores and masks are too: see
    `l1prune.weights.shards`.
    """

    gradual: bool = False
    """Whether it may be reached in many rounds, each of which cuts a little more."""

    scope: Scope | None = None
    """How layers compare; None: it is left open."""

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        """Masks of the shapes of `scores`: True where a unit stays.

        Args:
            scores: one tensor per layer, what its units are worth; negative once removed.
            sizes: how many weights one unit of each layer holds.
            progress: how much of the cutting is due, in (0, 1]; below 1 in all but the last round.
        """
        ...

    def check(self, counts: list[int], sizes: list[int]) -> None:
        """Raise ValueError if layers of so many units of these sizes cannot be cut this way."""
        return

    def share(self, progress: float) -> float | None:
        """The share of zeros that is planned when so much of the cutting is due; None: no plan."""
        return None

    def left_out(self, targets: Sequence[Target]) -> dict[str, str]:
        """The weights, by name, that it cannot cut and leaves dense, each with the reason."""
        return {}

    def with_scope(self, scope: Scope) -> Threshold:
        """The same; where it leaves open how layers compare, they compare by `scope`."""
        return self


@dataclass(frozen=True)
class Magnitude(Threshold):
    """Cut what is smaller than `cut`, and what is already exactly zero.

    Args:
        cut: the smallest size that stays, in the weights' own unit, ≥ 0.
        floor: how many units every layer keeps, whatever their size.

    >>> import torch
    >>> Magnitude(0.5).keep([torch.tensor([0.4, 0.5, 0.0])], [1])
    [tensor([False,  True, False])]
    """

    cut: float
    floor: int = 1

    def __post_init__(self) -> None:
        if not is_number(self.cut, 0):
            raise ValueError(f"threshold must be a finite size ≥ 0 to cut below, got {self.cut!r}")
        _check_floor(self.floor)

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        keeps = [_at_least(layer, self.cut) for layer in scores]
        floors = [self.floor] * len(scores)
        for number, floor in _missing_floors(scores, floors, keeps).items():
            local(keeps[number]).logical_or_(local(floor))
        return keeps


@dataclass(frozen=True)
class Sparsity(Threshold):
    """Cut the least until this share of all prunable weights is zero.

    Exact: of n weights ⌈sparsity·n⌉ go (whole groups are never split: then at least as many stay
    as the share allows). In several rounds the share follows the cubic of Zhu & Gupta, "To prune,
    or not to prune", 2017, eq. 1: much at first, little at last.

    Args:
        sparsity: share of zeros in (0, 1), reached in the last round.
        scope: how layers compare: `LAMP()`, `Global()`, `PerLayer()`, … None: as suits the
            criterion, by which the weights of a run are compared.
        floor: how many units every layer keeps, whatever their size.
        start: share of zeros that several rounds begin with, below `sparsity`.

    >>> import torch; from l1prune.cuts.scopes import Global, PerLayer
    >>> weights = [torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([1.0, 2.0, 3.0, 4.0])]
    >>> Sparsity(0.5, scope=Global()).keep(weights, [1, 1])
    [tensor([False, False, False,  True]), tensor([False,  True,  True,  True])]
    >>> Sparsity(0.5, scope=PerLayer()).keep(weights, [1, 1])
    [tensor([False, False,  True,  True]), tensor([False, False,  True,  True])]
    """

    sparsity: float = 0.95
    scope: Scope | None = None
    floor: int = 1
    start: float = 0.0

    gradual = True

    def __post_init__(self) -> None:
        if not is_number(self.sparsity, 0, 1) or self.sparsity in (0, 1):
            raise ValueError(
                "sparsity must lie between 0 and 1, as a share of the weights, got "
                f"{self.sparsity!r}; 0.95 leaves 5 %"
            )
        if not is_number(self.start, 0, self.sparsity) or self.start == self.sparsity:
            raise ValueError(
                f"start must lie between 0 and sparsity={self.sparsity}, got {self.start!r}"
            )
        if self.scope is not None:
            check_object("scope", self.scope, ("comparable", "floors"), "LAMP()")
        _check_floor(self.floor)

    def check(self, counts: list[int], sizes: list[int]) -> None:
        spare = self._spare(counts, sizes, 1.0)
        least = sum(min(self.floor, n) * size for n, size in zip(counts, sizes, strict=True))
        if least > spare:
            raise ValueError(
                f"sparsity {self.sparsity} leaves {spare} weights, but the {len(counts)} layers "
                f"need {least} of them with floor={self.floor}: lower the sparsity or the floor"
            )

    def _spare(self, counts: list[int], sizes: list[int], progress: float) -> int:
        """How many weights stay at most. The tolerance forgives 0.07 · 100 > 7."""
        total = sum(n * size for n, size in zip(counts, sizes, strict=True))
        return total - math.ceil(self._planned(progress) * total - 1e-9 * total)

    def _planned(self, progress: float) -> float:
        return Cubic(self.start, self.sparsity)(progress)

    def share(self, progress: float) -> float | None:
        return self._planned(progress)

    def with_scope(self, scope: Scope) -> Threshold:
        return replace(self, scope=scope) if self.scope is None else self

    def keep(self, scores: list[Tensor], sizes: list[int], progress: float = 1.0) -> list[Tensor]:
        counts = [layer.numel() for layer in scores]
        spare = self._spare(counts, sizes, progress)
        floors = self._floors([tuple(layer.shape) for layer in scores], sizes, spare)
        floors = [min(floor, count) for floor, count in zip(floors, counts, strict=True)]
        spare = max(spare, sum(map(mul, floors, sizes)))  # floors hold, whatever is asked for
        ranks = self._scope.comparables(scores)
        if all(map(is_, ranks, scores)):
            return largest(scores, sizes, spare, floors=floors)
        last = [
            None if rank is score else local(score) < 0  # as it was given, it is negative itself
            for rank, score in zip(ranks, scores, strict=True)
        ]
        first = [local(floor) for floor in largest_of_each(scores, floors)] if any(floors) else []
        return largest(ranks, sizes, spare, last, first)

    def _floors(self, shapes: list[tuple[int, ...]], sizes: list[int], spare: int) -> list[int]:
        """How many units each layer keeps, whatever they are worth."""
        least = [self.floor] * len(shapes)
        by_scope = self._scope.floors(shapes, sizes, spare)
        more = [max(floor, also) for floor, also in zip(least, by_scope, strict=True)]
        needed, sure = (sum(map(mul, floors, sizes)) for floors in (more, least))
        if needed <= spare or needed == sure:
            return more
        share = max(spare - sure, 0) / (needed - sure)  # of what the scope asks for beyond
        return [low + int(share * (high - low)) for low, high in zip(least, more, strict=True)]

    @property
    def _scope(self) -> Scope:
        return LAMP() if self.scope is None else self.scope


def _missing_floors(
    scores: list[Tensor], floors: list[int], keeps: list[Tensor]
) -> dict[int, Tensor]:
    """By number, the floors of the layers that may keep less."""
    counts = [min(floor, layer.numel()) for floor, layer in zip(floors, scores, strict=True)]
    if not any(counts):
        return {}
    sure = leaders(scores, keeps)
    short = [number for number, count in enumerate(counts) if sure[number] < count]
    found = largest_of_each([scores[n] for n in short], [counts[n] for n in short])
    return dict(zip(short, found, strict=True))


def _at_least(scores: Tensor, cut: float) -> Tensor:
    """True where a score is at least `cut` and not zero."""
    layer = local(scores)
    return part_of((layer >= cut) & (layer > 0), scores)


def _check_floor(floor: int) -> None:
    if not is_whole(floor, 0):
        raise ValueError(
            f"floor must be a whole number of units ≥ 0 that each layer keeps, got {floor!r}"
        )


def as_threshold(threshold: Any) -> Threshold:
    """A plain number is the magnitude to cut below.

    Raises:
        ValueError: it is neither that nor a threshold.
    """
    if is_number(threshold):
        return Magnitude(float(threshold))
    methods = ("keep", "check", "share", "left_out", "with_scope")
    able = all(callable(getattr(threshold, method, None)) for method in methods)
    if isinstance(threshold, type) or not able or not hasattr(threshold, "gradual"):
        raise ValueError(
            "threshold must be a finite size to cut below, or a threshold as Sparsity(0.95), which "
            f"has {', '.join(methods)} and gradual, got {threshold!r}"
        )
    given: Threshold = threshold
    return given
