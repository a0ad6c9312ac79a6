"""Many runs, one curve: how good a network is against the number of weights left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from l1prune.runs.monitor import Monitor


class Judged(Protocol):
    """What has a place on the plane: a run, or a group of them."""

    @property
    def nonzero(self) -> float:
        """The weights left."""
        ...

    @property
    def judged(self) -> float:
        """How good it is on the data by which networks are chosen."""
        ...

    @property
    def monitor(self) -> Monitor:
        """What that is, and which end is the better one."""
        ...


T = TypeVar("T", bound=Judged)


def pareto(
    points: Iterable[T], cost: Callable[[T], float] = lambda point: point.nonzero
) -> list[T]:
    """The best trade-offs by validation, smallest first: the points that no other point beats.

    To beat a point is to be as good in both, lower cost and better metric, and better in one.
    So points that are equal in both stay or go together.

    Args:
        points: runs or groups, all judged by the same metric.
        cost: what a point costs; by default the weights that are left.

    Raises:
        ValueError: they are judged by different metrics, which nothing compares.

    >>> from l1prune.runs.points import Point
    >>> runs = [Point("a", "l1", 10, 0.9), Point("b", "l1", 20, 0.9), Point("c", "l1", 30, 0.95)]
    >>> [point.name for point in pareto(runs)]
    ['a', 'c']
    """
    points = list(points)
    monitors = {point.monitor for point in points}
    if len(monitors) > 1:
        names = ", ".join(sorted(monitor.name for monitor in monitors))
        raise ValueError(f"points are judged by {names}: compare those of one metric at a time")
    front: list[T] = []
    for point in sorted(points, key=lambda p: (cost(p), -p.monitor.rank(p.judged))):
        last = front[-1] if front else point
        twin = (cost(point), point.judged) == (cost(last), last.judged)
        if twin or point.monitor.better(point.judged, than=last.judged):
            front.append(point)
    return front
