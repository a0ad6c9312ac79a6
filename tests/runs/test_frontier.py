"""The points that stay are exactly those that nothing beats."""

from __future__ import annotations

import random

import pytest

from l1prune.runs.frontier import pareto
from l1prune.runs.monitor import Monitor
from l1prune.runs.points import Point


def beats(one: Point, other: Point) -> bool:
    as_good = one.nonzero <= other.nonzero and one.figure >= other.figure
    return as_good and (one.nonzero, one.figure) != (other.nonzero, other.figure)


@pytest.mark.parametrize("seed", range(20))
def test_front_is_what_nothing_beats(seed: int) -> None:
    # Few values, so that there are ties in one figure and in both.
    draws = random.Random(seed)
    points = [Point(str(i), "", draws.randint(1, 8), draws.randint(1, 8) / 8) for i in range(25)]
    expected = [p for p in points if not any(beats(other, p) for other in points)]
    front = pareto(points)
    assert {point.name for point in front} == {point.name for point in expected}
    assert [p.nonzero for p in front] == sorted(p.nonzero for p in front)


def test_another_cost_has_another_front() -> None:
    points = [Point(str(i), "", i, 0.9 + i / 100, costs={"deploy/macs": 9 - i}) for i in range(5)]
    assert [p.name for p in pareto(points)] == [*"01234"]
    assert [p.name for p in pareto(points, lambda p: p.costs["deploy/macs"])] == ["4"]


def test_front_of_nothing_is_nothing() -> None:
    assert pareto([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_where_lower_is_better_the_front_is_that_of_the_negative(seed: int) -> None:
    draws, mse = random.Random(seed), Monitor("val/mse", "min")
    drawn = [(str(i), "", draws.randint(1, 8), draws.randint(1, 8) / 8) for i in range(25)]
    points = [Point(*one, monitor=mse) for one in drawn]
    mirrored = [Point(name, "", left, -figure) for name, _, left, figure in drawn]
    assert [p.name for p in pareto(points)] == [p.name for p in pareto(mirrored)]


def test_validation_chooses_where_it_is_known() -> None:
    points = [Point("a", "l1", 5, 0.9, validation=0.6), Point("b", "l1", 5, 0.8, validation=0.7)]
    assert [point.name for point in pareto(points)] == ["b"]


def test_what_is_judged_differently_is_not_compared() -> None:
    points = [Point("a", "l1", 5, 0.9), Point("b", "l1", 5, 0.8, monitor=Monitor("val/mse", "min"))]
    with pytest.raises(ValueError, match=r"judged by val/accuracy, val/mse: compare .* one metric"):
        pareto(points)
