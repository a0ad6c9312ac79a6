"""Runs become points, and the points that stay are exactly those that nothing beats."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from l1prune.frontier import Point, draw, find_runs, pareto, read_point, read_points, table

FIGURES = {
    "test/accuracy": 0.97,
    "val/accuracy": 0.98,
    "params/total": 1010,
    "params/prunable": 1000,
    "params/nonzero": 50,
    "params/sparsity": 0.95,
    "params/compression": 20.0,
    "seed": 3,
    "seconds": 12.5,
}


def leave_run(run_dir: Path, **changes: Any) -> Path:
    """What a run leaves; a change to None takes a figure away."""
    run_dir.mkdir(parents=True)
    figures = {key: value for key, value in {**FIGURES, **changes}.items() if value is not None}
    (run_dir / "summary.json").write_text(json.dumps(figures))
    return run_dir


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


def test_front_of_nothing_is_nothing() -> None:
    assert pareto([]) == []


def test_a_point_says_what_the_summary_says(tmp_path: Path) -> None:
    point = read_point(leave_run(tmp_path / "small"))
    assert (point.name, point.nonzero, point.accuracy) == ("small", 50, 0.97)
    assert point.summary == FIGURES
    assert point.times == "20.0×"


def test_two_figures_are_enough(tmp_path: Path) -> None:
    run = tmp_path / "by_hand"
    run.mkdir()
    (run / "summary.json").write_text('{"test/accuracy": 1, "params/nonzero": 7}')
    point = read_point(run)
    assert (point.nonzero, point.accuracy, point.times) == (7, 1, "")


def test_recipe_is_the_prune_config_if_left_behind_else_what_the_counts_say(tmp_path: Path) -> None:
    named = leave_run(tmp_path / "named")
    (named / "config.yaml").write_text("prune: gradual\n")
    chosen = leave_run(tmp_path / "chosen")
    (chosen / "config.yaml").write_text("prune: {_target_: l1prune.L1Pruning}\n")
    (chosen / ".hydra").mkdir()
    (chosen / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {prune: l1}}}\n")
    broken = leave_run(tmp_path / "broken")
    (broken / "config.yaml").write_text("prune: [\n")
    dense = leave_run(tmp_path / "dense", **{"params/nonzero": 1000})
    runs = (named, chosen, broken, dense)
    assert [read_point(run).recipe for run in runs] == ["gradual", "l1", "pruned", "dense"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"test/accuracy": 0.9', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[1, 2]", "must hold an object, but holds a list"),
        ('{"params/nonzero": 5}', "'test/accuracy' is missing"),
        ('{"test/accuracy": 0.9}', "'params/nonzero' is missing"),
        ('{"test/accuracy": 97, "params/nonzero": 5}', "from 0 to 1, but is 97"),
        ('{"test/accuracy": NaN, "params/nonzero": 5}', "from 0 to 1, but is nan"),
        ('{"test/accuracy": null, "params/nonzero": 5}', "from 0 to 1, but is None"),
        ('{"test/accuracy": 0.9, "params/nonzero": -5}', "whole number, but is -5"),
        ('{"test/accuracy": 0.9, "params/nonzero": "5"}', "whole number, but is '5'"),
    ],
)
def test_a_broken_summary_is_named_with_what_is_wrong(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        read_point(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")
    assert complaint in str(caught.value)


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"summary\.json: missing"):
        read_point(tmp_path)


def test_runs_are_found_at_and_under_paths_each_once(tmp_path: Path) -> None:
    single, deep = leave_run(tmp_path / "single"), leave_run(tmp_path / "sweep" / "day" / "0")
    (tmp_path / "notes.txt").write_text("no run")
    (tmp_path / "empty").mkdir()
    assert find_runs([single]) == [single]
    assert find_runs([single / "summary.json"]) == [single]
    assert find_runs([tmp_path, single, tmp_path / "notes.txt"]) == [single, deep]
    assert find_runs([tmp_path / "empty"]) == []
    with pytest.raises(FileNotFoundError, match="elsewhere: no such file"):
        find_runs([tmp_path / "elsewhere"])


def test_one_broken_run_does_not_lose_the_others(tmp_path: Path) -> None:
    runs = [leave_run(tmp_path / day / "0") for day in ("mon", "tue")]
    broken = leave_run(tmp_path / "wed", **{"test/accuracy": None})
    points, problems = read_points([*runs, broken])
    # Both directories are called 0: the names tell them apart.
    assert [point.name for point in points] == [str(Path("mon/0")), str(Path("tue/0"))]
    assert problems == [f"{broken / 'summary.json'}: 'test/accuracy' is missing"]


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
