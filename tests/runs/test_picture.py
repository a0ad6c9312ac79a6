"""The picture has every recipe in its colour, the better end up, what is far off at the edge."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from l1prune.runs.monitor import Monitor
from l1prune.runs.picture import draw
from l1prune.runs.points import Point


def test_picture_shows_every_recipe_in_its_colour(tmp_path: Path) -> None:
    points = [
        Point("a", "l1", 10, 0.9),
        Point("b", "gradual", 20, 0.8),
        Point("c", "dense", 90, 0.95),
    ]
    picture = tmp_path / "new" / "frontier.svg"
    draw(points, picture)
    for colour in ("#0072b2", "#d55e00", "#222222"):
        assert f"fill: {colour}; fill-opacity" in picture.read_text()


@pytest.mark.parametrize("nonzero", [[0], [5], [5, 5, 5], [0, 10], list(range(1, 20))])
def test_any_run_can_be_drawn(tmp_path: Path, nonzero: list[int]) -> None:
    points = [Point(str(n), f"recipe {n}", n, math.tanh(n)) for n in nonzero]
    draw(points, tmp_path / "frontier.svg")
    assert "</svg>" in (tmp_path / "frontier.svg").read_text()


def test_nothing_to_draw_and_no_such_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run to draw"):
        draw([], tmp_path / "frontier.png")
    with pytest.raises(ValueError, match="'xyz' is not supported"):
        draw([Point("a", "l1", 10, 0.9)], tmp_path / "frontier.xyz")


def test_an_error_has_no_percent_sign_and_each_metric_a_picture(tmp_path: Path) -> None:
    mse = Monitor("val/mse", "min")
    points = [Point("a", "l1", n, 0.1 * n, monitor=mse) for n in range(1, 4)]
    draw(points, tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text()
    assert "<!-- test mse (lower is better) -->" in text
    assert "%" not in text.partition("</style>")[2].replace("100%", "")
    draw([*points, Point("b", "l1", 5, 0.9)], tmp_path / "two.svg")
    text = (tmp_path / "two.svg").read_text()
    for words in ("test mse (lower is better)", "test accuracy", "90 %"):
        assert f"<!-- {words} -->" in text


def test_what_is_far_off_is_at_the_edge_with_its_value(tmp_path: Path) -> None:
    points = [Point(str(n), "l1", n, 0.9 + n / 1000) for n in range(1, 9)]
    draw([*points, Point("bad", "l1", 20, 0.1)], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<!-- 10.00 % -->" in text, "said"
    assert "<!-- 50 % -->" not in text, "the axis does not go there"
