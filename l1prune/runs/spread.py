"""Spread: the mean of a figure over runs, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Seed = int | str
"""What makes of one run many; of a run that does not say it, the run's own name."""


@dataclass(frozen=True)
class Spread:
    """The mean of some figures and its standard error.

    Attributes:
        mean: of all.
        error: the standard error of the mean, σ/√n with n − 1 degrees of freedom; None of one.
        count: how many there are.

    >>> Spread.of([1.0, 3.0])
    Spread(mean=2.0, error=1.0, count=2)
    """

    mean: float
    error: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """That of at least one figure."""
        count = len(values)
        mean = math.fsum(values) / count
        if count == 1:
            return cls(mean, None, 1)
        squares = math.fsum((value - mean) ** 2 for value in values)
        return cls(mean, math.sqrt(squares / (count - 1) / count), count)


@dataclass(frozen=True)
class Difference:
    """How much better or worse one thing is than another, in the figure's own unit.

    Attributes:
        spread: of the differences.
        paired: whether each seed was compared with itself, which leaves out what seeds differ in.
    """

    spread: Spread
    paired: bool


def difference(ours: Mapping[Seed, float], theirs: Mapping[Seed, float]) -> Difference:
    """Ours less theirs: seed by seed over those they share, or where there is none, of the means.

    Args:
        ours: a figure by seed; at least one.
        theirs: the same of what it is compared with.

    >>> difference({0: 3.0, 1: 5.0, 2: 0.0}, {0: 1.0, 1: 4.0}).spread.mean
    1.5
    >>> difference({0: 3.0}, {7: 1.0})
    Difference(spread=Spread(mean=2.0, error=None, count=1), paired=False)
    """
    shared = [seed for seed in ours if seed in theirs]
    if shared:
        return Difference(Spread.of([ours[seed] - theirs[seed] for seed in shared]), True)
    one, other = Spread.of([*ours.values()]), Spread.of([*theirs.values()])
    errors = (one.error, other.error)
    error = None if None in errors else math.hypot(*(e for e in errors if e is not None))
    return Difference(Spread(one.mean - other.mean, error, min(one.count, other.count)), False)
