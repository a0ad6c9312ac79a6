"""The points that stay are exactly those that nothing beats, in every form they are shown."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

import pytest

from l1prune.runs.frontier import csv_table, draw, pareto, table
from l1prune.runs.points import Point


def beats(one: Point, other: Point) -> bool:
    as_good = one.nonzero <= other.nonzero and one.accuracy >= other.accuracy
    return as_good and (one.nonzero, one.accuracy) != (other.nonzero, other.accuracy)


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


def test_table_has_a_row_for_each_run_and_marks_the_front() -> None:
    summary = {"params/prunable": 1000, "seed": 3}
    points = [
        Point("cut", "l1", 100, 0.9, summary),
        Point("worse", "magnitude", 100, 0.8, summary),
        Point("full", "dense", 1000, 0.95, summary),
    ]
    lines = table(points).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert rows == [
        ["full", "dense", "3", "95.00 %", "1,000", "1.0×", "*"],
        ["worse", "magnitude", "3", "80.00 %", "100", "10.0×", ""],
        ["cut", "l1", "3", "90.00 %", "100", "10.0×", "*"],
    ]
    assert len({len(line) for line in lines[:5]}) == 1, "columns are aligned"


def test_csv_keeps_every_figure_as_it_was_and_the_settings_that_differ() -> None:
    awkward = 'a, "b"'
    points = [
        Point("a", "l1", 10, 0.9, {"val/accuracy": 0.123456, "seed": 0}, {"seed": 0, "lr": 0.1}),
        Point(awkward, "l1", 20, 0.8, {"seed": 1}, {"seed": 1, "lr": 0.2, "hold": 0.6}),
    ]
    worse, best = csv.DictReader(csv_table(points).splitlines())
    assert best["val/accuracy"] == "0.123456" and worse["val/accuracy"] == ""
    assert (best["best"], best["lr"], best["seed"]) == ("1", "0.1", "0")
    assert (worse["run"], worse["best"], worse["lr"], worse["seed"]) == (awkward, "0", "0.2", "1")


def test_picture_shows_every_recipe_in_its_colour(tmp_path: Path) -> None:
    points = [Point("a", "l1", 10, 0.9), Point("b", "l2", 20, 0.8), Point("c", "dense", 90, 0.95)]
    picture = tmp_path / "new" / "frontier.svg"
    draw(points, picture)
    for colour in ("#0072b2", "#d55e00", "#222222"):
        assert f"fill: {colour}; fill-opacity" in picture.read_text()


@pytest.mark.parametrize("nonzero", [[0], [5], [0, 10], list(range(1, 20))])
def test_any_run_can_be_drawn(tmp_path: Path, nonzero: list[int]) -> None:
    points = [Point(str(n), f"recipe {n}", n, math.tanh(n)) for n in nonzero]
    draw(points, tmp_path / "frontier.svg")
    assert "</svg>" in (tmp_path / "frontier.svg").read_text()


def test_nothing_to_draw_and_no_such_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run to draw"):
        draw([], tmp_path / "frontier.png")
    with pytest.raises(ValueError, match="'xyz' is not supported"):
        draw([Point("a", "l1", 10, 0.9)], tmp_path / "frontier.xyz")
