"""Settings tell runs apart by as little as does it, and the seed is none of a result."""

from __future__ import annotations

from typing import Any

from l1prune.runs.points import Point
from l1prune.runs.settings import (
    differing,
    goes_without_saying,
    in_short,
    is_seed,
    is_told,
    kinds,
    settings,
    short_names,
)


def test_settings_are_what_can_change_the_result() -> None:
    config = {
        "run_dir": "/somewhere/7",
        "logger": {"_target_": "WandbLogger", "offline": True},
        "data": {"path": "/somewhere/7/data", "shape": [1, 8, 8], "seed": 0},
        "prune": {"strength": None, "targets": {"*": 1.0}},
    }
    assert settings(config) == {
        "data.shape": "[1, 8, 8]",
        "data.seed": 0,
        "prune.strength": "None",
        "prune.targets.*": 1.0,
    }


def test_settings_differ_beyond_what_the_recipe_says() -> None:
    def run(recipe: str, seed: int, sparsity: float | None, **more: Any) -> Point:
        pruning = {} if sparsity is None else {"prune.sparsity": sparsity, "prune.form": recipe}
        told = {"seed": seed, "data.seed": seed, "threads": 1, **pruning, **more}
        return Point(f"{recipe}{seed}", recipe, 1, 0.5, settings=told)

    assert differing([]) == differing([run("l1", 0, 0.9)]) == []
    # prune.form goes by the recipe's name, threads never change, data.seed follows the seed.
    runs = [run("l1", 0, 0.9), run("l1", 1, 0.8), run("l2", 0, 0.9), run("dense", 0, None)]
    assert differing(runs) == ["prune.sparsity", "seed"]
    # What all runs of a recipe share, but is none of its own settings, still tells them apart.
    assert differing([run("l1", 0, 0.9, epochs=9), run("l2", 0, 0.9, epochs=30)]) == ["epochs"]


def test_the_seed_is_called_so_whatever_follows_it() -> None:
    told = ({"a": n, "seed": n, "b.seed": n} for n in (0, 1))
    assert differing([Point("a", "l1", 1, 0.5, settings=some) for some in told]) == ["seed"]
    assert [is_seed(key) for key in ("seed", "data.seed", "seeds", "seed.x")] == [1, 1, 0, 0]


def test_names_are_short_but_tell_settings_apart() -> None:
    names = ["a.lr", "b.lr", "b.c.lr", "lr", "seed"]
    assert short_names(names) == ["a.lr", "b.lr", "c.lr", "lr", "seed"]


def test_values_are_rounded_and_defaults_are_not_said() -> None:
    assert [in_short(value) for value in (1 / 3, 12_345, True, "x")] == [
        "0.3333",
        "12345",
        "True",
        "x",
    ]
    assert [is_told(value) for value in (None, "None", 0, "")] == [False, False, True, True]


def test_one_thing_by_two_names_is_one_kind_where_a_single_config_is_of_that_class() -> None:
    line = {"labels.data": "tide", "data._target_": "tide.TideData", "labels.model": "mlp"}
    program = {"labels.data": "TideData", "labels.model": "mlp"}
    assert kinds([line, program]) == [("tide", "mlp")] * 2
    assert kinds([line, line | {"labels.data": "tide_small"}, program])[2] == ("TideData", "mlp")
    assert kinds([program, {}]) == [("TideData", "mlp"), (None, None)]


def test_what_runs_are_judged_by_and_how_objects_are_made_tells_no_recipes_apart() -> None:
    keys = ["monitor.name", "prune.penalty._convert_", "data._instantiator", "labels.objects"]
    assert all(map(goes_without_saying, keys))
    assert not any(map(goes_without_saying, ["monitored", "a._target_", "a._args_", "labels.data"]))
