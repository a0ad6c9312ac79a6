"""A run is called by what it is: the same names as on the command line, its size and its seed."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import l1prune
from l1prune.training.naming import global_seed, recipe_name, run_name

CONF = Path(l1prune.__file__).parents[1] / "conf"


@pytest.mark.parametrize("name", ["l1", "l2", "elastic", "magnitude", "gradual", "path"])
def test_a_recipe_is_called_as_on_the_command_line(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"+prune={name}"])
        assert recipe_name(instantiate(config.prune).recipe) == name


def test_plans_are_called_by_what_they_look_for() -> None:
    budget = l1prune.L1Pruning(threshold=l1prune.Budget("val/loss", 0.1))
    assert recipe_name(budget.recipe) == "budget"
    assert recipe_name(l1prune.L1Pruning(strength=l1prune.Linear(0, 1)).recipe) == "l1"


def test_size_and_seed_are_said_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    L.seed_everything(7, verbose=False)
    assert global_seed() == 7
    assert run_name("l1", 25, 1000) == "l1 2.5 % seed 7"
    assert run_name("dense", 1000, 1000) == "dense seed 7"
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert run_name("l1") == "l1"
