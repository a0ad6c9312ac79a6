"""Counts: how much of a network is left, of its prunable weights and of all its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from l1prune.checks import is_whole

UNKNOWN = "—"
PRUNABLE, ALL = "prunable weights left", "all parameters left"
"""What is counted: where most of a network may not go, they are far from each other."""


@dataclass(frozen=True)
class Count:
    """How many are left, of how many.

    Args:
        left: of one network, or the mean of several; None where it is not known.
        whole: how many there were; None where that is not known.

    >>> str(Count(233, 4672)), str(Count(233, None)), str(Count(None, None))
    ('233 (20.1×)', '233', '—')
    """

    left: float | None
    whole: int | None

    @property
    def times(self) -> str:
        """How many times fewer than there were, as "20.1×"; empty where not known."""
        return f"{self.whole / self.left:,.1f}×" if self.whole and self.left else ""

    def __str__(self) -> str:
        """Both, as a cell of a table."""
        if self.left is None:
            return UNKNOWN
        return f"{self.left:,.0f} ({self.times})" if self.times else f"{self.left:,.0f}"


def parameters_of(summary: Mapping[str, Any], nonzero: int) -> Count:
    """All parameters of a network: what may not be pruned, and the weights that were not.

    Args:
        summary: what its run said, perhaps `params/left`, or `params/total` and `params/prunable`.
        nonzero: its prunable weights that are not exactly zero.

    >>> parameters_of({"params/total": 30, "params/prunable": 10}, nonzero=5)
    Count(left=25, whole=30)
    """
    told: list[Any] = [summary.get(f"params/{name}") for name in ("total", "prunable", "left")]
    total, prunable, left = told
    if left is None and is_whole(total, 0) and is_whole(prunable, 0):
        left = total - prunable + nonzero
    whole = int(total) if is_whole(total, 1) else None
    return Count(int(left) if is_whole(left, 0) else None, whole)


def mean(counts: Sequence[Count]) -> Count:
    """The mean of at least one count, of networks that were equally large; unknown if one is.

    >>> mean([Count(10, 40), Count(20, 40)])
    Count(left=15.0, whole=40)
    """
    known = [count.left for count in counts if count.left is not None]
    left = math.fsum(known) / len(known) if len(known) == len(counts) else None
    return Count(left, counts[0].whole)
