"""What the page shows: groups by recipe and size, the best by validation, each metric by itself."""

from __future__ import annotations

from typing import Any

import pytest

from l1prune.runs.monitor import Monitor
from l1prune.runs.page.content import content
from l1prune.runs.points import Point

MSE = Monitor("val/mse", "min")


def run(recipe: str, seed: int, left: int, figure: float, **more: Any) -> Point:
    summary = {"params/prunable": 1000, "params/total": 1000, "seed": seed}
    settings = {"seed": seed, "prune.threshold.sparsity": 1 - left / 1000}
    return Point(f"{recipe}/{left}/{seed}", recipe, left, figure, summary, settings, **more)


def test_groups_have_mean_error_and_the_difference_from_dense() -> None:
    points = [run("l1", n, 100, 0.90 + n / 100) for n in range(3)]
    points += [run("dense", n, 1000, 0.95 + n / 100) for n in range(3)]
    dense, small = content(points)["groups"]
    assert (dense["recipe"], dense["less"], dense["share"]) == ("dense", None, 1)
    assert (small["seeds"], small["count"], small["share"]) == ("0–2", 3, 0.1)
    assert small["figure"]["mean"] == pytest.approx(0.91)
    assert small["figure"]["text"] == "91.00 ± 0.58 %"
    assert small["less"]["text"] == "−5.00 ± 0.00" and small["less"]["paired"]


def test_every_run_knows_its_group_and_its_seed() -> None:
    points = [
        run(recipe, n, left, 0.5) for recipe in ("l1", "l2") for n in (3, 4) for left in (5, 6)
    ]
    found = content(points)
    for one in found["runs"]:
        group = found["groups"][one["group"]]
        assert (group["recipe"], group["nonzero"]) == (one["recipe"], one["nonzero"])
    assert sorted({one["seed"] for one in found["runs"]}) == [3, 4]


def test_the_best_are_chosen_by_validation() -> None:
    points = [run("l1", 0, 100, 0.5, validation=0.9), run("l2", 0, 100, 0.99, validation=0.8)]
    assert {g["recipe"]: g["best"] for g in content(points)["groups"]} == {
        "l1": ["nonzero"],
        "l2": [],
    }


def test_each_metric_is_by_itself_in_its_own_unit() -> None:
    points = [run("l1", 0, 100, 0.5), run("l1", 0, 100, 0.25, monitor=MSE, tested=False)]
    found = content(points)
    assert [(m["axis"], m["lower"], m["percent"]) for m in found["metrics"]] == [
        ("test accuracy", False, True),
        ("validation mse (lower is better)", True, False),
    ]
    assert [group["metric"] for group in found["groups"]] == [0, 1]
    assert all(group["best"] for group in found["groups"]), "neither beats the other"


def test_what_was_left_to_its_default_is_not_said() -> None:
    points = [Point("a", "l1", 1, 0.5, settings={"lr": None, "x": "None"}),
              Point("b", "l1", 1, 0.5, settings={"lr": 0.1, "x": 1})]  # fmt: skip
    assert [one["settings"] for one in content(points)["runs"]] == [{}, {"lr": 0.1, "x": 1}]


def test_what_is_far_off_is_out_of_view() -> None:
    points = [run("l1", n, 100, 0.9 + n / 100) for n in range(5)]
    assert content(points)["metrics"][0]["worst"] is None
    assert content([*points, run("l1", 9, 100, 0.1)])["metrics"][0]["worst"] == 0.9
